"""Measures what a network costs while it restores clips, as `bench run` would have it.

A pass is one clip of new noise, given to the checkpoint's own restorer (restore.py). Inside the
clock of `latency_ms` are the network's calls and nothing else: on a GPU between two events in its
queue, on a CPU between two looks at the clock. `restoring_ms` adds what the restorer does beside
them. Drawing clips, reading files and scoring are outside of both.

Steady state, by restorer:

    sliding window   SR frames for which one new LR frame was read: the features of that frame and
                     one reconstruction; those at a clip's ends, which read several or none, are
                     left out
    whole clips      the clip's time, divided by its frames
    space-time       a window's time, divided by the SR frames that it adds, of windows that share
                     one LR frame with the window before; clips are made long enough to have one

Warm-up passes are not counted. They end when the medians of two passes in a row differ by at most
5 %; if eight passes do not get there, the result says so.

Weights are random, drawn from one seed, so that nothing needs to be downloaded: time does not
depend on them, but for numbers that are not finite, at which the restorer stops, and for tensors
that begin as zeros. Those are drawn too: with offsets of zero a deformable convolution would read
memory in its best order.
"""

from __future__ import annotations

import functools
import operator
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any, Generic, NamedTuple, TypeVar

import msgspec
import numpy as np
from numpy.typing import NDArray

from bench import checkpoint, provenance, runtime
from bench.cost import hardware
from bench.cost.flops import FlopCounter, Flops
from bench.cost.meter import Clock, CudaClock, Meter, Metered
from bench.errors import BenchError
from bench.latency import Latency, Options, Spread
from bench.paper import Paper
from bench.restore import SlidingWindow, SpaceTime, WholeClip

if TYPE_CHECKING:
    import torch
    from torch import nn

Frame = NDArray[np.uint8]
Cost = TypeVar("Cost", float, Flops)
Restorer = SlidingWindow | WholeClip | SpaceTime
WARM_UP_PASSES = 8
_STABLE = 0.05


class Shape(NamedTuple):
    """A clip of LR frames."""

    height: int
    width: int
    frames: int


class Settings(NamedTuple):
    """Where and how often: `device` as for runtime.place, CPU threads (None: torch's choice)."""

    device: str = "auto"
    threads: int | None = None
    repeats: int = 10


def measure(  # noqa: PLR0917
    chosen: Paper,
    name: str,
    shape: Shape,
    options: Options,
    settings: Settings,
    on_frame: Callable[[], object] = lambda: None,
) -> Latency:
    """What the network of a checkpoint costs; `on_frame` is called after each SR frame.

    Raises BenchError where there is no network, the clip does not fit it, or it cannot run so.
    """
    with _threads(settings.threads):
        try:
            return _measure(chosen, name, shape, options, settings, on_frame)
        except (RuntimeError, ValueError) as error:
            # Out of memory, an operator that lacks this dtype, a compiler that gives up.
            raise BenchError(
                f"{chosen.name} {name} cannot be measured at "
                f"{shape.height}x{shape.width}, {options}",
                found=str(error).strip().partition("\n")[0],
                todo="choose another size, clip length, dtype or device",
            ) from error


def groups(papers: Sequence[Paper]) -> list[list[tuple[Paper, str]]]:
    """The checkpoints that have a network, by architecture: network, arguments and restorer."""
    found: dict[str, list[tuple[Paper, str]]] = {}
    for chosen in papers:
        for name, one in chosen.checkpoints.items():
            if one.network is not None:
                key = repr((one.network, sorted(one.arguments.items()), one.restorer))
                found.setdefault(key, []).append((chosen, name))
    return list(found.values())


def _measure(  # noqa: PLR0917
    chosen: Paper,
    name: str,
    shape: Shape,
    options: Options,
    settings: Settings,
    on_frame: Callable[[], object],
) -> Latency:
    import torch

    restorer = _restorer(chosen, name)
    shape = long_enough(restorer, shape)
    count = count_flops(chosen, name, shape)
    # A device that cannot be used is told before memory is looked at.
    probe, device_name = runtime.place(torch.nn.Linear(1, 1), settings.device)
    device = next(probe.parameters()).device
    memory = hardware.PeakMemory(device)
    network = random_network(chosen, name, options, device)
    metered = Metered(network, clock(device), options.batch)

    def one_pass(seed: int) -> Pass[float]:
        return run_pass(restorer, metered, draw(shape, seed), on_frame)

    with hardware.sensors(device) as read:
        readings = [read()]
        passed, stable = warm_up(one_pass)
        passes = []
        for repeat in range(settings.repeats):
            passes.append(one_pass(passed + repeat))
            readings.append(read())
    of_network = [cost / options.batch for done in passes for cost in done.steady]
    described, one = hardware.describe(device), chosen.checkpoint(name)
    # Which kernels were chosen; what else this says of precision stands in the options.
    kernels = runtime.described("float32", tf32=False, compiled=False)
    return Latency(
        paper=chosen.name,
        checkpoint=name,
        measured_with=name,
        height=shape.height,
        width=shape.width,
        frames=shape.frames,
        whole_clips=isinstance(restorer, WholeClip),
        options=options,
        restoring=restorer.settings(network, shape.height, shape.width) | kernels,
        parameters=sum(p.numel() for p in network.parameters()),
        flops_per_frame=round(count.total),
        counted_flops={key: round(n) for key, n in count.counted.items()},
        uncounted_calls={key: round(n, 3) for key, n in count.uncounted_calls.items()},
        latency_ms=spread(of_network),
        pass_medians_ms=[
            round(float(np.median(done.steady)) / options.batch, 4) for done in passes
        ],
        restoring_ms=spread([cost for done in passes for cost in done.whole])
        if options.batch == 1
        else None,
        first_frame_ms=spread([done.first_ms for done in passes]),
        memory_before_bytes=memory.before_bytes,
        peak_memory_bytes=memory.peak_bytes(),
        warm_up_passes=passed,
        warm_up_stable=stable,
        passes=len(passes),
        device=described,
        readings=readings,
        clocks_fell=hardware.clocks_fell(readings[1:]),
        provenance=msgspec.structs.replace(
            provenance.now(device_name, module=(one.network or "").partition(":")[0]),
            driver=described.driver,
        ),
    )


class Pass(NamedTuple, Generic[Cost]):
    """What one clip cost.

    `steady` are samples of a frame in steady state, inside the network's calls; `whole` the same
    in milliseconds of everything; `first_ms` is the time to the first SR frame.
    """

    steady: list[Cost]
    whole: list[float]
    first_ms: float


class Round(NamedTuple):
    """SR frames that the network makes in one go, and by how many their cost is divided."""

    made: range
    parts: int


def rounds(restorer: Restorer, network: Any, count: int) -> list[Round]:
    """Which SR frames of a clip of `count` are made in steady state, and together.

    Raises BenchError where the clip is too short to have any.
    """
    if isinstance(restorer, WholeClip):
        return [Round(range(count), count)]
    if isinstance(restorer, SpaceTime):
        added = 2 * restorer.inputs - 2
        firsts = range(added + 1, count - added + 1, added)
        return [Round(range(t, t + added), added) for t in firsts]
    found = [Round(range(t, t + 1), 1) for t in range(1, count - network.window // 2)]
    if not found:
        raise BenchError(
            f"a clip of {count} frames has no steady state for a window of {network.window}",
            expected=f"at least {network.window // 2 + 2} frames",
            todo="use a longer clip",
        )
    return found


def long_enough(restorer: Restorer, shape: Shape) -> Shape:
    """The clip, longer if its only whole window is the first; the length moves no figure then."""
    if isinstance(restorer, SpaceTime) and shape.frames >= 2 * restorer.inputs - 1:
        return shape._replace(frames=max(shape.frames, 4 * restorer.inputs - 3))
    return shape


def run_pass(
    restorer: Restorer,
    metered: Metered,
    lr: Sequence[Frame],
    on_frame: Callable[[], object] = lambda: None,
) -> Pass[Any]:
    """Restores a clip through a metered network and says what it cost."""
    steady = rounds(restorer, metered, len(lr))
    costs, times = [], []
    begin = time.perf_counter()
    for _ in restorer.restore(metered, lr, range(len(lr))):
        times.append(1e3 * (time.perf_counter() - begin))
        costs.append(metered.take())
        on_frame()
        begin = time.perf_counter()
    of_rounds = [_sum(costs[one.made.start : one.made.stop]) / one.parts for one in steady]
    return Pass(of_rounds, _whole(steady, of_rounds, costs, times), times[0])


def _sum(costs: Sequence[Cost]) -> Cost:
    return functools.reduce(operator.add, costs)


def _whole(
    steady: Sequence[Round], of_rounds: Sequence[Any], costs: Sequence[Any], times: Sequence[float]
) -> list[float]:
    """The milliseconds of everything: those of the network, and of what is done beside."""
    if not isinstance(costs[0], float):
        return []
    return [
        of_round + (sum(times[i] - costs[i] for i in one.made) / len(one.made))
        for one, of_round in zip(steady, of_rounds, strict=True)
    ]


def count_flops(chosen: Paper, name: str, shape: Shape) -> Flops:
    """FLOPs of one SR frame in steady state, counted without computing anything."""
    import torch

    with torch.device("meta"):
        network = checkpoint.network(chosen, name)
    check_size(chosen, name, network, shape)
    restorer = _restorer(chosen, name)
    clip = draw(long_enough(restorer, shape), 0)
    done = run_pass(restorer, Metered(network, FlopCounter()), clip)
    mean: Flops = _sum(done.steady) / len(done.steady)
    return mean


def check_size(chosen: Paper, name: str, network: Any, shape: Shape) -> None:
    """Raises BenchError where frames are so small that padding would make most of them."""
    smallest = max(getattr(network, "minimum_size", 1), network.size_multiple)
    if min(shape.height, shape.width) < smallest:
        raise BenchError(
            f"frames are too small for {chosen.name} {name}",
            expected=f"height and width of at least {smallest}",
            found=f"{shape.height}x{shape.width}",
            todo="choose a larger size",
        )


def draw(shape: Shape, seed: int) -> list[Frame]:
    """A clip of noise, another one for each seed."""
    rng = np.random.default_rng(seed)
    size = (shape.frames, shape.height, shape.width, 3)
    return list(rng.integers(0, 256, size, dtype=np.uint8))


def clock(device: torch.device) -> Meter[float]:
    """The clock of a device."""
    return CudaClock(device) if device.type == "cuda" else Clock()


def spread(samples: Sequence[float]) -> Spread:
    """Median, 5th and 95th percentile; linear between samples, to a tenth of a microsecond."""
    p5, median, p95 = (round(float(x), 4) for x in np.percentile(samples, (5, 50, 95)))
    return Spread(median=median, p5=p5, p95=p95, samples=len(samples))


def warm_up(one_pass: Callable[[int], Pass[float]]) -> tuple[int, bool]:
    """How many passes it took until two in a row agreed, and whether they did."""
    before: float | None = None
    for number in range(WARM_UP_PASSES):
        median = float(np.median(one_pass(number).steady))
        if before is not None and abs(median - before) <= _STABLE * before:
            return number + 1, True
        before = median
    return WARM_UP_PASSES, False


def _restorer(chosen: Paper, name: str) -> Restorer:
    described = chosen.checkpoint(name)
    if described.restorer is None:
        raise BenchError(
            f"{chosen.name} {name} has no network",
            expected="a checkpoint that has one",
            todo="see bench list",
        )
    return described.restorer.on("", None)


def random_network(chosen: Paper, name: str, options: Options, device: torch.device) -> nn.Module:
    """The network with random weights on its device, as the options have it."""
    import torch

    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        network = checkpoint.network(chosen, name)
        _draw_zeros(network)
    network = network.to(device)
    if options.channels_last:
        network = network.to(memory_format=torch.channels_last)  # type: ignore[call-overload]
    return runtime.prepare(network, options.dtype, options.tf32, options.compiled)


def _draw_zeros(network: nn.Module) -> None:
    """Draws the tensors of weights that begin as zeros, with the deviation 1 / sqrt(inputs)."""
    import torch

    with torch.no_grad():
        for weight in network.parameters():
            if weight.dim() > 1 and not weight.any():
                weight.normal_(std=weight[0].numel() ** -0.5)


@contextmanager
def _threads(count: int | None) -> Iterator[None]:
    """Has torch compute with that many CPU threads meanwhile."""
    import torch

    before = torch.get_num_threads()
    torch.set_num_threads(count or before)
    try:
        yield
    finally:
        torch.set_num_threads(before)
