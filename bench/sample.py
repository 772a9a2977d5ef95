"""The built-in clips: short, with real motion, drawn from photographs inside scikit-image.

Every step is integer arithmetic on 16.16 fixed-point positions, so that the frames are the same to
the byte on every machine. The photographs are free of copyright (skimage/data/_fetchers.py:
`astronaut` public domain, `coffee` and `chelsea` CC0).
"""

from __future__ import annotations

import functools
import importlib.resources
from fractions import Fraction
from pathlib import Path
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from bench import frames
from bench.errors import BenchError, choices

FRAMES, HEIGHT, WIDTH = 9, 144, 192

Frame = NDArray[np.uint8]
Integers = NDArray[np.int64]


class Camera(NamedTuple):
    """Where a clip looks: positions in photograph pixels, changes per frame.

    `turn` is the tangent of half the angle per frame, so that sine and cosine are rational.
    """

    x: Fraction
    y: Fraction
    step: Fraction = Fraction(3, 2)  # photograph pixels per frame pixel
    dx: Fraction = Fraction(0)
    dy: Fraction = Fraction(0)
    zoom: Fraction = Fraction(1)
    turn: Fraction = Fraction(0)

    def at(self, time: int) -> tuple[int, int, int, int]:
        """Centre (y, x) and axes (along x, across) of frame `time`, in 1/65536 pixel."""
        cosine, sine = Fraction(1), Fraction(0)
        c, s = (1 - self.turn**2) / (1 + self.turn**2), 2 * self.turn / (1 + self.turn**2)
        for _ in range(time):
            cosine, sine = cosine * c - sine * s, sine * c + cosine * s
        step = self.step * self.zoom**time
        fixed = (self.y + time * self.dy, self.x + time * self.dx, step * cosine, step * sine)
        return tuple(round(value * 65536) for value in fixed)  # type: ignore[return-value]


_CAMERAS = {
    "pan": (
        "coffee",
        Camera(Fraction(280), Fraction(190), dx=Fraction(23, 10), dy=Fraction(7, 10)),
    ),
    "zoom": ("astronaut", Camera(Fraction(225), Fraction(140), zoom=Fraction(31, 32))),
    "rotation": (
        "chelsea",
        Camera(Fraction(225), Fraction(150), Fraction(1), turn=Fraction(1, 64)),
    ),
    "occlusion": ("coffee", Camera(Fraction(310), Fraction(200), dx=Fraction(-3, 2))),
}


def names() -> list[str]:
    """The names of the clips."""
    return list(_CAMERAS)


@functools.lru_cache(maxsize=len(_CAMERAS))
def clip(name: str) -> NDArray[np.uint8]:
    """The GT frames of a clip, uint8 RGB (9, 144, 192, 3), not writable."""
    if name not in _CAMERAS:
        raise BenchError(
            "unknown sample clip", expected=choices(_CAMERAS), found=repr(name), todo="choose one"
        )
    photograph, camera = _CAMERAS[name]
    stack = []
    for time in range(FRAMES):
        samples = _look(_photograph(photograph), camera, time)
        if name == "occlusion":
            _cover(samples, time)
        stack.append(_average(samples))
    clip = np.stack(stack)
    clip.flags.writeable = False
    return clip


def _photograph(name: str) -> Frame:
    data = importlib.resources.files("skimage") / "data" / f"{name}.png"
    return frames.read(Path(str(data)))


def _grid() -> tuple[Integers, Integers]:
    """Rows and columns of the 2x2 samples of each pixel about the centre, in quarter pixels."""
    rows = 2 * np.arange(2 * HEIGHT, dtype=np.int64) + 1 - 2 * HEIGHT
    columns = 2 * np.arange(2 * WIDTH, dtype=np.int64) + 1 - 2 * WIDTH
    return rows[:, None], columns[None, :]


def _look(photograph: Frame, camera: Camera, time: int) -> Integers:
    """Bilinear samples of the photograph on the 2x2 grid, times 65536."""
    y0, x0, along, across = camera.at(time)
    row, column = _grid()
    y = y0 + (along * row + across * column) // 4
    x = x0 + (along * column - across * row) // 4
    height, width = photograph.shape[:2]
    y, x = np.clip(y, 0, (height - 2) << 16), np.clip(x, 0, (width - 2) << 16)
    top, left = y >> 16, x >> 16
    down, right = ((y >> 8) & 255)[..., None], ((x >> 8) & 255)[..., None]
    pixels = photograph.astype(np.int64)
    upper = pixels[top, left] * (256 - right) + pixels[top, left + 1] * right
    lower = pixels[top + 1, left] * (256 - right) + pixels[top + 1, left + 1] * right
    result: Integers = upper * (256 - down) + lower * down
    return result


def _cover(samples: Integers, time: int) -> None:
    """Moves an ellipse cut from `chelsea` across the samples, from left to right."""
    row, column = _grid()
    centre = 4 * (-60 + 15 * time)  # quarter pixels
    inside = 9 * (column - centre) ** 2 + 16 * row**2 < (4 * 3 * 40) ** 2
    camera = Camera(Fraction(225) + Fraction(60 - 15 * time), Fraction(120), Fraction(1))
    covering = _look(_photograph("chelsea"), camera, 0)
    samples[inside] = covering[inside]


def _average(samples: Integers) -> Frame:
    total = samples.reshape(HEIGHT, 2, WIDTH, 2, 3).sum(axis=(1, 3))
    frame: Frame = ((total + (1 << 17)) >> 18).astype(np.uint8)
    return frame
