from __future__ import annotations

import io
import re

import pandas as pd
import pytest
from runs import measure

from bench import record, tables
from bench.maker import Settings


def run(toy, tmp_path, clips=()):
    return measure(toy, Settings(tmp_path / "data"), clips).record


@pytest.fixture
def whole(toy, tmp_path):
    return run(toy, tmp_path)


def test_verdicts(toy, whole):
    found = tables.judge_all(toy, [whole])
    told = [(one.verdict, one.reason) for one in found]
    assert told == [
        ("reproduced", ""),
        ("differs", ""),
        ("reproduced", ""),
        ("no verdict", "unverified number"),
        ("not run", "not measured yet: `bench run toy --dataset sample`"),
        ("not run", "not measured yet: `bench run toy --dataset vid4`"),
        ("not run", "its address is dead"),
        ("not run", "published only"),
        ("not run", "the source does not state its protocol"),
        ("not run", "not measured yet: `bench run toy --dataset sample`"),
        ("not run", "no frames were released for Vid4"),
    ]


def test_no_average_over_incomplete_sets(toy, tmp_path):
    part = run(toy, tmp_path, ["pan", "zoom"])
    told = [(one.verdict, one.reason, one.psnr) for one in tables.judge_all(toy, [part])]
    assert told[0] == ("no verdict", "2 of 4 clips", None)
    assert told[2][:2] == ("reproduced", "")  # the cell of one clip that was measured
    frame = tables.runs_frame([part])
    assert set(frame["clip"]) == {"pan", "zoom", "2 of 4 clips"}
    assert set(frame[frame["clip"] == "2 of 4 clips"]["PSNR"]) == {""}


def test_cells_show_published_measured_difference(toy, whole):
    frame = tables.cells_frame(tables.judge_all(toy, [whole]))
    row = frame.iloc[0]
    assert row["published"] == "28.20 / 0.828"
    assert row["measured"] == "28.2037 / 0.8278"
    assert row["difference"] == "+0.0037 / -0.0002"
    assert row["protocol"] == "fixed: Y, crop 8, clip mean"
    assert frame.iloc[1]["published"] == "20.00 / -"
    assert frame.iloc[3]["published"] == "28.20 / 0.8278" + tables.DAGGER
    assert frame.iloc[4]["measured"] == frame.iloc[4]["difference"] == ""


def test_values_have_as_many_decimals_as_were_published(toy, whole):
    cell = record.msgspec.structs.replace(toy.cells[0], psnr="28.203712", ssim="0.8")
    exact = record.msgspec.structs.replace(toy, cells=[cell])
    row = tables.cells_frame(tables.judge_all(exact, [whole])).iloc[0]
    assert re.fullmatch(r"28\.\d{6} / 0\.8278", row["measured"])
    assert re.fullmatch(r"[+-]0\.\d{6} / [+]0\.0278", row["difference"])


def test_failures_are_told_by_their_last_line(toy, whole):
    (key, *_) = whole.provenance

    def failing(*names, kept=()):
        failures = [
            record.Failure(clip=name, error=["Traceback", f"{name} broke"], provenance=key)
            for name in names
        ]
        clips = [clip for clip in whole.clips if clip.clip in kept]
        return record.msgspec.structs.replace(whole, clips=clips, failures=failures)

    def told(found):
        return [(one.verdict, one.reason) for one in tables.judge_all(toy, [found])]

    mean, _, pan, *_ = told(failing("occlusion", "pan"))
    assert mean == ("not run", "failed: occlusion broke")
    assert pan == ("not run", "failed: pan broke")
    mean, _, pan, *_ = told(failing("zoom", kept=("pan",)))
    assert mean == ("no verdict", "1 of 4 clips; failed: zoom broke")
    assert pan == ("reproduced", "")
    assert told(failing("zoom"))[2] == (
        "not run",
        "not measured yet: `bench run toy --dataset sample`",
    )
    assert "[1] 1 of 4 clips; failed: zoom broke" in tables.document(
        toy, [failing("zoom", kept=("pan",))]
    )


def test_document(toy, whole):
    text = tables.document(toy, [whole])
    assert text.startswith("# Toy\n")
    assert "11 cells: 2 reproduced, 1 differs, 1 no verdict, 7 not run." in text
    assert re.search(r"\| 20\.00 / - \[1\] +\| 2\d\.\d{4} / -? ?", text)
    assert "\n[1] made up" in text
    assert f"| no verdict{tables.DAGGER} " in text
    assert f"{tables.DAGGER} from memory" in text
    assert "- fixed: Y, crop 8, clip mean\n" in text
    assert "- absent: not to be had; its address is dead\n" in text
    assert "- here: tests/toypaper" in text
    assert "| good       | Sample   | bi          | fixed     | mean      | 28.2037 " in text
    assert text.endswith("|\n")
    assert tables.document(toy, []).count("## Every run") == 0


def test_every_cell_says_something(toy, whole):
    """No hole, no cell without a verdict, and no reason more than once."""
    text = tables.document(toy, [whole])
    reasons = {one.reason.partition(": ")[0] for one in tables.judge_all(toy, [whole])}
    for reason in reasons - {"", "unverified number"}:
        assert text.count(f"] {reason}") == 1
    body = text[text.index("### Other") : text.index("Protocols:")]
    rows = [line.split(" | ") for line in body.splitlines() if line.startswith("| ")]
    assert len(rows) == 1 + 11
    assert all(entry.strip("| ") for row in rows for entry in row)


def test_csv_has_one_line_for_every_published_number(toy, whole):
    frame = tables.cells_frame(tables.judge_all(toy, [whole]))
    text = tables.csv(toy, [whole])
    read = pd.read_csv(io.StringIO(text), dtype=str, keep_default_na=False)
    assert read.to_dict() == frame.to_dict()
    assert len(read) == len(toy.cells)


def test_latex(toy, whole):
    text = tables.latex(toy, [whole])
    assert text.startswith("% needs \\usepackage{booktabs}\n")
    assert text.count("\\toprule") == text.count("\\bottomrule") == 1
    assert "28.20 / 0.8278$\\dagger$" in text
    assert "\\par [2] not measured yet: \\texttt{bench run toy --dataset sample}" in text


def test_identical_frames_agree_with_no_number(toy, whole):
    clips = [
        record.msgspec.structs.replace(
            clip, scores={n: record.FrameScores(["inf"] * 9, [1.0] * 9) for n in clip.scores}
        )
        for clip in whole.clips
    ]
    same = record.msgspec.structs.replace(whole, clips=clips)
    judged = tables.judge_all(toy, [same])
    assert judged[0].verdict == "differs"
    assert "inf / 1.0000" in tables.document(toy, [same])


def test_a_paper_without_cells(toy):
    assert "0 cells" in tables.document(record.msgspec.structs.replace(toy, cells=[]), [])


def test_infinite_frames_are_said(toy, tmp_path, whole):
    clips = [
        record.msgspec.structs.replace(
            clip,
            scores=clip.scores
            | {"fixed": record.FrameScores(["inf", *clip.scores["fixed"].psnr[1:]], [1.0] * 9)},
        )
        for clip in whole.clips
    ]
    black = record.msgspec.structs.replace(whole, clips=clips)
    frame = tables.cells_frame(tables.judge_all(toy, [black]))
    assert "(4 of 36 frames identical)" in frame.iloc[0]["measured"]
    assert "\n[1] 4 of 36 frames identical" in tables.document(toy, [black])
    runs = tables.runs_frame([black])
    assert "(1 of 9 frames identical)" in runs.iloc[0]["PSNR"]


def test_numbers_of_another_way_of_restoring_are_marked(toy, whole):
    clips = [
        record.msgspec.structs.replace(clip, restoring=clip.restoring | {"dtype": "float16"})
        for clip in whole.clips
    ]
    half = record.msgspec.structs.replace(whole, clips=clips)
    assert tables.judge_all(toy, [half])[0].extra == "with dtype float16"
    assert "\n[1] with dtype float16" in tables.document(toy, [half])
    assert tables.runs_frame([half]).iloc[0]["checkpoint"] == "good (dtype float16)"


def test_the_command_prints_every_form(bench, toy):
    forms = {"markdown": tables.document, "latex": tables.latex, "csv": tables.csv}
    for name, form in forms.items():
        code, out, err = bench("report", "toy", "--stdout", "--format", name)
        assert (code, out, err) == (0, form(toy, []), "")
