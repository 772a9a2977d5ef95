"""The files below the results folder that are generated from others, and their texts."""

from __future__ import annotations

from pathlib import Path

from bench import latency, leaderboard, paper, record, tables
from bench.paper import Paper


def of_paper(results: Path, chosen: Paper) -> dict[Path, str]:
    """The paper's tables."""
    records = record.read_all(results, chosen.name)
    measured = latency.read_all(results)
    return {tables.table_path(results, chosen.name): tables.document(chosen, records, measured)}


def shared(results: Path) -> dict[Path, str]:
    """What stands on the records of all papers: the leaderboard, and a table for each device."""
    measured = latency.read_all(results)
    papers = [paper.load(name) for name in paper.names()]
    board = leaderboard.document(papers, record.read_all(results), measured)
    devices = sorted({one.device.slug for one in measured})
    return {
        leaderboard.path(results): board,
        **{latency.document_path(results, d): latency.document(d, measured) for d in devices},
    }
