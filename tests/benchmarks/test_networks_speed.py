"""Processor time of each network for an SR frame, beside what its FLOPs need at a known rate.

The rate is that of a 3x3 convolution, 64 -> 64 channels at 144x180, in the same run. One thread;
the best of the frames of two passes, and the best rate, since whatever else the machine does makes
both worse. Networks that see whole clips are shown 20 frames. Frames in steady state of the others
cost the same in any clip, so theirs are as short as they can be.

What the official code took is from another machine, with two threads but for STDAN: it says which
order to expect, not which is faster.
"""

from __future__ import annotations

import time
from collections.abc import Iterator
from typing import NamedTuple, Self

import numpy as np
import pytest
import torch
from conftest import state
from torch.nn import functional

from bench import paper
from bench.cost import timing
from bench.cost.meter import Metered
from bench.cost.timing import Shape
from bench.latency import Options

WINDOW = "a window on its own, features of five frames included"


class Case(NamedTuple):
    """One network, the clip that it is shown, and the official processor seconds of an SR frame."""

    paper: str
    checkpoint: str
    shape: Shape
    official_s: float
    official: str


# Figures of one window, of a clip of 5 frames, and of 7 SR frames of which a window adds 6.
CASES = (
    Case("tdan", "bix4", Shape(144, 180, 5), 6.8, WINDOW),
    Case("edvr", "m-reds", Shape(144, 180, 5), 7.8, WINDOW),
    Case("edvr", "l-reds", Shape(144, 180, 5), 16.9, WINDOW),
    Case("psrt", "reds", Shape(64, 64, 20), 73 / 5, "of a clip of 5"),
    Case("ttvsr", "reds", Shape(64, 64, 20), 2.9 / 5, "of a clip of 5"),
    Case("stdan", "stdan", Shape(64, 112, 13), 21.9 / 6, "of a window, which adds 6; one thread"),
)


class Processor:
    """A meter of the milliseconds that the processor worked, whatever else it did meanwhile."""

    def __init__(self) -> None:
        self.ms = self.begin = 0.0

    def __enter__(self) -> Self:
        self.begin = time.process_time()
        return self

    def __exit__(self, *error: object) -> None:
        self.ms += 1e3 * (time.process_time() - self.begin)

    def take(self) -> float:
        taken, self.ms = self.ms, 0.0
        return taken


@pytest.fixture(autouse=True)
def one_thread() -> Iterator[None]:
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


def convolution_rate() -> float:
    """FLOPs per processor second, the best of ten."""
    x = torch.rand(1, 64, 144, 180).contiguous(memory_format=torch.channels_last)
    weight = torch.rand(64, 64, 3, 3)
    seconds = []
    for _ in range(10):
        begin = time.process_time()
        functional.conv2d(x, weight, padding=1)
        seconds.append(time.process_time() - begin)
    return 2 * weight.numel() * 144 * 180 / min(seconds)


@pytest.mark.benchmark(timer=time.process_time)
@pytest.mark.parametrize("case", CASES, ids=lambda case: f"{case.paper}-{case.checkpoint}")
def test_a_frame(benchmark, case):
    if not benchmark.enabled:
        pytest.skip("the networks' own tests run them")
    chosen = paper.load(case.paper)
    network = timing.random_network(chosen, case.checkpoint, Options(), torch.device("cpu"))
    restorer = chosen.checkpoint(case.checkpoint).restorer.on("", None)
    metered, clip = Metered(network, Processor()), timing.draw(case.shape, 0)
    costs, rates = [], []

    def one_pass() -> None:
        costs.extend(timing.run_pass(restorer, metered, clip).steady)
        rates.append(convolution_rate())

    with torch.inference_mode():
        rates.append(convolution_rate())
        benchmark.pedantic(one_pass, rounds=2)
    flops = timing.count_flops(chosen, case.checkpoint, case.shape).total
    seconds, bound = np.min(costs) / 1e3, flops / max(rates)
    benchmark.extra_info.update(frame_s=seconds, bound_s=bound, flops=flops)
    state(
        f"{case.paper} {case.checkpoint}, {case.shape.frames} frames of {case.shape.height}x"
        f"{case.shape.width}, one thread: {seconds:.2f} s of processor time for an SR frame; "
        f"{flops / 1e9:.0f} GFLOPs, at {max(rates) / 1e9:.0f} GFLOPs/s of conv2d {bound:.2f} s: "
        f"{seconds / bound:.2f} times as long; official elsewhere {case.official_s:.2f} s "
        f"({case.official})"
    )
