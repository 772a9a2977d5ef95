"""`bench reproduce`: from nothing to a paper's table, as far as it goes on this machine."""

from __future__ import annotations

import argparse
import sys
from collections import Counter
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING

from bench.commands import cli_fetch, cli_report, cli_run, console
from bench.commands.console import CHECK_FAILED, FINE
from bench.errors import BenchError

# Everything else is imported where it is used: `bench --help` must not wait for it.
if TYPE_CHECKING:
    from bench.paper import Paper
    from bench.plan import Planned
    from bench.tables import Judged


def _reproduce(options: argparse.Namespace) -> int:
    """Fetches what is missing, runs what can be run, writes the table, and says what is left.

    Nothing that is missing stops the rest, nor makes the command fail unless it is strict.
    """
    from bench import generated, paper, plan, record, storage, tables

    chosen = paper.load(options.paper)
    _fetch(chosen, options)
    planned = plan.plan(chosen, cli_run.selection(options), cli_run.settings(options))
    ready = [item for item in planned if not item.problem]
    failed = 0
    refused: list[str] = []
    if ready:
        done, refused = cli_run.work(chosen, ready, options)
        failed = sum(len(one.failed) for one in done)
    for line in refused:
        print(f"bench: {line}", file=sys.stderr)
    written = {
        **generated.of_paper(options.results, chosen),
        **generated.shared(options.results),
    }
    for file, content in written.items():
        storage.write_bytes(file, content)
    cli_report.draw(options.results)
    judged = tables.judge_all(chosen, record.read_all(options.results, chosen.name))
    print(_table(judged), end="\n\n")
    for line in _reasons(planned):
        print(line)
    print(f"table: {tables.table_path(options.results, chosen.name)}")
    print(_last_line(chosen, judged, failed))
    whole = all(one.verdict == "reproduced" for one in judged if _can_be_judged(one))
    return CHECK_FAILED if options.strict and (failed or refused or not whole) else FINE


def _fetch(chosen: Paper, options: argparse.Namespace) -> None:
    """Gets what the paper needs; whatever goes wrong is printed, and the rest goes on."""
    print("## Fetching\n")
    try:
        cli_fetch.fetch(
            argparse.Namespace(
                names=[chosen.name],
                checkpoint=options.checkpoint,
                data_root=options.data_root,
                no_data=options.no_data,
                large=options.large,
                offline=options.offline,
                dry_run=False,
            )
        )
    except BenchError as error:
        print(f"not fetched: {error}")
    print("\n## Running\n")


def _table(judged: Sequence[Judged]) -> str:
    from bench import tables

    frame = tables.cells_frame(judged)
    columns = ["row", "data set", "degradation", "clip", "published", "measured", "verdict"]
    rows = frame[columns].to_numpy().tolist()
    return console.table([[*row[:-1], row[-1].partition(":")[0]] for row in rows], columns)


def _reasons(planned: Sequence[Planned]) -> list[str]:
    """Why runs were left out, each reason once with the runs that it stops."""
    stopped: dict[str, list[str]] = {}
    for item in planned:
        if item.problem:
            stopped.setdefault(str(item.problem), []).append(" ".join(item.run[1:]))
    return [f"not run: {', '.join(runs)}: {reason}" for reason, runs in stopped.items()]


def _last_line(chosen: Paper, judged: Sequence[Judged], failed: int) -> str:
    counts = Counter(one.verdict for one in judged)
    words = [f"{counts['reproduced']} reproduced", f"{counts['differs']} differ"]
    words += [f"{counts['no verdict']} without verdict"] if counts["no verdict"] else []
    words += [f"{counts['not run']} not run"]
    words += [f"{failed} clips failed"] if failed else []
    return f"{chosen.name}: of {len(judged)} published cells " + ", ".join(words)


def _can_be_judged(one: Judged) -> bool:
    cell = one.cell
    return cell.verified and cell.checkpoint is not None and cell.protocol is not None


COMMANDS: dict[str, Callable[[argparse.Namespace], int]] = {"reproduce": _reproduce}
