from __future__ import annotations

import re
from pathlib import Path

import msgspec
import numpy as np
import pytest
from measured import clip, device, failure, made, scores, source, timed

from bench import leaderboard, paper
from bench.latency import Options
from bench.leaderboard import Board
from bench.paper import Checkpoint
from bench.protocol import Protocol
from bench.restore import SlidingWindow, SpaceTime

SAMPLE = Board("sample", "bi", space_time=False)
CLIPS = ("occlusion", "pan", "rotation", "zoom")


def result(checkpoint, level=25.0, *, ssim=0.8, noise=0.0, seed=0, **fields):
    """A record of the sample set: `level` dB in every frame, give or take."""
    rng = np.random.default_rng(seed)
    frames = {name: level + noise * rng.standard_normal(9) for name in CLIPS}
    clips = [
        clip(name, scores(values.round(6).tolist(), [ssim] * 9)) for name, values in frames.items()
    ]
    return made(clips, checkpoint=checkpoint, **fields)


def ranks(*records, board=SAMPLE):
    found = leaderboard.rows(board, records)
    return [(row.record.checkpoint, row.rank, bool(row.remark)) for row in found]


def section(text, title):
    """The lines of a table: its rows as lists, its footnotes."""
    body = text.split(f"### {title}\n")[1].split("\n#")[0]
    rows = [
        [entry.strip() for entry in line.strip("|").split("|")]
        for line in body.splitlines()
        if line.startswith("| ")
    ]
    notes = [line.strip() for line in body.splitlines() if line and not line.startswith("|")]
    return rows, notes


def document(*records, papers=(), latencies=()):
    return leaderboard.markdown(leaderboard.standings(papers, records, latencies))


def test_best_first():
    found = ranks(result("c", 24.0), result("a", 26.0), result("b", 25.0))
    assert found == [("a", 1, False), ("b", 2, False), ("c", 3, False)]


def test_what_is_printed_alike_shares_a_rank():
    """25.001 and 25.004 are both printed 25.00, though every frame tells them apart."""
    found = ranks(result("low", 25.001), result("high", 25.004), result("last", 24.0))
    assert found == [("high", 1, False), ("low", 1, False), ("last", 3, False)]
    by_ssim = ranks(result("b", 25.0, ssim=0.9), result("a", 25.0, ssim=0.8))
    assert [name for name, *_ in by_ssim] == ["b", "a"]


def test_what_the_bootstrap_cannot_tell_apart_shares_a_rank():
    best = result("best", 25.05, noise=1.0, seed=1)
    near = result("near", 25.0, noise=1.0, seed=2)
    found = leaderboard.rows(SAMPLE, [near, best, result("far", 20.0)])
    assert [row.rank for row in found] == [1, 1, 3]
    shared = next(row for row in found if row.remark)
    assert shared is found[1]
    assert "not separable on this set" in shared.remark


def test_paired_frames_tell_apart_what_means_do_not():
    """The same noise in both: 0.1 dB in every frame is a difference."""
    one, two = (result(name, x, noise=3.0) for name, x in (("a", 25.1), ("b", 25.0)))
    assert ranks(one, two) == [("a", 1, False), ("b", 2, False)]


def test_ranking_is_not_the_square_of_the_clips():
    class Counted(list):
        seen = 0

        def __iter__(self):
            for one in super().__iter__():
                Counted.seen += 1
                yield one

    def looks(count):
        clips = [clip(f"{i:04d}", scores([25.0])) for i in range(count)]
        two = [made(clips, checkpoint=name) for name in ("a", "b")]
        Counted.seen = 0
        leaderboard.rows(SAMPLE, [msgspec.structs.replace(r, clips=Counted(clips)) for r in two])
        return Counted.seen

    assert 0 < looks(80) <= 4 * looks(20)


def test_incomplete_sets_have_no_rank_and_no_mean():
    part = result("part", 99.0)
    part = msgspec.structs.replace(part, clips=part.clips[:2], clip_count=4)
    text = document(result("whole"), part)
    rows, _ = section(text, "Sample, bi")
    assert rows[1] == ["1", "toy", "whole", "-", "25.00", "0.8000", "no verdict"]
    assert rows[2] == ["-", "toy", "part", "-", "2 of 4 clips", "-", "no verdict"]
    assert "99" not in text


def test_comparable_are_those_with_a_rank():
    records = [result("c", 24.0), result("a", 26.0), result("b", 25.0)]
    part = msgspec.structs.replace(result("part", 99.0), clip_count=5)
    moved = result("moved", 27.0)
    clips = [msgspec.structs.replace(clip, gt_sha256="other") for clip in moved.clips]
    others = [part, msgspec.structs.replace(moved, clips=clips)]
    ranked = [row.record for row in leaderboard.rows(SAMPLE, [*records, *others]) if row.rank]
    assert leaderboard.comparable(SAMPLE, [*records, *others]) == ranked
    assert [one.checkpoint for one in ranked] == ["a", "b", "c"]


def test_boards_stand_in_the_order_of_data_sets():
    records = [result("a"), result("b", dataset="vid4"), result("c", degradation="bd")]
    found = leaderboard.boards((), records)
    places = [("vid4", "bi"), ("sample", "bi"), ("sample", "bd")]
    assert [(board.dataset, board.degradation) for board in found] == places
    assert found[SAMPLE] == [records[0]]


def test_failed_and_untrained_ones_are_left_out(toy):
    nothing = msgspec.structs.replace(result("nothing"), clips=[], clip_count=4)
    failed = msgspec.structs.replace(nothing, checkpoint="failed", failures=[failure("pan")])
    half = result("half", failures=[failure("zoom")], clip_count=5)
    random = source(checkpoint_sha256=None)
    untrained = made(
        [clip("pan", scores([50.0]), provenance=random.key)],
        checkpoint="drawn",
        provenance={random.key: random},
    )
    network = Checkpoint(
        title="", network="a:b", restorer=SlidingWindow("reflection"), file="drawn.pth"
    )
    known = msgspec.structs.replace(toy, checkpoints={**toy.checkpoints, "drawn": network})
    text = document(nothing, failed, half, untrained, papers=[known])
    assert text.endswith("\nNothing was measured yet.\n")
    # A method without weights is not untrained.
    plain = made(
        [clip("pan", scores([50.0]), provenance=random.key)], provenance={random.key: random}
    )
    assert "50.00" in document(plain, papers=[toy])


def test_other_protocols_do_not_stand_here():
    name = "rgb-crop0"
    other = made([clip("pan", {name: scores([50.0])})], checkpoint="rgb")
    moved = result("moved", 60.0, protocols={"fixed": Protocol(border=4)})
    text = document(other, moved)
    assert "Nothing was measured yet" in text
    renamed = made([clip("pan", {"mine": scores([25.0])})], protocols={"mine": Protocol()})
    assert "| 25.00 |" in document(renamed)


def test_centre_frames_are_scored_where_only_they_are():
    board = Board("vimeo-90k-t", "bi", space_time=False)
    assert board.protocol.frames == "centre"
    fixed = made([clip("a", scores([30.0] * 7))], dataset="vimeo-90k-t")
    centre = made([clip("a", {"fixed-centre": scores([31.0])}, frames=7)], dataset="vimeo-90k-t")
    text = document(fixed, centre)
    assert "| 31.00 |" in text
    assert "30.00" not in text


def test_other_gt_frames_have_no_rank():
    clips = [clip(name, scores([50.0] * 9), gt_sha256="other") for name in CLIPS]
    found = leaderboard.rows(
        SAMPLE, [result("a"), made(clips, checkpoint="other"), result("b", 24.0)]
    )
    assert [(row.record.checkpoint, row.rank) for row in found] == [
        ("a", 1),
        ("b", 2),
        ("other", None),
    ]
    assert "other GT frames" in found[2].remark


def test_how_frames_were_restored_is_said_if_it_moves_the_number():
    one = result("half")
    clips = [
        msgspec.structs.replace(c, restoring={"dtype": "float16", "window": 5}) for c in one.clips
    ]
    (row,) = leaderboard.rows(SAMPLE, [msgspec.structs.replace(one, clips=clips)])
    assert row.rank == 1
    assert row.remark == "measured with dtype float16"
    cut = [msgspec.structs.replace(clips[0], restoring={"tile": 64}), *clips[1:]]
    (row,) = leaderboard.rows(SAMPLE, [msgspec.structs.replace(one, clips=cut)])
    assert row.remark == "measured with dtype float16, tile 64"


def test_space_time_has_tables_of_its_own():
    between = result("between", 40.0)
    clips = [msgspec.structs.replace(one, interpolated=[1, 3]) for one in between.clips]
    text = document(result("plain"), msgspec.structs.replace(between, clips=clips))
    plain, apart = text.split("## Space-time super-resolution")
    assert "40.00" not in plain
    assert "25.00" not in apart
    assert "| 1    | toy    | between " in apart


def test_identical_frames_are_said():
    clips = [clip(name, scores(["inf", 25.0])) for name in CLIPS]
    rows, _ = section(document(made(clips), result("b", 24.0)), "Sample, bi")
    assert rows[1][4] == "25.00 (4 of 8 frames identical)"
    assert ranks(made(clips), made(clips, checkpoint="z"))[1] == ("z", 1, True)


def test_what_restores_every_frame_exactly_is_apart_from_what_does_not():
    exact = [
        made([clip(name, scores(["inf"] * 9, [1.0] * 9)) for name in CLIPS], checkpoint=checkpoint)
        for checkpoint in ("x", "y")
    ]
    found = ranks(*exact, result("a", 26.0), result("b", 25.0))
    assert found == [("x", 1, False), ("y", 1, False), ("a", 3, False), ("b", 4, False)]


def test_status_is_the_verdict_on_the_own_cells(toy):
    def status(checkpoint="good", level=28.2, **fields):
        one = result(checkpoint, level, ssim=0.8278, **fields)
        return section(document(one, papers=[toy]), "Sample, bi")[0][1][-1]

    # The clip pan was published with 26.7, which these records do not have.
    assert status() == "differs: 1 of 2 reproduced"
    assert status(level=1.0) == "differs: 0 of 2 reproduced"
    assert status("swapped") == "no verdict"
    toy.cells[:] = [cell for cell in toy.cells if cell.clip is None]
    assert status() == "reproduced"


def test_published_numbers_are_footnotes_and_never_rows(toy):
    text = document(result("good"), papers=[toy])
    rows, notes = section(text, "Sample, bi")
    assert [row[2] for row in rows[1:]] == ["good"]
    assert notes == [
        "Published only: toy, other: 1.00 / 0.1000, not measured here; source here",
        "Published only: toy, other: 1.00 / 0.1000, not measured here; source here",
        "Published only: toy, released: 28.20 / 0.8278, not measured here; source here",
    ]
    _, notes = section(document(result("swapped"), papers=[toy]), "Sample, bi")
    of_good = [note for note in notes if "toy, good" in note]  # no clip, nothing from memory
    assert of_good == ["Published only: toy, good: 28.20 / 0.828, not measured here; source here"]
    described = msgspec.structs.replace(toy.checkpoints["good"], restorer=SpaceTime(4))
    between = msgspec.structs.replace(toy, checkpoints={**toy.checkpoints, "released": described})
    assert "toy, released" not in document(result("good"), papers=[between])


def test_parameters_and_links(toy):
    described = msgspec.structs.replace(toy.checkpoints["good"], parameters=1_970_819)
    known = msgspec.structs.replace(toy, checkpoints={**toy.checkpoints, "good": described})
    rows, _ = section(document(result("good"), result("x", 1.0), papers=[known]), "Sample, bi")
    assert rows[1][1:4] == ["[toy](tables/toy.md)", "good", "1.97 M"]
    assert rows[2][1:4] == ["[toy](tables/toy.md)", "x", "-"]


def test_devices_never_share_a_column():
    gpu = device("NVIDIA H200", "cuda")
    latencies = [
        timed([12.0], paper="toy", checkpoint="good"),
        timed([0.5], paper="toy", checkpoint="good", device=gpu, clocks_fell=True),
        timed([0.7], paper="toy", checkpoint="other", device=gpu),
        timed([3.0], paper="toy", checkpoint="good", options=Options(dtype="float16")),
        timed([4.0], paper="elsewhere", checkpoint="good"),
    ]
    text = document(result("good"), result("other", 20.0), latencies=latencies)
    rows, _ = section(text, "Sample, bi")
    assert rows[0][6:8] == ["ms at 10x20 on amd-epyc-1-thread", "ms at 10x20 on nvidia-h200"]
    assert rows[1][6:8] == ["12", "0.5 (clocks fell)"]
    assert rows[2][6:8] == ["-", "0.7"]
    assert "Times are the median milliseconds" in text
    assert "Times are" not in document(result("good"))


def test_times_of_one_column_are_of_one_size():
    """That which most rows have, then the largest; the same for clip lengths where they matter."""

    def at(checkpoint, ms, height, frames=7, *, clips=False):
        shape = {"height": height, "width": 20, "frames": frames, "whole_clips": clips}
        return timed([ms], paper="toy", checkpoint=checkpoint, **shape)

    records = [result("a"), result("b"), result("c")]
    latencies = [at("a", 1.0, 10), at("a", 4.0, 40), at("b", 2.0, 10)]
    (column,) = leaderboard.columns(records, latencies)
    assert column.heading == "ms at 10x20 on amd-epyc-1-thread"
    assert {key[1]: one.latency_ms.median for key, one in column.times.items()} == {
        "a": 1.0,
        "b": 2.0,
    }
    latencies += [at("c", 5.0, 10, 14, clips=True), at("c", 6.0, 10, 28, clips=True)]
    (column,) = leaderboard.columns(records, latencies)
    assert column.heading == "ms at 10x20, clips of 28 frames on amd-epyc-1-thread"
    assert column.times["toy", "c"].latency_ms.median == 6.0


def test_data_sets_are_in_the_order_of_the_catalog():
    records = [
        result("a", dataset=dataset, degradation=degradation)
        for dataset, degradation in (("reds4", "bi"), ("vid4", "bd"), ("vid4", "bi"))
    ]
    titles = re.findall(r"^### (.*)$", document(*records), re.MULTILINE)
    assert titles == ["Vid4, bi", "Vid4, bd", "REDS4, bi"]


def test_own_methods_stand_beside_the_papers(toy):
    rows, _ = section(document(result("good"), result("m", 26.0, paper="own")), "Sample, bi")
    assert rows[1] == ["1", "own", "m", "-", "26.00", "0.8000", "no verdict"]


def test_the_document_does_not_depend_on_the_order_of_records():
    records = [result(name, 25.0, noise=1.0, seed=i) for i, name in enumerate("abcd")]
    assert document(*records) == document(*reversed(records))


def test_the_readme_of_the_board_names_its_protocols():
    text = document(result("good"))
    assert "- `fixed`: Y, crop 8, clip mean\n" in text
    assert leaderboard.path(Path("results")) == Path("results/LEADERBOARD.md")


@pytest.mark.parametrize("name", paper.names())
def test_no_paper_has_a_row_without_a_record(name):
    loaded = paper.load(name)
    assert "Nothing was measured yet" in document(papers=[loaded])
