"""Clips restored in parts, for networks that memory does not suffice for."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any, NamedTuple, Protocol

import numpy as np
from numpy.typing import NDArray

from bench.errors import BenchError
from bench.restore import WholeClip, chunks

Frame = NDArray[np.uint8]
_SMALLEST = 32  # LR pixels: the side of a tile below which nothing but borders would be left


class Way(Protocol):
    """A way of showing a clip to a network: those of bench.restore, and `Tiled`."""

    def interpolated(self, count: int) -> list[int]:
        """The frames of a clip that no LR frame of the same time is shown for."""

    def settings(self, network: Any, height: int, width: int) -> dict[str, int | str]:
        """What the record says of it."""

    def restore(self, network: Any, lr: Sequence[Frame], wanted: Sequence[int]) -> Iterator[Frame]:
        """SR frames, uint8, of the wanted frames of the clip."""


class Tiled(NamedTuple):
    """A clip in square tiles of `size` LR pixels, one after the other, each through the whole clip.

    Tiles overlap by half; a tile's outer pixels, a quarter of it on each side, only serve as
    context for the others.
    """

    way: Way
    size: int

    def interpolated(self, count: int) -> list[int]:
        """The frames of a clip that no LR frame of the same time is shown for."""
        return self.way.interpolated(count)

    def settings(self, network: Any, height: int, width: int) -> dict[str, int | str]:
        """What the record says of it; padding is that of a tile."""
        inner = self.way.settings(network, min(height, self.size), min(width, self.size))
        if max(height, width) <= self.size:
            return inner
        return {**inner, "tile": self.size, "tile_context": self.size // 4}

    def restore(self, network: Any, lr: Sequence[Frame], wanted: Sequence[int]) -> Iterator[Frame]:
        """SR frames, uint8 (sh, sw, 3), of the wanted frames, at the end of the last tile."""
        height, width = lr[0].shape[:2]
        check(self.size)
        if max(height, width) <= self.size:
            yield from self.way.restore(network, lr, wanted)
            return
        s = network.scale
        whole = [np.empty((s * height, s * width, 3), np.uint8) for _ in wanted]
        for top, bottom, first_row, last_row in chunks(height, self.size):
            for left, right, first_column, last_column in chunks(width, self.size):
                tile = [frame[top:bottom, left:right] for frame in lr]
                rows = slice(s * (first_row - top), s * (last_row - top))
                columns = slice(s * (first_column - left), s * (last_column - left))
                restored = self.way.restore(network, tile, wanted)
                for canvas, sr in zip(whole, restored, strict=True):
                    canvas[s * first_row : s * last_row, s * first_column : s * last_column] = sr[
                        rows, columns
                    ]
        yield from whole


def check(size: int) -> None:
    """Raises BenchError where tiles of that side would be nothing but borders."""
    if size < _SMALLEST:
        raise BenchError(
            "tiles are too small",
            expected=f"at least {_SMALLEST} LR pixels",
            found=str(size),
            todo="use larger tiles",
        )


def smaller(way: Way, height: int, width: int, count: int) -> Iterator[tuple[str, Way]]:
    """Ways that need less memory, and what the record calls them: chunks of frames, then tiles."""
    if isinstance(way, WholeClip):
        size = (way.chunk or count) // 2
        while size >= 8:
            way = WholeClip(way.mirrored, size)
            yield f"chunk {size}", way
            size //= 2
    inner, size = (way.way, way.size) if isinstance(way, Tiled) else (way, max(height, width))
    chunk = f", chunk {inner.chunk}" if isinstance(inner, WholeClip) and inner.chunk else ""
    while (size := -(-size // 16) * 8) >= _SMALLEST:
        yield f"tile {size}{chunk}", Tiled(inner, size)
