"""Deformable convolution, version 1 and version 2, in plain PyTorch.

Every tap k of a convolution reads the picture not at its fixed place p_k but at p_k + dp_k, between
the pixels, and version 2 scales what it read by dm_k (Dai et al. 2017, equation 2; Zhu et al. 2019,
equation 1):

    y(p) = sum_k  w_k . x(p + p_k + dp_k) . dm_k

A bilinear sample is a weighted sum of four pixels, so a band of output rows takes three steps: the
number and weight of the four pixels of each sample, one `embedding_bag` that gathers and sums them,
and one matrix product with w. Bands keep the intermediate values in the cache and the memory small.
"""

import math
from collections.abc import Iterator
from dataclasses import dataclass
from functools import partial
from itertools import chain
from typing import Literal

import torch
from torch import Tensor, nn
from torch.nn import functional
from torch.utils.checkpoint import checkpoint

Border = Literal["fade", "hold"]
"""What a sample beyond the outermost pixel centres reads.

`fade`: zeros lie outside, so values fade over one pixel (torchvision, mmcv, BasicSR: sources in
BasicSR/basicsr/ops/dcn/src/deform_conv_cuda_kernel.cu:229,618).
`hold`: only 0 <= y < h and 0 <= x < w count, and the last row and column are held at full strength
from h - 1 to h and w - 1 to w (TDAN/src/deform_conv_cuda_kernel.cu:15-51 and :195-202).
"""

Pair = int | tuple[int, int]

# Samples per band. A sample takes about 100 bytes of intermediate values: on a CPU a band stays in
# the second-level cache, and is long enough for PyTorch to use several threads (32768 elements).
# On a GPU a band has to fill the device instead, within some 0.4 GB.
_BAND_SAMPLES = {"cpu": 72 * 1024}
_BAND_SAMPLES_ELSEWHERE = 2 * 1024 * 1024


def deform_conv2d(
    x: Tensor,
    offset: Tensor,
    weight: Tensor,
    bias: Tensor | None = None,
    *,
    mask: Tensor | None = None,
    stride: Pair = 1,
    padding: Pair = 0,
    dilation: Pair = 1,
    border: Border = "fade",
) -> Tensor:
    """Gives the deformable convolution of `x`, (n, out_channels, out_h, out_w).

    x: (n, channels, h, w). weight: (out_channels, channels / groups, kernel_h, kernel_w).
    offset: (n, deformable_groups * taps * 2, out_h, out_w), in pixels; the channel index is
    (group * taps + tap) * 2 + axis with axis 0 for y (rows) and 1 for x, and tap = kernel_w * ky +
    kx. mask: (n, deformable_groups * taps, out_h, out_w), after its sigmoid, or None for version 1.
    The numbers of groups and of deformable groups follow from the shapes. Deformable group i owns
    the i-th contiguous run of channels.

    Differentiable in all five tensors. With gradients the bands are computed again on the way back,
    so that memory stays bounded there too.

    Raises ValueError where shapes do not fit together. Channel order: facts of torchvision, mmcv
    and BasicSR agree (BasicSR/basicsr/ops/dcn/src/deform_conv_cuda_kernel.cu:209-228).
    """
    grid = _grid(x, offset, weight, mask, _pair(stride), _pair(padding), _pair(dilation), border)
    pixels = _pixel_table(x, grid)
    kernel = _kernel_matrix(weight, grid)
    places = _places(grid, torch.promote_types(offset.dtype, torch.float32), x.device)

    def result(
        band: _Band, pixels: Tensor, offset: Tensor, mask: Tensor | None, kernel: Tensor
    ) -> Tensor:
        return _apply_kernel(_columns(pixels, offset, mask, places, band), kernel, grid)

    tensors = (x, offset, weight, bias, mask)
    if torch.is_grad_enabled() and any(t is not None and t.requires_grad for t in tensors):
        # A checkpoint keeps nothing for the way back but what all bands share.
        track = partial(checkpoint, result, use_reentrant=False, preserve_rng_state=False)
        items = [
            torch.cat([track(band, pixels, offset, mask, kernel) for band in bands], dim=2)
            for bands in _bands(grid, x.device.type)
        ]
        out = torch.cat(items)
    else:
        out = _empty_output(x, len(weight), grid)
        for band in chain.from_iterable(_bands(grid, x.device.type)):
            columns = _columns(pixels, offset, mask, places, band)
            _apply_kernel(columns, kernel, grid, out[band.items, :, band.pixels])
    if bias is not None:
        out = out + bias[:, None] if out.requires_grad else out.add_(bias[:, None])
    return torch.unflatten(out, 2, (grid.out_height, grid.out_width))


class DeformConv(nn.Module):
    """A 3x3 deformable convolution that predicts its offsets from a second feature map.

    `modulated=False` is version 1: no mask and no bias (TDAN/modules/deform_conv.py:28-29).
    `modulated=True` is version 2: `conv_offset` gives three equal runs of channels; the first two
    together, in order, are the interleaved offsets (not a y plane and an x plane), the third is the
    mask before its sigmoid (BasicSR/basicsr/archs/arch_util.py:215-231).
    """

    def __init__(
        self,
        channels: int,
        deformable_groups: int = 8,
        *,
        modulated: bool,
        border: Border = "fade",
    ) -> None:
        super().__init__()
        self.border: Border = border
        self.offset_channels = deformable_groups * 9 * 2
        self.mask_channels = deformable_groups * 9 if modulated else 0
        self.weight = nn.Parameter(torch.empty(channels, channels, 3, 3))
        self.bias = nn.Parameter(torch.zeros(channels)) if modulated else None
        self.conv_offset = nn.Conv2d(
            channels, self.offset_channels + self.mask_channels, 3, padding=1
        )
        nn.init.kaiming_uniform_(self.weight, a=math.sqrt(5))
        # An untrained layer starts as an ordinary convolution.
        nn.init.zeros_(self.conv_offset.weight)
        if self.conv_offset.bias is not None:
            nn.init.zeros_(self.conv_offset.bias)

    def forward(self, x: Tensor, offset_features: Tensor) -> Tensor:
        """Gives (n, channels, h, w): `x` sampled where `offset_features` say; same shapes."""
        channels: Tensor = self.conv_offset(offset_features)
        offset, mask = channels[:, : self.offset_channels], None
        if self.mask_channels:
            mask = channels[:, self.offset_channels :].sigmoid()
        return deform_conv2d(
            x, offset, self.weight, self.bias, mask=mask, padding=1, border=self.border
        )


@dataclass(frozen=True)
class _Grid:
    """Sizes of one call; everything that follows from shapes alone."""

    batch: int
    channels: int
    height: int
    width: int
    out_height: int
    out_width: int
    kernel: tuple[int, int]
    stride: tuple[int, int]
    padding: tuple[int, int]
    dilation: tuple[int, int]
    groups: int
    deformable_groups: int
    border: Border

    @property
    def taps(self) -> int:
        return self.kernel[0] * self.kernel[1]

    @property
    def table_width(self) -> int:
        """Pixels in a row of the table: one more on the left, one or two on the right."""
        return self.width + (3 if self.border == "fade" else 2)

    @property
    def table_height(self) -> int:
        return self.height + (3 if self.border == "fade" else 2)


def _pixel_table(x: Tensor, grid: _Grid) -> Tensor:
    """Gives a row of channels per pixel and group, (n * pixels * groups, channels of a group).

    A frame of pixels is laid around the picture such that all four neighbours of every admitted
    sample exist: no sample has to be tested for lying inside.
    """
    if grid.border == "fade":
        padded = functional.pad(x, (1, 2, 1, 2))
    else:
        padded = functional.pad(x, (0, 1, 0, 1), mode="replicate")
        padded = functional.pad(padded, (1, 0, 1, 0))
    return padded.permute(0, 2, 3, 1).reshape(-1, grid.channels // grid.deformable_groups)


def _kernel_matrix(weight: Tensor, grid: _Grid) -> Tensor:
    """Gives the kernel as (groups, out channels of a group, columns of a group).

    With one group the columns are in the order in which samples are gathered (deformable group,
    tap, channel), so that the gathered values need no rearrangement.
    """
    if grid.groups == 1:
        split = weight.reshape(len(weight), grid.deformable_groups, -1, grid.taps)
        return split.transpose(2, 3).reshape(1, len(weight), -1)
    return weight.reshape(grid.groups, len(weight) // grid.groups, -1)


@dataclass(frozen=True)
class _Band:
    """Some output rows of some items of the batch."""

    items: slice
    rows: slice
    pixels: slice
    """The same rows where height and width are one axis."""


def _bands(grid: _Grid, device: str) -> Iterator[list[_Band]]:
    """Gives the bands of the output, for each run of items those from top to bottom.

    On a CPU an item at a time: the pixels that a band reads then lie close together.
    """
    items = 1 if device == "cpu" else grid.batch
    samples = _BAND_SAMPLES.get(device, _BAND_SAMPLES_ELSEWHERE)
    row = items * grid.out_width * grid.deformable_groups * grid.taps
    step = max(1, samples // max(1, row))
    for item in range(0, grid.batch, max(1, items)):
        yield [
            _Band(
                slice(item, item + items),
                slice(top, min(top + step, grid.out_height)),
                slice(top * grid.out_width, min(top + step, grid.out_height) * grid.out_width),
            )
            for top in range(0, grid.out_height, step)
        ]


@dataclass(frozen=True)
class _Places:
    """Where taps and groups lie, the same for every band; the last axis is (group, tap)."""

    grid: _Grid
    y: Tensor
    """Rows at which the taps lie without offsets, (out_h, 1, groups * taps)."""
    x: Tensor
    """Columns at which they lie, (out_w, groups * taps)."""
    start: Tensor
    """Where in the table the pixel (0, 0) of each group lies, (n, 1, 1, groups * taps)."""


def _places(grid: _Grid, dtype: torch.dtype, device: torch.device) -> _Places:
    """Gives the places of a call's taps and tables."""

    def numbers(count: int, kind: torch.dtype = dtype) -> Tensor:
        return torch.arange(count, dtype=kind, device=device)

    y = numbers(grid.out_height) * grid.stride[0] - grid.padding[0]
    x = numbers(grid.out_width) * grid.stride[1] - grid.padding[1]
    tap_y = (numbers(grid.kernel[0]) * grid.dilation[0]).repeat_interleave(grid.kernel[1])
    tap_x = (numbers(grid.kernel[1]) * grid.dilation[1]).repeat(grid.kernel[0])
    # int32 is half the memory traffic of int64, and no picture in sight needs more.
    size = grid.table_height * grid.table_width * grid.deformable_groups
    kind = torch.int32 if grid.batch * size < 2**31 else torch.int64
    origin = numbers(grid.batch, kind) * size + (grid.table_width + 1) * grid.deformable_groups
    start = origin[:, None] + numbers(grid.deformable_groups, kind)
    return _Places(
        grid,
        y[:, None, None] + tap_y.repeat(grid.deformable_groups),
        x[:, None] + tap_x.repeat(grid.deformable_groups),
        start[:, None, None].repeat_interleave(grid.taps, dim=3),
    )


def _columns(
    pixels: Tensor,
    offset: Tensor,
    mask: Tensor | None,
    places: _Places,
    band: _Band,
) -> Tensor:
    """Gives the samples of a band, (items, rows * out_w, groups * taps * channels of a group)."""
    # (n, groups * taps, 2, rows, w) -> (2, n, rows, w, groups * taps), in one copy. Positions need
    # float32 even where the picture is in half precision, which skips whole numbers beyond 2048.
    moved = torch.unflatten(offset[band.items, :, band.rows], 1, (-1, 2)).permute(2, 0, 3, 4, 1)
    dy, dx = moved.to(places.y.dtype).contiguous()
    y, x = _admit(dy + places.y[band.rows], dx + places.x, places.grid)
    y0, x0 = y.detach().floor(), x.detach().floor()
    index = _corner_index(y0, x0, places.grid, places.start[band.items])
    scale = None
    if mask is not None:
        scale = mask[band.items, :, band.rows].permute(0, 2, 3, 1).to(y.dtype).contiguous()
    share = _corner_share(y - y0, x - x0, scale).to(pixels.dtype)
    bags = torch.arange(0, index.numel(), 4, dtype=index.dtype, device=index.device)
    samples = functional.embedding_bag(
        index.view(-1), pixels, bags, mode="sum", per_sample_weights=share.view(-1)
    )
    return samples.view(len(y), -1, places.grid.channels * places.grid.taps)


def _admit(y: Tensor, x: Tensor, grid: _Grid) -> tuple[Tensor, Tensor]:
    """Gives the positions moved into the table such that they read what the border rule says."""
    if grid.border == "fade":
        # At -1 and at the height only zeros are read, as anywhere farther out.
        return y.clamp(-1, grid.height), x.clamp(-1, grid.width)
    inside = (y >= 0) & (y < grid.height) & (x >= 0) & (x < grid.width)
    # (-1, -1) is a zero of the table. Unlike a clamp this does not let values fade.
    return y.where(inside, -1.0), x.where(inside, -1.0)


def _corner_index(y0: Tensor, x0: Tensor, grid: _Grid, start: Tensor) -> Tensor:
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
    corners = (corner, corner + right, corner + below, corner + (below + right))
    return _interleaved([c.view(kind) for c in corners]).view(corner.dtype)


def _corner_share(dy: Tensor, dx: Tensor, scale: Tensor | None) -> Tensor:
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


def _apply_kernel(
    columns: Tensor, kernel: Tensor, grid: _Grid, out: Tensor | None = None
) -> Tensor:
    """Gives the kernel times the columns, (n, out_channels, rows * out_w), in `out` if given."""
    if grid.groups == 1:
        factor = kernel.expand(len(columns), -1, -1)
        return torch.bmm(factor, columns.transpose(1, 2), out=out)
    # Groups cut the channels elsewhere than deformable groups: rearrange to (channel, tap).
    split = torch.unflatten(columns, 2, (grid.deformable_groups, grid.taps, -1)).permute(
        0, 2, 4, 3, 1
    )
    split = split.reshape(len(columns), grid.groups, -1, columns.shape[1])
    product = torch.matmul(kernel, split).flatten(1, 2)
    return product if out is None else out.copy_(product)


def _empty_output(x: Tensor, channels: int, grid: _Grid) -> Tensor:
    """Gives room for the output, (n, channels, out_h * out_w), in the memory format of `x`."""
    last = x.is_contiguous(memory_format=torch.channels_last)
    return torch.empty(
        (grid.batch, channels, grid.out_height, grid.out_width),
        dtype=x.dtype,
        device=x.device,
        memory_format=torch.channels_last if last else torch.contiguous_format,
    ).flatten(2)


def _grid(  # noqa: PLR0917 - all of the call's arguments are checked against each other
    x: Tensor,
    offset: Tensor,
    weight: Tensor,
    mask: Tensor | None,
    stride: tuple[int, int],
    padding: tuple[int, int],
    dilation: tuple[int, int],
    border: Border,
) -> _Grid:
    """Gives the sizes of a call, or raises ValueError where they do not fit together."""
    batch, channels, height, width = x.shape
    out_channels, group_channels, *kernel = weight.shape
    size = (height, width)
    out = [
        (size[i] + 2 * padding[i] - dilation[i] * (kernel[i] - 1) - 1) // stride[i] + 1
        for i in (0, 1)
    ]
    taps = kernel[0] * kernel[1]
    groups = channels // group_channels
    _require(
        groups * group_channels == channels and out_channels % max(1, groups) == 0,
        f"the weight {tuple(weight.shape)} does not fit {channels} input channels",
        "channels to be a multiple of weight.shape[1], and weight.shape[0] of the groups",
    )
    deformable_groups = offset.shape[1] // (2 * taps)
    _require(
        deformable_groups > 0
        and tuple(offset.shape) == (batch, deformable_groups * taps * 2, *out)
        and channels % deformable_groups == 0,
        f"the offset {tuple(offset.shape)} does not fit input {tuple(x.shape)}",
        f"({batch}, deformable_groups * {taps * 2}, {out[0]}, {out[1]}), and {channels} channels "
        "to be a multiple of deformable_groups",
    )
    _require(
        mask is None or tuple(mask.shape) == (batch, deformable_groups * taps, *out),
        f"the mask {() if mask is None else tuple(mask.shape)} does not fit the offset",
        f"({batch}, {deformable_groups * taps}, {out[0]}, {out[1]})",
    )
    _require(border in ("fade", "hold"), f"no border rule {border!r}", "one of fade, hold")
    return _Grid(
        batch,
        channels,
        height,
        width,
        out[0],
        out[1],
        (kernel[0], kernel[1]),
        stride,
        padding,
        dilation,
        groups,
        deformable_groups,
        border,
    )


def _require(condition: bool, found: str, expected: str) -> None:
    if not condition:
        message = f"deformable convolution: {found}; expected {expected}"
        raise ValueError(message)


def _pair(value: Pair) -> tuple[int, int]:
    return (value, value) if isinstance(value, int) else value
