"""Measured results with their provenance: one JSON file each, its path its identity."""

from __future__ import annotations

import math
from pathlib import Path
from typing import Any, Literal

import msgspec

from bench import storage
from bench.errors import BenchError
from bench.protocol import Protocol
from bench.provenance import Provenance
from bench.score import ClipScores, Mean, dataset_mean

SCHEMA: Literal[2] = 2
Part = Literal["all", "shown", "interpolated"]
UNTRAINED = ("weights", "untrained")  # the entry in `restoring` of weights that stand in for others
_OTHERWISE = ("dtype", "tf32", "compiled", "triton", "tile", "chunk")  # in `restoring`, by choice
RETRIED = "retried"  # the key in `restoring` of what memory allowed in place of what was asked for


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
    `interpolated` names the frames that no LR frame of the same time was shown to the network for.
    """

    clip: str
    frames: int
    gt_sha256: str
    lr_sha256: str | None
    lr_origin: Literal["files", "made"] | None
    sr_sha256: str
    restoring: dict[str, int | str]
    interpolated: list[int]
    scores: dict[str, FrameScores]
    provenance: str

    def part(self, indices: range, part: Part) -> list[int]:
        """The places in the list of scored frames `indices` that belong to a part of the clip."""
        if part == "all":
            return list(range(len(indices)))
        between = set(self.interpolated)
        return [i for i, t in enumerate(indices) if (t in between) == (part == "interpolated")]


class Failure(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """A clip that could not be measured: the last lines of what went wrong."""

    clip: str
    error: list[str]
    provenance: str


class Record(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """One checkpoint on one data set under one degradation.

    `protocols` maps the names under `scores` to their fields; `clip_count` is the number of clips
    of the whole data set, of which `clips` may hold fewer. `failures` are those that went wrong
    when they were last tried, unless they were measured before.
    """

    schema: Literal[2] = SCHEMA
    paper: str
    checkpoint: str
    dataset: str
    degradation: str
    scale: int
    clip_count: int
    protocols: dict[str, Protocol]
    clips: list[ClipRecord]
    failures: list[Failure]
    provenance: dict[str, Provenance]

    def __post_init__(self) -> None:
        names = [clip.clip for clip in self.clips]
        if len(set(names)) < len(names):
            raise ValueError("a clip is recorded twice")
        named = [(one.clip, one.provenance) for one in self.clips]
        named += [(one.clip, one.provenance) for one in self.failures]
        for name, key in named:
            if key not in self.provenance:
                raise ValueError(f"clip {name}: unknown provenance {key!r}")
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

    def mean(self, name: str, clip: str | None = None, part: Part = "all") -> tuple[Mean, Mean]:
        """Means of PSNR and SSIM under the protocol of that name, over all clips or of one.

        `part` takes only frames that were shown to the network, or that it had to interpolate.
        """
        chosen = [c for c in self.measured(name) if clip in (None, c.clip)]
        protocol = self.protocols[name]
        psnr, ssim = [], []
        for one in chosen:
            places, scores = one.part(protocol.scored(one.frames), part), one.scores[name]
            psnr.append([scores.numbers()[i] for i in places])
            ssim.append([scores.ssim[i] for i in places])
        return dataset_mean(psnr, protocol), dataset_mean(ssim, protocol)

    @property
    def untrained(self) -> bool:
        """Whether any clip was restored by weights that only stand in for the published ones."""
        key, value = UNTRAINED
        return any(clip.restoring.get(key) == value for clip in self.clips)

    @property
    def otherwise(self) -> str:
        """How clips were restored if not as a whole in float32, such as `tile 64`; else empty."""
        pairs = {pair for clip in self.clips for pair in clip.restoring.items()}
        said = {f"{key} {value}" for key, value in pairs if key in {*_OTHERWISE, RETRIED}}
        return ", ".join(sorted(said))

    @property
    def interpolates(self) -> bool:
        """Whether any frame of any clip was interpolated."""
        return any(clip.interpolated for clip in self.clips)


def path(results: Path, paper: str, checkpoint: str, dataset: str, degradation: str) -> Path:
    """Where the record lies below the results folder."""
    return results / "records" / paper / checkpoint / f"{dataset}-{degradation}.json"


def read(file: Path) -> Record:
    """The record in `file`, brought up to date where an earlier version of bench wrote it.

    Raises BenchError where a newer version did, and where the file is torn or was changed wrongly.
    """

    def update(data: Any) -> Any:
        return storage.updated(file, data, SCHEMA, {1: _from_first})

    todo = "restore the file, or remove it to measure its clips again"
    return storage.read_json(file, Record, update, todo)


def _from_first(data: dict[str, Any]) -> dict[str, Any]:
    """Schema 1 knew no interpolated frames, no failures and no digest of the code."""
    clips = [{**clip, "interpolated": []} for clip in data["clips"]]
    sources = {key: {**source, "code_sha256": None} for key, source in data["provenance"].items()}
    return {**data, "clips": clips, "failures": [], "provenance": sources}


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
    records = []
    for file in storage.json_files(results / "records" / (paper or "")):
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
    interpolated: list[int],
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
        interpolated=interpolated,
        scores={
            name: FrameScores(
                ["inf" if math.isinf(value) else round(value, 6) for value in scores.psnr],
                [round(value, 6) for value in scores.ssim],
            )
            for name, scores in scored.scores.items()
        },
        provenance=provenance.key,
    )


def merged(old: Record | None, *new: Record) -> Record:
    """The records `new`, which were measured in one way, and what of `old` was measured so too.

    That is: clips that `new` lacks, made by the same weights from LR of the same origin in the same
    way of restoring; and scores under other protocols of clips whose SR and GT frames are the same.
    A protocol that changed its meaning is dropped. A clip that failed now keeps what it had.
    """
    last = new[-1]
    former = [old] if old and (old.scale, old.clip_count) == (last.scale, last.clip_count) else []
    protocols = {name: p for one in (*former, *new) for name, p in one.protocols.items()}
    clips = {clip.clip: clip for one in new for clip in one.clips}
    made = ways(*new)
    for one in former:
        valid = {name for name, p in one.protocols.items() if p.hash == protocols[name].hash}
        for clip in one.clips:
            again, kept = clips.get(clip.clip), {n: s for n, s in clip.scores.items() if n in valid}
            if again is None and kept and made <= {_made(one, clip)}:
                clips[clip.clip] = msgspec.structs.replace(clip, scores=kept)
            elif again and (again.sr_sha256, again.gt_sha256) == (clip.sr_sha256, clip.gt_sha256):
                clips[clip.clip] = msgspec.structs.replace(again, scores={**kept, **again.scores})
    failed = {failure.clip: failure for one in (*former, *new) for failure in one.failures}
    ordered = [clips[name] for name in sorted(clips)]
    failures = [failed[name] for name in sorted(failed) if name not in clips]
    used = {name for clip in ordered for name in clip.scores}
    sources = {key: source for one in (*former, *new) for key, source in one.provenance.items()}
    wanted = {clip.provenance for clip in ordered} | {one.provenance for one in failures}
    return msgspec.structs.replace(
        last,
        clips=ordered,
        failures=failures,
        protocols={name: p for name, p in sorted(protocols.items()) if name in used or not used},
        provenance={key: sources[key] for key in sorted(wanted)},
    )


def ways(*records: Record) -> frozenset[tuple[str | None, str | None, str]]:
    """The ways in which the clips of the records were made; only those of one may stand in one."""
    return frozenset(_made(one, clip) for one in records for clip in one.clips)


def _made(record: Record, clip: ClipRecord) -> tuple[str | None, str | None, str]:
    """What must agree for two clips to stand in one record; frame sizes may differ."""
    asked = {
        name: value
        for name, value in clip.restoring.items()
        if not name.startswith("padded") and name != RETRIED
    }
    weights = record.provenance[clip.provenance].checkpoint_sha256
    return weights, clip.lr_origin, repr(sorted(asked.items()))
