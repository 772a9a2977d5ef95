"""Archive -> files in a folder: all of them or none, and none outside of it.

Everything is unpacked to a temporary folder beside the target and renamed from there. Names that
could lead out of the folder, or mean one thing here and another on a different system, are refused
rather than mended.
"""

from __future__ import annotations

import fcntl
import os
import re
import shutil
import tempfile
import unicodedata
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from functools import partial
from pathlib import Path

from bench.errors import BenchError
from bench.fetching.archive import FILE, FOLDER, Entry, opened

_SUFFIX = ".unpacking"
_LONGEST_PART = 255  # bytes, on all usual file systems
_LONGEST_PATH = 4000

Parts = tuple[str, ...]


def unpack(
    archive: Path,
    folder: Path,
    *,
    max_bytes: int = 2**38,
    max_files: int = 2**21,
    strip: int = 0,
    progress: Callable[[int, int], object] = lambda _done, _total: None,
) -> list[Path]:
    """Unpacks a ZIP, tar (plain, gzip, bzip2, xz) or 7z archive; gives its files in its order.

    `strip` leading parts of each name are dropped. A file that exists already is replaced, others
    in the folder stay. `progress` is told the bytes written and the bytes in all, which is 0 where
    only unpacking tells, and for a plain tar the archive's own size.

    Raises BenchError, with nothing changed in the folder, where the archive is no such, is
    encrypted or damaged, holds a link, a device or a name that is refused, or more than `max_bytes`
    bytes, `max_files` files and folders, or the free space. 7z needs the 7-Zip program.
    """
    folder = folder.resolve()
    with opened(archive) as source, _temporary(folder) as tree:
        plan = partial(
            _Plan,
            archive,
            folder,
            strip=strip,
            max_bytes=max_bytes,
            max_files=max_files,
            free=shutil.disk_usage(tree).free,
        )
        _check_all(source.listing, plan())
        made = plan()
        files: list[Parts] = []
        for entry in source.entries:
            parts = made.admit(entry)
            if entry.kind == FILE:
                files.append(parts)
                for written in _write(archive, tree.joinpath(*parts), entry):
                    progress(made.bytes - entry.size + written, source.total)
            else:
                _make_folder(tree.joinpath(*parts))
        if not files:
            raise BenchError(
                f"cannot unpack {archive}",
                expected="files in it",
                found="none",
                todo="fetch it again",
            )
        _move(tree, folder)
    return [folder.joinpath(*parts) for parts in files]


def _check_all(listing: list[Entry], plan: _Plan) -> None:
    for entry in listing:
        plan.admit(entry)


class _Plan:
    """What an archive may put where; grows with every entry that is admitted."""

    def __init__(
        self, archive: Path, folder: Path, *, strip: int, max_bytes: int, max_files: int, free: int
    ) -> None:
        self.archive = archive
        self.folder = folder
        self.longest = _LONGEST_PATH - len(os.fsencode(folder))
        self.strip = strip
        self.max_bytes = max_bytes
        self.max_files = max_files
        self.free = free
        self.bytes = 0
        self.places: dict[str, tuple[str, bool]] = {}  # folded path -> path, whether a folder

    def admit(self, entry: Entry) -> Parts:
        """Where the entry goes below the folder; () is the folder itself."""
        if entry.kind not in (FILE, FOLDER):
            raise self.refused(entry, entry.kind)
        parts = self.parts(entry)
        self.bytes += entry.size
        if self.bytes > self.max_bytes:
            raise self.too_much(f"at most {self.max_bytes} bytes")
        if self.bytes > self.free:
            raise BenchError(
                f"cannot unpack {self.archive}",
                expected=f"room for its {self.bytes} bytes or more",
                found=f"{self.free} bytes free beside {self.folder}",
                todo="free some space or choose another folder",
            )
        for length in range(1, len(parts) + 1):
            self.place(entry, parts[:length], is_folder=length < len(parts) or entry.kind == FOLDER)
        return parts

    def place(self, entry: Entry, parts: Parts, *, is_folder: bool) -> None:
        """Takes a path for a folder or a file."""
        path = "/".join(parts)
        folded = _folded(path)
        is_new = folded not in self.places
        known, known_folder = self.places.setdefault(folded, (path, is_folder))
        if known != path:
            raise self.refused(entry, f"a name that differs from {known!r} by case or accents only")
        if is_folder != known_folder:
            raise self.refused(entry, "a file where a folder is wanted")
        if not (is_folder or is_new):
            raise self.refused(entry, "a file that it holds twice")
        if len(self.places) > self.max_files:
            raise self.too_much(f"at most {self.max_files} files and folders")

    def parts(self, entry: Entry) -> Parts:
        """The parts of a name that may be used, without the first `strip`."""
        name = entry.name
        if any(unicodedata.category(letter) in ("Cc", "Cs") for letter in name):
            raise self.refused(entry, "control characters or bytes that are no text")
        if "\\" in name:
            raise self.refused(entry, "a backslash, which parts folders on other systems")
        if name.startswith("/") or re.match(r"[A-Za-z]:", name):
            raise self.refused(entry, "an absolute path")
        parts = tuple(part for part in name.split("/") if part not in ("", "."))
        if ".." in parts:
            raise self.refused(entry, "a path that leads upward")
        if entry.kind == FILE and len(parts) <= self.strip:
            raise self.refused(entry, f"nothing left of it without its first {self.strip} parts")
        kept = parts[self.strip :]
        longest = max((len(os.fsencode(part)) for part in kept), default=0)
        if longest > _LONGEST_PART or len(os.fsencode(name)) > self.longest:
            raise self.refused(entry, "too long a name")
        return kept

    def refused(self, entry: Entry, found: str) -> BenchError:
        shown = entry.name if len(entry.name) <= 80 else entry.name[:80] + "..."
        return BenchError(
            f"cannot unpack {self.archive}",
            expected="files and folders with names of their own below the folder",
            found=f"in {shown!r} {found}",
            todo="nothing was written; get the archive from its publisher",
        )

    def too_much(self, expected: str) -> BenchError:
        return BenchError(
            f"cannot unpack {self.archive}",
            expected=expected,
            found="more",
            todo="nothing was written; raise the limit if the archive is to be trusted",
        )


def _folded(path: str) -> str:
    """What case-insensitive and normalising file systems make of a path."""
    return unicodedata.normalize("NFC", unicodedata.normalize("NFC", path).casefold())


def _write(archive: Path, place: Path, entry: Entry) -> Iterator[int]:
    """Writes a file of which nobody may run anything; gives the bytes written so far."""
    written = 0
    with _writing(place):
        place.parent.mkdir(parents=True, exist_ok=True)
        descriptor = os.open(place, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW, 0o644)
    with os.fdopen(descriptor, "wb") as file:
        for chunk in entry.chunks():
            written += len(chunk)
            if written > entry.size:
                break
            with _writing(place):
                file.write(chunk)
            yield written
        with _writing(place):
            file.flush()
    if written != entry.size:
        raise BenchError(
            f"cannot unpack {archive}",
            expected=f"{entry.size} bytes in {entry.name[:80]!r}, as it says",
            found="more" if written > entry.size else str(written),
            todo="fetch it again",
        )


def _make_folder(place: Path) -> None:
    with _writing(place):
        place.mkdir(parents=True, exist_ok=True)


@contextmanager
def _writing(place: Path) -> Iterator[None]:
    try:
        yield
    except OSError as error:
        raise BenchError(
            f"cannot write {place}",
            found=error.strerror or str(error),
            todo="free some space or choose another folder",
        ) from error


@contextmanager
def _temporary(folder: Path) -> Iterator[Path]:
    """An empty folder beside `folder`, removed in the end; those of killed runs are removed too.

    A run holds a lock on its temporary folder, which ends with the process.
    """
    with _writing(folder), _locked(folder.parent):
        for left in folder.parent.iterdir():
            if left.name.startswith(f".{folder.name}.") and left.name.endswith(_SUFFIX):
                _remove_unused(left)
        prefix = f".{folder.name}."
        own = Path(tempfile.mkdtemp(prefix=prefix, suffix=_SUFFIX, dir=folder.parent))
        descriptor = os.open(own, os.O_RDONLY)
        fcntl.flock(descriptor, fcntl.LOCK_EX)
    try:
        tree = own / "tree"
        _make_folder(tree)
        yield tree
    finally:
        shutil.rmtree(own, ignore_errors=True)
        os.close(descriptor)


@contextmanager
def _locked(folder: Path) -> Iterator[None]:
    """The folder for this process alone, among those that ask."""
    folder.mkdir(parents=True, exist_ok=True)
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX)
        yield
    finally:
        os.close(descriptor)


def _remove_unused(left: Path) -> None:
    """Removes a temporary folder that no running process holds."""
    with suppress(OSError):
        descriptor = os.open(left, os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW)
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
            shutil.rmtree(left)
        finally:
            os.close(descriptor)


def _move(tree: Path, folder: Path) -> None:
    """Puts the unpacked tree in place: whole where nothing is there yet, else file by file."""
    with _writing(folder):
        if not folder.exists():
            tree.rename(folder)
            return
        made = sorted(path.relative_to(tree) for path in tree.rglob("*"))
        for path in (Path(), *made):
            _check_way(folder / path, is_folder=(tree / path).is_dir())
        for path in made:
            if (tree / path).is_dir():
                (folder / path).mkdir(exist_ok=True)
            else:
                (tree / path).replace(folder / path)


def _check_way(place: Path, *, is_folder: bool) -> None:
    """Raises BenchError where something else stands at a place; a link may lead outside."""
    if place.is_symlink():
        stands = "a link"
    elif place.exists() and place.is_dir() != is_folder:
        stands = "a file" if is_folder else "a folder"
    else:
        return
    raise BenchError(
        f"cannot unpack to {place}",
        expected="a folder or nothing there" if is_folder else "a file or nothing there",
        found=stands,
        todo="nothing was written; remove it or choose another folder",
    )
