"""Deformable sampling: every tap of every pixel reads a feature map where its offset says.

A bilinear sample between the pixels is a weighted sum of four of them. So sampling takes two steps:
the number and weight of the four pixels of each sample (`corners`), and one `embedding_bag` that
gathers and sums them (`Corners.read`). Deformable convolution multiplies the samples by its kernel;
deformable attention reads keys and values at the same corners.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal, NamedTuple

import torch
from torch import Tensor, nn
from torch.nn import functional

Border = Literal["fade", "hold"]
"""What a sample beyond the outermost pixel centres reads.

`fade`: zeros lie outside, so values fade over one pixel (torchvision, mmcv, BasicSR: sources in
BasicSR/basicsr/ops/dcn/src/deform_conv_cuda_kernel.cu:229,618).
`hold`: only 0 <= y < h and 0 <= x < w count, and the last row and column are held at full strength
from h - 1 to h and w - 1 to w (TDAN/src/deform_conv_cuda_kernel.cu:15-51 and :195-202).
"""

Order = Literal["group, tap", "tap, group"]
"""How the samples of a pixel are ordered, the slower index first."""


@dataclass(frozen=True)
class Grid:
    """Sizes of one call; everything that follows from shapes alone."""

    batch: int
    channels: int
    height: int
    width: int
    out_height: int
    out_width: int
    kernel: tuple[int, int] = (3, 3)
    stride: tuple[int, int] = (1, 1)
    padding: tuple[int, int] = (1, 1)
    dilation: tuple[int, int] = (1, 1)
    groups: int = 1
    deformable_groups: int = 8
    border: Border = "fade"
    order: Order = "group, tap"

    @property
    def taps(self) -> int:
        """Places that the kernel reads for a pixel."""
        return self.kernel[0] * self.kernel[1]

    @property
    def table_width(self) -> int:
        """Pixels in a row of the table: one more on the left, one or two on the right."""
        return self.width + (3 if self.border == "fade" else 2)

    @property
    def table_height(self) -> int:
        """Rows of pixels in the table."""
        return self.height + (3 if self.border == "fade" else 2)


@dataclass(frozen=True)
class Places:
    """Where taps and groups lie, the same for every row; the last axis is that of `Grid.order`."""

    grid: Grid
    y: Tensor
    """Rows at which the taps lie without offsets, (out_h, 1, groups * taps)."""
    x: Tensor
    """Columns at which they lie, (out_w, groups * taps)."""
    start: Tensor
    """Where in the table the pixel (0, 0) of each group lies, (n, 1, 1, groups * taps)."""


class Corners(NamedTuple):
    """The four pixels about each sample, upper left, upper right, lower left, lower right."""

    pixels: Tensor
    """Their rows in the table, (..., 4)."""
    weights: Tensor
    """Their weights, times the mask where there is one, (..., 4)."""

    def read(self, table: Tensor) -> Tensor:
        """Gives the samples, a row for each: (samples, channels of a group).

        table: of `pixel_table`. Corners of several samples in the last axis, (..., 4 * count), are
        summed.
        """
        pixels, weights = self.pixels, self.weights.to(table.dtype)
        bags = torch.arange(
            0, pixels.numel(), pixels.shape[-1], dtype=pixels.dtype, device=pixels.device
        )
        return functional.embedding_bag(
            pixels.view(-1), table, bags, mode="sum", per_sample_weights=weights.view(-1)
        )


def offsets(conv: nn.Conv2d, x: Tensor, groups: int, taps: int, order: Order) -> Tensor:
    """Gives what a layer of offsets makes of `x`, (n, c, h, w), as (n, h, w, runs * groups * taps).

    conv: 3x3, of which the first 2 * groups * taps outputs are offsets, ordered (group, tap, axis)
    with axis 0 for y, and any others groups * taps masks, ordered (group, tap). Given are runs of
    channels in `order`: y and x, in pixels, and where there is one the mask as it is. The rows of
    the weight are reordered, which is cheaper than to reorder what it gives.
    """
    number = torch.arange(len(conv.weight), device=conv.weight.device)
    moved, mask = number.tensor_split([2 * groups * taps])
    # (runs, groups, taps).
    runs = torch.cat((moved.view(groups, taps, 2).permute(2, 0, 1), mask.view(-1, groups, taps)))
    rows = (runs if order == "group, tap" else runs.transpose(1, 2)).flatten()
    bias = conv.bias if conv.bias is None else conv.bias[rows]
    return functional.conv2d(x, conv.weight[rows], bias, padding=1).permute(0, 2, 3, 1)


def pixel_table(x: Tensor, grid: Grid) -> Tensor:
    """Gives a row of channels per pixel and group, (n * pixels * groups, channels of a group).

    x: (n, channels, h, w). A frame of pixels is laid around the picture such that all four
    neighbours of every admitted sample exist: no sample has to be tested for lying inside.
    """
    if grid.border == "fade":
        padded = functional.pad(x, (1, 2, 1, 2))
    else:
        padded = functional.pad(x, (0, 1, 0, 1), mode="replicate")
        padded = functional.pad(padded, (1, 0, 1, 0))
    return padded.permute(0, 2, 3, 1).reshape(-1, grid.channels // grid.deformable_groups)


def places(grid: Grid, dtype: torch.dtype, device: torch.device) -> Places:
    """Gives the places of a call's taps and tables."""

    def numbers(count: int, kind: torch.dtype = dtype) -> Tensor:
        return torch.arange(count, dtype=kind, device=device)

    def of_taps(values: Tensor) -> Tensor:
        if grid.order == "group, tap":
            return values.repeat(grid.deformable_groups)
        return values.repeat_interleave(grid.deformable_groups)

    y = numbers(grid.out_height) * grid.stride[0] - grid.padding[0]
    x = numbers(grid.out_width) * grid.stride[1] - grid.padding[1]
    tap_y = (numbers(grid.kernel[0]) * grid.dilation[0]).repeat_interleave(grid.kernel[1])
    tap_x = (numbers(grid.kernel[1]) * grid.dilation[1]).repeat(grid.kernel[0])
    # int32 is half the memory traffic of int64, and no picture in sight needs more.
    size = grid.table_height * grid.table_width * grid.deformable_groups
    kind = torch.int32 if grid.batch * size < 2**31 else torch.int64
    origin = numbers(grid.batch, kind) * size + (grid.table_width + 1) * grid.deformable_groups
    start = origin[:, None] + numbers(grid.deformable_groups, kind)
    if grid.order == "group, tap":
        start = start.repeat_interleave(grid.taps, dim=1)
    else:
        start = start.repeat(1, grid.taps)
    return Places(
        grid, y[:, None, None] + of_taps(tap_y), x[:, None] + of_taps(tap_x), start[:, None, None]
    )


def corners(  # noqa: PLR0917 - two coordinates, their weight, and where they are
    dy: Tensor,
    dx: Tensor,
    scale: Tensor | None,
    places: Places,
    start: Tensor,
    rows: slice = slice(None),
) -> Corners:
    """Gives the corners of the samples of some output rows, (n, rows, out_w, groups * taps, 4).

    dy, dx: offsets in pixels, (n, rows, out_w, groups * taps), of the type of `places`. scale: the
    mask, likewise, or None. start: those of `places.start` whose tables are read, (n, ...).
    """
    y, x = _admit(dy + places.y[rows], dx + places.x, places.grid)
    y0, x0 = y.detach().floor(), x.detach().floor()
    pixels = _corner_pixels(y0, x0, places.grid, start)
    return Corners(pixels, _corner_weights(y - y0, x - x0, scale))


def _admit(y: Tensor, x: Tensor, grid: Grid) -> tuple[Tensor, Tensor]:
    """Gives the positions moved into the table such that they read what the border rule says."""
    if grid.border == "fade":
        # At -1 and at the height only zeros are read, as anywhere farther out.
        return y.clamp(-1, grid.height), x.clamp(-1, grid.width)
    inside = (y >= 0) & (y < grid.height) & (x >= 0) & (x < grid.width)
    # (-1, -1) is a zero of the table. Unlike a clamp this does not let values fade.
    return y.where(inside, -1.0), x.where(inside, -1.0)


def _corner_pixels(y0: Tensor, x0: Tensor, grid: Grid, start: Tensor) -> Tensor:
    """Gives the table rows of each sample's four pixels, (..., 4): y0x0, y0x1, y1x0, y1x1."""
    width, size = grid.table_width, grid.table_width * grid.table_height
    if size >= 2**24 and y0.dtype == torch.float32:
        # float32 counts no farther than this.
        y0, x0 = y0.double(), x0.double()
    pixel = torch.add(x0, y0, alpha=width).to(start.dtype)
    # The clamp is for offsets that are not numbers: such a sample must not read outside the table.
    pixel = pixel.clamp_(-width - 1, size - 2 * width - 3)
    corner = pixel.mul_(grid.deformable_groups).add_(start)
    right, below = grid.deformable_groups, width * grid.deformable_groups
    # Interleaving moves values without looking at them; `_interleaved` wants floating point.
    kind = torch.float32 if corner.dtype == torch.int32 else torch.float64
    each = (corner, corner + right, corner + below, corner + (below + right))
    return _interleaved([c.view(kind) for c in each]).view(corner.dtype)


def _corner_weights(dy: Tensor, dx: Tensor, scale: Tensor | None) -> Tensor:
    """Gives the weights of each sample's four pixels, (..., 4), times the mask if there is one.

    dy, dx: in [0, 1), how far the sample lies beyond the pixel y0, x0. scale: the mask, likewise.
    """
    lower, upper = (dy, 1 - dy) if scale is None else (dy * scale, (1 - dy) * scale)
    lower_right = lower * dx
    upper_right = upper * dx
    return _interleaved([upper - upper_right, upper_right, lower - lower_right, lower_right])


def _interleaved(four: list[Tensor]) -> Tensor:
    """Gives four tensors of one shape as one with a last axis of four."""
    if any(t.requires_grad for t in four):
        return torch.stack(four, dim=-1)
    # The same, two numbers at a time: on one CPU thread six times as fast as the stack.
    out = four[0].new_empty(*four[0].shape, 2, 2)
    pairs = torch.view_as_complex(out)
    torch.complex(four[0], four[1], out=pairs[..., 0])
    torch.complex(four[2], four[3], out=pairs[..., 1])
    return out.flatten(-2)
