"""A paper of the tests' own: methods that are simple, wrong in a known way, or fail."""

from __future__ import annotations

import numpy as np

from bench.degrade import upsample
from bench.errors import BenchError


def good(lr, scale):
    for frame in lr:
        yield upsample(frame, scale)


def swapped(lr, scale):
    for frame in lr:
        yield np.ascontiguousarray(upsample(frame, scale)[..., ::-1])


def short(lr, scale):
    for frame in lr[:-1]:
        yield upsample(frame, scale)


def failing(lr, scale):
    yield upsample(lr[0], scale)
    raise BenchError("the network gave NaN", todo="look at frame 2")
