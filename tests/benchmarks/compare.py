"""Compares two saved runs of the benchmarks: which one became slower, by how much, how surely.

    python tests/benchmarks/compare.py SAVED.json NEW.json

Both are files of pytest-benchmark with the time of every round (--benchmark-json, or
--benchmark-save with --benchmark-save-data). For each benchmark the ratio of the medians is given,
new over saved, and the p of a two-sided Mann-Whitney test, corrected after Holm for the number of
benchmarks. Exit code 1 where one is slower by more than 10 % with p below 0.01; 2 where a file
cannot be read; else 0, also for runs of different machines, which are not compared.

Rounds of one run share their surroundings: on a machine that does other work beside, a small p says
that the two runs differed, not why. Hence the 10 %, and hence the advice to run it again.
"""

from __future__ import annotations

import json
import math
import statistics
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any, NamedTuple

from scipy.stats import mannwhitneyu
from tabulate import tabulate

from bench.errors import BenchError

SLOWER = 1.1
LEVEL = 0.01
HEADERS = ("benchmark", "saved ms", "new ms", "ratio", "p", "")


class Run(NamedTuple):
    """A saved run: its machine, and the seconds of each round by benchmark."""

    machine: str
    rounds: dict[str, list[float]]


class Change(NamedTuple):
    """What became of one benchmark; `p` is corrected, `least` the smallest p it could have had."""

    name: str
    saved_s: float
    new_s: float
    p: float
    least: float

    @property
    def ratio(self) -> float:
        """How many times as long it takes now."""
        return self.new_s / self.saved_s

    @property
    def verdict(self) -> str:
        """In a word or two; nothing where it is as fast as before."""
        if not 1 / SLOWER <= self.ratio <= SLOWER:
            if self.p < LEVEL:
                return "SLOWER" if self.ratio > 1 else "faster"
            if self.least >= LEVEL:
                return "too few rounds to tell"
        return ""


def read(file: Path) -> Run:
    """A run from its file; raises BenchError where it is none, or lacks the time of rounds."""
    try:
        found = json.loads(file.read_bytes())
        machine = _machine(found["machine_info"])
        rounds = {one["fullname"]: one["stats"].get("data") for one in found["benchmarks"]}
    except (OSError, ValueError, LookupError, TypeError, AttributeError) as error:
        raise BenchError(
            f"cannot read the benchmarks in {file}",
            expected="a file of pytest-benchmark",
            found=f"{type(error).__name__}: {error}",
            todo="make it with --benchmark-json",
        ) from error
    lacking = [name for name, data in rounds.items() if not data]
    if lacking:
        raise BenchError(
            f"{file} lacks the time of each round",
            expected="data beside the statistics",
            found=f"none for {lacking[0]}",
            todo="save runs with --benchmark-save-data",
        )
    return Run(machine, rounds)


def _machine(described: dict[str, Any]) -> str:
    cpu = described["cpu"]
    return f"{cpu['brand_raw']}, {cpu['count']} cores, {described['machine']}"


def changes(saved: Run, new: Run) -> list[Change]:
    """What became of the benchmarks that both runs have, the most slowed down first."""
    names = [name for name in new.rounds if name in saved.rounds]
    pairs = [(saved.rounds[name], new.rounds[name]) for name in names]
    corrected = holm([float(mannwhitneyu(*pair).pvalue) for pair in pairs])
    found = [
        Change(name, *map(statistics.median, pair), p, _least(pair, len(pairs)))
        for name, pair, p in zip(names, pairs, corrected, strict=True)
    ]
    return sorted(found, key=lambda change: -change.ratio)


def holm(values: Sequence[float]) -> list[float]:
    """The p values of several tests, so corrected that one level holds for all of them together.

    >>> holm([0.01, 0.04, 0.03])
    [0.03, 0.06, 0.06]
    """
    corrected, so_far = [0.0] * len(values), 0.0
    for rank, i in enumerate(sorted(range(len(values)), key=values.__getitem__)):
        so_far = max(so_far, min(1.0, (len(values) - rank) * values[i]))
        corrected[i] = so_far
    return corrected


def _least(pair: tuple[list[float], list[float]], tests: int) -> float:
    """The p of two runs of which all rounds of one are faster than all rounds of the other."""
    saved, new = map(len, pair)
    return min(1.0, tests * 2 / math.comb(saved + new, new))


def report(saved: Run, new: Run) -> tuple[str, list[str]]:
    """The comparison as text, and the benchmarks that became slower."""
    if saved.machine != new.machine:
        return f"not comparable: saved on {saved.machine}; this run on {new.machine}\n", []
    found = changes(saved, new)
    table = [
        (c.name, *(f"{1e3 * s:.3g}" for s in (c.saved_s, c.new_s)), f"{c.ratio:.2f}", f"{c.p:.2g}")
        for c in found
    ]
    table = [(*row, change.verdict) for row, change in zip(table, found, strict=True)]
    lines = [tabulate(table, HEADERS, disable_numparse=True)] if table else []
    lines += [f"not in this run: {name}" for name in saved.rounds if name not in new.rounds]
    lines += [f"not in the saved run: {name}" for name in new.rounds if name not in saved.rounds]
    slower = [change.name for change in found if change.verdict == "SLOWER"]
    lines += [f"slower than in the saved run: {name}" for name in slower]
    return "\n".join([*lines, ""]), slower


def main(words: Sequence[str]) -> int:
    """Prints the comparison of two files and gives the exit code."""
    try:
        text, slower = report(*map(read, _two_files(words)))
    except BenchError as error:
        sys.stderr.write(f"{error}\n")
        return 2
    sys.stdout.write(text)
    return 1 if slower else 0


def _two_files(words: Sequence[str]) -> list[Path]:
    if len(words) != 2:
        raise BenchError(
            "wrong number of files",
            expected="the saved run and the new one",
            found=str(len(words)),
            todo="give two files of pytest-benchmark",
        )
    return [Path(word) for word in words]


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
