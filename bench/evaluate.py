"""Work items -> clips restored and scored -> records: what any worker does with one clip."""

from __future__ import annotations

import traceback
from collections.abc import Callable, Iterable, Iterator, Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from bench import (
    catalog,
    frames,
    journal,
    locate,
    maker,
    provenance,
    record,
    runtime,
    score,
    storage,
    tiles,
)
from bench.clips import Clip, check_lr, open_clip
from bench.errors import BenchError
from bench.frames import FrameFiles
from bench.locate import Found
from bench.maker import Maker, Settings
from bench.paper import Checkpoint, Paper
from bench.plan import Planned, Run
from bench.protocol import Protocol
from bench.provenance import Provenance
from bench.record import ClipRecord, Failure, Record

Frame = NDArray[np.uint8]
_ERROR_LINES = 6


class Job(NamedTuple):
    """What all items of a run share: plain values, which any process can be handed.

    `found` is where the data set lies, `scale` that of GT over LR, `results` where records go.
    """

    run: Run
    paper: Paper
    protocols: dict[str, Protocol]
    found: Found
    scale: int
    settings: Settings
    results: Path

    @property
    def checkpoint(self) -> Checkpoint:
        """What paper.yaml says of the checkpoint."""
        return self.paper.checkpoint(self.run.checkpoint)


class Outcome(NamedTuple):
    """What became of an item: how many frames were scored, or the last lines of its error."""

    clip: str
    frames: int
    error: list[str]


class Inputs(NamedTuple):
    """A clip and its decoded LR frames; without LR for released frames."""

    clip: Clip
    lr: list[Frame] | None


def job(
    planned: Planned, chosen: Paper, clips: Sequence[str], settings: Settings, results: Path
) -> Job:
    """The job of a planned run.

    Raises BenchError where the data set or one of the clips is not here.
    """
    run = planned.run
    found = locate.find(catalog.get(run.dataset), settings.data_root, clips)
    locate.check_clips(found, clips)
    scale = found.dataset.lr_scale.get(run.degradation, chosen.scale)
    return Job(run, chosen, planned.protocols, found, scale, settings, results)


def check_writable(job: Job) -> None:
    """Raises BenchError where its record, or the frames that it is to save, cannot be written."""
    storage.check_writable(record.path(job.results, *job.run).parent)
    if job.settings.save:
        storage.check_writable(job.settings.save)


def read(job: Job, clip: str) -> Inputs:
    """Opens a clip, decodes its LR frames and checks them against its GT frames."""
    opened = open_clip(job.found, clip, job.run.degradation, job.scale)
    if job.checkpoint.frames:
        return Inputs(opened, None)
    lr = decoded(opened.lr, job.settings.workers)
    check_lr(opened, job.run.degradation, job.settings.workers)
    return Inputs(opened, lr)


class Worker:
    """Measures clips of one job, one after the other, with one network."""

    def __init__(self, job: Job) -> None:
        self.job = job
        self._maker: Maker | None = None

    def work(
        self,
        clip: str,
        inputs: Callable[[], Inputs] | None = None,
        on_frame: Callable[[], object] = lambda: None,
    ) -> Outcome:
        """Measures one clip and writes it, or what went wrong, into the journal.

        `inputs` gives what `read` gives, where that was begun before. Nothing but an interruption
        leaves this function, and a full disk.
        """
        job = self.job
        source: Provenance | None = None
        clips: list[ClipRecord] = []
        failures: list[Failure] = []
        try:
            made = self._made()
            source = provenance.now(made.device, made.checkpoint_sha256, made.module)
            given = inputs() if inputs else read(job, clip)
            clips = [_measured(job, given, made, source, on_frame)]
        # A method of a user's own may even call sys.exit.
        except (Exception, SystemExit) as error:  # noqa: BLE001 - the other clips go on
            source = source or provenance.now()
            failures = [Failure(clip=clip, error=_told(error, job), provenance=source.key)]
        _write(job, clips, failures, source)
        scored = len(restored(job, clips[0].frames)) if clips else 0
        return Outcome(clip, scored, failures[0].error if failures else [])

    def _made(self) -> Maker:
        """What makes the SR frames, kept from one clip to the next."""
        if self._maker is None:
            run = self.job.run
            self._maker = maker.make(self.job.paper, run.checkpoint, run.dataset, self.job.settings)
        return self._maker


def died(job: Job, clip: str, how: str) -> Outcome:
    """Writes down that the worker of a clip died, and how."""
    source = provenance.now()
    _write(job, [], [Failure(clip=clip, error=[how], provenance=source.key)], source)
    return Outcome(clip, 0, [how])


def _write(job: Job, clips: list[ClipRecord], failures: list[Failure], source: Provenance) -> None:
    run = job.run
    single = Record(
        paper=run.paper,
        checkpoint=run.checkpoint,
        dataset=run.dataset,
        degradation=run.degradation,
        scale=job.scale,
        clip_count=job.found.dataset.count,
        protocols=job.protocols,
        clips=clips,
        failures=failures,
        provenance={source.key: source},
    )
    journal.write(job.results, single)


def _told(error: Exception | SystemExit, job: Job) -> list[str]:
    """The last lines of an error: one for those with a message of ours, else where it came from."""
    if isinstance(error, BenchError):
        return [str(error)]
    lines = "".join(traceback.format_exception(error)).rstrip().split("\n")
    told = "\n".join(line.rstrip() for line in lines[-_ERROR_LINES:])
    # A record names no folder of the machine that it was measured on.
    for folder in filter(None, (job.paper.folder, str(Path(__file__).parent.parent))):
        told = told.replace(f"{folder}/", "")
    return told.split("\n")


def frame_count(job: Job, clips: Sequence[str]) -> int | None:
    """How many frames of these clips will be scored, where datasets.yaml tells."""
    if job.found.dataset.scored == "centre":
        return len(clips)
    counts = [job.found.dataset.size(clip).frames for clip in clips]
    return sum(count for count in counts if count) if all(counts) else None


def restored(job: Job, count: int) -> range:
    """The frames of a clip that are restored: all, or its centre frame if only that is scored."""
    centre = job.found.dataset.scored == "centre"
    return range(count // 2, count // 2 + 1) if centre else range(count)


def saved_in(job: Job, clip: str) -> Path | None:
    """The folder that the SR frames of a clip are to be saved in, if they are."""
    run, save = job.run, job.settings.save
    return save.joinpath(*run[:2], f"{run.dataset}-{run.degradation}", clip) if save else None


def decoded(lr: Sequence[Frame], workers: int) -> list[Frame]:
    """The LR frames of a clip, decoded or made by that many threads."""
    return list(frames.in_order(lr.__getitem__, range(len(lr)), workers))


def _measured(
    job: Job,
    inputs: Inputs,
    made: Maker,
    source: Provenance,
    on_frame: Callable[[], object],
) -> ClipRecord:
    clip, lr = inputs
    wanted = restored(job, len(clip.gt))
    if lr is None:
        found = maker.released(job.paper, job.run.checkpoint, job.found, [clip.name], job.settings)
        files = found[clip.name].files
        scored = _scored(
            job, clip, FrameFiles([files[t] for t in restored(job, len(files))]), on_frame
        )
        restoring: dict[str, int | str] = {}
    else:
        restoring = made.restoring(*lr[0].shape[:2])
        scored, retried = _restored(job, clip, lr, made, on_frame)
        restoring |= {record.RETRIED: retried} if retried else {}
    return record.clip_record(
        clip.name,
        scored,
        source,
        lr_sha256=score.digest(lr) if lr else None,
        lr_origin=clip.lr_origin if lr else None,
        restoring=restoring,
        interpolated=[t for t in made.interpolated(len(clip.gt)) if t in wanted],
    )


def _restored(
    job: Job, clip: Clip, lr: list[Frame], made: Maker, on_frame: Callable[[], object]
) -> tuple[score.ClipScores, str]:
    """The scores, and what memory allowed in place of what was asked for, if it ran out."""
    wanted = restored(job, len(clip.gt))
    ways: Iterator[tuple[str, tiles.Way | None]] = iter([("", None)])
    if made.way:
        height, width = lr[0].shape[:2]
        smaller = tiles.smaller(made.way, height, width, len(lr))
        ways = iter([("", None), *smaller])
    tried = []
    for label, way in ways:
        try:
            sr = _plausible(made.restore(lr, wanted, way), lr, wanted)
            return _scored(job, clip, sr, on_frame), label
        except Exception as error:
            if not runtime.out_of_memory(error):
                raise
        tried.append(label or "whole")
        runtime.free_memory()
    raise BenchError(
        "memory ran out",
        expected="memory for a frame of "
        f"{lr[0].shape[1]}x{lr[0].shape[0]} LR pixels, or a part of it",
        found="too little for " + ", ".join(tried),
        todo="try --dtype float16, another --device, or close what else uses its memory",
    )


def _scored(
    job: Job, clip: Clip, sr: Iterable[Frame], on_frame: Callable[[], object]
) -> score.ClipScores:
    wanted = restored(job, len(clip.gt))
    folder = saved_in(job, clip.name)
    if folder:
        sr = _saved(sr, wanted, folder)
    return score.score_clip(
        sr,
        clip.gt,
        job.protocols,
        workers=job.settings.workers,
        on_frame=on_frame,
        restored=wanted,
    )


def _plausible(sr: Iterable[Frame], lr: Sequence[Frame], wanted: Sequence[int]) -> Iterator[Frame]:
    """The SR frames as they come; one of a single colour where LR has several is a failure."""
    for place, frame in enumerate(sr):  # how many there should be, scoring tells
        t = wanted[min(place, len(wanted) - 1)]
        if frame.min() == frame.max() and lr[t].min() != lr[t].max():
            raise BenchError(
                f"SR frame {t} has one colour, its LR frame has several",
                todo="check that the weights fit and what range the method gives",
            )
        yield frame


def _saved(sr: Iterable[Frame], wanted: Sequence[int], folder: Path) -> Iterator[Frame]:
    for place, frame in enumerate(sr):  # how many there should be, scoring tells
        if place < len(wanted):
            frames.write(folder / f"{wanted[place]:08d}.png", frame)
        yield frame
