"""Records and papers -> data frames -> Markdown, LaTeX, CSV."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from typing import Literal, NamedTuple

import pandas as pd
from tabulate import tabulate

from bench import catalog, paper, protocol
from bench.paper import Cell, Context, Paper
from bench.record import Part, Record

Verdict = Literal["reproduced", "differs", "not run", "no verdict"]
Format = Literal["markdown", "latex", "csv"]
_CELL_COLUMNS = [
    "row",
    "data set",
    "degradation",
    "clip",
    "published",
    "measured",
    "difference",
    "verdict",
    "protocol",
    "source",
    "note",
]
_PARTS: tuple[Part, ...] = ("shown", "interpolated")
DAGGER = "\N{DAGGER}"


class Judged(NamedTuple):
    """A cell beside what was measured: values where there are any, the verdict, and the reason."""

    cell: Cell
    psnr: float | None
    ssim: float | None
    verdict: Verdict
    reason: str
    extra: str  # such as "3 of 171 frames identical"


def judge_all(chosen: Paper, records: Sequence[Record]) -> list[Judged]:
    """Every cell of the paper beside what was measured."""
    return [judge(chosen, cell, records) for cell in chosen.cells]


def judge(chosen: Paper, cell: Cell, records: Sequence[Record]) -> Judged:
    """The verdict on one cell.

    `reproduced`: every printed value is what the measured one rounds to, give or take one unit of
    the last printed digit. `not run` and `no verdict` carry their reason.
    """
    if cell.protocol is None:
        return Judged(cell, None, None, "not run", "the source does not state its protocol", "")
    if cell.checkpoint is None:
        return Judged(cell, None, None, "not run", "published only", "")
    wanted = (chosen.name, cell.checkpoint, cell.dataset, cell.degradation)
    found = next((r for r in records if _identity(r) == wanted), None)
    name = found.name_of(protocol.PROTOCOLS[cell.protocol]) if found else None
    measured = [clip.clip for clip in found.measured(name)] if found and name else []
    if found is None or name is None or not measured or (cell.clip or measured[0]) not in measured:
        return Judged(cell, None, None, "not run", _why_not(chosen, cell), "")
    if cell.clip is None and not found.complete(name):
        reason = _partial(found, name)
        return Judged(cell, None, None, "no verdict", reason, "")
    psnr, ssim = found.mean(name, cell.clip)
    extra = f"{psnr.infinite} of {psnr.total} frames identical" if psnr.infinite else ""
    if not cell.verified:
        return Judged(cell, psnr.value, ssim.value, "no verdict", "unverified number", extra)
    pairs = [(psnr.value, cell.psnr), (ssim.value, cell.ssim)]
    agree = all(paper.agrees(value, printed) for value, printed in pairs if printed is not None)
    return Judged(cell, psnr.value, ssim.value, "reproduced" if agree else "differs", "", extra)


def _identity(record: Record) -> tuple[str, str, str, str]:
    return (record.paper, record.checkpoint, record.dataset, record.degradation)


def _why_not(chosen: Paper, cell: Cell) -> str:
    """Why a cell has no record, in words that hold on any machine."""
    checkpoint = chosen.checkpoint(cell.checkpoint or "")
    title = catalog.get(cell.dataset).title
    if checkpoint.missing:
        return checkpoint.missing
    if checkpoint.frames and cell.dataset not in checkpoint.frames:
        return f"no frames were released for {title}"
    return f"not measured yet: `bench run {chosen.name} --dataset {cell.dataset}`"


def cells_frame(judged: Sequence[Judged]) -> pd.DataFrame:
    """One row per published cell: published, measured, difference, verdict, protocol, source."""
    rows = []
    for one in judged:
        cell = one.cell
        described = protocol.PROTOCOLS[cell.protocol] if cell.protocol else None
        rows.append(
            {
                "row": cell.row,
                "data set": catalog.get(cell.dataset).title,
                "degradation": cell.degradation,
                "clip": cell.clip or "mean",
                "published": _pair(cell.psnr, cell.ssim) + ("" if cell.verified else DAGGER),
                "measured": _pair(_fixed(one.psnr), _fixed(one.ssim))
                + (f" ({one.extra})" if one.extra else ""),
                "difference": _pair(
                    _difference(one.psnr, cell.psnr), _difference(one.ssim, cell.ssim)
                ),
                "verdict": one.verdict + (f": {one.reason}" if one.reason else ""),
                "protocol": f"{cell.protocol}: {described}" if described else "not stated",
                "source": cell.source,
                "note": cell.note or "",
            }
        )
    return pd.DataFrame(rows, columns=_CELL_COLUMNS)


def runs_frame(records: Sequence[Record]) -> pd.DataFrame:
    """One row per run, protocol and clip, and one for the mean: PSNR in dB and SSIM.

    Where frames were interpolated, both means stand beside that of all: of frames whose LR frame
    was shown to the network, and of those between.
    """
    rows, halves = [], any(record.interpolates for record in records)
    for record in records:
        title = catalog.get(record.dataset).title
        for name in sorted(record.protocols, key=lambda name: (name != "fixed", name)):
            complete, clips = record.complete(name), [c.clip for c in record.measured(name)]
            for clip in [*clips, None]:
                psnr, ssim = record.mean(name, clip)
                mean = "mean" if complete else _partial(record, name)
                row = {
                    "checkpoint": record.checkpoint,
                    "data set": title,
                    "degradation": record.degradation,
                    "protocol": name,
                    "clip": clip or mean,
                    "PSNR": psnr.text() if clip or complete else "",
                    "SSIM": ssim.text() if clip or complete else "",
                }
                if halves:
                    row |= {part: _part(record, name, clip, part, complete) for part in _PARTS}
                rows.append(row)
    return pd.DataFrame(rows)


def _part(record: Record, name: str, clip: str | None, part: Part, complete: bool) -> str:
    if not record.interpolates or not (clip or complete):
        return ""
    psnr, ssim = record.mean(name, clip, part)
    return f"{psnr.text()} / {ssim.text()}" if psnr.total else ""


def _partial(record: Record, name: str) -> str:
    return f"{len(record.measured(name))} of {record.clip_count} clips"


def render(frame: pd.DataFrame, form: Format) -> str:
    """The data frame as text in that format; numbers stay as they were written."""
    if form == "csv":
        return str(frame.to_csv(index=False, lineterminator="\n"))
    style = {"markdown": "github", "latex": "latex_booktabs"}[form]
    table = frame.drop(columns="note", errors="ignore")
    rows, headers = table.to_numpy().tolist(), list(table.columns)
    return str(tabulate(rows, headers=headers, tablefmt=style, disable_numparse=True))


def document(chosen: Paper, records: Sequence[Record]) -> str:
    """results/tables/<paper>.md: published beside measured, notes, sources, every run by clip."""
    judged = judge_all(chosen, records)
    frame = cells_frame(judged)
    notes = list(dict.fromkeys(note for note in frame["note"] if note))
    marks = [f" [{notes.index(note) + 1}]" if note else "" for note in frame["note"]]
    frame["published"] = [p + mark for p, mark in zip(frame["published"], marks, strict=True)]
    counts = Counter(one.verdict for one in judged)
    order: tuple[Verdict, ...] = ("reproduced", "differs", "no verdict", "not run")
    summary = ", ".join(f"{counts[verdict]} {verdict}" for verdict in order if verdict in counts)
    parts = [
        f"# {chosen.title}",
        f"Generated by `bench report {chosen.name}` from `results/records/{chosen.name}`.",
        chosen.note or "",
        f"## Published and measured\n\nPSNR in dB / SSIM. {len(frame)} cells: {summary}.",
        render(frame, "markdown"),
        "\n".join(f"[{number}] {note}  " for number, note in enumerate(notes, 1)),
        f"{DAGGER} from memory, without a source; no verdict."
        if not all(cell.verified for cell in chosen.cells)
        else "",
        *(part for table in chosen.context for part in (f"## {table.title}", _context(table))),
        "Sources:\n\n" + "\n".join(f"- {name}: {_source(chosen, name)}" for name in chosen.sources),
    ]
    if records:
        parts += ["## Every run, clip by clip", render(runs_frame(records), "markdown")]
    return "\n\n".join(part for part in parts if part) + "\n"


def _context(table: Context) -> str:
    return str(tabulate(table.rows, table.columns, tablefmt="github", disable_numparse=True))


def _source(chosen: Paper, name: str) -> str:
    source = chosen.sources[name]
    return "; ".join(part for part in (source.where, source.kind, source.note) if part)


def table_path(results: Path, name: str) -> Path:
    """Where the paper's table lies below the results folder."""
    return results / "tables" / f"{name}.md"


def _pair(psnr: str | None, ssim: str | None) -> str:
    return "" if psnr is None and ssim is None else f"{psnr or '-'} / {ssim or '-'}"


def _fixed(value: float | None) -> str | None:
    return None if value is None else f"{value:.4f}"


def _difference(measured: float | None, published: str | None) -> str | None:
    if measured is None or published is None:
        return None
    return f"{measured - float(published):+.4f}"
