"""The `bench` command: parse, call one function, print."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Callable, Sequence

from bench.commands import (
    cli_check,
    cli_fetch,
    cli_latency,
    cli_report,
    cli_reproduce,
    cli_run,
    cli_score,
    console,
)
from bench.commands.arguments import parser
from bench.commands.console import BAD_INPUT, FINE
from bench.errors import BenchError


def main(arguments: Sequence[str] | None = None) -> int:
    """Runs the command; the exit code is 0, 1 (a check failed) or 2 (bad input, one line)."""
    options = parser().parse_args(arguments)
    try:
        code = _COMMANDS[options.command](options)
        sys.stdout.flush()
    except BenchError as error:
        print(f"bench: {error}", file=sys.stderr)
        return BAD_INPUT
    except BrokenPipeError:  # the reader of our output, such as `head`, has seen enough
        sys.stderr.close()
        return FINE
    except (OSError, UnicodeError) as error:  # a full disk behind stdout, a folder without access
        print(f"bench: {' '.join(str(error).split())}", file=sys.stderr)
        return BAD_INPUT
    except KeyboardInterrupt:
        print("bench: interrupted; what was written is whole", file=sys.stderr)
        return 130
    return code


def _list(options: argparse.Namespace) -> int:
    from bench import catalog, locate, paper
    from bench import checkpoint as checkpoints

    papers = []
    for name in paper.names():
        try:
            loaded = paper.load(name)
        except BenchError as error:
            papers.append((name, "", "", 0, str(error)))
            continue
        for checkpoint, described in loaded.checkpoints.items():
            state = checkpoints.state(loaded, checkpoint)
            papers.append((name, checkpoint, described.title, len(loaded.cells), state))
    print(console.table(papers, ("paper", "checkpoint", "what", "cells", "state")), end="\n\n")

    root = catalog.data_root(options.data_root)
    datasets = []
    for name, dataset in catalog.load().items():
        try:
            found = locate.find(dataset, root)
            where = f"{found.root} ({found.layout.name})" if dataset.layouts else "built in"
        except BenchError as error:
            where = f"missing: {error.wrong}"
        known = ", ".join(dataset.degradations)
        datasets.append((name, dataset.count, dataset.scored, known, where))
    print(console.table(datasets, ("data set", "clips", "frames scored", "degradations", "where")))
    print(f"\ndata sets are looked for in {root}")
    return FINE


def _doctor(options: argparse.Namespace) -> int:
    from bench import catalog, doctor

    for line in doctor.examine(catalog.data_root(options.data_root), options.results):
        print(line)
    return FINE


_COMMANDS: dict[str, Callable[[argparse.Namespace], int]] = {
    **cli_run.COMMANDS,
    **cli_reproduce.COMMANDS,
    **cli_fetch.COMMANDS,
    **cli_latency.COMMANDS,
    **cli_check.COMMANDS,
    **cli_score.COMMANDS,
    **cli_report.COMMANDS,
    "list": _list,
    "doctor": _doctor,
}
