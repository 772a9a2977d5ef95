from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from bench import bootstrap


def drawn(rng, clips, frames, mean=0.0):
    return [rng.normal(mean, 1, frames) for _ in range(clips)]


def test_a_constant_difference_has_an_interval_of_one_point():
    same = [np.full(n, 0.25) for n in (3, 1, 7)]
    assert bootstrap.interval(same) == (0.25, 0.25)
    assert bootstrap.separable(same)


def test_the_same_scores_cannot_be_told_apart():
    assert not bootstrap.separable([np.zeros(5), np.zeros(2)])
    assert not bootstrap.separable([])
    assert not bootstrap.separable([np.array([])])


@given(st.integers(0, 2**32 - 1))
@settings(max_examples=10, deadline=None)
def test_the_order_of_the_two_does_not_matter(seed):
    clips = drawn(np.random.default_rng(seed), 4, 10, 0.3)
    low, high = bootstrap.interval(clips)
    assert bootstrap.interval([-clip for clip in clips]) == pytest.approx((-high, -low))
    assert bootstrap.interval(clips) == (low, high)  # the seed is fixed
    doubled = bootstrap.interval([2 * clip for clip in clips])
    assert doubled == pytest.approx((2 * low, 2 * high))


def test_each_clip_counts_as_much_as_any_other():
    """The mean of clip means, however long the clips are."""
    low, high = bootstrap.interval([np.full(1000, 1.0), np.full(1, 3.0)])
    assert (low, high) == (1.0, 3.0)


def test_one_clip_leaves_its_frames_to_chance(rng):
    """As wide as the normal distribution has it for the mean of so many frames."""
    frames = rng.normal(0, 1, 400)
    low, high = bootstrap.interval([frames])
    expected = 1.96 * frames.std() / 20
    assert (high - low) / 2 == pytest.approx(expected, rel=0.1)
    assert low < frames.mean() < high


def test_a_difference_that_is_not_there_is_seldom_seen(rng):
    """Of 100 sets without a difference, about 5 may seem to have one; nested draws see fewer."""
    seen = sum(bootstrap.separable(drawn(rng, 12, 6)) for _ in range(100))
    assert seen <= 10
    assert bootstrap.separable(drawn(rng, 12, 6, mean=1.0))


def test_clips_and_not_only_frames_are_left_to_chance(rng):
    """Two clips that disagree settle nothing, however many frames they have."""
    assert not bootstrap.separable([rng.normal(1, 0.1, 500), rng.normal(-0.5, 0.1, 500)])


def test_thousands_of_clips(rng):
    """As many as Vimeo-90K-T has, in seconds."""
    low, high = bootstrap.interval(drawn(rng, 7824, 1, 0.1))
    assert 0.05 < low < 0.1 < high < 0.15
