"""The `bench` command: parse, call one function, print."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Never

from bench import cli_fetch
from bench.arguments import BAD_INPUT, parser
from bench.cli_fetch import table as _table
from bench.errors import BenchError

# Everything else is imported where it is used: `bench --help` must not wait for it.
if TYPE_CHECKING:
    from tqdm import tqdm

    from bench.evaluate import Selection, Settings
    from bench.paper import Paper
    from bench.record import Record

FINE, CHECK_FAILED = 0, 1


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


def _workers(options: argparse.Namespace) -> int:
    import os

    available = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count()
    return options.workers or min(available or 1, 8)


def _selection(options: argparse.Namespace) -> Selection:
    from bench.evaluate import Selection

    return Selection(
        checkpoints=options.checkpoint,
        datasets=options.dataset,
        degradations=options.degradation,
        clips=getattr(options, "clip", []),
        protocols=getattr(options, "protocol", []),
    )


def _settings(options: argparse.Namespace) -> Settings:
    from bench import catalog
    from bench.evaluate import Settings

    return Settings(
        data_root=catalog.data_root(options.data_root),
        released=getattr(options, "frames", None),
        save=getattr(options, "save_frames", None),
        workers=_workers(options) if hasattr(options, "workers") else 1,
        device=getattr(options, "device", "auto"),
        chunk=getattr(options, "chunk", None),
    )


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
    print(_table(papers, ("paper", "checkpoint", "what", "cells", "state")), end="\n\n")

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
    print(_table(datasets, ("data set", "clips", "frames scored", "degradations", "where")))
    print(f"\ndata sets are looked for in {root}")
    return FINE


def _plan(options: argparse.Namespace) -> int:
    from bench import evaluate, paper, record

    chosen = paper.load(options.paper)
    planned = evaluate.plan(chosen, _selection(options), _settings(options))
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
    print(_table(rows, ("checkpoint", "data set", "degradation", "cells", "protocols", "state")))
    for line in dict.fromkeys(str(item.problem) for item in planned if item.problem):
        print(f"- {line}")
    return FINE


def _key(found: Record) -> tuple[str, str, str, str]:
    return found.paper, found.checkpoint, found.dataset, found.degradation


def _run(options: argparse.Namespace) -> int:
    from bench import evaluate, paper, record

    chosen = paper.load(options.paper)
    settings, selection = _settings(options), _selection(options)
    planned = evaluate.plan(chosen, selection, settings)
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
    failures = []
    for item in ready:
        total = evaluate.frame_count(item, selection.clips, settings)
        try:
            with _progress(str(item.run), total) as bar:
                measured = evaluate.execute(
                    item, chosen, selection.clips, settings, options.results, bar.update
                )
        except BenchError as error:
            failures.append(item.run)
            print(f"bench: {error}", file=sys.stderr)
            continue
        file = record.path(options.results, *item.run)
        print(f"{item.run}: {len(measured.clips)} of {measured.clip_count} clips -> {file}")
    print()
    differs = _show_table(chosen, options.results, [item.run for item in planned])
    for item in planned:
        if item.problem:
            print(f"not run: {item.run}: {item.problem}")
    if failures:
        print(f"failed: {', '.join(map(str, failures))}")
        return BAD_INPUT
    return CHECK_FAILED if options.strict and differs else FINE


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
        print(_table(frame[columns].to_numpy().tolist(), columns), end="\n\n")
    if records:
        frame = tables.runs_frame(records)
        frame = frame[frame["protocol"] == "fixed"] if judged else frame
        print(_table(frame.to_numpy().tolist(), list(frame.columns)), end="\n\n")
    return any(one.verdict == "differs" for one in judged)


def _score(options: argparse.Namespace) -> int:
    from bench import catalog, evaluate, locate, protocol, score
    from bench.clips import gt_clips

    parsed = [protocol.parse(text) for text in options.protocol or ["fixed"]]
    protocols = {protocol.name_of(one): one for one in parsed}
    if options.gt in catalog.load():  # a folder of that name is meant by ./vid4
        dataset = catalog.get(options.gt)
        found = locate.find(dataset, catalog.data_root(options.data_root), options.clip)
        gt = gt_clips(found, options.clip)
        protocols = evaluate.applicable(dataset, protocols)
    else:
        gt = score.gt_clips(Path(options.gt))
    pairs = score.pair(options.sr, gt, options.clip)
    results = {}
    with _progress("scoring", sum(len(sr) for sr, _ in pairs.values())) as bar:
        for clip, (sr, reference) in pairs.items():
            results[clip] = score.score_clip(
                sr,
                reference,
                protocols,
                workers=_workers(options),
                on_frame=bar.update,
                digests=False,
            ).scores
    rows = []
    for name, wanted in protocols.items():
        for clip, scores in results.items():
            psnr, ssim = score.mean(scores[name].psnr), score.mean(scores[name].ssim)
            rows.append((name, clip or options.sr.name, psnr.text(), ssim.text()))
        if len(results) > 1:
            psnr = score.dataset_mean([r[name].psnr for r in results.values()], wanted)
            ssim = score.dataset_mean([r[name].ssim for r in results.values()], wanted)
            rows.append((name, wanted.mean_name, psnr.text(), ssim.text()))
    print(_table(rows, ("protocol", "clip", "PSNR (dB)", "SSIM")))
    for name, wanted in protocols.items():
        print(f"{name}: {wanted}")
    score.export(results, protocols, options.json, options.csv)
    return FINE


def _report(options: argparse.Namespace) -> int:
    from bench import paper, record, storage, tables

    if options.format != "markdown" and not options.stdout:
        raise BenchError(f"--format {options.format} needs --stdout", todo="add --stdout")
    stale = []
    for name in options.papers or paper.names():
        chosen = paper.load(name)
        records = record.read_all(options.results, name)
        if options.stdout:
            if options.format == "markdown":
                print(tables.document(chosen, records), end="")
            else:
                print(
                    tables.render(
                        tables.cells_frame(tables.judge_all(chosen, records)), options.format
                    )
                )
            continue
        file, text = tables.table_path(options.results, name), tables.document(chosen, records)
        if file.is_file() and file.read_bytes() == text.encode():
            print(f"{file}: fresh")
        elif options.check:
            stale.append(file)
        else:
            storage.write_text(file, text)
            print(f"{file}: written")
    for file in stale:
        print(f"{file}: stale; run bench report", file=sys.stderr)
    return CHECK_FAILED if stale else FINE


def _doctor(options: argparse.Namespace) -> int:
    from bench import catalog, doctor

    for line in doctor.examine(catalog.data_root(options.data_root), options.results):
        print(line)
    return FINE


def _progress(what: str, total: int | None) -> tqdm[Never]:
    from tqdm import tqdm

    return tqdm(desc=what, total=total, unit="frame", file=sys.stderr, disable=None, leave=False)


_COMMANDS: dict[str, Callable[[argparse.Namespace], int]] = {
    **cli_fetch.COMMANDS,
    "list": _list,
    "plan": _plan,
    "run": _run,
    "score": _score,
    "report": _report,
    "doctor": _doctor,
}
