from __future__ import annotations

import numpy as np
import pytest
from skimage.metrics import structural_similarity

from bench import degrade, metrics
from bench.metrics import View

ORACLE = {
    "data_range": 255,
    "gaussian_weights": True,
    "sigma": 1.5,
    "use_sample_covariance": False,
}


@pytest.fixture
def pair():
    """A 720p GT frame and SR frame, uint8."""
    rng = np.random.default_rng(0)
    coarse = rng.integers(0, 256, (90, 160, 3), dtype=np.uint8)
    gt = degrade.upsample(degrade.upsample(coarse, 4), 2)
    return degrade.upsample(degrade.degrade(gt, "bi")), gt


def test_psnr_and_ssim_of_a_720p_pair(pair, ratio):
    """Ours takes RGB and gives PSNR too; scikit-image is handed luma and gives SSIM alone."""
    sr, gt = pair
    x, y = metrics.luma(sr), metrics.luma(gt)

    def ours():
        return metrics.measure(sr, gt, [View("y", 0)])[0]

    def oracle():
        return structural_similarity(x, y, **ORACLE)

    ratio("PSNR and SSIM of a 720p pair, Y", ours, oracle, "scikit-image's SSIM", 15)
    assert ours().ssim == pytest.approx(
        structural_similarity(x, y, full=True, **ORACLE)[1][5:-5, 5:-5].mean(), abs=1e-6
    )


@pytest.mark.parametrize(
    "views",
    [[View("y", 8), View("y", 0)], [View("rgb", 0)], [View("y", 8), View("rgb", 0)]],
    ids=["y8+y0", "rgb0", "y8+rgb0"],
)
def test_several_views_of_a_720p_pair(benchmark, pair, views):
    benchmark(metrics.measure, *pair, views)
