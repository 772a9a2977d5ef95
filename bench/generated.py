"""The files below the results folder that are generated from others, and what is in them."""

from __future__ import annotations

from pathlib import Path

from bench import catalog, latency, leaderboard, paper, record, tables
from bench.drawing import figures
from bench.drawing.figures import Wanted
from bench.errors import BenchError, choices
from bench.latency import Latency
from bench.paper import Paper
from bench.record import Record
from bench.site import album, page


def of_paper(results: Path, chosen: Paper) -> dict[Path, bytes]:
    """The paper's tables."""
    records = record.read_all(results, chosen.name)
    measured = latency.read_all(results)
    text = tables.document(chosen, records, measured)
    return {tables.table_path(results, chosen.name): text.encode()}


def shared(results: Path) -> dict[Path, bytes]:
    """What stands on the records of all papers, figures aside: leaderboard, devices, page."""
    papers, records, measured = _all(results)
    standings = leaderboard.standings(papers, records, measured)
    devices = sorted({one.device.slug for one in measured})
    documents = {
        leaderboard.path(results): leaderboard.markdown(standings),
        **{latency.document_path(results, d): latency.document(d, measured) for d in devices},
        figures.document_path(results): figures.document(results, drawn(results)),
    }
    pictures = album.read(results, records)
    html = page.document(papers, records, measured, standings, pictures)
    return {file: text.encode() for file, text in documents.items()} | {page.path(results): html}


def the_page(results: Path) -> dict[Path, bytes]:
    """results/index.html alone."""
    papers, records, measured = _all(results)
    standings = leaderboard.standings(papers, records, measured)
    pictures = album.read(results, records)
    return {page.path(results): page.document(papers, records, measured, standings, pictures)}


def drawn(results: Path) -> dict[Path, Wanted]:
    """The figures, which are drawn only where they are not current."""
    return figures.wanted(results, *_all(results))


def _all(results: Path) -> tuple[list[Paper], list[Record], list[Latency]]:
    papers = [paper.load(name) for name in paper.names()]
    records = record.read_all(results)
    _check_datasets(results, records)
    return papers, records, latency.read_all(results)


def _check_datasets(results: Path, records: list[Record]) -> None:
    known = catalog.load()
    for one in records:  # which may be older than a data set's name
        if one.dataset in known:
            continue
        file = record.path(results, one.paper, one.checkpoint, one.dataset, one.degradation)
        raise BenchError(
            f"{file} is of an unknown data set",
            expected=choices(known),
            found=repr(one.dataset),
            todo="add it to datasets.yaml, or remove the record",
        )
