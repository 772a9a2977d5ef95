"""Deformable convolution, version 1 and version 2, in plain PyTorch.

Every tap k of a convolution reads the picture not at its fixed place p_k but at p_k + dp_k, between
the pixels, and version 2 scales what it read by dm_k (Dai et al. 2017, equation 2; Zhu et al. 2019,
equation 1):

    y(p) = sum_k  w_k . x(p + p_k + dp_k) . dm_k

A bilinear sample is a weighted sum of four pixels, so a band of output rows takes three steps: the
number and weight of the four pixels of each sample, one `embedding_bag` that gathers and sums them,
and one matrix product with w. Bands keep the intermediate values in the cache and the memory small.

On a CUDA device where Triton is installed one kernel takes the first two steps
(deform_conv_triton.py), unless gradients are wanted; float32 differs by rounding only, less than
1e-5. The variable `BENCH_TRITON` says otherwise: 0 for this path everywhere, `interpret` for the
kernel on CPUs too, in Triton's interpreter, which is slow and there to test the kernel.
"""

import importlib.util
import math
import os
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cache, partial
from itertools import chain

import torch
from torch import Tensor, nn
from torch.utils.checkpoint import checkpoint

from bench.errors import BenchError
from reproductions.layers import deform_sampling as sampling
from reproductions.layers.deform_sampling import Border, Grid, Places

__all__ = ["Border", "DeformConv", "deform_conv2d"]

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
    moved = torch.unflatten(offset, 1, (-1, 2)).permute(2, 0, 3, 4, 1)
    scale = None if mask is None else mask.permute(0, 2, 3, 1)
    return _convolve(x, moved, scale, weight, bias, grid)


def _convolve(  # noqa: PLR0917 - a convolution's tensors
    x: Tensor,
    moved: Tensor,
    scale: Tensor | None,
    weight: Tensor,
    bias: Tensor | None,
    grid: Grid,
) -> Tensor:
    """Gives the deformable convolution of `x`.

    moved: offsets along y and x, (2, n, out_h, out_w, groups * taps), any strides. scale: the
    mask, likewise.
    """
    kernel = _kernel_matrix(weight, grid)
    tensors = (x, moved, weight, bias, scale)
    tracked = torch.is_grad_enabled() and any(t is not None and t.requires_grad for t in tensors)
    if not tracked and _by_triton(x, moved, scale):
        out = _gathered_by_triton(x, moved, scale, kernel, grid)
        return _with_bias(out, bias, grid)
    pixels = sampling.pixel_table(x, grid)
    places = sampling.places(grid, torch.promote_types(moved.dtype, torch.float32), x.device)

    def result(
        band: _Band, pixels: Tensor, moved: Tensor, scale: Tensor | None, kernel: Tensor
    ) -> Tensor:
        return _apply_kernel(_columns(pixels, moved, scale, places, band), kernel, grid)

    if tracked:
        # A checkpoint keeps nothing for the way back but what all bands share.
        track = partial(checkpoint, result, use_reentrant=False, preserve_rng_state=False)
        items = [
            torch.cat([track(band, pixels, moved, scale, kernel) for band in bands], dim=2)
            for bands in _bands(grid, x.device.type)
        ]
        out = torch.cat(items)
    else:
        out = _empty_output(x, len(weight), grid)
        for band in chain.from_iterable(_bands(grid, x.device.type)):
            columns = _columns(pixels, moved, scale, places, band)
            _apply_kernel(columns, kernel, grid, out[band.items, :, band.pixels])
    return _with_bias(out, bias, grid)


def _with_bias(out: Tensor, bias: Tensor | None, grid: Grid) -> Tensor:
    """Gives `out`, (n, out_channels, out_h * out_w), with the bias and with rows and columns."""
    if bias is not None:
        out = out + bias[:, None] if out.requires_grad else out.add_(bias[:, None])
    return torch.unflatten(out, 2, (grid.out_height, grid.out_width))


def _gathered_by_triton(
    x: Tensor, moved: Tensor, scale: Tensor | None, kernel: Tensor, grid: Grid
) -> Tensor:
    """Gives the convolution without its bias, (n, out_channels, out_h * out_w)."""
    from reproductions.layers import deform_conv_triton

    out = _empty_output(x, kernel.shape[0] * kernel.shape[1], grid)
    # The channels of a pixel side by side are one piece of memory to read.
    x = x.contiguous(memory_format=torch.channels_last)
    for band in chain.from_iterable(_bands(grid, x.device.type)):
        columns = deform_conv_triton.columns(
            x[band.items],
            moved[:, band.items, band.rows],
            None if scale is None else scale[band.items, band.rows],
            grid,
            band.rows.start,
            rows=band.rows.stop - band.rows.start,
        )
        _apply_kernel(columns, kernel, grid, out[band.items, :, band.pixels])
    return out


def _by_triton(x: Tensor, moved: Tensor, scale: Tensor | None) -> bool:
    """Whether the kernel takes these tensors."""
    if not _triton_serves(x.device.type):
        return False
    from reproductions.layers.deform_conv_triton import DTYPES

    return all(t is None or t.dtype in DTYPES for t in (x, moved, scale))


@torch.compiler.assume_constant_result  # type: ignore[untyped-decorator]
def _triton_serves(device: str) -> bool:
    """Whether the kernel is wanted on a device of this type, and Triton is there."""
    match os.environ.get("BENCH_TRITON", "1"):
        case "0":
            return False
        case "1":
            return device == "cuda" and _triton_is_installed()
        case "interpret":
            return device in {"cpu", "cuda"} and _triton_is_installed()
        case other:
            raise BenchError(
                f"BENCH_TRITON is {other!r}",
                expected="0, 1 or interpret",
                todo="unset it, and the kernel is used where there is a CUDA device",
            )


@cache
def _triton_is_installed() -> bool:
    return importlib.util.find_spec("triton") is not None


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
        n, channels, h, w = x.shape
        groups = self.offset_channels // 18
        grid = Grid(n, channels, h, w, h, w, deformable_groups=groups, border=self.border)
        runs = sampling.offsets(self.conv_offset, offset_features, groups, 9, "group, tap")
        moved = torch.unflatten(runs[..., : self.offset_channels], 3, (2, -1))
        scale = runs[..., self.offset_channels :].sigmoid() if self.mask_channels else None
        return _convolve(x, moved.permute(3, 0, 1, 2, 4), scale, self.weight, self.bias, grid)


def _kernel_matrix(weight: Tensor, grid: Grid) -> Tensor:
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


def _bands(grid: Grid, device: str) -> Iterator[list[_Band]]:
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


def _columns(
    pixels: Tensor,
    moved: Tensor,
    scale: Tensor | None,
    places: Places,
    band: _Band,
) -> Tensor:
    """Gives the samples of a band, (items, rows * out_w, groups * taps * channels of a group)."""
    # Positions need float32 even where the picture is in half precision, which skips whole numbers
    # beyond 2048.
    dy, dx = _along_samples(moved[:, band.items, band.rows].to(places.y.dtype))
    if scale is not None:
        scale = _along_samples(scale[band.items, band.rows].to(places.y.dtype))
    start = places.start[band.items]
    samples = sampling.corners(dy, dx, scale, places, start, band.rows).read(pixels)
    return samples.view(len(dy), -1, places.grid.channels * places.grid.taps)


def _along_samples(x: Tensor) -> Tensor:
    """Gives `x` with the samples of a pixel, its last axis, side by side in memory."""
    return x if x.stride(-1) == 1 else x.contiguous()


def _apply_kernel(columns: Tensor, kernel: Tensor, grid: Grid, out: Tensor | None = None) -> Tensor:
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


def _empty_output(x: Tensor, channels: int, grid: Grid) -> Tensor:
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
) -> Grid:
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
    return Grid(
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
