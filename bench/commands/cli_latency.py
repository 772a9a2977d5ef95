"""The command that measures what networks cost."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING

from bench.commands import console
from bench.commands.console import BAD_INPUT, FINE
from bench.errors import BenchError

# Everything else is imported where it is used: `bench --help` must not wait for it.
if TYPE_CHECKING:
    from bench.cost.timing import Settings, Shape
    from bench.latency import Latency, Options
    from bench.paper import Paper

SIZES, FRAMES = ((180, 320),), (7,)
SWEEP_SIZES = ((64, 112), (96, 168), (144, 180), (180, 320))
SWEEP_FRAMES = (7, 14, 28)


def _latency(options: argparse.Namespace) -> int:
    import msgspec

    from bench import latency, storage
    from bench.cost import growth
    from bench.cost.timing import Settings
    from bench.latency import Options

    chosen = _chosen(options)
    storage.check_writable(options.results / "latency")
    how = Options(
        dtype=options.dtype,
        tf32=options.tf32,
        batch=options.batch,
        compiled=options.compile,
        channels_last=options.channels_last,
    )
    settings = Settings(options.device, options.threads, options.repeats)
    failed, done = False, []
    for group in chosen:
        found: dict[str, list[Latency]] = {}
        for shape in _shapes(options, group[0]):
            try:
                measured = _measured(group[0], shape, how, settings)
            except BenchError as error:
                failed = True
                print(f"bench: {error}", file=sys.stderr)
                continue
            for paper, name in group:
                one = msgspec.structs.replace(measured, paper=paper.name, checkpoint=name)
                found.setdefault(f"{paper.name} {name}", []).append(one)
                print(f"{paper.name} {name} at {one.size}: {latency.write(options.results, one)}")
        for title, named in found.items():
            for file in growth.draw(options.results, named) if options.sweep else ():
                print(f"{title}: {file}")
            done += named
    for frame in latency.data_frames(done).values():
        print()
        print(console.table(frame.to_numpy().tolist(), list(frame.columns)))
    return BAD_INPUT if failed else FINE


def _chosen(options: argparse.Namespace) -> list[list[tuple[Paper, str]]]:
    """What is to be measured, by architecture: the first of each group stands for all of it."""
    from bench import paper
    from bench.cost.timing import groups

    if not options.paper and not options.all:
        raise BenchError("no paper was named", todo="name one, or add --all for every paper")
    if options.checkpoint and (options.all or not options.paper):
        raise BenchError(
            "--all means every checkpoint", found="--checkpoint", todo="leave one of them out"
        )
    papers = [paper.load(name) for name in ([options.paper] if options.paper else paper.names())]
    for name in options.checkpoint:
        papers[0].checkpoint(name)
    found = groups(papers)
    having = {name for group in found for _, name in group}
    lacking = [name for name in options.checkpoint if name not in having]
    if not found or lacking:
        raise BenchError(
            f"{' '.join([options.paper or 'no installed paper', *lacking])} has no network",
            expected="a paper whose checkpoints have one",
            todo="see bench list",
        )
    if options.all:
        return found
    if not options.checkpoint:
        return [found[0][:1]]
    wanted = [[one for one in group if one[1] in options.checkpoint] for group in found]
    return [group for group in wanted if group]


def _shapes(options: argparse.Namespace, one: tuple[Paper, str]) -> list[Shape]:
    """Every size with the first clip length, and every length with the first size.

    Lengths beyond the first are for networks that see whole clips; they move no other's figures.
    """
    from bench.cost.timing import Shape
    from bench.restore import Recurrent

    paper, name = one
    sizes: Sequence[tuple[int, int]] = options.size or (SWEEP_SIZES if options.sweep else SIZES)
    lengths: Sequence[int] = options.frames or (SWEEP_FRAMES if options.sweep else FRAMES)
    if not isinstance(paper.checkpoint(name).restorer, Recurrent):
        lengths = lengths[:1]
    wanted = [(size, lengths[0]) for size in sizes]
    wanted += [(sizes[0], length) for length in lengths[1:]]
    return [Shape(height, width, length) for (height, width), length in dict.fromkeys(wanted)]


def _measured(
    one: tuple[Paper, str], shape: Shape, options: Options, settings: Settings
) -> Latency:
    from bench.cost import timing

    paper, name = one
    what = f"{paper.name} {name} at {shape.height}x{shape.width}, {shape.frames} frames"
    with console.progress(what, None) as bar:
        return timing.measure(paper, name, shape, options, settings, bar.update)


COMMANDS: dict[str, Callable[[argparse.Namespace], int]] = {"latency": _latency}
