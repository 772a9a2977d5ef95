from __future__ import annotations

import corruptions
import numpy as np
import pytest

from bench import degrade, sample
from bench.questions import alignment
from bench.questions.alignment import Box, Spectrum


@pytest.fixture(scope="module")
def clip():
    return list(sample.clip("zoom"))


@pytest.fixture(scope="module")
def soft(clip):
    return [degrade.upsample(degrade.degrade(frame, "bi")) for frame in clip]


def spectrum(frames, box=None):
    return Spectrum(frames, box or Box.within(*frames[0].shape[:2]))


def test_a_clip_is_wholly_like_itself_and_shape_levels_channels_do_not_matter(clip):
    one = spectrum(clip)
    assert np.diag(one.likeness(one, (0.0, 0.0))) == pytest.approx(1, abs=1e-5)
    other = spectrum([(20 + frame[..., ::-1] * 0.5).astype(np.uint8) for frame in clip])
    assert np.diag(one.likeness(other, (0.0, 0.0))).min() > 0.999


def test_moving_back_undoes_a_shift(clip):
    still, moved = spectrum(clip), spectrum(corruptions.moved(clip, 2, -1))
    likely = [np.diag(moved.likeness(still, shift)).mean() for shift in ((2.0, -1.0), (0.0, 0.0))]
    assert likely[0] > 0.98 > likely[1] + 0.1


@pytest.mark.parametrize("shift", [(0.0, 0.0), (3.0, 0.0), (-1.5, -1.5), (0.4, 2.6), (-2.3, 0.7)])
def test_shifts_of_soft_frames_to_a_tenth_of_a_pixel(clip, soft, shift):
    found = alignment.align(spectrum(corruptions.moved(soft, *shift)), spectrum(clip))
    assert found.shift == pytest.approx(shift, abs=0.1)
    assert found.order.kind == "named"


@pytest.mark.parametrize("name", ["pan", "rotation", "occlusion"])
@pytest.mark.parametrize(
    ("kind", "rows"),
    [
        ("named", range(9)),
        ("reversed", range(8, -1, -1)),
        ("offset", range(2, 9)),
        ("any", (4, 0, 8, 2, 6, 1, 3, 7, 5)),
    ],
)
def test_orders(name, kind, rows):
    gt = list(sample.clip(name))
    soft = [degrade.upsample(degrade.degrade(gt[row], "bi")) for row in rows]
    found = alignment.align(spectrum(soft), spectrum(gt))
    assert (found.order.kind, [*found.order.places]) == (kind, [*rows])
    assert max(map(abs, found.shift)) < alignment.NOTICED


def test_order_and_shift_together_where_the_camera_pans():
    gt = list(sample.clip("pan"))
    soft = [degrade.upsample(degrade.degrade(frame, "bi")) for frame in gt]
    found = alignment.align(spectrum(corruptions.moved(soft, 1.3, 0.6)[::-1]), spectrum(gt))
    assert found.order.kind == "reversed"
    assert found.shift == pytest.approx((1.3, 0.6), abs=0.1)


def test_names_sorted_as_text(soft, clip):
    rows = sorted(range(9), key=lambda i: str(i + 5))
    found = alignment.align(spectrum([soft[i] for i in rows]), spectrum(clip), (), (5,))
    assert (found.order.kind, [*found.order.places]) == ("text", rows)


def test_copies_push_frames_back_or_take_their_place(soft, clip):
    pushed = alignment.align(spectrum([*soft[:5], soft[4], *soft[5:]]), spectrum(clip), [5])
    assert [*pushed.order.places] == [0, 1, 2, 3, 4, 4, 5, 6, 7, 8]
    kept = alignment.align(spectrum([*soft[:5], soft[4], *soft[6:]]), spectrum(clip), [5])
    assert np.array_equal(np.delete(kept.order.places, 5), [0, 1, 2, 3, 4, 6, 7, 8])


def test_one_frame_and_frames_without_detail(clip):
    found = alignment.align(spectrum(clip[:1]), spectrum(clip[:1]))
    assert (found.shift, found.order.kind) == ((0.0, 0.0), "named")
    black = [np.zeros_like(clip[0])] * 3
    found = alignment.align(spectrum(black), spectrum(black))
    assert (found.shift, found.order.kind, found.likeness) == ((0.0, 0.0), "named", 0.0)


def test_soft_frames_are_coarsely_alike_and_moved_ones_are_not(clip, soft):
    def coarsely(sr):
        two = spectrum(sr), spectrum(clip)
        return alignment.coarse_likeness(*two, alignment.align(*two))

    assert coarsely(soft) > 0.99
    assert coarsely(corruptions.moved(soft, 2, 1)) > 0.99
    assert coarsely(corruptions.moved(soft, 6, 0)) < 0.9


def test_of_each_frame_and_of_none_without_a_place(clip, soft):
    sr = [*soft[1:5], np.full_like(soft[0], 9), *soft[6:], soft[0]]
    two = spectrum(sr), spectrum(clip)
    places = np.array([1, 2, 3, 4, 5, 6, 7, 8, -1])
    one = alignment.Alignment(alignment.Order("offset", places), (0.0, 0.0), 0.0)
    found = alignment.likenesses(*two, one)
    assert np.isnan(found).tolist() == [False] * 8 + [True]
    assert found[4] == pytest.approx(0, abs=1e-6)
    assert np.delete(found, [4, 8]).min() > 0.8
