from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from scipy import ndimage

from bench import degrade, frames, metrics
from bench.errors import BenchError


@pytest.mark.parametrize("name", degrade.DEGRADATIONS)
@pytest.mark.parametrize("scale", degrade.SCALES)
def test_a_constant_frame_stays_constant(name, scale):
    for level in (0, 1, 100, 255):
        gt = np.full((48, 60, 3), level, np.uint8)
        lr = degrade.degrade(gt, name, scale)
        assert lr.shape == (48 // scale, 60 // scale, 3)
        assert np.all(lr == level)
        assert np.all(degrade.upsample(lr, scale) == level)


@pytest.mark.parametrize("scale", degrade.SCALES)
@pytest.mark.parametrize("name", degrade.DEGRADATIONS)
def test_samples_lie_where_they_should(name, scale):
    """A ramp is reproduced by any symmetric window, so a sample's value is its position."""
    ramp = np.broadcast_to(np.arange(240, dtype=np.uint8)[:, None], (240, 240))
    gt = np.stack([ramp, ramp.T, ramp], axis=-1)
    lr = degrade.degrade(gt, name, scale)
    inner = np.arange(5, lr.shape[0] - 5)
    position = scale * inner + (0 if name == "bd-duf" else (scale - 1) / 2)
    # A Gaussian that sums to 1 - 1e-16 may put a sample that is a half on either side.
    assert np.abs(lr[inner, 20, 0] - position).max() <= 0.5
    assert np.abs(lr[20, inner, 1] - position).max() <= 0.5


def test_bd_is_an_imfilter_and_a_stride(noise):
    """fspecial('gaussian', 12, 1.6), replicate, samples 2:4:end-2 of MATLAB (BD_degradation.m)."""
    gt = noise(48, 64)
    offsets = np.arange(12) - 5.5
    window = np.exp(-(offsets[:, None] ** 2 + offsets**2) / (2 * 1.6**2))
    window /= window.sum()
    for channel in range(3):
        # An even window of MATLAB's imfilter reaches 5 pixels back and 6 ahead; scipy's 6 and 5.
        filtered = ndimage.correlate(
            gt[..., channel].astype(float), window, mode="nearest", origin=-1
        )
        expected = np.floor(filtered[1::4, 1::4] + 0.5)
        assert np.array_equal(degrade.degrade(gt, "bd")[..., channel], expected)


def test_bd_duf_is_a_reflected_gaussian_and_a_stride(noise):
    """A delta filtered by scipy's gaussian_filter of sigma 1.6, stride 4 (DUF utils.py:39-63)."""
    gt = noise(48, 64)
    for channel in range(3):
        filtered = ndimage.gaussian_filter(gt[..., channel].astype(float), 1.6, mode="mirror")
        expected = np.floor(filtered[::4, ::4] + 0.5)
        assert np.array_equal(degrade.degrade(gt, "bd-duf")[..., channel], expected)


def imresize(image, scale):
    """MATLAB's imresize by its definition, one sample at a time; `scale` below or above 1."""

    def cubic(x):
        x = abs(x)
        if x <= 1:
            return 1.5 * x**3 - 2.5 * x**2 + 1
        return -0.5 * x**3 + 2.5 * x**2 - 4 * x + 2 if x <= 2 else 0.0

    def along(column):
        size, squeeze = len(column), min(scale, 1)
        result = []
        for i in range(1, int(np.ceil(size * scale)) + 1):
            u = i / scale + 0.5 * (1 - 1 / scale)
            left = int(np.floor(u - 2 / squeeze))
            indices = range(left, left + int(np.ceil(4 / squeeze)) + 2)
            weights = [squeeze * cubic(squeeze * (u - index)) for index in indices]
            mirror = [*range(size), *range(size - 1, -1, -1)]
            values = [column[mirror[(index - 1) % (2 * size)]] for index in indices]
            result.append(np.dot(weights, values) / sum(weights))
        return result

    down = np.apply_along_axis(along, 0, image.astype(float))
    return np.clip(np.floor(np.apply_along_axis(along, 1, down) + 0.5), 0, 255)


@pytest.mark.parametrize("scale", degrade.SCALES)
def test_bi_and_upsample_follow_matlabs_definition(noise, scale):
    # At scale 3 weights are rounded, so a sample may lie on either side of a half.
    allowed = 1 if scale == 3 else 0
    gt = noise(24, 36)
    difference = degrade.degrade(gt, "bi", scale) - imresize(gt, 1 / scale)
    assert np.abs(difference).max() <= allowed
    assert np.count_nonzero(difference) <= 2 * allowed
    lr = noise(7, 9)
    difference = degrade.upsample(lr, scale) - imresize(lr, scale)
    assert np.abs(difference).max() <= allowed
    assert np.count_nonzero(difference) <= 8 * allowed


def test_channels_do_not_mix_and_flips_commute(noise):
    gt = noise(32, 48)
    for name in ("bi", "bd"):
        lr = degrade.degrade(gt, name)
        assert np.array_equal(degrade.degrade(gt[..., ::-1], name), lr[..., ::-1])
        assert np.array_equal(degrade.degrade(gt[::-1, ::-1], name), lr[::-1, ::-1])
        assert np.array_equal(degrade.degrade(gt.swapaxes(0, 1), name), lr.swapaxes(0, 1))


def test_sizes_that_do_not_divide_are_refused_and_can_be_cropped(noise):
    gt = noise(50, 63)
    with pytest.raises(BenchError, match=r"multiples of 4, found 63x50; crop it to 60x48"):
        degrade.degrade(gt, "bi")
    cropped = degrade.crop(gt)
    assert cropped.shape == (48, 60, 3)
    assert degrade.degrade(cropped, "bi").shape == (12, 15, 3)


def test_bad_input_is_told_in_one_line(noise):
    gt = noise(48, 48)
    for call, words in [
        (lambda: degrade.degrade(gt, "bicubic"), "expected one of bd, bd-duf, bi"),
        (lambda: degrade.degrade(gt, "bi", 5), "unknown scale"),
        (lambda: degrade.degrade(gt.astype(float), "bi"), "not an 8-bit RGB frame"),
        (lambda: degrade.upsample(gt[None]), "not an 8-bit RGB frame"),
        (lambda: degrade.degrade(gt[:4], "bd-duf"), "frame too small"),
    ]:
        with pytest.raises(BenchError, match=words):
            call()


@pytest.mark.data
def test_bi_equals_the_frames_that_others_made(data: Path):
    differing = count = 0
    for clip in ("calendar", "city", "foliage", "walk"):
        gt = frames.frame_files(data / "vid4/GT" / clip)
        lr = frames.frame_files(data / "vid4/LR-BI" / clip)
        for a, b in zip(gt, lr, strict=True):
            differing += np.count_nonzero(degrade.degrade(frames.read(a), "bi") != frames.read(b))
            count += 1
    assert (count, differing) == (171, 0)


@pytest.mark.data
def test_the_two_bd_are_as_far_apart_as_measured(data: Path):
    """PSNR between LR frames made from one GT frame, as measured by other code."""
    expected = {"calendar": (23.49, 35.77), "city": (29.22, 41.33)}
    for clip, (duf, bi) in expected.items():
        gt = frames.read(frames.frame_files(data / "vid4/GT" / clip)[0])
        bd = degrade.degrade(gt, "bd")
        against = metrics.psnr(degrade.degrade(gt, "bd-duf"), bd, "rgb", 0)
        assert against == pytest.approx(duf, abs=2.5)
        against = metrics.psnr(degrade.degrade(gt, "bi"), bd, "rgb", 0)
        assert against == pytest.approx(bi, abs=2.5)
