"""The part of a file that has come so far: its bytes, its digests, and what may complete it."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

import msgspec

from bench import storage
from bench.errors import BenchError
from bench.fetching.digests import Digests, Running, read_into


class Origin(msgspec.Struct, forbid_unknown_fields=True, frozen=True):
    """Where a part came from, and what its server called that version of the file."""

    address: str
    etag: str | None = None
    modified: str | None = None

    @property
    def validator(self) -> str | None:
        """What If-Range may say: a strong ETag, else the time of change."""
        strong = self.etag if self.etag and not self.etag.startswith("W/") else None
        return strong or self.modified


class Part:
    """The hidden file `.NAME.part` beside the file NAME that it becomes.

    Its origin lies in `.NAME.part.json`, so that whatever ends the process leaves something that
    can be resumed. `pieced` says that it may hold bytes of more than one answer.
    """

    def __init__(self, target: Path, *, git_blob: bool = False) -> None:
        self.target = target
        self.path = target.with_name(f".{target.name}.part")
        self._note = target.with_name(f".{target.name}.part.json")
        self._git_blob = git_blob
        self._running = Running()
        self.pieced = self.size > 0

    @property
    def size(self) -> int:
        """How many bytes are here."""
        try:
            return self.path.stat().st_size
        except FileNotFoundError:
            return 0

    def origin(self) -> Origin | None:
        """Where the bytes came from; None where that is not known."""
        with suppress(BenchError):
            return storage.read_json(self._note, Origin)
        return None

    def drop(self) -> None:
        """Forgets everything."""
        with _written(self.target):
            self.path.unlink(missing_ok=True)
            self._note.unlink(missing_ok=True)
        self.pieced = False

    @contextmanager
    def growing(
        self, origin: Origin, total: int | None, *, onward: bool
    ) -> Iterator[Callable[[bytes], None]]:
        """A function that adds bytes; they follow what is here if `onward`, else replace it.

        `total` is the size that the file will have, if that is known. A disk that is full becomes
        a BenchError and keeps what was written.
        """
        if not onward:
            self.drop()
        self.pieced = onward and self.size > 0
        blob_of_size = total if self._git_blob else None
        with _written(self.target):
            if self._running.size != self.size or self._running.blob_of_size != blob_of_size:
                self._running = Running(blob_of_size)
                if self.size:
                    read_into(self._running, self.path)
            storage.write_text(self._note, msgspec.json.encode(origin).decode() + "\n")
            file = self.path.open("ab")

        def add(chunk: bytes) -> None:
            with _written(self.target):
                file.write(chunk)
            self._running.update(chunk)

        try:
            yield add
        finally:
            with _written(self.target):
                file.close()

    def digests(self) -> Digests:
        """The digests of the bytes that are here."""
        blob_of_size = self.size if self._git_blob else None
        if self._running.size != self.size or self._running.blob_of_size != blob_of_size:
            self._running = Running(blob_of_size)
            with _written(self.target):
                read_into(self._running, self.path)
        return self._running.digests()

    def finish(self) -> None:
        """Gives the file its name, once its bytes are on the disk."""
        with _written(self.target):
            with self.path.open("ab") as file:
                os.fsync(file.fileno())
            self.path.replace(self.target)
            self._note.unlink(missing_ok=True)


@contextmanager
def _written(target: Path) -> Iterator[None]:
    try:
        yield
    except OSError as error:
        raise BenchError(
            f"cannot write {target}",
            found=error.strerror or str(error),
            todo="free some space or choose another folder; what has come is kept",
        ) from error
