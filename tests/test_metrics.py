from __future__ import annotations

import concurrent.futures
import math
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from skimage.metrics import structural_similarity

from bench import frames, metrics, sample
from bench.errors import BenchError
from bench.metrics import View


def oracle(sr, gt, channel="y", border=8):
    """PSNR and SSIM of one frame by scikit-image, in float64."""
    crop = np.s_[border : gt.shape[0] - border, border : gt.shape[1] - border]
    if channel == "y":
        planes = [(metrics.luma(sr)[crop], metrics.luma(gt)[crop])]
    else:
        planes = [
            (sr[crop][..., c].astype(float), gt[crop][..., c].astype(float)) for c in range(3)
        ]
    error = np.mean([np.square(a - b).mean() for a, b in planes])
    psnr = math.inf if error == 0 else 10 * math.log10(255**2 / error)
    ssim = []
    for a, b in planes:
        _, full = structural_similarity(
            a,
            b,
            data_range=255,
            gaussian_weights=True,
            sigma=1.5,
            use_sample_covariance=False,
            full=True,
        )
        ssim.append(full[5:-5, 5:-5].mean())
    return psnr, np.mean(ssim)


def worn(gt, seed=1, spread=9):
    """The frame with noise, as SR stand-in."""
    change = np.random.default_rng(seed).integers(-spread, spread + 1, gt.shape)
    return np.clip(gt.astype(int) + change, 0, 255).astype(np.uint8)


def hard_frames():
    """Contents on which float32 filtering could go wrong, each with the tolerance for SSIM.

    On photographs rounding averages out. On areas that are flat and far from the mean of their
    strip, E[s^2] - E[s]^2 keeps the rounding of s^2 = 255^2, 4e-3, against C2 = 58.5: 7e-5 of the
    loss of a pixel if nothing averaged out.
    """
    yield "photograph", sample.clip("pan")[0], 1e-7
    halves = np.zeros((120, 150, 3), np.uint8)
    halves[:60] = 255
    yield "half black, half white", halves, 5e-6
    for level in (0, 1, 128, 254, 255):
        yield f"flat {level}", np.full((96, 96, 3), level, np.uint8), 5e-6
    checks = np.zeros((77, 91, 3), np.uint8)
    checks[::2, ::2] = 255
    yield "dots", checks, 1e-6


@pytest.mark.parametrize("channel", ["y", "rgb"])
@pytest.mark.parametrize("border", [0, 3, 8])
@pytest.mark.parametrize(("name", "gt", "tolerance"), list(hard_frames()))
def test_agrees_with_scikit_image(name, gt, tolerance, channel, border):
    dots = gt.copy()
    dots[::7, ::5] = 255 - dots[::7, ::5]
    for sr in (worn(gt), worn(gt, spread=90), dots):
        quality = metrics.measure(sr, gt, [View(channel, border)])[0]
        psnr, ssim = oracle(sr, gt, channel, border)
        assert quality.ssim == pytest.approx(ssim, abs=tolerance), name
        assert quality.psnr == pytest.approx(psnr, abs=1e-6), name
        assert metrics.psnr(sr, gt, channel, border) == pytest.approx(psnr, abs=1e-11), name
    # A negative has the largest loss that there is, so rounding weighs most.
    negative = metrics.ssim(255 - gt, gt, channel, border)
    assert negative == pytest.approx(oracle(255 - gt, gt, channel, border)[1], abs=2e-5), name


@settings(max_examples=40, deadline=None)
@given(
    height=st.integers(11, 140),
    width=st.integers(11, 140),
    border=st.integers(0, 9),
    channel=st.sampled_from(["y", "rgb"]),
    seed=st.integers(0, 2**31),
)
def test_agrees_on_any_size(height, width, border, channel, seed):
    border = min(border, (min(height, width) - 11) // 2)
    gt = np.random.default_rng(seed).integers(0, 256, (height, width, 3), dtype=np.uint8)
    sr = worn(gt, seed)
    quality = metrics.measure(sr, gt, [View(channel, border)])[0]
    psnr, ssim = oracle(sr, gt, channel, border)
    assert quality.psnr == pytest.approx(psnr, abs=1e-6)
    assert quality.ssim == pytest.approx(ssim, abs=1e-6)


def test_luma_is_matlabs():
    extremes = np.array([[[0, 0, 0], [255, 255, 255], [255, 0, 0], [0, 255, 0], [0, 0, 255]]])
    expected = [16, 235, 16 + 65.481, 16 + 128.553, 16 + 24.966]
    assert metrics.luma(extremes.astype(np.uint8))[0] == pytest.approx(expected, abs=1e-12)


@pytest.mark.parametrize("channel", ["y", "rgb"])
def test_psnr_of_a_constant_offset_is_known(channel):
    gt = np.full((2, 40, 50, 3), 100, np.uint8)
    for offset in (1, 7, 60):
        step = offset * (219 / 255 if channel == "y" else 1)
        expected = 20 * math.log10(255 / step)
        psnr = metrics.psnr(gt + np.uint8(offset), gt, channel)
        assert psnr == pytest.approx([expected] * 2, abs=1e-11)
        measured = metrics.measure(gt + np.uint8(offset), gt, [View(channel, 8)])[0].psnr
        assert measured == pytest.approx([expected] * 2, abs=1e-6)


def test_identical_frames_score_one_and_inf(noise):
    for gt in (noise(3, 64, 80), np.zeros((1, 64, 80, 3), np.uint8)):
        for channel in metrics.CHANNELS:
            assert np.all(metrics.ssim(gt, gt, channel, 0) == 1.0)
            assert np.all(np.isposinf(metrics.psnr(gt, gt, channel, 0)))
            assert np.all(np.isposinf(metrics.measure(gt, gt, [View(channel, 4)])[0].psnr))


def test_frames_that_differ_only_in_the_border_are_identical(noise):
    gt = noise(64, 80)
    sr = 255 - gt
    sr[8:-8, 8:-8] = gt[8:-8, 8:-8]
    assert metrics.measure(sr, gt, [View("y", 8)])[0] == (math.inf, 1.0)
    assert metrics.psnr(sr, gt, border=8) == math.inf
    assert metrics.psnr(sr, gt, border=7) < 40


@pytest.mark.parametrize("turn", [np.s_[:, ::-1], np.s_[:, :, ::-1]])
def test_flipping_both_changes_nothing(noise, turn):
    gt = noise(2, 61, 83)
    sr = worn(gt)
    for before, after in zip(
        metrics.measure(sr, gt, [View("y", 3), View("rgb", 3)]),
        metrics.measure(sr[turn], gt[turn], [View("y", 3), View("rgb", 3)]),
        strict=True,
    ):
        assert after.psnr == pytest.approx(before.psnr, abs=1e-6)
        assert after.ssim == pytest.approx(before.ssim, abs=1e-6)


def test_a_batch_equals_its_frames_one_by_one(noise):
    gt = noise(4, 50, 70)
    sr = worn(gt)
    views = [View("y", 8), View("rgb", 0), View("y", 0)]
    together = metrics.measure(sr, gt, views)
    for i in range(4):
        for view, whole, one in zip(
            views, together, metrics.measure(sr[i], gt[i], views), strict=True
        ):
            assert (whole.psnr[i], whole.ssim[i]) == (one.psnr, one.ssim)
            assert whole.ssim[i] == metrics.ssim(sr[i : i + 1], gt[i : i + 1], *view)[0]
    assert metrics.psnr(sr, gt).shape == (4,)
    assert metrics.psnr(sr, gt).dtype == np.float64


def test_threads_do_not_share_buffers(noise):
    pairs = [(worn(gt, i), gt) for i, gt in enumerate(noise(24, 70, 90))]
    alone = [metrics.measure(sr, gt, [View("y", 8)])[0] for sr, gt in pairs]
    with concurrent.futures.ThreadPoolExecutor(4) as pool:
        threaded = list(pool.map(lambda p: metrics.measure(*p, [View("y", 8)])[0], pairs))
    assert threaded == alone


def test_views_may_be_strided_and_read_only(noise):
    gt = noise(100, 120)
    gt.flags.writeable = False
    part = gt[::2, ::-1]
    assert metrics.measure(part, part.copy(), [View("y", 0)])[0] == (math.inf, 1.0)


def test_bad_input_is_told_in_one_line(noise):
    gt = noise(2, 40, 50)
    for call, words in [
        (lambda: metrics.psnr(gt.astype(float), gt), "sr frames cannot be compared"),
        (lambda: metrics.psnr(gt, gt[..., :2]), "gt frames cannot be compared"),
        (lambda: metrics.psnr(gt, gt[:1]), "SR and GT frames differ in shape"),
        (lambda: metrics.ssim(gt, gt, "luma"), "unknown channel: expected one of rgb, y"),
        (lambda: metrics.ssim(gt, gt, border=15), "leaves too little"),
        (lambda: metrics.psnr(gt, gt, border=20), "leaves too little"),
        (lambda: metrics.psnr(gt, gt, border=-1), "border of -1"),
    ]:
        with pytest.raises(BenchError, match=words) as caught:
            call()
        assert "\n" not in str(caught.value)


@pytest.mark.data
def test_duf_frames_give_the_published_figures(data: Path):
    """Changes of protocol have the effects on DUF's frames that were measured by other code."""
    gt, sr = data / "vid4/GT", data / "vid4/DUF-52L"
    views = [View("y", 8), View("y", 4), View("y", 0), View("rgb", 8)]
    means = []
    for clip in ("calendar", "city", "foliage", "walk"):
        pairs = zip(frames.frame_files(sr / clip), frames.frame_files(gt / clip), strict=True)
        table = [metrics.measure(frames.read(a), frames.read(b), views) for a, b in pairs]
        means.append(np.mean([[(q.psnr, q.ssim) for q in row] for row in table], axis=0))
    (y8, s8), (y4, _), (y0, _), (rgb, _) = np.mean(means, axis=0)
    assert (round(y8, 4), round(s8, 4)) == (27.3296, 0.8318)
    assert round(y4 - y8, 3) == -0.256
    assert round(y0 - y8, 3) == -2.293
    assert round(rgb - y8, 3) == -1.535
