"""Records and papers -> verdicts -> data frames and tables -> Markdown, LaTeX, CSV."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Literal, NamedTuple

import pandas as pd

from bench import catalog, cells, grid, pivot, protocol
from bench.cells import Cell
from bench.cost import timetables
from bench.grid import DAGGER
from bench.latency import Latency
from bench.paper import Paper
from bench.pivot import Entry, Pair
from bench.record import Part, Record

Verdict = Literal["reproduced", "differs", "not run", "no verdict"]
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
_NOT_MEASURED = "not measured yet"


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
        reason = _failed(found, cell.clip) or _why_not(chosen, cell)
        return Judged(cell, None, None, "not run", reason, "")
    if cell.clip is None and not found.complete(name):
        reason = "; ".join(filter(None, (partial(found, name), _failed(found, None))))
        return Judged(cell, None, None, "no verdict", reason, "")
    psnr, ssim = found.mean(name, cell.clip)
    identical = f"{psnr.infinite} of {psnr.total} frames identical" if psnr.infinite else ""
    extra = "; ".join(filter(None, (identical, found.otherwise and f"with {found.otherwise}")))
    if found.untrained or not cell.verified:
        reason = "untrained weights" if found.untrained else "unverified number"
        return Judged(cell, psnr.value, ssim.value, "no verdict", reason, extra)
    pairs = [(psnr.value, cell.psnr), (ssim.value, cell.ssim)]
    agree = all(cells.agrees(value, printed) for value, printed in pairs if printed is not None)
    return Judged(cell, psnr.value, ssim.value, "reproduced" if agree else "differs", "", extra)


def _identity(record: Record) -> tuple[str, str, str, str]:
    return (record.paper, record.checkpoint, record.dataset, record.degradation)


def _failed(record: Record | None, clip: str | None) -> str:
    """The last line of what went wrong with the clip, or with the first that failed."""
    failures = record.failures if record else []
    lines = [one.error[-1] for one in failures if clip in (None, one.clip) and one.error]
    return f"failed: {lines[0]}" if lines else ""


def _why_not(chosen: Paper, cell: Cell) -> str:
    """Why a cell has no record, in words that hold on any machine."""
    checkpoint = chosen.checkpoint(cell.checkpoint or "")
    title = catalog.get(cell.dataset).title
    if checkpoint.missing:
        return checkpoint.missing
    if checkpoint.frames and cell.dataset not in checkpoint.frames:
        return f"no frames were released for {title}"
    return f"{_NOT_MEASURED}: `bench run {chosen.name} --dataset {cell.dataset}`"


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
                "measured": _pair(_fixed(one.psnr, cell.psnr), _fixed(one.ssim, cell.ssim))
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
                mean = "mean" if complete else partial(record, name)
                row = {
                    "checkpoint": record.checkpoint + _marks(record),
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


def _marks(record: Record) -> str:
    """What must be known of its numbers, in brackets."""
    said = [*(["untrained"] if record.untrained else []), *filter(None, [record.otherwise])]
    return f" ({', '.join(said)})" if said else ""


def _part(record: Record, name: str, clip: str | None, part: Part, complete: bool) -> str:
    if not record.interpolates or not (clip or complete):
        return ""
    psnr, ssim = record.mean(name, clip, part)
    return f"{psnr.text()} / {ssim.text()}" if psnr.total else ""


def partial(record: Record, name: str) -> str:
    """How many clips have scores under the protocol of that name, in place of their mean."""
    return f"{len(record.measured(name))} of {record.clip_count} clips"


def csv(chosen: Paper, records: Sequence[Record], _: Sequence[Latency] = ()) -> str:
    """Every cell of the paper on a line of its own, with all that is known of it."""
    frame = cells_frame(judge_all(chosen, records))
    return str(frame.to_csv(index=False, lineterminator="\n"))


def latex(chosen: Paper, records: Sequence[Record], latencies: Sequence[Latency] = ()) -> str:
    """The paper's tables, each in an environment of its own, and what to load for them."""
    tables = (grid.latex(one) for one in _grids(chosen, judge_all(chosen, records), latencies))
    return "\n\n".join((grid.LATEX_NEEDS, *tables)) + "\n"


def document(chosen: Paper, records: Sequence[Record], latencies: Sequence[Latency] = ()) -> str:
    """results/tables/<paper>.md: published beside measured, notes, sources, every run by clip."""
    judged = judge_all(chosen, records)
    counts = Counter(one.verdict for one in judged)
    order: tuple[Verdict, ...] = ("reproduced", "differs", "no verdict", "not run")
    summary = ", ".join(f"{counts[verdict]} {verdict}" for verdict in order if verdict in counts)
    protocols = dict.fromkeys(cell.protocol for cell in chosen.cells if cell.protocol)
    parts = [
        f"# {chosen.title}",
        f"Generated by `bench report {chosen.name}` from `results/records/{chosen.name}`.",
        chosen.note or "",
        f"## Published and measured\n\nPSNR in dB / SSIM. {len(judged)} cells: {summary}.",
        *(grid.markdown(one) for one in _grids(chosen, judged, latencies)),
        _list("Protocols", {name: str(protocol.PROTOCOLS[name]) for name in protocols}),
        _list("Checkpoints", {name: _weights(chosen, name) for name in chosen.checkpoints}),
        _list("Sources", {name: _source(chosen, name) for name in chosen.sources}),
    ]
    if records:
        frame = runs_frame(records)
        table = grid.markdown_table(list(frame.columns), frame.to_numpy().tolist())
        parts += ["## Every run, clip by clip", table]
    return "\n\n".join(part for part in parts if part) + "\n"


def _grids(
    chosen: Paper, judged: Sequence[Judged], latencies: Sequence[Latency]
) -> list[grid.Grid]:
    grids = pivot.grids(chosen, [_entry(one) for one in judged])
    return timetables.joined(grids, chosen, latencies)


def _entry(one: Judged) -> Entry:
    cell = one.cell
    reason, _, todo = one.reason.partition(": ")
    merged = reason == _NOT_MEASURED
    return Entry(
        cell=cell,
        measured=measured(one),
        difference=difference(one),
        verdict=one.verdict,
        reason=reason if merged else one.reason,
        todo=todo if merged else "",
        extra=one.extra,
    )


def measured(one: Judged) -> Pair:
    """PSNR and SSIM as they are printed, empty where there is none."""
    return _fixed(one.psnr, one.cell.psnr) or "", _fixed(one.ssim, one.cell.ssim) or ""


def difference(one: Judged) -> Pair:
    """Measured less published, with its sign; empty where there is none."""
    return _difference(one.psnr, one.cell.psnr) or "", _difference(one.ssim, one.cell.ssim) or ""


def _list(title: str, entries: Mapping[str, str]) -> str:
    lines = "\n".join(f"- {name}: {text}" for name, text in entries.items())
    return f"{title}:\n\n{lines}" if entries else ""


def _weights(chosen: Paper, name: str) -> str:
    checkpoint = chosen.checkpoints[name]
    parts = (checkpoint.title, checkpoint.file, checkpoint.missing, checkpoint.note)
    return "; ".join(part for part in parts if part)


def _source(chosen: Paper, name: str) -> str:
    source = chosen.sources[name]
    return "; ".join(part for part in (source.where, source.kind, source.note) if part)


def table_path(results: Path, name: str) -> Path:
    """Where the paper's table lies below the results folder."""
    return results / "tables" / f"{name}.md"


def _pair(psnr: str | None, ssim: str | None) -> str:
    return "" if psnr is None and ssim is None else f"{psnr or '-'} / {ssim or '-'}"


def _fixed(value: float | None, published: str | None) -> str | None:
    return None if value is None else f"{value:.{_decimals(published)}f}"


def _difference(measured: float | None, published: str | None) -> str | None:
    if measured is None or published is None:
        return None
    return f"{measured - float(published):+.{_decimals(published)}f}"


def _decimals(published: str | None) -> int:
    """Four, or as many as were published where those are more."""
    return max(4, len((published or "").partition(".")[2]))
