"""How cost grows with the frame and with the clip: plots of the results of one checkpoint."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

from bench import storage
from bench.drawing import style
from bench.latency import Latency

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure


class Along(NamedTuple):
    """Results along which one thing grows, and what it is of each."""

    label: str
    place: Callable[[Latency], float]
    measured: list[Latency]


def path(results: Path, measured: Latency, form: str) -> Path:
    """Where the plot of a result's checkpoint lies; `form` is svg or png."""
    name = f"{measured.paper}-{measured.checkpoint}-{measured.options}-growth.{form}"
    return results / "latency" / measured.device.slug / name


def draw(results: Path, measured: Sequence[Latency]) -> list[Path]:
    """Draws milliseconds and memory against LR pixels and clip length; the files, SVG and PNG.

    Results of one checkpoint on one device. The sizes are those measured with the clip length of
    the first result, the lengths those with its size; networks that see windows have no lengths.
    """
    files = []
    for form in style.FORMS:
        file = path(results, measured[0], form)
        drawn = style.rendered(lambda: _figure(measured), form)
        with storage.replacing(file) as part:
            part.write_bytes(drawn)
        files.append(file)
    return files


def _figure(measured: Sequence[Latency]) -> Figure:
    from matplotlib.figure import Figure

    first, found = measured[0], along(measured)
    figure = Figure((style.COLUMN * len(found), 4.2), layout="constrained")
    for column, one in enumerate(found, 1):
        _time(figure.add_subplot(2, len(found), column), one)
        _memory(figure.add_subplot(2, len(found), len(found) + column), one)
    style.head(figure, f"{first.paper} {first.checkpoint}, {first.options}\n{first.device.slug}")
    return figure


def along(measured: Sequence[Latency]) -> list[Along]:
    """The results along the size of frames, and along the length of clips where that matters."""
    first = measured[0]

    def kilopixels(one: Latency) -> float:
        return one.pixels / 1e3

    def length(one: Latency) -> float:
        return float(one.frames)

    sizes = sorted((m for m in measured if m.frames == first.frames), key=kilopixels)
    size = (first.height, first.width)
    lengths = sorted((m for m in measured if (m.height, m.width) == size), key=length)
    found = [Along(f"thousands of LR pixels, {first.frames} frames", kilopixels, sizes)]
    if first.whole_clips:
        label = f"frames of {first.height}x{first.width}"
        found.append(Along(label, length, lengths))
    return found


def _time(axes: Axes, found: Along) -> None:
    places = [found.place(one) for one in found.measured]
    spreads = [one.latency_ms for one in found.measured]
    look = style.look(0)
    low, high = [s.p5 for s in spreads], [s.p95 for s in spreads]
    axes.fill_between(places, low, high, color=look.colour, alpha=0.3, linewidth=0)
    axes.plot(places, [s.median for s in spreads], color=look.colour, marker=look.marker)
    _label(axes, found.label, "ms per SR frame")


def _memory(axes: Axes, found: Along) -> None:
    peaks = [(one.peak_memory_bytes or math.nan) / 2**20 for one in found.measured]
    look = style.look(0)
    places = [found.place(one) for one in found.measured]
    axes.plot(places, peaks, color=look.colour, marker=look.marker)
    _label(axes, found.label, "peak memory (MiB)")


def _label(axes: Axes, x: str, y: str) -> None:
    axes.set_xlabel(x)
    axes.set_ylabel(y)
    if math.isfinite(axes.dataLim.y1):  # memory may be unknown
        axes.set_xlim(0, 1.05 * axes.dataLim.x1)
        axes.set_ylim(0, 1.1 * axes.dataLim.y1)
