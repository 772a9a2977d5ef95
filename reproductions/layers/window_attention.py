"""Self-attention within shifted windows of space and time (Liu et al., Swin Transformer, 2021).

Feature maps are (n, t, h, w, c), channels last: attention, normalisation and perceptrons work on
the channels of a pixel, and a convolution of a CPU is fastest in this order too. A window holds
window[0] frames of window[1] x window[2] pixels; its tokens are ordered (time, row, column).
"""

from __future__ import annotations

import math
from functools import cache, lru_cache
from typing import NamedTuple

import torch
from torch import Tensor, nn
from torch.nn import functional

Window = tuple[int, int, int]
"""Frames, rows and columns of a window."""

MASKED = -100.0
"""What is added to the logit of two pixels that only the cyclic shift brought into one window.

As official: e^-100 of a weight is left over, no exact zero.
"""


# Each thread of a CPU takes windows of so many tokens at a time: what is computed of them stays in
# its cache, and memory does not grow with the frame (one thread, 12288 tokens: attention 41 ms for
# 45, perceptron 17 for 19).
_CPU_TOKENS = 3072


class WindowRun(NamedTuple):
    """Some windows that are looked through together."""

    tokens: Tensor
    """The place in the padded (n, t, h, w) of each of their tokens, (windows, tokens)."""
    kind: int
    """Within 0, at the right edge 1, at the bottom edge 2, in the corner 3: see `edge_masks`."""
    inside: Tensor | None
    """Whether a token is a pixel and no padding, (windows, tokens, 1); None where all are."""


class WindowLayout(NamedTuple):
    """Which pixel lies in which window, for feature maps of one size."""

    padding: tuple[int, int, int]
    """Frames, rows and columns of zeros after the last, up to multiples of the window."""
    padded: tuple[int, int, int, int]
    """(n, t, h, w) with the padding."""
    runs: tuple[WindowRun, ...]
    """All windows."""


def window_layout(x: Tensor, window: Window, *, shifted: bool) -> WindowLayout:
    """Gives the layout of feature maps `x` (n, t, h, w, c); made once for a size.

    `shifted` moves the windows by half their height and width, cyclically: those at the bottom and
    the right hold pixels of both ends. There is no shift in time: the official one is by a whole
    window, which changes nothing (PSRT archs/psrt_sliding_arch.py:382).
    """
    n, t, h, w, _ = x.shape
    limit = _CPU_TOKENS * torch.get_num_threads() if x.device.type == "cpu" else x.numel()
    step = max(1, limit // math.prod(window))
    return _layout((n, t, h, w), window, step, shifted=shifted, device=x.device)


@lru_cache(maxsize=32)
def _layout(
    shape: tuple[int, int, int, int],
    window: Window,
    step: int,
    *,
    shifted: bool,
    device: torch.device,
) -> WindowLayout:
    """Gives the layout in runs of `step` windows at most."""
    n, t, h, w = shape
    frames, rows, columns = window
    padding = (-t % frames, -h % rows, -w % columns)
    padded = (n, t + padding[0], h + padding[1], w + padding[2])
    # Cached, so it must be usable in training even where inference asked for it first.
    with torch.inference_mode(mode=False):
        place = torch.arange(n * padded[1] * padded[2] * padded[3], device=device).view(padded)
        if shifted:
            place = place.roll((-(rows // 2), -(columns // 2)), dims=(2, 3))
        counts = (padded[1] // frames, padded[2] // rows, padded[3] // columns)
        place = place.reshape(n, counts[0], frames, counts[1], rows, counts[2], columns)
        place = place.permute(0, 1, 3, 5, 2, 4, 6)
        if shifted:
            rows_of_windows = (place[:, :, :-1], place[:, :, -1:])
            kinds = [k for r in rows_of_windows for k in (r[:, :, :, :-1], r[:, :, :, -1:])]
        else:
            kinds = [place]
        inside = torch.zeros(padded, dtype=torch.bool, device=device)
        inside[:, :t, :h, :w] = True
        inside = inside.flatten()
        runs = []
        for number, kind in enumerate(kinds):
            windows = kind.reshape(-1, math.prod(window))
            for tokens in torch.split(windows, step) if len(windows) else ():
                real = inside[tokens][..., None] if any(padding) else None
                runs.append(WindowRun(tokens, number, real))
    return WindowLayout(padding, padded, tuple(runs))


def padded_tokens(x: Tensor, layout: WindowLayout) -> Tensor:
    """Gives a row per pixel and padding, (n * t * h * w, c), of feature maps (n, t, h, w, c)."""
    if any(layout.padding):
        frames, rows, columns = layout.padding
        x = functional.pad(x, (0, 0, 0, columns, 0, rows, 0, frames))
    return x.flatten(0, 3)


@cache
def relative_position_index(window: Window) -> Tensor:
    """Gives the row of the bias table for each pair of tokens, int64 (tokens, tokens), on the CPU.

    Query by key; a row per displacement query minus key, in the order (time, row, column).
    Source: PSRT archs/psrt_sliding_arch.py:118-136.
    """
    with torch.inference_mode(mode=False):
        place = _places(window)
        index = torch.zeros(len(place), len(place), dtype=torch.int64, device="cpu")
        for axis, size in enumerate(window):
            moved = place[:, None, axis] - place[None, :, axis]
            index = index * (2 * size - 1) + (moved + size - 1)
    return index


@cache
def edge_masks(window: Window) -> Tensor:
    """Gives what shifted windows add to the logits, 0 or -100, (4, tokens, tokens), on the CPU.

    In the order of `WindowRun.kind`. In the windows at the bottom and the right the pixels of
    the two ends do not see each other. Padding is not masked, as official: its pixels are zeros.
    Source: PSRT archs/psrt_sliding_arch.py:633-652.
    """
    with torch.inference_mode(mode=False):
        place = _places(window)
        apart = []
        for axis in (1, 2):
            beyond = place[:, axis] >= window[axis] - window[axis] // 2
            apart.append(beyond[:, None] != beyond[None, :])
        bottom, right = apart
        masked = torch.stack([torch.zeros_like(right), right, bottom, right | bottom])
        return masked * MASKED


def _places(window: Window) -> Tensor:
    """Gives frame, row and column of each token, (tokens, 3)."""
    return torch.cartesian_prod(*(torch.arange(size, device="cpu") for size in window))


class WindowAttention(nn.Module):
    """Gives each token of a window a mixture of all tokens of the window, per head.

    Softmax(q k / sqrt(c / heads) + B) v, where B depends on the displacement of the two pixels
    (Swin Transformer, equation 4), then a linear layer. Names as in PSRT
    archs/psrt_sliding_arch.py:86-190. The state's table of indices is constant: it may be absent,
    and where it is present it must be ours.
    """

    relative_position_index: Tensor

    def __init__(self, channels: int, heads: int, window: Window) -> None:
        super().__init__()
        self.heads = heads
        self.window = window
        frames, rows, columns = window
        displacements = (2 * frames - 1) * (2 * rows - 1) * (2 * columns - 1)
        self.relative_position_bias_table = nn.Parameter(torch.empty(displacements, heads))
        nn.init.trunc_normal_(self.relative_position_bias_table, std=0.02)
        index = relative_position_index(window).to(self.relative_position_bias_table.device)
        self.register_buffer("relative_position_index", index)
        self.qkv = nn.Linear(channels, 3 * channels)
        self.proj = nn.Linear(channels, channels)
        self.register_load_state_dict_pre_hook(_check_index)  # type: ignore[no-untyped-call]

    def bias(self, *, shifted: bool) -> Tensor:
        """Gives what is added to the logits, (kinds, heads, tokens, tokens).

        B, and in shifted windows the four masks. It depends on the weights alone: make it once
        for all frames of a clip.
        """
        table = self.relative_position_bias_table
        tokens = len(self.relative_position_index)
        bias = table.t()[:, self.relative_position_index.flatten()].view(1, -1, tokens, tokens)
        if not shifted:
            return bias
        return bias + edge_masks(self.window).to(table)[:, None]

    def forward(self, x: Tensor, bias: Tensor, wanted: slice = slice(None)) -> Tensor:
        """Gives (windows, wanted tokens, c) of tokens (windows, tokens, c).

        bias: of `bias`, of the windows' kind, (heads, tokens, tokens). wanted: which tokens of a
        window look; they look at all.
        """
        # Views of one tensor, (windows, heads, tokens, channels of a head): the attention reads
        # them as they lie.
        q, k, v = self.qkv(x).unflatten(2, (3, self.heads, -1)).permute(2, 0, 3, 1, 4)
        mixed = functional.scaled_dot_product_attention(
            q[:, :, wanted], k, v, attn_mask=bias[None, :, wanted]
        )
        projected: Tensor = self.proj(mixed.transpose(1, 2).flatten(2))
        return projected


def _check_index(
    module: WindowAttention, state: dict[str, Tensor], prefix: str, *_: object
) -> None:
    """Puts our table of indices into a state; raises ValueError where the state has another."""
    name = f"{prefix}relative_position_index"
    ours = relative_position_index(module.window)
    found = state.get(name, ours)
    if found.shape != ours.shape or not torch.equal(found.cpu().long(), ours):
        message = (
            f"the buffer {name} is not the table of displacements of windows of {module.window}; "
            "the state belongs to another network"
        )
        raise ValueError(message)
    state[name] = ours
