"""Crops of a frame where methods differ most, beside the frame: a sheet a clip."""

from __future__ import annotations

import math
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

import msgspec
import numpy as np
from numpy.typing import NDArray

from bench import frames, metrics
from bench.drawing import sheet, style
from bench.drawing.charts import Method
from bench.drawing.sheet import GAP, LINE, Sheet

if TYPE_CHECKING:
    from matplotlib.figure import Figure

Frame = NDArray[np.uint8]
Integers = NDArray[np.int64]

_BORDER = 8  # that of `fixed`: what it does not score is not chosen
_TILE, _FRAME = 288, 720  # dots that a crop and the frame may take of the width
_NAMED = 18  # characters of a method's name on a line
_TAG = 40  # dots for the letter of a place
LEAST = 40  # pixels of a frame's shorter side: less leaves no room for windows


class Shown(msgspec.Struct, frozen=True):
    """The pictures of a method: paths, and the digests of the files."""

    method: Method
    frame: str
    frame_sha256: str
    profile: str
    profile_sha256: str


class Pictured(msgspec.Struct, frozen=True):
    """The pictures of a clip; `gt`'s and `lr`'s methods are none, `lr` has no profile."""

    head: str
    gt: Shown
    lr: Shown
    methods: list[Shown]
    height: int
    width: int
    row: int


class Window(NamedTuple):
    """A square of GT: its upper left corner and its side, in pixels."""

    top: int
    left: int
    side: int

    def of(self, image: Frame, scale: int = 1) -> Frame:
        """What it shows of an image that is `scale` times smaller than GT."""
        top, left, side = (value // scale for value in self)
        return image[top : top + side, left : left + side]


def side(height: int, width: int, scale: int) -> int:
    """The side of the windows in a frame of at least `LEAST` pixels on each side.

    A tenth of its shorter side, but at least 24 pixels, and a multiple of the scale, so that it
    covers whole LR pixels.

    >>> side(480, 720, 4), side(576, 704, 4), side(144, 192, 4), side(40, 96, 4)
    (48, 60, 24, 24)
    """
    step = _step(scale)
    wanted = max(24, round(min(height, width) / 10))
    room = min(height, width) - _BORDER - _first(step)
    return min(-(-wanted // step), room // step) * step


def _step(scale: int) -> int:
    """Windows begin at multiples of this many pixels."""
    return scale * -(-4 // scale)


def _first(step: int) -> int:
    return -(-_BORDER // step) * step


def places(sr: Sequence[Frame], gt: Frame, count: int, scale: int = 4) -> list[Window]:
    """The windows in which methods differ most, worst first: as many as `count`, if they fit.

    They do not overlap, lie inside the border of 8 pixels and begin at whole LR pixels. The measure
    is the difference between the largest and the smallest squared error in Y of the methods; of one
    method it is its error. Everything is reckoned in integers, and of two equal windows the upper,
    then the left one counts, so that every machine chooses the same.
    """
    step = _step(scale)
    first, size = _first(step), side(gt.shape[0], gt.shape[1], scale)
    sums = [_sums(frame, gt, first, step, size) for frame in sr]
    worst, best = np.maximum.reduce(sums), np.minimum.reduce(sums)
    measure = worst - best if len(sums) > 1 else worst
    found: list[Window] = []
    near = size // step - 1
    while len(found) < count and measure.max(initial=-1) >= 0:
        row, column = (int(i) for i in np.unravel_index(np.argmax(measure), measure.shape))
        found.append(Window(first + row * step, first + column * step, size))
        above, before = max(0, row - near), max(0, column - near)
        measure[above : row + near + 1, before : column + near + 1] = -1
    return found


def _sums(sr: Frame, gt: Frame, first: int, step: int, size: int) -> Integers:
    """Squared errors in Y (in metrics.LUMA_UNIT squared) of all windows, by row and column."""
    weights = np.array(metrics.LUMA_WEIGHTS)
    errors = ((sr.astype(np.int64) - gt) @ weights) ** 2
    inside = errors[first : gt.shape[0] - _BORDER, first : gt.shape[1] - _BORDER]
    down, across = (length // step for length in inside.shape)
    cells = inside[: down * step, : across * step]
    cells = cells.reshape(down, step, across, step).sum(axis=(1, 3))
    total = np.zeros((down + 1, across + 1), np.int64)
    total[1:, 1:] = cells.cumsum(axis=0).cumsum(axis=1)
    n = size // step
    windows: Integers = total[n:, n:] - total[:-n, n:] - total[n:, :-n] + total[:-n, :-n]
    return windows


def decibels(sr: Frame, gt: Frame, border: int = 0) -> str:
    """PSNR in Y of a frame or crop, as it is printed under it."""
    value = float(metrics.psnr(sr, gt, "y", border))
    return "identical" if math.isinf(value) else f"{value:.2f} dB"


def draw(data: Pictured, results: Path) -> Figure:
    """The GT frame with lettered boxes, and GT, LR and each method in those boxes.

    They stand beside the frame where there is room for all in a line, else below it. Three places,
    or as many as a page has room for.
    """
    gt, lr = (frames.read(results / one.frame) for one in (data.gt, data.lr))
    sr = [frames.read(results / one.frame) for one in data.methods]
    scale = max(1, gt.shape[0] // lr.shape[0])
    overview = sheet.fitted(gt, _FRAME, _FRAME)
    grid = _layout(data, overview, scale)
    windows = places(sr, gt, grid.places, scale)
    below = grid.top + len(windows) * grid.lines * grid.pitch
    page = Sheet(grid.width, max(below, grid.frame_end), data.head)
    _overview(page, overview, gt.shape[1], windows, sheet.head_height(data.head))
    names = [style.wrapped(one.method.label, _NAMED) for one in data.methods]
    for number, window in enumerate(windows):
        corner = grid.top + number * grid.lines * grid.pitch
        page.text(_letter(number), grid.left - _TAG, corner, fontsize=7, fontweight="bold")
        truth = window.of(gt)
        tiles = [(truth, "GT"), (sheet.enlarged(window.of(lr, scale), scale, scale), "LR, nearest")]
        tiles += [
            (window.of(frame), f"{name}\n{decibels(window.of(frame), truth)}")
            for frame, name in zip(sr, names, strict=True)
        ]
        for place, (image, text) in enumerate(tiles):
            line, column = divmod(place, grid.abreast)
            x, y = grid.left + column * (grid.tile + GAP), corner + line * grid.pitch
            page.image(sheet.enlarged(image, grid.factor, grid.factor), x, y)
            page.text(text, x, y + grid.tile + GAP / 2)
    return page.figure


class _Grid(NamedTuple):
    """Where crops stand, in dots: the first at (left, top), so many abreast, in so many lines."""

    factor: int
    tile: int
    pitch: int
    left: int
    top: int
    abreast: int
    lines: int
    places: int
    width: int
    frame_end: int


def _layout(data: Pictured, overview: Frame, scale: int) -> _Grid:
    size = side(data.height, data.width, scale)
    factor = max(1, _TILE // size)
    tile = factor * size
    named = max(style.wrapped(one.method.label, _NAMED).count("\n") for one in data.methods)
    pitch = tile + (2 + named) * LINE + GAP + GAP // 2
    top, tiles = sheet.head_height(data.head), len(data.methods) + 2
    frame_end = top + overview.shape[0]
    beside = overview.shape[1] + 2 * GAP + _TAG
    fits = beside + tiles * (tile + GAP) - GAP <= sheet.WIDTH
    left = beside if fits else _TAG
    most = max(1, (sheet.WIDTH - left + GAP) // (tile + GAP))
    lines = -(-tiles // most)
    abreast = -(-tiles // lines)
    start = top if fits else frame_end + 2 * GAP
    count = max(1, min(3, (sheet.PAGE - start) // (lines * pitch)))
    width = left + abreast * (tile + GAP) - GAP
    return _Grid(factor, tile, pitch, left, start, abreast, lines, count, width, frame_end)


def _overview(page: Sheet, image: Frame, width: int, windows: Sequence[Window], top: int) -> None:
    from matplotlib.patches import Rectangle

    axes = page.image(image, 0, top)
    scale = image.shape[1] / width
    for number, window in enumerate(windows):
        x, y, size = (value * scale for value in (window.left, window.top, window.side))
        for colour, line in (("black", 2.0), ("white", 1.0)):
            corner = (x - 0.5, y - 0.5)
            axes.add_patch(
                Rectangle(corner, size, size, fill=False, edgecolor=colour, linewidth=line)
            )
        # Inside its box, as another's may be next to it.
        axes.text(
            x + 5,
            y + 5,
            _letter(number),
            color="white",
            fontsize=style.SMALL,
            fontweight="bold",
            va="top",
            bbox={"facecolor": "black", "edgecolor": "none", "pad": 0.7},
        )


def _letter(number: int) -> str:
    return "ABC"[number]
