from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from bench import catalog, degrade, evaluate, frames, record, sample, score
from bench.errors import BenchError
from bench.evaluate import Run, Selection, Settings

RESULTS = Path("results")  # every test runs in a folder of its own


@pytest.fixture
def settings(tmp_path):
    return Settings(data_root=tmp_path / "data")


def planned(toy, settings, **selection):
    return evaluate.plan(toy, Selection(**selection), settings)


def test_a_plan_has_every_run_and_its_protocols(toy, settings):
    runs = {item.run: item for item in planned(toy, settings)}
    good = runs[Run("toy", "good", "sample", "bi")]
    assert list(good.protocols) == ["fixed", "rgb-crop0"]
    assert (good.cells, good.problem) == (5, None)
    assert list(runs[Run("toy", "good", "sample", "bd")].protocols) == ["fixed", "y-crop8-skip2"]
    assert "address is dead" in str(runs[Run("toy", "absent", "sample", "bi")].problem)
    assert "Vid4 not found" in str(runs[Run("toy", "good", "vid4", "bi")].problem)
    assert "no frames were released" in str(runs[Run("toy", "released", "vid4", "bi")].problem)
    released = str(runs[Run("toy", "released", "sample", "bi")].problem)
    assert "name their folder with --frames; they are at https://example.org/toy" in released
    assert len(runs) == 6


def test_a_plan_can_be_narrowed_and_widened(toy, settings):
    one = planned(toy, settings, checkpoints=["good"], datasets=["sample"], degradations=["bi"])
    assert [item.run for item in one] == [Run("toy", "good", "sample", "bi")]
    other = planned(
        toy,
        settings,
        checkpoints=["swapped"],
        datasets=["sample"],
        degradations=["bd-duf"],
        protocols=["channel=rgb,border=1"],
    )
    assert [item.run for item in other] == [Run("toy", "swapped", "sample", "bd-duf")]
    assert list(other[0].protocols) == ["fixed", "channel=rgb,border=1"]
    for selection, words in [
        ({"checkpoints": ["best"]}, "toy has no checkpoint 'best'"),
        ({"datasets": ["vid5"]}, "unknown data set"),
        ({"datasets": ["sample"], "degradations": ["bx"]}, "Sample has no degradation 'bx'"),
        ({"protocols": ["y9"]}, "unknown protocol"),
    ]:
        with pytest.raises(BenchError, match=words):
            planned(toy, settings, **selection)


def test_data_sets_scored_at_the_centre(toy, settings):
    wanted = {"datasets": ["vimeo-90k-t"], "checkpoints": ["good"]}
    item = planned(toy, settings, **wanted, protocols=["y-crop0-centre"])[0]
    assert list(item.protocols) == ["fixed-centre", "y-crop0-centre"]
    with pytest.raises(BenchError, match="protocol y-crop8-skip2 does not fit Vimeo-90K-T"):
        planned(toy, settings, **wanted, protocols=["y-crop8-skip2"])


def execute(toy, settings, checkpoint="good", degradation="bi", clips=(), **selection):
    item = planned(
        toy,
        settings,
        checkpoints=[checkpoint],
        datasets=["sample"],
        degradations=[degradation],
        **selection,
    )[0]
    return evaluate.execute(item, toy, clips, settings, RESULTS)


def test_a_run_scores_what_the_method_makes(toy, settings):
    made = execute(toy, settings)
    assert made.complete("fixed")
    assert [clip.clip for clip in made.clips] == sorted(sample.names())
    clip, gt = made.clip("pan"), sample.clip("pan")
    lr = [degrade.degrade(frame, "bi") for frame in gt]
    sr = [degrade.upsample(frame) for frame in lr]
    expected = score.score_clip(sr, list(gt), made.protocols)
    assert (clip.lr_sha256, clip.lr_origin) == (score.digest(lr), "made")
    assert clip.sr_sha256 == expected.sr_sha256
    assert clip.scores["fixed"].psnr == [round(v, 6) for v in expected.scores["fixed"].psnr]
    swapped = execute(toy, settings, "swapped", clips=["pan"])
    assert not swapped.complete("fixed")
    assert swapped.mean("fixed")[0].value < made.mean("fixed", "pan")[0].value - 3


def test_a_run_can_be_repeated_to_the_digit(toy, settings):
    one, two = execute(toy, settings), execute(toy, settings._replace(workers=4))
    strip = lambda r: [(c.clip, c.scores, c.sr_sha256) for c in r.clips]  # noqa: E731
    assert strip(one) == strip(two)


def test_frames_are_saved_as_scored(toy, settings, tmp_path):
    made = execute(toy, settings._replace(save=tmp_path / "sr"), clips=["zoom"])
    folder = tmp_path / "sr/toy/good/sample-bi/zoom"
    files = frames.frame_files(folder)
    assert [path.name for path in files] == [f"{i:08d}.png" for i in range(9)]
    assert score.digest(map(frames.read, files)) == made.clip("zoom").sr_sha256


@pytest.mark.parametrize(
    ("checkpoint", "words"),
    [
        ("short", "toy/short on sample, bi, clip pan: .* expected 9 SR frames, found 8"),
        ("failing", "clip pan: the network gave NaN; look at frame 2"),
    ],
)
def test_failures_name_run_and_clip(toy, settings, checkpoint, words):
    with pytest.raises(BenchError, match=words):
        execute(toy, settings, checkpoint)


def test_released_frames(toy, settings, tmp_path):
    for name in sample.names():
        for i, frame in enumerate(sample.clip(name)):
            frames.write(tmp_path / "data/toy" / name / f"Frame {i + 1}.png", frame)
    found = {item.run: item for item in planned(toy, settings)}
    item = found[Run("toy", "released", "sample", "bi")]
    assert item.problem is None
    made = evaluate.execute(item, toy, (), settings, RESULTS)
    assert np.isposinf(made.mean("fixed")[0].value)
    assert made.clips[0].lr_sha256 is None
    elsewhere = Settings(data_root=tmp_path / "none", released=tmp_path / "data/toy")
    again = evaluate.execute(item, toy, (), elsewhere, RESULTS)
    assert [c.scores for c in again.clips] == [c.scores for c in made.clips]
    for file in frames.frame_files(tmp_path / "data/toy/pan"):
        file.unlink()
    (tmp_path / "data/toy/pan").rmdir()
    with pytest.raises(BenchError, match="lacks frames of pan: expected a folder of frames for"):
        evaluate.execute(item, toy, (), elsewhere, RESULTS)


def test_frame_count(toy, settings):
    item = planned(toy, settings, checkpoints=["good"], datasets=["sample"])[0]
    assert evaluate.frame_count(item, (), settings) == 36
    assert evaluate.frame_count(item, ["pan"], settings) == 9


def test_clips_named_twice_count_once(toy, settings):
    made = execute(toy, settings, clips=["pan"] * 4)
    assert [clip.clip for clip in made.clips] == ["pan"]
    assert not made.complete("fixed")


def test_records_of_two_runs_merge(toy, settings):
    for clips in (["pan"], ["zoom", "pan"], ["rotation", "occlusion"]):
        made = execute(toy, settings, clips=clips)
    assert made.complete("fixed")
    assert record.read_all(RESULTS) == [made]


def test_another_protocol_later_keeps_what_was_measured(toy, settings):
    whole = execute(toy, settings)
    made = execute(toy, settings, clips=["pan"], protocols=["channel=y,border=4"])
    name = "border=4"
    assert list(made.protocols) == ["fixed", "rgb-crop0", name]
    assert made.complete("fixed")
    assert not made.complete(name)
    assert set(made.clip("pan").scores) == {"fixed", "rgb-crop0", name}
    assert made.clip("zoom") == whole.clip("zoom")
    again = execute(toy, settings, clips=["pan"])
    assert set(again.clip("pan").scores) == {"fixed", "rgb-crop0", name}


def test_a_failure_keeps_the_clips_before_it(toy, settings, monkeypatch):
    opened = evaluate.open_clip

    def fail(found, name, *rest):
        if name == "rotation":
            raise BenchError("rotation is broken")
        return opened(found, name, *rest)

    monkeypatch.setattr(evaluate, "open_clip", fail)
    with pytest.raises(BenchError, match="rotation is broken"):
        execute(toy, settings)
    kept = [clip.clip for clip in record.read_all(RESULTS)[0].clips]
    assert kept == ["pan", "zoom"]


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
        item = planned(toy, settings, checkpoints=["good"], datasets=["small"])[0]
        made = evaluate.execute(item, toy, ["pan"], settings, RESULTS)
        assert made.clips[0].lr_origin == "files"
        with pytest.raises(BenchError, match=r"clip zoom: LR of small/zoom does not match its GT"):
            evaluate.execute(item, toy, ["zoom"], settings, RESULTS)
