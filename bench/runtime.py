"""How a network runs: its device, its precision, compiled or not."""

from __future__ import annotations

import ctypes
import os
from contextlib import suppress
from typing import TYPE_CHECKING, Literal, get_args

from bench.errors import BenchError

if TYPE_CHECKING:
    from torch import nn

Dtype = Literal["float32", "float16", "bfloat16"]
DTYPES: tuple[str, ...] = get_args(Dtype)
# What the harness calls of a network: see bench.restore.
_CALLED = ("features", "reconstruct", "moments", "frames")
# Options of glibc's mallopt, by its malloc.h: when to give memory back, how many pieces to map.
_M_TRIM_THRESHOLD, _M_MMAP_MAX = -1, -4


def check(device: str) -> None:
    """Raises BenchError where torch knows no such device, or sees no such GPU; starts none."""
    import torch

    try:
        named = torch.device(device)
    except RuntimeError as error:
        raise _unusable(device, "no device that torch knows") from error
    count = torch.cuda.device_count()
    if named.type == "cuda" and (named.index or 0) >= count:
        raise _unusable(device, f"{count} CUDA devices")


def _unusable(device: str, found: str) -> BenchError:
    return BenchError(
        f"cannot use the device {device!r}",
        expected="cpu, or a CUDA device that torch sees",
        found=found,
        todo="see bench doctor",
    )


def place(network: nn.Module, device: str) -> tuple[nn.Module, str]:
    """The network on a device, and what the record calls that: `cpu` or the GPU's name.

    `auto` is CUDA where there is one.
    """
    import torch

    if device == "auto":
        device = "cuda" if torch.cuda.is_available() else "cpu"
    check(device)
    try:
        network = network.to(device)
    except (RuntimeError, AssertionError) as error:
        raise _unusable(device, str(error).partition("\n")[0]) from error
    if torch.device(device).type == "cuda":
        return network, torch.cuda.get_device_name(device)
    return network, device


def prepare(network: nn.Module, dtype: Dtype, tf32: bool, compiled: bool) -> nn.Module:
    """The network in that precision; matrix products and convolutions of CUDA in TF32 if wished.

    TF32 is off unless it is asked for: torch would otherwise use it in convolutions. Main memory
    that is freed stays with the process from now on.
    """
    import torch

    keep_memory()
    torch.backends.cuda.matmul.allow_tf32 = tf32
    torch.backends.cudnn.allow_tf32 = tf32
    network = network.to(getattr(torch, dtype))
    if compiled:
        for name in _CALLED:
            if hasattr(network, name):
                setattr(network, name, torch.compile(getattr(network, name)))
        if not any(hasattr(network, name) for name in _CALLED):
            network.compile()
    return network


SAID = ("dtype", "tf32", "compiled", "triton")


def described(dtype: Dtype, tf32: bool, compiled: bool) -> dict[str, int | str]:
    """What the record says of it: only what differs from plain float32.

    `triton` is the variable BENCH_TRITON, which chooses among kernels that round otherwise.
    """
    said: dict[str, int | str] = {} if dtype == "float32" else {"dtype": dtype}
    if tf32:
        said["tf32"] = "on"
    if compiled:
        said["compiled"] = "on"
    if (triton := os.environ.get("BENCH_TRITON", "1")) != "1":
        said["triton"] = triton
    return said


def out_of_memory(error: BaseException) -> bool:
    """Whether the error says that memory, of the device or of the machine, ran out."""
    import torch

    if isinstance(error, (torch.OutOfMemoryError, MemoryError)):
        return True
    said = str(error)
    return isinstance(error, RuntimeError) and any(
        words in said for words in ("out of memory", "not enough memory", "can't allocate memory")
    )


def keep_memory() -> None:
    """Has the C library keep freed memory for what is allocated next; glibc's alone can do so.

    It would hand large tensors back to the system at once and ask for the next one page by page,
    with which networks take longer on a CPU. The price is memory between pieces of many sizes, some
    400 MiB for frames of 180x320. tests/benchmarks/test_memory_speed.py prints both. Where a tensor
    lies changes no number.
    """
    with suppress(OSError, AttributeError):
        mallopt = ctypes.CDLL(None).mallopt
        mallopt(_M_MMAP_MAX, 0)
        mallopt(_M_TRIM_THRESHOLD, 2**31 - 1)


def free_memory() -> None:
    """Gives back what is no longer used, so that a smaller attempt finds it."""
    import gc

    import torch

    gc.collect()
    if torch.cuda.is_available():
        torch.cuda.empty_cache()
    with suppress(OSError, AttributeError):
        ctypes.CDLL(None).malloc_trim(0)  # see keep_memory
