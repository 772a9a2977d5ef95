from __future__ import annotations

import numpy as np
import pytest
import torch

from bench import tiles
from bench.errors import BenchError
from bench.restore import SlidingWindow, SpaceTime, WholeClip
from bench.tiles import Tiled


class Blur(torch.nn.Module):
    """A window network that sees two pixels far: a tile's context of eight suffices for it."""

    window, scale, size_multiple = 3, 4, 1

    def __init__(self) -> None:
        super().__init__()
        self.weight = torch.nn.Parameter(torch.ones(3, 1, 5, 5) / 25)
        self.sizes: list[tuple[int, int]] = []

    def features(self, frames):
        self.sizes.append(tuple(frames.shape[-2:]))
        return list(frames.unbind(1))

    def reconstruct(self, window):
        mean = torch.stack(window).mean(0)
        blurred = torch.nn.functional.conv2d(mean, self.weight, padding=2, groups=3)
        return blurred.repeat_interleave(4, 2).repeat_interleave(4, 3)


@pytest.fixture
def lr(rng):
    return list(rng.integers(0, 256, (4, 50, 70, 3), dtype=np.uint8))


@pytest.mark.parametrize("size", [32, 40, 64])
def test_tiles_give_what_the_whole_frame_gives(lr, size):
    way, network = SlidingWindow("reflection"), Blur()
    whole = list(way.restore(network, lr, [0, 2, 3]))
    network.sizes.clear()
    tiled = list(Tiled(way, size).restore(network, lr, [0, 2, 3]))
    assert set(network.sizes) == {(min(50, size), size)}
    np.testing.assert_array_equal(tiled, whole)


def test_what_a_record_says_of_tiles(lr):
    way, network = SlidingWindow("reflection"), Blur()
    plain = {"window": 3, "edge": "reflection"}
    assert Tiled(way, 64).settings(network, 50, 70) == {**plain, "tile": 64, "tile_context": 16}
    assert Tiled(way, 80).settings(network, 50, 70) == plain
    assert Tiled(SpaceTime(4), 64).interpolated(7) == [1, 3, 5]
    np.testing.assert_array_equal(
        list(Tiled(way, 80).restore(network, lr, [1])), list(way.restore(network, lr, [1]))
    )


def test_tiles_that_would_be_all_context(lr):
    with pytest.raises(BenchError, match="tiles are too small: expected at least 32 LR pixels"):
        list(Tiled(SlidingWindow("reflection"), 31).restore(Blur(), lr, [0]))


def test_what_is_tried_when_memory_runs_out():
    def labels(way, count=100):
        return [label for label, _ in tiles.smaller(way, 180, 320, count)]

    assert labels(SlidingWindow("reflection")) == ["tile 160", "tile 80", "tile 40"]
    assert labels(Tiled(SlidingWindow("reflection"), 96)) == ["tile 48"]
    chunked = ["chunk 50", "chunk 25", "chunk 12"]
    assert labels(WholeClip()) == [
        *chunked,
        *(f"tile {size}, chunk 12" for size in (160, 80, 40)),
    ]
    assert labels(WholeClip(), 7) == ["tile 160", "tile 80", "tile 40"]
