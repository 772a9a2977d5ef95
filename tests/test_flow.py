from __future__ import annotations

import importlib.resources
import sys
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pytest

from bench import frames, metrics, sample, score
from bench.questions import flow

REGIONS = {"covered": np.s_[137:150], "far": np.s_[10:40]}  # columns of `occlusion`
AWAY = 20  # pixels from the sides, beyond which some of what moves is out of the picture


def lumas(clip, *times):
    return [metrics.luma(clip[time]) for time in times]


def photograph():
    """A photograph of 300x451 pixels, with texture nearly everywhere."""
    folder = importlib.resources.files("skimage") / "data"
    return frames.read(Path(str(folder / "chelsea.png")))


def true_flow(name, at):
    """The flow of frame `at` of a sample clip to the next, from its camera."""
    camera = sample._CAMERAS[name][1]  # noqa: SLF001 - what the frames were drawn by
    rows = (np.arange(sample.HEIGHT) + 0.5 - sample.HEIGHT / 2)[:, None]
    columns = (np.arange(sample.WIDTH) + 0.5 - sample.WIDTH / 2)[None]
    y, x, along, across = (value / 65536 for value in camera.at(at))
    down, right = y + along * rows + across * columns, x + along * columns - across * rows
    y, x, along, across = (value / 65536 for value in camera.at(at + 1))
    down, right, square = down - y, right - x, along**2 + across**2
    there = (along * down - across * right) / square, (across * down + along * right) / square
    return np.stack([there[0] - rows, there[1] - columns])


def end_point_error(found, true):
    """The mean error of a flow where it leads into the picture."""
    place = np.indices(found.shape[1:]) + true
    sizes = np.array(found.shape[1:])[:, None, None]
    inside = ((place >= 0) & (place <= sizes - 1)).all(axis=0)
    return float(np.hypot(*(found - true))[inside].mean())


def moved(frame, down, right):
    """Two views of a frame, `down` and `right` pixels apart: the second shows it moved so far."""
    margin = 24
    height, width = frame.shape[:2]
    views = [
        frame[margin - y : height - margin - y, margin - x : width - margin - x]
        for y, x in ((0, 0), (down, right))
    ]
    return [metrics.luma(view) for view in views]


@pytest.mark.parametrize(("name", "most"), [("pan", 0.1), ("zoom", 0.25), ("rotation", 0.1)])
def test_known_motion_is_found(name, most):
    """0.08, 0.20 and 0.08 pixels where this was written."""
    found = flow.estimate(*lumas(sample.clip(name), 3, 4))
    assert found.shape == (2, sample.HEIGHT, sample.WIDTH)
    assert end_point_error(found, true_flow(name, 3)) < most
    still = end_point_error(0 * found, true_flow(name, 3))
    assert still > 5 * most


@pytest.mark.parametrize("step", [(0, 1), (-3, 5), (6, -9)])
def test_whole_steps_are_found_and_undone_by_warping(step):
    before, after = moved(photograph(), *step)
    found = flow.estimate(before, after)
    inner = np.s_[AWAY:-AWAY, AWAY:-AWAY]
    assert np.median(np.hypot(found[0] - step[0], found[1] - step[1])[inner]) < 0.1
    exact = np.broadcast_to(np.float32(step)[:, None, None], found.shape)
    assert np.array_equal(flow.warp(after, exact)[inner], before[inner])
    error = np.square(flow.warp(after, found) - before)[inner].mean()
    assert error < 0.05 * np.square(after - before)[inner].mean()


def test_flow_of_odd_sizes_keeps_its_scale():
    before, after = (plane[:195, :251] for plane in moved(photograph(), 2, -4))
    found = flow.estimate(before, after)
    assert found.shape == (2, 195, 251)
    assert np.median(found[:, AWAY:-AWAY, AWAY:-AWAY], axis=(1, 2)) == pytest.approx(
        [2, -4], abs=0.1
    )


def test_nothing_moves_in_a_still_clip_nor_where_all_is_flat(rng):
    still = rng.uniform(16, 235, (40, 50))
    assert not flow.estimate(still, still).any()
    assert not flow.estimate(np.full((40, 50), 16.0), np.full((40, 50), 16.0)).any()


def test_the_same_frames_give_the_same_flow_on_any_thread():
    planes = lumas(sample.clip("rotation"), 0, 1)
    alone = flow.estimate(*planes)
    with ThreadPoolExecutor(2) as pool:
        for found in pool.map(lambda _: flow.estimate(*planes), range(4)):
            assert np.array_equal(found, alone)


def test_warping_is_bilinear_and_stays_inside(rng):
    plane = rng.uniform(0, 255, (6, 7))
    half = np.zeros((2, 6, 7), np.float32)
    half[1] = 0.5
    warped = flow.warp(plane, half)
    assert warped[:, :-1] == pytest.approx((plane[:, :-1] + plane[:, 1:]) / 2)
    assert warped[:, -1] == pytest.approx(plane[:, -1])
    assert np.array_equal(flow.warp(plane, np.zeros_like(half)), plane)


def test_what_is_visible():
    right = np.zeros((2, 20, 30), np.float32)
    right[1] = 2
    seen = flow.visible(right, -right)
    assert seen[:, :28].all()
    assert not seen[:, 28:].any()  # has left the frame
    back = -right
    back[1, 5:10, 12:20] = 2  # something else came there
    lost = ~flow.visible(right, back)
    assert np.array_equal(np.argwhere(lost[:, :28]), 5 + np.argwhere(np.ones((5, 8))) + (0, 5))
    # The inequality at its edge: 0.5 + 0.01 (|u|^2 + |v|^2).
    for miss, expected in ((0.72, True), (0.76, False)):
        assert flow.visible(right, -right + np.float32(miss) * (right > 0))[9, 9] == expected


def test_what_something_covers_is_not_visible():
    """The ellipse of `occlusion` moves right: what lies before it is covered, the rest is seen."""
    planes = lumas(sample.clip("occlusion"), 4, 5)
    seen = flow.visible(flow.estimate(*planes), flow.estimate(*planes[::-1]))
    share = {where: seen[32:112, columns].mean() for where, columns in REGIONS.items()}
    assert share["covered"] < 0.6
    assert share["far"] > 0.97


@pytest.mark.data
def test_vid4_moved_by_known_steps(data):
    """Prints end-point errors and seconds for one flow: `pytest -s`."""
    for name, clip in score.gt_clips(data / "vid4/GT").items():
        for step in ((1, 2), (3, -8), (12, 20)):
            planes = moved(clip[0], *step)
            begin = time.perf_counter()
            found = flow.estimate(*planes)
            seconds = time.perf_counter() - begin
            error = end_point_error(found, np.array(step)[:, None, None])
            sys.stdout.write(f"\n{name} {step}: {error:.3f} px, {seconds:.2f} s")
            assert error < 0.2
