"""Processor time of STDAN, and what its FLOPs need at the rate of a convolution."""

from __future__ import annotations

import time

import pytest
import torch
from conftest import state
from torch.nn import functional
from torch.utils.flop_counter import FlopCounterMode

from reproductions.stdan.network import STDAN

# The official class on 4 frames of 64x112 (h x w), float32, CPU, one thread, in processor seconds;
# on another machine.
OFFICIAL_S = 21.9


def convolution_rate() -> float:
    """FLOPs per processor second of a 3x3 convolution, 64 channels, 7 maps of 64x112."""
    x = torch.rand(7, 64, 64, 112).contiguous(memory_format=torch.channels_last)
    weight = torch.rand(64, 64, 3, 3)
    functional.conv2d(x, weight, padding=1)
    begin = time.process_time()
    for _ in range(20):
        functional.conv2d(x, weight, padding=1)
    return 20 * 2 * weight.numel() * 7 * 64 * 112 / (time.process_time() - begin)


def test_4_frames_of_64x112(benchmark):
    if not benchmark.enabled:
        pytest.skip("the network's own tests run it")
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    torch.manual_seed(0)
    network = STDAN().eval()
    clip = torch.rand(1, 4, 3, 64, 112)
    seconds, rates = [], [convolution_rate()]
    with torch.inference_mode():
        with FlopCounterMode(display=False) as counter:
            network(clip)
        for _ in range(3):
            begin = time.process_time()
            network(clip)
            seconds.append(time.process_time() - begin)
            rates.append(convolution_rate())
        benchmark.pedantic(network, (clip,), rounds=1)
    torch.set_num_threads(before)
    best, bound = min(seconds), counter.get_total_flops() / max(rates)
    state(
        f"stdan, 4 frames of 64x112, one thread: {best:.1f} s of processor time (best of 3), "
        f"official {OFFICIAL_S} s elsewhere, {counter.get_total_flops() / 1e9:.0f} GFLOPs, which "
        f"at the rate of a convolution need {bound:.1f} s: {best / bound:.2f} times as long"
    )
