"""Long short-term feature interpolation (LSTFI): features of the moments between the LR frames.

A feature map between two frames comes from the two, each aligned to the moment between them (the
short term), and from a hidden state that has come along the whole clip (the long term). One module
with one set of weights goes through the clip forward, and again backward.

The alignment is EDVR's pyramid of deformable convolutions without its cascade, once for either
frame of a pair. Source: STDAN codes/models/modules/dconv.py.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple, cast

import torch
from torch import Tensor, nn
from torch.nn import functional

from reproductions.layers.deform_conv import DeformConv
from reproductions.layers.pair_conv import PairConv
from reproductions.layers.upsample import bilinear

LEVELS = (1, 2, 3)
"""Of a pyramid: whole, half and quarter size."""

BRANCHES = (1, 2)
"""Branch 1 aligns the first frame of a pair, branch 2 the second."""


class Operand(NamedTuple):
    """Feature maps in one role, first or second of a pair; all of one batch size."""

    levels: tuple[Tensor, ...]
    """Three levels, fine to coarse, (n, c, h, w), (n, c, h/2, w/2), (n, c, h/4, w/4)."""
    own: tuple[Tensor, ...]
    """What each level adds to the first layer of the branch that aligns it."""
    other: tuple[Tensor, ...]
    """What each level adds to the first layer of the branch that aligns its partner."""

    def items(self, *runs: slice) -> Operand:
        """Gives some items of the batch."""
        return Operand(*(tuple(torch.cat([x[r] for r in runs]) for x in part) for part in self))


class PairAlignment(nn.Module):
    """Gives both frames of a pair aligned to the moment between them.

    At each level the offsets come from the pair and from the next coarser level's offsets; the
    aligned features are joined with the next coarser level's. A layer is named as officially:
    level, what it does, branch (dconv.py:84-283).
    """

    def __init__(self, channels: int, deformable_groups: int) -> None:
        super().__init__()

        def conv(inputs: int) -> nn.Conv2d:
            return nn.Conv2d(inputs, channels, 3, padding=1)

        for level in reversed(LEVELS):
            coarsest = level == LEVELS[-1]
            for branch in BRANCHES:
                layers: dict[str, nn.Module] = {"offset_conv1": PairConv(channels)}
                layers["offset_conv2"] = conv(channels if coarsest else 2 * channels)
                if not coarsest:
                    layers["offset_conv3"] = conv(channels)
                layers["dcnpack"] = DeformConv(channels, deformable_groups, modulated=True)
                if not coarsest:
                    layers["fea_conv"] = conv(2 * channels)
                for name, layer in layers.items():
                    self.add_module(f"L{level}_{name}_{branch}", layer)

    def as_first(self, levels: Sequence[Tensor]) -> Operand:
        """Gives what pairs need of pyramids that are the first of a pair."""
        return self._operand(levels, own=1, other=2)

    def as_second(self, levels: Sequence[Tensor]) -> Operand:
        """Gives what pairs need of pyramids that are the second of a pair."""
        return self._operand(levels, own=2, other=1)

    def forward(self, first: Operand, second: Operand) -> Tensor:
        """Gives (n, 2c, h, w): the first and the second, aligned."""
        return torch.cat((self._align(1, first, second), self._align(2, second, first)), dim=1)

    def _align(self, branch: int, own: Operand, other: Operand) -> Tensor:
        """Gives the features of `own` aligned, (n, c, h, w)."""
        offset = aligned = None
        for level in reversed(LEVELS):
            i = level - 1
            # The convolution of the pair, whose halves are there.
            now = _leaky(own.own[i] + other.other[i])
            if offset is None or aligned is None:
                offset = _leaky(self._layer(level, "offset_conv2", branch)(now))
                aligned = _leaky(self._layer(level, "dcnpack", branch)(own.levels[i], offset))
                continue
            # A displacement of one pixel is one of two pixels on the finer level.
            coarser = bilinear(offset, 2).mul_(2)
            now = self._layer(level, "offset_conv2", branch)(torch.cat((now, coarser), dim=1))
            offset = _leaky(self._layer(level, "offset_conv3", branch)(_leaky(now)))
            found = self._layer(level, "dcnpack", branch)(own.levels[i], offset)
            joined = torch.cat((found, bilinear(aligned, 2)), dim=1)
            aligned = self._layer(level, "fea_conv", branch)(joined)
            if level != 1:
                aligned = _leaky(aligned)
        return cast("Tensor", aligned)

    def _operand(self, levels: Sequence[Tensor], own: int, other: int) -> Operand:
        """Gives pyramids that branch `own` aligns, and whose partners branch `other` does.

        The first layer of a branch convolves its own frame and the other, in this order. A
        convolution is linear: each frame's half is made once for all pairs that it takes part in.
        """
        ours, theirs = [], []
        for level, x in zip(LEVELS, levels, strict=True):
            aligning = cast("PairConv", self._layer(level, "offset_conv1", own))
            helping = cast("PairConv", self._layer(level, "offset_conv1", other))
            ours.append(aligning.first(x))
            theirs.append(helping.second(x))
        return Operand(tuple(levels), tuple(ours), tuple(theirs))

    def _layer(self, level: int, name: str, branch: int) -> nn.Module:
        return self.get_submodule(f"L{level}_{name}_{branch}")


class HiddenAlignment(nn.Module):
    """Gives one feature map of the short-term features and the hidden state, aligned.

    Both get levels of their own (Easy_PCD, dconv.py:286-327).
    """

    def __init__(self, channels: int, deformable_groups: int) -> None:
        super().__init__()
        self.fea_L2_conv1 = nn.Conv2d(channels, channels, 3, stride=2, padding=1)
        self.fea_L2_conv2 = nn.Conv2d(channels, channels, 3, padding=1)
        self.fea_L3_conv1 = nn.Conv2d(channels, channels, 3, stride=2, padding=1)
        self.fea_L3_conv2 = nn.Conv2d(channels, channels, 3, padding=1)
        self.pcd_align = PairAlignment(channels, deformable_groups)
        self.fusion = nn.Conv2d(2 * channels, channels, 1)

    def pyramid(self, x: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """Gives `x`, (n, c, h, w), and two coarser levels of it."""
        return pyramid(
            x, self.fea_L2_conv1, self.fea_L2_conv2, self.fea_L3_conv1, self.fea_L3_conv2
        )

    def forward(self, short_term: Tensor, hidden: Tensor) -> Tensor:
        """Gives (n, c, h, w) of both, which are of this shape too."""
        first = self.pcd_align.as_first(self.pyramid(short_term))
        second = self.pcd_align.as_second(self.pyramid(hidden))
        fused: Tensor = self.fusion(self.pcd_align(first, second))
        return fused


class FeatureInterpolation(PairAlignment):
    """Gives the features between neighbouring frames, from one pass over the clip.

    Source: dconv.py:369-586 (pcd_align_modified), and sttrans.py:101-136.
    """

    def __init__(self, channels: int, deformable_groups: int) -> None:
        super().__init__(channels, deformable_groups)
        self.fusion = nn.Conv2d(2 * channels, channels, 1)
        self.pcd_h = HiddenAlignment(channels, deformable_groups)
        self.fusion_1x1 = nn.Conv2d(2 * channels, channels, 1)
        self.conv_h1 = nn.Conv2d(channels, channels, 3, padding=1)
        self.conv_h2 = nn.Conv2d(channels, channels, 3, padding=1)

    def both_ways(self, levels: Sequence[Tensor], count: int) -> tuple[list[Tensor], list[Tensor]]:
        """Gives the features of the count - 1 moments, (n, c, h, w), of a pass in each direction.

        levels: pyramids of `count` frames, (count * n, c, ...), frame by frame. Both in time order.
        The passes have the same weights and know nothing of each other: they go side by side.
        """
        n = len(levels[0]) // count
        frames = [slice(i * n, (i + 1) * n) for i in range(count)]
        as_first, as_second = self.as_first(levels), self.as_second(levels)
        forward: list[Tensor] = []
        backward: list[Tensor] = []
        hidden = torch.zeros_like(levels[0][: 2 * n])
        for step in range(count - 1):
            first = as_first.items(frames[step], frames[-1 - step])
            second = as_second.items(frames[step + 1], frames[-2 - step])
            made, hidden = self.between(first, second, hidden)
            forward.append(made[:n])
            backward.insert(0, made[n:])
        return forward, backward

    def between(self, first: Operand, second: Operand, hidden: Tensor) -> tuple[Tensor, Tensor]:
        """Gives the features between pairs, (n, c, h, w), and the next hidden state."""
        short_term = self.fusion(self(first, second))
        aligned = self.pcd_h(short_term, hidden)
        made = self.fusion_1x1(torch.cat((aligned, short_term), dim=1))
        return made, self.conv_h2(_leaky(self.conv_h1(made)))


def pyramid(
    x: Tensor, to_half: nn.Module, half: nn.Module, to_quarter: nn.Module, quarter: nn.Module
) -> tuple[Tensor, Tensor, Tensor]:
    """Gives `x`, (n, c, h, w), and two coarser levels made by pairs of convolutions."""
    level2 = _leaky(half(_leaky(to_half(x))))
    level3 = _leaky(quarter(_leaky(to_quarter(level2))))
    return x, level2, level3


def _leaky(x: Tensor) -> Tensor:
    """Gives the leaky ReLU of slope 0.1, written over `x`."""
    return functional.leaky_relu(x, 0.1, inplace=True)
