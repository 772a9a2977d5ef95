"""Sheets of frames and crops in print: every pixel a whole number of dots, texts between them."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from bench.drawing import style

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

WIDTH, PAGE = int(style.TEXT * style.DPI), int(9.2 * style.DPI)  # dots: the text of a page
LINE = 27  # dots of a line of small text
GAP = 12
# Dots by which an image lies inside its place, and the figure is larger than it should be: without,
# matplotlib 3.9 rounds some images up and some figures down by a dot.
_LESS = 1e-3
_LEAST = int(style.COLUMN * style.DPI)

Image = NDArray[Any]


class Sheet:
    """A figure with its head, laid out in dots from its upper left corner, a column wide or more.

    Axes are placed by hand: a layout engine would give images sizes that are no multiple of theirs,
    and so pixels of unequal size.
    """

    def __init__(self, width: int, height: int, head: str) -> None:
        from matplotlib.figure import Figure

        self.width, self.height = max(width, _LEAST), height
        size = (self.width + _LESS, height + _LESS)
        self.figure: Figure = Figure((size[0] / style.DPI, size[1] / style.DPI))
        self.text(head, 0, 0, fontsize=7, linespacing=1.3)

    def image(self, image: Image, x: int, y: int, **shown: Any) -> Axes:  # noqa: ANN401
        """Puts the image where its upper left corner is (x, y), a dot for each of its pixels."""
        height, width = image.shape[:2]
        axes = self.axes(x + _LESS, y + _LESS, width - 2 * _LESS, height - 2 * _LESS)
        # Not "none", with which browsers leave out rows where they show the SVG smaller.
        axes.imshow(image, interpolation="nearest", aspect="auto", **shown)
        axes.set_axis_off()
        return axes

    def axes(self, x: float, y: float, width: float, height: float) -> Axes:
        """Axes of that size whose upper left corner is (x, y)."""
        bottom = self.height - y - height
        place = (
            x / self.width,
            bottom / self.height,
            width / self.width,
            height / self.height,
        )
        return self.figure.add_axes(place)

    def text(self, text: str, x: float, y: float, **how: Any) -> None:  # noqa: ANN401
        """Writes small text whose upper left corner is (x, y)."""
        known: dict[str, Any] = {"va": "top", "fontsize": style.SMALL, "linespacing": 1.1}
        self.figure.text(x / self.width, 1 - y / self.height, text, **known | how)


def head_height(head: str) -> int:
    """The dots that a head takes, with the space below it."""
    return (2 + head.count("\n")) * LINE


def fitted(image: Image, width: int, height: int) -> Image:
    """The image enlarged by a whole factor, as far as it fits; else reduced by averaging areas.

    uint8 (h, w, 3) or float (h, w); at least one pixel wide and high.
    """
    factor = min(width // image.shape[1], height // image.shape[0])
    return enlarged(image, factor, factor) if factor else _reduced(image, width, height)


def enlarged(image: Image, down: int, across: int) -> Image:
    """The image with every pixel repeated; viewers would blur a small image that is stretched."""
    return np.repeat(np.repeat(image, down, axis=0), across, axis=1)


def _reduced(image: Image, width: int, height: int) -> Image:
    from PIL import Image as Pillow

    scale = min(width / image.shape[1], height / image.shape[0])
    size = (max(1, int(image.shape[1] * scale)), max(1, int(image.shape[0] * scale)))
    kind = image if image.dtype == np.uint8 else image.astype(np.float32)
    return np.asarray(Pillow.fromarray(kind).resize(size, Pillow.Resampling.BOX))
