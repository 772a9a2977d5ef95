"""Charts of scores: means of data sets and clips, frames one by one, PSNR against cost.

Means are dots, not bars: a bar of PSNR has no honest length, as its zero means nothing and an axis
that is cut makes one method look twice as good as another. A dot is read by its place alone.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import TYPE_CHECKING, NamedTuple

import msgspec

from bench.drawing import style

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure
    from matplotlib.lines import Line2D

_LEAST_DB, _LEAST_SSIM = 1.0, 0.02  # what an axis spans at least
_SHORT = 8  # characters of a value for which there is room on both sides
_PAGE = 8.0  # inches that dots may take of a page
_IDENTICAL = "identical to GT (PSNR is infinite)"


class Method(msgspec.Struct, frozen=True):
    """A method as figures name it, and its place among all methods, which is its look."""

    label: str
    place: int


class Value(msgspec.Struct, frozen=True):
    """A mean, as number and as text; null where every frame is identical to GT."""

    value: float | None
    text: str
    published: float | None = None


class Dot(msgspec.Struct, frozen=True):
    """A method's means, and the published ones where these are under the same protocol."""

    method: Method
    psnr: Value
    ssim: Value


class Means(msgspec.Struct, frozen=True):
    """Means of a data set, best first."""

    head: str
    dots: list[Dot]


class Clip(msgspec.Struct, frozen=True):
    """Means of one clip."""

    clip: str
    dots: list[Dot]


class ClipMeans(msgspec.Struct, frozen=True):
    """Means of each clip of a data set."""

    head: str
    methods: list[Method]
    clips: list[Clip]


class Curve(msgspec.Struct, frozen=True):
    """PSNR of a clip's scored frames; null where a frame is identical to GT."""

    method: Method
    psnr: list[float | None]


class Panel(msgspec.Struct, frozen=True):
    """The curves of one clip, whose first scored frame is `first`."""

    clip: str
    first: int
    curves: list[Curve]


class Frames(msgspec.Struct, frozen=True):
    """PSNR of every frame, a panel a clip."""

    head: str
    methods: list[Method]
    panels: list[Panel]


class Spot(msgspec.Struct, frozen=True):
    """A method's cost, from `low` to `high`, beside its PSNR."""

    method: Method
    cost: float
    low: float
    high: float
    psnr: float


class Costs(msgspec.Struct, frozen=True):
    """PSNR against what it costs."""

    head: str
    label: str
    spots: list[Spot]


class _Score(NamedTuple):
    label: str
    least: float
    values: list[Value]


def means(data: Means) -> Figure:
    """One row a method: PSNR on the left, SSIM on the right."""
    from matplotlib.figure import Figure

    figure = Figure((style.TEXT, 0.85 + 0.2 * len(data.dots)), layout="constrained")
    left, right = figure.subplots(1, 2, sharey=True)
    places = list(range(len(data.dots)))
    for axes, score in zip((left, right), _scores(data.dots), strict=True):
        _dots(axes, data.dots, places, score, texts=True)
        axes.grid(visible=False, axis="y")
    left.set_yticks(places, [dot.method.label for dot in data.dots])
    left.set_ylim(len(places) - 0.4, -0.6)
    for axes in (left, right):
        axes.tick_params(axis="y", length=0)
    style.head(figure, data.head)
    style.legend(figure, _published(data.dots), style.TEXT)
    return figure


def clip_means(data: ClipMeans) -> Figure:
    """A group of rows for each clip, in it one row a method."""
    from matplotlib.figure import Figure

    places, ticks, edges, place = [], [], [], 0.0
    for clip in data.clips:
        places.append([place + i for i in range(len(clip.dots))])
        ticks.append(place + (len(clip.dots) - 1) / 2)
        place += len(clip.dots) + 1
        edges.append(place - 1)
    pitch = min(0.12, _PAGE / place)
    figure = Figure((style.TEXT, 0.8 + pitch * place), layout="constrained")
    left, right = figure.subplots(1, 2, sharey=True)
    dots = [dot for clip in data.clips for dot in clip.dots]
    for axes, score in zip((left, right), _scores(dots), strict=True):
        _dots(axes, dots, [y for group in places for y in group], score)
        for edge in edges[:-1]:
            axes.axhline(edge, color="#d9d9d9", linewidth=0.6)
        axes.grid(visible=False, axis="y")
        axes.tick_params(axis="y", length=0)
    left.set_yticks(ticks, [clip.clip for clip in data.clips])
    left.set_ylim(place - 0.7, -0.8)
    style.head(figure, data.head)
    style.legend(figure, [*_methods(data.methods), *_published(dots)], style.TEXT)
    return figure


def frames(data: Frames) -> Figure:
    """A panel a clip, two abreast, each with its own axis: clips differ more than methods."""
    from matplotlib.figure import Figure

    columns = min(2, len(data.panels))
    rows = -(-len(data.panels) // columns)
    height = min(1.5, _PAGE / rows)
    figure = Figure((style.TEXT, 0.6 + height * rows), layout="constrained")
    found = list(figure.subplots(rows, columns, squeeze=False).flat)
    identical = False
    for number, (axes, panel) in enumerate(zip(found, data.panels, strict=False)):
        identical |= _curves(axes, panel)
        if number % columns == 0:
            axes.set_ylabel("PSNR (dB)")
        if number + columns >= len(data.panels):
            axes.set_xlabel("frame, counted from 0")
    for axes in found[len(data.panels) :]:
        axes.set_visible(False)
    style.head(figure, data.head)
    entries = _methods(data.methods, lines=True)
    entries += [(_mark("^", fill="none"), _IDENTICAL)] if identical else []
    style.legend(figure, entries, style.TEXT)
    return figure


def costs(data: Costs) -> Figure:
    """PSNR over cost, in the width of a column; the axis of cost is logarithmic."""
    from matplotlib.figure import Figure
    from matplotlib.ticker import NullLocator

    figure = Figure((style.COLUMN, 2.4), layout="constrained")
    axes = figure.subplots()
    for spot in data.spots:
        look = style.look(spot.method.place)
        if spot.low < spot.high:
            axes.plot([spot.low, spot.high], [spot.psnr] * 2, color=look.colour, linewidth=0.6)
        axes.plot(spot.cost, spot.psnr, look.marker, color=look.colour, markersize=5)
    axes.set_xscale("log")
    low, high = min(spot.low for spot in data.spots), max(spot.high for spot in data.spots)
    room = max(1.2, (high / low) ** 0.08)
    axes.set_xlim(low / room, high * room)
    ticks = _ticks(low / room, high * room)
    axes.set_xticks(ticks, [f"{tick:g}" for tick in ticks])
    axes.xaxis.set_minor_locator(NullLocator())
    style.span(axes, [spot.psnr for spot in data.spots], _LEAST_DB, along="y")
    axes.set_xlabel(style.wrapped(data.label, 58))
    axes.set_ylabel("PSNR (dB)")
    style.head(figure, data.head)
    style.legend(figure, _methods([spot.method for spot in data.spots]), style.COLUMN)
    return figure


def _ticks(low: float, high: float) -> list[float]:
    """Round numbers on a logarithmic axis from `low` to `high`: few, but at least two.

    >>> _ticks(90, 1200), _ticks(0.6, 0.95), _ticks(1.21, 1.24)
    ([100, 200, 500, 1000], [0.6, 0.7, 0.8, 0.9], [1.21, 1.24])
    """
    decades = range(math.floor(math.log10(low)), math.floor(math.log10(high)) + 1)
    for steps in ((1,), (1, 2, 5), range(1, 10)):
        least = 4 if steps == (1,) else 2
        found = [
            step * 10**power if power >= 0 else step / 10**-power
            for power in decades
            for step in steps
        ]
        inside: list[float] = [tick for tick in found if low <= tick <= high]
        if len(inside) >= least:
            return inside
    return [low, high]


def _scores(dots: Sequence[Dot]) -> tuple[_Score, _Score]:
    return (
        _Score("PSNR (dB)", _LEAST_DB, [dot.psnr for dot in dots]),
        _Score("SSIM", _LEAST_SSIM, [dot.ssim for dot in dots]),
    )


def _dots(
    axes: Axes, dots: Sequence[Dot], places: Sequence[float], score: _Score, *, texts: bool = False
) -> None:
    """Dots at their values, published ones as upright strokes; what is infinite lies at the end."""
    numbers = [n for v in score.values for n in (v.value, v.published) if n is not None]
    style.span(axes, numbers, score.least, along="x", margin=0.3 if texts else 0.15)
    axes.set_xlabel(score.label)
    if not numbers:  # the limits mean nothing
        axes.set_xticks([])
    end = axes.get_xlim()[1]
    for dot, place, value in zip(dots, places, score.values, strict=True):
        look = style.look(dot.method.place)
        if value.published is not None:
            axes.plot(value.published, place, "|", color=style.GREY, markersize=9)
        at = end if value.value is None else value.value
        fill = "none" if value.value is None else look.colour
        axes.plot(at, place, look.marker, color=look.colour, markerfacecolor=fill, clip_on=False)
        if texts:
            # Away from the published value; long ones from the nearer end.
            right = at < sum(axes.get_xlim()) / 2
            if value.published is not None and len(value.text) <= _SHORT:
                right = value.published <= at
            axes.annotate(
                value.text,
                (at, place),
                (6 if right else -6, 0),
                textcoords="offset points",
                ha="left" if right else "right",
                va="center_baseline",
                fontsize=style.SMALL,
            )


def _curves(axes: Axes, panel: Panel) -> bool:
    """Draws the curves of a clip; whether any frame is identical to GT, which no curve can show."""
    from matplotlib.ticker import MaxNLocator

    axes.set_title(panel.clip)
    identical = False
    finite = [value for curve in panel.curves for value in curve.psnr if value is not None]
    style.span(axes, finite, _LEAST_DB, along="y")
    if not finite:
        axes.set_yticks([])
    for number, curve in enumerate(panel.curves):
        look = style.look(curve.method.place)
        times = range(panel.first, panel.first + len(curve.psnr))
        values = [math.nan if value is None else value for value in curve.psnr]
        step = max(1, len(values) // 6)
        axes.plot(
            times,
            values,
            color=look.colour,
            linestyle=look.dash,
            marker=look.marker,
            markersize=3,
            markevery=(number * step // max(1, len(panel.curves)), step),
        )
        infinite = [time for time, v in zip(times, curve.psnr, strict=True) if v is None]
        if infinite:  # empty lines that are not clipped upset the layout
            axes.plot(
                infinite,
                [1 - 0.05 * number] * len(infinite),
                "^",
                transform=axes.get_xaxis_transform(),
                color=look.colour,
                markerfacecolor="none",
                markersize=3,
                clip_on=False,
            )
            identical = True
    last = max(panel.first + len(curve.psnr) - 1 for curve in panel.curves)
    room = max(0.5, 0.02 * (last - panel.first))
    axes.set_xlim(panel.first - room, last + room)
    axes.xaxis.set_major_locator(MaxNLocator(integer=True))
    return identical


def _methods(methods: Sequence[Method], *, lines: bool = False) -> list[tuple[Line2D, str]]:
    entries = []
    for method in methods:
        look = style.look(method.place)
        dash = look.dash if lines else "none"
        entries.append((_mark(look.marker, look.colour, look.colour, dash), method.label))
    return entries


def _published(dots: Sequence[Dot]) -> list[tuple[Line2D, str]]:
    values = [value.published for dot in dots for value in (dot.psnr, dot.ssim)]
    if all(value is None for value in values):
        return []
    return [(_mark("|", size=9), "published under the same protocol")]


def _mark(
    marker: str,
    colour: str = style.GREY,
    fill: str | None = None,
    dash: object = "none",
    size: float = 4,
) -> Line2D:
    from matplotlib.lines import Line2D

    return Line2D(
        [],
        [],
        color=colour,
        marker=marker,
        markerfacecolor=fill or colour,
        linestyle=dash,  # type: ignore[arg-type]
        markersize=size,
    )
