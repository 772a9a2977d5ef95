"""Seeded weights in the published layout, which stand in for files that cannot be had here."""

from __future__ import annotations

import io

import msgspec
import pytest
import torch

from bench import checkpoint, paper
from bench.paper import Paper

CHECKPOINTS = {"edvr": "m-reds", "psrt": "reds", "stdan": "stdan", "tdan": "bix4", "ttvsr": "reds"}


def file_of(chosen: Paper) -> tuple[str, bytes]:
    """The checkpoint's name, and a file in the layout that its publisher chose, marked as such.

    Constants are left out, as publishers may.
    """
    name = CHECKPOINTS[chosen.name]
    described = chosen.checkpoint(name)
    torch.manual_seed(1)
    network = checkpoint.build(chosen, described)
    theirs = {o: t for t, o in checkpoint.name_tables(chosen, described)[0].items()}
    published = checkpoint.rename(dict(network.named_parameters()), theirs)
    state = {f"{described.prefix}{key}": value.detach() for key, value in published.items()}
    content = {described.wrapper: state} if described.wrapper else state
    file = io.BytesIO()
    torch.save({**content, "untrained": True}, file)
    return name, file.getvalue()


def published_at(monkeypatch: pytest.MonkeyPatch, chosen: Paper, name: str, address: str) -> Paper:
    """The paper with that checkpoint alone, its file at that address, without a known hash."""
    described = msgspec.structs.replace(
        chosen.checkpoint(name), sources=[address], sha256=None, git_blob=None
    )
    cells = [msgspec.structs.replace(cell, checkpoint=name) for cell in chosen.cells[:1]]
    cells = [
        msgspec.structs.replace(
            cell, dataset="sample", degradation="bi", protocol="fixed", clip=None, verified=True
        )
        for cell in cells
    ]
    changed = msgspec.structs.replace(
        chosen, checkpoints={name: described}, cells=cells, references={}, tables=[], context=[]
    )
    monkeypatch.setattr(paper, "load", lambda _: changed)
    return changed
