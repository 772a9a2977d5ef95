from __future__ import annotations

import math

import drawn
import pytest

from bench.drawing import charts, style
from bench.drawing.charts import (
    Clip,
    ClipMeans,
    Costs,
    Curve,
    Dot,
    Frames,
    Means,
    Method,
    Panel,
    Spot,
    Value,
)

HEAD = "Vid4, bi\nProtocol fixed: Y, crop 8, clip mean"
COUNTS = [1, 10]


def value(number, digits=2, published=None):
    text = "inf (all 9 frames identical)" if number is None else f"{number:.{digits}f}"
    return Value(number, text, published)


def dots(count, shift=0.0):
    return [
        Dot(Method(name, place), value(30 - place + shift), value(0.9 - 0.01 * place, 4))
        for place, name in enumerate(drawn.METHODS[-count:])
    ]


def methods(found):
    return [dot.method for dot in found]


def clip_means(count, clips=4):
    found = [Clip(f"clip {number}", dots(count, number)) for number in range(clips)]
    return ClipMeans(HEAD, methods(found[0].dots), found)


def curves(count, frames=41, clips=4):
    listed = methods(dots(count))
    panels = [
        Panel(
            f"clip {number}",
            2,
            [Curve(one, [30 - one.place + math.sin(t) for t in range(frames)]) for one in listed],
        )
        for number in range(clips)
    ]
    return Frames(HEAD, listed, panels)


def costs(count):
    spots = [Spot(dot.method, 10.0 * 3**i, 9.0 * 3**i, 12.0 * 3**i, 30.0 - i)
             for i, dot in enumerate(dots(count))]  # fmt: skip
    return Costs(HEAD, "ms per SR frame at 180x320, clips of 100 frames", spots)


def lines(axes):
    return [line for line in axes.lines if len(line.get_xdata())]


@pytest.mark.parametrize("count", COUNTS)
@pytest.mark.parametrize(
    ("draw", "data"),
    [
        (charts.means, lambda count: Means(HEAD, dots(count))),
        (charts.clip_means, clip_means),
        (charts.clip_means, lambda count: clip_means(count, 12)),
        (charts.frames, curves),
        (charts.frames, lambda count: curves(count, clips=1)),
        (charts.frames, lambda count: curves(count, clips=12)),
        (charts.costs, costs),
    ],
)
def test_every_text_lies_inside_the_figure_and_protocol_and_methods_are_named(draw, data, count):
    figure, texts = drawn.looked_at(lambda: draw(data(count)))
    assert drawn.cut_off(figure, texts) == drawn.overlapping(texts) == []
    words = [text.get_text() for text in texts]
    assert HEAD in words
    assert set(drawn.METHODS[-count:]) <= set(words)
    assert figure.get_figwidth() in {style.COLUMN, style.TEXT}
    assert figure.get_figheight() <= 9.5
    assert min(text.get_fontsize() for text in texts) >= style.SMALL


@pytest.mark.parametrize("draw", [charts.clip_means, charts.frames])
def test_names_of_the_legend_do_not_overlap(draw):
    data = clip_means(10) if draw is charts.clip_means else curves(10)
    figure, _ = drawn.looked_at(lambda: draw(data))
    boxes = [text.get_window_extent() for text in figure.legends[0].get_texts()]
    assert not any(one.overlaps(two) for i, one in enumerate(boxes) for two in boxes[:i])
    axes = [one.get_tightbbox() for one in figure.axes if one.get_visible()]
    assert not any(box.overlaps(one) for box in boxes for one in axes)


def test_dots_lie_at_their_values_and_look_like_their_methods():
    found = dots(3)
    figure, _ = drawn.looked_at(lambda: charts.means(Means(HEAD, found)))
    left, right = figure.axes
    assert [line.get_xdata()[0] for line in lines(left)] == [dot.psnr.value for dot in found]
    assert [line.get_xdata()[0] for line in lines(right)] == [dot.ssim.value for dot in found]
    for line, dot in zip(lines(left), found, strict=True):
        look = style.look(dot.method.place)
        assert (line.get_color(), line.get_marker()) == (look.colour, look.marker)
    assert left.get_ylim()[0] > left.get_ylim()[1]  # the best at the top
    assert "PSNR (dB)" in left.get_xlabel()


def test_no_bars_and_no_stretched_differences():
    """A thousandth of a decibel is no visible distance."""
    near = [Dot(Method(n, i), value(27.33 + i / 1000), value(0.8318)) for i, n in enumerate("ab")]
    figure, _ = drawn.looked_at(lambda: charts.means(Means(HEAD, near)))
    for axes, least in zip(figure.axes, (1.0, 0.02), strict=True):
        low, high = axes.get_xlim()
        assert high - low >= least
        assert not axes.patches


def test_published_values_are_marked_as_such():
    one = Dot(Method("a", 0), value(27.33, published=27.5), value(0.8318, 4, published=0.83))
    figure, texts = drawn.looked_at(lambda: charts.means(Means(HEAD, [one])))
    marks = {line.get_marker(): line.get_xdata()[0] for line in lines(figure.axes[0])}
    assert marks == {"|": 27.5, "o": 27.33}
    assert "published under the same protocol" in [text.get_text() for text in texts]
    label = next(text for text in texts if text.get_text() == "27.33")
    assert label.get_ha() == "right"  # away from the published one
    bare = Dot(Method("a", 0), value(27.33), value(0.8318, 4))
    _, texts = drawn.looked_at(lambda: charts.means(Means(HEAD, [bare])))
    assert not [text for text in texts if "published" in text.get_text()]


@pytest.mark.parametrize("others", [[], [Dot(Method("b", 1), value(30.0), value(0.9))]])
def test_identical_frames_lie_at_the_end_of_a_finite_axis(others):
    same = Dot(Method("a", 0), value(None), value(1.0))
    figure, texts = drawn.looked_at(lambda: charts.means(Means(HEAD, [same, *others])))
    axes = figure.axes[0]
    low, high = axes.get_xlim()
    assert math.isfinite(low)
    assert lines(axes)[0].get_xdata()[0] == high
    assert lines(axes)[0].get_markerfacecolor() == "none"
    assert drawn.cut_off(figure, texts) == drawn.overlapping(texts) == []
    assert "inf (all 9 frames identical)" in [text.get_text() for text in texts]
    few = Value(34.1, "34.10 (3 of 171 frames identical)", 34.5)
    long = Dot(Method("a long name of a method", 0), few, value(0.97))
    figure, texts = drawn.looked_at(lambda: charts.means(Means(HEAD, [same, long, *others])))
    assert drawn.cut_off(figure, texts) == drawn.overlapping(texts) == []
    clips = ClipMeans(HEAD, [same.method], [Clip("pan", [same])])
    drawn.looked_at(lambda: charts.clip_means(clips))


def test_curves_start_at_the_first_scored_frame_and_break_where_frames_are_identical():
    panel = Panel("pan", 2, [Curve(Method("a", 0), [30.0, None, 31.0])])
    figure, texts = drawn.looked_at(lambda: charts.frames(Frames(HEAD, [Method("a", 0)], [panel])))
    curve, above = lines(figure.axes[0])
    assert list(curve.get_xdata()) == [2, 3, 4]
    assert math.isnan(curve.get_ydata()[1])
    assert list(above.get_xdata()) == [3]
    assert above.get_ydata()[0] == 1  # of the height of the axes
    assert any("identical" in text.get_text() for text in texts)
    nothing = Panel("pan", 0, [Curve(Method("a", 0), [None, None])])
    figure, _ = drawn.looked_at(lambda: charts.frames(Frames(HEAD, [Method("a", 0)], [nothing])))
    assert all(map(math.isfinite, figure.axes[0].get_ylim()))


def test_a_panel_for_each_clip():
    for clips in (1, 3, 12):
        figure, _ = drawn.looked_at(lambda n=clips: charts.frames(curves(2, clips=n)))
        titles = [axes.get_title(loc="left") for axes in figure.axes if axes.get_visible()]
        assert titles == [f"clip {number}" for number in range(clips)]


def test_costs_are_on_a_logarithmic_axis_with_their_spread():
    figure, texts = drawn.looked_at(lambda: charts.costs(costs(3)))
    (axes,) = figure.axes
    assert axes.get_xscale() == "log"
    spread, spot = lines(axes)[:2]
    assert list(spread.get_xdata()) == [9.0, 12.0]
    assert list(spot.get_xdata()) == [10.0]
    ticks = [float(text.get_text()) for text in axes.get_xticklabels()]
    assert len(ticks) >= 2
    assert ticks == list(axes.get_xticks())
    assert any(text.get_text().replace("\n", " ") == costs(3).label for text in texts)


def test_one_cost_twice_still_has_ticks():
    spots = [Spot(Method(name, i), 1.23, 1.23, 1.23, 30.0) for i, name in enumerate("ab")]
    figure, texts = drawn.looked_at(lambda: charts.costs(Costs(HEAD, "millions", spots)))
    assert len(figure.axes[0].get_xticklabels()) >= 2
    assert drawn.cut_off(figure, texts) == []
