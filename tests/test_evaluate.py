from __future__ import annotations

import numpy as np
import pytest
import torch
import toynetworks
from runs import RESULTS, job, measure, planned

from bench import catalog, degrade, evaluate, frames, maker, record, sample, score, tiles
from bench.errors import BenchError
from bench.maker import Maker, Settings
from bench.restore import SlidingWindow


@pytest.fixture
def settings(tmp_path):
    return Settings(data_root=tmp_path / "data")


def test_a_run_scores_what_the_method_makes(toy, settings):
    made = measure(toy, settings).record
    assert made.complete("fixed")
    assert [clip.clip for clip in made.clips] == sorted(sample.names())
    clip, gt = made.clip("pan"), sample.clip("pan")
    lr = [degrade.degrade(frame, "bi") for frame in gt]
    sr = [degrade.upsample(frame) for frame in lr]
    expected = score.score_clip(sr, list(gt), made.protocols)
    assert (clip.lr_sha256, clip.lr_origin) == (score.digest(lr), "made")
    assert clip.sr_sha256 == expected.sr_sha256
    assert clip.scores["fixed"].psnr == [round(v, 6) for v in expected.scores["fixed"].psnr]
    swapped = measure(toy, settings, ["pan"], checkpoint="swapped").record
    assert not swapped.complete("fixed")
    assert swapped.mean("fixed")[0].value < made.mean("fixed", "pan")[0].value - 3


def test_a_run_can_be_repeated_to_the_digit(toy, settings):
    one = measure(toy, settings).record
    two = measure(toy, settings._replace(workers=4), overwrite="always").record
    strip = lambda r: [(c.clip, c.scores, c.sr_sha256) for c in r.clips]  # noqa: E731
    assert strip(one) == strip(two)


def test_frames_are_saved_as_scored(toy, settings, tmp_path):
    made = measure(toy, settings._replace(save=tmp_path / "sr"), ["zoom"]).record
    folder = tmp_path / "sr/toy/good/sample-bi/zoom"
    files = frames.frame_files(folder)
    assert [path.name for path in files] == [f"{i:08d}.png" for i in range(9)]
    assert score.digest(map(frames.read, files)) == made.clip("zoom").sr_sha256


@pytest.mark.parametrize(
    ("checkpoint", "words"),
    [
        ("short", "differ in the number of frames: expected 9 SR frames, found 8"),
        ("failing", "^the network gave NaN; look at frame 2"),
        ("constant", "^SR frame 0 has one colour, its LR frame has several; check"),
        ("crashing", "^KeyError: 'no such layer'$"),
    ],
)
def test_a_failure_is_written_down_and_the_others_go_on(toy, settings, checkpoint, words):
    done = measure(toy, settings, ["pan"], checkpoint=checkpoint)
    (failure,) = done.record.failures
    assert failure.clip == "pan"
    assert (done.measured, done.failed, done.record.clips) == ([], {"pan": failure.error}, [])
    with pytest.raises(AssertionError, match=words):
        raise AssertionError(failure.error[-1])
    assert not any(str(catalog.default_path().parent) in line for line in failure.error)


def test_a_clip_that_works_again_is_no_failure_any_more(toy, settings):
    opened = evaluate.open_clip

    def fail(found, name, *rest):
        if name == "rotation":
            raise BenchError("rotation is broken")
        return opened(found, name, *rest)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(evaluate, "open_clip", fail)
        done = measure(toy, settings)
    assert done.failed == {"rotation": ["rotation is broken"]}
    assert [clip.clip for clip in done.record.clips] == ["occlusion", "pan", "zoom"]
    assert [failure.clip for failure in done.record.failures] == ["rotation"]
    assert not done.record.complete("fixed")
    again = measure(toy, settings)
    assert again.measured == ["rotation"]
    assert again.record.failures == []
    assert again.record.complete("fixed")


def test_a_method_that_ends_the_program_fails_its_clip_only(toy, settings, monkeypatch):
    import toypaper

    def leaving(*_):
        raise SystemExit(3)

    monkeypatch.setattr(toypaper, "good", leaving)
    done = measure(toy, settings, ["pan", "zoom"])
    assert {name: error[-1] for name, error in done.failed.items()} == {
        "pan": "SystemExit: 3",
        "zoom": "SystemExit: 3",
    }


def test_frames_that_are_saved_are_counted_by_scoring(toy, settings, tmp_path):
    done = measure(toy, settings._replace(save=tmp_path / "sr"), ["pan"], checkpoint="short")
    assert "expected 9 SR frames, found 8" in done.failed["pan"][-1]


def test_black_frames_may_stay_black(toy, settings):
    black = [np.zeros((16, 20, 3), np.uint8)] * 3
    assert len(list(evaluate._plausible(iter(black), black, range(3)))) == 3  # noqa: SLF001


def test_released_frames(toy, settings, tmp_path):
    for name in sample.names():
        for i, frame in enumerate(sample.clip(name)):
            frames.write(tmp_path / "data/toy" / name / f"Frame {i + 1}.png", frame)
    assert planned(toy, settings, "released").problem is None
    made = measure(toy, settings, checkpoint="released").record
    assert np.isposinf(made.mean("fixed")[0].value)
    assert made.clips[0].lr_sha256 is None
    elsewhere = Settings(data_root=tmp_path / "none", released=tmp_path / "data/toy")
    again = measure(toy, elsewhere, checkpoint="released", overwrite="always").record
    assert [c.scores for c in again.clips] == [c.scores for c in made.clips]
    for file in frames.frame_files(tmp_path / "data/toy/pan"):
        file.unlink()
    (tmp_path / "data/toy/pan").rmdir()
    failed = measure(toy, elsewhere, checkpoint="released").failed
    assert list(failed) == ["pan"]
    assert "lacks frames of pan: expected a folder of frames for" in failed["pan"][0]


def test_frame_count(toy, settings):
    one = job(toy, settings)
    assert evaluate.frame_count(one, one.found.clips) == 36
    assert evaluate.frame_count(one, ["pan"]) == 9


def test_clips_named_twice_count_once(toy, settings):
    made = measure(toy, settings, ["pan"] * 4).record
    assert [clip.clip for clip in made.clips] == ["pan"]
    assert not made.complete("fixed")


def test_records_of_two_runs_merge(toy, settings):
    for clips in (["pan"], ["zoom", "pan"], ["rotation", "occlusion"]):
        made = measure(toy, settings, clips).record
    assert made.complete("fixed")
    assert record.read_all(RESULTS) == [made]


def test_another_protocol_later_keeps_what_was_measured(toy, settings):
    whole = measure(toy, settings).record
    made = measure(toy, settings, ["pan"], protocols=["channel=y,border=4"]).record
    name = "border=4"
    assert set(made.protocols) == {"fixed", "rgb-crop0", name}
    assert made.complete("fixed")
    assert not made.complete(name)
    assert set(made.clip("pan").scores) == {"fixed", "rgb-crop0", name}
    assert made.clip("zoom") == whole.clip("zoom")
    again = measure(toy, settings, ["pan"]).record
    assert set(again.clip("pan").scores) == {"fixed", "rgb-crop0", name}


def test_lr_in_another_order_is_noticed(toy, settings, tmp_path):
    """What an unsorted listing of a folder does to a clip: every frame is there, out of order."""
    folder = tmp_path / "data/small"
    for name in ("pan", "zoom"):
        gt = sample.clip(name)
        order = [0, *range(8, 0, -1)] if name == "zoom" else range(9)
        for i, j in enumerate(order):
            frames.write(folder / f"GT/{name}/{i}.png", gt[i])
            frames.write(folder / f"BIx4/{name}/{i}.png", degrade.degrade(gt[j], "bi"))
    layout = catalog.Layout("one", "GT/{clip}", {"bi": "BIx4/{clip}"})
    sized = {name: catalog.ClipSize(9, 144, 192) for name in ("pan", "zoom")}
    small = catalog.Dataset(
        name="small",
        title="Small",
        folders=["small"],
        scored="all",
        degradations=["bi"],
        frames=None,
        height=None,
        width=None,
        layouts=[layout],
        licence=None,
        sources=[],
        clips=sized,
    )
    known = catalog.load() | {"small": small}
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(catalog, "load", lambda: known)
        done = measure(toy, settings, dataset="small")
        assert done.record.clips[0].lr_origin == "files"
        assert "LR of small/zoom does not match its GT" in done.failed["zoom"][0]


class Narrow(toynetworks.Window):
    """Has memory for frames of so many LR pixels."""

    def __init__(self, pixels: int) -> None:
        super().__init__()
        self.pixels = pixels

    def features(self, frames):
        if frames.shape[-1] * frames.shape[-2] > self.pixels:
            raise torch.OutOfMemoryError("CUDA out of memory. Tried to allocate")
        return super().features(frames)


@pytest.fixture
def narrow(monkeypatch):
    """The maker of every run is a network with memory for so many pixels."""

    def install(pixels):
        torch.manual_seed(0)
        made = Maker(network=Narrow(pixels), way=SlidingWindow("reflection"), module="toypaper")
        monkeypatch.setattr(maker, "make", lambda *_: made)
        monkeypatch.setattr(maker, "outline", lambda *_: made)
        monkeypatch.setattr(tiles, "_SMALLEST", 16)

    return install


def test_what_memory_does_not_hold_is_restored_in_tiles(toy, settings, narrow):
    narrow(48 * 36)
    whole = measure(toy, settings, ["pan"]).record.clip("pan")
    assert record.RETRIED not in whole.restoring
    narrow(24 * 24)
    done = measure(toy, settings, ["pan"], overwrite="always")
    tiled = done.record.clip("pan")
    assert tiled.restoring == {**whole.restoring, record.RETRIED: "tile 24"}
    assert tiled.scores["fixed"].psnr == pytest.approx(whole.scores["fixed"].psnr, abs=0.01)
    assert measure(toy, settings, ["pan"]).measured == []  # what memory allowed is no wish


def test_memory_that_holds_no_tile_either(toy, settings, narrow):
    narrow(0)
    (error,) = measure(toy, settings, ["pan"]).failed["pan"]
    assert "memory ran out: expected memory for a frame of 48x36 LR pixels" in error
    assert "found too little for whole, tile 24, tile 16; try --dtype float16" in error
