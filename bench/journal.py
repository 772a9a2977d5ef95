"""What was measured but is not yet in its record: one file a clip, so that nothing is lost.

Each file is a record of one clip, whole or absent under its name. Any process on any machine that
shares the results folder may write one. `gather` moves them all into the record.
"""

from __future__ import annotations

from pathlib import Path
from urllib.parse import quote

import msgspec

from bench import record, storage
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
    import filelock

    file, waiting = record.path(results, *made), folder(results, made)
    if not waiting.is_dir():
        return record.read(file) if file.exists() else None
    with filelock.FileLock(results / "records" / ".lock"):
        whole = record.read(file) if file.exists() else None
        files = sorted(waiting.glob("*.json"))
        if files:
            whole = record.merged(whole, *map(record.read, files))
            record.write(results, whole)
        for one in files:
            one.unlink()
    return whole


def _made(single: Record) -> tuple[str, str, str, str]:
    return single.paper, single.checkpoint, single.dataset, single.degradation
