"""Processor time of the long-range networks, and what their FLOPs need at a convolution's rate."""

from __future__ import annotations

import time

import pytest
import torch
from conftest import state
from torch.nn import functional
from torch.utils.flop_counter import FlopCounterMode

import reproductions

# The official classes on 5 frames of 64x64, float32, CPU, two threads, in processor seconds.
OFFICIAL_S = {"psrt": 72.0, "ttvsr": 2.8}


def convolution_rate() -> float:
    """FLOPs per processor second of a 3x3 convolution, 120 channels, 64x64."""
    x, weight = torch.rand(5, 120, 64, 64), torch.rand(120, 120, 3, 3)
    functional.conv2d(x, weight, padding=1)
    begin = time.process_time()
    for _ in range(20):
        functional.conv2d(x, weight, padding=1)
    return 20 * 2 * weight.numel() * 5 * 64 * 64 / (time.process_time() - begin)


@pytest.mark.parametrize("paper", OFFICIAL_S)
def test_5_frames_of_64x64(benchmark, paper):
    if not benchmark.enabled:
        pytest.skip("the networks' own tests run them")
    torch.set_num_threads(2)
    torch.manual_seed(0)
    network = reproductions.network(paper, "reds")
    clip = torch.rand(1, 5, 3, 64, 64)
    with torch.inference_mode():
        with FlopCounterMode(display=False) as counter:
            network(clip)
        begin = time.process_time()
        benchmark.pedantic(network, (clip,), rounds=1)
        seconds = time.process_time() - begin
        bound = counter.get_total_flops() / convolution_rate()
    if benchmark.stats is not None:
        state(
            f"{paper}, 5 frames of 64x64: {seconds:.1f} s of processor time, official "
            f"{OFFICIAL_S[paper]} s, {counter.get_total_flops() / 1e9:.0f} GFLOPs, which at the "
            f"rate of a convolution need {bound:.1f} s"
        )
