from __future__ import annotations

import numpy as np
import pytest
import torch

from bench import restore
from bench.errors import BenchError
from bench.restore import SlidingWindow


class Toy(torch.nn.Module):
    """A window network that says what it saw: the mean of its window, enlarged; counts features."""

    def __init__(self, window: int = 5, scale: int = 4, size_multiple: int = 1) -> None:
        super().__init__()
        self.window, self.scale, self.size_multiple = window, scale, size_multiple
        self.weight = torch.nn.Parameter(torch.ones(1))
        self.seen: list[torch.Size] = []

    def features(self, frames):
        self.seen.append(frames.shape)
        return list((frames * self.weight).unbind(1))

    def reconstruct(self, window):
        assert len(window) == self.window
        mean = torch.stack(window).mean(0)
        return mean.repeat_interleave(self.scale, 2).repeat_interleave(self.scale, 3)


@pytest.mark.parametrize(
    ("edge", "first", "last"),
    [
        ("replicate", [0, 0, 0, 1, 2], [97, 98, 99, 99, 99]),
        ("reflection", [2, 1, 0, 1, 2], [97, 98, 99, 98, 97]),
        ("reflection-circle", [4, 3, 0, 1, 2], [97, 98, 99, 96, 95]),
        ("circle", [3, 4, 0, 1, 2], [97, 98, 99, 95, 96]),
        ("author", [2, 1, 0, 1, 2], [97, 98, 99, 97, 97]),
    ],
)
def test_edge_rules(edge, first, last):
    assert restore.window_indices(0, 100, 5, edge) == first
    assert restore.window_indices(99, 100, 5, edge) == last
    assert restore.window_indices(50, 100, 5, edge) == [48, 49, 50, 51, 52]


def test_edge_rules_of_the_second_to_last_frame_and_of_seven():
    assert restore.window_indices(98, 100, 5, "author") == [96, 97, 98, 99, 97]
    assert restore.window_indices(98, 100, 5, "reflection") == [96, 97, 98, 99, 98]
    assert restore.window_indices(0, 100, 7, "reflection-circle") == [6, 5, 4, 0, 1, 2, 3]
    assert restore.window_indices(3, 7, 7, "reflection-circle") == [0, 1, 2, 3, 4, 5, 6]
    with pytest.raises(BenchError, match="a clip of 3 frames is too short for a window of 7"):
        restore.window_indices(0, 3, 7, "reflection-circle")


def direct(network, lr, edge):
    """Window by window, nothing kept."""
    for t in range(len(lr)):
        window = [lr[i] for i in restore.window_indices(t, len(lr), network.window, edge)]
        mean = np.mean([frame / 255 for frame in window], axis=0).astype(np.float32)
        whole = mean.repeat(network.scale, 0).repeat(network.scale, 1)
        yield np.round(np.clip(whole, 0, 1) * 255).astype(np.uint8)


@pytest.mark.parametrize("edge", ["replicate", "reflection", "reflection-circle", "author"])
def test_a_clip_window_by_window(noise, edge):
    network, lr = Toy(), list(noise(9, 12, 16))
    sr = list(SlidingWindow(edge=edge).restore(network, lr, range(9)))
    for ours, expected in zip(sr, direct(network, lr, edge), strict=True):
        assert np.abs(ours.astype(int) - expected).max() <= 1  # a half may round either way
    assert network.seen == [(1, 1, 3, 12, 16)] * 9  # each frame's features once


def test_only_wanted_frames_are_made(noise):
    network, lr = Toy(window=3), list(noise(9, 12, 16))
    whole = list(SlidingWindow(edge="reflection").restore(network, lr, range(9)))
    network.seen.clear()
    wanted = [4, 7]
    sr = list(SlidingWindow(edge="reflection").restore(network, lr, wanted))
    assert all(np.array_equal(a, whole[t]) for a, t in zip(sr, wanted, strict=True))
    assert len(network.seen) == 6


def test_features_are_dropped_when_no_window_needs_them(noise, monkeypatch):
    class Counted(Toy):
        alive = most = 0

        def features(self, frames):
            counted = self

            class Feature(torch.Tensor):
                def __del__(self):
                    counted.alive -= 1

            self.alive += 1
            self.most = max(self.most, self.alive)
            return [super().features(frames)[0].as_subclass(Feature)]

        def reconstruct(self, window):
            return super().reconstruct([f.as_subclass(torch.Tensor) for f in window])

    network = Counted()
    for _ in SlidingWindow(edge="reflection").restore(network, list(noise(30, 8, 8)), range(30)):
        pass
    assert network.most <= 7


def test_sizes_are_padded_and_cropped_and_said(noise):
    network, lr = Toy(size_multiple=16), list(noise(5, 21, 30))
    restorer = SlidingWindow(edge="reflection")
    sr = list(restorer.restore(network, lr, range(5)))
    assert {frame.shape for frame in sr} == {(84, 120, 3)}
    assert network.seen[0] == (1, 1, 3, 32, 32)
    plain = list(restorer.restore(Toy(), lr, range(5)))
    assert all(np.array_equal(a, b) for a, b in zip(sr, plain, strict=True))
    assert restorer.settings(network, 21, 30) == {
        "window": 5,
        "edge": "reflection",
        "padded_rows": 11,
        "padded_columns": 2,
    }
    assert restorer.settings(network, 32, 16) == {"window": 5, "edge": "reflection"}
    with pytest.raises(BenchError, match="frames of 8x5 are too small for the network"):
        list(restorer.restore(network, list(noise(5, 5, 8)), range(5)))


def test_output_is_clipped_and_rounded_and_nan_is_a_failure(noise):
    network, lr = Toy(), list(noise(5, 8, 8))
    for weight, level in ((100.0, 255), (-1.0, 0)):
        network.weight.data.fill_(weight)
        lr = [np.full((8, 8, 3), 200, np.uint8)] * 5
        sr = next(iter(SlidingWindow(edge="replicate").restore(network, lr, [2])))
        assert np.all(sr == level)
    network.weight.data.fill_(float("nan"))
    with pytest.raises(BenchError, match="output for frame 2 is not finite"):
        list(SlidingWindow(edge="replicate").restore(network, lr, [2]))
