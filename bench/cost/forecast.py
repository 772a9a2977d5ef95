"""How long a run will take, from what was measured of its network's latency."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from bench import catalog, latency
from bench.catalog import Dataset
from bench.plan import Run


def seconds(
    results: Path, device: str, run: Run, scale: int, clips: Sequence[str] | None = None
) -> float | None:
    """Seconds that the network needs for these clips, or for all of the data set, on a device.

    `device` is a slug of bench.latency. None where the network was not measured on that device, or
    where the size of a clip is not known.
    """
    dataset = catalog.get(run.dataset)
    scale = dataset.lr_scale.get(run.degradation, scale)
    names = list(clips) if clips is not None else list(dataset.clips or ())
    if clips is None and dataset.clips is None:  # named by a list that may not be here
        one = _of(results, device, run, dataset, "", scale)
        return None if one is None else one * dataset.count
    each = [_of(results, device, run, dataset, name, scale) for name in names]
    return None if None in each else sum(one for one in each if one is not None)


def _of(  # noqa: PLR0917
    results: Path, device: str, run: Run, dataset: Dataset, clip: str, scale: int
) -> float | None:
    size = dataset.size(clip)
    if size.frames is None or size.height is None or size.width is None:
        return None
    frames = 1 if dataset.scored == "centre" else size.frames
    return latency.estimate(
        results,
        device,
        run.paper,
        run.checkpoint,
        size.height // scale,
        size.width // scale,
        frames,
    )
