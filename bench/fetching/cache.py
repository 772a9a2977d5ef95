"""What lies in the cache folder, how large it is, what uses it, and how it goes away.

Links are never followed: one that lies there is an entry of its own, and only the link is removed.
"""

from __future__ import annotations

import os
import re
import shutil
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from typing import NamedTuple

from bench import catalog, paper
from bench.errors import BenchError, choices
from bench.fetching import pins

_CHECKPOINTS, _ARCHIVES = "checkpoints", "archives"
_UNKNOWN = "unknown"
_HIDDEN = re.compile(r"\.(part|part\.json|lock|digest)$")


class Entry(NamedTuple):
    """One thing in the cache folder.

    `name` is its path below the folder, `paths` are its files or folder with what is hidden beside
    them, `used_by` names checkpoints or data sets.
    """

    name: str
    kind: str
    bytes: int
    used_by: tuple[str, ...]
    paths: tuple[Path, ...]


def entries() -> list[Entry]:
    """What lies in the cache folder, sorted by name; nothing where it does not exist."""
    folder = catalog.cache_folder()
    found: list[Entry] = []
    released = _released(folder)
    for path in _listed(folder):
        if path.name == _CHECKPOINTS and _is_folder(path):
            for owner in _listed(path):
                found += _files(owner, _of_checkpoints) if _is_folder(owner) else [_other(owner)]
        elif path.name == _ARCHIVES and _is_folder(path):
            found += _files(path, _of_archive)
        elif not path.name.startswith("."):
            found += _of_data(path, released)
        elif path.name.endswith((".unpacked", ".unpacking")):
            found.append(_entry("half-unpacked archive", [path], ()))
    return sorted(found)


def clear(names: Sequence[str] = ()) -> list[Entry]:
    """Removes what is named: an entry, a paper, paper/checkpoint or data set; and gives it back.

    Without names everything goes that is known; what is unknown, and checkpoints.lock, go only by
    name. Raises BenchError, before anything is removed, where a name stands for nothing that is
    here.
    """
    there = entries()
    if names:
        doomed = [entry for name in names for entry in _named(there, name)]
    else:
        doomed = [entry for entry in there if entry.kind not in {_UNKNOWN, "pins"}]
    doomed = list(dict.fromkeys(doomed))
    for entry in doomed:
        for path in entry.paths:
            _remove(path)
    return doomed


def _named(there: Sequence[Entry], name: str) -> list[Entry]:
    found = [
        entry
        for entry in there
        if name in {entry.name, *entry.used_by, *(use.partition("/")[0] for use in entry.used_by)}
    ]
    if not found:
        known = {entry.name for entry in there} | {use for entry in there for use in entry.used_by}
        raise BenchError(
            f"the cache folder holds no {name!r}",
            expected=choices(known) if known else "an empty command: nothing is there",
            todo="see bench cache",
        )
    return found


def _listed(folder: Path) -> list[Path]:
    try:
        return sorted(folder.iterdir())
    except (FileNotFoundError, NotADirectoryError):
        return []


def _is_folder(path: Path) -> bool:
    return path.is_dir() and not path.is_symlink()


def _files(folder: Path, describe: Callable[[Path], tuple[str, Sequence[str]]]) -> Iterator[Entry]:
    """The files of a folder, each with the hidden ones that belong to it."""
    listed = _listed(folder)
    shown = [path for path in listed if not path.name.startswith(".")]
    claimed: set[Path] = set()
    for path in shown:
        beside = [other for other in listed if other.name.startswith(f".{path.name}.")]
        claimed.update(beside)
        kind, used_by = describe(path)
        yield _entry(kind, [path, *beside], used_by)
    parts: dict[str, list[Path]] = {}
    for path in listed:
        if path not in shown and path not in claimed:
            parts.setdefault(_HIDDEN.sub("", path.name[1:]), []).append(path)
    for name, hidden in parts.items():
        # A lock stays behind a failed download and is nothing by itself.
        hidden.sort(key=lambda path: path.suffix == ".lock")
        if hidden[0].suffix != ".lock":
            yield _entry("part of a download", hidden, describe(folder / name)[1])


def _of_checkpoints(path: Path) -> tuple[str, Sequence[str]]:
    owner = path.parent.name
    try:
        described = paper.load(owner).checkpoints
    except BenchError:
        return _UNKNOWN, []
    for kind, name in (("checkpoint", path.name), ("converted", path.name)):
        users = [
            f"{owner}/{key}"
            for key, one in described.items()
            if one.file
            and name == (one.file if kind == "checkpoint" else f"{Path(one.file).stem}.state.pth")
        ]
        if users:
            return kind, users
    return _UNKNOWN, []


def _of_archive(path: Path) -> tuple[str, Sequence[str]]:
    from bench.fetching import wanted

    users = [
        dataset.name
        for dataset in catalog.load().values()
        for download in dataset.downloads
        if download.kind == "archive" and wanted.archive_name(download.addresses[0]) == path.name
    ]
    return ("archive" if users else _UNKNOWN), users


def _released(folder: Path) -> dict[Path, list[str]]:
    """The folders that papers' own examples are fetched into -> the papers."""
    found: dict[Path, list[str]] = {}
    for name in paper.names():
        with suppress(BenchError):
            chosen = paper.load(name)
            for reference in chosen.references.values():
                rows = paper.published_files(chosen, reference)
                for place in dict.fromkeys((folder / row.path).parent for row in rows):
                    found.setdefault(place, []).append(name)
    return found


def _of_data(path: Path, released: Mapping[Path, Sequence[str]]) -> Iterator[Entry]:
    users = [dataset.name for dataset in catalog.load().values() if path.name in dataset.folders]
    if path == pins.lock_path():
        yield _entry("pins", [path], ())
    elif users:
        yield _entry("data set", [path], users)
    else:
        yield from _of_papers(path, released)


def _of_papers(path: Path, released: Mapping[Path, Sequence[str]]) -> Iterator[Entry]:
    """Folders of papers' examples, and what else lies in the folders above them."""
    if path in released and _is_folder(path):
        yield _entry("released frames", [path], released[path])
    elif _is_folder(path) and any(path in place.parents for place in released):
        for inner in _listed(path):
            yield from _of_papers(inner, released)
    else:
        yield _other(path)


def _other(path: Path) -> Entry:
    return _entry(_UNKNOWN, [path], ())


def _entry(kind: str, paths: Sequence[Path], used_by: Sequence[str]) -> Entry:
    name = paths[0].relative_to(catalog.cache_folder()).as_posix()
    return Entry(name, kind, sum(map(_size, paths)), tuple(used_by), tuple(paths))


def _size(path: Path) -> int:
    """Bytes below a path, without what links lead to and what a running download takes away."""
    if not _is_folder(path):
        return _own_size(path)
    return sum(
        _own_size(Path(folder) / name)
        for folder, _, names in os.walk(path, followlinks=False)
        for name in names
    )


def _own_size(path: Path) -> int:
    with suppress(FileNotFoundError):
        return path.lstat().st_size
    return 0


def _remove(path: Path) -> None:
    try:
        if _is_folder(path):
            shutil.rmtree(path)  # removes links in it, never what they lead to
        else:
            path.unlink(missing_ok=True)
    except OSError as error:
        raise BenchError(
            f"cannot remove {path}",
            found=error.strerror or str(error),
            todo="check who may write there",
        ) from error
