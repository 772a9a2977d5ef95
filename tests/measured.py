"""Results as if they had been measured: records and latencies of chosen numbers."""

from __future__ import annotations

from pathlib import Path

import msgspec

from bench import latency, record
from bench.cost.hardware import Device
from bench.latency import Spread
from bench.protocol import PROTOCOLS
from bench.provenance import Provenance
from bench.record import ClipRecord, Failure, FrameScores, Record

FILE = Path(__file__).parent / "fixtures/latency-schema-1.json"


def source(**fields) -> Provenance:
    """The provenance of a number."""
    known = {
        "measured_at": "2026-11-20T00:00:00Z",
        "commit": "0" * 40,
        "dirty": False,
        "code_sha256": "c0de",
        "python": "3.11.7",
        "packages": {"torch": "2.13.0"},
        "platform": "Linux x86_64",
        "device": "AMD EPYC",
        "driver": None,
        "checkpoint_sha256": "feed",
    }
    return Provenance(**known | fields)


def scores(psnr, ssim=None) -> FrameScores:
    """Scores of frames; an SSIM of 0.8 for each where none is given."""
    return FrameScores(list(psnr), list(ssim or [0.8] * len(psnr)))


def clip(name, made: FrameScores | dict[str, FrameScores], **fields) -> ClipRecord:
    """A clip with its scores under `fixed`, or under each of the protocols that are named."""
    by_protocol = made if isinstance(made, dict) else {"fixed": made}
    known = {
        "frames": len(next(iter(by_protocol.values())).psnr),
        "gt_sha256": f"gt of {name}",
        "lr_sha256": f"lr of {name}",
        "lr_origin": "files",
        "sr_sha256": f"sr of {name}",
        "restoring": {},
        "interpolated": [],
        "provenance": source().key,
    }
    return ClipRecord(clip=name, scores=by_protocol, **known | fields)


def made(clips, **fields) -> Record:
    """A record of these clips, whole unless `clip_count` says otherwise."""
    used = {name for one in clips for name in one.scores} or {"fixed"}
    known = {
        "paper": "toy",
        "checkpoint": "good",
        "dataset": "sample",
        "degradation": "bi",
        "scale": 4,
        "clip_count": len(clips),
        "protocols": {name: PROTOCOLS[name] for name in sorted(used) if name in PROTOCOLS},
        "failures": [],
        "provenance": {source().key: source()},
    }
    return Record(clips=list(clips), **known | fields)


def failure(name, line="it broke") -> Failure:
    """What became of a clip that failed."""
    return Failure(clip=name, error=["Traceback", line], provenance=source().key)


def device(name="AMD EPYC", kind="cpu") -> Device:
    """A device of one thread."""
    return msgspec.structs.replace(latency.read(FILE).device, name=name, kind=kind)


def timed(passes=(), *, median=None, spread=0.01, **fields) -> latency.Latency:
    """A latency with these medians of passes, or with a median alone, as of schema 1."""
    middle = median or sorted(passes)[len(passes) // 2]
    known = {
        "latency_ms": Spread(
            median=middle, p5=middle * (1 - spread), p95=middle * (1 + spread), samples=50
        ),
        "pass_medians_ms": list(passes) or None,
        "warm_up_stable": True,
        "clocks_fell": None,
    }
    return msgspec.structs.replace(latency.read(FILE), **known | fields)


def write(results: Path, *found: Record | latency.Latency) -> None:
    """Writes them below the results folder."""
    for one in found:
        (record if isinstance(one, Record) else latency).write(results, one)
