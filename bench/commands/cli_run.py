"""The commands that reproduce: what is to be done, doing it, and the table of it."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Never

from bench.commands import console
from bench.commands.console import BAD_INPUT, CHECK_FAILED, FINE
from bench.errors import BenchError, choices

# Everything else is imported where it is used: `bench --help` must not wait for it.
if TYPE_CHECKING:
    from pathlib import Path

    from tqdm import tqdm

    from bench.engine import Done, Engine
    from bench.evaluate import Job
    from bench.maker import Settings
    from bench.paper import Paper
    from bench.plan import Planned, Run, Selection
    from bench.record import Record
    from bench.verify import Compared

Todo = list[tuple["Job", list[str]]]


def selection(options: argparse.Namespace) -> Selection:
    """What of a paper the words of the command choose."""
    from bench.plan import Selection

    return Selection(
        checkpoints=options.checkpoint,
        datasets=options.dataset,
        degradations=options.degradation,
        clips=getattr(options, "clip", []),
        protocols=getattr(options, "protocol", []),
    )


def settings(options: argparse.Namespace) -> Settings:
    """Where things are and how networks run, by the words of the command."""
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
    from bench import journal, latency, paper, plan

    chosen = paper.load(options.paper)
    planned = plan.plan(chosen, selection(options), settings(options))
    device = latency.device_here(options.results)
    rows: list[tuple[object, ...]] = []
    total = 0.0
    for item in planned:
        known = journal.known(options.results, item.run)
        clips, done = _progressed(item, chosen, known, options)
        missing = [clip for clip in clips if clip not in done] if clips else None
        time = _forecast(item.run, chosen, missing, device, options)
        total += 0 if item.problem else time or 0
        state = f"missing: {item.problem.wrong}" if item.problem else "ready"
        count = len(clips) if clips else item.clip_count
        shared = item.run[1:]
        if not options.items:
            cells = (f"{len(done)} of {count}", item.cells, ", ".join(item.protocols))
            rows.append((*shared, *cells, _duration(time), state))
            continue
        for clip in clips or [f"{count} clips"]:
            one = _forecast(item.run, chosen, [clip] if clips else None, device, options)
            rows.append((*shared, clip, _duration(one), "measured" if clip in done else state))
    middle = ["clip"] if options.items else ["measured", "cells", "protocols"]
    headers = ["checkpoint", "data set", "degradation", *middle, "network time", "state"]
    print(console.table(rows, headers))
    for line in dict.fromkeys(str(item.problem) for item in planned if item.problem):
        print(f"- {line}")
    if total:
        print(f"ready and not measured: about {_duration(total)} of network time on {device}")
    elif any(chosen.checkpoint(item.run.checkpoint).network for item in planned):
        print(f"network time: not known before bench latency {chosen.name} --all on this machine")
    return FINE


def _progressed(
    item: Planned, chosen: Paper, known: Record | None, options: argparse.Namespace
) -> tuple[list[str], list[str]]:
    """The clips of a run, as far as they are known, and those measured by today's code."""
    from bench import catalog, evaluate, resume

    dataset = catalog.get(item.run.dataset)
    if item.problem:
        return list(dataset.clips or ()), []
    job = evaluate.job(item, chosen, (), settings(options), options.results)
    clips = job.found.clips
    return clips, [clip for clip in clips if known and resume.might_be_valid(job, known, clip)]


def _forecast(
    run: Run,
    chosen: Paper,
    clips: Sequence[str] | None,
    device: str | None,
    options: argparse.Namespace,
) -> float | None:
    from bench.cost import forecast

    if device is None or not chosen.checkpoint(run.checkpoint).network:
        return None
    return forecast.seconds(options.results, device, run, chosen.scale, clips)


def _duration(seconds: float | None) -> str:
    """The time in the largest unit that keeps a digit before the point.

    >>> _duration(None), _duration(12.3), _duration(600), _duration(9000)
    ('', '12 s', '10 min', '2.5 h')
    """
    if seconds is None:
        return ""
    if seconds < 100:
        return f"{seconds:.0f} s"
    return f"{seconds / 60:.0f} min" if seconds < 6000 else f"{seconds / 3600:.1f} h"


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
    from bench import plan

    chosen = _chosen(options)
    planned = plan.plan(chosen, selection(options), settings(options))
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
    done, refused = work(chosen, ready, options)
    differs = _show_table(chosen, options.results, [item.run for item in planned])
    for item in planned:
        if item.problem:
            print(f"not run: {item.run}: {item.problem}")
    for line in refused:
        print(f"bench: {line}", file=sys.stderr)
    if refused:
        return BAD_INPUT
    return CHECK_FAILED if any(one.failed for one in done) or (options.strict and differs) else FINE


def work(
    chosen: Paper, ready: Sequence[Planned], options: argparse.Namespace
) -> tuple[list[Done], list[str]]:
    """Measures what the runs lack; what became of it, and the runs that were refused and why."""
    from bench import engine, evaluate, runtime

    described = [chosen.checkpoint(item.run.checkpoint) for item in ready]
    if options.engine == "local" and any(one.network or one.factory for one in described):
        for device in options.device or ():
            if device != "auto":
                runtime.check(device)
    todo, refused = _todo(chosen, ready, selection(options).clips, settings(options), options)
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
    return done, refused


def _todo(
    chosen: Paper,
    ready: Sequence[Planned],
    clips: Sequence[str],
    where: Settings,
    options: argparse.Namespace,
) -> tuple[Todo, list[str]]:
    """The jobs and the clips that are still to be measured of each; what stops the other runs."""
    from bench import evaluate, resume

    todo: Todo = []
    refused = []
    for item in ready:
        try:
            job = evaluate.job(item, chosen, clips, where, options.results)
            todo.append((job, resume.missing(job, clips, options.overwrite)))
        except BenchError as error:
            refused.append(f"{item.run}: {error}")
    return todo, refused


def _engine(options: argparse.Namespace, bar: tqdm[Never]) -> tuple[Engine, bool]:
    """Where items run, and whether the bar learns of every frame."""
    from bench import engine

    if options.engine == "slurm":
        from bench import slurm

        how = slurm.Options(
            options.partition, options.minutes, options.parallel, dict(options.sbatch)
        )
        folder = (options.results / ".slurm").absolute()  # shared, as the results are
        return lambda items: slurm.on_slurm(items, how, folder), False
    if options.device and len(options.device) > 1:
        return lambda items: engine.on_devices(items, options.device), False
    return lambda items: engine.in_process(items, bar.update), True


def _summary(done: Sequence[Done], todo: Todo) -> None:
    from bench import record

    for one, (job, _) in zip(done, todo, strict=True):
        found = one.record
        file = record.path(job.results, *job.run)
        have = f"{len(found.clips) if found else 0} of {job.found.dataset.count} clips"
        skipped = sum(clip.clip not in one.measured for clip in found.clips) if found else 0
        words = [f"{len(one.measured)} measured"] if one.measured else []
        words += [f"{skipped} as they were"] if skipped else []
        words += [f"{len(one.failed)} failed"] if one.failed else []
        words += [f"{len(one.dropped)} dropped: measured otherwise"] if one.dropped else []
        untrained = " with untrained weights" if found and found.untrained else ""
        print(f"{job.run}: {have}{untrained} ({', '.join(words)}) -> {file}")


def _show_table(chosen: Paper, results: Path, runs: Sequence[Run]) -> bool:
    """Prints the cells of these runs, or every clip where no cell is published for them."""
    from bench import record, tables

    # Those of other runs are left alone: one of them may be torn.
    files = [record.path(results, *run) for run in dict.fromkeys(runs)]
    records = [record.read(file) for file in sorted(files) if file.exists()]
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


def _verified(rows: Sequence[Compared]) -> tuple[str, ...]:
    """One line for the frames of one clip under one measure, the worst of them named."""
    worst = max(rows, key=lambda row: (not row.agrees, row.beyond, row.difference))
    agree = sum(row.agrees for row in rows)
    size = f"{worst.difference:.6f}"
    if worst.measure == "grey levels":
        size = f"{worst.difference:.0f}, {worst.beyond:.4%} beyond 1"
    verdict = "agrees" if agree == len(rows) else "differs"
    told = (worst.clip, worst.measure, len(rows), size, worst.frame + 1, agree, verdict)
    return tuple(map(str, told))


def _verify(options: argparse.Namespace) -> int:
    from bench import paper, verify

    chosen = paper.load(options.paper)
    if not chosen.references:
        raise BenchError(
            f"{chosen.name} names no released outputs",
            expected="references in its paper.yaml",
            todo="compare scores with bench run",
        )
    for key in options.reference:
        if key not in chosen.references:
            raise BenchError(
                f"{chosen.name} has no reference {key!r}",
                expected=choices(chosen.references),
                todo="choose one of them",
            )
    if options.frames and len(options.reference or chosen.references) > 1:
        raise BenchError(
            "--frames needs one reference",
            expected=choices(chosen.references),
            todo="name one with --reference",
        )
    where, differs, missing = settings(options), False, 0
    wanted = options.reference or list(chosen.references)
    for key in wanted:
        title = f"{chosen.name} {key}: {chosen.references[key].title}"
        try:
            total = verify.frame_count(chosen, key, where, options.frames)
            with console.progress(title, total) as bar:
                rows = verify.verify(
                    chosen, key, where, options.results, options.frames, bar.update
                )
        except BenchError as error:
            missing += 1
            print(f"{title}\nnot verified: {error}\n")
            continue
        headers = ("clip", "what", "frames", "largest difference", "at frame", "agree", "verdict")
        kinds = dict.fromkeys((row.clip, row.measure) for row in rows)
        lines = [
            _verified([row for row in rows if (row.clip, row.measure) == kind]) for kind in kinds
        ]
        print(f"{title}\n{console.table(lines, headers)}\n")
        differs = differs or not all(row.agrees for row in rows)
    if missing == len(wanted):
        return BAD_INPUT
    return CHECK_FAILED if differs else FINE


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
    "verify": _verify,
    "test-method": _test_method,
}
