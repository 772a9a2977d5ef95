"""The pictures below the results folder as a page embeds them: PNG files as data: addresses."""

from __future__ import annotations

import base64
from collections.abc import Sequence
from pathlib import Path

import msgspec

from bench import catalog, pictures
from bench.pictures import Pictures
from bench.record import Record
from bench.site import panel

# Its LR pixels lie on the top left one of the 4x4 that the nearest enlargement gives them.
_LR = {"bd-duf": "LR (nearest: 1.5 pixels off)"}


class Image(msgspec.Struct, frozen=True):
    """One picture of a clip: its label, the record behind it, its frame and its row over time.

    `file` is empty for GT and LR, and `profile` for LR.
    """

    label: str
    file: str
    frame: str
    profile: str


class Album(msgspec.Struct, frozen=True):
    """The pictures of a clip: GT, LR, then the methods. Sizes are those of GT."""

    title: str
    frame: int
    row: int
    frames: int
    height: int
    width: int
    images: list[Image]


def read(results: Path, records: Sequence[Record]) -> list[Album]:
    """The pictures of every clip that has any, of frames that are those of the records."""
    return [_album(results, one, records) for one in pictures.read_all(results, records)]


def _album(results: Path, one: Pictures, records: Sequence[Record]) -> Album:
    behind = {
        f"{each.paper}-{each.checkpoint}": each
        for each in records
        if (each.dataset, each.degradation) == (one.dataset, one.degradation)
    }

    def image(label: str, name: str) -> Image:
        measured = behind.get(name)
        file = panel.record_file(measured) if measured else ""
        label += " (untrained)" * (measured is not None and measured.untrained)
        profile = "" if name == "lr" else _address(pictures.profile_file(results, one, name))
        frame = _address(pictures.frame_file(results, one, name))
        return Image(label, file, frame, profile)

    return Album(
        title=f"{catalog.get(one.dataset).title}, {one.degradation}: {one.clip}",
        frame=one.frame,
        row=one.row,
        frames=one.frames,
        height=one.height,
        width=one.width,
        images=[
            image("GT", "gt"),
            image(_LR.get(one.degradation, "LR (nearest)"), "lr"),
            *(image(f"{m.paper} {m.checkpoint}", m.name) for m in one.methods),
        ],
    )


def _address(file: Path) -> str:
    return "data:image/png;base64," + base64.b64encode(file.read_bytes()).decode()
