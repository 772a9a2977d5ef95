"""The Triton kernel beside the plain path, in Triton's interpreter and as CUDA code."""

from __future__ import annotations

import itertools

import parity
import pytest
import torch

from bench.errors import BenchError
from reproductions.layers import deform_conv
from reproductions.layers.deform_conv import DeformConv, deform_conv2d

triton = pytest.importorskip("triton", reason="Triton is not installed")
from reproductions.layers import deform_conv_triton  # noqa: E402 - it imports Triton


def rand(*shape, seed=0, dtype=torch.float32):
    drawn = torch.randn(*shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)
    return drawn.to(dtype)


def example(channels=8, deformable_groups=2, groups=1, size=(6, 7), masked=True):
    """Offsets that reach beyond the border, some of them whole numbers."""
    batch, taps = 2, 9
    offset = 2.5 * rand(batch, deformable_groups * taps * 2, *size, seed=1)
    offset[:, :2] = offset[:, :2].round()
    mask = rand(batch, deformable_groups * taps, *size, seed=3).sigmoid() if masked else None
    x = rand(batch, channels, *size)
    weight = rand(2 * groups, channels // groups, 3, 3, seed=2)
    return {"x": x, "offset": offset, "weight": weight, "mask": mask, "padding": 1}


@pytest.fixture
def both(monkeypatch):
    """Calls a function on both paths: the kernel's result and the plain one."""

    def call(function):
        monkeypatch.setenv("BENCH_TRITON", "interpret")
        found = function()
        monkeypatch.setenv("BENCH_TRITON", "0")
        return found, function()

    return call


@pytest.fixture
def calls(monkeypatch):
    """The bands that the kernel was asked for."""
    seen = []
    columns = deform_conv_triton.columns

    def counted(*arguments, **named):
        seen.append(named["rows"])
        return columns(*arguments, **named)

    monkeypatch.setattr(deform_conv_triton, "columns", counted)
    return seen


@pytest.mark.parametrize("name", ["v1", "v2", "v1_old_border"])
def test_golden(name, monkeypatch, calls):
    """Stored by torchvision and by the TDAN author's kernel, in float64."""
    monkeypatch.setenv("BENCH_TRITON", "interpret")
    a = {key: value.float() for key, value in parity.arrays("dcn", "case").items()}
    found = deform_conv2d(
        a["x"][None],
        a["offset"][None],
        a["weight"],
        a["bias"] if name == "v2" else None,
        mask=a["mask"][None] if name == "v2" else None,
        padding=1,
        border="hold" if name == "v1_old_border" else "fade",
    )
    assert calls
    assert parity.relative_error(found[0], a[name]) < 1e-6


@pytest.mark.parametrize("masked", [True, False])
@pytest.mark.parametrize("border", ["fade", "hold"])
@pytest.mark.parametrize("channels", [(8, 2, 1), (6, 2, 3), (12, 4, 2), (70, 1, 1)])
def test_agrees_with_the_plain_path(both, border, masked, channels):
    """Channels, deformable groups and groups; 70 of a group are more than a block of the kernel."""
    given = example(*channels, masked=masked)
    found, expected = both(lambda: deform_conv2d(**given, border=border))
    assert parity.relative_error(found, expected) < 1e-6


@pytest.mark.parametrize("border", ["fade", "hold"])
@pytest.mark.parametrize(("stride", "dilation"), [((2, 1), 1), (1, (1, 2)), (2, (2, 1))])
def test_stride_and_dilation(both, border, stride, dilation):
    x, weight = rand(1, 4, 9, 8), rand(3, 4, 3, 2, seed=1)
    sizes = {"stride": stride, "padding": (0, 3), "dilation": dilation}
    out = torch.nn.functional.conv2d(x, weight, **sizes).shape[2:]
    offset, mask = 2 * rand(1, 2 * 12, *out, seed=2), rand(1, 2 * 6, *out, seed=3).sigmoid()
    found, expected = both(
        lambda: deform_conv2d(x, offset, weight, mask=mask, border=border, **sizes)
    )
    assert parity.relative_error(found, expected) < 1e-6


@pytest.mark.parametrize("last", [True, False])
def test_memory_formats(both, last):
    given = example()
    if last:
        given["x"] = given["x"].contiguous(memory_format=torch.channels_last)
    found, expected = both(lambda: deform_conv2d(**given))
    assert found.stride() == expected.stride()
    assert parity.relative_error(found, expected) < 1e-6


@pytest.mark.parametrize("layout", [torch.contiguous_format, torch.channels_last])
@pytest.mark.parametrize("modulated", [True, False])
def test_a_layer(both, modulated, layout):
    """Its offsets lie in memory pixel by pixel or plane by plane, as its convolution has them."""
    torch.manual_seed(0)
    layer = DeformConv(8, 2, modulated=modulated)
    torch.nn.init.normal_(layer.conv_offset.weight, std=0.2)
    x, features = (rand(1, 8, 6, 7, seed=seed).contiguous(memory_format=layout) for seed in (0, 1))
    with torch.inference_mode():
        found, expected = both(lambda: layer(x, features))
    assert parity.relative_error(found, expected) < 1e-6


def test_bands_change_nothing(both, calls, monkeypatch):
    given = example()
    monkeypatch.setattr(deform_conv, "_BAND_SAMPLES", {"cpu": 7 * 18 * 4})
    found, expected = both(lambda: deform_conv2d(**given))
    assert calls == [4, 2, 4, 2]
    assert parity.relative_error(found, expected) < 1e-6


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16])
def test_half_precision(monkeypatch, dtype):
    """Positions and sums in float32: as near to float64 as rounding the samples allows."""
    given = {
        key: value.to(dtype) if isinstance(value, torch.Tensor) else value
        for key, value in example().items()
    }
    monkeypatch.setenv("BENCH_TRITON", "interpret")
    found = deform_conv2d(**given)
    assert found.dtype == dtype
    exact = {
        key: value.double() if isinstance(value, torch.Tensor) else value
        for key, value in given.items()
    }
    expected = deform_conv2d(**exact)
    assert parity.relative_error(found, expected) < torch.finfo(dtype).eps


@pytest.mark.filterwarnings("ignore:invalid value encountered")  # NumPy's, in the interpreter
@pytest.mark.parametrize("border", ["fade", "hold"])
@pytest.mark.parametrize("value", [float("nan"), float("inf"), -float("inf"), 1e30, -1e30])
def test_absurd_offsets(both, value, border):
    given = example()
    given["offset"][:, ::3] = value
    found, expected = both(lambda: deform_conv2d(**given, border=border))
    torch.testing.assert_close(found, expected, equal_nan=True)


def test_a_picture_of_one_pixel(both):
    x, weight = rand(1, 4, 1, 1), rand(2, 4, 3, 3, seed=1)
    offset = rand(1, 18, 1, 1, seed=2)
    for border in ("fade", "hold"):
        found, expected = both(
            lambda border=border: deform_conv2d(x, offset, weight, padding=1, border=border)
        )
        torch.testing.assert_close(found, expected)


def test_gradients_take_the_plain_path(monkeypatch, calls):
    monkeypatch.setenv("BENCH_TRITON", "interpret")
    given = example()
    given["offset"].requires_grad_()
    tracked = deform_conv2d(**given)
    assert tracked.requires_grad
    assert not calls
    with torch.no_grad():
        assert parity.relative_error(deform_conv2d(**given), tracked.detach()) < 1e-6
    assert calls


def test_float64_takes_the_plain_path(both, calls):
    given = {
        key: value.double() if isinstance(value, torch.Tensor) else value
        for key, value in example().items()
    }
    found, expected = both(lambda: deform_conv2d(**given))
    assert not calls
    assert torch.equal(found, expected)


@pytest.mark.parametrize("switch", [None, "0", "1"])
def test_on_a_cpu_only_where_it_is_asked_for(monkeypatch, calls, switch):
    monkeypatch.delenv("BENCH_TRITON", raising=False)
    if switch is not None:
        monkeypatch.setenv("BENCH_TRITON", switch)
    deform_conv2d(**example())
    assert not calls


def test_the_switch(monkeypatch):
    """On a CUDA device unless it is 0; nowhere without Triton."""
    serves = {}
    for switch, installed in itertools.product(("0", "1", "interpret"), (True, False)):
        monkeypatch.setenv("BENCH_TRITON", switch)
        monkeypatch.setattr(deform_conv, "_triton_is_installed", lambda it=installed: it)
        for device in ("cpu", "cuda", "meta"):
            if deform_conv._triton_serves(device):  # noqa: SLF001 - there is no such device here
                serves.setdefault((switch, device), []).append(installed)
    assert serves == {
        ("1", "cuda"): [True],
        ("interpret", "cpu"): [True],
        ("interpret", "cuda"): [True],
    }


def test_a_switch_that_says_nothing(monkeypatch):
    monkeypatch.setenv("BENCH_TRITON", "yes")
    with pytest.raises(BenchError, match="'yes': expected 0, 1 or interpret; unset it"):
        deform_conv2d(**example())


def test_compiled_by_torch(monkeypatch, calls):
    """One operator: the graph does not break, and nobody looks inside."""
    monkeypatch.setenv("BENCH_TRITON", "interpret")
    given = example()
    compiled = torch.compile(deform_conv2d, backend="aot_eager", fullgraph=True)
    with torch.inference_mode():
        assert torch.equal(compiled(**given), deform_conv2d(**given))


@pytest.mark.parametrize("capability", [75, 90])
@pytest.mark.parametrize("pointer", ["fp32", "fp16", "bf16"])
@pytest.mark.parametrize("hold", [True, False])
def test_triton_compiles_it(monkeypatch, tmp_path, capability, pointer, hold):
    """To the code of GPUs of 2018 and 2022; no GPU is needed for that."""
    monkeypatch.setenv("TRITON_CACHE_DIR", str(tmp_path))
    target = pytest.importorskip("triton.backends.compiler").GPUTarget("cuda", capability, 32)
    constants = deform_conv_triton.constants(16, 3, hold=hold, masked=not hold)
    kernel = triton.jit(deform_conv_triton.gather)
    pointers = dict.fromkeys(("columns", "x", "moved", "scale"), f"*{pointer}")
    signature = {
        name: pointers.get(name, "constexpr" if name in constants else "i32")
        for name in kernel.arg_names
    }
    source = triton.compiler.ASTSource(kernel, signature, constexprs=constants)
    compiled = triton.compile(source, target=target, options=deform_conv_triton.OPTIONS)
    assert "ld.global" in compiled.asm["ptx"]
    assert compiled.asm["cubin"]


@pytest.mark.gpu
@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a CUDA device")
@pytest.mark.parametrize("border", ["fade", "hold"])
@pytest.mark.parametrize("dtype", [torch.float32, torch.float16, torch.bfloat16])
def test_on_a_gpu(monkeypatch, calls, dtype, border):
    given = {
        key: value.to("cuda", dtype) if isinstance(value, torch.Tensor) else value
        for key, value in example(128, 8, size=(45, 80)).items()
    }
    monkeypatch.delenv("BENCH_TRITON", raising=False)
    found = deform_conv2d(**given, border=border)
    assert calls
    monkeypatch.setenv("BENCH_TRITON", "0")
    expected = deform_conv2d(**given, border=border)
    limit = 1e-5 if dtype == torch.float32 else 2e-2
    assert parity.relative_error(found, expected) < limit
