from __future__ import annotations

import numpy as np
import pytest
from scipy import ndimage
from skimage.metrics import structural_similarity

from bench import metrics
from bench.questions import windows

BORDERS = (0, 1, 5, 8)
MODES = {"reflected": "mirror", "replicated": "nearest", "zeros": "constant"}


@pytest.fixture
def planes(rng):
    gt = ndimage.gaussian_filter(rng.uniform(0, 255, (43, 61)), 1.2)
    return np.clip(gt + rng.normal(0, 6, gt.shape), 0, 255), gt


def direct(x, y, mode, level):
    """SSIM by its textbook formula, filtered everywhere under one padding."""

    def mean(values):
        return ndimage.gaussian_filter(values, 1.5, radius=5, mode=mode)

    c1, c2 = (0.01 * level) ** 2, (0.03 * level) ** 2
    mx, my = mean(x), mean(y)
    vx, vy, vxy = mean(x * x) - mx * mx, mean(y * y) - my * my, mean(x * y) - mx * my
    top = (2 * mx * my + c1) * (2 * vxy + c2)
    return (top / ((mx**2 + my**2 + c1) * (vx + vy + c2))).mean()


def test_identical_planes_score_one(planes):
    _, gt = planes
    wanted = tuple((name, level) for name in windows.WINDOWS for level in (255.0, 1.0))
    assert windows.similarities(gt, gt, BORDERS, wanted) == pytest.approx(1, abs=1e-12)
    assert not windows.squared_errors(gt, gt, BORDERS).any()


@pytest.mark.parametrize("window", MODES)
@pytest.mark.parametrize("level", [255.0, 219.0])
def test_padded_windows_are_those_of_each_crop_by_itself(planes, window, level):
    x, y = planes
    found = windows.similarities(x, y, BORDERS, ((window, level),))[0]
    for border, value in zip(BORDERS, found, strict=True):
        crop = np.s_[border : x.shape[0] - border, border : x.shape[1] - border]
        assert value == pytest.approx(direct(x[crop], y[crop], MODES[window], level), abs=1e-9)


@pytest.mark.parametrize("level", [255.0, 219.0])
def test_unpadded_windows_agree_with_scikit_image(planes, level):
    x, y = planes
    wanted = (("gaussian", level), ("uniform", level), ("zeros", level))
    found = windows.similarities(x, y, BORDERS, wanted)
    for index, border in enumerate(BORDERS):
        crop = np.s_[border : x.shape[0] - border, border : x.shape[1] - border]
        gaussian = structural_similarity(
            x[crop],
            y[crop],
            data_range=level,
            gaussian_weights=True,
            sigma=1.5,
            use_sample_covariance=False,
        )
        uniform = structural_similarity(x[crop], y[crop], data_range=level)
        assert found[:2, index] == pytest.approx([gaussian, uniform], abs=1e-9)


def test_luma_agrees_with_the_metrics(noise):
    sr, gt = noise(1, 40, 52), noise(1, 40, 52)
    x, y = metrics.luma(sr[0]), metrics.luma(gt[0])
    errors = windows.squared_errors(x, y, (0, 8))
    similar = windows.similarities(x, y, (0, 8), (("gaussian", 255.0),))[0]
    for index, border in enumerate((0, 8)):
        assert 10 * np.log10(255**2 / errors[index]) == pytest.approx(
            metrics.psnr(sr, gt, "y", border)[0], abs=1e-9
        )
        assert similar[index] == pytest.approx(metrics.ssim(sr, gt, "y", border)[0], abs=1e-6)


@pytest.mark.parametrize("shape", [(11, 11), (12, 27), (27, 12)])
def test_the_smallest_planes(rng, shape):
    x, y = rng.uniform(0, 255, (2, *shape))
    found = windows.similarities(x, y, (0,), (("gaussian", 255.0), ("reflected", 255.0)))
    assert found[1, 0] == pytest.approx(direct(x, y, "mirror", 255.0), abs=1e-9)
    assert -1 <= found[0, 0] <= 1
