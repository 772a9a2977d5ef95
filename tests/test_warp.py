"""Warping against what the official code computes."""

import parity
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import Tensor

from reproductions.layers.warp import Mode, Padding, warp

BILINEAR: Mode = "bilinear"
NEAREST: Mode = "nearest"


def case(paper: str, mode: Mode, padding: Padding) -> tuple[Tensor, Tensor, Tensor]:
    stored = parity.arrays(paper, "ops")
    x, flow, y = (stored[f"flow_warp_{mode}_{padding}_{key}"] for key in ("x", "flow", "y"))
    return x, flow, y


@pytest.mark.parametrize("padding", ["zeros", "border"])
@pytest.mark.parametrize("mode", ["bilinear", "nearest"])
def test_cases(mode: Mode, padding: Padding) -> None:
    x, flow, y = case("psrt", mode, padding)
    torch.testing.assert_close(warp(x, flow, padding, mode), y, rtol=0, atol=1e-9)
    single = warp(x.float(), flow.float(), padding, mode)
    torch.testing.assert_close(single, y.float(), rtol=0, atol=2e-5)


@pytest.mark.parametrize("mode", ["bilinear", "nearest"])
def test_cases_stored_in_float32(mode: Mode) -> None:
    x, flow, y = case("ttvsr", mode, "border")
    found = warp(x, flow, "border", mode)
    torch.testing.assert_close(found.float(), y.float(), rtol=1.2e-7, atol=0)


def test_a_flow_in_whole_pixels_shifts() -> None:
    x = torch.rand(2, 3, 7, 9)
    flow = torch.tensor([2.0, -1.0])[None, :, None, None].expand(2, -1, 7, 9)
    expected = torch.zeros_like(x)
    expected[:, :, 1:, :7] = x[:, :, :6, 2:]
    torch.testing.assert_close(warp(x, flow), expected)
    assert torch.equal(warp(x, flow, mode="nearest"), expected)
    held = warp(x, flow, "border", "nearest")
    assert torch.equal(held[:, :, 0, 8], x[:, :, 0, 8])


@given(side=st.integers(1, 5), far=st.floats(-1e6, 1e6))
def test_a_border_holds_however_far_the_flow(side: int, far: float) -> None:
    x = torch.full((1, 1, side, side + 1), 0.25)
    flow = torch.full((1, 2, side, side + 1), far)
    torch.testing.assert_close(warp(x, flow, "border"), x)


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16])
def test_half_precision_keeps_its_coordinates(dtype: torch.dtype) -> None:
    """In bfloat16 itself no odd column beyond 256 could be named."""
    x = torch.arange(600, dtype=torch.float32).remainder(7).to(dtype)[None, None, None]
    found = warp(x, torch.zeros(1, 2, 1, 600, dtype=dtype), "border")
    assert found.dtype == dtype
    torch.testing.assert_close(found, x, rtol=0, atol=1e-2)
