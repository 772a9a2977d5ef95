from __future__ import annotations

import numpy as np
import pytest
import torch

import reproductions
from bench import sample
from bench.restore import SlidingWindow, to_tensor, window_indices


def test_tdan_on_20_frames_of_144x180(benchmark, ratio):
    """The restorer computes a frame's features once; beside it the network window by window."""
    if not benchmark.enabled:
        pytest.skip("tests/test_tdan.py compares features made once with those of every window")
    torch.set_num_threads(2)
    torch.manual_seed(0)
    network = reproductions.network("tdan", "bix4")
    clip = np.concatenate([sample.clip("pan"), sample.clip("zoom"), sample.clip("rotation")[:2]])
    lr = list(np.ascontiguousarray(clip[:, :144, :180]))
    outputs = {}

    def restorer():
        restored = SlidingWindow(edge="reflection").restore(network, lr, range(len(lr)))
        outputs["restorer"] = np.stack(list(restored))

    def window_by_window():
        frames = torch.stack([to_tensor(frame, network) for frame in lr])
        stack = []
        with torch.inference_mode():
            for t in range(len(lr)):
                indices = window_indices(t, len(lr), network.window, "reflection")
                stack.append(network(frames[indices][None])[0])
        sr = torch.stack(stack).clamp(0, 1).mul(255).round().permute(0, 2, 3, 1)
        outputs["windows"] = sr.numpy().astype(np.uint8)

    ratio("TDAN, 20 frames of 144x180", restorer, window_by_window, "window by window", 2)
    difference = np.abs(outputs["restorer"].astype(int) - outputs["windows"])
    assert difference.max() <= 1
    assert np.count_nonzero(difference) < 1e-5 * difference.size
