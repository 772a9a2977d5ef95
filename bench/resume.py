"""What need not be measured again: clips whose record says that nothing has changed."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal, get_args

from bench import evaluate, frames, journal, maker, provenance, record, runtime, score
from bench.clips import open_clip
from bench.errors import BenchError
from bench.evaluate import Job
from bench.frames import FrameFiles
from bench.maker import Maker
from bench.record import Record

Overwrite = Literal["only-missing", "always", "never"]
POLICIES: tuple[str, ...] = get_args(Overwrite)


def missing(job: Job, clips: Sequence[str], overwrite: Overwrite = "only-missing") -> list[str]:
    """The clips of the job that are still to be measured, of those named, else of all.

    What earlier runs left behind is gathered first. A clip counts as measured if weights, code, way
    of restoring, protocols and the pixels of its LR and GT frames are those of the record, and its
    SR frames lie where they are to be saved. `always` measures everything anew; `never` leaves a
    run alone that has any record. Raises BenchError where results cannot be written.
    """
    evaluate.check_writable(job)
    wanted = list(dict.fromkeys(clips)) or job.found.clips
    known = journal.gather(job.results, job.run)
    if known is None or overwrite == "always":
        return wanted
    if overwrite == "never":
        return [] if known.clips else wanted
    candidates = {clip for clip in wanted if might_be_valid(job, known, clip)}
    if not candidates:
        return wanted
    outline = maker.outline(job.paper, job.run.checkpoint, job.run.dataset, job.settings)
    return [
        clip for clip in wanted if clip not in candidates or not _valid(job, known, outline, clip)
    ]


def might_be_valid(job: Job, known: Record, clip: str) -> bool:
    """Whether it was scored under these protocols by this code and precision; looks at no file."""
    found, asked = known.clip(clip), job.settings
    said = {k: v for k, v in (found.restoring if found else {}).items() if k in runtime.SAID}
    networks = job.checkpoint.network or job.checkpoint.factory
    precision = runtime.described(asked.dtype, asked.tf32, asked.compiled) if networks else {}
    hashes = {known.protocols[name].hash for name in (found.scores if found else ())}
    code = provenance.code_sha256(maker.module_of(job.checkpoint))
    return (
        found is not None
        and known.scale == job.scale
        and said == precision
        and all(protocol.hash in hashes for protocol in job.protocols.values())
        and known.provenance[found.provenance].code_sha256 == code
    )


def _valid(job: Job, known: Record, outline: Maker, clip: str) -> bool:
    """Whether weights, way of restoring and pixels are those of the record."""
    found = known.clip(clip)
    if found is None:
        return False
    source = known.provenance[found.provenance]
    if source.checkpoint_sha256 != outline.checkpoint_sha256:
        return False
    try:
        opened = open_clip(job.found, clip, job.run.degradation, job.scale)
        if found.lr_sha256 is not None:
            lr = evaluate.decoded(opened.lr, job.settings.workers)
            # What memory allowed is no wish; what weights they are, their SHA-256 tells.
            extra = {record.RETRIED, record.UNTRAINED[0]}
            restoring = {k: v for k, v in found.restoring.items() if k not in extra}
            if (
                score.digest(lr) != found.lr_sha256
                or opened.lr_origin != found.lr_origin
                or outline.restoring(*lr[0].shape[:2]) != restoring
            ):
                return False
        elif _released_sha256(job, clip) != found.sr_sha256:
            return False
        gt = [opened.gt[t] for t in evaluate.restored(job, len(opened.gt))]
    except BenchError:  # what is wrong with it will be told when it is measured
        return False
    return score.digest(gt) == found.gt_sha256 and _is_saved(job, clip, found.sr_sha256)


def _is_saved(job: Job, clip: str, sr_sha256: str) -> bool:
    """Whether its SR frames lie in the folder that they are to be saved in, if in any."""
    folder = evaluate.saved_in(job, clip)
    if folder is None:
        return True
    try:
        return score.digest(FrameFiles(frames.frame_files(folder))) == sr_sha256
    except BenchError:  # there is none yet, or part of it
        return False


def _released_sha256(job: Job, clip: str) -> str:
    found = maker.released(job.paper, job.run.checkpoint, job.found, [clip], job.settings)
    files = found[clip].files
    return score.digest(FrameFiles([files[t] for t in evaluate.restored(job, len(files))]))
