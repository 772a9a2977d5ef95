"""Deformable convolution against the ordinary convolution of the same shape, in the same run.

python -m pytest tests/benchmarks -s
"""

import time
from collections.abc import Iterator
from statistics import median
from typing import Any

import pytest
import torch
from torch import Tensor
from torch.nn import functional

from reproductions.layers.deform_conv import deform_conv2d


@pytest.fixture(autouse=True)
def two_threads() -> Iterator[None]:
    before = torch.get_num_threads()
    torch.set_num_threads(2)
    yield
    torch.set_num_threads(before)


@pytest.mark.parametrize("layout", ["contiguous", "channels_last"])
@pytest.mark.parametrize("version", [1, 2])
def test_64_channels_8_groups_144x180(benchmark: Any, version: int, layout: str) -> None:
    """Offsets of one pixel's standard deviation, as in a network that aligns frames."""
    random = torch.Generator().manual_seed(0)

    def normal(*shape: int) -> Tensor:
        values = torch.randn(*shape, generator=random)
        last = layout == "channels_last" and len(shape) == 4
        return values.contiguous(memory_format=torch.channels_last) if last else values

    x, weight = normal(1, 64, 144, 180), torch.randn(64, 64, 3, 3, generator=random)
    offset = normal(1, 144, 144, 180)
    mask = normal(1, 72, 144, 180).sigmoid() if version == 2 else None
    plain_s: list[float] = []

    def plain() -> None:
        """One ordinary convolution before each deformable one: both meet the same machine."""
        start = time.perf_counter()
        functional.conv2d(x, weight, padding=1)
        plain_s.append(time.perf_counter() - start)

    with torch.inference_mode():
        benchmark.pedantic(
            lambda: deform_conv2d(x, offset, weight, mask=mask, padding=1),
            setup=plain,
            rounds=15,
            warmup_rounds=2,
        )
    stats = benchmark.stats.stats
    ratio = stats.median / median(plain_s)
    best = stats.min / min(plain_s)
    benchmark.extra_info["ratio_to_conv2d"] = ratio
    print(  # noqa: T201
        f"\ndeformable convolution v{version}, {layout}: {stats.median * 1e3:.1f} ms, "
        f"{ratio:.1f} times conv2d (fastest of each: {best:.1f} times)"
    )
