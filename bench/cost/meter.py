"""What a network costs while a restorer shows it a clip: its time or its FLOPs, no other's.

A restorer turns frames into tensors, calls the network and rounds what it gives. `Metered` stands
in the network's place: it passes every call on and lets a meter run meanwhile.
"""

from __future__ import annotations

import math
import time
from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING, Any, Protocol, Self, TypeVar

from bench.cost.flops import Flops

if TYPE_CHECKING:
    import torch
    from torch import Tensor

Cost_co = TypeVar("Cost_co", float, Flops, covariant=True)


class Meter(Protocol[Cost_co]):
    """Runs inside its `with` block, which may be entered any number of times."""

    def __enter__(self) -> Self: ...
    def __exit__(self, *error: object) -> None: ...
    def take(self) -> Cost_co:
        """What it cost since the last call."""
        ...


class Clock:
    """Milliseconds on the CPU, whose calls return when their work is done."""

    def __init__(self) -> None:
        self._ms = 0.0
        self._begin = 0.0

    def __enter__(self) -> Self:
        self._begin = time.perf_counter()
        return self

    def __exit__(self, *error: object) -> None:
        self._ms += 1e3 * (time.perf_counter() - self._begin)

    def take(self) -> float:
        """The milliseconds since the last call."""
        taken, self._ms = self._ms, 0.0
        return taken


class CudaClock:
    """Milliseconds on a CUDA device, between events in its queue; read once the queue is empty."""

    def __init__(self, device: torch.device) -> None:
        self._device = device
        self._spans: list[tuple[torch.cuda.Event, torch.cuda.Event]] = []
        self._begin: torch.cuda.Event | None = None

    def __enter__(self) -> Self:
        self._begin = self._event()
        return self

    def __exit__(self, *error: object) -> None:
        if self._begin is None:
            raise RuntimeError("the clock was left before it was entered")
        self._spans.append((self._begin, self._event()))
        self._begin = None

    def take(self) -> float:
        """The milliseconds since the last call; waits for the device."""
        import torch

        torch.cuda.synchronize(self._device)
        taken = math.fsum(begin.elapsed_time(end) for begin, end in self._spans)
        self._spans.clear()
        return taken

    def _event(self) -> torch.cuda.Event:
        import torch

        event: torch.cuda.Event = torch.cuda.Event(enable_timing=True)  # type: ignore[no-untyped-call]
        event.record(torch.cuda.current_stream(self._device))
        return event


class Metered:
    """A network under a meter, for the restorers; it has the network's other attributes.

    `batch` clips are shown at once: the restorer's, and copies of it that are moved sideways by a
    pixel each. The restorer gets the first one back. What a network on the device `meta` gives
    comes back as black frames on the CPU, so that a restorer can round them.
    """

    def __init__(self, network: Any, meter: Meter[Any], batch: int = 1) -> None:
        self._network = network
        self._meter = meter
        self._batch = batch

    def __getattr__(self, name: str) -> Any:
        return getattr(self._network, name)

    def take(self) -> Any:
        """What the network's calls cost since the last time."""
        return self._meter.take()

    def features(self, frames: Tensor) -> Any:
        """The network's features of frames."""
        frames = self.copies(frames)
        with self._meter:
            return self._network.features(frames)

    def reconstruct(self, window: Sequence[Any]) -> Tensor:
        """The network's SR frame of a window."""
        with self._meter:
            restored: Tensor = self._network.reconstruct(window)
        return _on_host(restored)

    def moments(self, window: Sequence[Any], wanted: Sequence[int]) -> Tensor:
        """The network's SR frames of the wanted moments of a window."""
        with self._meter:
            restored: Tensor = self._network.moments(window, wanted)
        return _on_host(restored)

    def frames(self, clip: Tensor) -> Iterator[Tensor]:
        """The network's SR frames of a clip."""
        clip = self.copies(clip)
        made = self._network.frames(clip)
        while True:
            with self._meter:
                restored = next(made, None)
            if restored is None:
                return
            yield _on_host(restored)

    def copies(self, frames: Tensor) -> Tensor:
        """The batch that the network is shown in place of one clip."""
        import torch

        if self._batch == 1:
            return frames
        return torch.cat([frames.roll(i, dims=-1) for i in range(self._batch)])


def _on_host(restored: Tensor) -> Tensor:
    import torch

    return torch.zeros(()).expand(restored.shape) if restored.is_meta else restored
