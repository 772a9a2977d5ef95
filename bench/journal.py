"""What was measured but is not yet in its record: one file a clip, so that nothing is lost.

Each file is a record of one clip, whole or absent under its name. Any process on any machine that
shares the results folder may write one. `gather` moves them all into the record. A file that the
machine's own crash tore holds nothing that could be kept: its clip counts as not measured.
"""

from __future__ import annotations

import errno
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path
from urllib.parse import quote

import msgspec

from bench import record, storage
from bench.errors import BenchError
from bench.record import Record


def folder(results: Path, made: tuple[str, str, str, str]) -> Path:
    """The hidden folder beside the record of paper, checkpoint, data set and degradation."""
    file = record.path(results, *made)
    return file.with_name(f".{file.stem}")


def path(results: Path, made: tuple[str, str, str, str], clip: str) -> Path:
    """The file of a clip, whose name may hold slashes."""
    return folder(results, made) / (quote(clip, safe="") + ".json")


def write(results: Path, single: Record) -> Path:
    """Writes a record of one clip, measured or failed."""
    (clip,) = [one.clip for one in single.clips] + [one.clip for one in single.failures]
    file = path(results, _made(single), clip)
    storage.write_text(file, msgspec.json.encode(single, order="sorted").decode() + "\n")
    return file


def gather(results: Path, made: tuple[str, str, str, str]) -> Record | None:
    """Moves what was measured into the record and gives it; None where nothing was, ever.

    Two processes may gather at once: one waits for the other. The folder stays, since another
    process may be about to write into it.
    """
    file, waiting = record.path(results, *made), folder(results, made)
    if not waiting.is_dir():
        return record.read(file) if file.exists() else None
    lock = storage.lock(results / "records" / ".lock")
    try:
        held = lock.acquire()
    except OSError as error:
        if error.errno != errno.ENOSYS:
            raise
        raise BenchError(
            f"cannot lock {lock.lock_file}",
            expected="a file system with flock, as two commands may write the record",
            found=error.strerror,
            todo="mount it with flock, or choose another folder with --results",
        ) from error
    with held:
        files = sorted(waiting.glob("*.json"))
        singles = _whole(files)
        whole = _joined(record.read(file) if file.exists() else None, singles)
        if whole and singles:
            record.write(results, whole)
        for one in files:
            one.unlink()
    return whole


def known(results: Path, made: tuple[str, str, str, str]) -> Record | None:
    """What `gather` would give; nothing is written, so that the folder may be read-only."""
    singles = _whole(sorted(folder(results, made).glob("*.json")))
    file = record.path(results, *made)  # read last: it has what was gathered meanwhile
    return _joined(record.read(file) if file.exists() else None, singles)


def _whole(files: Sequence[Path]) -> list[Record]:
    """The records in those of the files that are neither torn nor gone."""
    singles = []
    for file in files:
        with suppress(FileNotFoundError, msgspec.DecodeError):
            msgspec.json.decode(file.read_bytes())
            singles.append(record.read(file))
    return singles


def _joined(whole: Record | None, singles: Sequence[Record]) -> Record | None:
    """The record with what was measured since.

    Two commands may have measured in two ways at once: what came last decides which is kept.
    """
    ways: dict[object, list[Record]] = {}
    for one in sorted(singles, key=_measured_at):
        ways.setdefault(record.ways(one), []).append(one)
    for group in ways.values():
        whole = record.merged(whole, *group)
    return whole


def _measured_at(single: Record) -> str:
    return max(source.measured_at for source in single.provenance.values())


def _made(single: Record) -> tuple[str, str, str, str]:
    return single.paper, single.checkpoint, single.dataset, single.degradation
