"""Laws and golden values of the deformable convolution."""

import subprocess
import sys

import parity
import pytest
import torch
from torch import Tensor
from torch.nn import functional

from reproductions.layers import deform_conv
from reproductions.layers.deform_conv import Border, DeformConv, deform_conv2d


def rand(*shape: int, seed: int = 0, dtype: torch.dtype = torch.float64) -> Tensor:
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed), dtype=dtype)


@pytest.mark.parametrize("dtype", [torch.float64, torch.float32])
@pytest.mark.parametrize("name", ["v1", "v2", "v1_old_border"])
def test_golden(name: str, dtype: torch.dtype) -> None:
    """Stored by torchvision and by the TDAN author's kernel, in float64."""
    a = {key: value.to(dtype) for key, value in parity.arrays("dcn", "case").items()}
    found = deform_conv2d(
        a["x"][None],
        a["offset"][None],
        a["weight"],
        a["bias"] if name == "v2" else None,
        mask=a["mask"][None] if name == "v2" else None,
        padding=1,
        border="hold" if name == "v1_old_border" else "fade",
    )
    # float64 arrays are stored as such here; float32 leaves its rounding.
    tolerance = 1e-12 if dtype == torch.float64 else 1e-6
    assert parity.relative_error(found[0], a[name]) < tolerance


@pytest.mark.parametrize("groups", [1, 2, 4])
@pytest.mark.parametrize("deformable_groups", [1, 2, 8])
@pytest.mark.parametrize(
    ("stride", "padding", "dilation"), [(1, 1, 1), (2, 0, 1), ((2, 1), (0, 3), (1, 2))]
)
def test_zero_offsets_are_a_convolution(
    groups: int,
    deformable_groups: int,
    stride: int | tuple[int, int],
    padding: int | tuple[int, int],
    dilation: int | tuple[int, int],
) -> None:
    x, weight, bias = rand(2, 16, 9, 11), rand(12, 16 // groups, 3, 2, seed=1), rand(12, seed=2)
    expected = functional.conv2d(x, weight, bias, stride, padding, dilation, groups)
    n, _, h, w = expected.shape
    found = deform_conv2d(
        x,
        x.new_zeros(n, deformable_groups * 6 * 2, h, w),
        weight,
        bias,
        mask=x.new_ones(n, deformable_groups * 6, h, w),
        stride=stride,
        padding=padding,
        dilation=dilation,
    )
    torch.testing.assert_close(found, expected)


@pytest.mark.parametrize("border", ["fade", "hold"])
@pytest.mark.parametrize(("dy", "dx"), [(0, 1), (2, 0), (-1, 3), (-2, -1), (40, 0)])
def test_an_integer_offset_is_a_shift(border: Border, dy: int, dx: int) -> None:
    """Under both border rules: what lies outside is zero at whole pixels."""
    x, weight = rand(1, 4, 8, 10), rand(3, 4, 3, 3, seed=1)
    offset = x.new_zeros(1, 2 * 9, 2, 8, 10)
    offset[:, :, 0], offset[:, :, 1] = dy, dx
    margin = 50
    wide = functional.pad(x, (margin,) * 4)
    moved = wide.roll((-dy, -dx), dims=(2, 3))[
        ..., margin - 1 : margin + 9, margin - 1 : margin + 11
    ]
    found = deform_conv2d(x, offset.flatten(1, 2), weight, padding=1, border=border)
    torch.testing.assert_close(found, functional.conv2d(moved, weight))


def test_border_rules_in_one_dimension() -> None:
    """A row of ones, read from -1.5 to 3.5: fade reaches zero one pixel outside, hold stops."""
    position = torch.tensor([-1.5, -0.5, -0.25, 0.0, 1.5, 2.0, 2.25, 2.75, 3.0, 3.5]).double()
    ones, weight = position.new_ones(1, 1, 1, 3), position.new_ones(1, 1, 1, 1)
    expected: dict[Border, list[float]] = {
        "fade": [0, 0.5, 0.75, 1, 1, 1, 0.75, 0.25, 0, 0],
        "hold": [0, 0, 0, 1, 1, 1, 1, 1, 0, 0],
    }
    for border, values in expected.items():
        found = [
            deform_conv2d(
                ones,
                torch.stack((p * 0, p)).view(1, 2, 1, 1).expand(1, 2, 1, 3).clone(),
                weight,
                border=border,
            )[0, 0, 0, 0].item()
            for p in position
        ]
        assert found == pytest.approx(values), border


def reference(x: Tensor, offset: Tensor, weight: Tensor, mask: Tensor) -> Tensor:
    """The same by grid_sample, 3x3 and padding 1: an independent way to sample."""
    n, c, h, w = x.shape
    groups = offset.shape[1] // 18
    offset = offset.view(n, groups, 9, 2, h, w)
    ys, xs = torch.meshgrid(torch.arange(h), torch.arange(w), indexing="ij")
    taps = []
    for tap in range(9):
        y = ys + tap // 3 - 1 + offset[:, :, tap, 0]
        x_ = xs + tap % 3 - 1 + offset[:, :, tap, 1]
        place = torch.stack(((2 * x_ + 1) / w - 1, (2 * y + 1) / h - 1), dim=-1)
        sampled = functional.grid_sample(
            x.reshape(n * groups, c // groups, h, w), place.flatten(0, 1), align_corners=False
        )
        sampled = sampled.view(n, groups, -1, h, w) * mask.view(n, groups, 9, 1, h, w)[:, :, tap]
        taps.append(sampled.reshape(n, c, h, w))
    return torch.einsum("nckhw,ock->nohw", torch.stack(taps, 2), weight.flatten(2))


def example(seed: int = 0, scale: float = 2.5) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    return (
        rand(2, 16, 13, 17, seed=seed),
        scale * rand(2, 4 * 18, 13, 17, seed=seed + 1),
        rand(6, 16, 3, 3, seed=seed + 2),
        rand(2, 4 * 9, 13, 17, seed=seed + 3).sigmoid(),
    )


def test_agrees_with_grid_sample() -> None:
    x, offset, weight, mask = example()
    found = deform_conv2d(x, offset, weight, mask=mask, padding=1)
    torch.testing.assert_close(found, reference(x, offset, weight, mask))


@pytest.mark.parametrize("border", ["fade", "hold"])
def test_with_and_without_gradients_agree(border: Border) -> None:
    x, offset, weight, mask = example()
    plain = deform_conv2d(x, offset, weight, mask=mask, padding=1, border=border)
    tracked = deform_conv2d(x.requires_grad_(), offset, weight, mask=mask, padding=1, border=border)
    assert not plain.requires_grad
    assert tracked.requires_grad
    torch.testing.assert_close(plain, tracked.detach())


def test_gradients_agree_with_grid_sample() -> None:
    inputs = [t.requires_grad_() for t in example()]
    x, offset, weight, mask = inputs
    found = deform_conv2d(x, offset, weight, mask=mask, padding=1)
    expected = reference(x, offset, weight, mask)
    for a, b in zip(
        torch.autograd.grad(found.square().sum(), inputs),
        torch.autograd.grad(expected.square().sum(), inputs),
        strict=True,
    ):
        torch.testing.assert_close(a, b)


@pytest.mark.parametrize("groups", [1, 2])
@pytest.mark.parametrize("border", ["fade", "hold"])
def test_gradcheck(border: Border, groups: int) -> None:
    x, weight, bias = rand(2, 4, 3, 4), rand(2, 4 // groups, 3, 2, seed=1), rand(2, seed=2)
    # Whole positions are kinks of the bilinear sample, where a difference quotient says nothing.
    offset = (1.5 * rand(2, 2 * 12, 3, 5, seed=3)).clamp(-2.9, 2.9)
    offset = offset.floor() + 0.1 + 0.8 * (offset - offset.floor())
    mask = rand(2, 2 * 6, 3, 5, seed=4).sigmoid()
    inputs = tuple(t.requires_grad_() for t in (x, offset, weight, bias, mask))

    def call(*tensors: Tensor) -> Tensor:
        return deform_conv2d(*tensors[:4], mask=tensors[4], padding=1, border=border)

    assert torch.autograd.gradcheck(call, inputs)


def test_bands_change_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    x, offset, weight, mask = example()
    whole = deform_conv2d(x, offset, weight, mask=mask, padding=1)
    monkeypatch.setattr(deform_conv, "_BAND_SAMPLES", {"cpu": 1})
    banded = deform_conv2d(x, offset, weight, mask=mask, padding=1)
    torch.testing.assert_close(whole, banded, rtol=0, atol=1e-13)


def test_a_batch_is_its_items() -> None:
    x, offset, weight, mask = example()
    batch = deform_conv2d(x, offset, weight, mask=mask, padding=1)
    for i in range(2):
        item = slice(i, i + 1)
        found = deform_conv2d(x[item], offset[item], weight, mask=mask[item], padding=1)
        torch.testing.assert_close(batch[item], found, rtol=0, atol=1e-13)


def test_memory_format_changes_nothing() -> None:
    x, offset, weight, mask = example()
    last = [t.contiguous(memory_format=torch.channels_last) for t in (x, offset, mask)]
    expected = deform_conv2d(x, offset, weight, mask=mask, padding=1)
    found = deform_conv2d(last[0], last[1], weight, mask=last[2], padding=1)
    torch.testing.assert_close(found, expected, rtol=0, atol=1e-13)


@pytest.mark.parametrize("border", ["fade", "hold"])
@pytest.mark.parametrize("value", [float("nan"), float("inf"), -float("inf"), 1e30])
def test_absurd_offsets_read_no_foreign_memory(value: float, border: Border) -> None:
    x, offset, weight, mask = example()
    offset = torch.full_like(offset, value)
    found = deform_conv2d(x, offset, weight, mask=mask, padding=1, border=border)
    assert found.shape == (2, 6, 13, 17)


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16])
def test_half_precision(dtype: torch.dtype) -> None:
    x, offset, weight, mask = example()
    expected = deform_conv2d(x, offset.to(dtype).double(), weight, mask=mask, padding=1)
    found = deform_conv2d(
        x.to(dtype), offset.to(dtype), weight.to(dtype), mask=mask.to(dtype), padding=1
    )
    assert found.dtype == dtype
    # Eight bits of mantissa, sums of 144 products.
    assert parity.relative_error(found, expected) < 1e-2


@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a GPU")
@pytest.mark.parametrize("border", ["fade", "hold"])
def test_gpu_agrees_with_cpu(border: Border) -> None:
    inputs = [t.requires_grad_() for t in example()]
    found = {}
    for device in ("cpu", "cuda"):
        x, offset, weight, mask = (t.to(device) for t in inputs)
        out = deform_conv2d(x, offset, weight, mask=mask, padding=1, border=border)
        found[device] = [out.detach().cpu(), *torch.autograd.grad(out.square().sum().cpu(), inputs)]
    for a, b in zip(found["cpu"], found["cuda"], strict=True):
        torch.testing.assert_close(a, b)


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"offset": rand(2, 71, 13, 17)}, "offset"),
        ({"offset": rand(2, 72, 13, 16)}, "offset"),
        ({"mask": rand(2, 35, 13, 17)}, "mask"),
        ({"weight": rand(6, 5, 3, 3)}, "weight"),
        ({"border": "mirror"}, "fade, hold"),
    ],
)
def test_shapes_that_do_not_fit(change: dict[str, Tensor], words: str) -> None:
    x, offset, weight, mask = example()
    arguments = {"offset": offset, "weight": weight, "mask": mask, "padding": 1} | change
    with pytest.raises(ValueError, match=words):
        deform_conv2d(x, **arguments)  # type: ignore[arg-type]


def test_indices_survive_where_tiny_floats_do_not() -> None:
    """Table rows are interleaved as if they were floats, and as such they are tiny."""
    x, offset, weight, mask = (t.float() for t in example())
    expected = deform_conv2d(x, offset, weight, mask=mask, padding=1)
    torch.set_flush_denormal(True)
    try:
        found = deform_conv2d(x, offset, weight, mask=mask, padding=1)
    finally:
        torch.set_flush_denormal(False)
    assert torch.equal(found, expected)


def test_pictures_that_float32_cannot_number() -> None:
    """The table has more than 2**24 pixels; every sample must still find its own."""
    width = 2**22 + 5
    x = rand(1, 1, 1, width, dtype=torch.float32)
    offset = x.new_zeros(1, 2, 1, width)
    offset[:, 1] = 1
    found = deform_conv2d(x, offset, x.new_ones(1, 1, 1, 1))
    assert torch.equal(found[..., :-1], x[..., 1:])
    assert found[..., -1].item() == 0


def test_an_untrained_layer_is_a_convolution() -> None:
    layer = DeformConv(16, 4, modulated=False).double()
    x = rand(1, 16, 6, 7)
    with torch.no_grad():
        found = layer(x, rand(1, 16, 6, 7, seed=1))
        torch.testing.assert_close(found, functional.conv2d(x, layer.weight, padding=1))


def test_the_memory_format_of_the_input_carries_over() -> None:
    x, offset, weight, mask = example()
    last = x.contiguous(memory_format=torch.channels_last)
    for given, memory_format in ((x, torch.contiguous_format), (last, torch.channels_last)):
        found = deform_conv2d(given, offset, weight, mask=mask, padding=1)
        assert found.is_contiguous(memory_format=memory_format)


MEMORY = """
import resource, torch
from reproductions.layers.deform_conv import deform_conv2d
torch.set_num_threads(1)
peak = lambda: resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
shape = (180, 320)
x, offset = torch.zeros(1, 128, *shape), torch.zeros(1, 144, *shape)
weight, mask = torch.zeros(128, 128, 3, 3), torch.zeros(1, 72, *shape)
before = peak()
with torch.inference_mode():
    deform_conv2d(x, offset, weight, mask=mask, padding=1)
plain = peak() - before
tensors = [t.requires_grad_() for t in (x, offset, weight, mask)]
torch.autograd.grad(
    deform_conv2d(x, offset, weight, mask=mask, padding=1).sum(), tensors
)
print(plain, peak() - before)
"""


@pytest.mark.skipif(sys.platform != "linux", reason="ru_maxrss is in KiB on Linux only")
def test_memory_is_bounded() -> None:
    """128 channels at 180x320; all samples at once would take 1.2 GB for the four pixels alone."""
    done = subprocess.run(
        [sys.executable, "-c", MEMORY], capture_output=True, text=True, check=True
    )
    inference, training = (int(kib) * 1024 for kib in done.stdout.split())
    assert inference < 0.25e9
    assert training < 0.75e9
