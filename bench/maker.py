"""What makes the SR frames of a run: a function, a network with its weights, or released frames."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from bench import catalog, checkpoint, contract, frames, paper, record, runtime, tiles
from bench.errors import BenchError, choices
from bench.frames import FrameFiles
from bench.locate import Found
from bench.paper import Checkpoint, Paper
from bench.restore import Recurrent, SlidingWindow, SpaceTime
from bench.tiles import Tiled, Way

if TYPE_CHECKING:
    from torch import nn

Frame = NDArray[np.uint8]
Restorer = SlidingWindow | Recurrent | SpaceTime


class Settings(NamedTuple):
    """Where things are, and how networks run.

    `released` is a folder of frames that authors released, used instead of those below the data
    root; `save` is a folder that SR frames are written to; `workers` threads decode and score.
    `device` is what torch calls it, or `auto`: CUDA where there is one. `chunk` is the number of
    frames that a network which sees whole clips is given at a time, `tile` the side of the squares
    in LR pixels that frames are cut into.
    """

    data_root: Path
    released: Path | None = None
    save: Path | None = None
    workers: int = 2
    device: str = "auto"
    dtype: runtime.Dtype = "float32"
    tf32: bool = False
    compiled: bool = False
    chunk: int | None = None
    tile: int | None = None


class Maker(NamedTuple):
    """What makes the SR frames of a run; neither of the first two where they were released.

    method     restores a clip by itself
    network    is shown clips in the `way` that its checkpoint names
    module     the name of the code that it is made of
    arguments  those of the network, as the record says them
    """

    method: paper.Method | None = None
    network: nn.Module | None = None
    scale: int = 4
    way: Way | None = None
    precision: tuple[tuple[str, int | str], ...] = ()
    device: str = "cpu"
    checkpoint_sha256: str | None = None
    module: str | None = None
    arguments: str = ""

    def restore(
        self, lr: Sequence[Frame], wanted: Sequence[int], way: Way | None = None
    ) -> Iterator[Frame]:
        """The SR frames of the wanted frames, by another way than its own where one is given."""
        if self.method:
            return self.method(lr, self.scale, wanted)
        return self._way(way).restore(self.network, lr, wanted)

    def restoring(self, height: int, width: int) -> dict[str, int | str]:
        """What the record says of restoring LR frames of that size."""
        if not self.network:
            return {}
        arguments = {"arguments": self.arguments} if self.arguments else {}
        shown = self._way().settings(self.network, height, width)
        return {**shown, **arguments, **dict(self.precision)}

    def interpolated(self, count: int) -> list[int]:
        """The frames of a clip that no LR frame of the same time was shown for."""
        return self._way().interpolated(count) if self.network else []

    def _way(self, other: Way | None = None) -> Way:
        way = other or self.way
        if way is None:
            raise BenchError("a network needs a restorer", todo="name one in paper.yaml")
        return way


def make(chosen: Paper, name: str, dataset: str, settings: Settings) -> Maker:
    """What makes SR frames of clips of a data set: nothing where they were released.

    Raises BenchError where the checkpoint is not here or does not fit.
    """
    described = chosen.checkpoint(name)
    if described.frames:
        return Maker()
    if described.method:
        method = paper.method(described)
        return Maker(method=method, scale=chosen.scale, module=module_of(described))
    if described.factory:
        return _by_factory(chosen, described, dataset, settings)
    path = checkpoint.find(chosen, name)
    weights = checkpoint.weights(path, described)
    network, device = runtime.place(
        checkpoint.network(chosen, name, weights.state), settings.device
    )
    return Maker(
        network=runtime.prepare(network, settings.dtype, settings.tf32, settings.compiled),
        way=_way(described.restorer, dataset, settings),
        precision=_precision(settings) + (record.UNTRAINED,) * weights.untrained,
        device=device,
        checkpoint_sha256=checkpoint.sha256(path),
        module=module_of(described),
        arguments=_arguments(described),
    )


def check(chosen: Paper, name: str, dataset: str, settings: Settings) -> None:
    """Raises BenchError where a clip cannot be shown in the chunks or tiles that are asked for."""
    described = chosen.checkpoint(name)
    restorer = described.restorer
    if described.factory and (settings.chunk or settings.tile):
        restorer = contract.load(described.factory, chosen.folder).attributes.restorer
    _way(restorer, dataset, settings)


def outline(chosen: Paper, name: str, dataset: str, settings: Settings) -> Maker:
    """The same without device, and without weights but for those that a factory brings.

    That is enough to tell how a clip would be restored.
    """
    described = chosen.checkpoint(name)
    if described.factory:
        return _by_factory(chosen, described, dataset, settings._replace(device="cpu"))
    if not described.network:
        return Maker(module=module_of(described))
    import torch

    with torch.device("meta"):
        network = checkpoint.build(chosen, described)
    return Maker(
        network=network,
        way=_way(described.restorer, dataset, settings),
        precision=_precision(settings),
        checkpoint_sha256=checkpoint.sha256(checkpoint.find(chosen, name)),
        module=module_of(described),
        arguments=_arguments(described),
    )


def _by_factory(chosen: Paper, described: Checkpoint, dataset: str, settings: Settings) -> Maker:
    """What makes SR frames by the method of a factory, which brings its weights."""
    method: Any = contract.load(described.factory or "", chosen.folder)
    scales = {chosen.scale, *catalog.get(dataset).lr_scale.values()}
    if method.scale not in scales:
        raise BenchError(
            f"{described.factory} has another scale than {chosen.name}",
            expected=" or ".join(map(str, sorted(scales))),
            found=str(method.scale),
            todo="mend `scale` in paper.yaml or in the method",
        )
    weights = method.weights_sha256()
    network, device = runtime.place(method, settings.device)
    if settings.compiled:
        network.compile()
    return Maker(
        network=runtime.prepare(network, settings.dtype, settings.tf32, compiled=False),
        way=_way(method.attributes.restorer, dataset, settings),
        precision=_precision(settings),
        device=device,
        checkpoint_sha256=weights,
        module=module_of(described),
    )


def module_of(described: Checkpoint) -> str | None:
    """The module that the checkpoint's method, network or factory is in."""
    named = described.method or described.network or described.factory
    return named.partition(":")[0] if named else None


def _arguments(described: Checkpoint) -> str:
    return ", ".join(f"{name}={value}" for name, value in sorted(described.arguments.items()))


def _precision(settings: Settings) -> tuple[tuple[str, int | str], ...]:
    return tuple(runtime.described(settings.dtype, settings.tf32, settings.compiled).items())


def _way(restorer: Restorer | None, dataset: str, settings: Settings) -> Way | None:
    if restorer is None:
        return None
    way: Any = restorer.on(dataset, settings.chunk)
    if settings.tile:
        tiles.check(settings.tile)
    return Tiled(way, settings.tile) if settings.tile else way


def released(
    chosen: Paper, name: str, found: Found, clips: Sequence[str], settings: Settings
) -> dict[str, FrameFiles]:
    """Released frames of the clips, from the given folder or from below the data set's root."""
    described, wanted = chosen.checkpoint(name), clips or found.clips
    if settings.released:
        folders = frames.clip_folders(settings.released)
        lacking = [clip for clip in wanted if clip not in folders]
        if lacking:
            raise BenchError(
                f"{settings.released} lacks frames of {', '.join(lacking)}",
                expected="a folder of frames for each of " + ", ".join(wanted),
                found=", ".join(filter(None, folders)) or "frames of one clip",
                todo="give the folder that holds one folder a clip",
            )
        return {clip: FrameFiles(frames.frame_files(folders[clip])) for clip in wanted}
    templates = described.frames[found.dataset.name]
    for base in (found.root, settings.data_root):
        for template in templates:
            places = {clip: base / template.format(clip=clip) for clip in wanted}
            if all(place.is_dir() for place in places.values()):
                return {clip: FrameFiles(frames.frame_files(p)) for clip, p in places.items()}
    fetched = any(one.released and one.into in templates for one in found.dataset.downloads)
    raise BenchError(
        f"released frames ({described.title}) not found",
        expected=choices(templates),
        found=f"none of them in {found.root}",
        todo=(f"run bench fetch {chosen.name}, or " if fetched else "")
        + "name their folder with --frames; they are at "
        + ", ".join(described.sources),
    )
