from __future__ import annotations

import ctypes
import resource
from pathlib import Path

import pytest
import torch

from bench import runtime
from bench.errors import BenchError


def test_devices():
    network = torch.nn.Linear(2, 2)
    assert runtime.place(network, "cpu") == (network, "cpu")
    if not torch.cuda.is_available():
        with pytest.raises(BenchError, match="cannot use the device 'cuda:0': expected cpu, or"):
            runtime.place(network, "cuda:0")
    with pytest.raises(BenchError, match=r"device 'gpu'.* found no device that torch knows"):
        runtime.place(network, "gpu")
    runtime.check("cpu")
    count = torch.cuda.device_count()
    with pytest.raises(BenchError, match=f"found {count} CUDA devices; see bench doctor"):
        runtime.check(f"cuda:{count}")


def test_what_a_record_says_of_precision(monkeypatch):
    assert runtime.described("float32", tf32=False, compiled=False) == {}
    said = runtime.described("bfloat16", tf32=True, compiled=True)
    assert said == {"dtype": "bfloat16", "tf32": "on", "compiled": "on"}
    for switch, told in (("1", {}), ("0", {"triton": "0"})):
        monkeypatch.setenv("BENCH_TRITON", switch)
        assert runtime.described("float32", tf32=False, compiled=False) == told


def test_precision():
    network = runtime.prepare(torch.nn.Linear(2, 2), "bfloat16", tf32=False, compiled=False)
    assert network.weight.dtype is torch.bfloat16
    assert torch.backends.cudnn.allow_tf32 is False


@pytest.mark.skipif(not hasattr(ctypes.CDLL(None), "mallopt"), reason="not glibc")
def test_freed_memory_is_kept_and_given_back():
    runtime.keep_memory()
    torch.ones(2**26)
    faults = resource.getrusage(resource.RUSAGE_SELF).ru_minflt
    torch.ones(2**26)
    pages = 4 * 2**26 // resource.getpagesize()
    assert resource.getrusage(resource.RUSAGE_SELF).ru_minflt - faults < pages / 10
    kept = resident()
    runtime.free_memory()
    assert kept - resident() > 0.9 * pages


def resident():
    """Pages of this process that lie in memory."""
    return int(Path("/proc/self/statm").read_text("ascii").split()[1])


@pytest.mark.parametrize(
    ("error", "expected"),
    [
        (torch.OutOfMemoryError("CUDA out of memory. Tried to allocate"), True),
        (MemoryError(), True),
        (RuntimeError("DefaultCPUAllocator: can't allocate memory: you tried to"), True),
        (RuntimeError("shapes cannot be multiplied"), False),
        (ValueError("out of memory"), False),
    ],
)
def test_running_out_of_memory(error, expected):
    assert runtime.out_of_memory(error) is expected
