"""PSNR and SSIM of 8-bit RGB frames, as the VSR papers compute them.

Luma is the BT.601 studio-range Y of MATLAB's `rgb2ycbcr`, without rounding:

    Y = 16 + (65.481 R + 128.553 G + 24.966 B) / 255

The three weights share the factor 0.219, so Y = 16 + (219 / 255000) (299 R + 587 G + 114 B): the
bracket is an integer of at most 18 bits, which float32 holds without error. Differences and sums
of two frames are therefore exact in float32; only their squares are rounded.

SSIM (Wang et al. 2004) is written with the difference d = x - y and the sum s = x + y:

    SSIM = (u - v) / (u + v) * (m - q) / (m + q)

    v = var(d)    u = var(s) + 4 C2 / 2    q = mean(d)^2    m = mean(s)^2 + 4 C1 / 2

which is the usual form with numerators and denominators doubled. Identical frames have v = q = 0
and score exactly 1 however the filters round, and few small numbers are differences of large ones
once d and s are taken about their means over a strip of rows. That is what makes float32 filtering,
at 60 % of the cost of float64, agree with it to 1e-7 on photographs. On flat areas far from the
mean of their strip (half black, half white) it does to 5e-6, and to 2e-5 where SR is the negative
of GT (tests/test_metrics.py).
"""

from __future__ import annotations

import threading
from collections.abc import Sequence
from typing import Literal, NamedTuple

import numpy as np
from numpy.lib.stride_tricks import as_strided
from numpy.typing import NDArray

from bench.errors import BenchError, choices

Channel = Literal["y", "rgb"]
CHANNELS: tuple[Channel, ...] = ("y", "rgb")
PEAK = 255.0
WINDOW = 11  # side of the Gaussian window of SSIM, in pixels
SIGMA = 1.5  # its standard deviation, in pixels
C1 = (0.01 * PEAK) ** 2
C2 = (0.03 * PEAK) ** 2

LUMA_WEIGHTS = (299, 587, 114)  # of R, G, B
LUMA_UNIT = 219.0 / 255000.0  # what a weighted sum of 1 stands for, in 8-bit levels
LUMA_OFFSET = 16.0

Frames = NDArray[np.uint8]
Floats = NDArray[np.float32]


class View(NamedTuple):
    """What of a frame is looked at: `y` or `rgb`, without `border` pixels on each side."""

    channel: Channel
    border: int


class Quality(NamedTuple):
    """PSNR in dB (`inf` for identical frames) and SSIM of frames under one view."""

    psnr: NDArray[np.float64]
    ssim: NDArray[np.float64]


def luma(frames: Frames) -> NDArray[np.float64]:
    """BT.601 studio-range luma of uint8 RGB frames (..., h, w, 3), in [16, 235], not rounded."""
    y: NDArray[np.float64] = LUMA_OFFSET + frames @ (LUMA_UNIT * np.array(LUMA_WEIGHTS))
    return y


def psnr(sr: Frames, gt: Frames, channel: Channel = "y", border: int = 8) -> NDArray[np.float64]:
    """PSNR in dB of each frame, `inf` where the compared pixels are identical.

    `sr` and `gt` are uint8 RGB of one shape (n, h, w, 3) (or one frame (h, w, 3)); the result is
    float64 (n,). With channel `rgb` the squared error is averaged over all three channels together.
    """
    view = View(channel, border)
    sr, gt = _checked(sr, gt, [view], least=1)
    values = [_psnr_only(a, b, view) for a, b in zip(_each(sr), _each(gt), strict=True)]
    return np.array(values).reshape(sr.shape[:-3])


def ssim(sr: Frames, gt: Frames, channel: Channel = "y", border: int = 8) -> NDArray[np.float64]:
    """SSIM of each frame, exactly 1 where the compared pixels are identical.

    Shapes as in `psnr`. Gaussian window 11x11 of sigma 1.5, only where it lies inside the cropped
    frame (MATLAB's `ssim_index`, BasicSR's basicsr/metrics/psnr_ssim.py:188-195). With channel
    `rgb` it is the mean over the three channels.
    """
    return measure(sr, gt, [View(channel, border)])[0].ssim


def measure(sr: Frames, gt: Frames, views: Sequence[View]) -> list[Quality]:
    """PSNR and SSIM of each frame under several views at once; shapes as in `psnr`.

    Views that share a channel share all of the work but the final means.
    """
    sr, gt = _checked(sr, gt, views, least=WINDOW)
    shape = sr.shape[:-3]
    table = np.array(
        [_measure_frame(a, b, views) for a, b in zip(_each(sr), _each(gt), strict=True)]
    ).reshape(*shape, len(views), 2)
    return [Quality(table[..., i, 0], table[..., i, 1]) for i in range(len(views))]


def _checked(sr: Frames, gt: Frames, views: Sequence[View], least: int) -> tuple[Frames, Frames]:
    for name, frames in (("sr", sr), ("gt", gt)):
        if frames.dtype != np.uint8 or frames.ndim not in (3, 4) or frames.shape[-1] != 3:
            raise BenchError(
                f"{name} frames cannot be compared",
                expected="8-bit RGB, uint8 (n, h, w, 3)",
                found=f"{frames.dtype} {frames.shape}",
                todo="round, clip to [0, 255] and cast to uint8 first",
            )
    if sr.shape != gt.shape:
        raise BenchError(
            "SR and GT frames differ in shape",
            expected=f"{gt.shape} as GT",
            found=f"{sr.shape}",
            todo="compare frames of one size and count",
        )
    height, width = sr.shape[-3:-1]
    for channel, border in views:
        if channel not in CHANNELS:
            raise BenchError(
                "unknown channel",
                expected=choices(CHANNELS),
                found=repr(channel),
                todo="choose one of them",
            )
        if border < 0 or min(height, width) - 2 * border < least:
            raise BenchError(
                f"a border of {border} pixels leaves too little of a {width}x{height} frame",
                expected=f"at least {least}x{least} pixels",
                found=f"{width - 2 * border}x{height - 2 * border}",
                todo="use larger frames or a smaller border",
            )
    return sr, gt


def _each(frames: Frames) -> Frames:
    return frames if frames.ndim == 4 else frames[None]


# Filtering as banded matrix products. A block of 16 filtered samples is a product of 26 samples
# with a 26x16 matrix that holds the window in each column: more arithmetic than a direct filter,
# but done by the matrix multiplication that numpy is built on, several times faster than
# scipy.ndimage. A strip of rows is filtered down, then across, while it is in the cache.
_HALO = WINDOW - 1
_DOWN, _ACROSS, _STRIP = 8, 16, 72  # filtered rows and columns per product, rows per strip
_FEW_LEVELS = 4  # a mean of d below this needs no centring: 16 levels^2 round to 1e-6
_LUMA_PIXELS, _LUMA_ROWS = 8, 32  # pixels per luma product, rows converted at a time


def _window() -> Floats:
    taps = np.exp(-0.5 * ((np.arange(WINDOW) - WINDOW // 2) / SIGMA) ** 2)
    taps /= taps.sum()
    window = taps.astype(np.float32)
    # Rounded taps sum to 1 + 3e-8, which shows in var(s) = E[s^2] - E[s]^2 of flat areas.
    window[WINDOW // 2] += np.float32(1.0 - window.astype(np.float64).sum())
    return window


def _band(block: int) -> Floats:
    band = np.zeros((block + _HALO, block), np.float32)
    for column in range(block):
        band[column : column + WINDOW, column] = _window()
    return band


def _luma_band() -> Floats:
    band = np.zeros((3 * _LUMA_PIXELS, _LUMA_PIXELS), np.float32)
    for pixel in range(_LUMA_PIXELS):
        band[3 * pixel : 3 * pixel + 3, pixel] = LUMA_WEIGHTS
    return band


_BAND_DOWN, _BAND_ACROSS, _BAND_LUMA = _band(_DOWN).T.copy(), _band(_ACROSS), _luma_band()


def _up(size: int, step: int) -> int:
    return -(-size // step) * step


class _Workspace:
    """Buffers for frames of one size, kept between frames: fresh pages cost more than the sums.

    `x` and `y` hold one plane each of SR and GT, padded with zeros to whole strips and blocks.
    """

    def __init__(self, height: int, width: int) -> None:
        self.height, self.width = height, width
        rows, columns = _up(height - _HALO, _STRIP), _up(width - _HALO, _ACROSS)
        padded = columns + 16  # at least the halo, and room for whole blocks of luma
        self.x = np.zeros((rows + _HALO, padded), np.float32)
        self.y = np.zeros_like(self.x)
        self.map = np.empty((rows, columns), np.float32)
        # d, d^2, s, s^2 of a strip: as they are, filtered down, filtered down and across.
        self.strip = np.empty((4, _STRIP + _HALO, padded), np.float32)
        self.down = np.empty((4, _STRIP, padded), np.float32)
        self.across = np.empty((4, _STRIP, columns), np.float32)
        self.spare = np.empty((_STRIP, columns), np.float32)
        self.strip_blocks = _blocks(self.strip, axis=1, block=_DOWN, halo=_HALO)
        self.down_out = self.down.reshape(4, _STRIP // _DOWN, _DOWN, padded)
        flat = self.down.reshape(4 * _STRIP, padded)[:, : columns + _HALO]
        self.down_blocks = _blocks(flat, axis=1, block=_ACROSS, halo=_HALO).swapaxes(0, 1)
        flat = self.across.reshape(4 * _STRIP, columns)
        self.across_out = _blocks(flat, axis=1, block=_ACROSS, halo=0).swapaxes(0, 1)
        whole = _up(width, _LUMA_PIXELS)
        self.rgb = np.zeros((_LUMA_ROWS, whole * 3), np.float32)
        self.rgb_blocks = self.rgb.reshape(_LUMA_ROWS, -1, 3 * _LUMA_PIXELS)
        self.x_blocks, self.y_blocks = (
            _blocks(plane[:, :whole], axis=1, block=_LUMA_PIXELS, halo=0)
            for plane in (self.x, self.y)
        )

    def load(self, frame: Frames, channel: Channel, index: int, *, gt: bool) -> None:
        """Fills `y` (GT) or `x` (SR) with the integers that stand for luma, or a channel's."""
        if channel == "rgb":
            (self.y if gt else self.x)[: self.height, : self.width] = frame[..., index]
            return
        blocks = self.y_blocks if gt else self.x_blocks
        for top in range(0, self.height, _LUMA_ROWS):
            rows = frame[top : top + _LUMA_ROWS].reshape(-1, 3 * self.width)
            count = len(rows)
            self.rgb[:count, : 3 * self.width] = rows
            np.matmul(self.rgb_blocks[:count], _BAND_LUMA, out=blocks[top : top + count])

    def compare(
        self, unit: float, offset: float, borders: Sequence[int]
    ) -> tuple[list[float], list[float]]:
        """Sum of squared differences, and SSIM, of the loaded planes inside each border.

        A value v of a plane stands for the 8-bit level offset + unit v; the squared differences
        are those of v.
        """
        c1, c2 = np.float32(2 * C1 / unit**2), np.float32(2 * C2 / unit**2)
        d, d2, s, s2 = self.strip
        mean_d, square_d, mean_s, square_s = self.across
        spare = self.spare
        errors = [0.0] * len(borders)
        for top in range(0, len(self.map), _STRIP):
            x, y = self.x[top : top + _STRIP + _HALO], self.y[top : top + _STRIP + _HALO]
            np.subtract(x, y, out=d)
            np.add(x, y, out=s)
            np.multiply(d, d, out=d2)
            # The last strip counts its halo too: no strip follows that would.
            end = self.height if top + _STRIP >= len(self.map) else top + _STRIP
            for i, b in enumerate(borders):
                rows = slice(max(b - top, 0), max(min(end, self.height - b) - top, 0))
                errors[i] += float(d2[rows, b : self.width - b].sum(dtype=np.float64))
            # Whole numbers near the means keep d and s exact and their squares small.
            some = np.s_[: self.height - top : 4, : self.width : 8]
            middle_d, middle_s = (np.float32(round(float(p[some].mean()))) for p in (d, s))
            if centred := abs(middle_d) * unit > _FEW_LEVELS:
                np.subtract(d, middle_d, out=d)
                np.multiply(d, d, out=d2)
            np.subtract(s, middle_s, out=s)
            np.multiply(s, s, out=s2)
            np.matmul(_BAND_DOWN, self.strip_blocks, out=self.down_out)
            np.matmul(self.down_blocks, _BAND_ACROSS, out=self.across_out)

            np.multiply(mean_d, mean_d, out=spare)
            v = np.subtract(square_d, spare, out=square_d)
            np.multiply(mean_s, mean_s, out=spare)
            u = np.subtract(square_s, spare, out=square_s)
            np.add(u, c2, out=u)
            q = np.add(mean_d, middle_d, out=mean_d) if centred else mean_d
            np.multiply(q, q, out=q)
            m = np.add(mean_s, middle_s + np.float32(2 * offset / unit), out=mean_s)
            np.multiply(m, m, out=m)
            np.add(m, c1, out=m)

            numerator = np.subtract(m, q, out=spare)
            np.add(m, q, out=m)
            np.subtract(u, v, out=q)
            np.add(u, v, out=u)
            np.multiply(numerator, q, out=numerator)
            np.multiply(m, u, out=m)
            np.divide(numerator, m, out=self.map[top : top + _STRIP])
        return errors, [self._mean(b) for b in borders]

    def _mean(self, border: int) -> float:
        bottom, right = self.height - _HALO - border, self.width - _HALO - border
        rows = self.map[border:bottom, border:right].sum(axis=1, dtype=np.float32)
        return float(rows.sum(dtype=np.float64)) / ((bottom - border) * (right - border))


def _blocks(array: Floats, axis: int, block: int, halo: int) -> Floats:
    """`array` cut along `axis` into blocks that overlap by `halo`; a view, one axis more."""
    count = (array.shape[axis] - halo) // block
    shape = (*array.shape[:axis], count, block + halo, *array.shape[axis + 1 :])
    strides = (*array.strides[:axis], block * array.strides[axis], *array.strides[axis:])
    return as_strided(array, shape, strides)


_threads = threading.local()


def _workspace(height: int, width: int) -> _Workspace:
    kept: _Workspace | None = getattr(_threads, "workspace", None)
    if kept is None or (kept.height, kept.width) != (height, width):
        kept = _threads.workspace = _Workspace(height, width)
    return kept


# Number of planes, and the unit and offset that turn their values into 8-bit levels.
_PLANES: dict[Channel, tuple[int, float, float]] = {
    "y": (1, LUMA_UNIT, LUMA_OFFSET),
    "rgb": (3, 1.0, 0.0),
}


def _measure_frame(sr: Frames, gt: Frames, views: Sequence[View]) -> list[tuple[float, float]]:
    height, width = sr.shape[:2]
    work = _workspace(height, width)
    results: dict[View, tuple[float, float]] = {}
    for channel in dict.fromkeys(view.channel for view in views):
        borders = [view.border for view in views if view.channel == channel]
        planes, unit, offset = _PLANES[channel]
        errors, similarities = np.zeros(len(borders)), np.zeros(len(borders))
        for index in range(planes):
            work.load(sr, channel, index, gt=False)
            work.load(gt, channel, index, gt=True)
            squares, means = work.compare(unit, offset, borders)
            errors += squares
            similarities += means
        for border, error, similarity in zip(borders, errors, similarities, strict=True):
            pixels = (height - 2 * border) * (width - 2 * border)
            mean_error = error * unit**2 / (pixels * planes)
            results[View(channel, border)] = (_decibel(mean_error), similarity / planes)
    return [results[view] for view in views]


def _psnr_only(sr: Frames, gt: Frames, view: View) -> float:
    border, (height, width) = view.border, sr.shape[:2]
    crop = np.s_[border : height - border, border : width - border]
    error = np.subtract(sr[crop], gt[crop], dtype=np.float64)
    if view.channel == "y":
        error = error @ (LUMA_UNIT * np.array(LUMA_WEIGHTS))
    return _decibel(float(np.square(error).mean()))


def _decibel(mean_squared_error: float) -> float:
    if mean_squared_error == 0:
        return float("inf")
    return 10.0 * float(np.log10(PEAK**2 / mean_squared_error))
