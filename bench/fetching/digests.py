"""What a file is known by: its size, SHA-256 and git blob; hashed once, remembered beside it."""

from __future__ import annotations

import hashlib
import stat
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path
from typing import NamedTuple

import msgspec

from bench import storage
from bench.errors import BenchError

_CHUNK = 2**20


class Expected(NamedTuple):
    """What is known of a file before it is here; None where nothing is.

    `sha256` is the whole digest or as many of its first hex digits as are known (OpenMMLab and
    BasicSR put eight into the file's name), `git_blob` the SHA-1 under which git keeps the content,
    `size` is in bytes.
    """

    sha256: str | None = None
    git_blob: str | None = None
    size: int | None = None

    @property
    def hashed(self) -> bool:
        """Whether a digest settles if a file is the right one."""
        return bool(self.sha256 or self.git_blob)


class Digests(NamedTuple):
    """Size in bytes, SHA-256 and git blob of a file, in lower-case hex.

    The git blob is None until something asks for it: it would double the time that hashing takes.
    """

    size: int
    sha256: str
    git_blob: str | None = None


class Running:
    """The digests of bytes as they come; the git blob only where the size is known beforehand."""

    def __init__(self, blob_of_size: int | None = None) -> None:
        self.size = 0
        self.blob_of_size = blob_of_size
        self._sha256 = hashlib.sha256()
        self._blob = None if blob_of_size is None else _blob_of(blob_of_size)

    def update(self, chunk: bytes | memoryview) -> None:
        """Takes the next bytes."""
        self.size += len(chunk)
        self._sha256.update(chunk)
        if self._blob is not None:
            self._blob.update(chunk)

    def digests(self) -> Digests:
        """The digests of all bytes so far; no git blob where another size was announced."""
        blob = self._blob if self.size == self.blob_of_size else None
        return Digests(self.size, self._sha256.hexdigest(), blob.hexdigest() if blob else None)


def of(path: Path, *, git_blob: bool = False) -> Digests:
    """The digests of a file, read whole; with its git blob if asked.

    Raises BenchError where the file cannot be read.
    """
    check_regular(path)
    try:
        running = Running(path.stat().st_size if git_blob else None)
        read_into(running, path)
    except OSError as error:
        raise _unreadable(path, error) from error
    found = running.digests()
    if git_blob and found.git_blob is None:
        raise BenchError(f"{path} changes while it is read", todo="wait until it is written")
    return found


def check_regular(path: Path) -> None:
    """Raises BenchError for a folder, and for a pipe or a device, whose content need not end."""
    try:
        mode = path.stat().st_mode
    except OSError as error:
        raise _unreadable(path, error) from error
    if stat.S_ISDIR(mode):
        raise BenchError(f"cannot read {path}", found="Is a directory", todo="name a file in it")
    if not stat.S_ISREG(mode):
        raise BenchError(
            f"cannot read {path}",
            expected="a file",
            found="a pipe or a device",
            todo="write what it gives into a file",
        )


def read_into(running: Running, path: Path) -> None:
    """Takes the content of a file."""
    buffer = memoryview(bytearray(_CHUNK))
    with path.open("rb", buffering=0) as file:
        while count := file.readinto(buffer):
            running.update(buffer[:count])


class _Memory(msgspec.Struct, forbid_unknown_fields=True):
    """The hidden file beside a file: its digests, and the state of the file they belong to."""

    mtime_ns: int
    size: int
    sha256: str
    git_blob: str | None


def remembered(path: Path, *, git_blob: bool = False) -> Digests:
    """The digests of a file, hashed only where its size or time of change is another than before.

    They lie in the hidden file `.NAME.digest` beside it; a memory that cannot be read or written
    costs time and nothing else.
    """
    memory = None
    with suppress(BenchError):
        memory = storage.read_json(_memory_of(path), _Memory)
    try:
        state = path.stat()
    except OSError as error:
        raise _unreadable(path, error) from error
    if (
        memory
        and (memory.size, memory.mtime_ns) == (state.st_size, state.st_mtime_ns)
        and (memory.git_blob or not git_blob)
    ):
        return Digests(memory.size, memory.sha256, memory.git_blob)
    found = of(path, git_blob=git_blob)
    remember(path, found, state.st_mtime_ns)
    return found


def remember(path: Path, found: Digests, mtime_ns: int) -> None:
    """Writes the digests that the file had when it was last changed at `mtime_ns`."""
    memory = _Memory(mtime_ns, found.size, found.sha256, found.git_blob)
    with suppress(BenchError):  # a folder that is read only
        storage.write_text(_memory_of(path), msgspec.json.encode(memory).decode() + "\n")


def check(path: Path, found: Digests, expected: Expected, sources: Sequence[str] = ()) -> None:
    """Raises BenchError where the file at `path`, whose digests are `found`, is not the expected.

    The git blob is computed here if it is expected and was not found before. `sources` are the
    addresses, fit for printing, from which the right file is to be had.
    """
    if difference := differs(path, found, expected):
        wanted, got = difference
        raise BenchError(
            f"{path} is not the published file",
            expected=wanted,
            found=got,
            todo="move it away and fetch it again"
            + (" from " + ", ".join(sources) if sources else ""),
        )


def differs(path: Path, found: Digests, expected: Expected) -> tuple[str, str] | None:
    """What was expected and what was found where the two do not fit; None where they do."""
    if expected.size is not None and found.size != expected.size:
        return f"{expected.size} bytes", f"{found.size}"
    if expected.sha256 and not found.sha256.startswith(expected.sha256.lower()):
        return f"SHA-256 {expected.sha256.lower()}", found.sha256
    if expected.git_blob:
        blob = found.git_blob or of(path, git_blob=True).git_blob
        if blob != expected.git_blob.lower():
            return f"git blob {expected.git_blob.lower()}", f"{blob}"
    return None


def _blob_of(size: int) -> hashlib._Hash:
    # Git names content by SHA-1; nothing here rests on its strength.
    return hashlib.sha1(b"blob %d\0" % size, usedforsecurity=False)


def _memory_of(path: Path) -> Path:
    return path.with_name(f".{path.name}.digest")


def _unreadable(path: Path, error: OSError) -> BenchError:
    return BenchError(
        f"cannot read {path}", found=error.strerror or str(error), todo="check the path"
    )
