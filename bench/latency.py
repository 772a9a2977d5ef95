"""What networks cost on a device, kept as results: one JSON file each, its path its identity.

How they are measured: timing.py. Results of two devices never share a table.
"""

from __future__ import annotations

import math
import os
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Literal

import msgspec

from bench import storage
from bench.cost.hardware import Device, Reading
from bench.errors import BenchError
from bench.provenance import Provenance, cpu_model
from bench.runtime import Dtype

if TYPE_CHECKING:
    import pandas as pd

SCHEMA: Literal[2] = 2
_TIME_WORDS = """\
Milliseconds for one SR frame in steady state: the median, and the 5th and 95th percentile. They are
spent inside the network; `with rounding` is what a run takes, scoring aside. The first frame waits
for the network to read its window, or most of its clip. `frames` is the clip's length where the
network sees whole clips."""
_FLOPS_WORDS = """\
One multiply-add is 2 FLOPs; many published tables print multiply-adds as FLOPs. Operators that no
formula counts:"""


class Spread(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """Median, 5th and 95th percentile of so many samples."""

    median: float
    p5: float
    p95: float
    samples: int


class Options(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """How a network was run. `bench run` runs it with the defaults."""

    dtype: Dtype = "float32"
    tf32: bool = False
    batch: int = 1
    compiled: bool = False
    channels_last: bool = False

    def __str__(self) -> str:
        words = ["tf32"] if self.tf32 else []
        words += [f"batch{self.batch}"] if self.batch > 1 else []
        words += ["compiled"] if self.compiled else []
        words += ["channels-last"] if self.channels_last else []
        return "-".join([self.dtype, *words])


class Latency(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """What one checkpoint's network costs on one device at one size of LR frames.

    latency_ms       one SR frame in steady state, inside the network's own calls
    pass_medians_ms  its median in each pass that counts; frames of one pass depend on each other,
                     passes do not; null where an earlier version of bench measured
    restoring_ms     the same with what `bench run` does beside: turning the LR frame into a tensor
                     where the network is, rounding the SR frame to 8 bits and fetching it; null
                     for batches, which `bench run` does not make
    first_frame_ms   from the first LR frame to the first SR frame, everything included
    peak_memory_bytes  the most that was taken while it ran: on CUDA what torch's allocator gave
                     out, on a CPU the resident set of the whole process, of which
                     `memory_before_bytes` was taken before the network was built
    flops_per_frame  of one SR frame in steady state; one multiply-add is 2 FLOPs. `counted_flops`
                     has them by operator; `uncounted_calls` the calls a frame of all others

    `frames` is the clip's length, which moves the figures of networks that see whole clips only.
    `measured_with` is the checkpoint that was measured: those of one architecture share figures.
    `readings` are those of the sensors before the first pass, after each pass that counts.
    """

    schema: Literal[2] = SCHEMA
    paper: str
    checkpoint: str
    measured_with: str
    height: int
    width: int
    frames: int
    whole_clips: bool
    options: Options
    restoring: dict[str, int | str]
    parameters: int
    flops_per_frame: int
    counted_flops: dict[str, int]
    uncounted_calls: dict[str, float]
    latency_ms: Spread
    pass_medians_ms: list[float] | None
    restoring_ms: Spread | None
    first_frame_ms: Spread
    memory_before_bytes: int | None
    peak_memory_bytes: int | None
    warm_up_passes: int
    warm_up_stable: bool
    passes: int
    device: Device
    readings: list[Reading]
    clocks_fell: bool | None
    provenance: Provenance

    @property
    def size(self) -> str:
        """LR height x width, and x frames where the clip's length matters."""
        sides = [self.height, self.width, *([self.frames] if self.whole_clips else [])]
        return "x".join(map(str, sides))

    @property
    def usual(self) -> bool:
        """Whether it ran as `bench run` runs it unless told otherwise, kernels included."""
        return self.options == Options() and "triton" not in self.restoring

    @property
    def pixels(self) -> int:
        """LR pixels of a frame."""
        return self.height * self.width


def path(results: Path, measured: Latency) -> Path:
    """Where the result lies below the results folder."""
    name = f"{measured.paper}-{measured.checkpoint}-{measured.size}-{measured.options}.json"
    return results / "latency" / measured.device.slug / name


def write(results: Path, measured: Latency) -> Path:
    """Writes the result under its path and returns it: sorted keys, one number a line."""
    file = path(results, measured)
    text = msgspec.json.format(msgspec.json.encode(measured, order="sorted"), indent=2)
    storage.write_text(file, text.decode() + "\n")
    return file


def read(file: Path) -> Latency:
    """The result in `file`, brought up to date where an earlier version of bench wrote it.

    Raises BenchError where a newer version did.
    """
    # Schema 1 kept no medians of passes.
    steps = {1: lambda data: {**data, "pass_medians_ms": None}}
    return storage.read_json(file, Latency, lambda data: storage.updated(file, data, SCHEMA, steps))


def read_all(results: Path, device: str | None = None) -> list[Latency]:
    """Every result below the results folder, of one device (its slug) or of all, sorted by path.

    Raises BenchError where a file is not under the path that its content asks for, such as a copy.
    """
    found = []
    for file in storage.json_files(results / "latency" / (device or "")):
        measured = read(file)
        wanted = path(results, measured)
        if file != wanted:
            raise BenchError(
                f"{file} is misplaced", expected=str(wanted), todo="move it there or remove it"
            )
        found.append(measured)
    return found


def estimate(  # noqa: PLR0917
    results: Path, device: str, paper: str, checkpoint: str, height: int, width: int, frames: int
) -> float | None:
    """Seconds that a clip of LR frames takes on a device (its slug), scoring aside.

    From the measured result whose frames have the most similar number of pixels, and among those
    the most similar clip length; time grows with the pixels. None where nothing was measured with
    the options that `bench run` has.
    """
    usable = [
        one
        for one in read_all(results, device)
        if (one.paper, one.checkpoint, one.options) == (paper, checkpoint, Options())
    ]

    def distance(one: Latency) -> tuple[float, float]:
        return (
            abs(math.log(one.pixels / (height * width))),
            abs(math.log(one.frames / frames)),
        )

    nearest = min(usable, key=distance, default=None)
    if nearest is None or nearest.restoring_ms is None:
        return None
    return frames * nearest.restoring_ms.median / 1e3 * height * width / nearest.pixels


def device_here(results: Path, device: str = "auto") -> str | None:
    """The slug of the measured device that is most like this machine's; None where none is.

    Goes by the processor's name and the number of its threads, and asks no driver: a GPU counts as
    here if it was measured beside this processor.
    """
    here = [one.device for one in read_all(results) if one.device.cpu == cpu_model()]
    gpus = [found for found in here if found.kind == "cuda"] if device != "cpu" else []
    cpus = [found for found in here if found.kind == "cpu"]
    if device.startswith("cuda"):
        cpus = []
    threads = os.cpu_count() or 1
    nearest = min(gpus or cpus, key=lambda found: abs(found.threads - threads), default=None)
    return nearest.slug if nearest else None


def data_frames(measured: Sequence[Latency]) -> dict[str, pd.DataFrame]:
    """One data frame for each device, by its slug: a row a result, units in the columns' names."""
    import pandas as pd

    rows: dict[str, list[dict[str, object]]] = {}
    for one in sorted(measured, key=lambda m: (m.paper, m.checkpoint, m.pixels, m.frames)):
        rows.setdefault(one.device.slug, []).append(row(one))
    return {device: pd.DataFrame(of_device) for device, of_device in sorted(rows.items())}


def row(one: Latency) -> dict[str, object]:
    """What the table of a device says of one result, by the heads of its columns."""
    taken = _difference(one.peak_memory_bytes, one.memory_before_bytes)
    return {
        "paper": one.paper,
        "checkpoint": one.checkpoint,
        "LR size": f"{one.height}x{one.width}",
        "frames": one.frames if one.whole_clips else "",
        "options": str(one.options),
        "ms per frame": _ms(one.latency_ms.median),
        "5 % - 95 %": f"{_ms(one.latency_ms.p5)} - {_ms(one.latency_ms.p95)}",
        "samples": one.latency_ms.samples,
        "with rounding (ms)": _ms(one.restoring_ms.median) if one.restoring_ms else "",
        "first frame (ms)": _ms(one.first_frame_ms.median),
        "peak memory (MiB)": _mebibytes(one.peak_memory_bytes),
        "of it the network's (MiB)": _mebibytes(taken),
        "parameters": f"{one.parameters:,}",
        "GFLOPs per frame": f"{one.flops_per_frame / 1e9:.1f}",
        "notes": "; ".join(_notes(one)),
    }


def _notes(one: Latency) -> list[str]:
    return [
        *(["clocks fell"] if one.clocks_fell else []),
        *([] if one.warm_up_stable else ["unstable after warm-up"]),
        *([f"measured as {one.measured_with}"] if one.measured_with != one.checkpoint else []),
    ]


def document_path(results: Path, device: str) -> Path:
    """Where the table of a device (its slug) lies below the results folder."""
    return results / "latency" / device / "README.md"


def document(device: str, measured: Sequence[Latency]) -> str:
    """The table of one device (its slug) as Markdown; results of other devices are left out."""
    from tabulate import tabulate

    own = [one for one in measured if one.device.slug == device]
    frames = data_frames(own)
    if device not in frames:
        raise BenchError(f"nothing was measured on {device}", todo="run bench latency there")
    frame = frames[device]
    rows, headers = frame.to_numpy().tolist(), list(frame.columns)
    uncounted = sorted({name for one in own for name in one.uncounted_calls})
    parts = [
        f"# Latency on {own[0].device.title}",
        f"Generated from `results/latency/{device}`.",
        _TIME_WORDS,
        _memory_words(own[0].device),
        str(tabulate(rows, headers, tablefmt="github", disable_numparse=True)),
        f"{_FLOPS_WORDS} {', '.join(uncounted)}.",
        "## Devices and versions",
        "\n".join(dict.fromkeys(_where(one) for one in own)),
    ]
    return "\n\n".join(parts) + "\n"


def _memory_words(device: Device) -> str:
    if device.kind == "cuda":
        return "Peak memory is what torch's allocator gave out, weights included."
    return "Peak memory is the resident set of the whole process, Python and torch included."


def _where(one: Latency) -> str:
    device, packages = one.device, one.provenance.packages
    facts = [
        f"torch {packages.get('torch', 'unknown')}",
        f"{device.threads} thread{'s' if device.threads > 1 else ''} of {device.cpu}",
        *([f"CUDA {device.cuda}"] if device.cuda else []),
        *([f"driver {device.driver}"] if device.driver else []),
        *_sensor_words(one.readings),
    ]
    return "- " + ", ".join(facts)


def _sensor_words(readings: Sequence[Reading]) -> list[str]:
    """Power cap, as it does not change; clocks and temperatures are in the files."""
    caps = {one.power_cap_w for one in readings if one.power_cap_w is not None}
    return [f"power cap {cap:.0f} W" for cap in sorted(caps)]


def _difference(peak: int | None, before: int | None) -> int | None:
    return None if peak is None or before is None else peak - before


def _mebibytes(size: int | None) -> str:
    return "" if size is None else f"{size / 2**20:.0f}"


def _ms(value: float) -> str:
    """Four digits, as many as a timing ever deserves."""
    return f"{value:.{max(0, 3 - math.floor(math.log10(max(value, 1e-3))))}f}"
