from __future__ import annotations

import math

import drawn
import numpy as np
import pytest

from bench import metrics
from bench.drawing import maps, sheet, style


def images(figure):
    """The images of a figure, the colour bar's own left out."""
    return [image for axes in figure.axes if not axes.get_ylabel() for image in axes.images]


def test_all_maps_share_one_scale_and_one_bar(tmp_path):
    data = drawn.shown(tmp_path, drawn.take(tmp_path, ["small", "large"]))
    figure, texts = drawn.looked_at(lambda: maps.errors(data, tmp_path))
    found = images(figure)
    assert {image.get_clim() for image in found} == {(0, 2)}
    assert {image.get_cmap().name for image in found} == {"magma"}
    words = [text.get_text() for text in texts]
    assert words.count("|SR - GT| in Y (8-bit levels)") == 1


def test_maps_hold_the_error_of_luma_and_its_psnr_under_fixed(tmp_path):
    data = drawn.shown(tmp_path, drawn.take(tmp_path, ["small", "large"], size=(48, 200)))
    figure, texts = drawn.looked_at(lambda: maps.errors(data, tmp_path))
    gt = drawn.gt_frame(48, 200)
    words = [text.get_text() for text in texts]
    for levels, image in zip((1, 2), images(figure), strict=True):
        sr = drawn.off(gt, levels)
        wanted = abs(metrics.luma(sr) - metrics.luma(gt))
        shown = np.asarray(image.get_array())
        factor = shown.shape[0] // 48
        assert shown == pytest.approx(sheet.enlarged(wanted, factor, factor))
        psnr = metrics.psnr(sr, gt, "y", 8)
        assert any(word.endswith(f": {psnr:.2f} dB") for word in words)


def test_the_scale_leaves_out_few_errors():
    ramp = np.arange(1000.0).reshape(20, 50) / 10
    flat = np.zeros_like(ramp)
    limit = maps.scale_end([ramp, flat])
    assert limit == math.ceil(limit) < ramp.max()
    assert 0 < np.mean([ramp > limit, flat > limit]) <= 0.005
    assert maps.scale_end([0 * ramp]) == 1


def test_a_method_without_errors_has_a_map(tmp_path):
    one = drawn.take(tmp_path, ["same"])
    data = drawn.shown(tmp_path, one)
    same = drawn.crops.Shown(data.methods[0].method, data.gt.frame, "", data.gt.profile, "")
    figure, texts = drawn.looked_at(
        lambda: maps.errors(drawn.msgspec.structs.replace(data, methods=[same]), tmp_path)
    )
    assert images(figure)[0].get_clim() == (0, 1)
    assert any(text.get_text() == "same: identical" for text in texts)


@pytest.mark.parametrize(("size", "count"), drawn.SHEETS)
@pytest.mark.parametrize("draw", [maps.errors, maps.profiles])
def test_sheets_fit_a_page_and_name_every_method(tmp_path, draw, size, count):
    names = drawn.METHODS[-count:]
    data = drawn.shown(tmp_path, drawn.take(tmp_path, names, size=size, count=30))
    figure, texts = drawn.looked_at(lambda: draw(data, tmp_path))
    assert drawn.cut_off(figure, texts) == drawn.overlapping(texts) == []
    assert style.COLUMN <= figure.get_figwidth() <= style.TEXT + 1e-5
    assert figure.get_figheight() <= 9.5
    words = [text.get_text().partition(": ")[0] for text in texts]
    assert set(names) <= set(words)
    assert len(images(figure)) == count + 2 * (draw is maps.profiles)


def test_profiles_are_drawn_pixel_for_pixel_and_their_row_is_marked(tmp_path):
    one = drawn.take(tmp_path, ["good"], size=(48, 100), count=5)
    data = drawn.shown(tmp_path, one)
    figure, texts = drawn.looked_at(lambda: maps.profiles(data, tmp_path))
    gt, sr, small = images(figure)
    profile = drawn.gt_frame(5, 100, seed=1)
    across = gt.get_array().shape[1] // 100
    assert across > 1
    assert np.array_equal(gt.get_array(), sheet.enlarged(profile, 30, across))
    assert np.array_equal(sr.get_array(), sheet.enlarged(drawn.off(profile, 1), 30, across))
    line = small.axes.lines[0]
    factor = small.get_array().shape[0] // 48
    assert line.get_ydata()[0] // factor == one.row
    assert any(f"row {one.row}" in text.get_text() for text in texts)
    pixels = drawn.pixels(style.rendered(lambda: maps.profiles(data, tmp_path), "png"))
    assert gt.get_array().shape[1] < pixels.shape[1]


def test_of_rows_wider_than_the_page_the_middle_is_shown(tmp_path):
    data = drawn.shown(tmp_path, drawn.take(tmp_path, ["good"], size=(48, 2400), count=5))
    figure, _ = drawn.looked_at(lambda: maps.profiles(data, tmp_path))
    gt, _, small = images(figure)
    profile = drawn.gt_frame(5, 2400, seed=1)
    wide = gt.get_array().shape[1]
    start = (2400 - wide) // 2
    assert np.array_equal(gt.get_array()[::30], profile[:, start : start + wide])
    left, right = small.axes.lines[0].get_xdata()
    assert 0 < left < right < small.get_array().shape[1]
