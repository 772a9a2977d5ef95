from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
import xml.etree.ElementTree as ET

import drawn
import measured
import msgspec
import pytest

from bench import frames, latency, pictures, record
from bench.drawing import crops, figures, style
from bench.errors import BenchError


@pytest.fixture(scope="module")
def bare(tmp_path_factory):
    """Records, latencies and pictures of two methods, and none of their figures."""
    folder = tmp_path_factory.mktemp("bare") / "results"
    for number, name in enumerate(("good", "other")):
        measured.write(folder, drawn.record(name, 25.0 + number))
        found = measured.timed(median=10.0 + number, paper="toy", checkpoint=name)
        measured.write(folder, found)
    drawn.take(folder)
    return folder


@pytest.fixture(scope="module")
def written(bare, tmp_path_factory):
    """The same with all of their figures."""
    folder = tmp_path_factory.mktemp("written") / "results"
    shutil.copytree(bare, folder)
    for file, one in wanted(folder).items():
        figures.write(file, one)
    return folder


@pytest.fixture
def results(written, tmp_path):
    """A copy of results with all of their figures."""
    return shutil.copytree(written, tmp_path / "results")


def wanted(results):
    return figures.wanted(results, (), record.read_all(results), latency.read_all(results))


def stale(results):
    """The names of figures that are not current, without their forms."""
    found = [file for file, one in wanted(results).items() if not figures.current(file, one)]
    below = figures.folder(results)
    return {file.relative_to(below).with_suffix("").as_posix() for file in found}


BOARD = {f"sample-bi/{name}" for name in ("means", "clips", "frames", "parameters")}
PAN = {f"sample-bi/pan/{name}" for name in ("crops", "errors", "profiles")}


def test_every_figure_is_written_twice_and_is_current_then(bare, results):
    names = stale(bare)
    (time,) = names - BOARD - PAN
    assert time.startswith("sample-bi/time-")
    found = wanted(results)
    assert len(found) == 2 * len(names) == 16
    assert stale(results) == set()
    for file, one in found.items():
        data = file.read_bytes()
        assert one.sha256.encode() in data[:2048]
        if one.form == "svg":
            assert ET.fromstring(data).tag.endswith("svg")  # noqa: S314 - our own bytes
        else:
            assert drawn.pixels(data).shape[1] in range(1050, 2149)


def test_drawing_again_gives_the_same_bytes(results):
    """In whatever order, and with whatever was drawn before."""
    for file, one in reversed(wanted(results).items()):
        assert one.rendered() == file.read_bytes(), file


def test_asking_loads_no_matplotlib(results):
    code = (
        "import sys; from pathlib import Path\n"
        "from bench import latency, record; from bench.drawing import figures\n"
        "results = Path(sys.argv[1])\n"
        "records, latencies = record.read_all(results), latency.read_all(results)\n"
        "found = figures.wanted(results, (), records, latencies)\n"
        "assert found and all(figures.current(file, one) for file, one in found.items())\n"
        "assert not figures.orphans(results, found) and figures.document(results, found)\n"
        "assert not {'matplotlib', 'torch', 'PIL'} & set(sys.modules)"
    )
    subprocess.run([sys.executable, "-c", code, results], check=True)


def test_what_another_version_drew_of_the_same_is_current(results, monkeypatch):
    """Other bytes, but the same mark; line ends are those of the checkout."""
    monkeypatch.setitem(style._RC, "axes.labelsize", 7.5)  # noqa: SLF001 - as another font would
    for file, one in list(wanted(results).items())[:2]:
        before = file.read_bytes()
        figures.write(file, one)
        assert file.read_bytes() != before
    svg = next(iter(wanted(results)))
    svg.write_bytes(svg.read_bytes().replace(b"\n", b"\r\n"))
    assert stale(results) == set()


@pytest.mark.parametrize("damage", ["gone", "short", "other", "empty", "end"])
def test_a_file_that_is_not_what_it_should_be_is_stale(results, damage):
    found = wanted(results)
    for file in list(found)[:2]:
        data = file.read_bytes()
        kept = {
            "short": data[:-1000],
            "other": re.sub(rb"sha256:.{8}", b"sha256:00000000", data, count=1),
            "empty": b"",
            "end": data + b"more",
        }
        if damage == "gone":
            file.unlink()
        else:
            file.write_bytes(kept[damage])
    assert stale(results) == {"sample-bi/means"}


def test_a_number_that_moves_makes_its_figures_stale(results):
    one = drawn.record("other", 26.0)
    scores = measured.scores([1.0] * 9)
    clips = [msgspec.structs.replace(one.clips[0], scores={"fixed": scores}), *one.clips[1:]]
    measured.write(results, msgspec.structs.replace(one, clips=clips))
    assert stale(results) >= BOARD
    assert not stale(results) & PAN
    measured.write(results, one)
    assert stale(results) == set()


def test_a_time_that_moves_makes_only_its_figure_stale(results):
    measured.write(results, measured.timed(median=99.0, paper="toy", checkpoint="good"))
    (name,) = stale(results)
    assert name.startswith("sample-bi/time-")


def test_a_picture_that_changes_makes_its_figures_stale(results):
    one = pictures.read_all(results, record.read_all(results))[0]
    frames.write(pictures.frame_file(results, one, "toy-good"), drawn.gt_frame())
    assert stale(results) == PAN


def test_a_method_that_joins_keeps_the_figures_whose_looks_stay(results):
    """One that comes last in the order of names changes no colour."""
    measured.write(results, drawn.record("zzz", degradation="bd"))
    assert stale(results) == {f"sample-bd/{name}" for name in ("means", "clips", "frames")}


def test_code_that_changes_makes_all_stale(results, monkeypatch):
    monkeypatch.setattr(figures, "_CODE", ("drawing/charts",))
    figures._code_sha256.cache_clear()  # noqa: SLF001 - it is read once a process
    assert len(stale(results)) == len(wanted(results)) / 2
    monkeypatch.undo()
    figures._code_sha256.cache_clear()  # noqa: SLF001
    assert stale(results) == set()


def test_figures_whose_data_are_gone_are_orphans(results):
    below = figures.folder(results)
    (below / "by-hand.svg").write_text("<svg></svg>\n")
    (below / "notes.txt").write_text("sha256:" + "0" * 64)
    shutil.copy(below / "sample-bi/means.svg", below / "chosen for the paper.svg")
    (below / "sample-bi/crops.svg").mkdir()
    (below / "sample-bi/errors.png").symlink_to("nowhere")
    assert figures.orphans(results, wanted(results)) == []
    (below / "sample-bi/crops.svg").rmdir()
    (below / "sample-bi/errors.png").unlink()
    record.path(results, "toy", "good", "sample", "bi").unlink()
    record.path(results, "toy", "other", "sample", "bi").unlink()
    found = figures.orphans(results, wanted(results))
    assert len(found) == 2 * (len(BOARD | PAN) + 1)
    for file in found:
        figures.discard(results, file)
    left = ["by-hand.svg", "chosen for the paper.svg", "notes.txt"]
    assert sorted(file.name for file in below.iterdir()) == left


def test_what_else_lies_in_a_folder_stays(results):
    mine = figures.folder(results) / "sample-bi/pan/mine.txt"
    mine.write_text("kept")
    for file in wanted(results):
        figures.discard(results, file)
    assert mine.read_text() == "kept"


def test_the_list_names_every_figure_and_how_to_get_pictures(results, tmp_path):
    found = wanted(results)
    text = figures.document(results, found)
    below = figures.folder(results)
    for file in found:
        assert f"(<{file.relative_to(below).as_posix()}>)" in text
    assert "--save-frames" not in text
    for words in ("3.5 in", "7.16 in", "more than 12 clips"):
        assert words in " ".join(text.split())
    bare = figures.document(tmp_path / "none", {})
    assert "Nothing was measured yet." in bare
    for command in ("bench run PAPER --save-frames DIR", "bench report --frames DIR"):
        assert command in bare


def test_nothing_measured_wants_nothing(tmp_path):
    assert wanted(tmp_path) == {}
    assert figures.orphans(tmp_path, {}) == []


def test_a_method_of_any_name_is_drawn(tmp_path):
    for name in (drawn.ODD, "_under", "-", "a\\b"):
        measured.write(tmp_path, drawn.record(name, paper="_p$"))
    for one in wanted(tmp_path).values():
        assert one.rendered()


def test_a_folder_that_cannot_be_written_is_told(bare, tmp_path):
    _, one = next(iter(wanted(bare).items()))
    (tmp_path / "figures").write_text("a file in its place")
    with pytest.raises(BenchError, match="cannot write"):
        figures.write(tmp_path / "figures/means.svg", one)


def test_committed_figures_would_not_need_the_working_folder(results, monkeypatch):
    """The digest holds no path of this machine."""
    before = {file.name: one.sha256 for file, one in wanted(results).items()}
    moved = results.parent / "moved"
    results.rename(moved)
    assert {file.name: one.sha256 for file, one in wanted(moved).items()} == before
    monkeypatch.chdir(moved.parent)
    relative = wanted(moved.relative_to(os.getcwd()))  # noqa: PTH109
    assert {file.name: one.sha256 for file, one in relative.items()} == before


def test_one_method(tmp_path):
    measured.write(tmp_path, drawn.record("good"))
    drawn.take(tmp_path, ["good"], size=(crops.LEAST, 64))
    found = wanted(tmp_path)
    assert len(found) == 2 * 6
    assert all(one.rendered() for one in found.values())
