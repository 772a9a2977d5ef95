from __future__ import annotations

import drawn
import numpy as np
import pytest

from bench import metrics
from bench.drawing import crops, sheet, style
from bench.drawing.crops import Window

BORDER = 8


def overlap(one, two):
    return abs(one.top - two.top) < one.side and abs(one.left - two.left) < one.side


def spread(window, sr, gt):
    """The measure of a window, reckoned the long way."""
    errors = [
        float(((metrics.luma(window.of(frame)) - metrics.luma(window.of(gt))) ** 2).sum())
        for frame in sr
    ]
    return max(errors) - min(errors) if len(errors) > 1 else errors[0]


@pytest.mark.parametrize("scale", [1, 2, 3, 4])
@pytest.mark.parametrize("size", [(40, 40), (48, 192), (144, 192), (161, 250)])
def test_windows_lie_apart_inside_the_border_on_whole_lr_pixels(noise, size, scale):
    gt, *sr = (noise(*size) for _ in range(4))
    found = crops.places(sr, gt, 3, scale)
    assert 1 <= len(found) <= 3
    for number, one in enumerate(found):
        assert min(one.top, one.left) >= BORDER
        assert one.top + one.side <= size[0] - BORDER
        assert one.left + one.side <= size[1] - BORDER
        assert {value % scale for value in one} == {0}
        assert not any(overlap(one, two) for two in found[:number])
    assert found == crops.places(sr, gt, 3, scale)
    assert found == crops.places(sr[::-1], gt, 3, scale)


@pytest.mark.parametrize("methods", [1, 2, 5])
def test_the_first_window_is_where_methods_differ_most(noise, methods):
    gt, *sr = (noise(64, 80) for _ in range(methods + 1))
    first = crops.places(sr, gt, 1)[0]
    corners = [
        Window(top, left, first.side)
        for top in range(8, 64 - 8 - first.side + 1, 4)
        for left in range(8, 80 - 8 - first.side + 1, 4)
    ]
    most = max(spread(one, sr, gt) for one in corners)
    assert spread(first, sr, gt) == pytest.approx(most, rel=1e-9)


def test_where_one_method_errs_there_is_the_window():
    gt = drawn.gt_frame(144, 192)
    other = gt.copy()
    other[64:88, 100:124] = 255 - other[64:88, 100:124]
    assert crops.places([gt, other], gt, 1) == [Window(64, 100, 24)]
    assert crops.places([other], gt, 1) == [Window(64, 100, 24)]
    # What all methods get equally wrong tells nothing about them.
    third = other.copy()
    third[8:32, 8:32] ^= 128
    assert crops.places([third, third ^ 1], gt, 1) != [Window(64, 100, 24)]
    assert crops.places([other, third], gt, 1) == [Window(8, 8, 24)]


def test_of_equal_windows_the_upper_left_counts():
    gt = drawn.gt_frame(144, 192)
    found = crops.places([gt, gt], gt, 3)
    assert found[0] == Window(8, 8, 24)
    assert [one.top for one in found] == [8, 8, 8]


def test_windows_grow_with_frames():
    assert crops.side(480, 720, 4) == 48
    assert crops.side(1080, 1920, 4) == 108
    assert crops.side(crops.LEAST, 400, 4) == 24
    assert crops.side(crops.LEAST, 400, 3) == 18


def test_a_window_of_lr_shows_the_same_place():
    gt = drawn.gt_frame(64, 64)
    window = Window(8, 16, 24)
    assert np.array_equal(window.of(gt[::4, ::4], 4), window.of(gt)[::4, ::4])


def test_psnr_of_crops_is_that_of_luma(noise):
    gt, sr = noise(24, 24), noise(24, 24)
    assert crops.decibels(sr, gt) == f"{metrics.psnr(sr, gt, 'y', 0):.2f} dB"
    assert crops.decibels(gt, gt) == "identical"


def test_crops_are_drawn_pixel_for_pixel(tmp_path):
    one = drawn.take(tmp_path, size=(144, 192))
    data = drawn.shown(tmp_path, one)
    gt = drawn.gt_frame(144, 192)
    sr = [drawn.off(gt, 1), drawn.off(gt, 2)]
    pixels = drawn.pixels(style.rendered(lambda: crops.draw(data, tmp_path), "png"))
    for window in crops.places(sr, gt, 3):
        lr = np.repeat(np.repeat(window.of(gt[::4, ::4], 4), 4, 0), 4, 1)
        for crop in (window.of(gt), lr, *(window.of(frame) for frame in sr)):
            assert appears(pixels, sheet.enlarged(crop, 12, 12))


def appears(pixels, image):
    """Whether the image stands somewhere among the pixels."""
    height, width = image.shape[:2]
    inside = pixels[: 1 - height or None, : 1 - width or None]
    corners = np.argwhere((inside == image[0, 0]).all(axis=-1))
    return any(
        np.array_equal(pixels[y : y + height, x : x + width], image)
        for y, x in corners
        if (pixels[y + height - 1, x + width - 1] == image[-1, -1]).all()
        and (pixels[y + height // 2, x + width // 2] == image[height // 2, width // 2]).all()
    )


@pytest.mark.parametrize(("size", "count"), drawn.SHEETS)
def test_the_sheet_fits_a_page_and_names_every_method(tmp_path, size, count):
    names = drawn.METHODS[-count:]
    data = drawn.shown(tmp_path, drawn.take(tmp_path, names, size=size))
    figure, texts = drawn.looked_at(lambda: crops.draw(data, tmp_path))
    assert drawn.cut_off(figure, texts) == drawn.overlapping(texts) == []
    assert style.COLUMN <= figure.get_figwidth() <= style.TEXT + 1e-5
    assert figure.get_figheight() <= 9.5
    words = [text.get_text() for text in texts]
    letters = [word for word in words if word in set("ABC")]
    places = len(set(letters))
    assert places >= 1 + (count < 10) * (size[0] > 100)
    assert len(letters) == 2 * places  # beside the crops and in the frame
    assert words.count("GT") == words.count("LR, nearest") == places
    joined = ["".join(word.split()) for word in words]  # long names are broken
    for name in names:
        start = "".join(name.split())
        assert sum(word.startswith(start) and word.endswith("dB") for word in joined) == places
