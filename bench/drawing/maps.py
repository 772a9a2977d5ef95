"""Error maps of a frame, and one row of a clip over time: a sheet a clip for each."""

from __future__ import annotations

import math
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from bench import frames, metrics
from bench.drawing import crops, sheet
from bench.drawing.crops import Pictured
from bench.drawing.sheet import GAP, LINE, WIDTH, Sheet

if TYPE_CHECKING:
    from matplotlib.figure import Figure

Frame = NDArray[np.uint8]
Errors = NDArray[np.float64]

_BORDER = 8  # that of `fixed`: the PSNR under a map is what the leaderboard is made of
_BAR, _BAR_ROOM = 36, 190  # dots: the colour bar, and what it takes with its numbers
_SHARE = 99.5  # per cent of the errors that lie inside the scale
_COLOURS = "magma"  # perceptually uniform, dark where nothing is wrong
_ABREAST = 3
_FRAME = 420  # dots that the small GT frame may take
_PROFILE = 150  # dots that a profile is high, where it has no more rows than that


def errors(data: Pictured, results: Path) -> Figure:
    """|SR - GT| in Y of each method, with one scale for all."""
    from matplotlib.cm import ScalarMappable
    from matplotlib.colors import Normalize

    gt = frames.read(results / data.gt.frame)
    sr = [frames.read(results / one.frame) for one in data.methods]
    truth = metrics.luma(gt)
    found = [np.abs(metrics.luma(frame) - truth) for frame in sr]
    limit = scale_end(found)
    columns, room = _columns(len(sr), data.height, data.width)
    maps = [sheet.fitted(one, room, sheet.PAGE) for one in found]
    high, wide = maps[0].shape
    top, pitch = sheet.head_height(data.head), high + LINE + 2 * GAP
    lines, right = -(-len(maps) // columns), columns * (wide + GAP)
    page = Sheet(right + _BAR_ROOM, top + lines * pitch, data.head)
    for number, (image, one) in enumerate(zip(maps, data.methods, strict=True)):
        line, column = divmod(number, columns)
        x, y = column * (wide + GAP), top + line * pitch
        page.image(image, x, y, cmap=_COLOURS, vmin=0, vmax=limit)
        text = f"{one.method.label}: {crops.decibels(sr[number], gt, _border(gt))}"
        page.text(text, x, y + high + GAP / 2)
    more = any(float(one.max()) > limit for one in found)
    page.figure.colorbar(
        ScalarMappable(Normalize(0, limit), _COLOURS),
        cax=page.axes(right, top, _BAR, high),
        extend="max" if more else "neither",
        label="|SR - GT| in Y (8-bit levels)",
    )
    return page.figure


def scale_end(found: Sequence[Errors]) -> int:
    """Where the one scale ends: a level that 99.5 % of all errors keep below, and at least 1."""
    return max(1, math.ceil(float(np.percentile(np.stack(found), _SHARE))))


def _border(gt: Frame) -> int:
    """The border of `fixed`, where the frame is large enough for it."""
    return _BORDER if min(gt.shape[:2]) > 2 * _BORDER else 0


def _columns(count: int, height: int, width: int) -> tuple[int, int]:
    """How many maps stand abreast and the dots that each may take of the width.

    As many as need not be reduced, but at least two; more where the lines would not fit on a page.
    """
    unreduced = min(_ABREAST, (WIDTH - _BAR_ROOM) // (width + GAP))
    columns = min(count, max(2, unreduced))
    while True:
        room = (WIDTH - _BAR_ROOM) // columns - GAP
        if columns == 1 and room // 2 >= width:
            room //= 2  # a single map need not fill the page
        high = height * (room // width) or room * height // width
        if columns == count or -(-count // columns) * (high + LINE + 2 * GAP) <= sheet.PAGE:
            return columns, room
        columns += 1


def profiles(data: Pictured, results: Path) -> Figure:
    """One row of pixels over time, of GT and each method; beside it the frame with that row.

    Time runs down; pixels are as wide as a whole number of dots, and as high. Of rows that are
    wider than the page has room for, the middle is shown.
    """
    small = sheet.fitted(frames.read(results / data.gt.frame), _FRAME, _FRAME)
    left = small.shape[1] + 2 * GAP
    start, stop = _middle(data.width, WIDTH - left)
    across = (WIDTH - left) // (stop - start)
    rows = [("GT", data.gt), *((one.method.label, one) for one in data.methods)]
    images = []
    for _, one in rows:
        image = frames.read(results / one.profile)[:, start:stop]
        images.append(sheet.enlarged(image, max(1, _PROFILE // len(image)), across))
    top, pitch = sheet.head_height(data.head), images[0].shape[0] + LINE + 2 * GAP
    below = top + max(len(rows) * pitch, small.shape[0] + 5 * LINE)
    page = Sheet(left + images[0].shape[1], below, data.head)
    for number, (image, (label, _)) in enumerate(zip(images, rows, strict=True)):
        y = top + number * pitch
        page.text(label, left, y)
        page.image(image, left, y + LINE + GAP // 2)
    _marked(page, small, data, (start, stop), top + LINE + GAP // 2)
    return page.figure


def _middle(width: int, most: int) -> tuple[int, int]:
    start = max(0, (width - most) // 2)
    return start, min(width, start + most)


def _marked(page: Sheet, small: Frame, data: Pictured, shown: tuple[int, int], y: int) -> None:
    axes = page.image(small, 0, y)
    scale = small.shape[1] / data.width
    place = (data.row + 0.5) * scale - 0.5
    ends = [edge * scale - 0.5 for edge in shown]
    for colour, line in (("black", 2.2), ("#F0E442", 1.0)):
        axes.plot(ends, [place] * 2, color=colour, linewidth=line, solid_capstyle="butt")
    axes.set_xlim(-0.5, small.shape[1] - 0.5)
    axes.set_ylim(small.shape[0] - 0.5, -0.5)
    words = f"GT; the line is row {data.row}.\nBeside it, that row over\ntime, which runs down"
    page.text(words, 0, y + small.shape[0] + GAP / 2)
