"""A paper's cells -> the runs that they need, and whether these can be run here."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import NamedTuple

from bench import catalog, checkpoint, locate, maker, protocol
from bench.catalog import Dataset
from bench.clips import check_makeable
from bench.errors import BenchError, choices
from bench.maker import Settings
from bench.paper import Paper
from bench.protocol import Protocol


class Run(NamedTuple):
    """One checkpoint on one data set under one degradation: what a record holds."""

    paper: str
    checkpoint: str
    dataset: str
    degradation: str

    def __str__(self) -> str:
        return f"{self.paper}/{self.checkpoint} on {self.dataset}, {self.degradation}"


class Planned(NamedTuple):
    """A run, the protocols that its published cells need, and why it cannot be run, if so."""

    run: Run
    protocols: dict[str, Protocol]
    cells: int
    problem: BenchError | None

    @property
    def clip_count(self) -> int:
        """The number of clips of the data set."""
        return catalog.get(self.run.dataset).count


class Selection(NamedTuple):
    """What of a paper is wanted; empty means everything that its cells name."""

    checkpoints: Sequence[str] = ()
    datasets: Sequence[str] = ()
    degradations: Sequence[str] = ()
    clips: Sequence[str] = ()
    protocols: Sequence[str] = ()


def plan(chosen: Paper, selection: Selection, settings: Settings) -> list[Planned]:
    """Every run that the paper's cells name, and those that the selection names beside them.

    A data set that no cell names, such as `sample`, is run under the degradations asked for, else
    under its first one, with every checkpoint that has a method.
    """
    protocols: dict[Run, dict[str, Protocol]] = {}
    cells: dict[Run, int] = {}
    for cell in chosen.cells:
        if cell.checkpoint is None:
            continue
        run = Run(chosen.name, cell.checkpoint, cell.dataset, cell.degradation)
        protocols.setdefault(run, {})
        cells[run] = cells.get(run, 0) + 1
        if cell.protocol is not None:
            protocols[run][cell.protocol] = protocol.PROTOCOLS[cell.protocol]
    for run in _asked_for(chosen, selection):
        protocols.setdefault(run, {})
    parsed = [protocol.parse(text) for text in selection.protocols]
    wanted = {protocol.name_of(one): one for one in parsed}
    chosen_runs = [run for run in protocols if _selected(run, selection)]
    if not chosen_runs:
        raise BenchError(
            f"{chosen.name} has no such run",
            expected="checkpoint, data set and degradation among "
            + "; ".join(" ".join(run[1:]) for run in protocols),
            todo="choose one of them",
        )
    return [
        Planned(
            run,
            applicable(
                catalog.get(run.dataset),
                {"fixed": protocol.PROTOCOLS["fixed"], **protocols[run], **wanted},
            ),
            cells.get(run, 0),
            _problem(chosen, run, selection.clips, settings),
        )
        for run in chosen_runs
    ]


def applicable(dataset: Dataset, protocols: dict[str, Protocol]) -> dict[str, Protocol]:
    """The protocols for a data set: `fixed-centre` for `fixed` where only centre frames are scored.

    Raises BenchError where another protocol scores frames that the data set does not.
    """
    if dataset.scored == "all":
        return protocols
    fixed = {"fixed-centre": protocol.PROTOCOLS["fixed-centre"]} if "fixed" in protocols else {}
    others = {name: wanted for name, wanted in protocols.items() if name != "fixed"}
    for name, wanted in others.items():
        if wanted.frames != "centre":
            raise BenchError(
                f"protocol {name} does not fit {dataset.title}",
                expected="frames=centre: only the centre frame of a clip is scored",
                found=str(wanted),
                todo="choose a protocol such as y-crop0-centre",
            )
    return {**fixed, **others}


def _asked_for(chosen: Paper, selection: Selection) -> Iterator[Run]:
    for name in selection.checkpoints:
        chosen.checkpoint(name)
    for name in selection.datasets:
        dataset = catalog.get(name)
        named = {cell.degradation for cell in chosen.cells if cell.dataset == name}
        for degradation in selection.degradations:
            if degradation not in dataset.degradations:
                raise BenchError(
                    f"{dataset.title} has no degradation {degradation!r}",
                    expected=choices(dataset.degradations),
                    todo="choose one of them",
                )
        for key, described in chosen.checkpoints.items():
            runnable = described.method or described.network or described.factory
            if runnable and not (named and not selection.degradations):
                for degradation in selection.degradations or dataset.degradations[:1]:
                    yield Run(chosen.name, key, name, degradation)


def _selected(run: Run, selection: Selection) -> bool:
    return all(
        not wanted or value in wanted
        for value, wanted in (
            (run.checkpoint, selection.checkpoints),
            (run.dataset, selection.datasets),
            (run.degradation, selection.degradations),
        )
    )


def _problem(
    chosen: Paper, run: Run, clips: Sequence[str], settings: Settings
) -> BenchError | None:
    """Why the run cannot start, or None."""
    described = chosen.checkpoint(run.checkpoint)
    try:
        if described.missing:
            return BenchError(described.missing)
        if described.frames and run.dataset not in described.frames:
            return BenchError(f"no frames were released for {run.dataset}")
        maker.check(chosen, run.checkpoint, run.dataset, settings)
        if described.network:
            checkpoint.check(checkpoint.find(chosen, run.checkpoint), described)
        found = locate.find(catalog.get(run.dataset), settings.data_root, clips)
        if described.frames:
            maker.released(chosen, run.checkpoint, found, clips, settings)
        elif run.degradation not in found.lr:
            check_makeable(found, run.degradation)
    except BenchError as error:
        return error
    return None
