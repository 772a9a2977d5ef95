"""A paper of the tests' own: methods that are simple, wrong in a known way, or fail."""

from __future__ import annotations

import multiprocessing
import os
import signal
import time

import numpy as np

from bench.degrade import upsample
from bench.errors import BenchError


def good(lr, scale, wanted):
    for t in wanted:
        yield upsample(lr[t], scale)


def swapped(lr, scale, wanted):
    for t in wanted:
        yield np.ascontiguousarray(upsample(lr[t], scale)[..., ::-1])


def short(lr, scale, wanted):
    for t in wanted[:-1]:
        yield upsample(lr[t], scale)


def failing(lr, scale, wanted):
    yield upsample(lr[0], scale)
    raise BenchError("the network gave NaN", todo="look at frame 2")


def constant(lr, scale, wanted):
    for t in wanted:
        yield np.full_like(upsample(lr[t], scale), 128)


def crashing(lr, scale, wanted):
    yield upsample(lr[0], scale)
    raise KeyError("no such layer")


def dying(lr, scale, wanted):
    for t in wanted:
        yield upsample(lr[t], scale)
        if t == 3 and multiprocessing.parent_process():
            os.kill(os.getpid(), signal.SIGKILL)


def slow(lr, scale, wanted):
    for t in wanted:
        time.sleep(0.5)
        yield upsample(lr[t], scale)
