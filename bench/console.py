"""What the commands share: exit codes, tables, progress bars, threads."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence
from typing import TYPE_CHECKING, Never

if TYPE_CHECKING:
    from tqdm import tqdm

FINE, CHECK_FAILED, BAD_INPUT = 0, 1, 2  # the exit codes


def table(rows: Sequence[Sequence[object]], headers: Sequence[str]) -> str:
    """The rows under their headers, as they are printed."""
    from tabulate import tabulate

    return str(tabulate(rows, headers=headers, disable_numparse=True))


def workers(options: argparse.Namespace) -> int:
    """How many threads decode and score."""
    import os

    available = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count()
    return options.workers or min(available or 1, 8)


def progress(what: str, total: int | None) -> tqdm[Never]:
    """A bar on stderr that counts frames, where that is a terminal."""
    from tqdm import tqdm

    return tqdm(desc=what, total=total, unit="frame", file=sys.stderr, disable=None, leave=False)
