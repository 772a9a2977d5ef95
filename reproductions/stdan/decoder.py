"""The Swin decoder of STDAN: self-attention within the windows of one frame.

It stands twice in the network, before the interpolation and before the upsampling. Source: STDAN
codes/models/modules/trans_enc_dec.py:13-134 and rstb.py.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import cast

import torch
from torch import Tensor, nn

from reproductions.layers.perceptron import Perceptron
from reproductions.layers.window_attention import (
    MASKED,
    Window,
    WindowAttention,
    edge_masks,
    window_layout,
)

WINDOW: Window = (1, 8, 8)


class SwinDecoder(nn.Module):
    """Gives features of features, every frame on its own, (n, c, h, w) each."""

    def __init__(self, channels: int, embedded: int, depths: Sequence[int], heads: int) -> None:
        super().__init__()
        self.conv_first = nn.Conv2d(channels, embedded, 3, padding=1)
        self.patch_embed = PixelNorm(embedded)
        self.layers = nn.ModuleList(ResidualGroup(embedded, depth, heads) for depth in depths)
        self.norm = nn.LayerNorm(embedded)
        self.conv_after_body = nn.Conv2d(embedded, embedded, 3, padding=1)
        self.conv_last = nn.Conv2d(embedded, channels, 3, padding=1)

    def forward(self, features: Tensor) -> Tensor:
        """Gives (n, c, h, w); h and w multiples of 8."""
        x = self.conv_first(features)
        y = self.patch_embed(x.permute(0, 2, 3, 1))
        for group in self.layers:
            y = group(y)
        body = self.conv_after_body(_planes(self.norm(y)))
        out: Tensor = self.conv_last(body + x)
        return out


class PixelNorm(nn.Module):
    """Gives feature maps with every pixel's channels normalised."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.norm = nn.LayerNorm(channels)

    def forward(self, x: Tensor) -> Tensor:
        """Gives the normalised (..., c)."""
        normalised: Tensor = self.norm(x)
        return normalised


class ResidualGroup(nn.Module):
    """Gives x + conv(blocks(x)); every second block looks through shifted windows.

    Source: rstb.py:105-111 (RSTB).
    """

    def __init__(self, channels: int, depth: int, heads: int) -> None:
        super().__init__()
        self.residual_group = nn.Module()
        self.residual_group.blocks = nn.ModuleList(
            AttentionBlock(channels, heads, shifted=bool(i % 2)) for i in range(depth)
        )
        self.conv = nn.Conv2d(channels, channels, 3, padding=1)

    def forward(self, x: Tensor) -> Tensor:
        """Gives (n, h, w, c)."""
        y = x
        for block in cast("nn.ModuleList", self.residual_group.blocks):
            y = block(y)
        convolved: Tensor = self.conv(_planes(y))
        return x + convolved.permute(0, 2, 3, 1)


class AttentionBlock(nn.Module):
    """Gives x + attention(norm(x)), and then x + perceptron(norm(x)), window by window.

    Windows are shifted at any size, also where there is one of them only: the official code decides
    it by the size that it was built for (rstb.py:326-329).
    """

    attn_mask: Tensor

    def __init__(self, channels: int, heads: int, *, shifted: bool) -> None:
        super().__init__()
        self.shifted = shifted
        self.norm1 = nn.LayerNorm(channels)
        self.attn = WindowAttention(channels, heads, WINDOW)
        self.norm2 = nn.LayerNorm(channels)
        self.mlp = Perceptron(channels, 2 * channels)
        if shifted:
            mask = official_mask().to(self.norm1.weight.device)
            self.register_buffer("attn_mask", mask)
            self.register_load_state_dict_pre_hook(_check_mask)  # type: ignore[no-untyped-call]

    def forward(self, x: Tensor) -> Tensor:
        """Gives (n, h, w, c)."""
        bias = self.attn.bias(shifted=self.shifted)
        layout = window_layout(x[:, None], WINDOW, shifted=self.shifted)
        tokens = x.reshape(-1, x.shape[-1])
        made = torch.empty_like(tokens)
        for run in layout.runs:
            places = run.tokens.flatten()
            seen = tokens.index_select(0, places).view(*run.tokens.shape, -1)
            made.index_copy_(0, places, self._look(seen, bias[run.kind]).flatten(0, 1))
        return made.view_as(x)

    def _look(self, x: Tensor, bias: Tensor) -> Tensor:
        """Gives some windows of one kind, (windows, tokens, c)."""
        x = x + self.attn(self.norm1(x), bias)
        y: Tensor = x + self.mlp(self.norm2(x))
        return y


def official_mask() -> Tensor:
    """Gives the masks of the 4 x 4 shifted windows of 32x32 pixels, (16, 64, 64), on the CPU.

    The official files hold them, for the size of the training crops. Source: rstb.py:366-391.
    """
    last = torch.arange(4, device="cpu") == 3
    kind = 2 * last[:, None].int() + last.int()
    return edge_masks(WINDOW)[kind.flatten()]


def _check_mask(_module: AttentionBlock, state: dict[str, Tensor], prefix: str, *_: object) -> None:
    """Puts our mask into a state that has none; raises ValueError where it has another."""
    name = f"{prefix}attn_mask"
    ours = official_mask()
    found = state.setdefault(name, ours)
    if found.shape != ours.shape or not torch.equal(found.cpu().to(ours.dtype), ours):
        message = (
            f"the buffer {name} is not the mask of shifted windows of 8x8 in 32x32 pixels, 0 or "
            f"{MASKED:g}; the state belongs to another network"
        )
        raise ValueError(message)


def _planes(x: Tensor) -> Tensor:
    """Gives feature maps (n, h, w, c) as (n, c, h, w) in channels last: the same memory."""
    return x.permute(0, 3, 1, 2)
