"""Deformable sampling against the official operator of STDAN, and its laws."""

from __future__ import annotations

from typing import cast

import parity
import pytest
import torch
from torch import Tensor, nn

from reproductions.layers import deform_sampling as sampling
from reproductions.layers.deform_conv import deform_conv2d
from reproductions.layers.deform_sampling import Corners, Grid, Order

ORDERS = ("group, tap", "tap, group")


def sample(x: Tensor, offset: Tensor, mask: Tensor, order: Order) -> Tensor:
    """All samples of `x`, (n, c, taps, h * w), from offsets and masks in the official order."""
    n, c, h, w = x.shape
    groups = offset.shape[1] // 18
    grid = Grid(n, c, h, w, h, w, deformable_groups=groups, order=order)

    def ordered(of_samples: Tensor) -> Tensor:
        split = of_samples.unflatten(1, (groups, 9)).permute(0, 3, 4, 1, 2)
        return (split if order == "group, tap" else split.transpose(3, 4)).flatten(3)

    dy, dx = offset.unflatten(1, (-1, 2)).unbind(2)
    places = sampling.places(grid, x.dtype, x.device)
    corners = sampling.corners(ordered(dy), ordered(dx), ordered(mask), places, places.start)
    read = corners.read(sampling.pixel_table(x, grid))
    split = read.view(n, h * w, *((groups, 9) if order == "group, tap" else (9, groups)), -1)
    axes = (0, 2, 4, 3, 1) if order == "group, tap" else (0, 3, 4, 2, 1)
    return split.permute(*axes).flatten(1, 2)


@pytest.mark.parametrize("order", ORDERS)
def test_golden(order: Order) -> None:
    """Exact pixels, borders at exactly -1 and the height, half pixels, places far outside."""
    a = parity.arrays("stdan", "ops")
    found = sample(a["dsp_input"], a["dsp_offset"], a["dsp_mask"], order)
    assert found.shape == a["dsp_output"].shape
    assert (found - a["dsp_output"]).abs().max() < 1e-12


def test_golden_convolution() -> None:
    a = parity.arrays("stdan", "ops")
    found = deform_conv2d(
        a["dcn_input"],
        a["dcn_offset"],
        a["dcn_weight"],
        a["dcn_bias"],
        mask=a["dcn_mask"],
        padding=1,
    )
    assert (found - a["dcn_output"]).abs().max() < 1e-12


@pytest.mark.parametrize("order", ORDERS)
@pytest.mark.parametrize("modulated", [True, False])
def test_offsets_are_the_layer_s_own_in_another_order(order: Order, modulated: bool) -> None:
    conv = nn.Conv2d(6, 4 * 9 * (3 if modulated else 2), 3, padding=1).double()
    x = torch.randn(2, 6, 5, 7, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    with torch.inference_mode():
        found = sampling.offsets(conv, x, 4, 9, order)
        made = conv(x)
    runs = [*made[:, :72].unflatten(1, (-1, 2)).unbind(2), *([made[:, 72:]] if modulated else [])]
    for run, expected in zip(found.chunk(len(runs), dim=3), runs, strict=True):
        split = run.unflatten(3, (4, 9) if order == "group, tap" else (9, 4))
        split = split if order == "group, tap" else split.transpose(3, 4)
        torch.testing.assert_close(split.flatten(3).permute(0, 3, 1, 2), expected)


def test_corners_of_several_samples_are_summed() -> None:
    table = torch.arange(12.0).view(6, 2)
    pixels = torch.tensor([[0, 1, 2, 3], [5, 5, 0, 0]], dtype=torch.int32)
    weights = torch.tensor([[1.0, 0, 0, 0.5], [2, 0, 1, 0]])
    each = Corners(pixels, weights).read(table)
    together = Corners(pixels.view(1, 8), weights.view(1, 8)).read(table)
    assert torch.equal(each, torch.tensor([[3.0, 4.5], [20, 23]]))
    assert torch.equal(together, each.sum(dim=0, keepdim=True))


def test_order_is_a_choice_of_two() -> None:
    assert cast("tuple[str, ...]", Order.__args__) == ORDERS  # type: ignore[attr-defined]
