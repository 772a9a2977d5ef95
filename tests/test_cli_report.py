from __future__ import annotations

import re
import webbrowser
from pathlib import Path

import measured
import pageresults
import pytest

from bench import record

SHARED = ("results/LEADERBOARD.md", "results/figures/README.md", "results/index.html")


def lines(files, state: str) -> str:
    return "".join(f"{file}: {state}\n" for file in files)


def texts(said: str) -> str:
    """What was said of all files but drawings."""
    drawn = re.compile(r"^results/figures(: |/.*\.(svg|png): )")
    return "".join(line for line in said.splitlines(keepends=True) if not drawn.match(line))


@pytest.fixture
def run(bench, toy):
    bench("run", "toy", "--checkpoint", "good", "--dataset", "sample", "--degradation", "bi")
    return bench


def test_report_writes_checks_and_prints(run):
    files = ("results/tables/toy.md", *SHARED)
    code, _, err = run("report", "--check")
    assert (code, texts(err)) == (1, lines(files, "stale; run bench report"))
    code, out, _ = run("report")
    assert (code, texts(out)) == (0, lines(files, "written"))
    code, out, _ = run("report", "--check")
    assert (code, texts(out)) == (0, lines(files, "fresh"))
    assert run("report", "toy")[:2] == (0, "results/tables/toy.md: fresh\n")
    code, out, _ = run("report", "toy", "--stdout", "--format", "csv")
    assert out.splitlines()[0].startswith("row,data set,degradation,clip,published")
    code, out, _ = run("report", "toy", "--stdout")
    assert out == Path("results/tables/toy.md").read_text()


def test_the_page_alone(run):
    assert run("report", "--page")[:2] == (0, "results/index.html: written\n")
    assert not Path("results/LEADERBOARD.md").exists()
    assert run("report", "--page", "--check")[:2] == (0, "results/index.html: fresh\n")
    (file,) = Path("results/records").rglob("*.json")
    one = record.read(file)
    text = file.read_text()
    assert text.count(one.clips[0].sr_sha256) == 1
    file.write_text(text.replace('"clip_count": 4', '"clip_count": 5'))
    code, _, err = run("report", "--page", "--check")
    assert (code, err) == (1, "results/index.html: stale; run bench report\n")


def test_figures_are_drawn_where_their_data_outdate_them(run):
    means = Path("results/figures/sample-bi/means.svg")
    assert run("report", "--figures")[1].endswith(" drawn, 0 removed\n")
    assert not Path("results/LEADERBOARD.md").exists()
    before = means.read_bytes()
    means.write_bytes(before[: len(before) // 2])
    code, _, err = run("report", "--figures", "--check")
    assert (code, err) == (1, f"{means}: stale; run bench report\n")
    assert len(means.read_bytes()) < len(before)
    assert run("report", "--figures")[1].endswith("results/figures: 1 drawn, 0 removed\n")
    assert means.read_bytes() == before
    (file,) = Path("results/records").rglob("*.json")
    file.unlink()
    code, _, err = run("report", "--figures", "--check")
    assert code == 1
    assert f"{means}: stale; run bench report\n" in err
    assert run("report", "--figures")[1].startswith("results/figures: 0 figures fresh\n")
    assert not means.parent.exists()


def test_pictures_are_taken_first(bench):
    words = ("run", "bicubic", "--dataset", "sample", "--degradation", "bi", "--clip", "pan")
    bench(*words, "--save-frames", "saved")
    code, out, err = bench("report", "--page", "--frames", "saved", "--data-root", "data")
    assert (code, err) == (0, "")
    assert out.splitlines() == [
        "results/pictures/sample-bi/pan: written",
        "results/index.html: written",
    ]
    page = Path("results/index.html").read_text()
    assert "data:image/png;base64," in page
    assert bench("report", "--page", "--check")[0] == 0
    Path("results/pictures/sample-bi/pan/gt.png").unlink()
    code, _, err = bench("report", "--page")
    assert code == 2
    assert "gt.png is missing: expected the pictures that" in err


def test_a_record_of_an_unknown_data_set_is_named(bench):
    clips = [measured.clip("pan", measured.scores([25.0] * 9))]
    measured.write(Path("results"), measured.made(clips, dataset="smaple"))
    for words in (("report",), ("report", "--check"), ("report", "--figures")):
        code, _, err = bench(*words)
        assert code == 2
        assert re.fullmatch(
            r"bench: results/records/toy/good/smaple-bi\.json is of an unknown data set: expected "
            r"one of .*, found 'smaple'; add it to datasets\.yaml, or remove the record\n",
            err,
        )


@pytest.mark.parametrize(
    ("words", "message"),
    [
        ("report bicubic --figures", "--figures goes without papers: expected the page, figures"),
        ("report bicubic --page", "--page goes without papers: expected the page, figures and"),
        ("report bicubic --frames saved", "--frames goes without papers"),
        ("report --check --frames saved", "--frames goes without --check: expected one of them"),
        ("report --stdout --frames saved", "--frames goes without --stdout"),
        ("report --stdout --page", "--page goes without --stdout"),
        ("report --frames saved", "no folder results: expected the records that bench run writes"),
        ("report --results resluts --figures", "no folder resluts"),
        ("open", "no page in results: expected results/index.html; write it with bench report"),
        ("open --results other", "no page in other: expected other/index.html"),
    ],
)
def test_bad_input_is_one_line_and_exit_code_2(bench, words, message):
    code, out, err = bench(*words.split())
    assert (code, out) == (2, "")
    assert err.startswith(f"bench: {message}")
    assert err.count("\n") == 1
    assert not Path("results").exists()


def test_frames_of_no_record_are_refused(run):
    code, _, err = run("report", "--frames", "saved")
    assert code == 2
    assert err.startswith("bench: no frames of any record in saved: expected PAPER/CHECKPOINT/")
    assert err.count("\n") == 1


def test_open_shows_the_page(bench, monkeypatch):
    opened = []
    monkeypatch.setattr(webbrowser, "open", lambda address: opened.append(address) or True)
    pageresults.write(Path("results"))
    bench("report", "--page")
    address = Path("results/index.html").resolve().as_uri()
    assert bench("open", "--print") == (0, f"{address}\n", "")
    assert opened == []
    assert bench("open") == (0, f"{address}\n", "")
    assert opened == [address]
    monkeypatch.setattr(webbrowser, "open", lambda _: False)
    code, out, err = bench("open")
    assert (code, out) == (2, f"{address}\n")
    assert err == "bench: no browser could be opened; open that address in one by hand\n"
