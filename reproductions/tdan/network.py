"""TDAN (Tian et al. 2020): every supporting frame is aligned to the reference frame, then fused.

    feature extraction   F_i, the features of frame I_i
    alignment            Theta_i, the offsets, from the pair (F_t, F_i)
                         F'_i, F_i sampled where Theta_i say
                         I'_i, the aligned LR frame
    reconstruction       the HR frame from (I'_{t-2}, I'_{t-1}, I_t, I'_{t+1}, I'_{t+2})

The same function as TDAN/model.py:148-238 (class TDAN_VSR) and as
mmagic/models/editors/tdan/tdan_net.py:36-155. Their parameter names: names.yaml.
"""

from collections.abc import Sequence
from typing import NamedTuple

import torch
from torch import Tensor, nn
from torch.nn import functional

from reproductions.layers.deform_conv import Border, DeformConv
from reproductions.layers.enlargement import enlarge
from reproductions.layers.memory_format import preferred
from reproductions.layers.pair_conv import PairConv
from reproductions.layers.residual import residual_blocks


class Features(NamedTuple):
    """What TDAN computes of a frame on its own, each (n, channels, h, w)."""

    frame: Tensor
    """I_i less the mean; 3 channels."""
    features: Tensor
    """F_i."""
    as_reference: Tensor
    """What F_i adds to the joint features as the reference frame."""
    as_supporting: Tensor
    """What F_i adds to the joint features as a supporting frame."""


class TDAN(nn.Module):
    """Gives the SR reference frame of a window of five LR frames, x4.

    `border` is the rule of the deformable convolution: `fade` goes with OpenMMLab's weights, `hold`
    with the author's, which were trained with his own kernel. `mean` is taken off the input and
    put back on the output (TDAN/eval.py:113,118).

    `forward` is `reconstruct` of `features`. Frames of a clip take part in several windows; call
    `features` once per frame and `reconstruct` once per window to save the repetition.
    """

    scale = 4
    window = 5
    reference = 2
    size_multiple = 1

    def __init__(
        self,
        *,
        border: Border = "fade",
        channels: int = 64,
        deformable_groups: int = 8,
        extraction_blocks: int = 5,
        reconstruction_blocks: int = 10,
        mean: float = 0.5,
    ) -> None:
        super().__init__()
        self.mean = mean

        def deformable() -> DeformConv:
            return DeformConv(channels, deformable_groups, modulated=False, border=border)

        # Feature extraction.
        self.conv_first = nn.Conv2d(3, channels, 3, padding=1)
        self.feature_extraction = residual_blocks(channels, extraction_blocks)
        # Alignment: joint features of the pair and two deformable convolutions of them, then two
        # of the supporting frame's features.
        self.joint = PairConv(channels)
        self.joint_deform_1 = deformable()
        self.joint_deform_2 = deformable()
        self.align_1 = deformable()
        self.align_2 = deformable()
        self.to_lr = nn.Conv2d(channels, 3, 3, padding=1)
        # Reconstruction: fusion, residual blocks, two times x2.
        self.conv_fusion = nn.Conv2d(3 * self.window, channels, 3, padding=1)
        self.reconstruction = residual_blocks(channels, reconstruction_blocks)
        self.upconv1 = nn.Conv2d(channels, 4 * channels, 3, padding=1)
        self.upconv2 = nn.Conv2d(channels, 4 * channels, 3, padding=1)
        self.conv_last = nn.Conv2d(channels, 3, 3, padding=1, bias=False)

    def forward(self, frames: Tensor) -> Tensor:
        """Gives the SR reference frame (n, 3, 4h, 4w) of LR frames (n, 5, 3, h, w).

        Both are RGB in [0, 1], the result not clamped; h and w are free. Raises ValueError where
        a window does not have five RGB frames.
        """
        return self.reconstruct(self.features(frames))

    def features(self, frames: Tensor) -> list[Features]:
        """Gives what can be computed of LR frames (n, t, 3, h, w) one by one, t times.

        RGB in [0, 1]; any number of frames. Raises ValueError where they are not RGB frames.
        """
        if frames.dim() != 5 or frames.shape[2] != 3:
            message = (
                f"TDAN cannot read frames of shape {tuple(frames.shape)}; expected "
                "(n, t, 3, h, w), RGB in [0, 1]"
            )
            raise ValueError(message)
        t = frames.shape[1]
        frame = preferred((frames - self.mean).flatten(0, 1))
        features = functional.relu(self.conv_first(frame), inplace=True)
        features = self.feature_extraction(features)
        as_reference, as_supporting = self.joint.halves(features)
        each = (frame, features, as_reference, as_supporting)
        # Slices keep the strides of channels last, which unbinding a batch of one would not.
        split = [[x[i::t] for i in range(t)] for x in each]
        return [Features(*of_frame) for of_frame in zip(*split, strict=True)]

    def reconstruct(self, window: Sequence[Features]) -> Tensor:
        """Gives the SR reference frame (n, 3, 4h, 4w) of the features of five frames in time order.

        Raises ValueError where there are not five.
        """
        x = functional.relu(self.conv_fusion(torch.cat(self.align(window), dim=1)), inplace=True)
        return enlarge(self.reconstruction(x), self.enlarge) + self.mean

    def enlarge(self, x: Tensor) -> Tensor:
        """Gives (n, 3, 4h, 4w) of features (n, c, h, w): three convolutions without activation."""
        x = functional.pixel_shuffle(self.upconv1(x), 2)
        x = functional.pixel_shuffle(self.upconv2(x), 2)
        sr: Tensor = self.conv_last(x)
        return sr

    def align(self, window: Sequence[Features]) -> list[Tensor]:
        """Gives the five LR frames of a window aligned to the reference frame, less the mean.

        Each (n, 3, h, w), in time order. In the place of the reference frame stands the input frame
        itself, not what the network would make of it. Raises ValueError where there are not five.
        """
        if len(window) != self.window:
            message = f"TDAN was given a window of {len(window)} frames; expected {self.window}"
            raise ValueError(message)
        reference = window[self.reference]
        supporting = [frame for i, frame in enumerate(window) if i != self.reference]

        joint = [self.joint(reference.as_reference, frame.as_supporting) for frame in supporting]
        # From here on all supporting frames in one batch.
        x = torch.cat(joint)
        x = self.joint_deform_1(x, x)
        x = self.joint_deform_2(x, x)
        aligned = self.align_1(torch.cat([frame.features for frame in supporting]), x)
        aligned = self.align_2(aligned, aligned)
        lr = list(self.to_lr(aligned).chunk(len(supporting)))
        return [*lr[: self.reference], reference.frame, *lr[self.reference :]]
