"""The files below the results folder that are generated from others, and their bytes."""

from __future__ import annotations

from pathlib import Path

from bench import album, latency, leaderboard, page, paper, record, tables
from bench.paper import Paper


def of_paper(results: Path, chosen: Paper) -> dict[Path, bytes]:
    """The paper's tables."""
    records = record.read_all(results, chosen.name)
    measured = latency.read_all(results)
    text = tables.document(chosen, records, measured)
    return {tables.table_path(results, chosen.name): text.encode()}


def shared(results: Path, *, only_page: bool = False) -> dict[Path, bytes]:
    """What stands on the records of all papers: leaderboard, tables of devices, page.

    With `only_page` the page alone.
    """
    records, measured = record.read_all(results), latency.read_all(results)
    papers = [paper.load(name) for name in paper.names()]
    standings = leaderboard.standings(papers, records, measured)
    pictures = album.read(results, records)
    html = page.document(papers, records, measured, standings, pictures)
    if only_page:
        return {page.path(results): html}
    devices = sorted({one.device.slug for one in measured})
    return {
        leaderboard.path(results): leaderboard.markdown(standings).encode(),
        **{
            latency.document_path(results, device): latency.document(device, measured).encode()
            for device in devices
        },
        page.path(results): html,
    }
