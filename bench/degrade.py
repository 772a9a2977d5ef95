"""GT frames to LR frames, and back by bicubic interpolation.

Every degradation here is linear and separable: LR = round(R GT C^T) with one sparse matrix for the
rows and one for the columns, in float64, half away from zero, clipped to [0, 255].

| name     | window                                   | LR sample i lies at GT position |
|----------|------------------------------------------|---------------------------------|
| `bi`     | MATLAB `imresize(..., 1/s, 'bicubic')`   | s i + (s - 1) / 2               |
| `bd`     | Gaussian, 12x12 at s = 4, sigma 1.6      | s i + (s - 1) / 2               |
| `bd-duf` | Gaussian, 13x13, sigma 1.6 at s = 4      | s i                             |

The two Gaussian ones are 1.5 GT pixels apart at s = 4; networks trained for one lose many dB on
the other. The published definitions are for s = 4. Other scales take sigma = 0.4 s for both, as
DUF does, and keep the position of the samples.
"""

from __future__ import annotations

import functools
from typing import Literal

import numpy as np
from numpy.typing import NDArray
from scipy.sparse import csr_array

from bench.errors import BenchError, choices

Degradation = Literal["bi", "bd", "bd-duf"]
DEGRADATIONS: tuple[Degradation, ...] = ("bi", "bd", "bd-duf")
SCALES = (2, 3, 4)

Frame = NDArray[np.uint8]


def degrade(gt: Frame, name: Degradation, scale: int = 4) -> Frame:
    """The LR frame, uint8 (h/scale, w/scale, 3), of a GT frame, uint8 (h, w, 3).

    Raises BenchError where `scale` does not divide the size: `crop` makes it fit.
    Sources: `bi` TTVSR degradation/BI_degradation.m; `bd` TTVSR degradation/BD_degradation.m;
    `bd-duf` DUF utils.py:39-63 (its LR stays float there and is rounded to 8 bits here, as in the
    frames that PFNL ships).
    """
    if name not in DEGRADATIONS:
        raise BenchError(
            "unknown degradation",
            expected=choices(DEGRADATIONS),
            found=repr(name),
            todo="choose one of them",
        )
    _check(gt, scale)
    height, width = gt.shape[:2]
    if height % scale or width % scale:
        raise BenchError(
            f"a {width}x{height} frame cannot be reduced {scale} times",
            expected=f"multiples of {scale}",
            found=f"{width}x{height}",
            todo=f"crop it to {width - width % scale}x{height - height % scale} first "
            "(bench.degrade.crop)",
        )
    matrix = {"bi": _bicubic_down, "bd": _gaussian_centred, "bd-duf": _gaussian_top_left}[name]
    return _apply(gt, matrix(height, scale), matrix(width, scale))


def upsample(lr: Frame, scale: int = 4) -> Frame:
    """The frame enlarged by MATLAB's `imresize(..., scale, 'bicubic')`, uint8 (sh, sw, 3)."""
    _check(lr, scale)
    height, width = lr.shape[:2]
    return _apply(lr, _bicubic_up(height, scale), _bicubic_up(width, scale))


def crop(gt: Frame, scale: int = 4) -> Frame:
    """The top-left part of the frame whose height and width are multiples of `scale`."""
    _check(gt, scale)
    height, width = gt.shape[:2]
    return gt[: height - height % scale, : width - width % scale]


def _check(frame: Frame, scale: int) -> None:
    if scale not in SCALES:
        raise BenchError(
            "unknown scale",
            expected=choices(map(str, SCALES)),
            found=repr(scale),
            todo="choose one of them",
        )
    if frame.dtype != np.uint8 or frame.ndim != 3 or frame.shape[2] != 3 or 0 in frame.shape:
        raise BenchError(
            "not an 8-bit RGB frame",
            expected="uint8 (h, w, 3)",
            found=f"{frame.dtype} {frame.shape}",
            todo="pass one decoded frame",
        )


def _apply(frame: Frame, rows: csr_array, columns: csr_array) -> Frame:
    height, width = frame.shape[:2]
    out_height, out_width = rows.shape[0], columns.shape[0]
    down = (rows @ frame.reshape(height, width * 3).astype(np.float64)).reshape(
        out_height, width, 3
    )
    across = columns @ down.transpose(1, 0, 2).reshape(width, out_height * 3)
    level = np.floor(across.reshape(out_width, out_height, 3).transpose(1, 0, 2) + 0.5)
    lr: Frame = np.clip(level, 0, 255).astype(np.uint8, order="C")
    return lr


def _sampling(weights: NDArray[np.float64], index: NDArray[np.int64], size: int) -> csr_array:
    """The matrix whose row i weighs pixel `index[i, k]` of `size` pixels with `weights[i, k]`."""
    count, taps = weights.shape
    row = np.repeat(np.arange(count), taps)
    return csr_array((weights.ravel(), (row, index.ravel())), shape=(count, size))


def _cubic(x: NDArray[np.float64]) -> NDArray[np.float64]:
    """Keys' cubic with a = -1/2, MATLAB's 'bicubic'."""
    x = np.abs(x)
    near = (1.5 * x - 2.5) * x * x + 1.0
    far = ((-0.5 * x + 2.5) * x - 4.0) * x + 2.0
    weights: NDArray[np.float64] = np.where(x <= 1, near, np.where(x < 2, far, 0.0))
    return weights


def _bicubic(size: int, out_size: int, stretch: float) -> csr_array:
    """Cubic interpolation at pixel centres, its kernel widened by `stretch`; mirrored borders."""
    position = (np.arange(out_size) + 0.5) * (size / out_size) - 0.5
    taps = int(np.ceil(4 * stretch)) + 2
    index = np.floor(position - 2 * stretch).astype(np.int64)[:, None] + np.arange(taps)
    weights = _cubic((position[:, None] - index) / stretch)
    weights /= weights.sum(axis=1, keepdims=True)
    mirrored = index % (2 * size)
    return _sampling(weights, np.where(mirrored < size, mirrored, 2 * size - 1 - mirrored), size)


@functools.lru_cache(maxsize=32)
def _bicubic_down(size: int, scale: int) -> csr_array:
    return _bicubic(size, size // scale, scale)


@functools.lru_cache(maxsize=32)
def _bicubic_up(size: int, scale: int) -> csr_array:
    return _bicubic(size, size * scale, 1.0)


def _gaussian(offsets: NDArray[np.floating], sigma: float) -> NDArray[np.float64]:
    weights: NDArray[np.float64] = np.exp(-0.5 * (offsets / sigma) ** 2)
    weights /= weights.sum()
    return weights


@functools.lru_cache(maxsize=32)
def _gaussian_centred(size: int, scale: int) -> csr_array:
    """`bd`: fspecial window about the centre of each block of pixels; border pixels repeated."""
    sigma = 0.4 * scale
    taps = 2 * int(np.ceil(3 * sigma)) + 2 + scale % 2  # 12 at scale 4; odd where the centre is
    first = scale * np.arange(size // scale) + scale // 2 - taps // 2
    index = np.clip(first[:, None] + np.arange(taps), 0, size - 1)
    weights = _gaussian(np.arange(taps) - (taps - 1) / 2, sigma)
    return _sampling(np.broadcast_to(weights, index.shape), index, size)


@functools.lru_cache(maxsize=32)
def _gaussian_top_left(size: int, scale: int) -> csr_array:
    """`bd-duf`: window about the first pixel of a block; reflected borders, edge not repeated."""
    sigma = 0.4 * scale
    radius = int(4 * sigma + 0.5)  # scipy.ndimage.gaussian_filter's default: 6 at scale 4
    if size <= radius:
        raise BenchError(
            "frame too small for bd-duf",
            expected=f"more than {radius} pixels a side",
            found=str(size),
            todo="use a larger frame",
        )
    offsets = np.arange(-radius, radius + 1)
    index = np.abs(scale * np.arange(size // scale)[:, None] + offsets)
    index = np.where(index < size, index, 2 * (size - 1) - index)
    weights = _gaussian(offsets.astype(np.float64), sigma)
    return _sampling(np.broadcast_to(weights, index.shape), index, size)
