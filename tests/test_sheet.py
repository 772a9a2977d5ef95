from __future__ import annotations

import base64
import re

import drawn
import numpy as np
import pytest

from bench.drawing import sheet, style
from bench.drawing.sheet import Sheet


def test_images_are_drawn_dot_for_dot_wherever_they_stand(noise, rng):
    """As rounding may go either way."""
    images = [noise(*size) for size in ((31, 47), (288, 288), (150, 701), (1, 1), (97, 13))]
    for height, width in ((613, 1500), (1134, 1828), (999, 2148)):
        places = [
            (int(rng.integers(0, width - image.shape[1])), 300 * (i % 2) + int(rng.integers(9)))
            for i, image in enumerate(images)
        ]
        for image, (x, y) in zip(images, places, strict=True):

            def draw(size=(width, height), image=image, x=x, y=y):
                page = Sheet(*size, "")
                page.image(image, x, y)
                return page.figure

            pixels = drawn.pixels(style.rendered(draw, "png"))
            assert pixels.shape == (height, width, 3)
            bottom, right = y + image.shape[0], x + image.shape[1]
            assert np.array_equal(pixels[y:bottom, x:right], image)
            outside = np.ones(pixels.shape[:2], bool)
            outside[y:bottom, x:right] = False
            assert (pixels[outside] == 255).all()


def test_an_svg_holds_every_dot(noise):
    image = noise(31, 47)

    def draw():
        page = Sheet(1500, 613, "")
        page.image(image, 37, 101)
        return page.figure

    (data,) = re.findall(rb'base64,\s*([^"]+)"', style.rendered(draw, "svg"))
    found = drawn.pixels(base64.b64decode(data))
    assert any(np.array_equal(side, image) for side in (found, found[::-1]))  # SVG may mirror it


def test_a_sheet_is_at_least_a_column_wide():
    assert Sheet(10, 100, "").width == style.COLUMN * style.DPI
    assert Sheet(2000, 100, "").width == 2000
    assert sheet.head_height("one\ntwo") - sheet.head_height("one") == sheet.LINE


def test_small_images_are_enlarged_by_a_whole_factor(noise):
    image = noise(10, 20)
    found = sheet.fitted(image, 75, 75)
    assert found.shape == (30, 60, 3)
    assert np.array_equal(found[1::3, 2::3], image)
    assert np.array_equal(sheet.enlarged(image, 2, 5)[1::2, 3::5], image)
    assert np.array_equal(sheet.fitted(image, 20, 10), image)


def test_large_images_are_averaged():
    halves = np.zeros((8, 16))
    halves[:, 1::2] = 10.0
    assert sheet.fitted(halves, 8, 8) == pytest.approx(np.full((4, 8), 5.0))
    wide = np.full((30, 3000, 3), 7, np.uint8)
    found = sheet.fitted(wide, 700, 700)
    assert found.shape == (7, 700, 3)
    assert (found == 7).all()
    assert sheet.fitted(np.zeros((1, 3000, 3), np.uint8), 700, 700).shape == (1, 700, 3)
