"""The results that others are compared with: those of a commit, or of another folder."""

from __future__ import annotations

import subprocess
import tempfile
from pathlib import Path
from typing import NamedTuple

from bench import latency, record
from bench.errors import BenchError
from bench.latency import Latency
from bench.record import Record

_FOLDERS = ("records", "latency")


class Results(NamedTuple):
    """Records and latencies by their paths below the results folder; `title` says whose."""

    title: str
    records: dict[str, Record]
    latencies: dict[str, Latency]


def read(results: Path, title: str | None = None) -> Results:
    """What lies below the results folder; raises BenchError where that is nothing."""
    root = Path()
    records = {
        record.path(root, one.paper, one.checkpoint, one.dataset, one.degradation).as_posix(): one
        for one in record.read_all(results)
    }
    latencies = {latency.path(root, one).as_posix(): one for one in latency.read_all(results)}
    if not records and not latencies:
        raise BenchError(
            f"no results in {title or results}",
            expected=f"files below {' or '.join(_FOLDERS)}",
            todo="choose another folder with --results, or another commit or folder with --against",
        )
    return Results(title or str(results), records, latencies)


def find(results: Path, against: str) -> Results:
    """What the results folder holds at a commit, or another folder; a commit comes first.

    A folder that is named like a commit is meant by ./name. Raises BenchError where there is
    neither.
    """
    try:
        commit = _commit(results, against)
    except BenchError:
        if Path(against).is_dir():
            return read(Path(against))
        raise
    return _committed(results, against, commit)


def _commit(results: Path, name: str) -> str:
    """The commit of that name in the repository that holds the results folder."""
    try:
        _git(results, "rev-parse", "--git-dir")
    except (OSError, subprocess.CalledProcessError) as error:
        said = getattr(error, "stderr", "") or str(error)
        raise BenchError(
            f"git knows nothing of {results}",
            expected="a folder inside a git repository",
            found=said.strip().partition("\n")[0],
            todo="name another results folder with --against",
        ) from error
    try:
        said = _git(results, "rev-parse", "--verify", "--end-of-options", f"{name}^{{commit}}")
    except subprocess.CalledProcessError as error:
        raise BenchError(
            "unknown commit",
            expected="a commit, branch or tag of this repository, or a results folder",
            found=repr(name),
            todo="name one with --against; fetch it where the clone is shallow",
        ) from error
    return said.strip()


def _committed(results: Path, against: str, commit: str) -> Results:
    """What the results folder holds at the commit, whose name is `against`."""
    listed = _git(results, "ls-tree", "-r", "-z", "--name-only", commit, "--", *_FOLDERS)
    names = [name for name in listed.split("\0") if name.endswith(".json")]
    title = f"{results} at {against} ({commit[:8]})"
    with tempfile.TemporaryDirectory() as folder:
        for name in names:
            file = Path(folder, name)
            file.parent.mkdir(parents=True, exist_ok=True)
            file.write_text(_git(results, "show", f"{commit}:./{name}"), encoding="utf-8")
        try:
            return read(Path(folder), title)
        except BenchError as error:
            if not names:
                raise
            raise BenchError(
                f"{title} cannot be read",
                found=str(error).replace(f"{folder}/", ""),
                todo="compare with another commit",
            ) from error


def _git(results: Path, *words: str) -> str:
    """What git says to these words in the results folder."""
    command = ["git", "-C", str(results), *words]
    return subprocess.run(command, capture_output=True, check=True, encoding="utf-8").stdout  # noqa: S603 - git's own words, no shell
