"""What the commands share: exit codes, tables, progress bars, threads."""

from __future__ import annotations

import argparse
import os
import sys
from collections.abc import Sequence
from typing import TYPE_CHECKING, Literal, Never

if TYPE_CHECKING:
    from tqdm import tqdm

FINE, CHECK_FAILED, BAD_INPUT = 0, 1, 2  # the exit codes


def table(rows: Sequence[Sequence[object]], headers: Sequence[str]) -> str:
    """The rows under their headers, as they are printed."""
    from tabulate import tabulate

    return str(tabulate(rows, headers=headers, disable_numparse=True))


def workers(options: argparse.Namespace) -> int:
    """How many threads decode and score."""
    available = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count()
    return options.workers or min(available or 1, 8)


def progress(what: str, total: int | None, unit: str = "frame") -> tqdm[Never]:
    """A bar on stderr that counts frames, where that is a terminal."""
    from tqdm import tqdm

    return tqdm(desc=what, total=total, unit=unit, file=sys.stderr, disable=None, leave=False)


_MARKS = {  # state -> mark, what stands for it in ASCII, colour
    "kept": ("\N{CHECK MARK}", "ok  ", 32),
    "broken": ("\N{BALLOT X}", "FAIL", 31),
    "doubtful": ("!", "warn", 33),
}


def mark(state: Literal["kept", "broken", "doubtful"]) -> str:
    """A mark for a law that is kept, broken or doubtful, in colour on a terminal.

    Where the encoding of the output has no tick, it is a word.
    """
    symbol, word, colour = _MARKS[state]
    try:
        "".join(tick for tick, _, _ in _MARKS.values()).encode(sys.stdout.encoding or "ascii")
    except UnicodeEncodeError:
        symbol = word
    coloured = sys.stdout.isatty() and "NO_COLOR" not in os.environ
    return f"\033[{colour}m{symbol}\033[0m" if coloured else symbol
