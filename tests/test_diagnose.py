from __future__ import annotations

import functools
import re
import sys
import time

import corruptions
import numpy as np
import pytest
from scipy import ndimage

from bench import degrade, diagnose, sample, score
from bench.errors import BenchError
from bench.questions import phrases

QUICK = 40


@functools.cache
def sample_clips():
    """Bicubic SR and GT of the sample set."""
    return {name: (soft(sample.clip(name)), list(sample.clip(name))) for name in sample.names()}


def soft(clip):
    return [degrade.upsample(degrade.degrade(frame, "bi")) for frame in clip]


def examined(clips, name, sr):
    gt = clips[name][1]
    others = {k: g for k, (_, g) in clips.items() if not corruptions.same(g, gt)}
    return diagnose.examine(sr, gt, name=name, others=others, workers=1)


def named_wrongly(clips, cases):
    """The cases whose kinds a diagnosis does not name, no more and no fewer."""
    wrong = []
    for case in cases:
        found = {one.kind for one in examined(clips, case.name, case.sr).findings}
        if found != case.kinds:
            wrong.append((case.name, case.done, found))
    return wrong


@pytest.mark.parametrize("name", sample.names())
def test_silent_on_clean_frames(name):
    clips = sample_clips()
    for sr in (clips[name][0], clips[name][1]):
        found = examined(clips, name, sr)
        assert found.findings == []
        assert found.before == found.after


@pytest.mark.parametrize("degradation", ["bd", "bd-duf"])
def test_a_wrong_phase_is_a_shift_by_one_and_a_half_pixels(degradation):
    gt = list(sample.clip("rotation"))
    sr = [degrade.upsample(degrade.degrade(frame, degradation)) for frame in gt]
    found = diagnose.examine(sr, gt).findings
    if degradation == "bd":
        assert found == []
    else:
        assert [one.kind for one in found] == ["shift"]
        assert "phase of bd-duf" in found[0].mend


def test_seeded_corruptions_of_the_sample_set_are_named():
    rng = np.random.default_rng(9)
    cases = [corruptions.case(sample_clips(), rng, 1 + i % 2) for i in range(QUICK)]
    wrong = named_wrongly(sample_clips(), cases)
    assert len(wrong) <= 0.05 * QUICK, wrong


def test_gains_add_up_and_the_largest_comes_first():
    clips = sample_clips()
    sr = corruptions.exchanged(corruptions.moved(clips["zoom"][0], 2, 0), None)
    found = examined(clips, "zoom", sr)
    gains = [one.gain for one in found.findings]
    assert gains == sorted(gains, reverse=True)
    assert sum(gains) == pytest.approx(found.after - found.before, abs=1e-9)
    assert min(gains) > 1


def test_a_gamma_and_other_brightness_are_levels():
    clips = sample_clips()
    bent = [np.round(255 * (frame / 255) ** 2.2).astype(np.uint8) for frame in clips["zoom"][0]]
    (only,) = examined(clips, "zoom", bent).findings
    assert only.kind == "levels"
    assert only.gain > 5
    assert "the levels of GT to the power of about 1.9: a gamma" in only.evidence
    brighter = [np.clip(f.astype(int) + 8, 0, 255).astype(np.uint8) for f in clips["zoom"][0]]
    (only,) = examined(clips, "zoom", brighter).findings
    assert only.evidence == "SR has 1.00 times the levels of GT, and +8"


@pytest.mark.parametrize("rows", [[0], [4], [2, 5]])
def test_frames_that_show_nothing_of_gt_are_damaged(rng, rows):
    clips = sample_clips()
    sr = list(clips["zoom"][0])
    for row in rows:
        sr[row] = rng.integers(0, 256, sr[row].shape, dtype=np.uint8) if row else 0 * sr[row]
    (only,) = examined(clips, "zoom", sr).findings
    assert only.kind == "damaged"
    assert only.gain == pytest.approx(17 * len(rows) / len(sr), rel=0.3)
    shown = f"SR frame {rows[0] + 1} shows" if len(rows) == 1 else "SR frames 3, 6 show"
    assert only.evidence.startswith(f"{shown} nothing of GT: correlation ")


def test_damaged_frames_do_not_hide_what_else_is_wrong():
    clips = sample_clips()
    sr = corruptions.exchanged(clips["pan"][0], None)
    sr[4] = np.full_like(sr[4], 128)
    found = {one.kind for one in examined(clips, "pan", sr[:-1]).findings}
    assert found == {"damaged", "channels", "missing"}


def test_a_fade_to_black_is_no_damage():
    gt = [*sample.clip("zoom")[:6], *(sample.clip("zoom")[6:8] // 80)]
    gt.append(np.zeros_like(gt[0]))
    assert diagnose.examine(soft(gt), gt).findings == []


def test_grey_frames_of_colourful_ones():
    clips = sample_clips()
    grey = [np.repeat(frame[..., 1:2], 3, axis=2) for frame in clips["zoom"][0]]
    (only,) = examined(clips, "zoom", grey).findings
    assert (only.kind, only.gain) == ("channels", None)
    assert (only.evidence, "--protocol channel=y" in only.mend) == (phrases.GREY[0], True)
    true = [np.repeat(frame[..., 1:2], 3, axis=2) for frame in clips["zoom"][1]]
    assert diagnose.examine(grey, true).findings == []


@pytest.mark.parametrize(
    ("far", "kind", "words"),
    [
        (2, "shift", "SR lies 2.01 pixels down of GT"),
        (4, "shift", r"\(correlation 0.\d\d\): it may be scaled, or lie farther off"),
        (5, "clip", r"SR is not much like GT: correlation 0.\d\d, for no known cause"),
        (9, "clip", "no frame, order or shift of up to 3.5 pixels fits"),
    ],
)
def test_shifts_beyond_reach_are_not_passed_over(far, kind, words):
    clips = sample_clips()
    (only,) = examined(clips, "zoom", corruptions.moved(clips["zoom"][0], far, 0)).findings
    assert only.kind == kind
    assert re.search(words, only.evidence)


def test_soft_frames_are_not_doubted():
    """Those of LR of an eighth of the size, as of other scales."""
    for name, (_, gt) in sample_clips().items():
        shape = gt[0].shape[:2]
        small = [ndimage.zoom(ndimage.gaussian_filter(f, (4, 4, 0)), (1 / 8, 1 / 8, 1)) for f in gt]
        sr = [ndimage.zoom(f, (shape[0] / len(f), shape[1] / f.shape[1], 1)) for f in small]
        assert examined(sample_clips(), name, sr).findings == []


def test_another_clip_must_be_like_sr_not_only_liker():
    clips = sample_clips()
    (only,) = examined(clips, "occlusion", corruptions.moved(clips["occlusion"][0], 5, 0)).findings
    assert "no frame, order or shift" in only.evidence


def test_a_faithful_scene_of_noise_is_no_finding(rng):
    """SR of it is smooth, and so is like GT in nothing but the levels."""
    gt = [rng.integers(10, 20, (96, 96, 3), dtype=np.uint8) for _ in range(3)]
    found = diagnose.examine([np.full_like(frame, 15) + frame // 18 for frame in gt], gt)
    assert found.before > 30
    assert found.findings == []


def test_frames_that_are_smaller_than_gt():
    gt = list(sample.clip("zoom"))
    sr = [frame[4:, :-8] for frame in soft(gt)]
    found = diagnose.examine(sr, gt).findings
    assert [one.kind for one in found] == ["size"]
    assert "4 pixels lower and 8 pixels narrower than GT: 4 at the top, 8 at the right" in (
        found[0].evidence
    )


def test_frames_that_are_not_of_any_clip(rng):
    gt = list(sample.clip("zoom"))
    noise = list(rng.integers(0, 256, np.shape(gt), dtype=np.uint8))
    found = diagnose.examine(noise, gt, others={"pan": list(sample.clip("pan"))})
    assert [one.kind for one in found.findings] == ["clip"]
    assert found.findings[0].gain is None
    assert "no frame, order or shift of up to 3.5 pixels fits" in found.findings[0].evidence


def test_still_clips_have_no_copies():
    gt = [sample.clip("zoom")[0]] * 4
    assert diagnose.examine(soft(gt), gt).findings == []


def test_one_frame_over_and_over():
    clips = sample_clips()
    for first in (0, 4, 8):
        (only,) = examined(clips, "zoom", [clips["zoom"][0][first]] * 9).findings
        assert (only.kind, only.gain > 5) == ("duplicated", True)
        assert "SR frame 2 repeats 1, 3 repeats 2" in only.evidence
    grey = [np.full_like(frame, 128) for frame in clips["pan"][1]]
    (only,) = examined(clips, "pan", grey).findings
    assert (only.kind, only.gain) == ("clip", None)
    assert "no frame, order or shift of up to 3.5 pixels fits: correlation" in only.evidence


def test_one_frame():
    gt = list(sample.clip("zoom")[:1])
    assert diagnose.examine(soft(gt), gt).findings == []
    found = diagnose.examine(corruptions.exchanged(soft(gt), None), gt).findings
    assert [one.kind for one in found] == ["channels"]


@pytest.mark.parametrize(
    ("cut", "message"),
    [
        (np.s_[::4, ::4], "differ in size by more than padding: expected 192x144, give or take 64"),
        (np.s_[:40, :], "differ in size by more than padding"),
    ],
)
def test_sizes_that_no_padding_explains(cut, message):
    gt = list(sample.clip("zoom"))
    with pytest.raises(BenchError, match=message):
        diagnose.examine([frame[cut] for frame in gt], gt)


def test_frames_too_small_and_frames_of_two_sizes():
    gt = [frame[:40, :60] for frame in sample.clip("zoom")]
    with pytest.raises(BenchError, match=r"too small to tell .* at least 48 pixels a side"):
        diagnose.examine(gt, gt)
    gt = list(sample.clip("zoom"))
    with pytest.raises(BenchError, match="frame 3 differs in size from the first"):
        diagnose.examine([*gt[:2], gt[2][4:], *gt[3:]], gt)


@pytest.mark.parametrize(
    ("places", "copies", "gt_count", "kinds"),
    [
        ([0, 1, 2, 3], [], 4, []),
        ([3, 2, 1, 0], [], 4, ["order"]),
        ([1, 2, 3, -1], [], 4, ["offset"]),
        ([0, 0, 1, 2, 3], [1], 5, ["offset"]),
        ([1, 2, 3], [], 5, ["missing"]),
        ([0, 1, 2], [], 4, ["missing"]),
        ([2, 1, 0], [], 4, ["order", "missing"]),
        ([0, 1, 2, 3, 3, 4, 5, 6], [4], 7, ["duplicated"]),
        ([0, 1, 2, 3, 4, 5, 6, 7], [4], 8, ["duplicated"]),
        ([0, 1, 2, 3], [], 3, ["duplicated"]),
        ([3, 4, -1, -1], [1, 2, 3], 4, ["duplicated"]),
    ],
)
def test_kinds_of_what_is_wrong_in_time(places, copies, gt_count, kinds):
    assert diagnose.timing(np.array(places), copies, len(places), gt_count) == kinds


@pytest.mark.data
def test_corruptions_of_vid4_are_named_and_clean_clips_are_not(data):
    """Prints the rates and how long it took: `pytest -s`."""
    rng = np.random.default_rng(2026)
    pairs = score.pair(data / "vid4/DUF-52L", score.gt_clips(data / "vid4/GT"))
    begin, wrong, alarms = time.perf_counter(), [], []
    for number in range(25):
        clips = {}
        first, top, left = (int(rng.integers(end)) for end in (20, 200, 400))
        for name, (sr, gt) in pairs.items():
            cut = np.s_[top : top + 256, left : left + 256]
            part = [gt[i][cut] for i in range(first, first + 12)]
            if (number + len(clips)) % 2:
                clips[name] = [sr[i][cut] for i in range(first, first + 12)], part
            else:
                clips[name] = soft(part), part
        clean = rng.choice(list(clips), 2, replace=False)
        alarms += [name for name in clean if examined(clips, name, clips[name][0]).findings]
        wrong += named_wrongly(clips, [corruptions.case(clips, rng, 1 + i % 2) for i in range(8)])
    elapsed = time.perf_counter() - begin
    rates = f"{200 - len(wrong)} of 200 named, {len(alarms)} of 50 false alarms"
    sys.stdout.write(f"\n{rates}, {elapsed:.0f} s\n" + "".join(f"{one}\n" for one in wrong))
    assert alarms == []
    assert len(wrong) <= 10


@pytest.mark.data
def test_whole_clips_of_vid4_are_clean(data):
    gt = score.gt_clips(data / "vid4/GT")
    for name, (sr, truth) in score.pair(data / "vid4/DUF-52L", gt).items():
        others = {other: clip for other, clip in gt.items() if other != name}
        assert diagnose.examine(sr, truth, name=name, others=others).findings == []
