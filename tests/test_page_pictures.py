"""The pictures of the page in a real browser: divider, zoom, error maps, rows over time."""

from __future__ import annotations

import base64
import io
import re

import numpy as np
import pageresults
import pytest
from PIL import Image

from bench import sample

pytestmark = pytest.mark.browser

# The colours of the error maps at equal distances.
RAMP = np.array([(0, 0, 4), (87, 16, 110), (188, 55, 84), (249, 142, 9), (252, 255, 164)], float)


def transforms(page) -> set[str]:
    return set(
        page.locator(".side > *").evaluate_all(
            "all => all.map(one => {"
            "const m = new DOMMatrix(getComputedStyle(one).transform);"
            "const {width, height} = one.parentElement.getBoundingClientRect();"
            "return [m.a, m.d, (m.e / width).toFixed(3), (m.f / height).toFixed(3)].join(' ')})"
        )
    )


def test_the_divider_moves_by_pointer_and_keys(visit, site):
    page = visit(site)
    slider = page.get_by_role("slider", name="Divider", exact=True)
    left = page.locator(".view .side.left")

    def shown() -> float:
        clipped = left.evaluate("side => getComputedStyle(side).clipPath")
        width = left.evaluate("side => side.clientWidth")
        right = re.match(r"inset\(0px calc\(100% - ([\d.]+)%\)|inset\(0px ([\d.]+)(px|%)", clipped)
        if right[1]:
            return float(right[1])
        return 100 - float(right[2]) / (width / 100 if right[3] == "px" else 1)

    assert slider.input_value() == "50"
    assert shown() == pytest.approx(50, abs=0.5)
    slider.focus()
    page.keyboard.press("ArrowRight")
    assert slider.input_value() == "51"
    assert shown() == pytest.approx(51, abs=0.5)
    view = page.locator(".pictures > .view")
    view.scroll_into_view_if_needed()
    area = view.bounding_box()
    page.mouse.move(area["x"] + 0.5 * area["width"], area["y"] + 40)
    page.mouse.down()
    page.mouse.move(area["x"] + 0.25 * area["width"], area["y"] + 60)
    page.mouse.up()
    assert shown() == pytest.approx(25, abs=0.5)
    assert slider.input_value() == "25"
    view.focus()
    page.keyboard.press("ArrowRight")
    assert shown() == pytest.approx(27, abs=0.5)


def test_zoom_and_pan_are_of_all_views(visit, site):
    page = visit(site)
    assert page.locator(".side > *").count() == 5  # two pictures and three error maps
    assert transforms(page) == {"1 1 0.000 0.000"}
    zoom = page.get_by_role("slider", name="Zoom", exact=True)
    zoom.focus()
    for _ in range(2):
        page.keyboard.press("ArrowRight")
    assert transforms(page) == {"2 2 -0.500 -0.500"}
    view = page.locator(".pictures > .view")
    view.focus()
    page.keyboard.press("ArrowRight")
    page.keyboard.press("ArrowUp")
    assert transforms(page) == {"2 2 -0.600 -0.400"}
    for _ in range(20):
        page.keyboard.press("ArrowLeft")
    assert transforms(page) == {"2 2 0.000 -0.400"}  # no farther than its edge
    view.scroll_into_view_if_needed()
    area = view.bounding_box()
    page.mouse.move(area["x"] + 0.9 * area["width"], area["y"] + 0.5 * area["height"])
    page.mouse.down()
    page.mouse.move(area["x"] + 0.7 * area["width"], area["y"] + 0.5 * area["height"])
    page.mouse.up()
    assert transforms(page) == {"2 2 -0.200 -0.400"}
    error_map = page.locator(".maps .view").first
    error_map.focus()
    page.keyboard.press("+")
    assert next(iter(transforms(page))).startswith("3 3 ")
    assert len(transforms(page)) == 1
    page.get_by_role("button", name="Show all").click()
    assert transforms(page) == {"1 1 0.000 0.000"}
    assert zoom.input_value() == "1"


def test_arrow_keys_scroll_the_page_where_nothing_is_enlarged(visit, site):
    page = visit(site, reduced_motion="reduce")
    for view in (page.locator(".maps .view").first, page.locator(".pictures > .view")):
        view.focus()
        page.wait_for_function("() => document.activeElement.classList.contains('view')")
        before = page.evaluate("scrollY")
        page.keyboard.press("ArrowUp")
        page.wait_for_function("before => scrollY < before", arg=before)


def test_both_sides_are_chosen(visit, site):
    page = visit(site)
    alts = page.locator(".side img")
    assert alts.evaluate_all("all => all.map(i => i.alt).sort()") == ["LR (nearest)", "tdan bix4"]
    page.get_by_role("combobox", name="Left", exact=True).select_option(label="GT")
    page.get_by_role("combobox", name="Right", exact=True).select_option(label="edvr m-reds")
    assert page.locator(".side.left img").get_attribute("alt") == "GT"
    assert page.locator(".side.right img").get_attribute("alt") == "edvr m-reds"
    assert page.locator(".side.left img").evaluate("i => [i.naturalWidth, i.naturalHeight]") == [
        192,
        144,
    ]


def coloured(errors: np.ndarray, limit: float) -> np.ndarray:
    """The colours of errors on the page's scale, to the next of its 1,024 steps."""
    share = np.floor(np.minimum(1, errors / limit) * 1023 + 0.5) / 1023
    places = np.linspace(0, 1, len(RAMP))
    return np.stack([np.interp(share, places, RAMP[:, c]) for c in range(3)], axis=-1)


def pixels(canvas) -> np.ndarray:
    """What a canvas holds, (height, width, RGBA)."""
    address = canvas.evaluate("canvas => canvas.toDataURL('image/png')")
    return np.array(Image.open(io.BytesIO(base64.b64decode(address.partition(",")[2]))))


def test_error_maps_are_right_in_every_pixel(visit, site):
    page = visit(site)
    gt, shown = sample.clip("pan")[4].astype(float), pageresults.sr_frames()
    maps = page.locator(".errors .maps canvas")
    names = maps.evaluate_all("all => all.map(c => c.getAttribute('aria-label'))")
    assert names == [f"Error of {paper} {checkpoint}" for paper, checkpoint in shown]
    for limit in ("16", "64"):
        page.get_by_role("combobox", name="Scale to", exact=True).select_option(limit)
        assert page.locator(".ramp").inner_text().split() == ["0", limit]
        for index, frames in enumerate(shown.values()):
            errors = np.abs(frames[4] - gt).mean(axis=2)
            painted = pixels(maps.nth(index))
            assert painted.shape == (144, 192, 4)
            assert np.abs(painted[..., :3] - coloured(errors, float(limit))).max() <= 1
            assert (painted[..., 3] == 255).all()
    # The one pixel in which tdan errs, and its neighbour.
    tdan = pixels(maps.first)
    assert tdan[7, 5, :3] == pytest.approx(coloured(np.array(12.0), 64), abs=1)
    assert tdan[7, 6].tolist() == [0, 0, 4, 255]


def test_errors_are_told_in_numbers(visit, site):
    page = visit(site)
    gt, shown = sample.clip("pan")[4].astype(float), pageresults.sr_frames()
    rows = [row.split() for row in page.texts(".errors tbody tr")]
    for row, ((paper, _), frames) in zip(rows, shown.items(), strict=True):
        errors = np.abs(frames[4] - gt).mean(axis=2)
        assert row[0] == paper
        assert row[-2:] == [f"{errors.mean():.2f}", f"{errors.max():.2f}"]
    view = page.locator(".maps .view").first
    view.scroll_into_view_if_needed()
    area = view.bounding_box()
    x, y = (5.5 / 192 * area["width"], 7.5 / 144 * area["height"])
    page.mouse.move(area["x"] + x, area["y"] + y)
    assert page.locator(".readout").inner_text() == "tdan bix4 at column 5, row 7: 12.00"


def test_rows_over_time_are_shown_beside_each_other(visit, site):
    page = visit(site)
    shown = page.locator(".profiles img")
    sizes = shown.evaluate_all("all => all.map(i => [i.naturalWidth, i.naturalHeight])")
    assert sizes == [[192, 9]] * 4
    assert page.texts(".profiles figcaption") == [
        "GT",
        "tdan bix4",
        "edvr m-reds",
        "bicubic bicubic",
    ]
