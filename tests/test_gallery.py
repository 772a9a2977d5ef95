from __future__ import annotations

from pathlib import Path

import drawn
import measured
import msgspec
import pytest

from bench import pictures
from bench.drawing import charts, crops, gallery, maps
from bench.errors import BenchError
from bench.latency import Options

NOWHERE = Path("nowhere")


def asked(*records, papers=(), latencies=(), results=NOWHERE):
    """What the figures show, by name."""
    found = gallery.asked(results, papers, records, latencies)
    return {one.name.as_posix(): one.data for one in found}


def timed(checkpoint, median, **fields):
    return measured.timed(median=median, paper="toy", checkpoint=checkpoint, **fields)


def test_nothing_measured_asks_for_nothing():
    assert asked() == {}


def test_every_board_has_means_clips_and_frames():
    found = asked(drawn.record("a"), drawn.record("b", degradation="bd"))
    kinds = ("means", "clips", "frames")
    assert list(found) == [f"sample-{board}/{kind}" for board in ("bi", "bd") for kind in kinds]
    assert found["sample-bi/means"].head == "Sample, bi\nProtocol fixed: Y, crop 8, clip mean"


def test_means_and_curves_are_those_of_the_record():
    one, low = drawn.record("a", 30.0), drawn.record("b", 20.0)
    found = asked(low, one)
    dots = found["sample-bi/means"].dots
    assert [dot.method.label for dot in dots] == ["toy a", "toy b"]  # best first
    assert dots[0].psnr.value == pytest.approx(one.mean("fixed")[0].value)
    assert dots[0].psnr.text == "31.90"
    assert [clip.clip for clip in found["sample-bi/clips"].clips] == list(drawn.CLIPS)
    pan = found["sample-bi/clips"].clips[1].dots[1]
    assert pan.psnr.value == pytest.approx(low.mean("fixed", "pan")[0].value)
    panel = found["sample-bi/frames"].panels[1]
    assert panel.curves[0].psnr == one.clips[1].scores["fixed"].psnr


def test_a_method_has_one_look_in_all_figures():
    """Also where others are missing."""
    found = asked(drawn.record("a"), drawn.record("b"), drawn.record("b", degradation="bd"))
    assert found["sample-bi/means"].dots[0].method in found["sample-bi/clips"].methods
    looks = {
        method.label: method.place
        for data in found.values()
        for method in getattr(data, "methods", [])
    }
    assert looks == {"toy a": 0, "toy b": 1}
    assert [dot.method.place for dot in found["sample-bd/means"].dots] == [1]


def test_a_checkpoint_of_the_papers_name_is_named_once():
    one = drawn.record("bicubic", paper="bicubic")
    assert asked(one)["sample-bi/means"].dots[0].method.label == "bicubic"


def test_identical_frames_are_null_in_curves_and_told_in_means():
    psnr = {"pan": ["inf", 30.0], "zoom": ["inf", "inf"]}
    clips = [measured.clip(name, measured.scores(values)) for name, values in psnr.items()]
    found = asked(measured.made(clips))
    assert found["sample-bi/frames"].panels[0].curves[0].psnr == [None, 30.0]
    assert found["sample-bi/clips"].clips[1].dots[0].psnr.value is None
    assert found["sample-bi/clips"].clips[1].dots[0].psnr.text == "inf (all 2 frames identical)"
    assert "3 of 4 frames identical" in found["sample-bi/means"].dots[0].psnr.text


def test_published_values_stand_only_under_the_same_protocol(toy):
    one = drawn.record("good")
    cell = msgspec.structs.replace(
        toy.cells[0], row="x", dataset="sample", degradation="bi", checkpoint="good",
        protocol="fixed", psnr="27.33", ssim="0.8318", clip=None, verified=True,
    )  # fmt: skip

    def published(**fields):
        paper = msgspec.structs.replace(toy, cells=[msgspec.structs.replace(cell, **fields)])
        found = asked(one, papers=[paper])
        dot = found["sample-bi/means"].dots[0]
        clip = found["sample-bi/clips"].clips[1].dots[0]
        return dot.psnr.published, dot.ssim.published, clip.psnr.published

    assert published() == (27.33, 0.8318, None)
    assert published(psnr=None) == (None, 0.8318, None)
    assert published(clip="pan") == (None, None, 27.33)
    for fields in (
        {"protocol": "y-crop0"},
        {"protocol": None},
        {"checkpoint": None},
        {"checkpoint": "swapped"},
        {"degradation": "bd"},
        {"dataset": "vid4"},
        {"verified": False},
    ):
        assert published(**fields) == (None, None, None), fields


def test_an_incomplete_set_has_clips_and_no_mean():
    half = drawn.record("half", clips=drawn.CLIPS[:2], clip_count=4)
    found = asked(half)
    assert list(found) == ["sample-bi/clips", "sample-bi/frames"]


def test_other_gt_frames_are_not_compared():
    same = [drawn.record("a"), drawn.record("b")]
    moved = drawn.record("c")
    clips = [msgspec.structs.replace(clip, gt_sha256="other") for clip in moved.clips]
    found = asked(*same, msgspec.structs.replace(moved, clips=clips))
    for data in (found["sample-bi/means"], found["sample-bi/clips"].clips[0]):
        assert [dot.method.label for dot in data.dots] == ["toy a", "toy b"]
    assert len(found["sample-bi/frames"].panels[0].curves) == 2


def test_a_set_of_thousands_of_clips_has_no_figure_of_each():
    """Vimeo-90K-T has 7,824; only the frame in the middle is scored."""
    scores = {"fixed-centre": measured.scores([30.0])}
    clips = [measured.clip(f"{n:05d}", scores, frames=7) for n in range(7824)]
    found = asked(measured.made(clips, dataset="vimeo-90k-t"))
    assert list(found) == ["vimeo-90k-t-bi/means"]
    few = measured.made(clips[: gallery.MOST_CLIPS], dataset="vimeo-90k-t")
    # One frame is no curve.
    assert list(asked(few)) == ["vimeo-90k-t-bi/means", "vimeo-90k-t-bi/clips"]
    more = drawn.record(clips=[f"clip {n:02d}" for n in range(gallery.MOST_CLIPS + 1)])
    assert list(asked(more)) == ["sample-bi/means"]


def test_devices_never_share_a_figure():
    records = [drawn.record(name) for name in ("a", "b", "c")]
    fast = measured.device("NVIDIA H200", "cuda")
    latencies = [
        timed("a", 10.0),
        timed("b", 20.0, clocks_fell=True),
        timed("a", 1.0, device=fast),
        timed("c", 3.0, device=fast),
        timed("c", 0.1, options=Options(batch=4)),
    ]
    found = asked(*records, latencies=latencies)
    times = {name: data for name, data in found.items() if "/time-" in name}
    assert len(times) == 2
    slow, quick = (times[f"sample-bi/time-{one.device.slug}"] for one in latencies[1:3])
    assert [(spot.method.label, spot.cost) for spot in slow.spots] == [
        ("toy a", 10.0),
        ("toy b (clocks fell)", 20.0),
    ]
    assert {spot.cost for spot in quick.spots} == {1.0, 3.0}
    assert fast.slug in quick.head
    assert "float32" in quick.head
    assert quick.label.startswith("ms per SR frame, LR at ")
    assert slow.spots[0].low < 10.0 < slow.spots[0].high


def test_a_single_spot_is_no_figure():
    found = asked(drawn.record("a"), drawn.record("b"), latencies=[timed("a", 10.0)])
    assert not [name for name in found if "time-" in name or "parameters" in name]


def test_parameters_are_those_of_the_paper_else_those_measured(toy):
    described = msgspec.structs.replace(toy.checkpoints["good"], parameters=2_000_000)
    paper = msgspec.structs.replace(toy, checkpoints={**toy.checkpoints, "good": described})
    latencies = [timed("good", 10.0, parameters=7), timed("b", 20.0, parameters=5_000_000)]
    records = [drawn.record(name) for name in ("good", "b", "none")]
    found = asked(*records, papers=[paper], latencies=latencies)
    spots = found["sample-bi/parameters"].spots
    assert [(spot.method.label, spot.cost) for spot in spots] == [("toy b", 5.0), ("toy good", 2.0)]


def test_space_time_stands_apart():
    one = drawn.record("a")
    between = [msgspec.structs.replace(clip, interpolated=[1]) for clip in one.clips]
    found = asked(one, msgspec.structs.replace(one, checkpoint="b", clips=between))
    assert "sample-bi-space-time/means" in found
    assert len(found["sample-bi/means"].dots) == 1


def test_pictures_ask_for_crops_errors_and_profiles(tmp_path):
    one = drawn.take(tmp_path)
    records = [drawn.record("good"), drawn.record("other"), drawn.record("third")]
    found = list(gallery.asked(tmp_path, (), records, ()))
    kinds = {one.name.as_posix(): one.kind for one in found if one.name.parent.name == "pan"}
    assert kinds == {
        "sample-bi/pan/crops": f"{crops.__name__}.draw",
        "sample-bi/pan/errors": f"{maps.__name__}.errors",
        "sample-bi/pan/profiles": f"{maps.__name__}.profiles",
    }
    data = next(one.data for one in found if one.name.name == "errors")
    assert [shown.method for shown in data.methods] == [
        charts.Method("toy good", 0),
        charts.Method("toy other", 1),
    ]
    assert (data.height, data.width, data.row) == (one.height, one.width, one.row)
    assert "pan, frame 2 (from 0)" in data.head
    assert "fixed (Y, crop 8)" in data.head


def test_pictures_of_frames_that_no_record_knows_are_not_drawn(tmp_path):
    drawn.take(tmp_path)
    found = asked(drawn.record("good"), results=tmp_path)
    assert [one.method.label for one in found["sample-bi/pan/crops"].methods] == ["toy good"]
    assert "errors are largest" in found["sample-bi/pan/crops"].head
    assert not [name for name in asked(drawn.record("else"), results=tmp_path) if "pan" in name]


def test_of_many_clips_with_pictures_the_first_are_drawn(tmp_path):
    names = [f"clip {number:02d}" for number in range(gallery.MOST_CLIPS + 1)]
    for name in names:
        drawn.take(tmp_path, ["good"], clip=name, size=(16, 16))
    found = asked(drawn.record("good", clips=names), results=tmp_path)
    drawn_clips = {Path(name).parent.name for name in found if name.endswith("profiles")}
    assert drawn_clips == set(names[:-1])


def test_frames_too_small_for_windows_have_no_crops(tmp_path):
    drawn.take(tmp_path, size=(36, 64))
    found = asked(drawn.record("good"), results=tmp_path)
    names = [name for name in found if "pan" in name]
    assert names == ["sample-bi/pan/errors", "sample-bi/pan/profiles"]


def test_a_missing_picture_is_told(tmp_path):
    one = drawn.take(tmp_path)
    pictures.frame_file(tmp_path, one, "gt").unlink()
    with pytest.raises(BenchError, match=r"gt\.png is missing"):
        asked(drawn.record("good"), results=tmp_path)
