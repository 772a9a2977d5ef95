"""The commands that reproduce: what is to be done, doing it, and the table of it."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Never

from bench import console
from bench.console import BAD_INPUT, CHECK_FAILED, FINE
from bench.errors import BenchError, choices

# Everything else is imported where it is used: `bench --help` must not wait for it.
if TYPE_CHECKING:
    from pathlib import Path

    from tqdm import tqdm

    from bench.engine import Done, Engine
    from bench.evaluate import Job
    from bench.maker import Settings
    from bench.paper import Paper
    from bench.plan import Planned, Selection
    from bench.record import Record

Todo = list[tuple["Job", list[str]]]


def _selection(options: argparse.Namespace) -> Selection:
    from bench.plan import Selection

    return Selection(
        checkpoints=options.checkpoint,
        datasets=options.dataset,
        degradations=options.degradation,
        clips=getattr(options, "clip", []),
        protocols=getattr(options, "protocol", []),
    )


def _settings(options: argparse.Namespace) -> Settings:
    from bench import catalog
    from bench.maker import Settings

    return Settings(
        data_root=catalog.data_root(options.data_root),
        released=getattr(options, "frames", None),
        save=getattr(options, "save_frames", None),
        workers=console.workers(options) if hasattr(options, "workers") else 1,
        device=(getattr(options, "device", None) or ["auto"])[0],
        dtype=getattr(options, "dtype", "float32"),
        tf32=getattr(options, "tf32", False),
        compiled=getattr(options, "compile", False),
        chunk=getattr(options, "chunk", None),
        tile=getattr(options, "tile", None),
    )


def _plan(options: argparse.Namespace) -> int:
    from bench import paper, plan, record

    chosen = paper.load(options.paper)
    planned = plan.plan(chosen, _selection(options), _settings(options))
    measured = {_key(found) for found in record.read_all(options.results, chosen.name)}
    rows = []
    for item in planned:
        run, state = item.run, f"missing: {item.problem.wrong}" if item.problem else "ready"
        state = f"measured; {state}" if run in measured else state
        rows.append(
            (
                run.checkpoint,
                run.dataset,
                run.degradation,
                item.cells,
                ", ".join(item.protocols),
                state,
            )
        )
    headers = ("checkpoint", "data set", "degradation", "cells", "protocols", "state")
    print(console.table(rows, headers))
    for line in dict.fromkeys(str(item.problem) for item in planned if item.problem):
        print(f"- {line}")
    return FINE


def _key(found: Record) -> tuple[str, str, str, str]:
    return found.paper, found.checkpoint, found.dataset, found.degradation


def _chosen(options: argparse.Namespace) -> Paper:
    """The paper that is named, or that of the user's own method."""
    from bench import catalog, contract, paper

    if options.method is None:
        return paper.load(options.paper)
    if not options.dataset:
        raise BenchError(
            "a method of your own needs a data set",
            expected=choices(catalog.load()),
            todo="name it with --dataset",
        )
    return contract.find(options.method)


def _run(options: argparse.Namespace) -> int:
    from bench import engine, evaluate, plan

    chosen = _chosen(options)
    settings, selection = _settings(options), _selection(options)
    planned = plan.plan(chosen, selection, settings)
    if options.frames and not any(
        chosen.checkpoint(item.run.checkpoint).frames for item in planned
    ):
        raise BenchError(
            f"{chosen.name} makes its own frames",
            found=f"--frames {options.frames}",
            todo="leave --frames out, or score them with bench score",
        )
    ready = [item for item in planned if not item.problem]
    if not ready:
        raise BenchError(f"{planned[0].run}: {planned[0].problem}")
    todo, refused = _todo(chosen, ready, selection.clips, settings, options)
    counts = [evaluate.frame_count(job, clips) for job, clips in todo]
    total = sum(count or 0 for count in counts) if None not in counts else None
    with console.progress(chosen.name, total) as bar:
        how, frame_by_frame = _engine(options, bar)

        def tell(item: engine.Item, outcome: evaluate.Outcome) -> None:
            bar.update(0 if frame_by_frame else outcome.frames)
            if outcome.error:
                bar.write(
                    f"bench: {item.job.run}, clip {item.clip}: {outcome.error[-1]}", sys.stderr
                )

        done = engine.execute(todo, how, tell)
    _summary(done, todo)
    print()
    differs = _show_table(chosen, options.results, [item.run for item in planned])
    for item in planned:
        if item.problem:
            print(f"not run: {item.run}: {item.problem}")
    for line in refused:
        print(f"bench: {line}", file=sys.stderr)
    if refused:
        return BAD_INPUT
    return CHECK_FAILED if any(one.failed for one in done) or (options.strict and differs) else FINE


def _todo(
    chosen: Paper,
    ready: Sequence[Planned],
    clips: Sequence[str],
    settings: Settings,
    options: argparse.Namespace,
) -> tuple[Todo, list[str]]:
    """The jobs and the clips that are still to be measured of each; what stops the other runs."""
    from bench import evaluate, resume

    todo: Todo = []
    refused = []
    for item in ready:
        try:
            job = evaluate.job(item, chosen, clips, settings, options.results)
            todo.append((job, resume.missing(job, clips, options.overwrite)))
        except BenchError as error:
            refused.append(f"{item.run}: {error}")
    return todo, refused


def _engine(options: argparse.Namespace, bar: tqdm[Never]) -> tuple[Engine, bool]:
    """Where items run, and whether the bar learns of every frame."""
    from bench import engine

    if options.device and len(options.device) > 1:
        return lambda items: engine.on_devices(items, options.device), False
    return lambda items: engine.in_process(items, bar.update), True


def _summary(done: Sequence[Done], todo: Todo) -> None:
    from bench import record

    for one, (job, _) in zip(done, todo, strict=True):
        found = one.record
        file = record.path(job.results, *job.run)
        have = f"{len(found.clips) if found else 0} of {job.found.dataset.count} clips"
        skipped = len(found.clips) - len(one.measured) if found else 0
        words = [f"{len(one.measured)} measured"] if one.measured else []
        words += [f"{skipped} as they were"] if skipped else []
        words += [f"{len(one.failed)} failed"] if one.failed else []
        print(f"{job.run}: {have} ({', '.join(words)}) -> {file}")


def _show_table(chosen: Paper, results: Path, runs: Sequence[tuple[str, ...]]) -> bool:
    """Prints the cells of these runs, or every clip where no cell is published for them."""
    from bench import record, tables

    records = [found for found in record.read_all(results, chosen.name) if _key(found) in runs]
    judged = [
        one
        for one in tables.judge_all(chosen, records)
        if (chosen.name, one.cell.checkpoint, one.cell.dataset, one.cell.degradation) in runs
    ]
    if judged:
        frame = tables.cells_frame(judged)
        columns = ["row", "data set", "degradation", "clip", "published", "measured", "verdict"]
        print(console.table(frame[columns].to_numpy().tolist(), columns), end="\n\n")
    if records:
        frame = tables.runs_frame(records)
        frame = frame[frame["protocol"] == "fixed"] if judged else frame
        print(console.table(frame.to_numpy().tolist(), list(frame.columns)), end="\n\n")
    return any(one.verdict == "differs" for one in judged)


def _test_method(options: argparse.Namespace) -> int:
    from pathlib import Path

    from bench import factory, laws

    broken = 0
    for verdict in laws.examine(factory.find(options.method, Path.cwd()), options.device):
        broken += verdict.state == "broken"
        seen = f": {verdict.seen}" if verdict.seen else ""
        print(f"{console.mark(verdict.state)} {verdict.law}{seen}", flush=True)
    return CHECK_FAILED if broken else FINE


COMMANDS: dict[str, Callable[[argparse.Namespace], int]] = {
    "plan": _plan,
    "run": _run,
    "test-method": _test_method,
}
