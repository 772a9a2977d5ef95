"""Upsampling without parameters."""

from torch import Tensor
from torch.nn import functional


def bilinear(x: Tensor, scale: int) -> Tensor:
    """Gives (n, c, scale * h, scale * w): bilinear, pixel centres at half-integers.

    align_corners is false in every official network here; with it the grids of two pyramid levels
    no longer agree and EDVR's output moves by 1 %.
    """
    return functional.interpolate(x, scale_factor=scale, mode="bilinear", align_corners=False)
