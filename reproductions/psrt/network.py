"""PSRT-recurrent (Shi et al. 2022): a transformer over three frames, aligned patch by patch.

    feature extraction   a convolution, every frame on its own
    propagation          four passes over the clip, backward and forward in turn; at each frame
                         the features of the two frames that the pass has just left are
                         patch-aligned (patch_alignment.py) to it, and multi-frame self-attention
                         makes one feature map of the three
    reconstruction       x4 of the last pass alone, added to the enlarged frame

The same function as BasicRecurrentSwin in PSRT archs/psrt_recurrent_arch.py, whose parameter names
these are; the propagation module is SwinIRFM in archs/psrt_sliding_arch.py. The checkpoints of REDS
and of Vimeo-90K are one network.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from itertools import pairwise
from typing import cast

import torch
from torch import Tensor, nn
from torch.nn import functional

from reproductions.layers.perceptron import Perceptron
from reproductions.layers.spynet import SPyNet
from reproductions.layers.upsample import bilinear
from reproductions.layers.warp import warp
from reproductions.layers.window_attention import (
    Window,
    WindowAttention,
    padded_tokens,
    window_layout,
)
from reproductions.psrt.patch_alignment import PatchAlignment

PASSES = ("backward_1", "forward_1", "backward_2", "forward_2")


class PSRT(nn.Module):
    """Gives the SR frames of a clip of LR frames.

    `channels` features per pixel, `depths` attention blocks in each residual group of a propagation
    module, `heads`, and the `window` (frames, rows, columns) of the attention. The defaults are the
    published network's.

    Constant tensors of the official files (SPyNet's colour statistics, the attention's tables of
    indices) may be absent from a state; loading raises ValueError where one is present and differs.
    """

    def __init__(
        self,
        *,
        channels: int = 120,
        depths: Sequence[int] = (6, 6, 6),
        heads: int = 6,
        window: Window = (3, 8, 8),
        reconstruction_channels: int = 64,
    ) -> None:
        super().__init__()
        self.scale = 4
        self.size_multiple = 1
        self.minimum_size = 64

        self.conv_first = nn.Conv2d(3, channels, 3, padding=1)
        # Propagation. `patch_align` is the official name of the four modules.
        self.spynet = SPyNet()
        self.alignment = PatchAlignment()
        self.patch_align = nn.ModuleDict(
            {name: Propagation(channels, depths, heads, window) for name in PASSES}
        )
        # Reconstruction.
        self.conv_before_upsample = nn.Conv2d(channels, reconstruction_channels, 3, padding=1)
        self.upconv1 = nn.Conv2d(reconstruction_channels, 4 * reconstruction_channels, 3, padding=1)
        self.upconv2 = nn.Conv2d(reconstruction_channels, 4 * 64, 3, padding=1)
        self.conv_hr = nn.Conv2d(64, 64, 3, padding=1)
        self.conv_last = nn.Conv2d(64, 3, 3, padding=1)
        self.register_load_state_dict_pre_hook(_check_colours)  # type: ignore[no-untyped-call]

    def forward(self, clip: Tensor) -> Tensor:
        """Gives the SR frames (n, t, 3, 4h, 4w) of a clip (n, t, 3, h, w) of any length.

        Both are RGB in [0, 1], the result not clamped. Raises ValueError where they are not RGB
        frames, or h or w is below `minimum_size`.
        """
        return torch.stack(list(self.frames(clip)), dim=1)

    def frames(self, clip: Tensor) -> Iterator[Tensor]:
        """Yields the SR frames (n, 3, 4h, 4w) of a clip (n, t, 3, h, w) in time order.

        The first comes after three of the four passes. Until then the method has to keep one
        feature map of every LR frame; each is dropped where the next pass has used it. The clip as
        in `forward`.
        """
        self._check(clip)
        backward, forward = self.flows(clip)
        lr = clip.unbind(1)
        features = self._propagate("backward_1", map(self.extract, reversed(lr)), backward[::-1])
        features = self._propagate("forward_1", _drain(list(features)), forward)
        features = self._propagate("backward_2", _drain(list(features)), backward[::-1])
        features = self._propagate("forward_2", _drain(list(features)), forward)
        for frame, propagated in zip(lr, features, strict=True):
            yield self.reconstruct(propagated, frame)

    def flows(self, clip: Tensor) -> tuple[list[Tensor], list[Tensor]]:
        """Gives the flows between neighbours, t - 1 each, (n, 2, h, w) in LR pixels.

        Of the first, number i leads from frame i to frame i + 1: backward passes align with it. Of
        the second, from frame i + 1 to frame i, for forward passes.
        """
        pairs = list(pairwise(clip.unbind(1)))
        backward = [self.spynet(earlier, later) for earlier, later in pairs]
        forward = [self.spynet(later, earlier) for earlier, later in pairs]
        return backward, forward

    def extract(self, frame: Tensor) -> Tensor:
        """Gives the features (n, c, h, w) of a frame (n, 3, h, w)."""
        # Channels last, on every device: the attention works on the channels of a pixel.
        features: Tensor = self.conv_first(frame.contiguous(memory_format=torch.channels_last))
        return features

    def _propagate(
        self, name: str, features: Iterator[Tensor], flows: Sequence[Tensor]
    ) -> Iterator[Tensor]:
        """Yields what one pass makes of the frames, in its order.

        features: of the pass before, in the order of this one. flows: from each frame but the first
        to the one before it in this order. Grid propagation of the second order, as BasicVSR++ has
        it, but of features alone: a pass sees only the pass before.
        """
        module = cast("Propagation", self.patch_align[name])
        biases: list[Tensor] | None = None
        previous: list[Tensor] = []
        before: Tensor | None = None
        for k, current in enumerate(features):
            biases = biases or module.biases()
            if not previous:
                supporting = [current, current]
            else:
                flow = flows[k - 1]
                aligned = self.alignment(previous[0], flow)
                if before is None:
                    supporting = [aligned, torch.zeros_like(aligned)]
                else:
                    # Two frames back: to the frame before, and on from there.
                    further = flow + warp(before, flow, padding="zeros")
                    supporting = [aligned, self.alignment(previous[1], further)]
                before = flow
            maps = (supporting[0], current, supporting[1])
            # Stacked with the channels last, the order in which the module works on them.
            stacked = torch.stack([x.permute(0, 2, 3, 1) for x in maps], dim=1)
            made = module(stacked.permute(0, 1, 4, 2, 3), biases)
            previous = [made, *previous[:1]]
            yield made

    def reconstruct(self, features: Tensor, frame: Tensor) -> Tensor:
        """Gives the SR frame (n, 3, 4h, 4w) of the last pass's features and the LR frame."""
        x = self.conv_before_upsample(features)
        x = _leaky(functional.pixel_shuffle(self.upconv1(x), 2))
        x = _leaky(functional.pixel_shuffle(self.upconv2(x), 2))
        residual: Tensor = self.conv_last(_leaky(self.conv_hr(x)))
        return residual + bilinear(frame, self.scale)

    def _check(self, clip: Tensor) -> None:
        """Raises ValueError where a clip cannot be read."""
        if clip.dim() != 5 or clip.shape[1] == 0 or clip.shape[2] != 3:
            message = (
                f"PSRT cannot read a clip of shape {tuple(clip.shape)}; expected "
                "(n, t, 3, h, w), RGB in [0, 1]"
            )
            raise ValueError(message)
        h, w = clip.shape[-2:]
        if min(h, w) < self.minimum_size:
            message = (
                f"PSRT cannot read frames of {h}x{w}; expected a height and width of at least "
                f"{self.minimum_size}. Pad the frames and crop the result"
            )
            raise ValueError(message)


class Propagation(nn.Module):
    """Gives one feature map of several frames' features: multi-frame self-attention.

    Features of the current frame stand in the middle. They are normalised, go through residual
    groups of windowed attention over all frames, and are added to the current frame's own. Official
    name: SwinIRFM, archs/psrt_sliding_arch.py:656-875.

    `conv_first`, `conv_first_feat` and `conv_before_upsample` are unused: the official files hold
    them, for frames or features of 64 channels as input and for an output that PSRT never asks for.
    """

    def __init__(
        self,
        channels: int,
        depths: Sequence[int],
        heads: int,
        window: Window,
    ) -> None:
        super().__init__()
        self.conv_first = nn.Conv2d(3, channels, 3, padding=1)
        self.conv_first_feat = nn.Conv2d(64, channels, 3, padding=1)
        self.patch_embed = PixelNorm(channels)
        self.layers = nn.ModuleList(
            ResidualGroup(channels, depth, heads, window) for depth in depths
        )
        self.norm = nn.LayerNorm(channels)
        self.conv_after_body = nn.Conv2d(channels, channels, 3, padding=1)
        self.conv_before_upsample = nn.Conv2d(channels, 64, 3, padding=1)

    def biases(self) -> list[Tensor]:
        """Gives the bias of every attention block, in their order; they depend on weights alone."""
        return [bias for group in self._groups() for bias in group.biases()]

    def forward(self, frames: Tensor, biases: Sequence[Tensor] | None = None) -> Tensor:
        """Gives (n, c, h, w) of the features of t frames, (n, t, c, h, w).

        biases: of `biases`, to share them between calls.
        """
        left = iter(self.biases() if biases is None else biases)
        middle = frames.shape[1] // 2
        x = self.patch_embed(frames.permute(0, 1, 3, 4, 2))
        groups = self._groups()
        for group in groups:
            # Of the last group only the current frame is wanted.
            frame = middle if group is groups[-1] else None
            x = group(x, [next(left) for _ in group.blocks], frame)
        body: Tensor = self.conv_after_body(_planes(self.norm(x)))
        return body + frames[:, middle]

    def _groups(self) -> list[ResidualGroup]:
        return cast("list[ResidualGroup]", list(self.layers))


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

    Source: archs/psrt_sliding_arch.py:426-514 (RSTB).
    """

    def __init__(self, channels: int, depth: int, heads: int, window: Window) -> None:
        super().__init__()
        self.residual_group = nn.Module()
        self.residual_group.blocks = nn.ModuleList(
            AttentionBlock(channels, heads, window, shifted=bool(i % 2)) for i in range(depth)
        )
        self.conv = nn.Conv2d(channels, channels, 3, padding=1)

    @property
    def blocks(self) -> list[AttentionBlock]:
        """The attention blocks in their order."""
        return cast("list[AttentionBlock]", list(cast("nn.ModuleList", self.residual_group.blocks)))

    def biases(self) -> list[Tensor]:
        """Gives the bias of each block's attention."""
        return [block.attn.bias(shifted=block.shifted) for block in self.blocks]

    def forward(self, x: Tensor, biases: Sequence[Tensor], frame: int | None = None) -> Tensor:
        """Gives (n, t, h, w, c), or of one `frame` alone (n, 1, h, w, c)."""
        n, t, h, w, c = x.shape
        *others, last = zip(self.blocks, biases, strict=True)
        y = x
        for block, bias in others:
            y = block(y, bias)
        block, bias = last
        y = block(y, bias, frame)
        if frame is not None:
            x = x[:, frame : frame + 1]
            t = 1
        convolved: Tensor = self.conv(_planes(y))
        return x + convolved.permute(0, 2, 3, 1).reshape(n, t, h, w, c)


class AttentionBlock(nn.Module):
    """Gives x + attention(norm(x)), and then x + perceptron(norm(x)), window by window.

    Source: archs/psrt_sliding_arch.py:193-310.
    """

    def __init__(self, channels: int, heads: int, window: Window, *, shifted: bool) -> None:
        super().__init__()
        self.window = window
        self.shifted = shifted
        self.norm1 = nn.LayerNorm(channels)
        self.attn = WindowAttention(channels, heads, window)
        self.norm2 = nn.LayerNorm(channels)
        self.mlp = Perceptron(channels, 2 * channels)

    def forward(self, x: Tensor, bias: Tensor, frame: int | None = None) -> Tensor:
        """Gives (n, t, h, w, c), or of one `frame` alone (n, 1, h, w, c).

        bias: of `WindowAttention.bias`.
        """
        length, rows, columns = self.window
        wanted, place = slice(None), None
        if frame is not None:
            # Only the windows that hold the frame, and of their tokens only the frame's.
            first = frame - frame % length
            x, place = x[:, first : first + length], frame - first
            wanted = slice(place * rows * columns, (place + 1) * rows * columns)
        _, t, h, w, c = x.shape
        layout = window_layout(x, self.window, shifted=self.shifted)
        tokens = padded_tokens(x, layout)
        made = torch.empty_like(tokens)
        for run in layout.runs:
            seen = tokens.index_select(0, run.tokens.flatten()).view(*run.tokens.shape, c)
            looked = self._look(seen, run.inside, bias[run.kind], wanted)
            made.index_copy_(0, run.tokens[:, wanted].flatten(), looked.flatten(0, 1))
        made = made.view(*layout.padded, c)[:, :t, :h, :w]
        return made if place is None else made[:, place : place + 1]

    def _look(self, x: Tensor, inside: Tensor | None, bias: Tensor, wanted: slice) -> Tensor:
        """Gives the wanted tokens of some windows of one kind, (windows, tokens, c)."""
        seen = self.norm1(x)
        if inside is not None:
            # Officially padding comes after the normalisation, which would not leave it zero.
            seen = seen * inside
        x = x[:, wanted] + self.attn(seen, bias, wanted)
        y: Tensor = x + self.mlp(self.norm2(x))
        return y


def _check_colours(_module: nn.Module, state: dict[str, Tensor], prefix: str, *_: object) -> None:
    """Puts SPyNet's colour statistics into a state that has none; raises ValueError for others."""
    with torch.device("cpu"):
        constants = dict(SPyNet().named_buffers())
    for constant, ours in constants.items():
        name = f"{prefix}spynet.{constant}"
        found = state.setdefault(name, ours)
        if found.shape != ours.shape or not torch.allclose(found.cpu().float(), ours, rtol=1e-3):
            message = (
                f"the buffer {name} is {found.flatten().tolist()}; expected "
                f"{ours.flatten().tolist()}, the colour statistics that SPyNet was trained with"
            )
            raise ValueError(message)


def _drain(features: list[Tensor]) -> Iterator[Tensor]:
    """Yields the features last to first, and keeps none that it has given."""
    while features:
        yield features.pop()


def _planes(x: Tensor) -> Tensor:
    """Gives feature maps (n, t, h, w, c) as (n * t, c, h, w) in channels last: the same memory."""
    return x.flatten(0, 1).permute(0, 3, 1, 2)


def _leaky(x: Tensor) -> Tensor:
    return functional.leaky_relu(x, 0.1)
