"""What stands behind a number: a record or a latency -> the facts that a reader asks for."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping
from pathlib import Path

import msgspec

from bench import catalog, latency, record, tables
from bench.latency import Latency
from bench.provenance import Provenance
from bench.record import ClipRecord, Record

_TOLD = ("paper", "checkpoint")
_HERE = Path()  # of which paths are relative to the results folder


class Scored(msgspec.Struct, frozen=True):
    """One protocol of a record: its name, words and hash, and the means under it as texts."""

    name: str
    words: str
    hash: str
    psnr: str
    ssim: str


class Panel(msgspec.Struct, frozen=True):
    """A title, the file below the results folder, facts as pairs of texts, and scores."""

    title: str
    file: str
    facts: list[tuple[str, str]]
    scores: list[Scored]


def record_file(one: Record) -> str:
    """Where the record lies below the results folder, with slashes."""
    return file_of(one.paper, one.checkpoint, one.dataset, one.degradation)


def file_of(paper: str, checkpoint: str, dataset: str, degradation: str) -> str:
    """Where the record of that identity lies below the results folder, with slashes."""
    return record.path(_HERE, paper, checkpoint, dataset, degradation).as_posix()


def latency_file(one: Latency) -> str:
    """Where the latency lies below the results folder, with slashes."""
    return latency.path(_HERE, one).as_posix()


def of_record(one: Record) -> Panel:
    """What a record says of itself, when it was measured aside."""
    clips = f"{len(one.clips)} of {one.clip_count}"
    frames = sum(clip.frames for clip in one.clips)
    used = {clip.provenance for clip in one.clips} | {each.provenance for each in one.failures}
    sources = [one.provenance[key] for key in sorted(used)]
    facts = [
        ("method", f"{one.paper}, checkpoint {one.checkpoint}"),
        ("data set", f"{catalog.get(one.dataset).title}, {one.degradation}, scale {one.scale}"),
        ("clips measured", clips),
        ("frames", str(frames)),
        ("LR frames", _counted(clip.lr_origin or "not needed" for clip in one.clips)),
        ("restoring", _counted(_restoring(clip) for clip in one.clips)),
        *_interpolated(one),
        *([("weights", "untrained")] if one.untrained else []),
        *((f"failed: {each.clip}", each.error[-1] if each.error else "") for each in one.failures),
        *_provenance(sources),
    ]
    scores = [_scored(one, name) for name in sorted(one.protocols)]
    return Panel(f"{one.paper} / {one.checkpoint}", record_file(one), facts, scores)


def _scored(one: Record, name: str) -> Scored:
    protocol = one.protocols[name]
    if not one.complete(name):
        return Scored(name, str(protocol), protocol.hash, tables.partial(one, name), "")
    psnr, ssim = one.mean(name)
    return Scored(name, str(protocol), protocol.hash, psnr.text(), ssim.text())


def of_latency(one: Latency) -> Panel:
    """What a latency says of itself."""
    row = latency.row(one)
    device = one.device
    facts = [
        ("method", f"{one.paper}, checkpoint {one.checkpoint}"),
        *((name, str(text)) for name, text in row.items() if text and name not in _TOLD),
        ("samples", f"{one.latency_ms.samples} frames in {one.passes} passes"),
        ("restoring", _pairs(one.restoring)),
        ("device", f"{device.name}, {device.threads} threads of {device.cpu}"),
        *([("CUDA", device.cuda)] if device.cuda else []),
        *([("driver", device.driver)] if device.driver else []),
        *_provenance([one.provenance], without="device"),
    ]
    return Panel(f"{one.paper} / {one.checkpoint} on {device.slug}", latency_file(one), facts, [])


def _restoring(clip: ClipRecord) -> str:
    return _pairs(clip.restoring)


def _pairs(found: Mapping[str, object]) -> str:
    return ", ".join(f"{name} {value}" for name, value in sorted(found.items())) or "none"


def _interpolated(one: Record) -> list[tuple[str, str]]:
    between = sum(len(clip.interpolated) for clip in one.clips)
    return [("interpolated frames", str(between))] if between else []


def _provenance(sources: list[Provenance], without: str = "") -> list[tuple[str, str]]:
    """What the clips' provenances say, each thing once, with how often where they differ."""
    found = {
        "device": [one.device for one in sources],
        "checkpoint SHA-256": [one.checkpoint_sha256 or "no weights" for one in sources],
        "commit": [_commit(one) for one in sources],
        "code SHA-256": [one.code_sha256 or "unknown" for one in sources],
        "Python": [one.python for one in sources],
        "packages": [_pairs(one.packages) for one in sources],
        "platform": [one.platform for one in sources],
    }
    return [(name, "; ".join(dict.fromkeys(v))) for name, v in found.items() if name != without]


def _commit(one: Provenance) -> str:
    return (one.commit or "unknown") + (" (changed)" if one.dirty else "")


def _counted(texts: Iterable[str]) -> str:
    """The texts, each once, with how many clips each is of where they differ."""
    counts = Counter(texts)
    if len(counts) == 1:
        return next(iter(counts))
    return "; ".join(
        f"{text} ({count} clip{'s' * (count > 1)})" for text, count in sorted(counts.items())
    )
