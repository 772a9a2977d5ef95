"""A paper's cells -> runs -> clips restored and scored -> records."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from bench import catalog, checkpoint, frames, locate, paper, protocol, record, score, storage
from bench.catalog import Dataset
from bench.clips import Clip, check_lr, check_makeable, open_clip
from bench.errors import BenchError, choices
from bench.frames import FrameFiles
from bench.locate import Found
from bench.paper import Checkpoint, Paper
from bench.protocol import Protocol
from bench.record import ClipRecord, Provenance, Record

Frame = NDArray[np.uint8]
_SAVE_EVERY_S = 10.0


class Run(NamedTuple):
    """One checkpoint on one data set under one degradation: what a record holds."""

    paper: str
    checkpoint: str
    dataset: str
    degradation: str

    def __str__(self) -> str:
        return f"{self.paper}/{self.checkpoint} on {self.dataset}, {self.degradation}"


class Planned(NamedTuple):
    """A run, the protocols that its published cells need, and why it cannot be run, if so."""

    run: Run
    protocols: dict[str, Protocol]
    cells: int
    problem: BenchError | None


class Settings(NamedTuple):
    """Where things are and how many threads decode and score.

    `released` is a folder of frames that authors released, used instead of those below the data
    root; `save` is a folder that SR frames are written to; `device` is what torch calls it, or
    `auto`: CUDA where there is one; `chunk` is the number of frames that a network which sees
    whole clips is given at a time.
    """

    data_root: Path
    released: Path | None = None
    save: Path | None = None
    workers: int = 2
    device: str = "auto"
    chunk: int | None = None


class Selection(NamedTuple):
    """What of a paper is wanted; empty means everything that its cells name."""

    checkpoints: Sequence[str] = ()
    datasets: Sequence[str] = ()
    degradations: Sequence[str] = ()
    clips: Sequence[str] = ()
    protocols: Sequence[str] = ()


def plan(chosen: Paper, selection: Selection, settings: Settings) -> list[Planned]:
    """Every run that the paper's cells name, and those that the selection names beside them.

    A data set that no cell names, such as `sample`, is run under the degradations asked for, else
    under its first one, with every checkpoint that has a method.
    """
    protocols: dict[Run, dict[str, Protocol]] = {}
    cells: dict[Run, int] = {}
    for cell in chosen.cells:
        if cell.checkpoint is None:
            continue
        run = Run(chosen.name, cell.checkpoint, cell.dataset, cell.degradation)
        protocols.setdefault(run, {})
        cells[run] = cells.get(run, 0) + 1
        if cell.protocol is not None:
            protocols[run][cell.protocol] = protocol.PROTOCOLS[cell.protocol]
    for run in _asked_for(chosen, selection):
        protocols.setdefault(run, {})
    parsed = [protocol.parse(text) for text in selection.protocols]
    wanted = {protocol.name_of(one): one for one in parsed}
    chosen_runs = [run for run in protocols if _selected(run, selection)]
    if not chosen_runs:
        raise BenchError(
            f"{chosen.name} has no such run",
            expected="checkpoint, data set and degradation among "
            + "; ".join(" ".join(run[1:]) for run in protocols),
            todo="choose one of them",
        )
    return [
        Planned(
            run,
            applicable(
                catalog.get(run.dataset),
                {"fixed": protocol.PROTOCOLS["fixed"], **protocols[run], **wanted},
            ),
            cells.get(run, 0),
            _problem(chosen, run, selection.clips, settings),
        )
        for run in chosen_runs
    ]


def applicable(dataset: Dataset, protocols: dict[str, Protocol]) -> dict[str, Protocol]:
    """The protocols for a data set: `fixed-centre` for `fixed` where only centre frames are scored.

    Raises BenchError where another protocol scores frames that the data set does not.
    """
    if dataset.scored == "all":
        return protocols
    fixed = {"fixed-centre": protocol.PROTOCOLS["fixed-centre"]} if "fixed" in protocols else {}
    others = {name: wanted for name, wanted in protocols.items() if name != "fixed"}
    for name, wanted in others.items():
        if wanted.frames != "centre":
            raise BenchError(
                f"protocol {name} does not fit {dataset.title}",
                expected="frames=centre: only the centre frame of a clip is scored",
                found=str(wanted),
                todo="choose a protocol such as y-crop0-centre",
            )
    return {**fixed, **others}


def _asked_for(chosen: Paper, selection: Selection) -> Iterator[Run]:
    for name in selection.checkpoints:
        chosen.checkpoint(name)
    for name in selection.datasets:
        dataset = catalog.get(name)
        named = {cell.degradation for cell in chosen.cells if cell.dataset == name}
        for degradation in selection.degradations:
            if degradation not in dataset.degradations:
                raise BenchError(
                    f"{dataset.title} has no degradation {degradation!r}",
                    expected=choices(dataset.degradations),
                    todo="choose one of them",
                )
        for key, described in chosen.checkpoints.items():
            runnable = described.method or described.network
            if runnable and not (named and not selection.degradations):
                for degradation in selection.degradations or dataset.degradations[:1]:
                    yield Run(chosen.name, key, name, degradation)


def _selected(run: Run, selection: Selection) -> bool:
    return all(
        not wanted or value in wanted
        for value, wanted in (
            (run.checkpoint, selection.checkpoints),
            (run.dataset, selection.datasets),
            (run.degradation, selection.degradations),
        )
    )


def _problem(
    chosen: Paper, run: Run, clips: Sequence[str], settings: Settings
) -> BenchError | None:
    """Why the run cannot start, or None."""
    described = chosen.checkpoint(run.checkpoint)
    try:
        if described.missing:
            return BenchError(described.missing)
        if described.frames and run.dataset not in described.frames:
            return BenchError(f"no frames were released for {run.dataset}")
        if described.network:
            checkpoint.find(chosen, run.checkpoint)
        found = locate.find(catalog.get(run.dataset), settings.data_root, clips)
        if described.frames:
            _released(described, found, clips, settings)
        elif run.degradation not in found.lr:
            check_makeable(found, run.degradation)
    except BenchError as error:
        return error
    return None


def execute(  # noqa: PLR0917
    planned: Planned,
    chosen: Paper,
    clips: Sequence[str],
    settings: Settings,
    results: Path,
    on_frame: Callable[[], object] = lambda: None,
) -> Record:
    """Restores and scores the clips of one run (all of the data set where none are named).

    The record is written below `results`, together with what was measured before in the same way,
    every few seconds and at the end, so that an interruption loses little.
    """
    run = planned.run
    file = record.path(results, *run)
    old = record.read(file) if file.exists() else None
    found = locate.find(catalog.get(run.dataset), settings.data_root, clips)
    locate.check_clips(found, clips)
    storage.check_writable(file.parent)
    scale = found.dataset.lr_scale.get(run.degradation, chosen.scale)
    wanted = list(dict.fromkeys(clips)) or found.clips
    maker = _maker(chosen, run, found, wanted, settings)
    provenance = record.provenance(maker.device, maker.checkpoint_sha256)
    measured: list[ClipRecord] = []

    def save() -> Record:
        whole = Record(
            paper=run.paper,
            checkpoint=run.checkpoint,
            dataset=run.dataset,
            degradation=run.degradation,
            scale=scale,
            clip_count=found.dataset.count,
            protocols=planned.protocols,
            clips=sorted(measured, key=lambda clip: clip.clip),
            provenance={provenance.key: provenance},
        )
        whole = record.merged(old, whole)
        record.write(results, whole)
        return whole

    saved = time.monotonic()
    try:
        for name in wanted:
            clip = open_clip(found, name, run.degradation, scale)
            measured.append(_clip(planned, maker, clip, provenance, settings, on_frame))
            if time.monotonic() - saved > _SAVE_EVERY_S:
                save()
                saved = time.monotonic()
    except BaseException:
        if measured:
            save()
        raise
    return save()


def frame_count(planned: Planned, clips: Sequence[str], settings: Settings) -> int | None:
    """How many frames the run will score, where datasets.yaml tells."""
    found = locate.find(catalog.get(planned.run.dataset), settings.data_root, clips)
    wanted = list(dict.fromkeys(clips)) or found.clips
    if found.dataset.scored == "centre":
        return len(wanted)
    counts = [found.dataset.size(clip).frames for clip in wanted]
    return sum(count for count in counts if count) if all(counts) else None


class Maker(NamedTuple):
    """What makes the SR frames of a run.

    `restore(lr, wanted)` gives those of the wanted frames, `released` holds those of every clip;
    one of the two is None. `restoring(height, width)` is what the record says of it.
    """

    restore: Callable[[Sequence[Frame], Sequence[int]], Iterator[Frame]] | None
    released: dict[str, FrameFiles] | None
    restoring: Callable[[int, int], dict[str, int | str]] = lambda *_: {}
    device: str = "cpu"
    checkpoint_sha256: str | None = None


def _maker(
    chosen: Paper, run: Run, found: Found, clips: Sequence[str], settings: Settings
) -> Maker:
    described = chosen.checkpoint(run.checkpoint)
    if described.frames:
        return Maker(None, _released(described, found, clips, settings))
    if described.method:
        method = paper.method(described)
        return Maker(lambda lr, wanted: method(lr, chosen.scale, wanted), None)
    path = checkpoint.find(chosen, run.checkpoint)
    network, device = checkpoint.place(
        checkpoint.network(chosen, run.checkpoint, checkpoint.read(path, described)),
        settings.device,
    )
    if described.restorer is None:
        raise BenchError(f"{chosen.name} {run.checkpoint} has no restorer")
    restorer = described.restorer.on(run.dataset, settings.chunk)
    return Maker(
        lambda lr, wanted: restorer.restore(network, lr, wanted),
        None,
        lambda height, width: restorer.settings(network, height, width),
        device,
        checkpoint.sha256(path),
    )


def _clip(  # noqa: PLR0917
    planned: Planned,
    maker: Maker,
    clip: Clip,
    provenance: Provenance,
    settings: Settings,
    on_frame: Callable[[], object],
) -> ClipRecord:
    run, count = planned.run, len(clip.gt)
    centre = catalog.get(run.dataset).scored == "centre"
    wanted = range(count // 2, count // 2 + 1) if centre else range(count)
    lr_sha256 = lr_origin = None
    restoring: dict[str, int | str] = {}
    sr: Iterable[Frame]
    try:
        if maker.restore:
            lr = list(frames.in_order(clip.lr.__getitem__, range(len(clip.lr)), settings.workers))
            check_lr(clip, run.degradation, settings.workers)
            lr_sha256, lr_origin = score.digest(lr), clip.lr_origin
            restoring = maker.restoring(*lr[0].shape[:2])
            sr = maker.restore(lr, wanted)
        else:
            released = (maker.released or {})[clip.name]
            sr = FrameFiles([released.files[t] for t in wanted]) if centre else released
        if settings.save:
            folder = settings.save.joinpath(*run[:2], f"{run.dataset}-{run.degradation}")
            sr = _saved(sr, wanted, folder / clip.name)
        scored = score.score_clip(
            sr,
            clip.gt,
            planned.protocols,
            workers=settings.workers,
            on_frame=on_frame,
            restored=wanted,
        )
    except BenchError as error:
        raise BenchError(f"{run}, clip {clip.name}: {error}") from error
    return record.clip_record(
        clip.name,
        scored,
        provenance,
        lr_sha256=lr_sha256,
        lr_origin=lr_origin,
        restoring=restoring,
    )


def _saved(sr: Iterable[Frame], wanted: Sequence[int], folder: Path) -> Iterator[Frame]:
    for index, frame in zip(wanted, sr, strict=True):
        frames.write(folder / f"{index:08d}.png", frame)
        yield frame


def _released(
    described: Checkpoint, found: Found, clips: Sequence[str], settings: Settings
) -> dict[str, FrameFiles]:
    """Released frames of the clips, from the given folder or from below the data set's root."""
    wanted = clips or found.clips
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
    raise BenchError(
        f"released frames ({described.title}) not found",
        expected=choices(templates),
        found=f"none of them in {found.root}",
        todo="name their folder with --frames; they are at " + ", ".join(described.sources),
    )
