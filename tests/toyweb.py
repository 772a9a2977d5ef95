"""The toy paper with weight files, and a toy data set, both on the loopback server."""

from __future__ import annotations

import csv
import functools
import io
from pathlib import Path
from typing import Any

import msgspec
import numpy as np
import pytest
import torch
from PIL import Image
from toypaper.network import Toy
from web_server import Server, sha256

from bench import catalog, paper
from bench.fetching import manifest
from bench.restore import SlidingWindow

COMMIT = "c0ffee" + "0" * 34
CLIPS = {"left": 2, "right": 3}


def state_of(seed: int = 0, channels: int = 3) -> dict[str, torch.Tensor]:
    torch.manual_seed(seed)
    return Toy(channels).state_dict()


def saved(content: object) -> bytes:
    file = io.BytesIO()
    torch.save(content, file)
    return file.getvalue()


def with_weights(
    monkeypatch: pytest.MonkeyPatch, toy: paper.Paper, **checkpoints: dict[str, Any]
) -> paper.Paper:
    """The toy paper with these checkpoints of its network beside its methods; the only paper."""
    added = {
        name: paper.Checkpoint(
            **{
                "title": f"toy {name}",
                "network": "toypaper.network:Toy",
                "restorer": SlidingWindow(edge="reflection"),
                "file": f"{name}.pth",
                "wrapper": "params",
                "parameters": 1428,
                **fields,
            }
        )
        for name, fields in checkpoints.items()
    }
    changed = msgspec.structs.replace(toy, checkpoints=toy.checkpoints | added, cells=[])
    monkeypatch.setattr(paper, "load", lambda _: changed)
    return changed


def with_data_set(
    monkeypatch: pytest.MonkeyPatch, server: Server, folder: Path, *downloads: dict[str, Any]
) -> catalog.Dataset:
    """A data set `small` of two clips, its files on the server by a manifest of its own."""
    frames = {
        "GT": ("Frame {}.png", 16, 24),
        "LR-BI": ("{:04d}.png", 4, 6),
        "SR": ("{}.png", 16, 24),
    }
    rows: list[tuple[object, ...]] = []
    for role, (name, height, width) in frames.items():
        for clip, count in CLIPS.items():
            for index in range(count):
                path = f"data/{role}/{clip}/{name.format(index)}"
                content = picture(height, width, len(rows))
                server.put(f"/toy/data/{COMMIT}/{path.replace(' ', '%20')}", content)
                rows.append((role, clip, "toy/data", COMMIT, path, len(content), sha256(content)))
    text = "".join(f"{clip}\n" for clip in CLIPS).encode()
    server.put(f"/toy/data/{COMMIT}/list.txt", text)
    rows.append(("list", "", "toy/data", COMMIT, "list.txt", len(text), sha256(text)))
    with_manifest(monkeypatch, server, folder / "small.csv", rows)
    listed = {"kind": "files", "manifest": "small.csv"}
    described = {
        "title": "Small",
        "folders": ["small", "Small"],
        "scored": "all",
        "degradations": ["bi", "bd"],
        "frames": None,
        "height": 16,
        "width": 24,
        "clips": {clip: {"frames": count} for clip, count in CLIPS.items()},
        "layouts": [
            {"name": "plain", "gt": "GT/{clip}", "lr": {"bi": "LR-BI/{clip}"}},
            {"name": "other", "gt": "hr/{clip}", "lr": {"bi": "lr/{clip}"}},
        ],
        "licence": None,
        "sources": [],
        "downloads": list(downloads)
        or [
            {"what": "GT frames", "role": "GT", "into": "GT/{clip}", **listed},
            {"what": "LR", "role": "LR-BI", "into": "LR-BI/{clip}", "degradation": "bi", **listed},
            {"what": "SR frames", "role": "SR", "into": "SR/{clip}", "released": True, **listed},
        ],
    }
    small = msgspec.structs.replace(msgspec.convert(described, catalog.Dataset), name="small")
    whole = {**catalog.load(), "small": small}

    @functools.cache
    def load() -> dict[str, catalog.Dataset]:
        return whole

    monkeypatch.setattr(catalog, "load", load)
    return small


def with_manifest(
    monkeypatch: pytest.MonkeyPatch, server: Server, path: Path, rows: list[tuple[object, ...]]
) -> None:
    """A manifest of these rows in place of the project's, its files on the server."""
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.open("w", newline="") as file:
        writer = csv.writer(file)
        writer.writerow(["role", "clip", "repository", "commit", "path", "bytes", "sha256"])
        writer.writerows(rows)
    monkeypatch.setattr(manifest, "FOLDER", path.parent)
    monkeypatch.setattr(manifest, "HOST", server.root)


def picture(height: int, width: int, seed: int) -> bytes:
    file = io.BytesIO()
    noise = np.random.default_rng(seed).integers(0, 256, (height, width, 3), dtype=np.uint8)
    Image.fromarray(noise).save(file, "png")
    return file.getvalue()
