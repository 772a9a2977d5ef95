from __future__ import annotations

import corruptions
import numpy as np
import pytest

from bench import metrics, sample
from bench.questions import repair
from bench.questions.repair import CHANNELS, Repair, Trial

ALL = frozenset({"clip", "size", "order", "shift", "channels", "levels"})


@pytest.fixture(scope="module")
def clip():
    return list(sample.clip("rotation"))


@pytest.fixture(scope="module")
def noisy(clip):
    rng = np.random.default_rng(3)
    return [np.clip(f + np.round(rng.normal(0, 5, f.shape)), 0, 255).astype(np.uint8) for f in clip]


def trial(sr, gt, *, places=None, shift=(0.0, 0.0), at=(0, 0), rows=(0, 4, 8)):
    places = np.arange(len(sr)) if places is None else places
    one = Trial(sr, gt, gt, Repair(at, (0, 0), places, shift), rows)
    one.repair = one.with_levels()
    return one


def test_nothing_to_repair(clip, noisy):
    one = trial(noisy, clip)
    assert one.repair.channels == CHANNELS[0]
    assert one.repair.levels == "as they are"
    rows = [0, 4, 8]
    expected = metrics.psnr(np.stack(noisy)[rows], np.stack(clip)[rows], "rgb", 8).mean()
    assert one.psnr(frozenset()) == pytest.approx(expected)
    assert one.psnr(ALL) == pytest.approx(expected)


@pytest.mark.parametrize("channels", CHANNELS)
@pytest.mark.parametrize(
    ("change", "levels"),
    [(None, "as they are"), (corruptions.narrowed, "narrow"), (corruptions.widened, "wide")],
)
def test_channels_and_levels_together(  # noqa: PLR0917 - fixtures
    clip, noisy, rng, channels, change, levels
):
    changed = [frame[..., channels] for frame in (change(noisy, rng) if change else noisy)]
    one = trial(changed, clip)
    assert one.repair.levels == levels
    assert tuple(np.array(channels)[list(one.repair.channels)]) == (0, 1, 2)
    clean = trial(noisy, clip).psnr(frozenset())
    assert one.psnr(ALL) == pytest.approx(clean, abs=1.5 if levels == "wide" else 0.2)


@pytest.mark.parametrize("exponent", [0.45, 0.8, 1.25, 2.2])
def test_a_gamma_is_undone(clip, noisy, exponent):
    bent = [np.round(255 * (frame / 255) ** exponent).astype(np.uint8) for frame in noisy]
    one = trial(bent, clip)
    assert one.repair.levels == "power"
    assert 1 / one.repair.curve.exponent == pytest.approx(exponent, rel=0.08)
    # Dark levels that a power of 2.2 made one are not told apart again.
    left = 0.4 * (trial(noisy, clip).psnr(frozenset()) - one.psnr(frozenset()))
    assert one.psnr(ALL) > one.psnr(frozenset()) + left


@pytest.mark.parametrize(("factor", "summand"), [(1.0, 9.0), (1.0, -6.0), (0.8, 0.0), (0.7, 30.0)])
def test_other_levels_lie_on_a_line(clip, noisy, factor, summand):
    lined = [np.clip(np.round(factor * f + summand), 0, 255).astype(np.uint8) for f in noisy]
    one = trial([frame[..., ::-1] for frame in lined], clip)
    assert (one.repair.levels, one.repair.channels) == ("line", (2, 1, 0))
    assert 1 / one.repair.curve.factor == pytest.approx(factor, abs=0.02)
    assert one.psnr(ALL) == pytest.approx(trial(noisy, clip).psnr(frozenset()), abs=0.3)


def test_a_few_levels_are_a_methods_own(clip, noisy):
    brighter = [np.clip(frame + 3.0, 0, 255).astype(np.uint8) for frame in noisy]
    assert trial(brighter, clip).repair.levels == "as they are"


def test_nothing_is_made_flat(clip):
    """Of frames that have nothing to do with flat ones, a line without slope would make them."""
    flat = [np.full_like(frame, 90) for frame in clip]
    assert trial(clip, flat).repair.curve.factor >= 0.1


def test_order_size_and_shift(clip, noisy):
    padded = [np.pad(f, ((4, 0), (0, 6), (0, 0))) for f in noisy[::-1]]
    one = trial(padded, clip, places=np.arange(9)[::-1], at=(4, 0))
    clean = trial(noisy, clip).psnr(frozenset())
    assert one.psnr(frozenset({"order", "size"})) == pytest.approx(clean)
    assert one.psnr(frozenset({"order"})) < clean - 5
    assert one.psnr(frozenset({"size"})) < clean - 5
    moved = trial(corruptions.moved(noisy, -2, 1), clip, shift=(-2.0, 1.0))
    assert moved.psnr(frozenset({"shift"})) == pytest.approx(clean, abs=0.2)


def test_identical_frames(clip):
    assert trial(clip, clip).psnr(ALL) == float("inf")


def test_a_shift_by_whole_pixels_only_moves(clip):
    back = repair.shifted(clip[0], (2.0, -3.0))
    assert np.array_equal(back[:-2, 3:], clip[0][2:, :-3])
