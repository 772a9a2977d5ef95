"""EDVR (Wang et al. 2019): pyramid alignment by deformable convolution, fusion by attention.

    feature extraction   F_i, the features of frame I_i, and two coarser levels of them;
                         for blurry frames behind a predeblur module
    alignment            PCD: pyramid, cascading and deformable, every frame with the reference
    fusion               TSA: temporal and spatial attention
    reconstruction       residual blocks and x4, added to the enlarged reference frame

The same function as BasicSR/basicsr/archs/edvr_arch.py, whose parameter names these are, and as
mmagic/models/editors/edvr/edvr_net.py. Other publishers' names: names.yaml.
"""

from collections.abc import Sequence
from typing import NamedTuple, cast

import torch
from torch import Tensor, nn
from torch.nn import functional

from reproductions.layers.deform_conv import DeformConv
from reproductions.layers.memory_format import preferred
from reproductions.layers.pair_conv import PairConv
from reproductions.layers.residual import ResidualBlock, residual_blocks
from reproductions.layers.upsample import bilinear

# The levels of the pyramid, fine to coarse.
_KEYS = ("l1", "l2", "l3")


class Features(NamedTuple):
    """What EDVR computes of a frame on its own, each tensor (n, channels, height, width).

    With `hr_in` the frame is four times as high and wide as level 1.
    """

    frame: Tensor
    """I_i as it came in; 3 channels."""
    level1: Tensor
    """F_i."""
    level2: Tensor
    """F_i at half the size."""
    level3: Tensor
    """F_i at a quarter of the size."""
    as_supporting: tuple[Tensor, Tensor, Tensor]
    """What each level adds to the joint features of a pair as the supporting frame."""
    as_reference: tuple[Tensor, Tensor, Tensor]
    """The same as the reference frame."""
    as_aligned_to: Tensor
    """What F_i adds to the joint features of the cascade as the reference frame."""


class EDVR(nn.Module):
    """Gives the SR reference frame of a window of LR frames.

    The reference frame is the middle one. `channels` is 64 in EDVR-M and 128 in EDVR-L;
    `reconstruction_blocks` 10 and 40. `tsa=False` fuses by one 1x1 convolution. `predeblur` is for
    blurry frames; with `hr_in` they have the size of the result (scale 1), else a quarter of it.

    `forward` is `reconstruct` of `features`. Frames of a clip take part in several windows; call
    `features` once per frame and `reconstruct` once per window to save the repetition.
    """

    def __init__(
        self,
        *,
        channels: int = 64,
        window: int = 5,
        deformable_groups: int = 8,
        extraction_blocks: int = 5,
        reconstruction_blocks: int = 10,
        tsa: bool = True,
        predeblur: bool = False,
        hr_in: bool = False,
    ) -> None:
        super().__init__()
        if hr_in and not predeblur:
            message = "EDVR reads full-size frames through its predeblur module; set predeblur too"
            raise ValueError(message)
        self.window = window
        self.reference = window // 2
        self.scale = 1 if hr_in else 4
        # Level 3 has a quarter of level 1's size; with hr_in level 1 has a quarter of the frame's.
        self.size_multiple = 16 if hr_in else 4

        # Feature extraction.
        self.predeblur = Predeblur(channels, hr_in=hr_in) if predeblur else None
        if predeblur:
            self.conv_1x1 = nn.Conv2d(channels, channels, 1)
        else:
            self.conv_first = nn.Conv2d(3, channels, 3, padding=1)
        self.feature_extraction = residual_blocks(channels, extraction_blocks)
        self.conv_l2_1 = nn.Conv2d(channels, channels, 3, stride=2, padding=1)
        self.conv_l2_2 = nn.Conv2d(channels, channels, 3, padding=1)
        self.conv_l3_1 = nn.Conv2d(channels, channels, 3, stride=2, padding=1)
        self.conv_l3_2 = nn.Conv2d(channels, channels, 3, padding=1)
        # Alignment and fusion.
        self.pcd_align = PCDAlignment(channels, deformable_groups)
        self.fusion = (
            TSAFusion(channels, window) if tsa else nn.Conv2d(window * channels, channels, 1)
        )
        # Reconstruction. From the second upsampling on there are 64 channels, in EDVR-L too.
        self.reconstruction = residual_blocks(channels, reconstruction_blocks)
        self.upconv1 = nn.Conv2d(channels, 4 * channels, 3, padding=1)
        self.upconv2 = nn.Conv2d(channels, 4 * 64, 3, padding=1)
        self.conv_hr = nn.Conv2d(64, 64, 3, padding=1)
        self.conv_last = nn.Conv2d(64, 3, 3, padding=1)

    def forward(self, frames: Tensor) -> Tensor:
        """Gives the SR reference frame (n, 3, scale * h, scale * w) of frames (n, window, 3, h, w).

        Both are RGB in [0, 1], the result not clamped. Raises ValueError where h or w is not a
        multiple of `size_multiple` or the number of frames is not `window`.
        """
        return self.reconstruct(self.features(frames))

    def features(self, frames: Tensor) -> list[Features]:
        """Gives what can be computed of frames (n, t, 3, h, w) one by one, t times.

        RGB in [0, 1]; any number of frames. Raises ValueError where they are not RGB frames, or h
        or w is not a multiple of `size_multiple`.
        """
        self._check(frames)
        t = frames.shape[1]
        x = preferred(frames.flatten(0, 1))
        if self.predeblur is not None:
            level1 = self.conv_1x1(self.predeblur(x))
        else:
            level1 = _leaky(self.conv_first(x))
        level1 = self.feature_extraction(level1)
        level2 = _leaky(self.conv_l2_2(_leaky(self.conv_l2_1(level1))))
        level3 = _leaky(self.conv_l3_2(_leaky(self.conv_l3_1(level2))))
        halves = self.pcd_align.halves((level1, level2, level3))

        # Slices keep the strides of channels last, which unbinding a batch of one would not.
        def of_frame(i: int, levels: Sequence[Tensor]) -> tuple[Tensor, Tensor, Tensor]:
            first, second, third = (level[i::t] for level in levels)
            return first, second, third

        return [
            Features(
                x[i::t],
                *of_frame(i, (level1, level2, level3)),
                of_frame(i, halves.as_supporting),
                of_frame(i, halves.as_reference),
                halves.as_aligned_to[i::t],
            )
            for i in range(t)
        ]

    def reconstruct(self, window: Sequence[Features]) -> Tensor:
        """Gives the SR reference frame (n, 3, ...) of the features of a window in time order.

        Raises ValueError where the number of frames is not `window`.
        """
        x = self.fusion(self.align(window))
        x = self.reconstruction(x)
        x = _leaky(functional.pixel_shuffle(self.upconv1(x), 2))
        x = _leaky(functional.pixel_shuffle(self.upconv2(x), 2))
        residual: Tensor = self.conv_last(_leaky(self.conv_hr(x)))
        frame = window[self.reference].frame
        return residual + (frame if self.scale == 1 else bilinear(frame, self.scale))

    def align(self, window: Sequence[Features]) -> Tensor:
        """Gives the features of a window aligned to the reference frame, (n, window * c, h, w).

        In time order. The reference frame goes through the alignment with itself, as any other.
        Raises ValueError where the number of frames is not `window`.
        """
        if len(window) != self.window:
            message = (
                f"this EDVR was given a window of {len(window)} frames; expected {self.window}"
            )
            raise ValueError(message)
        aligned: Tensor = self.pcd_align(window, window[self.reference])
        return torch.cat(aligned.chunk(len(window)), dim=1)

    def _check(self, frames: Tensor) -> None:
        """Raises ValueError where frames cannot be read."""
        if frames.dim() != 5 or frames.shape[2] != 3:
            message = (
                f"EDVR cannot read frames of shape {tuple(frames.shape)}; expected "
                "(n, t, 3, h, w), RGB in [0, 1]"
            )
            raise ValueError(message)
        h, w = frames.shape[-2:]
        if h % self.size_multiple or w % self.size_multiple:
            message = (
                f"this EDVR cannot read frames of {h}x{w}; expected a height and width that are "
                f"multiples of {self.size_multiple}. Pad the frames and crop the result"
            )
            raise ValueError(message)


class Predeblur(nn.Module):
    """Gives features of blurry frames, deblurred over a pyramid of three levels.

    Takes (n, 3, h, w), gives (n, channels, h, w), or with `hr_in` a quarter of the height and
    width. Source: BasicSR/basicsr/archs/edvr_arch.py:192-242.
    """

    def __init__(self, channels: int, *, hr_in: bool) -> None:
        super().__init__()

        def halving() -> nn.Conv2d:
            return nn.Conv2d(channels, channels, 3, stride=2, padding=1)

        self.hr_in = hr_in
        self.conv_first = nn.Conv2d(3, channels, 3, padding=1)
        if hr_in:
            self.stride_conv_hr1 = halving()
            self.stride_conv_hr2 = halving()
        self.stride_conv_l2 = halving()
        self.stride_conv_l3 = halving()
        self.resblock_l3 = ResidualBlock(channels)
        self.resblock_l2_1 = ResidualBlock(channels)
        self.resblock_l2_2 = ResidualBlock(channels)
        self.resblock_l1 = residual_blocks(channels, 5)

    def forward(self, x: Tensor) -> Tensor:
        """Gives the features of frames `x`."""
        level1 = _leaky(self.conv_first(x))
        if self.hr_in:
            level1 = _leaky(self.stride_conv_hr1(level1))
            level1 = _leaky(self.stride_conv_hr2(level1))
        level2 = _leaky(self.stride_conv_l2(level1))
        level3 = _leaky(self.stride_conv_l3(level2))

        level2 = self.resblock_l2_1(level2) + bilinear(self.resblock_l3(level3), 2)
        level1 = self.resblock_l1[:2](level1) + bilinear(self.resblock_l2_2(level2), 2)
        deblurred: Tensor = self.resblock_l1[2:](level1)
        return deblurred


class Halves(NamedTuple):
    """What frames add to the alignment's joint features, see `Features`."""

    as_supporting: list[Tensor]
    as_reference: list[Tensor]
    as_aligned_to: Tensor


class PCDAlignment(nn.Module):
    """Gives features aligned to the reference frame: coarse to fine, then a cascade.

    At each level the offsets come from the pair of frames and from the next coarser level's
    offsets; the aligned features are joined with the next coarser level's (equations 2 to 4). The
    cascade refines the result by a further deformable convolution (figure 3).
    Source: BasicSR/basicsr/archs/edvr_arch.py:9-98.
    """

    def __init__(self, channels: int, deformable_groups: int) -> None:
        super().__init__()

        def conv(inputs: int) -> nn.Conv2d:
            return nn.Conv2d(inputs, channels, 3, padding=1)

        def deformable() -> DeformConv:
            return DeformConv(channels, deformable_groups, modulated=True)

        # Coarse to fine, the order of the official parameters too.
        self.offset_conv1 = nn.ModuleDict({k: PairConv(channels) for k in ("l3", "l2", "l1")})
        self.offset_conv2 = nn.ModuleDict(
            {"l3": conv(channels), "l2": conv(2 * channels), "l1": conv(2 * channels)}
        )
        self.offset_conv3 = nn.ModuleDict({k: conv(channels) for k in ("l2", "l1")})
        self.dcn_pack = nn.ModuleDict({k: deformable() for k in ("l3", "l2", "l1")})
        self.feat_conv = nn.ModuleDict({k: conv(2 * channels) for k in ("l2", "l1")})
        self.cas_offset_conv1 = PairConv(channels)
        self.cas_offset_conv2 = conv(channels)
        self.cas_dcnpack = deformable()

    def halves(self, levels: Sequence[Tensor]) -> Halves:
        """Gives what frames add to the joint features; levels: three, fine to coarse."""
        convs = [cast("PairConv", self.offset_conv1[key]) for key in _KEYS]
        pairs = [conv.halves(x) for conv, x in zip(convs, levels, strict=True)]
        as_supporting, as_reference = zip(*pairs, strict=True)
        as_aligned_to = self.cas_offset_conv1.second(levels[0])
        return Halves(list(as_supporting), list(as_reference), as_aligned_to)

    def forward(self, window: Sequence[Features], reference: Features) -> Tensor:
        """Gives the aligned features of a window's frames, (frames * n, c, h, w), frame by frame.

        The reference frame goes through the alignment with itself, as any other.
        """
        # All frames of the window in one batch.
        level1, level2, level3 = (
            torch.cat(level) for level in zip(*(frame[1:4] for frame in window), strict=True)
        )

        def joint(key: str) -> Tensor:
            level, conv = _KEYS.index(key), self.offset_conv1[key]
            second = reference.as_reference[level]
            return torch.cat([conv(frame.as_supporting[level], second) for frame in window])

        offset = _leaky(joint("l3"))
        offset = _leaky(self.offset_conv2["l3"](offset))
        aligned = _leaky(self.dcn_pack["l3"](level3, offset))

        for key, level in (("l2", level2), ("l1", level1)):
            # A displacement of one pixel is one of two pixels on the finer level.
            coarser = bilinear(offset, 2).mul(2)
            offset = _leaky(joint(key))
            offset = _leaky(self.offset_conv2[key](torch.cat((offset, coarser), dim=1)))
            offset = _leaky(self.offset_conv3[key](offset))
            found = self.dcn_pack[key](level, offset)
            aligned = self.feat_conv[key](torch.cat((found, bilinear(aligned, 2)), dim=1))
            if key != "l1":
                aligned = _leaky(aligned)

        firsts = self.cas_offset_conv1.first(aligned).chunk(len(window))
        offset = torch.cat([self.cas_offset_conv1(x, reference.as_aligned_to) for x in firsts])
        offset = _leaky(self.cas_offset_conv2(_leaky(offset)))
        return _leaky(self.cas_dcnpack(aligned, offset))


class TSAFusion(nn.Module):
    """Gives one feature map from a window of aligned ones, (n, window * c, h, w) -> (n, c, h, w).

    Temporal attention weighs each frame's pixels by their likeness to the reference frame
    (equations 5 and 6); spatial attention, from a pyramid of the weighted features, scales and
    shifts the fused ones (equations 8 and 9). Source: BasicSR/basicsr/archs/edvr_arch.py:100-190.
    """

    def __init__(self, channels: int, window: int) -> None:
        super().__init__()

        def conv(inputs: int, size: int) -> nn.Conv2d:
            return nn.Conv2d(inputs, channels, size, padding=size // 2)

        self.window = window
        self.temporal_attn1 = conv(channels, 3)
        self.temporal_attn2 = conv(channels, 3)
        self.feat_fusion = conv(window * channels, 1)
        self.spatial_attn1 = conv(window * channels, 1)
        self.spatial_attn2 = conv(2 * channels, 1)
        self.spatial_attn3 = conv(channels, 3)
        self.spatial_attn4 = conv(channels, 1)
        self.spatial_attn5 = conv(channels, 3)
        self.spatial_attn_l1 = conv(channels, 1)
        self.spatial_attn_l2 = conv(2 * channels, 3)
        self.spatial_attn_l3 = conv(channels, 3)
        self.spatial_attn_add1 = conv(channels, 1)
        self.spatial_attn_add2 = conv(channels, 1)

    def forward(self, aligned: Tensor) -> Tensor:
        """Gives the fused features of `aligned`, the reference frame in the middle."""
        # Temporal attention.
        frames = aligned.chunk(self.window, dim=1)
        reference = self.temporal_attn1(frames[self.window // 2])
        embedded = self.temporal_attn2(torch.cat(frames)).chunk(self.window)
        likeness = [(x * reference).sum(dim=1, keepdim=True).sigmoid() for x in embedded]
        weighted = torch.cat([x * a for x, a in zip(frames, likeness, strict=True)], dim=1)
        # Fusion.
        fused = _leaky(self.feat_fusion(weighted))
        # Spatial attention: down two levels, and up again.
        level2 = _leaky(self.spatial_attn2(_pools(_leaky(self.spatial_attn1(weighted)))))
        level3 = _pools(_leaky(self.spatial_attn_l1(level2)))
        level3 = _leaky(self.spatial_attn_l3(_leaky(self.spatial_attn_l2(level3))))
        level2 = _leaky(self.spatial_attn3(level2)) + bilinear(level3, 2)
        attention = self.spatial_attn5(bilinear(_leaky(self.spatial_attn4(level2)), 2))
        shift = self.spatial_attn_add2(_leaky(self.spatial_attn_add1(attention)))
        # Doubled, so that attention that knows nothing (sigmoid of 0) leaves the features alone.
        out: Tensor = fused * attention.sigmoid() * 2 + shift
        return out


def _pools(x: Tensor) -> Tensor:
    """Gives maximum and average over 3x3, side by side, at half the size.

    The average counts the zeros of the padding (BasicSR/basicsr/archs/edvr_arch.py:100-190).
    """
    return torch.cat(
        (functional.max_pool2d(x, 3, 2, 1), functional.avg_pool2d(x, 3, 2, 1)),
        dim=1,
    )


def _leaky(x: Tensor) -> Tensor:
    """Gives the leaky ReLU of slope 0.1, written over `x`."""
    return functional.leaky_relu(x, 0.1, inplace=True)
