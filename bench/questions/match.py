"""A printed PSNR and SSIM -> the protocols under which these frames give them.

The grid holds what papers are known to have done, and is wider than `bench.protocol`, which has
only what a published cell here needs: luma of either range, rounded or not, SSIM under the windows
of `windows`, with the constants of other ranges, or of one channel. SR frames come with
8 bits, so what was computed from unrounded ones can be near, not equal.
"""

from __future__ import annotations

import functools
import math
import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Literal, NamedTuple

import numpy as np
from numpy.typing import NDArray

from bench import frames, metrics, protocol, score
from bench.errors import BenchError
from bench.protocol import Protocol
from bench.questions import windows

Frame = NDArray[np.uint8]
Floats = NDArray[np.float64]
Average = Literal["clips", "frames", "error"]

BORDERS = tuple(range(9))
_LEAST = 11  # pixels a side that SSIM needs
_FULL_RANGE = (0.299, 0.587, 0.114)

LUMAS = {
    "y": "",
    "y-rounded": "luma rounded to whole levels",
    "y-full": "full-range luma, 0.299 R + 0.587 G + 0.114 B",
    "y-full-rounded": "full-range luma, 0.299 R + 0.587 G + 0.114 B, rounded to whole levels",
}
_PLANES = (*LUMAS, "r", "g", "b")
SIMILARITIES: dict[tuple[str, float], str] = {
    ("gaussian", 255.0): "",
    ("gaussian", 219.0): "SSIM with constants for a range of 219",
    ("gaussian", 1.0): "SSIM with constants for a range of 1 on levels up to 255",
    ("reflected", 255.0): "SSIM of the whole frame, borders mirrored",
    ("replicated", 255.0): "SSIM of the whole frame, borders repeated",
    ("zeros", 255.0): "SSIM of the whole frame, zeros outside",
    ("uniform", 255.0): "SSIM with a uniform 7x7 window",
    ("uniform", 219.0): "SSIM with a uniform 7x7 window and constants for a range of 219",
}


class Printed(NamedTuple):
    """A published PSNR and SSIM with the unit of the last digit of each; None where not given."""

    psnr: float | None
    ssim: float | None
    psnr_unit: float
    ssim_unit: float


class Way(NamedTuple):
    """One way to compute PSNR and SSIM.

    `fields` is what `bench.protocol` can say of it. `luma` is a key of LUMAS, "" for RGB; `average`
    `error` takes PSNR of the squared error averaged over all frames of all clips; `similarity` is a
    key of SIMILARITIES, None where no SSIM was asked for; `planes` are those that SSIM looks at.
    """

    fields: Protocol
    luma: str
    average: Average
    similarity: tuple[str, float] | None
    planes: tuple[str, ...]

    @property
    def beyond(self) -> list[str]:
        """What `bench.protocol` cannot say, in words."""
        words = [LUMAS.get(self.luma, "")]
        if self.average == "error":
            words.append("PSNR of the mean squared error of all frames")
        if self.similarity:
            words.append(SIMILARITIES[self.similarity])
            if self.fields.channel == "rgb" and len(self.planes) == 1:
                words.append(f"SSIM of channel {self.planes[0].upper()} alone")
        return [word for word in words if word]

    def __str__(self) -> str:
        return "; ".join([str(self.fields), *self.beyond])


class Match(NamedTuple):
    """A way, what it gives for these frames, and how far that is, in units of the last digits."""

    way: Way
    psnr: float
    ssim: float | None
    distance: float
    fits: bool


class Measured(NamedTuple):
    """The numbers of one clip's frames.

    Mean squared errors (frames, planes, borders), and SSIM (frames, planes, similarities, borders),
    which is NaN where a plane was not looked at in that way.
    """

    errors: Floats
    similarities: Floats


def parse(text: str) -> Printed:
    """What `27.33/0.8318`, `27.33/-` or `-/0.8318` says."""
    number = r"\d*\.\d+|-"
    found = re.fullmatch(rf"\s*({number})\s*/\s*({number})\s*", text)
    psnr, ssim = (None if t == "-" else float(t) for t in found.groups()) if found else (None, None)
    if not found or psnr is ssim is None or not (psnr or 1) < 100 or not (ssim or 0) <= 1:
        raise BenchError(
            "not a published number",
            expected="PSNR/SSIM as printed, such as 27.33/0.8318, 27.33/- or -/0.8318",
            found=repr(text),
            todo="write it with all of its digits",
        )
    units = [10.0 ** -len(part.partition(".")[2]) for part in found.groups()]
    return Printed(psnr, ssim, units[0], units[1])


def measure(
    sr: Sequence[Frame],
    gt: Sequence[Frame],
    *,
    with_ssim: bool = True,
    workers: int = 2,
    on_frame: Callable[[], object] = lambda: None,
) -> Measured:
    """Everything about one clip that any way needs; frames are decoded and dropped one by one."""
    results = []
    for one in frames.in_order(
        lambda t: _measure_frame(sr[t], gt[t], with_ssim=with_ssim), range(len(gt)), workers
    ):
        results.append(one)
        on_frame()
    return Measured(*(np.stack(part) for part in zip(*results, strict=True)))


def search(clips: Mapping[str, Measured], printed: Printed) -> list[Match]:
    """Every way that these clips allow with what it gives, nearest to the printed number first."""
    found = []
    known: dict[object, float] = {}
    for way in ways(clips, with_ssim=printed.ssim is not None):
        key = (way.fields, way.luma, way.average)
        if key not in known:
            known[key] = _psnr(clips, way)
        value = known[key]
        similar = None if way.similarity is None else _ssim(clips, way)
        if math.isnan(value) or (similar is not None and math.isnan(similar)):
            continue
        steps = [
            abs(got - wanted) / unit
            for got, wanted, unit in (
                (value, printed.psnr, printed.psnr_unit),
                (similar, printed.ssim, printed.ssim_unit),
            )
            if wanted is not None and got is not None
        ]
        # What lies on the half is printed either way.
        fits = max(steps) <= 0.5 + 1e-6
        found.append(Match(way, value, similar, max(steps), fits))
    plain = [(match, len(match.way.fields.moved), len(match.way.beyond)) for match in found]
    plain.sort(key=lambda entry: (not entry[0].fits, entry[0].distance, entry[2], entry[1]))
    return [match for match, *_ in plain]


def ways(clips: Mapping[str, Measured], *, with_ssim: bool) -> Iterator[Way]:
    """The grid, without what comes to the same for these clips."""
    counts = [len(clip.errors) for clip in clips.values()]
    wholes: list[tuple[int, Literal["all", "centre"]]]
    wholes = [(skip, "all") for skip in (0, 1, 2) if 2 * skip < min(counts)]
    if min(counts) > 1:
        wholes.append((0, "centre"))
    for border in BORDERS:
        for skip, which in wholes:
            averages: list[Average] = ["clips", "error"]
            if len(set(counts)) > 1 and which == "all":
                averages.append("frames")
            if sum(counts) == 1 or (len(counts) == 1 and which == "centre"):
                averages = ["clips"]
            for average in averages:
                fields = Protocol(
                    border=border,
                    skip=skip,
                    frames=which,
                    averaging="clips" if average == "clips" else "frames",
                )
                yield from _of_channels(fields, average, with_ssim=with_ssim)


def _of_channels(fields: Protocol, average: Average, *, with_ssim: bool) -> Iterator[Way]:
    import msgspec

    rgb = msgspec.structs.replace(fields, channel="rgb")
    for luma in LUMAS:
        for similarity in _similarities(luma) if with_ssim else (None,):
            yield Way(fields, luma, average, similarity, (luma,))
    for similarity in _similarities("r") if with_ssim else (None,):
        yield Way(rgb, "", average, similarity, ("r", "g", "b"))
    if with_ssim and fields.border:
        # A crop that makes a frame four-dimensional leaves a loop over channels only the first.
        for plane in ("r", "b"):
            yield Way(rgb, "", average, ("gaussian", 255.0), (plane,))


@functools.cache
def _similarities(plane: str) -> tuple[tuple[str, float], ...]:
    """The kinds of SSIM that a plane is looked at with."""
    if plane.endswith("rounded"):
        return (("gaussian", 255.0), ("uniform", 255.0))
    return tuple(kind for kind in SIMILARITIES if plane == "y" or kind[1] != 219)


def _measure_frame(sr: Frame, gt: Frame, *, with_ssim: bool) -> tuple[Floats, Floats]:
    if sr.shape != gt.shape or min(sr.shape[:2]) < _LEAST + 2 * BORDERS[-1]:
        raise BenchError(
            "SR and GT frames cannot be compared under every border",
            expected=f"frames of one size, at least {_LEAST + 2 * BORDERS[-1]} pixels a side",
            found=f"{sr.shape[1]}x{sr.shape[0]} and {gt.shape[1]}x{gt.shape[0]}",
            todo="match whole frames",
        )
    errors = np.empty((len(_PLANES), len(BORDERS)))
    similar = np.full((len(_PLANES), len(SIMILARITIES), len(BORDERS)), np.nan)
    for index, plane in enumerate(_PLANES):
        x, y = _plane(sr, plane), _plane(gt, plane)
        errors[index] = windows.squared_errors(x, y, BORDERS)
        if with_ssim:
            kinds = _similarities(plane)
            places = [list(SIMILARITIES).index(kind) for kind in kinds]
            similar[index, places] = windows.similarities(x, y, BORDERS, kinds)
    return errors, similar


def _plane(frame: Frame, name: str) -> Floats:
    if name in "rgb":
        return frame[..., "rgb".index(name)].astype(np.float64)
    plane = frame @ np.array(_FULL_RANGE) if "full" in name else metrics.luma(frame)
    return np.floor(plane + 0.5) if "rounded" in name else plane


def _psnr(clips: Mapping[str, Measured], way: Way) -> float:
    planes = [_PLANES.index(name) for name in ([way.luma] if way.luma else "rgb")]
    border = BORDERS.index(way.fields.border)
    errors = [
        clip.errors[_scored(clip, way), :, border][:, planes].mean(axis=1)
        for clip in clips.values()
    ]
    if way.average == "error":
        return float(_decibel(np.concatenate(errors).mean()))
    return score.dataset_mean([list(_decibel(e)) for e in errors], way.fields).value


def _ssim(clips: Mapping[str, Measured], way: Way) -> float:
    planes = [_PLANES.index(name) for name in way.planes]
    border = BORDERS.index(way.fields.border)
    kind = [*SIMILARITIES, None].index(way.similarity)
    values = [
        clip.similarities[_scored(clip, way), :, kind, border][:, planes].mean(axis=1)
        for clip in clips.values()
    ]
    return score.dataset_mean([list(value) for value in values], way.fields).value


def _scored(clip: Measured, way: Way) -> list[int]:
    return list(way.fields.scored(len(clip.errors)))


def _decibel(errors: Floats) -> Floats:
    with np.errstate(divide="ignore"):
        result: Floats = 10 * np.log10(metrics.PEAK**2 / errors)
    return result


def name_of(way: Way) -> str:
    """What --protocol takes for this way, or `-` where it cannot say it."""
    return "-" if way.beyond else protocol.name_of(way.fields)
