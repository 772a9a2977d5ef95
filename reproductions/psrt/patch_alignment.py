"""Patch alignment: what PSRT (Shi et al. 2022) proposes in place of warping pixel by pixel.

Interpolating a supporting frame at every pixel's own flow mixes neighbouring values and tears
apart what lies side by side; the paper shows that this keeps a transformer from using sub-pixel
information. Patch alignment moves whole patches by whole pixels instead: values are copied, never
mixed, and within a patch neighbours stay neighbours. The attention does the rest.
"""

from __future__ import annotations

from torch import Tensor, nn
from torch.nn import functional

from reproductions.layers.warp import warp


class PatchAlignment(nn.Module):
    """Gives supporting features, every patch of them moved to where the reference frame has it.

    1. The flow is averaged over each patch: one displacement per patch of the reference frame.
    2. It is rounded to whole pixels, half to even (it is the pixel's position that is rounded).
    3. The patch is copied from there; what lies outside the frame is zero.

    No parameters. Source: PSRT archs/psrt_recurrent_arch.py:363-406 (`flow_warp_avg_patch`).
    """

    def __init__(self, patch: int = 8) -> None:
        super().__init__()
        self.patch = patch

    def forward(self, supporting: Tensor, flow: Tensor) -> Tensor:
        """Gives (n, c, h, w), the supporting features aligned to the reference frame.

        supporting: (n, c, h, w). flow: (n, 2, h, w) from the reference frame to the supporting
        one, in pixels, x first.
        """
        return warp(supporting, self.patch_flow(flow), padding="zeros", mode="nearest")

    def patch_flow(self, flow: Tensor) -> Tensor:
        """Gives the flow (n, 2, h, w) averaged over each patch.

        Height and width need not be multiples of the patch: the flow is reflected at the bottom
        and the right for the mean.
        """
        h, w = flow.shape[-2:]
        padding = (0, -w % self.patch, 0, -h % self.patch)
        padded = functional.pad(flow, padding, mode="reflect") if any(padding) else flow
        mean = functional.avg_pool2d(padded, self.patch)
        spread = mean.repeat_interleave(self.patch, dim=2).repeat_interleave(self.patch, dim=3)
        return spread[:, :, :h, :w]
