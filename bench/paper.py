"""paper.yaml -> Paper: published cells with their sources, checkpoints, and verdicts on cells."""

from __future__ import annotations

import importlib
import importlib.metadata
import importlib.resources
import math
from collections.abc import Callable, Collection, Iterable, Iterator, Sequence
from decimal import Decimal
from pathlib import Path
from typing import Annotated, Any, Literal

import msgspec
import numpy as np
from numpy.typing import NDArray

from bench import catalog, protocol, storage
from bench.errors import BenchError, choices
from bench.restore import Recurrent, SlidingWindow, SpaceTime

Frame = NDArray[np.uint8]
Method = Callable[[Sequence[Frame], int, Sequence[int]], Iterator[Frame]]
"""LR frames of a whole clip, uint8 RGB (h, w, 3), the scale, and the indices of the wanted frames,
which ascend -> the SR frames of those, in order."""

Printed = Annotated[str, msgspec.Meta(pattern=r"^\d+\.\d+$")]
Field = Literal["row", "dataset", "degradation", "clip", "checkpoint", "protocol", "source"]
GROUP = "bench.papers"
_NULLS = {"clip": "mean", "checkpoint": "none", "protocol": "not stated"}


class Source(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Where numbers were published. `kind` is how they were read: an image, a log, a README."""

    where: str
    kind: str | None = None
    note: str | None = None


class Checkpoint(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """One way of the paper to make SR frames.

    method       `module:function` that restores a clip (see `Method`)
    network      `module:class` of a network, `arguments` for it, `parameters` that it must have,
                 and the `restorer` that shows it a clip
    frames       data set -> folders of frames that the authors released, `{clip}` in each
    missing      why it cannot be run here

    Exactly one of these four. For a network: `file` is the published file's name, `wrapper` the key
    that its state dict lies under, `prefix` what stands before every name in it, `names` the tables
    of names.yaml that may turn its names into ours, the empty one standing for ours; `sha256` may
    be as many of the first digits as are known, `git_blob` is git's SHA-1 of the file.
    """

    title: str
    method: str | None = None
    network: str | None = None
    arguments: dict[str, int | float | bool | str] = {}
    parameters: int | None = None
    restorer: SlidingWindow | Recurrent | SpaceTime | None = None
    file: str | None = None
    wrapper: str | None = None
    prefix: str = ""
    names: tuple[str, ...] = ("",)
    git_blob: str | None = None
    frames: dict[str, list[str]] = {}
    missing: str | None = None
    sources: list[str] = []
    sha256: str | None = None
    licence: str | None = None
    note: str | None = None

    @property
    def state(self) -> str:
        """What it takes to run it, in a few words."""
        if self.missing:
            return f"cannot run: {self.missing}"
        if self.network:
            return f"needs {self.file}"
        return "scored from released frames" if self.frames else "no weights needed"

    def __post_init__(self) -> None:
        if sum(map(bool, (self.method, self.network, self.frames, self.missing))) != 1:
            raise ValueError("exactly one of method, network, frames and missing must be given")
        if self.network and not (self.restorer and self.file):
            raise ValueError("a network needs a restorer and a file")


class Cell(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """One published number: PSNR and SSIM as printed, under a protocol, from a source.

    `protocol` is null where the source does not state one; `clip` is null for the whole data set;
    `verified` is false for numbers from memory, which earn no verdict.
    """

    row: str
    dataset: str
    degradation: str
    checkpoint: str | None
    protocol: str | None
    psnr: Printed | None
    ssim: Printed | None
    source: str
    clip: str | None = None
    verified: bool = True
    note: str | None = None

    def __post_init__(self) -> None:
        if self.psnr is None and self.ssim is None:
            raise ValueError("a cell needs psnr or ssim")


class Context(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """A published table that is not measured here, such as costs on other devices."""

    title: str
    columns: list[str]
    rows: list[list[str]]

    def __post_init__(self) -> None:
        if any(len(row) != len(self.columns) for row in self.rows):
            raise ValueError(f"{self.title}: every row needs {len(self.columns)} entries")


class Table(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """Some of the cells in the shape of the table that published them.

    where     field -> the values that its cells have, in the order of the table
    rows      heading -> the fields whose values are the rows
    columns   the fields whose values are the columns; without any, one row is one cell
    titles    value -> what is shown in its place; values of one title share a row or column
    facts     heading -> what is told of a row's checkpoints: their parameters in millions, their
              names, or a text for each
    below     titles of context tables whose rows follow, under the same headings
    split     PSNR and SSIM in columns of their own

    Values are those that `value` gives.
    """

    title: str
    rows: dict[str, list[Field]]
    where: dict[Field, list[str]] = {}
    columns: list[Field] = []
    titles: dict[str, str] = {}
    facts: dict[str, Literal["parameters", "name"] | dict[str, str]] = {}
    below: list[str] = []
    split: bool = False

    def __post_init__(self) -> None:
        if not all([self.rows, *self.rows.values()]):
            raise ValueError(f"{self.title}: rows need at least one field")
        if self.split and self.columns:
            raise ValueError(f"{self.title}: split goes without columns")

    @property
    def axes(self) -> list[Field]:
        """The fields of its rows and columns."""
        return [*(field for fields in self.rows.values() for field in fields), *self.columns]

    def choose(self, cells: Sequence[Cell]) -> list[Cell]:
        """Those of the cells that belong in the table, in its order; means after their clips."""
        found = [
            cell
            for cell in cells
            if all(value(cell, field) in names for field, names in self.where.items())
        ]
        clips = "clip" in self.axes

        def order(cell: Cell) -> tuple[int, ...]:
            listed = [names.index(value(cell, field)) for field, names in self.where.items()]
            return (int(clips and cell.clip is None), *listed)

        return sorted(found, key=order)

    def row(self, cell: Cell) -> tuple[str, ...]:
        """The titles of the cell's row, one for each heading."""
        return tuple(self._shown(cell, fields) for fields in self.rows.values())

    def column(self, cell: Cell) -> str:
        """The title of the cell's column."""
        return self._shown(cell, self.columns)

    def _shown(self, cell: Cell, fields: Sequence[Field]) -> str:
        return ", ".join(self.titles.get(value(cell, f)) or shown(cell, f) for f in fields)

    def check(self, chosen: Paper) -> None:
        """Raises ValueError, the key first, where the table does not fit the cells of the paper."""
        for field, names in self.where.items():
            known = {value(cell, field) for cell in chosen.cells}
            _refuse_unknown(f"where.{field}", names, known)
        cells = self.choose(chosen.cells)
        if not cells:
            raise ValueError("where: expected values of at least one cell, found those of none")
        known = {value(cell, field) for cell in cells for field in self.axes}
        _refuse_unknown("titles", self.titles, known)
        for heading, texts in self.facts.items():
            if isinstance(texts, dict):
                _refuse_unknown(f"facts.{heading}", texts, chosen.checkpoints)
        places = [(self.row(cell), self.column(cell)) for cell in cells]
        if self.columns and (twice := [p for p in places if places.count(p) > 1]):
            row, column = twice[0]
            raise ValueError(f"columns: two cells in row {', '.join(row)!r}, column {column!r}")
        context = {table.title: table for table in chosen.context}
        _refuse_unknown("below", self.below, context)
        known = {*self.facts, *(column for _, column in places)}
        for title in self.below:
            _refuse_unknown(f"below: columns of {title!r}", context[title].columns[1:], known)


def value(cell: Cell, field: Field) -> str:
    """What the cell has in that field, in words where that is null."""
    found: str | None = getattr(cell, field)
    return _NULLS[field] if found is None else found


def shown(cell: Cell, field: Field) -> str:
    """The value in that field as tables show it: data sets by their titles."""
    return catalog.get(cell.dataset).title if field == "dataset" else value(cell, field)


def _refuse_unknown(key: str, found: Iterable[str], known: Collection[str]) -> None:
    for name in found:
        if name not in known:
            raise ValueError(f"{key}: {choices(known)}, found {name!r}")


class Paper(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """A publication: its cells, its checkpoints, the sources of its numbers."""

    schema: Literal[1]
    title: str
    scale: Literal[2, 3, 4]
    sources: dict[str, Source]
    checkpoints: dict[str, Checkpoint]
    cells: list[Cell]
    context: list[Context] = []
    tables: list[Table] = []
    note: str | None = None
    name: str = ""
    package: str = ""

    def __post_init__(self) -> None:
        for number, cell in enumerate(self.cells):
            known = catalog.load()
            found = known.get(cell.dataset)
            checks: tuple[tuple[str, str | None, Collection[str]], ...] = (
                ("source", cell.source, self.sources),
                ("data set", cell.dataset, known),
                ("checkpoint", cell.checkpoint, self.checkpoints),
                ("protocol", cell.protocol, protocol.PROTOCOLS),
                ("degradation", cell.degradation, found.degradations if found else ()),
                ("clip", cell.clip, (found.clips if found else None) or (cell.clip or "",)),
            )
            for what, name, choice in checks:
                if name is not None and name not in choice:
                    raise ValueError(
                        f"cells[{number}] ({cell.row}): {choices(choice)}, found {what} {name!r}"
                    )

    def checkpoint(self, name: str) -> Checkpoint:
        """The checkpoint of that name."""
        if name not in self.checkpoints:
            raise BenchError(
                f"{self.name} has no checkpoint {name!r}",
                expected=choices(self.checkpoints),
                todo="choose one of them",
            )
        return self.checkpoints[name]


def names() -> list[str]:
    """The names of the installed papers, sorted."""
    return sorted(_entry_points())


def load(name: str) -> Paper:
    """The paper of that name, from the paper.yaml of its package."""
    packages = _entry_points()
    if name not in packages:
        raise BenchError(
            "unknown paper", expected=choices(packages), found=repr(name), todo="choose one"
        )
    try:
        folder = importlib.resources.files(packages[name])
    except ImportError as error:
        raise BenchError(
            f"paper {name} cannot be loaded",
            expected=f"a package {packages[name]} with a paper.yaml",
            found=str(error),
            todo="install or remove the distribution that names it",
        ) from error
    return read(Path(str(folder)) / "paper.yaml", name, packages[name])


def read(path: Path, name: str, package: str = "") -> Paper:
    """The paper that the file in that package describes."""
    loaded = storage.read_yaml(path, Paper)
    for number, table in enumerate(loaded.tables):
        try:
            table.check(loaded)
        except ValueError as error:
            raise BenchError(f"{path}: tables[{number}].{error}", todo="mend that key") from error
    return msgspec.structs.replace(loaded, name=name, package=package)


def method(checkpoint: Checkpoint) -> Method:
    """The function that restores a clip, imported."""
    module, _, attribute = (checkpoint.method or "").partition(":")
    try:
        found: Any = getattr(importlib.import_module(module), attribute)
    except (ImportError, AttributeError, ValueError) as error:
        raise BenchError(
            f"cannot import the method {checkpoint.method!r}",
            expected="module:function",
            found=str(error),
            todo="mend `method` in paper.yaml or install what it needs",
        ) from error
    return found  # type: ignore[no-any-return]


def rounded(measured: float, published: str) -> str:
    """The measured value with as many decimals as the published one.

    >>> rounded(23.78358, "23.78")
    '23.78'
    """
    return str(Decimal(measured).quantize(_unit(published)))


def agrees(measured: float, published: str) -> bool:
    """Whether the measured value rounds to the published one within one unit of its last digit.

    Infinite values agree with nothing.

    >>> agrees(21.7939, "21.80"), agrees(0.5428, "0.5246")
    (True, False)
    """
    if not math.isfinite(measured):
        return False
    return abs(Decimal(rounded(measured, published)) - Decimal(published)) <= _unit(published)


def _unit(published: str) -> Decimal:
    return Decimal(1).scaleb(Decimal(published).as_tuple().exponent)  # type: ignore[arg-type]


def _entry_points() -> dict[str, str]:
    found = importlib.metadata.entry_points(group=GROUP)
    return {entry.name: entry.value for entry in found}
