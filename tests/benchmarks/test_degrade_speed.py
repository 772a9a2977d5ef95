from __future__ import annotations

import numpy as np
import pytest

from bench import degrade


@pytest.fixture
def gt():
    return np.random.default_rng(0).integers(0, 256, (720, 1280, 3), dtype=np.uint8)


@pytest.mark.parametrize("name", degrade.DEGRADATIONS)
def test_degrade_a_720p_frame(benchmark, gt, name):
    benchmark(degrade.degrade, gt, name)


def test_upsample_to_a_720p_frame(benchmark, gt):
    benchmark(degrade.upsample, degrade.degrade(gt, "bi"))
