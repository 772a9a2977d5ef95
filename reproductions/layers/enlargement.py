"""Three convolutions and two pixel shuffles between them as one convolution.

In STDAN (sttrans.py:178-208) and TDAN (TDAN/model.py:148-238) they stand between the last
activation and the frame, and nothing among them is not linear: together they are one convolution of
5x5 pixels, followed by one shuffle. Of LR frames of 180x320 it takes 18 % of the multiplications,
of 64x112 47 %, with those that make the one convolution and the rim, and no feature map of 4h x 4w
is ever made. Of frames below some 50x50 it would take more: they go step by step.

Only at the rim it is another: each of the three convolutions reads zeros beyond the border where
the one convolution reads what would have been there. The rim is made step by step.
"""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor
from torch.nn import functional

Steps = Callable[[Tensor], Tensor]
"""(n, c, h, w) -> (n, 3, 4h, 4w)."""

REACH = 2
"""Pixels about a pixel on which its 4x4 pixels depend."""

_RIM = 1
"""Pixels at the border whose 4x4 pixels depend on the zeros between the steps."""

_LEAST_PIXELS = 50 * 50
"""LR pixels of a frame from which on one convolution is less work."""

_LIGHT = 1024
"""The one bright value of a picture; beside it the biases, which are taken off, round nothing."""


def enlarge(x: Tensor, steps: Steps) -> Tensor:
    """Gives steps(x), (n, 3, 4h, 4w), of features (n, c, h, w), up to rounding.

    steps: the three convolutions with their shuffles. Where gradients are wanted, and for small
    frames, they are taken as they are.
    """
    if torch.is_grad_enabled() or x.shape[2] * x.shape[3] < _LEAST_PIXELS:
        return steps(x)
    return at_once(x, steps)


def at_once(x: Tensor, steps: Steps) -> Tensor:
    """Gives steps(x), (n, 3, 4h, 4w), by one convolution and its rim, without gradients."""
    kernel, bias = one_convolution(x.shape[1], steps, x)
    out = functional.pixel_shuffle(functional.conv2d(x, kernel, bias, padding=REACH), 4)
    # A strip as wide as what the rim depends on; its own inner border spoils no more than the rest.
    wide, rim = _RIM + REACH, 4 * _RIM
    out[..., :rim, :] = steps(x[..., :wide, :])[..., :rim, :]
    out[..., -rim:, :] = steps(x[..., -wide:, :])[..., -rim:, :]
    out[..., :rim] = steps(x[..., :wide])[..., :rim]
    out[..., -rim:] = steps(x[..., -wide:])[..., -rim:]
    return out


def one_convolution(channels: int, steps: Steps, like: Tensor) -> tuple[Tensor, Tensor]:
    """Gives kernel (48, channels, 5, 5) and bias (48,) of the steps, 48 = 3 * 4 * 4 as shuffled.

    They are what the steps make of a picture with a single pixel in one channel, and of an empty
    picture. like: a tensor of the type and on the device wanted.
    """
    side = 2 * REACH + 1
    pictures = like.new_zeros(channels + 1, channels, side, side)
    pictures[:channels, :, REACH, REACH] = _LIGHT * torch.eye(
        channels, dtype=like.dtype, device=like.device
    )
    # (pictures, colour, row, row of 4, column, column of 4).
    made = steps(pictures).reshape(channels + 1, 3, side, 4, side, 4)
    empty = made[-1]
    # What a pixel gives to the pixel below, that one reads above itself.
    kernel = ((made[:-1] - empty) / _LIGHT).permute(1, 3, 5, 0, 2, 4).flip(-2, -1)
    return kernel.reshape(48, channels, side, side), empty[:, REACH, :, REACH, :].flatten()
