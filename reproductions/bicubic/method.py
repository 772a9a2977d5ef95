"""MATLAB-style bicubic enlargement of every frame by itself."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import numpy as np
from numpy.typing import NDArray

from bench.degrade import upsample

Frame = NDArray[np.uint8]


def restore(lr: Sequence[Frame], scale: int, wanted: Sequence[int]) -> Iterator[Frame]:
    """SR frames, uint8 (scale h, scale w, 3), of the wanted LR frames (h, w, 3)."""
    for t in wanted:
        yield upsample(lr[t], scale)
