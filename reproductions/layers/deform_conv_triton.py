"""The samples of a deformable convolution, gathered by one Triton kernel on a CUDA device.

A sample is the sum of four pixels, each times its weight. The plain path (deform_sampling.py)
writes the numbers and weights of the four pixels to memory, 32 bytes for each sample, and reads
them again; the kernel keeps them in registers and writes nothing but the samples. The product with
the convolution's weight remains PyTorch's in both paths, so that it rounds as the record says (TF32
or not). Positions, weights and sums are float32 also where the picture is in half precision.

Only without gradients. Agreement with the plain path was seen in Triton's interpreter, and that the
kernel compiles for CUDA devices; no GPU was at hand, so nothing here was timed, nor were the sizes
of the blocks chosen by timing: tests/benchmarks/test_deform_conv_gpu.py is there to be run.
"""

from functools import cache
from typing import Any

import torch
import triton
import triton.language as tl
from torch import Tensor
from triton.runtime.interpreter import InterpretedFunction

from reproductions.layers.deform_sampling import Grid

DTYPES = (torch.float32, torch.float16, torch.bfloat16)
"""What pictures, offsets and masks may be in."""

OPTIONS = {"enable_fp_fusion": False}
"""How Triton compiles: no product is fused with a sum, so that the sums round on a GPU as in the
interpreter. Unsaid, that would depend on Triton's version."""

# Values that a program holds of each of the four pixels; 8 a thread with Triton's four warps.
_BLOCK_VALUES = 1024
_MOST_BLOCK_CHANNELS = 64


def columns(
    x: Tensor, moved: Tensor, scale: Tensor | None, grid: Grid, top: int, *, rows: int
) -> Tensor:
    """Gives the samples of some output rows, (n, rows * out_w, groups * taps * their channels).

    x: (n, channels, h, w), fastest in channels last. moved: the offsets along y and x of those
    rows, in pixels, (2, n, rows, out_w, groups * taps) in the order "group, tap", any strides.
    scale: the mask, likewise, or None. top: the first of the rows. On CPU tensors it runs in
    Triton's interpreter.
    """
    found: Tensor = _columns(
        x,
        moved,
        scale,
        list(grid.kernel),
        list(grid.stride),
        list(grid.padding),
        list(grid.dilation),
        grid.deformable_groups,
        grid.border == "hold",
        top,
        rows,
    )
    return found


def constants(channels: int, kernel_width: int, *, hold: bool, masked: bool) -> dict[str, Any]:
    """What the kernel is compiled for, beside types; channels: those of a deformable group."""
    block = min(triton.next_power_of_2(channels), _MOST_BLOCK_CHANNELS)
    return {
        "CHANNELS": channels,
        "KERNEL_WIDTH": kernel_width,
        "HOLD": hold,
        "MASKED": masked,
        "BLOCK_PIXELS": _BLOCK_VALUES // block,
        "BLOCK_CHANNELS": block,
    }


def gather(  # noqa: PLR0915, PLR0917 - Triton inlines all; pointers, sizes and strides
    columns: torch.Tensor,
    x: torch.Tensor,
    moved: torch.Tensor,
    scale: torch.Tensor,
    top: int,
    pixels: int,
    out_width: int,
    samples: int,
    taps: int,
    height: int,
    width: int,
    step_y: int,
    step_x: int,
    padding_y: int,
    padding_x: int,
    dilation_y: int,
    dilation_x: int,
    x_item: int,
    x_channel: int,
    x_row: int,
    x_column: int,
    moved_axis: int,
    moved_item: int,
    moved_row: int,
    moved_column: int,
    moved_sample: int,
    scale_item: int,
    scale_row: int,
    scale_column: int,
    scale_sample: int,
    CHANNELS: tl.constexpr,  # noqa: N803 - Triton's way to write what is compiled in
    KERNEL_WIDTH: tl.constexpr,  # noqa: N803
    HOLD: tl.constexpr,  # noqa: N803
    MASKED: tl.constexpr,  # noqa: N803
    BLOCK_PIXELS: tl.constexpr,  # noqa: N803
    BLOCK_CHANNELS: tl.constexpr,  # noqa: N803
) -> None:
    """Writes one sample of a block of pixels: the kernel's text, which Triton compiles.

    Programs are numbered (item, block, sample), the sample fastest, so that programs that run at
    one time read near pixels and write to the same rows.
    """
    program = tl.program_id(0)
    sample = program % samples
    blocks = (pixels + BLOCK_PIXELS - 1) // BLOCK_PIXELS
    block = program // samples % blocks
    item = (program // samples // blocks).to(tl.int64)
    group = sample // taps
    tap = sample % taps

    pixel = (block * BLOCK_PIXELS + tl.arange(0, BLOCK_PIXELS)).to(tl.int64)
    live = pixel < pixels
    row = pixel // out_width
    column = pixel % out_width

    at = item * moved_item + row * moved_row + column * moved_column + sample * moved_sample
    dy = tl.load(moved + at, mask=live, other=0.0).to(tl.float32)
    dx = tl.load(moved + moved_axis + at, mask=live, other=0.0).to(tl.float32)
    place_y = (top + row) * step_y - padding_y + tap // KERNEL_WIDTH * dilation_y
    place_x = column * step_x - padding_x + tap % KERNEL_WIDTH * dilation_x
    y = dy + place_y.to(tl.float32)
    x_ = dx + place_x.to(tl.float32)

    if HOLD:
        counts = (y >= 0) & (y < height) & (x_ >= 0) & (x_ < width)
        y = tl.where(counts, y, -1.0)
        x_ = tl.where(counts, x_, -1.0)
    else:
        # Nothing is read from -1 and from the height on. What is not a number stays so, as in the
        # plain path: `where` lets it through, a minimum would not.
        counts = live
        y = tl.where(y < -1.0, -1.0, y)
        y = tl.where(y > height, height * 1.0, y)
        x_ = tl.where(x_ < -1.0, -1.0, x_)
        x_ = tl.where(x_ > width, width * 1.0, x_)
    floor_y = tl.floor(y)
    floor_x = tl.floor(x_)
    part_y = y - floor_y
    part_x = x_ - floor_x
    lower = part_y
    upper = 1.0 - part_y
    if MASKED:
        at = item * scale_item + row * scale_row + column * scale_column + sample * scale_sample
        strength = tl.load(scale + at, mask=live, other=0.0).to(tl.float32)
        lower = lower * strength
        upper = upper * strength
    upper_right = upper * part_x
    lower_right = lower * part_x
    upper_left = upper - upper_right
    lower_left = lower - lower_right

    y0 = floor_y.to(tl.int32)
    x0 = floor_x.to(tl.int32)
    y1 = y0 + 1
    x1 = x0 + 1
    if HOLD:
        y1 = tl.where(y1 < height, y1, height - 1)
        x1 = tl.where(x1 < width, x1, width - 1)
    # Whatever the offsets are, no address outside of the picture is read.
    in_y0 = live & counts & (y0 >= 0) & (y0 < height)
    in_y1 = live & counts & (y1 >= 0) & (y1 < height)
    in_x0 = (x0 >= 0) & (x0 < width)
    in_x1 = (x1 >= 0) & (x1 < width)
    row0 = item * x_item + y0.to(tl.int64) * x_row
    row1 = item * x_item + y1.to(tl.int64) * x_row
    column0 = x0.to(tl.int64) * x_column
    column1 = x1.to(tl.int64) * x_column

    written = ((item * pixels + pixel) * samples + sample) * CHANNELS
    for first in range(0, CHANNELS, BLOCK_CHANNELS):
        channel = first + tl.arange(0, BLOCK_CHANNELS)
        known = (channel < CHANNELS)[None, :]
        plane = ((group * CHANNELS + channel) * x_channel)[None, :]
        value = upper_left[:, None] * tl.load(
            x + (row0 + column0)[:, None] + plane, mask=(in_y0 & in_x0)[:, None] & known, other=0.0
        ).to(tl.float32)
        value += upper_right[:, None] * tl.load(
            x + (row0 + column1)[:, None] + plane, mask=(in_y0 & in_x1)[:, None] & known, other=0.0
        ).to(tl.float32)
        value += lower_left[:, None] * tl.load(
            x + (row1 + column0)[:, None] + plane, mask=(in_y1 & in_x0)[:, None] & known, other=0.0
        ).to(tl.float32)
        value += lower_right[:, None] * tl.load(
            x + (row1 + column1)[:, None] + plane, mask=(in_y1 & in_x1)[:, None] & known, other=0.0
        ).to(tl.float32)
        tl.store(
            columns + written[:, None] + channel[None, :],
            value,
            mask=live[:, None] & known,
        )


# One operator for PyTorch, so that torch.compile need not look inside.
@torch.library.custom_op(
    "vsr_reproductions::deformable_columns",
    mutates_args=(),
    schema="(Tensor x, Tensor moved, Tensor? scale, int[] kernel, int[] stride, int[] padding, "
    "int[] dilation, int deformable_groups, bool hold, int top, int rows) -> Tensor",
)
def _columns(  # noqa: PLR0917 - an operator's arguments
    x: Tensor,
    moved: Tensor,
    scale: Tensor | None,
    kernel: list[int],
    stride: list[int],
    padding: list[int],
    dilation: list[int],
    deformable_groups: int,
    hold: bool,
    top: int,
    rows: int,
) -> Tensor:
    batch, channels, height, width = x.shape
    out_width, samples = moved.shape[3:]
    pixels, group = rows * out_width, channels // deformable_groups
    out = x.new_empty(batch, pixels, samples * group)
    if not out.numel():
        return out
    fixed = constants(group, kernel[1], hold=hold, masked=scale is not None)
    # Without a mask any tensor will do: the kernel does not read it.
    masks = moved[0] if scale is None else scale
    blocks = triton.cdiv(pixels, fixed["BLOCK_PIXELS"])
    with torch.cuda.device(x.get_device()):
        _compiled(x.device.type == "cpu")[(batch * blocks * samples,)](
            out,
            x,
            moved,
            masks,
            top,
            pixels,
            out_width,
            samples,
            kernel[0] * kernel[1],
            height,
            width,
            *stride,
            *padding,
            *dilation,
            *x.stride(),
            *moved.stride(),
            *masks.stride(),
            **fixed,
            **OPTIONS,
        )
    return out


@_columns.register_fake
def _(x: Tensor, moved: Tensor, *rest: Any) -> Tensor:  # noqa: ANN401 - as the operator's
    *_, deformable_groups, _hold, _top, rows = rest
    samples = x.shape[1] // deformable_groups * moved.shape[4]
    return x.new_empty(len(x), rows * moved.shape[3], samples)


@cache
def _compiled(interpreted: bool) -> Any:  # noqa: ANN401 - Triton is untyped
    return InterpretedFunction(gather) if interpreted else triton.jit(gather)
