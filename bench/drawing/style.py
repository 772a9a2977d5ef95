"""The look of every figure in print: widths, fonts, colours of methods; figures -> bytes."""

from __future__ import annotations

import io
import textwrap
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any, Literal, NamedTuple

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure
    from matplotlib.lines import Line2D

Form = Literal["svg", "png"]
FORMS: tuple[Form, ...] = ("svg", "png")

COLUMN, TEXT = 3.5, 7.16  # inches: a column and the whole text of an IEEE page
DPI = 300
SMALL = 6  # points; the least that IEEE asks for in figures
GREY = "#595959"

# Text is drawn as paths, for two reasons: a figure looks the same where DejaVu Sans is not
# installed, and its bytes do not depend on which fonts are, as matplotlib brings this one along.
# Nothing is mathematics: the name of a method may hold a `$`.
_RC: dict[str, Any] = {
    "font.family": "DejaVu Sans",
    "font.size": 7,
    "axes.labelsize": 7,
    "axes.titlesize": 7,
    "axes.titlelocation": "left",
    "figure.titlesize": 7,
    "legend.fontsize": SMALL,
    "xtick.labelsize": SMALL,
    "ytick.labelsize": 7,
    "text.parse_math": False,
    "axes.formatter.use_mathtext": False,
    "axes.linewidth": 0.6,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.axisbelow": True,
    "axes.grid": True,
    "grid.color": "#d9d9d9",
    "grid.linewidth": 0.4,
    "lines.linewidth": 0.9,
    "lines.markersize": 4,
    "xtick.major.width": 0.6,
    "ytick.major.width": 0.6,
    "xtick.major.size": 2.5,
    "ytick.major.size": 2.5,
    "legend.frameon": False,
    "figure.dpi": DPI,
    "savefig.dpi": DPI,
    "svg.fonttype": "path",
    "svg.hashsalt": "bench",
}
# Okabe and Ito's colours, which colour-blind readers tell apart, without their yellow, which is too
# light for lines on white; black comes last.
_COLOURS = ("#0072B2", "#D55E00", "#009E73", "#CC79A7", "#E69F00", "#56B4E9", "#000000")
# As many markers as share no factor with the colours: 56 methods differ in one or the other.
_MARKERS = ("o", "s", "^", "D", "v", "P", "X", "p")
_DASHES: tuple[Any, ...] = ("-", (0, (4, 1)), (0, (1, 1)), (0, (4, 1, 1, 1)), (0, (6, 2)))


class Look(NamedTuple):
    """How a method looks in every figure."""

    colour: str
    marker: str
    dash: Any


def look(place: int) -> Look:
    """The look of the method at that place among all methods."""
    return Look(
        _COLOURS[place % len(_COLOURS)],
        _MARKERS[place % len(_MARKERS)],
        _DASHES[place % len(_DASHES)],
    )


@contextmanager
def house() -> Iterator[None]:
    """Inside the block figures have the house's look, whatever the user's matplotlibrc says."""
    import matplotlib as mpl

    with mpl.rc_context():
        mpl.rcdefaults()
        mpl.rcParams.update(_RC)  # type: ignore[arg-type]
        yield


def rendered(draw: Callable[[], Figure], form: Form, about: str = "") -> bytes:
    """The bytes of what `draw` makes, the same whenever the same versions make them.

    `about` is the figure's description in its metadata: no date and no version stands there.
    """
    with house():
        figure, file = draw(), io.BytesIO()
        metadata: dict[str, str | None] = {"Description": about} if about else {}
        metadata |= {"Date": None, "Creator": None} if form == "svg" else {"Software": None}
        figure.savefig(file, format=form, metadata=metadata)
    return file.getvalue()


def wrapped(text: str, width: int) -> str:
    """The text in lines of at most `width` characters, broken at blanks and hyphens if it can be.

    >>> print(wrapped("edvr openmmlab-l-reds", 12))
    edvr
    openmmlab-l-
    reds
    """
    return "\n".join(textwrap.wrap(text, width)) or text


def legend(figure: Figure, entries: Sequence[tuple[Line2D, str]], width: float) -> None:
    """Puts the entries below the axes, in as many columns as `width` (inches) has room for.

    The figure grows by the lines that this takes.
    """
    if not entries:
        return
    longest = max(len(text) for _, text in entries)
    columns = max(1, min(len(entries), int(width / (0.4 + 0.047 * longest))))
    lines = -(-len(entries) // columns)
    figure.set_figheight(figure.get_figheight() + 0.1 + 0.125 * lines)
    # Labels that begin with "_" would be left out, so that they are set afterwards.
    handles = [handle for handle, _ in entries]
    blank = ["x"] * len(entries)
    made = figure.legend(handles, blank, loc="outside lower center", ncols=columns)
    for text, (_, label) in zip(made.get_texts(), entries, strict=True):
        text.set_text(label)


def span(
    axes: Axes,
    values: Sequence[float],
    least: float,
    *,
    along: Literal["x", "y"],
    margin: float = 0.15,
) -> None:
    """Sets the limits of an axis to the values and a margin, and to no less than `least`.

    Without this, matplotlib would stretch a difference of nothing over the whole axis.
    """
    low, high = (min(values), max(values)) if values else (0.0, least)
    middle, half = (low + high) / 2, max(high - low, least) / 2
    limits = (middle - (1 + margin) * half, middle + (1 + margin) * half)
    (axes.set_xlim if along == "x" else axes.set_ylim)(*limits)


def head(figure: Figure, text: str) -> None:
    """Writes what the figure shows above it, from the left."""
    figure.suptitle(text, x=0.01, ha="left", linespacing=1.3)
