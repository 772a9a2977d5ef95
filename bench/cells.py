"""Published numbers: cells with their sources, the tables that they stand in, and verdicts."""

from __future__ import annotations

import math
from collections.abc import Collection, Iterable, Sequence
from decimal import Decimal
from typing import Annotated, Literal

import msgspec

from bench import catalog
from bench.errors import choices

Printed = Annotated[str, msgspec.Meta(pattern=r"^\d+\.\d+$")]
Field = Literal["row", "dataset", "degradation", "clip", "checkpoint", "protocol", "source"]
_NULLS = {"clip": "mean", "checkpoint": "none", "protocol": "not stated"}


class Source(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Where numbers were published. `kind` is how they were read: an image, a log, a README."""

    where: str
    kind: str | None = None
    note: str | None = None


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


class Timed(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """How times that were measured here join a published table of times.

    label         what stands in its first column
    checkpoint    whose network was measured
    time, device  the columns of the time, in `unit`, and of the device
    frames        the SR frames that one published time is of
    size          height x width of the LR frames, where the source states it; others do not join
    """

    label: str
    checkpoint: str
    time: str
    device: str
    unit: Literal["s", "ms"]
    frames: int = 1
    size: Annotated[str, msgspec.Meta(pattern=r"^\d+x\d+$")] | None = None


class Context(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """A published table whose numbers get no verdict, such as costs on other devices."""

    title: str
    columns: list[str]
    rows: list[list[str]]
    timed: Timed | None = None

    def __post_init__(self) -> None:
        if any(len(row) != len(self.columns) for row in self.rows):
            raise ValueError(f"{self.title}: every row needs {len(self.columns)} entries")
        if self.timed:
            _refuse_unknown("timed", [self.timed.time, self.timed.device], self.columns[1:])


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

    def check(
        self, published: Sequence[Cell], checkpoints: Collection[str], contexts: Sequence[Context]
    ) -> None:
        """Raises ValueError, the key first, where the table does not fit the cells of the paper."""
        for field, names in self.where.items():
            known = {value(cell, field) for cell in published}
            _refuse_unknown(f"where.{field}", names, known)
        cells = self.choose(published)
        if not cells:
            raise ValueError("where: expected values of at least one cell, found those of none")
        known = {value(cell, field) for cell in cells for field in self.axes}
        _refuse_unknown("titles", self.titles, known)
        for heading, texts in self.facts.items():
            if isinstance(texts, dict):
                _refuse_unknown(f"facts.{heading}", texts, checkpoints)
        places = [(self.row(cell), self.column(cell)) for cell in cells]
        if self.columns and (twice := [p for p in places if places.count(p) > 1]):
            row, column = twice[0]
            raise ValueError(f"columns: two cells in row {', '.join(row)!r}, column {column!r}")
        context = {table.title: table for table in contexts}
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


def _refuse_unknown(key: str, found: Iterable[str], known: Collection[str]) -> None:
    for name in found:
        if name not in known:
            raise ValueError(f"{key}: {choices(known)}, found {name!r}")
