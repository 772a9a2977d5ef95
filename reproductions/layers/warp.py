"""Warping: one frame's values fetched to where they are in another frame, along a flow."""

from __future__ import annotations

from typing import Literal

import torch
from torch import Tensor
from torch.nn import functional

Padding = Literal["zeros", "border"]
"""What a sample outside reads: zeros, or the nearest value of the outermost row and column."""

Mode = Literal["bilinear", "nearest"]


def warp(x: Tensor, flow: Tensor, padding: Padding = "zeros", mode: Mode = "bilinear") -> Tensor:
    """Gives `x` sampled at every pixel's own place plus its flow: y(p) = x(p + flow(p)).

    x: (n, c, h, w), any values. flow: (n, 2, h, w) in pixels, channel 0 along x (columns), channel
    1 along y (rows). Whole numbers are pixel centres. `nearest` rounds halves to even, after the
    coordinates were mapped to [-1, 1] and back, so that a place exactly between two pixels is
    decided by the rounding of that mapping; it is kept as the official code has it.

    Coordinates have at least float32: half precision skips whole numbers beyond 2048. The result
    has the type of `x`. Source: BasicSR/basicsr/archs/arch_util.py (flow_warp); TTVSR has the same
    function.
    """
    h, w = x.shape[-2:]
    kind = torch.promote_types(torch.promote_types(x.dtype, flow.dtype), torch.float32)
    flow = flow.to(kind)
    columns = flow[:, 0] + torch.arange(w, dtype=kind, device=x.device)
    rows = flow[:, 1] + torch.arange(h, dtype=kind, device=x.device)[:, None]
    # -1 and 1 are the centres of the first and of the last pixel (align_corners).
    columns = 2.0 * columns / max(w - 1, 1) - 1.0
    rows = 2.0 * rows / max(h - 1, 1) - 1.0
    sampled = functional.grid_sample(
        x.to(kind),
        torch.stack((columns, rows), dim=-1),
        mode=mode,
        padding_mode=padding,
        align_corners=True,
    )
    return sampled.to(x.dtype)
