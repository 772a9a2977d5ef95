"""A checkpoint's outputs against those that its authors released: frames, or a log of scores."""

from __future__ import annotations

import csv
import importlib.resources
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from bench import catalog, engine, evaluate, frames, locate, maker, plan, resume
from bench.clips import open_clip
from bench.errors import BenchError, choices
from bench.frames import FrameFiles
from bench.maker import Maker, Settings
from bench.paper import Paper, Reference
from bench.plan import Selection
from bench.protocol import PROTOCOLS
from bench.record import Record

Frame = NDArray[np.uint8]

# Devices and library versions round some values to the neighbouring grey level; whatever is more
# than that, but for a few pixels where a choice among near ties fell otherwise, is another network,
# other weights or other frames.
LEVELS = 1
SHARE_BEYOND = 1e-3
# What such rounding moves of a frame's score, at most.
PSNR_DB, SSIM = 0.001, 0.00005


class Compared(NamedTuple):
    """One frame of a clip, counted from 0, or its score under one protocol, beside the released.

    measure      what was compared: `grey levels`, or `PSNR y` and the like
    difference   the largest of the frame, in grey levels, dB or units of SSIM
    beyond       share of the frame's values that differ by more than one grey level
    agrees       whether that is within what rounding explains
    """

    clip: str
    frame: int
    measure: str
    difference: float
    beyond: float
    agrees: bool


def verify(  # noqa: PLR0917
    chosen: Paper,
    key: str,
    settings: Settings,
    results: Path,
    given: Path | None = None,
    on_frame: Callable[[], object] = lambda: None,
) -> list[Compared]:
    """Every frame of the reference of that name beside what the checkpoint makes here.

    `given` is a folder of released frames, or of clips of them, used instead of those below the
    data root. Scores are taken from the record in `results`, after measuring what it lacks.
    Raises BenchError that says what is missing.
    """
    reference = chosen.references[key]
    described = chosen.checkpoint(reference.checkpoint)
    if reference.scores:
        return _against_log(chosen, reference, settings, results, on_frame)
    if described.network is None and described.method is None:
        raise BenchError(f"{described.title} makes no frames", todo="see bench list")
    clips = list(_released(chosen, key, settings, given))
    made = maker.make(chosen, reference.checkpoint, reference.dataset or "", settings)
    return [
        row
        for name, lr, released in clips
        for row in _against_frames(name, lr(), released, made, on_frame)
    ]


def frame_count(chosen: Paper, key: str, settings: Settings, given: Path | None = None) -> int:
    """How many frames `verify` will look at."""
    reference = chosen.references[key]
    if reference.scores:
        return len(_log(chosen, reference))
    return sum(len(released) for *_, released in _released(chosen, key, settings, given))


def _against_frames(
    clip: str,
    lr: Sequence[Frame],
    released: FrameFiles,
    made: Maker,
    on_frame: Callable[[], object],
) -> Iterator[Compared]:
    for t, sr in enumerate(_restored(lr, len(released), made)):
        theirs = released[t]
        if theirs.shape != sr.shape:
            raise BenchError(
                f"{released.files[t]} has another size than our frame",
                expected=f"{sr.shape[1]}x{sr.shape[0]}",
                found=f"{theirs.shape[1]}x{theirs.shape[0]}",
                todo="use the frames that the authors released",
            )
        apart = np.abs(sr.astype(np.int16) - theirs)
        beyond = float(np.mean(apart > LEVELS))
        yield Compared(clip, t, "grey levels", int(apart.max()), beyond, beyond <= SHARE_BEYOND)
        on_frame()


def _restored(lr: Sequence[Frame], count: int, made: Maker) -> Iterator[Frame]:
    try:
        yield from made.restore(lr, range(count))
    except (RuntimeError, MemoryError) as error:  # an operator without that precision, memory
        raise BenchError(
            "the frames cannot be made here",
            found=str(error).partition("\n")[0] or type(error).__name__,
            todo="try --tile 64, another --device or --dtype float32",
        ) from error


def _released(
    chosen: Paper, key: str, settings: Settings, given: Path | None
) -> Iterator[tuple[str, Callable[[], Sequence[Frame]], FrameFiles]]:
    """Each clip's name, what gives its LR frames, and its released frames."""
    reference, root = chosen.references[key], settings.data_root
    if not reference.dataset:
        lr = FrameFiles(frames.frame_files(_first(root, reference.lr, chosen, reference)))
        folder = given or _first(root, reference.frames, chosen, reference)
        shown = [file for file in lr.files for _ in range(reference.every)]
        shown = shown[: len(shown) - reference.every + 1]
        yield key, lambda: list(FrameFiles(shown)), _counted(folder, len(shown))
        return
    found = locate.find(catalog.get(reference.dataset), root, reference.clips)
    folders = frames.clip_folders(given) if given else {}
    for clip in reference.clips or found.clips:
        folder = folders.get(clip) or _first(
            root, [t.format(clip=clip) for t in reference.frames], chosen, reference
        )
        opened = open_clip(found, clip, reference.degradation or "")

        def decoded(lr: Sequence[Frame] = opened.lr) -> list[Frame]:
            return evaluate.decoded(lr, settings.workers)

        yield clip, decoded, _counted(folder, len(opened.gt))


def _first(root: Path, folders: Sequence[str], chosen: Paper, reference: Reference) -> Path:
    for folder in folders:
        if (root / folder).is_dir():
            return root / folder
    raise BenchError(
        f"{reference.title}: no frames found",
        expected=choices(folders) + f" in {root}",
        todo=f"run bench fetch {chosen.name}"
        if reference.manifest
        else f"put them there; their source is {reference.source} in paper.yaml",
    )


def _counted(folder: Path, count: int) -> FrameFiles:
    files = frames.frame_files(folder)
    if len(files) != count:
        raise BenchError(
            f"{folder} holds the wrong number of frames",
            expected=str(count),
            found=str(len(files)),
            todo="use the frames that the authors released",
        )
    return FrameFiles(files)


class Row(NamedTuple):
    """One line of a log: scores as printed, by column."""

    clip: str
    frame: int
    scores: dict[str, float]


def _log(chosen: Paper, reference: Reference) -> list[Row]:
    file = Path(str(importlib.resources.files(chosen.package))) / (reference.scores or "")
    wanted = [f"{kind}_{name}" for name in reference.protocols for kind in ("psnr", "ssim")]
    try:
        with file.open(encoding="utf-8", newline="") as text:
            rows = list(csv.DictReader(text))
        read = [
            Row(row["clip"], int(row["frame"]) - 1, {name: float(row[name]) for name in wanted})
            for row in rows
        ]
    except (OSError, KeyError, TypeError, ValueError) as error:
        raise BenchError(
            f"cannot read {file}",
            expected="columns clip, frame, " + ", ".join(wanted),
            found=str(error),
            todo="mend the file",
        ) from error
    return [row for row in read if not reference.clips or row.clip in reference.clips]


def _against_log(
    chosen: Paper,
    reference: Reference,
    settings: Settings,
    results: Path,
    on_frame: Callable[[], object],
) -> list[Compared]:
    selection = Selection(
        [reference.checkpoint],
        [reference.dataset or ""],
        [reference.degradation or ""],
        reference.clips,
        list(reference.protocols.values()),
    )
    (item,) = plan.plan(chosen, selection, settings)
    if item.problem:
        raise item.problem
    job = evaluate.job(item, chosen, reference.clips, settings, results)
    todo = [(job, resume.missing(job, reference.clips))]
    (done,) = engine.execute(todo, lambda items: engine.in_process(items, on_frame))
    if done.failed or done.record is None:
        clip, error = next(iter(done.failed.items()))
        raise BenchError(f"clip {clip} could not be measured", found=error[-1])
    log = _log(chosen, reference)
    return [row for line in log for row in _line(line, done.record, reference)]


def _line(line: Row, measured: Record, reference: Reference) -> Iterator[Compared]:
    clip = measured.clip(line.clip)
    if clip is None or line.frame >= clip.frames:
        raise BenchError(
            f"the log names frame {line.frame + 1} of {line.clip}",
            found=f"{clip.frames} frames" if clip else "no such clip",
            todo="mend the log or its clips",
        )
    for name, text in reference.protocols.items():
        scores = clip.scores[measured.name_of(PROTOCOLS[text]) or ""]
        for kind, values, limit in (
            ("psnr", scores.numbers(), PSNR_DB),
            ("ssim", scores.ssim, SSIM),
        ):
            apart = abs(values[line.frame] - line.scores[f"{kind}_{name}"])
            label = f"{kind.upper()} {name}"
            yield Compared(line.clip, line.frame, label, apart, 0.0, apart <= limit)
