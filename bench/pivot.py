"""Cells beside what was measured -> the tables that a paper declares."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import NamedTuple

from bench.cells import Cell, Context, Field, Table, shown, value
from bench.grid import DAGGER, Grid
from bench.paper import Paper
from bench.protocol import PROTOCOLS

Pair = tuple[str, str]  # PSNR and SSIM, empty where there is none
_SAID: tuple[Field, ...] = ("dataset", "degradation", "clip", "protocol", "source")
_HEADINGS: dict[Field, str] = {"dataset": "data set"}
_OTHERS = Table(
    title="Other published numbers",
    rows={"row": ["row"], "data set": ["dataset", "degradation"], "clip": ["clip"]},
)


class Entry(NamedTuple):
    """A cell and the texts of what was measured for it.

    reason    why there is no measured value or no verdict
    todo      what to do about it; texts of one reason share a footnote
    extra     what the measured value leaves out
    """

    cell: Cell
    measured: Pair
    difference: Pair
    verdict: str
    reason: str = ""
    todo: str = ""
    extra: str = ""


def grids(chosen: Paper, entries: Sequence[Entry]) -> list[Grid]:
    """The tables of the paper, one of the cells that none of them holds, and its context tables."""
    of_cell = {one.cell: one for one in entries}
    cells = [one.cell for one in entries]
    held = {cell for table in chosen.tables for cell in table.choose(cells)}
    others = [cell for cell in cells if cell not in held]
    declared = [(table, table.choose(cells)) for table in chosen.tables]
    every = [(table, some) for table, some in (*declared, (_OTHERS, others)) if some]
    used = {title for table, _ in every for title in table.below}
    return [
        *(_Layout(chosen, table, [of_cell[cell] for cell in some]).grid for table, some in every),
        *(_published_only(table) for table in chosen.context if table.title not in used),
    ]


class _Layout:
    """One table, laid out: what its cells share is in the caption, what they do not beside them."""

    def __init__(self, chosen: Paper, table: Table, entries: Sequence[Entry]) -> None:
        self.paper, self.table, self.entries = chosen, table, entries
        self.notes: dict[str, list[str]] = {}
        rest = [field for field in _SAID if field not in table.axes]
        self.shared = [field for field in rest if self._agree(field, lambda _: "")]
        self.varying = [field for field in rest if field not in self.shared]

    @property
    def grid(self) -> Grid:
        """The whole table."""
        header, groups = self._stacked() if self.table.columns else self._side_by_side()
        notes = [
            (f"[{number}]", f"{text}: {', '.join(todo)}" if todo else text)
            for number, (text, todo) in enumerate(self.notes.items(), 1)
        ]
        if not all(one.cell.verified for one in self.entries):
            notes.append((DAGGER, "from memory, without a source; no verdict"))
        return Grid(self.table.title, self._caption(), header, groups, notes)

    def _side_by_side(self) -> tuple[list[str], list[list[list[str]]]]:
        """One line a cell, measured columns beside published ones."""
        before = [field for field in self.varying if field != "source"]
        after = [field for field in self.varying if field == "source"]
        values = ["published", "measured", "difference"]
        if self.table.split:  # the difference in brackets, lest the page be too narrow
            values = ["PSNR", "measured", "SSIM", "measured"]
        header = [*self.table.rows, *map(_heading, before), *values, "verdict"]
        header += [*map(_heading, after), *self.table.facts]
        lines = []
        for one in self.entries:
            pairs = (_published(one.cell), one.measured, one.difference)
            texts = [_joined(pair) or "-" for pair in pairs]
            if self.table.split:
                texts = [
                    text or "-"
                    for published, measured, difference in zip(*pairs, strict=True)
                    for text in (published, f"{measured} ({difference})" if difference else "")
                ]
            texts[0] += self._remarks(one.cell)
            texts[1] += self._mark(one.extra)
            line = [*self.table.row(one.cell), *(shown(one.cell, field) for field in before)]
            line += [*texts, one.verdict + self._reason(one)]
            line += [*(shown(one.cell, f) for f in after), *self._facts([one.cell])]
            lines.append([line])
        return header, lines

    def _stacked(self) -> tuple[list[str], list[list[list[str]]]]:
        """A group of lines for every row, what was measured below what was published."""
        places = {
            (self.table.row(one.cell), self.table.column(one.cell)): one for one in self.entries
        }
        rows = list(dict.fromkeys(row for row, _ in places))
        columns = list(dict.fromkeys(column for _, column in places))
        header = [*self.table.rows, *self.table.facts, "", *columns]
        blank = [""] * (len(self.table.rows) + len(self.table.facts))
        of_columns = [field for field in self.varying if self._agree(field, self.table.column)]
        own = [field for field in self.varying if field not in of_columns]
        some_cell = {self.table.column(one.cell): one.cell for one in self.entries}
        top = [
            [*blank, _heading(field), *(shown(some_cell[c], field) for c in columns)]
            for field in of_columns
        ]
        groups = [top] if top else []
        for row in rows:
            some = [places.get((row, column)) for column in columns]
            cells = [one.cell for one in some if one]
            lines = self._lines(some, own)
            lines[0] = [*row, *self._facts(cells), *lines[0]]
            groups.append([lines[0], *([*blank, *line] for line in lines[1:])])
        context = {table.title: table for table in self.paper.context}
        groups += [self._below(context[title], header) for title in self.table.below]
        return header, groups

    def _lines(self, some: Sequence[Entry | None], own: Sequence[Field]) -> list[list[str]]:
        """The lines of a row: what stands at their beginning, and a text for each column."""

        def line(kind: str, text: Callable[[Entry], str]) -> list[str]:
            return [kind, *(text(one) or "-" if one else "-" for one in some)]

        def verdict(one: Entry) -> str:
            return one.verdict + self._reason(one) if any(one.measured) else ""

        lines = [line("published", lambda o: _joined(_published(o.cell)) + self._remarks(o.cell))]
        for field in own:
            texts = (shown(one.cell, field) if one else "-" for one in some)
            lines.append([_heading(field), *texts])
        lines.append(line("measured", self._measured))
        if any(one and any(one.measured) for one in some):
            lines.append(line("difference", lambda one: _joined(one.difference)))
            lines.append(line("verdict", verdict))
        return lines

    def _below(self, context: Context, header: Sequence[str]) -> list[list[str]]:
        lines = []
        for first, *rest in context.rows:
            found = dict(zip(context.columns[1:], rest, strict=True))
            kind = len(self.table.rows) + len(self.table.facts)
            line = [found.get(heading, "") or "-" for heading in header]
            line[: len(self.table.rows)] = [first] + [""] * (len(self.table.rows) - 1)
            line[kind] = "published"
            lines.append(line)
        return lines

    def _remarks(self, cell: Cell) -> str:
        """What stands behind a published number."""
        return ("" if cell.verified else DAGGER) + self._mark(cell.note or "")

    def _measured(self, one: Entry) -> str:
        if not any(one.measured):
            return one.verdict + self._reason(one)
        return _joined(one.measured) + self._mark(one.extra)

    def _reason(self, one: Entry) -> str:
        if not one.cell.verified and any(one.measured):
            return DAGGER
        return self._mark(one.reason, one.todo)

    def _mark(self, text: str, todo: str = "") -> str:
        """The mark of the footnote of that text, which becomes one if need be."""
        if not text:
            return ""
        todos = self.notes.setdefault(text, [])
        if todo and todo not in todos:
            todos.append(todo)
        return f" [{list(self.notes).index(text) + 1}]"

    def _facts(self, cells: Sequence[Cell]) -> list[str]:
        names = dict.fromkeys(cell.checkpoint for cell in cells if cell.checkpoint)
        told = []
        for fact in self.table.facts.values():
            texts = []
            for name in names:
                if isinstance(fact, dict):
                    texts.append(fact.get(name, ""))
                elif fact == "name":
                    texts.append(f"`{name}`")
                else:
                    count = self.paper.checkpoints[name].parameters
                    texts.append(f"{count / 1e6:.2f}" if count else "")
            told.append(", ".join(dict.fromkeys(filter(None, texts))) or "-")
        return told

    def _caption(self) -> str:
        cell = self.entries[0].cell
        parts = []
        for field in self.shared:
            text = shown(cell, field)
            if field == "dataset":
                parts.append(text)
            elif field == "protocol" and cell.protocol:
                parts.append(f"protocol {text} ({PROTOCOLS[cell.protocol]})")
            elif field != "clip" or cell.clip:
                parts.append(f"{field} {text}")
        parts += [f"below, published only: {title}" for title in self.table.below]
        said = "; ".join(parts)
        return f"{said[0].upper()}{said[1:]}." if said else ""

    def _agree(self, field: Field, group: Callable[[Cell], str]) -> bool:
        """Whether the cells of each group have one value in that field."""
        found: dict[str, str] = {}
        values = ((group(one.cell), value(one.cell, field)) for one in self.entries)
        return all(found.setdefault(name, text) == text for name, text in values)


def _published(cell: Cell) -> Pair:
    return cell.psnr or "", cell.ssim or ""


def _published_only(table: Context) -> Grid:
    rows = [[[entry or "-" for entry in row]] for row in table.rows]
    return Grid(table.title, "Published only.", table.columns, rows, [])


def _heading(field: Field) -> str:
    return _HEADINGS.get(field, field)


def _joined(pair: Pair) -> str:
    return f"{pair[0] or '-'} / {pair[1] or '-'}" if any(pair) else ""
