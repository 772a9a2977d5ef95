from __future__ import annotations

import re

import numpy as np
import pytest

from bench.questions import phrases
from bench.questions.alignment import Order
from bench.questions.repair import CHANNELS


@pytest.mark.parametrize(
    ("extra", "place", "seen", "mend"),
    [
        ((4, 4), (0, 0), "4 at the bottom, 4 at the right", "frame[:-4, :-4]"),
        ((8, 4), (4, 4), "4 at the top, 4 at the bottom, 4 at the left", "frame[4:-4, 4:]"),
        ((0, -2), (0, 2), "2 pixels narrower than GT: 2 at the left", "cut GT frames"),
    ],
)
def test_size(extra, place, seen, mend):
    words = phrases.size(extra, place)
    assert seen in words[0]
    assert mend in words[1]


@pytest.mark.parametrize(
    ("moved", "seen", "mend"),
    [
        ((1.46, 1.6), "1.46 pixels down and 1.60 pixels right", "LR in the phase of bd-duf"),
        ((-1.5, -1.5), "1.50 pixels up and 1.50 pixels left", "LR in the phase of bi or bd"),
        ((0.0, 1.0), "lies 1.00 pixels right of GT", "align_corners"),
    ],
)
def test_shift(moved, seen, mend):
    words = phrases.shift(moved)
    assert seen in words[0]
    assert mend in words[1]


def test_how_to_get_missing_frames_depends_on_how_many_there_are():
    for lacking, mend in ((5, "fill windows at the ends"), (6, "restore whole clips")):
        for places in (range(20 - lacking), range(lacking, 20)):
            order = Order("offset", np.array(places))
            assert phrases.temporal("missing", order, [], 20)[1].startswith(mend)


def test_channels_say_how_to_undo_them(rng):
    names = {"red": 0, "green": 1, "blue": 2}
    for order in CHANNELS[1:]:
        seen, mend = phrases.channels(order)
        gt = rng.integers(0, 256, (2, 2, 3))
        sr = np.empty_like(gt)
        sr[..., list(order)] = gt
        written = mend.partition(": cv2")[0].removeprefix("write ")
        assert written == f"frame[..., {'::-1' if order == CHANNELS[-1] else [*order]}]"
        assert np.array_equal(sr[..., order], gt)
        told = [names[word.strip(",")] for word in seen.split() if word.strip(",") in names]
        if "stand as" in seen:
            assert np.array_equal(sr, gt[..., told])
        else:
            assert [order[i] for i in told] == told[::-1]


@pytest.mark.parametrize(
    ("kind", "order", "places", "copies", "gt_count", "seen"),
    [
        ("order", "reversed", [3, 2, 1, 0], [], 4, "frames run backwards"),
        ("order", "any", [0, 2, 1, 3], [], 4, "SR frame 2 shows 3, 3 shows 2"),
        ("order", "text", [0, 9, 1, *range(2, 9)], [], 10, "names as text .*2 shows 10, 3 shows 2"),
        ("offset", "offset", [-1, 0, 1, 2], [], 4, "1 late: SR frame 3 shows GT frame 2"),
        ("offset", "offset", [2, 3, 4, -1], [], 5, "2 early: SR frame 4 shows GT frame 6"),
        (
            "missing",
            "offset",
            [2, 3],
            [],
            5,
            "2 SR frames for 5 of GT: .* 2 and the last 1 missing",
        ),
        ("missing", "any", [0, 1, 3], [], 4, ": frame 3 missing"),
        ("duplicated", "named", [0, 1, 2, 3], [2], 4, "^SR frame 3 repeats 2$"),
        ("missing", "any", [0, 3], [], 4, ": frames 2, 3 missing"),
        ("missing", "any", [0, 9], [], 10, ": frames 2, 3, 4, 5, 6, 7, ... missing"),
        ("duplicated", "named", [0, 0, 1], [1], 2, "3 SR frames for 2 of GT: SR frame 2 repeats 1"),
    ],
)
def test_time(kind, order, places, copies, gt_count, seen):  # noqa: PLR0917 - one line a case
    words, mend = phrases.temporal(kind, Order(order, np.array(places)), copies, gt_count)
    assert re.search(seen, words)
    assert mend
