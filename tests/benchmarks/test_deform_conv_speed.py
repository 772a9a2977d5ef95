"""Deformable convolution beside the ordinary convolution of the same shape."""

from collections.abc import Callable, Iterator

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
def test_64_channels_8_groups_144x180(
    ratio: Callable[..., None], version: int, layout: str
) -> None:
    """Offsets of one pixel's standard deviation, as in a network that aligns frames."""
    random = torch.Generator().manual_seed(0)

    def normal(*shape: int) -> Tensor:
        values = torch.randn(*shape, generator=random)
        last = layout == "channels_last" and len(shape) == 4
        return values.contiguous(memory_format=torch.channels_last) if last else values

    x, weight = normal(1, 64, 144, 180), torch.randn(64, 64, 3, 3, generator=random)
    offset = normal(1, 144, 144, 180)
    mask = normal(1, 72, 144, 180).sigmoid() if version == 2 else None

    def deformable() -> Tensor:
        return deform_conv2d(x, offset, weight, mask=mask, padding=1)

    def plain() -> Tensor:
        return functional.conv2d(x, weight, padding=1)

    with torch.inference_mode():
        what = f"deformable convolution v{version}, {layout}"
        ratio(what, deformable, plain, "conv2d", 15)
