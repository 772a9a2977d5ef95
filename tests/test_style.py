from __future__ import annotations

import itertools
import re
import subprocess
import sys
import xml.etree.ElementTree as ET

import matplotlib as mpl
import numpy as np
import pytest
from matplotlib import font_manager
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from skimage.color import rgb2lab

from bench.drawing import style

ODD = "x$y_<z>&^{"


def drawn():
    figure = Figure((style.COLUMN, 2), layout="constrained")
    axes = figure.subplots()
    axes.plot([1, 2, 3], [3, 1, 2], label=ODD)
    axes.set_xlabel(ODD)
    style.head(figure, "a $ and an _")
    style.legend(figure, [(Line2D([], [], color="k"), "_hidden"), (Line2D([], []), ODD)], 3)
    return figure


@pytest.mark.parametrize("form", style.FORMS)
def test_the_same_figure_is_the_same_bytes(form):
    assert style.rendered(drawn, form, "about") == style.rendered(drawn, form, "about")


@pytest.mark.parametrize("form", style.FORMS)
def test_what_the_user_set_for_matplotlib_changes_nothing_and_is_kept(form):
    before = style.rendered(drawn, form)
    with mpl.rc_context({"font.size": 30, "text.usetex": True, "axes.facecolor": "red"}):
        assert style.rendered(drawn, form) == before
        assert mpl.rcParams["font.size"] == 30
        assert mpl.rcParams["text.usetex"]


def test_another_process_draws_the_same_bytes():
    """Nothing hangs on the seed of hashes or on what was drawn before."""
    code = (
        "import hashlib; from bench.drawing import style, charts\n"
        "data = charts.Costs('h', 'x', [charts.Spot(charts.Method('m', 1), 2., 1., 3., 30.)])\n"
        "for form in style.FORMS:\n"
        "    drawn = style.rendered(lambda: charts.costs(data), form)\n"
        "    print(hashlib.sha256(drawn).hexdigest())"
    )
    runs = [
        subprocess.run([sys.executable, "-c", code], check=True, capture_output=True).stdout
        for _ in range(2)
    ]
    assert runs[0] == runs[1]
    assert len(runs[0].split()) == 2


def test_metadata_holds_the_description_and_no_date_or_version():
    svg, png = (style.rendered(drawn, form, "about it") for form in style.FORMS)
    assert b"<dc:description>about it</dc:description>" in svg
    assert b"tEXtDescription\0about it" in png
    for data in (svg, png):
        assert mpl.__version__.encode() not in data
        assert b"Software" not in data
        assert b"dc:date" not in data


def test_any_name_is_drawn_and_svg_stays_xml():
    svg = style.rendered(drawn, "svg")
    root = ET.fromstring(svg)  # noqa: S314 - our own bytes
    assert root.tag.endswith("svg")
    assert b"<text" not in svg  # paths: no font need be installed
    with style.house():
        texts = [text.get_text() for text in drawn().legends[0].get_texts()]
    assert texts == ["_hidden", ODD]


def test_the_font_is_the_one_that_matplotlib_brings():
    with style.house():
        found = font_manager.findfont(font_manager.FontProperties())
    assert found.startswith(mpl.get_data_path())


def test_methods_differ_in_colour_or_marker():
    looks = [style.look(place) for place in range(56)]
    assert len({(look.colour, look.marker) for look in looks}) == 56
    assert looks[3] == style.look(3)


@pytest.mark.parametrize("kind", ["normal", "deuteranopia", "protanopia"])
def test_colours_stay_apart_for_the_colour_blind(kind):
    """Distances in CIELAB after the simulation of Vienot, Brettel and Mollon (1999)."""
    rows = {
        "normal": [[1, 0, 0], [0, 1, 0], [0, 0, 1]],
        "protanopia": [[0.11238, 0.88762, 0], [0.11238, 0.88762, 0], [0.00401, -0.00401, 1]],
        "deuteranopia": [[0.29275, 0.70725, 0], [0.29275, 0.70725, 0], [-0.02234, 0.02234, 1]],
    }
    colours = list(dict.fromkeys(style.look(place).colour for place in range(56)))
    rgb = np.array([[int(c[i : i + 2], 16) / 255 for i in (1, 3, 5)] for c in colours])
    linear = np.clip(np.where(rgb > 0.04045, ((rgb + 0.055) / 1.055) ** 2.4, rgb / 12.92), 0, 1)
    seen = np.clip(linear @ np.array(rows[kind]).T, 0, 1)
    back = np.where(seen > 0.0031308, 1.055 * seen ** (1 / 2.4) - 0.055, 12.92 * seen)
    lab = rgb2lab(back[None])[0]
    least = min(float(np.linalg.norm(a - b)) for a, b in itertools.combinations(lab, 2))
    assert least > 8  # one alone is a just visible difference at about 2.3
    assert lab[:, 0].max() < 80  # and dark enough for lines on white


def test_long_names_are_broken_where_they_can_be():
    assert style.wrapped("edvr openmmlab-l-reds", 12).splitlines() == [
        "edvr",
        "openmmlab-l-",
        "reds",
    ]
    assert style.wrapped("", 5) == ""
    assert all(len(line) <= 5 for line in style.wrapped("a" * 23, 5).splitlines())


def test_an_axis_spans_no_less_than_it_should():
    with style.house():
        axes = Figure().subplots()
        style.span(axes, [27.331, 27.332], 1.0, along="x")
        low, high = axes.get_xlim()
        assert high - low == pytest.approx(1.15)
        style.span(axes, [20.0, 30.0], 1.0, along="y")
        assert axes.get_ylim() == pytest.approx((19.25, 30.75))
        style.span(axes, [], 1.0, along="y")
        assert np.isfinite(axes.get_ylim()).all()


def test_widths_are_those_of_the_page():
    svg = style.rendered(drawn, "svg").decode()
    width = re.search(r'<svg[^>]* width="([\d.]+)pt"', svg)
    assert width
    assert float(width[1]) == pytest.approx(72 * style.COLUMN)
