"""Measured results with their provenance: one JSON file each, its path its identity."""

from __future__ import annotations

import functools
import hashlib
import importlib.metadata
import math
import platform
import subprocess
from datetime import UTC, datetime
from pathlib import Path
from typing import Literal

import msgspec

from bench import storage
from bench.errors import BenchError
from bench.protocol import Protocol
from bench.score import ClipScores, Mean, dataset_mean

SCHEMA: Literal[1] = 1
_PACKAGES = ("numpy", "pillow", "scikit-image", "scipy", "torch", "vsr-reproductions")


class Provenance(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """Where a number came from; what is unknown is null."""

    measured_at: str
    commit: str | None
    dirty: bool | None
    python: str
    packages: dict[str, str]
    platform: str
    device: str
    driver: str | None
    checkpoint_sha256: str | None

    @property
    def key(self) -> str:
        """Eight hexadecimal digits that stand for this provenance inside a record."""
        return hashlib.sha256(msgspec.json.encode(self, order="sorted")).hexdigest()[:8]


class FrameScores(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Scores of the scored frames of a clip: PSNR in dB, `"inf"` where frames are identical."""

    psnr: list[float | Literal["inf"]]
    ssim: list[float]

    def numbers(self) -> list[float]:
        """PSNR as numbers."""
        return [float(value) for value in self.psnr]


class ClipRecord(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """What was measured on one clip; digests are those of bench.score.

    `restoring` is what moves the number beside checkpoint and data: windows, padding, precision.
    """

    clip: str
    frames: int
    gt_sha256: str
    lr_sha256: str | None
    lr_origin: Literal["files", "made"] | None
    sr_sha256: str
    restoring: dict[str, int | str]
    scores: dict[str, FrameScores]
    provenance: str


class Record(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """One checkpoint on one data set under one degradation.

    `protocols` maps the names under `scores` to their fields; `clip_count` is the number of clips
    of the whole data set, of which `clips` may hold fewer.
    """

    schema: Literal[1] = SCHEMA
    paper: str
    checkpoint: str
    dataset: str
    degradation: str
    scale: int
    clip_count: int
    protocols: dict[str, Protocol]
    clips: list[ClipRecord]
    provenance: dict[str, Provenance]

    def __post_init__(self) -> None:
        names = [clip.clip for clip in self.clips]
        if len(set(names)) < len(names):
            raise ValueError("a clip is recorded twice")
        for clip in self.clips:
            for name, scores in clip.scores.items():
                if name not in self.protocols:
                    raise ValueError(f"clip {clip.clip}: unknown protocol {name!r}")
                wanted = len(self.protocols[name].scored(clip.frames))
                if not wanted == len(scores.psnr) == len(scores.ssim):
                    raise ValueError(
                        f"clip {clip.clip}: {name} needs the scores of {wanted} frames"
                    )

    def measured(self, name: str) -> list[ClipRecord]:
        """The clips with scores under the protocol of that name."""
        return [clip for clip in self.clips if name in clip.scores]

    def complete(self, name: str) -> bool:
        """Whether every clip of the data set has scores under the protocol of that name."""
        return len(self.measured(name)) == self.clip_count

    def clip(self, name: str) -> ClipRecord | None:
        """The clip of that name, if it was measured."""
        return next((clip for clip in self.clips if clip.clip == name), None)

    def name_of(self, protocol: Protocol) -> str | None:
        """The name under which the record holds scores of this protocol."""
        return next((n for n, p in self.protocols.items() if p.hash == protocol.hash), None)

    def mean(self, name: str, clip: str | None = None) -> tuple[Mean, Mean]:
        """Means of PSNR and SSIM under the protocol of that name, over all clips or of one."""
        chosen = [c for c in self.measured(name) if clip in (None, c.clip)]
        scores, protocol = [c.scores[name] for c in chosen], self.protocols[name]
        return (
            dataset_mean([s.numbers() for s in scores], protocol),
            dataset_mean([s.ssim for s in scores], protocol),
        )


def path(results: Path, paper: str, checkpoint: str, dataset: str, degradation: str) -> Path:
    """Where the record lies below the results folder."""
    return results / "records" / paper / checkpoint / f"{dataset}-{degradation}.json"


def read(file: Path) -> Record:
    """The record in `file`; says so where a newer version of bench wrote it."""

    class Version(msgspec.Struct):
        schema: int

    version = storage.read_json(file, Version).schema
    if version > SCHEMA:
        raise BenchError(
            f"{file} was written by a newer version of bench",
            expected=f"schema {SCHEMA} or earlier",
            found=f"schema {version}",
            todo="upgrade vsr-reproductions",
        )
    return storage.read_json(file, Record)


def write(results: Path, record: Record) -> Path:
    """Writes the record under its path and returns it: sorted keys, one number a line."""
    file = path(results, record.paper, record.checkpoint, record.dataset, record.degradation)
    text = msgspec.json.format(msgspec.json.encode(record, order="sorted"), indent=2)
    storage.write_text(file, text.decode() + "\n")
    return file


def read_all(results: Path, paper: str | None = None) -> list[Record]:
    """Every record below the results folder, of one paper or of all, sorted by path.

    Raises BenchError where a file is not under the path that its content asks for, such as a copy.
    """
    pattern = f"{paper or '*'}/*/*.json"
    records = []
    for file in sorted((results / "records").glob(pattern)):
        found = read(file)
        wanted = path(results, found.paper, found.checkpoint, found.dataset, found.degradation)
        if file != wanted:
            raise BenchError(
                f"{file} is misplaced",
                expected=str(wanted),
                todo="move it there or remove it",
            )
        records.append(found)
    return records


def clip_record(
    clip: str,
    scored: ClipScores,
    provenance: Provenance,
    *,
    lr_sha256: str | None,
    lr_origin: Literal["files", "made"] | None,
    restoring: dict[str, int | str],
) -> ClipRecord:
    """The record of a clip.

    Scores keep 6 decimals, the last that does not depend on the processor's way of summing.
    """
    return ClipRecord(
        clip=clip,
        frames=scored.frames,
        gt_sha256=scored.gt_sha256,
        lr_sha256=lr_sha256,
        lr_origin=lr_origin,
        sr_sha256=scored.sr_sha256,
        restoring=restoring,
        scores={
            name: FrameScores(
                ["inf" if math.isinf(value) else round(value, 6) for value in scores.psnr],
                [round(value, 6) for value in scores.ssim],
            )
            for name, scores in scored.scores.items()
        },
        provenance=provenance.key,
    )


def merged(old: Record | None, new: Record) -> Record:
    """`new`, and what of `old` was measured in the same way.

    That is: clips that `new` lacks, made by the same weights from LR of the same origin in the same
    way of restoring; and scores under other protocols of clips whose SR and GT frames are the same.
    A protocol that changed its meaning is dropped.
    """
    if old is None or (old.scale, old.clip_count) != (new.scale, new.clip_count) or not new.clips:
        return new
    protocols = {**old.protocols, **new.protocols}
    valid = {name for name, p in old.protocols.items() if p.hash == protocols[name].hash}
    clips = {clip.clip: clip for clip in new.clips}
    made = _made(new, new.clips[0])
    for clip in old.clips:
        again, kept = clips.get(clip.clip), {n: s for n, s in clip.scores.items() if n in valid}
        if again is None and kept and _made(old, clip) == made:
            clips[clip.clip] = msgspec.structs.replace(clip, scores=kept)
        elif again and (again.sr_sha256, again.gt_sha256) == (clip.sr_sha256, clip.gt_sha256):
            clips[clip.clip] = msgspec.structs.replace(again, scores={**kept, **again.scores})
    ordered = sorted(clips.values(), key=lambda clip: clip.clip)
    used = {name for clip in ordered for name in clip.scores}
    sources = {**old.provenance, **new.provenance}
    return msgspec.structs.replace(
        new,
        clips=ordered,
        protocols={name: p for name, p in protocols.items() if name in used},
        provenance={key: sources[key] for key in sorted({clip.provenance for clip in ordered})},
    )


def _made(record: Record, clip: ClipRecord) -> tuple[object, ...]:
    """What must agree for two clips to stand in one record; frame sizes may differ."""
    settings = {k: v for k, v in clip.restoring.items() if not k.startswith("padded")}
    return record.provenance[clip.provenance].checkpoint_sha256, clip.lr_origin, settings


def provenance(device: str = "cpu", checkpoint_sha256: str | None = None) -> Provenance:
    """The provenance of what is measured now, in this process."""
    commit, dirty = _commit()
    return Provenance(
        measured_at=datetime.now(UTC).strftime("%Y-%m-%dT%H:%M:%SZ"),
        commit=commit,
        dirty=dirty,
        python=platform.python_version(),
        packages={name: v for name in _PACKAGES if (v := package_version(name))},
        platform=f"{platform.system()} {platform.machine()}",
        device=cpu_model() if device == "cpu" else device,
        driver=None,
        checkpoint_sha256=checkpoint_sha256,
    )


def package_version(name: str) -> str | None:
    """The version of an installed distribution, found without importing it."""
    try:
        return importlib.metadata.version(name)
    except importlib.metadata.PackageNotFoundError:
        return None


@functools.cache
def cpu_model() -> str:
    """The processor's name, as far as the system tells."""
    try:
        lines = Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines()
    except OSError:
        lines = []
    named = (line.partition(":")[2].strip() for line in lines if line.startswith("model name"))
    return next(named, platform.processor() or platform.machine())


@functools.cache
def _commit() -> tuple[str | None, bool | None]:
    """Commit of the checkout that this package runs from, and whether its code was changed."""
    root = Path(__file__).parent.parent
    if not (root / ".git").exists():
        return None, None

    def git(*words: str) -> str:
        command = ["git", "-C", str(root), *words]
        return subprocess.run(command, capture_output=True, text=True, check=True).stdout.strip()  # noqa: S603

    try:
        changed = git("status", "--porcelain", "--", "bench", "reproductions", "datasets.yaml")
        return git("rev-parse", "HEAD"), bool(changed)
    except (OSError, subprocess.CalledProcessError):
        return None, None
