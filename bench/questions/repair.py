"""SR frames with some of what is wrong put right, and the PSNR that they have then."""

from __future__ import annotations

import itertools
from collections.abc import Sequence
from typing import Literal, NamedTuple

import numpy as np
from numpy.typing import NDArray

from bench import metrics
from bench.questions.alignment import Places

Frame = NDArray[np.uint8]
Floats = NDArray[np.float64]
Part = Literal["clip", "size", "order", "shift", "channels", "levels"]
Levels = Literal["as they are", "narrow", "wide"]

_BORDER = 8  # pixels that a shift may fill with what is not there
_BLOCK = 16  # pixels a side of the blocks whose means tell levels and channels
_CLEARLY = 0.25  # of the error between those means may be left where levels are another range's
_NARROW = 219 / 255
# Levels of SR -> factor and summand that undo them.
LEVELS: dict[Levels, tuple[float, float]] = {
    "as they are": (1, 0),
    "narrow": (1 / _NARROW, -16 / _NARROW),
    "wide": (_NARROW, 16),
}
CHANNELS: tuple[tuple[int, ...], ...] = tuple(itertools.permutations(range(3)))


class Repair(NamedTuple):
    """All that may be put right.

    sr_place, gt_place  rows and columns above and left of what both frames show
    places              the GT frame of each SR frame
    shift               how far the content of SR lies down and right, in pixels
    channels            for each channel of GT, the one of SR that shows it
    levels              whether SR has levels 16 to 235 for 0 to 255, or the other way round
    """

    sr_place: tuple[int, int]
    gt_place: tuple[int, int]
    places: Places
    shift: tuple[float, float]
    channels: tuple[int, ...] = CHANNELS[0]
    levels: Levels = "as they are"


class Trial:
    """Some SR frames of a clip that are tried with and without each part of a repair.

    `named` are the frames of the clip of the same name, `gt` those of the clip that SR shows.
    """

    def __init__(
        self,
        sr: Sequence[Frame],
        named: Sequence[Frame],
        gt: Sequence[Frame],
        repair: Repair,
        rows: Sequence[int],
    ) -> None:
        self.sr = {row: sr[row] for row in rows}
        self.named, self.gt, self.repair = named, gt, repair
        self._seen: dict[tuple[bool, int], Frame] = {}
        self._moved: dict[tuple[int, bool, tuple[int, ...]], Frame] = {}
        self._known: dict[tuple[int, frozenset[Part]], float] = {}

    def psnr(self, parts: frozenset[Part]) -> float:
        """RGB PSNR in dB, mean over the frames, with these parts put right."""
        for row in self.sr:
            if (row, parts) not in self._known:
                self._known[row, parts] = self._psnr(row, parts)
        values = [self._known[row, parts] for row in self.sr]
        finite = [value for value in values if np.isfinite(value)]
        return float(np.mean(finite)) if finite else float("inf")

    def with_levels(self) -> Repair:
        """The repair with the channels and levels under which frames come closest to GT.

        Means over blocks are compared: there SR of any method agrees with GT, so that even the
        levels of a clip without contrast, which hardly move its PSNR, are told.
        """
        parts: frozenset[Part] = frozenset({"clip", "size", "order", "shift"})
        moments = [_moments(*self._aligned(row, parts)) for row in self.sr]

        def error(channels: tuple[int, ...], levels: Levels) -> float:
            return float(np.mean([_error(one, channels, levels) for one in moments]))

        channels, levels = min(itertools.product(CHANNELS, LEVELS), key=lambda way: error(*way))
        if error(channels, levels) > _CLEARLY * error(channels, "as they are"):
            levels = "as they are"
        return self.repair._replace(channels=channels, levels=levels)

    def _aligned(self, row: int, parts: frozenset[Part]) -> tuple[Frame, Frame]:
        """The inner part of an SR frame, and of the GT frame that it is held against."""
        repair, right = self.repair, "clip" in parts
        clip = self.gt if right else self.named
        index = int(repair.places[row]) if "order" in parts else row
        index = min(max(index, 0), len(clip) - 1)
        if (right, index) not in self._seen:
            self._seen[right, index] = clip[index]
        gt, sr = self._seen[right, index], self.sr[row]
        if "size" in parts:
            sr = sr[repair.sr_place[0] :, repair.sr_place[1] :]
            gt = gt[repair.gt_place[0] :, repair.gt_place[1] :]
        height, width = (min(a, b) for a, b in zip(sr.shape[:2], gt.shape[:2], strict=True))
        sr, gt = sr[:height, :width], gt[:height, :width]
        if "shift" in parts and any(repair.shift):
            key = (row, "size" in parts, sr.shape)
            if key not in self._moved:
                self._moved[key] = shifted(sr, repair.shift)
            sr = self._moved[key]
        inner = np.s_[_BORDER : height - _BORDER, _BORDER : width - _BORDER]
        return sr[inner], gt[inner]

    def _psnr(self, row: int, parts: frozenset[Part]) -> float:
        sr, gt = self._aligned(row, parts)
        if "channels" in parts:
            sr = sr[..., self.repair.channels]
        if "levels" in parts:
            factor, summand = LEVELS[self.repair.levels]
            sr = _rounded(factor * sr.astype(np.float64) + summand)
        return float(metrics.psnr(sr, gt, channel="rgb", border=0))


def shifted(frame: Frame, shift: tuple[float, float]) -> Frame:
    """The frame with its content moved up and left by `shift` pixels; edges are repeated."""
    from scipy import ndimage

    # Channel by channel: a spline across the channels would cost four times as much.
    planes = [
        ndimage.shift(frame[..., i].astype(np.float64), (-shift[0], -shift[1]), mode="nearest")
        for i in range(3)
    ]
    return _rounded(np.stack(planes, axis=2))


def _moments(sr: Frame, gt: Frame) -> tuple[Floats, Floats, Floats]:
    """Means, and mean products, of the channels of SR and GT, both averaged over blocks."""
    height, width = (size // _BLOCK for size in sr.shape[:2])
    both = np.concatenate([sr, gt], axis=2)[: height * _BLOCK, : width * _BLOCK]
    blocks = both.reshape(height, _BLOCK, width, _BLOCK, 6).mean(axis=(1, 3)).reshape(-1, 6)
    return blocks[:, :3].mean(axis=0), blocks[:, 3:].mean(axis=0), blocks.T @ blocks / len(blocks)


def _error(
    moments: tuple[Floats, Floats, Floats], channels: tuple[int, ...], levels: Levels
) -> float:
    """The mean squared error after a choice, from moments alone."""
    sr, gt, products = moments
    factor, summand = LEVELS[levels]
    total = 0.0
    for channel, source in enumerate(channels):
        total += factor**2 * products[source, source] + products[3 + channel, 3 + channel]
        total += summand**2 + 2 * factor * summand * sr[source]
        total -= 2 * factor * products[source, 3 + channel] + 2 * summand * gt[channel]
    return total / 3


def _rounded(values: Floats) -> Frame:
    levels: Frame = np.clip(np.floor(values + 0.5), 0, 255).astype(np.uint8)
    return levels
