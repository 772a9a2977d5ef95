from __future__ import annotations

import sys
import types
from pathlib import Path

import pytest
import torch

from bench import provenance
from bench.cost import hardware
from bench.cost.hardware import Device, Reading

CPU, CUDA = torch.device("cpu"), torch.device("cuda", 0)


def test_this_cpu():
    found = hardware.describe(CPU)
    assert (found.kind, found.name) == ("cpu", provenance.cpu_model())
    assert found.threads == torch.get_num_threads()
    assert (found.driver, found.cuda) == (None, None)
    assert found.slug.endswith(("-thread", "-threads"))


@pytest.mark.parametrize(
    ("name", "kind", "threads", "slug"),
    [
        ("NVIDIA H200", "cuda", 2, "nvidia-h200"),
        ("AMD EPYC (Genoa)", "cpu", 2, "amd-epyc-genoa-2-threads"),
        ("AMD EPYC", "cpu", 1, "amd-epyc-1-thread"),
    ],
)
def test_slugs_tell_devices_apart(name, kind, threads, slug):
    made = Device(
        kind=kind, name=name, cpu="x", threads=threads, driver=None, cuda=None, memory_bytes=None
    )
    assert made.slug == slug


def test_driver_from_the_kernel(tmp_path):
    file = tmp_path / "version"
    assert hardware.driver_version(file) is None
    file.write_text(
        "NVRM version: NVIDIA UNIX x86_64 Kernel Module  550.54.15  Tue Mar  5 22:23:56 UTC 2024\n"
    )
    assert hardware.driver_version(file) == "550.54.15"
    file.write_text(
        "NVRM version: NVIDIA UNIX Open Kernel Module for x86_64  570.133.20  Release\n"
    )
    assert hardware.driver_version(file) == "570.133.20"
    file.write_text("something else")
    assert hardware.driver_version(file) is None


def test_clocks_fell():
    def at(*clocks, slowdowns=None):
        return [Reading(clock_mhz=clock, slowdowns=slowdowns) for clock in clocks]

    assert hardware.clocks_fell([Reading(), Reading()]) is None
    assert hardware.clocks_fell(at(1980, 1965, 1980)) is False
    assert hardware.clocks_fell(at(1980, 1700)) is True
    assert hardware.clocks_fell(at(1980, 1980, slowdowns=[])) is False
    assert hardware.clocks_fell(at(1980, 1980, slowdowns=["power cap"])) is True


def test_no_sensors_on_a_cpu():
    with hardware.sensors(CPU) as read:
        assert read() == Reading()


class NVMLError(Exception):
    pass


@pytest.fixture
def pynvml(monkeypatch):
    """NVIDIA's library as far as it is asked; temperature is a thing that it cannot tell."""
    library = types.ModuleType("pynvml")
    library.NVMLError = NVMLError
    library.NVML_CLOCK_SM, library.NVML_CLOCK_MEM, library.NVML_TEMPERATURE_GPU = 1, 2, 0
    library.log = []

    def refuse(*_: object) -> None:
        raise NVMLError

    def by_uuid(uuid):
        if not uuid.startswith("GPU-"):
            raise NVMLError
        return uuid

    library.nvmlInit = lambda: library.log.append("open")
    library.nvmlShutdown = lambda: library.log.append("shut")
    library.nvmlDeviceGetHandleByUUID = by_uuid
    library.nvmlDeviceGetClockInfo = lambda _, which: {1: 1980, 2: 3201}[which]
    library.nvmlDeviceGetTemperature = refuse
    library.nvmlDeviceGetPowerUsage = lambda _: 312_500
    library.nvmlDeviceGetEnforcedPowerLimit = lambda _: 700_000
    library.nvmlDeviceGetCurrentClocksThrottleReasons = lambda _: 0x04 | 0x01
    monkeypatch.setitem(sys.modules, "pynvml", library)
    properties = types.SimpleNamespace(uuid="1b2c", total_memory=2**30)
    monkeypatch.setattr(torch.cuda, "get_device_properties", lambda _: properties)
    return library


def test_sensors_of_a_gpu(pynvml):
    with hardware.sensors(CUDA) as read:
        assert read() == Reading(
            clock_mhz=1980,
            memory_clock_mhz=3201,
            temperature_c=None,
            power_w=312.5,
            power_cap_w=700.0,
            slowdowns=["power cap"],
        )
    assert pynvml.log == ["open", "shut"]


def test_sensors_that_cannot_be_had(pynvml, monkeypatch):
    def refuse(*_: object) -> None:
        raise NVMLError

    monkeypatch.setattr(pynvml, "nvmlDeviceGetHandleByUUID", refuse)
    with hardware.sensors(CUDA) as read:
        assert read() == Reading()
    assert pynvml.log == ["open", "shut"]
    monkeypatch.setattr(pynvml, "nvmlInit", refuse)
    with hardware.sensors(CUDA) as read:
        assert read() == Reading()
    monkeypatch.setitem(sys.modules, "pynvml", None)  # not installed
    with hardware.sensors(CUDA) as read:
        assert read() == Reading()


def test_a_gpu_is_described(pynvml, monkeypatch):
    monkeypatch.setattr(torch.cuda, "get_device_name", lambda _: "NVIDIA H200")
    found = hardware.describe(CUDA)
    assert (found.kind, found.slug, found.memory_bytes) == ("cuda", "nvidia-h200", 2**30)
    assert found.cuda == torch.version.cuda


@pytest.mark.skipif(not Path("/proc/self/clear_refs").exists(), reason="not Linux")
def test_peak_memory_is_of_now_and_not_of_before():
    size = 200 * 2**20
    torch.ones(size // 4)
    watched = hardware.PeakMemory(CPU)
    assert watched.peak_bytes() - watched.before_bytes < size / 2
    torch.ones(size // 4)
    # The kernel counts resident pages in batches.
    assert 0.9 * size <= watched.peak_bytes() - watched.before_bytes < 1.5 * size


def test_peak_memory_that_cannot_be_known(monkeypatch, tmp_path):
    monkeypatch.setattr(hardware, "_CLEAR", tmp_path / "no/such/file")
    watched = hardware.PeakMemory(CPU)
    assert (watched.before_bytes, watched.peak_bytes()) == (None, None)


def test_peak_memory_of_a_gpu_is_the_allocators(monkeypatch):
    said = []
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.setattr(torch.cuda, "empty_cache", lambda: said.append("emptied"))
    monkeypatch.setattr(torch.cuda, "reset_peak_memory_stats", said.append)
    monkeypatch.setattr(torch.cuda, "memory_allocated", lambda _: 7)
    monkeypatch.setattr(torch.cuda, "max_memory_allocated", lambda _: 9)
    watched = hardware.PeakMemory(CUDA)
    assert (watched.before_bytes, watched.peak_bytes()) == (7, 9)
    assert said == ["emptied", CUDA]
