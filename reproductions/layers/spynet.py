"""SPyNet (Ranjan and Black 2017): optical flow over a pyramid, coarse to fine."""

from __future__ import annotations

from itertools import pairwise
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional

from reproductions.layers.memory_format import preferred
from reproductions.layers.warp import warp

_LEVELS = 6

# The colour statistics of ImageNet, RGB.
_MEAN = (0.485, 0.456, 0.406)
_STD = (0.229, 0.224, 0.225)


class SPyNet(nn.Module):
    """Gives the flow from a reference frame to a supporting frame.

    From the coarsest of six levels to the finest, the flow so far is enlarged, the supporting frame
    warped along it, and a small network estimates what is still missing. Parameters have the names
    of BasicSR/basicsr/archs/spynet_arch.py; OpenMMLab's names are in the names.yaml of the papers
    whose files use them. Colour statistics are part of both publishers' files; a file with others
    than ours is refused.
    """

    mean: Tensor
    std: Tensor

    def __init__(self) -> None:
        super().__init__()
        self.basic_module = nn.ModuleList(FlowResidual() for _ in range(_LEVELS))
        self.register_buffer("mean", _colour(_MEAN))
        self.register_buffer("std", _colour(_STD))
        self.register_load_state_dict_pre_hook(_compare_colours)  # type: ignore[no-untyped-call]

    def forward(self, reference: Tensor, supporting: Tensor) -> Tensor:
        """Gives the flow (n, 2, h, w) in pixels, channel 0 along x (columns), 1 along y (rows).

        reference, supporting: (n, 3, h, w), RGB in [0, 1]. What is at p in the reference frame is
        at p + flow(p) in the supporting one. Sides are enlarged to multiples of 32 on the way.
        Source: BasicSR/basicsr/archs/spynet_arch.py:49-96.
        """
        h, w = reference.shape[-2:]
        coarsest = 2 ** (_LEVELS - 1)
        size = (-(-h // coarsest) * coarsest, -(-w // coarsest) * coarsest)
        flow = self._coarse_to_fine(self._pyramid(reference, size), self._pyramid(supporting, size))
        if size == (h, w):
            return flow
        flow = functional.interpolate(flow, (h, w), mode="bilinear", align_corners=False)
        return flow * flow.new_tensor((w / size[1], h / size[0]))[:, None, None]

    def _pyramid(self, frame: Tensor, size: tuple[int, int]) -> list[Tensor]:
        """Gives the frame normalised, at `size` and five times halved; the coarsest first."""
        if frame.shape[-2:] != size:
            frame = functional.interpolate(frame, size, mode="bilinear", align_corners=False)
        levels = [(frame - self.mean) / self.std]
        for _ in range(_LEVELS - 1):
            levels.append(functional.avg_pool2d(levels[-1], 2))
        return levels[::-1]

    def _coarse_to_fine(self, reference: list[Tensor], supporting: list[Tensor]) -> Tensor:
        """Gives the flow (n, 2, ...) at the size of the last level."""
        n, _, h, w = reference[0].shape
        flow = reference[0].new_zeros(n, 2, h, w)
        levels = zip(self.basic_module, reference, supporting, strict=True)
        for level, (residual, ours, theirs) in enumerate(levels):
            if level:
                # Here the grids do share their corners, unlike wherever else frames are resized. A
                # displacement of one pixel is one of two pixels on the finer level.
                flow = 2.0 * functional.interpolate(
                    flow, scale_factor=2, mode="bilinear", align_corners=True
                )
            warped = warp(theirs, flow, padding="border")
            flow = flow + residual(torch.cat((ours, warped, flow), dim=1))
        return flow


class FlowResidual(nn.Module):
    """Gives what is missing in a flow: five 7x7 convolutions with ReLU between them.

    Takes (n, 8, h, w): the reference frame, the warped supporting frame, the flow so far. Gives
    (n, 2, h, w), pixels of this level. Source: BasicSR/basicsr/archs/spynet_arch.py:17-22.
    """

    def __init__(self) -> None:
        super().__init__()
        layers: list[nn.Module] = []
        for inputs, outputs in pairwise((8, 32, 64, 32, 16, 2)):
            layers += [nn.Conv2d(inputs, outputs, 7, padding=3), nn.ReLU(inplace=True)]
        self.basic_module = nn.Sequential(*layers[:-1])

    def forward(self, x: Tensor) -> Tensor:
        """Gives the residual flow for `x`."""
        residual: Tensor = self.basic_module(preferred(x))
        return residual


def _colour(values: tuple[float, ...], device: str | None = None) -> Tensor:
    return torch.tensor(values, dtype=torch.float32, device=device).view(1, 3, 1, 1)


def _compare_colours(
    _module: nn.Module,
    state: dict[str, Any],
    prefix: str,
    _metadata: dict[str, Any],
    _strict: bool,
    _missing: list[str],
    _unexpected: list[str],
    errors: list[str],
) -> None:
    """Refuses a state whose colour statistics are not ours: other frames would then be expected."""
    for name, values in (("mean", _MEAN), ("std", _STD)):
        found = state.get(f"{prefix}{name}")
        # Ours are made here anew: a network may have been built without memory (device meta).
        ours = _colour(values, "cpu")
        if not isinstance(found, Tensor) or found.shape != ours.shape:
            continue  # strict loading says so itself
        found = found.detach().cpu()
        if not torch.allclose(found.float(), ours.to(found.dtype).float(), rtol=1e-5, atol=0):
            errors.append(f"{prefix}{name} is {found.flatten().tolist()}, not {list(values)}")
