"""Everything below the results folder -> results/index.html: one file, at home without a network.

Text of papers and records is escaped wherever it stands; the page's policy lets no script run but
its own two and loads nothing but the pictures that it holds itself.
"""

from __future__ import annotations

import base64
import hashlib
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

import msgspec

from bench import catalog, latency, leaderboard, protocol, tables
from bench.latency import Latency
from bench.leaderboard import Line, Standing
from bench.paper import Paper
from bench.record import Record
from bench.site import curves, panel
from bench.site.album import Album
from bench.tables import Judged

if TYPE_CHECKING:
    import jinja2

_ASSETS = Path(__file__).parent / "assets"
_THEME = "page-theme.js"  # runs before anything is drawn
_SCRIPTS = (
    *("page-dom.js", "page-tables.js", "page-panel.js", "page-marks.js", "page-chart.js"),
    *("page-cost.js", "page-curves.js", "page-errors.js", "page-view.js", "page-frames.js"),
)


class Point(msgspec.Struct, frozen=True):
    """A ranked record of a board in the charts: PSNR as printed, parameters, a time per device."""

    name: str
    file: str
    psnr: float
    parameters: int | None
    times: list[float | None]
    time_files: list[str]


class Cost(msgspec.Struct, frozen=True):
    """What is drawn of a board: `headings` are those of its devices' columns."""

    title: str
    headings: list[str]
    points: list[Point]


class Entry(NamedTuple):
    """A published cell in the page's table: its paper, the verdict, and the record behind it."""

    paper: str
    judged: Judged
    measured: tuple[str, str]
    difference: tuple[str, str]
    words: str
    file: str


class Timed(NamedTuple):
    """The latencies of a device: heads of the columns, and rows with the files behind them."""

    name: str
    slug: str
    header: list[str]
    rows: list[tuple[str, list[str]]]


def path(results: Path) -> Path:
    """Where the page lies below the results folder."""
    return results / "index.html"


def document(
    papers: Sequence[Paper],
    records: Sequence[Record],
    latencies: Sequence[Latency],
    standings: Sequence[Standing],
    albums: Sequence[Album],
) -> bytes:
    """results/index.html: the same bytes for the same results and papers."""
    entries = [entry for chosen in papers for entry in _entries(chosen, records)]
    order = [line.row for one in standings for line in one.lines]
    ranks = {panel.record_file(row.record): rank for rank, row in enumerate(order)}
    others = {panel.record_file(row.record) for row in order if row.remark == leaderboard.OTHER_GT}
    panels = [*map(panel.of_record, records), *map(panel.of_latency, latencies)]
    script = "\n".join(_asset(name) for name in _SCRIPTS)
    template = _environment().get_template("page.html.j2")
    text = template.render(
        style=_asset("page.css"),
        theme=_asset(_THEME),
        script=script,
        hashes=[_hash(_asset(_THEME)), _hash(script)],
        standings=standings,
        fixed=str(protocol.PROTOCOLS["fixed"]),
        centre=str(protocol.PROTOCOLS["fixed-centre"]),
        datasets=_titles(one.board.dataset for one in standings),
        entries=entries,
        counts=Counter(one.judged.verdict for one in entries),
        papers=papers,
        cell_datasets=_titles(one.judged.cell.dataset for one in entries),
        devices=_devices(latencies),
        costs=[_cost(one) for one in standings],
        curves=curves.of_records(records, ranks, others),
        albums=albums,
        panels={one.file: one for one in sorted(panels, key=lambda one: one.file)},
    )
    return text.encode()


def _environment() -> jinja2.Environment:
    import jinja2

    made = jinja2.Environment(
        loader=jinja2.FileSystemLoader(_ASSETS),
        autoescape=True,
        undefined=jinja2.StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
        keep_trailing_newline=True,
    )
    made.filters |= {
        "json": _json,
        "coded": _coded,
        "sortable": _sortable,
        "file": panel.record_file,
        "latency_file": panel.latency_file,
        "milliseconds": leaderboard.time_text,
    }
    return made


def _asset(name: str) -> str:
    return (_ASSETS / name).read_text(encoding="utf-8")


def _hash(script: str) -> str:
    """The script's digest as a content security policy names it."""
    return "sha256-" + base64.b64encode(hashlib.sha256(script.encode()).digest()).decode()


def _json(value: object) -> str:
    """JSON that may stand inside a script element: no `<` can end it or begin a comment."""
    import markupsafe

    text = msgspec.json.encode(value).decode()
    for char in "<>&\u2028\u2029":
        text = text.replace(char, f"\\u{ord(char):04x}")
    return markupsafe.Markup(text)  # noqa: S704 - nothing in it can be taken for markup


def _coded(text: str) -> str:
    """The text as HTML, with what stands between backticks as code.

    >>> print(_coded("`x` and <y>"), _coded("<`>"))
    <code>x</code> and &lt;y&gt; &lt;`&gt;
    """
    import markupsafe

    parts = text.split("`")
    if len(parts) % 2 == 0:
        return markupsafe.escape(text)
    code = markupsafe.Markup("<code>{}</code>")
    return markupsafe.Markup("").join(
        code.format(part) if number % 2 else part for number, part in enumerate(parts)
    )


def _sortable(text: str) -> str:
    """The number that a text begins with, or nothing: `2 of 4 clips` is no score.

    >>> _sortable("25.00 (4 of 8 frames identical)"), _sortable("2 of 4 clips"), _sortable("-")
    ('25.00', '', '')
    """
    first = text.partition(" ")[0].replace(",", "")
    try:
        number = float(first)
    except ValueError:
        return ""
    if " of " in text.partition("(")[0]:
        return ""
    return first if abs(number) != float("inf") else f"{'-' * (number < 0)}Infinity"


def _titles(names: Iterable[str]) -> dict[str, str]:
    """Data sets by name, in the order of datasets.yaml, with their titles."""
    used = set(names)
    return {name: one.title for name, one in catalog.load().items() if name in used}


def _entries(chosen: Paper, records: Sequence[Record]) -> list[Entry]:
    known = {panel.record_file(one) for one in records}
    found = []
    for one in tables.judge_all(chosen, records):
        cell = one.cell
        file = panel.file_of(chosen.name, cell.checkpoint or "", cell.dataset, cell.degradation)
        words = str(protocol.PROTOCOLS[cell.protocol]) if cell.protocol else ""
        held = file if one.psnr is not None and file in known else ""
        found.append(
            Entry(chosen.name, one, tables.measured(one), tables.difference(one), words, held)
        )
    return found


def _cost(one: Standing) -> Cost:
    points = [_point(one, line) for line in one.lines if line.row.rank]
    return Cost(one.title + ", space-time" * one.board.space_time, _headings(one), points)


def _headings(one: Standing) -> list[str]:
    return [column.heading for column in one.columns]


def _point(one: Standing, line: Line) -> Point:
    record = line.row.record
    times = [column.time(record) for column in one.columns]
    return Point(
        name=f"{record.paper} {record.checkpoint}",
        file=panel.record_file(record),
        psnr=float(_sortable(line.row.psnr)),
        parameters=line.parameters,
        times=[time.latency_ms.median if time else None for time in times],
        time_files=[panel.latency_file(time) if time else "" for time in times],
    )


def _devices(latencies: Sequence[Latency]) -> list[Timed]:
    devices: dict[str, list[Latency]] = {}
    for one in sorted(latencies, key=lambda m: (m.paper, m.checkpoint, m.pixels, m.frames)):
        devices.setdefault(one.device.slug, []).append(one)
    return [_timed(slug, found) for slug, found in sorted(devices.items())]


def _timed(slug: str, found: Sequence[Latency]) -> Timed:
    rows: list[Mapping[str, object]] = [latency.row(one) for one in found]
    return Timed(
        name=found[0].device.title,
        slug=slug,
        header=list(rows[0]),
        rows=[
            (panel.latency_file(one), [str(text) for text in row.values()])
            for one, row in zip(found, rows, strict=True)
        ],
    )
