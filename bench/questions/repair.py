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
Levels = Literal["as they are", "narrow", "wide", "line", "power"]

_BORDER = 8  # pixels that a shift may fill with what is not there
_BLOCK = 16  # pixels a side of the blocks whose means tell levels and channels
_CLEARLY = 0.25  # of the error between those means may be left where levels are another range's
_LEAST = 4  # levels that a line or power must move some block's mean by: less is a method's own
_FLATTEST = 0.1  # factor of a line: what is flatter makes grey of anything
_NARROW = 219 / 255


class Curve(NamedTuple):
    """What undoes a change of levels: factor x 255 (level / 255)^exponent + summand."""

    factor: float = 1.0
    summand: float = 0.0
    exponent: float = 1.0

    def __call__(self, levels: Floats) -> Floats:
        """The levels that it makes of these."""
        if self.exponent != 1:
            levels = 255 * (np.maximum(levels, 0) / 255) ** self.exponent
        return self.factor * levels + self.summand


LEVELS: dict[Levels, Curve] = {
    "as they are": Curve(),
    "narrow": Curve(1 / _NARROW, -16 / _NARROW),
    "wide": Curve(_NARROW, 16),
}
_EXPONENTS = np.linspace(0.3, 3.0, 136)  # of 0.02 each; 1 / 2.2 and 2.2 are among them, nearly
CHANNELS: tuple[tuple[int, ...], ...] = tuple(itertools.permutations(range(3)))


class Repair(NamedTuple):
    """All that may be put right.

    sr_place, gt_place  rows and columns above and left of what both frames show
    places              the GT frame of each SR frame
    shift               how far the content of SR lies down and right, in pixels
    channels            for each channel of GT, the one of SR that shows it
    levels              whether SR has levels 16 to 235 for 0 to 255, or the other way round, or
                        ones that a line or a power of them makes GT's
    curve               what undoes that
    """

    sr_place: tuple[int, int]
    gt_place: tuple[int, int]
    places: Places
    shift: tuple[float, float]
    channels: tuple[int, ...] = CHANNELS[0]
    levels: Levels = "as they are"
    curve: Curve = Curve()


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
        pairs = [_blocks(*self._aligned(row, parts)) for row in self.sr]
        sr, gt = (np.concatenate(blocks) for blocks in zip(*pairs, strict=True))

        def error(channels: tuple[int, ...], curve: Curve) -> float:
            return float(np.square(curve(sr[:, channels]) - gt).mean())

        ways = itertools.product(CHANNELS, LEVELS)
        channels, levels = min(ways, key=lambda way: error(way[0], LEVELS[way[1]]))
        if error(channels, LEVELS[levels]) > _CLEARLY * error(channels, Curve()):
            levels = "as they are"
        curve = LEVELS[levels]
        free = _fitted(sr[:, channels], gt)
        kind = min(free, key=lambda one: error(channels, free[one]))
        moved = np.abs(free[kind](sr) - curve(sr)).max()
        if moved > _LEAST and error(channels, free[kind]) < _CLEARLY * error(channels, curve):
            levels, curve = kind, free[kind]
        return self.repair._replace(channels=channels, levels=levels, curve=curve)

    @property
    def colourless(self) -> bool:
        """Whether the SR frames are grey, but not the GT frames that they show."""
        shown = [self.gt[int(self.repair.places[row])] for row in self.sr]
        return all(map(_grey, self.sr.values())) and not all(map(_grey, shown))

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
            sr = _rounded(self.repair.curve(sr.astype(np.float64)))
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


def _grey(frame: Frame) -> bool:
    return bool((frame == frame[..., :1]).all())


def _blocks(sr: Frame, gt: Frame) -> tuple[Floats, Floats]:
    """The means (blocks, 3) of SR and GT over blocks."""
    height, width = (size // _BLOCK for size in sr.shape[:2])
    both = np.concatenate([sr, gt], axis=2)[: height * _BLOCK, : width * _BLOCK]
    blocks = both.reshape(height, _BLOCK, width, _BLOCK, 6).mean(axis=(1, 3)).reshape(-1, 6)
    return blocks[:, :3], blocks[:, 3:]


def _fitted(sr: Floats, gt: Floats) -> dict[Levels, Curve]:
    """The line and the power that bring the means of SR nearest to those of GT."""
    centred = sr - sr.mean()
    spread = float(np.square(centred).mean())
    factor = float((centred * gt).mean()) / spread if spread else 1.0
    factor = max(factor, _FLATTEST)
    line = Curve(factor, float(gt.mean() - factor * sr.mean()))
    powers = [Curve(exponent=float(exponent)) for exponent in _EXPONENTS]
    return {"line": line, "power": min(powers, key=lambda one: np.square(one(sr) - gt).mean())}


def _rounded(values: Floats) -> Frame:
    levels: Frame = np.clip(np.floor(values + 0.5), 0, 255).astype(np.uint8)
    return levels
