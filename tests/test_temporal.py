from __future__ import annotations

import csv
import json
import math
import sys
from itertools import pairwise

import numpy as np
import pytest

from bench import degrade, metrics, sample, score, temporal
from bench.errors import BenchError

LEVEL = 219 / 255  # of luma, for one of R, G and B


def middling(name="pan", count=4):
    """A sample clip in the levels 60 to 187, so that nothing saturates."""
    return [frame // 2 + np.uint8(60) for frame in sample.clip(name)[:count]]


def noisy(clip, deviation, seed=3):
    rng = np.random.default_rng(seed)
    noise = [rng.normal(0, deviation, frame.shape).round() for frame in clip]
    return [np.clip(f + n, 0, 255).astype(np.uint8) for f, n in zip(clip, noise, strict=True)]


@pytest.mark.parametrize("name", sample.names())
def test_gt_itself_is_as_steady_as_gt(name):
    gt = list(sample.clip(name)[:4])
    found = temporal.measure(gt, gt)
    assert found.warping_error == found.gt_warping_error
    assert found.tof == [0, 0, 0]
    assert found.flicker == [0, 0]
    assert min(found.visible) > 0.9
    assert found.left_out == 0
    assert min(found.gt_warping_error) > 0
    unmoved = np.mean([np.square(metrics.luma(a) - metrics.luma(b)) for a, b in pairwise(gt)])
    assert temporal.mean(found.gt_warping_error) < 0.2 * unmoved


def test_a_constant_offset_is_steady():
    gt = middling()
    found = temporal.measure([frame + 9 for frame in gt], gt)
    assert found.flicker == pytest.approx([0, 0], abs=1e-5)
    assert found.tof == pytest.approx([0, 0, 0], abs=0.001)
    assert found.warping_error == pytest.approx(found.gt_warping_error, rel=1e-9)


@pytest.mark.parametrize("size", [3, 12])
def test_an_alternating_error_is_flicker_of_its_size(size):
    gt = middling("zoom")
    sr = [frame + size if i % 2 else frame - size for i, frame in enumerate(gt)]
    found = temporal.measure(sr, gt)
    assert found.flicker == pytest.approx([size * LEVEL] * 2, rel=1e-6)
    assert temporal.mean(found.warping_error) > temporal.mean(found.gt_warping_error) + size**2


def test_an_error_that_grows_evenly_is_no_flicker():
    gt = middling("rotation")
    found = temporal.measure([frame + 4 * i for i, frame in enumerate(gt)], gt)
    assert found.flicker == pytest.approx([0, 0], abs=1e-5)


def test_an_error_that_stands_still_in_a_still_clip_is_steady(noise):
    gt = middling(count=1) * 3
    found = temporal.measure([noise(*gt[0].shape[:2])] * 3, gt)
    assert found == temporal.Steadiness([0, 0], [0, 0], [0, 0], [1, 1], [0])


def test_an_error_that_moves_with_the_scene_is_less_than_one_that_stands_on_the_screen(noise):
    """GT moves by whole pixels; the error lies on what is seen, or before it."""
    picture = np.repeat(np.repeat(noise(24, 30), 8, axis=0), 8, axis=1) // 2 + np.uint8(40)
    dirt = np.repeat(np.repeat(noise(48, 60), 4, axis=0), 4, axis=1) // 8
    cuts = [np.s_[2 * t : 180 + 2 * t, 3 * t : 220 + 3 * t] for t in range(3)]
    gt = [picture[cut] for cut in cuts]
    carried = temporal.measure([(picture + dirt)[cut] for cut in cuts], gt)
    standing = temporal.measure([frame + dirt[:180, :220] for frame in gt], gt)
    assert carried.flicker[0] < 0.25 * standing.flicker[0]
    assert max(carried.tof) < min(standing.tof)
    assert max(carried.warping_error) < min(standing.warping_error)


def test_noise_of_each_frame_worsens_all_three():
    gt = middling()
    found = [temporal.measure(noisy(gt, deviation), gt).means() for deviation in (0, 1, 2, 4, 8)]
    for name in ("warping_error", "tof", "flicker"):
        values = [means[name] for means in found]
        assert values == sorted(set(values)), name
    # Noise of three frames, of weights 1, -2 and 1 and those of luma: less where it is warped.
    luma = LEVEL * math.hypot(*metrics.LUMA_WEIGHTS) / 1000
    whole = 8 * luma * math.sqrt(6) / 4 * math.sqrt(2 / math.pi)
    assert 0.8 * whole < found[-1]["flicker"] < whole


def test_blur_lowers_the_warping_error_and_not_the_others():
    """What the docstring warns of."""
    gt = noisy(middling(), 3)
    soft = [degrade.upsample(degrade.degrade(frame, "bi")) for frame in gt]
    found = temporal.measure(soft, gt)
    assert max(found.warping_error) < min(found.gt_warping_error)
    assert min(found.tof + found.flicker) > 0


def test_what_was_measured_by_hand():
    """The equations, written once more for a clip that does not move."""
    gt = middling(count=1) * 3
    sr = noisy(gt, 5)
    found = temporal.measure(sr, gt)
    inside = np.s_[8:-8, 8:-8]
    y = [metrics.luma(frame)[inside] for frame in sr]
    errors = [np.square(y[t + 1] - y[t]).mean() for t in range(2)]
    assert found.warping_error == pytest.approx(errors)
    assert found.flicker == pytest.approx([np.abs(y[0] - 2 * y[1] + y[2]).mean() / 4])
    assert found.means()["warping_error"] == pytest.approx(np.mean(errors))


def test_a_cut_is_left_out():
    clip = [*sample.clip("pan")[:3], *sample.clip("rotation")[:3]]
    found = temporal.measure(noisy(clip, 2), clip)
    for values in (found.warping_error, found.gt_warping_error, found.tof):
        assert [math.isnan(value) for value in values] == [False, False, True, False, False]
    assert [math.isnan(value) for value in found.flicker] == [False, True, True, False]
    assert found.visible[2] < 0.1
    assert found.left_out == 1
    assert not any(map(math.isnan, found.means().values()))
    assert math.isnan(temporal.mean([math.nan]))


@pytest.mark.parametrize("workers", [1, 2, 5])
def test_the_number_of_workers_changes_nothing(workers):
    gt = list(sample.clip("occlusion")[:6])
    sr = noisy(gt, 4)
    done = []
    found = temporal.measure(sr, gt, workers=workers, on_pair=lambda: done.append(1))
    expected = temporal.Steadiness(*([] for _ in range(5)))
    for t in range(4):
        part = temporal.measure(sr[t : t + 3], gt[t : t + 3], workers=1)
        expected.flicker.extend(part.flicker)
        for values, more in zip(expected[:4], part[:4], strict=True):
            values.extend(more if t == 3 else more[:1])
    assert found == expected
    assert len(done) == 5


def test_bad_clips(noise):
    clip = list(noise(3, 40, 48))
    for sr, gt, message in (
        (clip[:2], clip[:2], "at least 3, found 2 SR, 2 GT; give whole clips"),
        (clip[:1], clip[:1], "at least 3, found 1 SR, 1 GT"),
        (clip, [*clip, clip[0]], "as many SR as GT frames, at least 3, found 3 SR, 4 GT"),
        ([*clip[:2], clip[2][2:]], clip, "SR frame 3 differs in size .* 48x40, found 48x38"),
        (clip, [clip[0], clip[1][:, 2:], clip[2]], "GT frame 2 differs in size .* found 46x40"),
        ([f[:31] for f in clip], [f[:31] for f in clip], "too small .* 32 pixels .* 48x31"),
    ):
        with pytest.raises(BenchError, match=message):
            temporal.measure(sr, gt)


def test_the_definition_has_a_hash_that_moves_with_it():
    """A changed number here means a changed definition: then count `version` up."""
    assert (temporal.DEFINITION["version"], temporal.HASH) == (1, "8c448fb1e2587527")


def test_exported_values(tmp_path):
    clip = [*sample.clip("pan")[:3], *sample.clip("rotation")[:2]]
    found = {"a": temporal.measure(noisy(clip, 2), clip)}
    temporal.export(found, tmp_path / "out.json", tmp_path / "out.csv")
    data = json.loads((tmp_path / "out.json").read_text())
    assert (data["hash"], data["definition"]) == (temporal.HASH, temporal.DEFINITION)
    assert data["scikit_image"].count(".") >= 1
    assert data["clips"]["a"]["mean"] == found["a"].means()
    assert data["clips"]["a"]["tof"][:2] == found["a"].tof[:2]
    assert data["clips"]["a"]["tof"][2] is None
    rows = list(csv.DictReader((tmp_path / "out.csv").read_text().splitlines()))
    assert [row["frame"] for row in rows] == ["0", "1", "2", "3"]
    assert [row["flicker"] for row in rows] == ["", str(found["a"].flicker[0]), "", ""]
    assert [row["tof"] for row in rows][2] == ""
    assert float(rows[3]["visible"]) == found["a"].visible[3]


@pytest.mark.data
def test_duf_follows_motion_better_than_bicubic(data):
    """Prints the measures of four frames of each clip of Vid4: `pytest -s`."""
    pairs = score.pair(data / "vid4/DUF-52L", score.gt_clips(data / "vid4/GT"))
    for name, (duf, gt) in pairs.items():
        reference = [gt[t] for t in range(10, 14)]
        enlarged = [degrade.upsample(degrade.degrade(frame, "bi")) for frame in reference]
        restored = temporal.measure([duf[t] for t in range(10, 14)], reference)
        bicubic = temporal.measure(enlarged, reference)
        for kind, found in (("DUF-52L", restored), ("bicubic", bicubic)):
            values = ", ".join(f"{key} {value:.4f}" for key, value in found.means().items())
            sys.stdout.write(f"\n{name} {kind}: {values}")
        assert restored.means()["tof"] < bicubic.means()["tof"]
        assert restored.gt_warping_error == bicubic.gt_warping_error
        assert min(restored.visible) > 0.9
