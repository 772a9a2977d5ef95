"""STDAN (Wang et al. 2023): frames between the frames, and all of them x4.

    feature extraction   F_i, the features of LR frame I_i: a convolution and a Swin decoder
    interpolation        LSTFI, features of the moments between neighbours (interpolation.py)
    aggregation          STDFA, every moment looks at all others (aggregation.py)
    reconstruction       a Swin decoder (decoder.py), and x4 by sub-pixel convolution

The same function as STTrans2 in STDAN codes/models/modules/sttrans.py, whose parameter names these
are.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor, nn
from torch.nn import functional

from reproductions.layers.enlargement import enlarge
from reproductions.layers.memory_format import preferred
from reproductions.stdan.aggregation import FeatureAggregation
from reproductions.stdan.decoder import SwinDecoder
from reproductions.stdan.interpolation import FeatureInterpolation, pyramid


class STDAN(nn.Module):
    """Gives the SR frames of a clip of LR frames, and one between each two of them.

    Constant tensors of the official file (the attention's masks and tables of indices) may be
    absent from a state; loading raises ValueError where one is present and differs.
    """

    def __init__(
        self,
        *,
        channels: int = 64,
        embedded: int = 72,
        heads: int = 6,
        deformable_groups: int = 8,
        extraction_depths: Sequence[int] = (6, 6),
        reconstruction_depths: Sequence[int] = (6, 6, 6, 6, 6, 6),
    ) -> None:
        super().__init__()
        self.scale = 4
        self.size_multiple = 8

        # Feature extraction, and two coarser levels of it.
        self.conv_first = nn.Conv2d(3, channels, 3, padding=1)
        self.feature_extraction = SwinDecoder(channels, embedded, extraction_depths, heads)
        self.fea_L2_conv1 = nn.Conv2d(channels, channels, 3, stride=2, padding=1)
        self.fea_L2_conv2 = nn.Conv2d(channels, channels, 3, padding=1)
        self.fea_L3_conv1 = nn.Conv2d(channels, channels, 3, stride=2, padding=1)
        self.fea_L3_conv2 = nn.Conv2d(channels, channels, 3, padding=1)
        # Interpolation, forward and backward, and the fusion of both.
        self.pcd_align_modified = FeatureInterpolation(channels, deformable_groups)
        self.fusion_f_b = nn.Conv2d(2 * channels, channels, 1)
        # Aggregation.
        self.stdfa = FeatureAggregation(channels, embedded, deformable_groups)
        # Reconstruction. This activation alone has a slope of 0.01 (sttrans.py:69-71).
        self.feature_recon = SwinDecoder(channels, embedded, reconstruction_depths, heads)
        self.conv_before_upsample = nn.Sequential(
            nn.Conv2d(channels, channels, 3, padding=1), nn.LeakyReLU(0.01, inplace=True)
        )
        self.upsample = nn.Sequential(
            nn.Conv2d(channels, 4 * channels, 3, padding=1),
            nn.PixelShuffle(2),
            nn.Conv2d(channels, 4 * channels, 3, padding=1),
            nn.PixelShuffle(2),
        )
        self.conv_last = nn.Conv2d(channels, 3, 3, padding=1)

    def forward(self, clip: Tensor) -> Tensor:
        """Gives the SR frames (n, 2t - 1, 3, 4h, 4w) of a clip (n, t, 3, h, w).

        Output 2i belongs to input i, output 2i + 1 lies between the inputs i and i + 1. Both are
        RGB in [0, 1], the result not clamped. Raises ValueError where there are fewer than two RGB
        frames, or h or w is not a multiple of `size_multiple`.
        """
        self._check(clip)
        count = clip.shape[1]
        if count < 2:
            frames = "1 frame" if count else "no frame"
            message = f"STDAN was given {frames}; expected at least 2, to interpolate between them"
            raise ValueError(message)
        return self.moments(self.features(clip), range(2 * count - 1))

    def features(self, frames: Tensor) -> list[Tensor]:
        """Gives the features (n, c, h, w) of each of t frames (n, t, 3, h, w) on its own."""
        self._check(frames)
        # Frame by frame, each with all items of the batch: a frame is a run of the batch then.
        runs = preferred(frames.transpose(0, 1).flatten(0, 1))
        features: Tensor = self.feature_extraction(_leaky(self.conv_first(runs)))
        return list(features.chunk(frames.shape[1]))

    def moments(self, features: Sequence[Tensor], wanted: Sequence[int]) -> Tensor:
        """Gives the SR frames (n, moments, 3, 4h, 4w) of the wanted ones of 2t - 1 moments.

        features: of each of t frames, in time order, from `features`. wanted: the numbers of
        outputs, as in `forward`. All moments look at all others, whichever are wanted.
        """
        n, count = len(features[0]), len(features)
        x = self.interpolate(torch.cat(list(features)), count)
        sr = self.reconstruct(self.aggregate(x, 2 * count - 1, wanted))
        return sr.view(len(wanted), n, *sr.shape[1:]).transpose(0, 1)

    def interpolate(self, features: Tensor, count: int) -> Tensor:
        """Gives features of the frames and of the moments between, ((2 * count - 1) * n, c, h, w).

        features: of `count` frames, (count * n, c, h, w), frame by frame.
        """
        levels = pyramid(
            features, self.fea_L2_conv1, self.fea_L2_conv2, self.fea_L3_conv1, self.fea_L3_conv2
        )
        forward, backward = self.pcd_align_modified.both_ways(levels, count)
        between = self.fusion_f_b(torch.cat((torch.cat(forward), torch.cat(backward)), dim=1))
        given, made = features.chunk(count), between.chunk(count - 1)
        interleaved = [x for pair in zip(given, made, strict=False) for x in pair]
        return torch.cat([*interleaved, given[-1]])

    def aggregate(self, features: Tensor, count: int, wanted: Sequence[int]) -> Tensor:
        """Gives the wanted ones of `count` moments, (moments * n, c, h, w), each with all others'.

        features: of all, (count * n, c, h, w).
        """
        aggregated: Tensor = self.stdfa(features, count, wanted)
        return aggregated

    def reconstruct(self, features: Tensor) -> Tensor:
        """Gives the SR frames (n, 3, 4h, 4w) of features (n, c, h, w)."""
        x: Tensor = self.conv_before_upsample(self.feature_recon(features))
        return enlarge(x, self.enlarge)

    def enlarge(self, x: Tensor) -> Tensor:
        """Gives (n, 3, 4h, 4w) of features (n, c, h, w): three convolutions without activation."""
        sr: Tensor = self.conv_last(self.upsample(x))
        return sr

    def _check(self, clip: Tensor) -> None:
        """Raises ValueError where a clip cannot be read."""
        if clip.dim() != 5 or clip.shape[2] != 3:
            message = (
                f"STDAN cannot read a clip of shape {tuple(clip.shape)}; expected (n, t, 3, h, w), "
                "RGB in [0, 1]"
            )
            raise ValueError(message)
        h, w = clip.shape[-2:]
        if h % self.size_multiple or w % self.size_multiple or not h * w:
            message = (
                f"STDAN cannot read frames of {h}x{w}; expected height and width to be multiples "
                f"of {self.size_multiple}. Pad the frames and crop the result"
            )
            raise ValueError(message)


def _leaky(x: Tensor) -> Tensor:
    """Gives the leaky ReLU of slope 0.1, written over `x`."""
    return functional.leaky_relu(x, 0.1, inplace=True)
