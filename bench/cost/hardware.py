"""The device that something ran on: what it is, its clocks and temperature, the memory taken.

What a GPU's sensors say comes from NVIDIA's management library, where nvidia-ml-py is installed
(extra `gpu`); without it those values are null.
"""

from __future__ import annotations

import os
import re
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

import msgspec

from bench import provenance, runtime

if TYPE_CHECKING:
    import torch

_STATUS = Path("/proc/self/status")
_CLEAR = Path("/proc/self/clear_refs")
_FALL = 0.95  # of the highest clock; boost clocks move by a step or two on their own
_SLOWDOWNS = {
    0x04: "power cap",
    0x08: "hardware slowdown",
    0x20: "heat (software)",
    0x40: "heat (hardware)",
    0x80: "power brake",
}


class Device(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """What ran it; `threads` are those that torch computes with on the CPU."""

    kind: Literal["cpu", "cuda"]
    name: str
    cpu: str
    threads: int
    driver: str | None
    cuda: str | None
    memory_bytes: int | None

    @property
    def slug(self) -> str:
        """The device's name for a folder. A CPU with other threads is another device.

        >>> Device(kind="cpu", name="AMD EPYC", cpu="AMD EPYC", threads=2, driver=None, cuda=None,
        ...        memory_bytes=None).slug
        'amd-epyc-2-threads'
        """
        return re.sub(r"[^a-z0-9]+", "-", self.title.lower()).strip("-")

    @property
    def title(self) -> str:
        """The device's name, and of a CPU the threads that it computed with."""
        plural = "s" if self.threads > 1 else ""
        return self.name + (f", {self.threads} thread{plural}" if self.kind == "cpu" else "")


class Reading(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """What the sensors said at one moment; null where there is none.

    `slowdowns` says why the clock was held down, if it was.
    """

    clock_mhz: float | None = None
    memory_clock_mhz: float | None = None
    temperature_c: float | None = None
    power_w: float | None = None
    power_cap_w: float | None = None
    slowdowns: list[str] | None = None


def describe(device: torch.device) -> Device:
    """What is known of a torch device that is here."""
    import torch

    cpu, threads = provenance.cpu_model(), torch.get_num_threads()
    if device.type != "cuda":
        return Device(
            kind="cpu",
            name=cpu,
            cpu=cpu,
            threads=threads,
            driver=None,
            cuda=None,
            memory_bytes=_main_memory(),
        )
    return Device(
        kind="cuda",
        name=torch.cuda.get_device_name(device),
        cpu=cpu,
        threads=threads,
        driver=driver_version(),
        cuda=torch.version.cuda,
        memory_bytes=torch.cuda.get_device_properties(device).total_memory,
    )


def driver_version(file: Path = Path("/proc/driver/nvidia/version")) -> str | None:
    """The version of NVIDIA's driver, from the kernel; null where it does not tell."""
    with suppress(OSError):
        found = re.search(r"Kernel Module.*?\s(\d+(?:\.\d+)+)\s", file.read_text(encoding="utf-8"))
        return found[1] if found else None
    return None


def clocks_fell(readings: Sequence[Reading]) -> bool | None:
    """Whether a GPU ran slower at one of these moments than at another, or was held down.

    Null where its clocks are not known.
    """
    clocks = [reading.clock_mhz for reading in readings if reading.clock_mhz is not None]
    held = [reading.slowdowns for reading in readings if reading.slowdowns is not None]
    if not clocks and not held:
        return None
    return any(held) or bool(clocks and min(clocks) < _FALL * max(clocks))


@contextmanager
def sensors(device: torch.device) -> Iterator[Callable[[], Reading]]:
    """A function that reads the sensors of the device; all null on a CPU and without nvidia-ml-py.

    Clocks of a CPU are left out: between two pieces of work they say nothing of the work.
    """
    try:
        import pynvml
    except ImportError:
        pynvml = None
    if device.type != "cuda" or pynvml is None:
        yield Reading
        return
    try:
        pynvml.nvmlInit()
    except pynvml.NVMLError:
        yield Reading
        return
    try:
        handle = _handle(pynvml, device)
        yield Reading if handle is None else lambda: _read(pynvml, handle)
    finally:
        pynvml.nvmlShutdown()


def _handle(pynvml: Any, device: torch.device) -> Any:
    """The library's name for the device; found by UUID, for it counts devices that torch hides."""
    import torch

    uuid = getattr(torch.cuda.get_device_properties(device), "uuid", None)
    for kind in ("GPU", "MIG"):
        with suppress(pynvml.NVMLError):
            return pynvml.nvmlDeviceGetHandleByUUID(f"{kind}-{uuid}")
    return None


def _read(pynvml: Any, handle: Any) -> Reading:
    def ask(function: str, *arguments: object) -> Any:
        """What the library says, or None where this device cannot tell (MIG cannot tell much)."""
        with suppress(pynvml.NVMLError, AttributeError):
            return getattr(pynvml, function)(handle, *arguments)
        return None

    power = ask("nvmlDeviceGetPowerUsage")
    cap = ask("nvmlDeviceGetEnforcedPowerLimit")
    reasons = ask("nvmlDeviceGetCurrentClocksThrottleReasons")
    return Reading(
        clock_mhz=ask("nvmlDeviceGetClockInfo", pynvml.NVML_CLOCK_SM),
        memory_clock_mhz=ask("nvmlDeviceGetClockInfo", pynvml.NVML_CLOCK_MEM),
        temperature_c=ask("nvmlDeviceGetTemperature", pynvml.NVML_TEMPERATURE_GPU),
        power_w=None if power is None else power / 1e3,
        power_cap_w=None if cap is None else cap / 1e3,
        slowdowns=None
        if reasons is None
        else [name for bit, name in _SLOWDOWNS.items() if reasons & bit],
    )


class PeakMemory:
    """The most memory that is taken from now on.

    CUDA: what the allocator gave out. CPU: the resident set of this process, after everything that
    is free was handed back. `before_bytes` is what is taken already; null where the system does
    not tell.
    """

    def __init__(self, device: torch.device) -> None:
        import torch

        # The allocators keep freed memory, which would hide what is taken next.
        runtime.free_memory()
        self._device = device
        self.before_bytes: int | None = None
        if device.type == "cuda":
            torch.cuda.reset_peak_memory_stats(device)
            self.before_bytes = torch.cuda.memory_allocated(device)
            return
        with suppress(OSError):
            # Sets the peak back to what is taken now (Linux).
            _CLEAR.write_text("5", encoding="ascii")
            self.before_bytes = _status("VmRSS")

    def peak_bytes(self) -> int | None:
        """The most that was taken so far, what was taken before included."""
        import torch

        if self._device.type == "cuda":
            return torch.cuda.max_memory_allocated(self._device)
        return None if self.before_bytes is None else _status("VmHWM")


def _status(key: str) -> int | None:
    with suppress(OSError):
        found = re.search(rf"^{key}:\s+(\d+) kB$", _STATUS.read_text("ascii"), re.MULTILINE)
        return 1024 * int(found[1]) if found else None
    return None


def _main_memory() -> int | None:
    with suppress(AttributeError, OSError, ValueError):
        return os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    return None
