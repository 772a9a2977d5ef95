"""What is wanted -> files in their places: several at once, checked, unpacked, converted."""

from __future__ import annotations

import re
import shutil
import threading
from collections.abc import Callable, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from pathlib import Path
from typing import NamedTuple

from bench import locate
from bench.catalog import Dataset
from bench.errors import BenchError, choices
from bench.fetching import arrival, pins
from bench.fetching.download import alone, download
from bench.fetching.wanted import Item, Part
from bench.locate import Found
from bench.paper import Paper

_WORKERS = 8
_MARGIN_BYTES = 2**26  # what must stay free beside what is fetched
_MOST_FILES = 10**6

Progress = Callable[[int, int], object]
"""Bytes that came since the last call, and bytes by which the expected total grew; from any thread,
one call at a time."""


class Outcome(NamedTuple):
    """What became of an item: where it is, what there is to say, or why it is not here."""

    item: Item
    notes: list[str]
    problem: BenchError | None = None


class _StopError(KeyboardInterrupt):
    """Raised in the threads that download when the user has interrupted the command."""


def fetch(
    items: Sequence[Item],
    data_root: Path,
    *,
    progress: Progress = lambda *_: None,
    offline: bool = False,
) -> list[Outcome]:
    """Fetches what is missing and checks what is here; one outcome for each item, in order.

    A failing item does not stop the others; the rest of its own files is left for the next time.
    Raises BenchError where the disk is too small for what is known to come.
    """
    ready = [item for item in items if not item.problem]
    if not offline:
        check_space(ready)
    batch = _Batch(progress, offline)
    with ThreadPoolExecutor(_WORKERS) as pool:
        try:
            jobs = {
                id(item): [pool.submit(batch.get, item, part) for part in item.parts]
                for item in ready
            }
            return [_outcome(item, jobs.get(id(item), []), data_root) for item in items]
        except BaseException:
            batch.stop.set()
            pool.shutdown(cancel_futures=True)
            raise


def check_space(items: Sequence[Item]) -> None:
    """Raises BenchError where a disk has less room than the missing files are known to need.

    An archive lies there packed and unpacked for a while.
    """
    needed: dict[int, int] = {}
    places: dict[int, Path] = {}
    sizes = [(part.target, part.expected.size) for item in items for part in item.missing]
    for item in items:
        if item.kind == "archive" and item.state == "missing":
            unpacked = [
                (part.target, item.bytes) for part in item.missing if not part.expected.size
            ]
            sizes += [*unpacked, (item.folder, item.bytes)]
    for target, size in sizes:
        place = next(folder for folder in target.parents if folder.exists())
        device = place.stat().st_dev
        places[device] = place
        needed[device] = needed.get(device, _MARGIN_BYTES) + (size or 0)
    for device, place in places.items():
        free = shutil.disk_usage(place).free
        if needed[device] > free:
            raise BenchError(
                f"the disk of {place} is too small",
                expected=f"{needed[device] / 1e9:.2f} GB",
                found=f"{free / 1e9:.2f} GB free",
                todo="free some space, or name other folders with --data-root and BENCH_CACHE",
            )


class _Batch:
    """What the downloads of one batch share: progress, and the flags that end them early."""

    def __init__(self, progress: Progress, offline: bool) -> None:
        self.stop = threading.Event()
        self.offline = offline
        self._progress = progress
        self._failed: set[int] = set()
        self._lock = threading.Lock()

    def get(self, item: Item, part: Part) -> BenchError | None:
        """Gets one file; what went wrong, if anything did, is told and not raised."""
        if id(item) in self._failed or self.stop.is_set():
            return None
        so_far, expected = 0, part.expected.size or 0

        def on_bytes(now: int, total: int | None) -> None:
            nonlocal so_far, expected
            if self.stop.is_set():
                raise _StopError
            grown = (total or expected) - expected
            with self._lock:
                self._progress(now - so_far, grown)
            so_far, expected = now, expected + grown

        try:
            download(
                part.addresses,
                part.target,
                part.expected,
                progress=on_bytes,
                offline=self.offline,
                pause=self._pause,
            )
        except BenchError as error:
            self._failed.add(id(item))
            return error
        except OSError as error:
            self._failed.add(id(item))
            return BenchError(f"cannot fetch {part.target.name}", found=str(error))
        except BaseException:
            self.stop.set()
            raise
        return None

    def _pause(self, seconds: float) -> None:
        if self.stop.wait(seconds):
            raise _StopError


def _outcome(item: Item, jobs: Sequence[Future[BenchError | None]], data_root: Path) -> Outcome:
    problems = [problem for problem in [job.result() for job in jobs] if problem]
    if item.problem or problems:
        problem = item.problem or problems[0]
        return Outcome(item, _by_hand(item, problem) if problems else [], problem)
    try:
        return Outcome(item, _finish(item, data_root))
    except BenchError as error:
        return Outcome(item, [], error)
    except OSError as error:
        return Outcome(item, [], BenchError(f"cannot finish {item.name}", found=str(error)))


def _by_hand(item: Item, problem: BenchError) -> list[str]:
    """What else can be done about a checkpoint that did not come."""
    if not isinstance(item.owner, Paper) or item.kind != "checkpoint":
        return []
    described = item.owner.checkpoint(item.name.partition("/")[2])
    notes = [
        f"by hand: {place}; then bench add FILE --as {item.name}" for place in described.by_hand
    ]
    known = item.parts[0].expected
    if known.sha256 != described.sha256 and re.search(f"{known.sha256}|{known.size}", str(problem)):
        notes.append(
            f"that is what came first, by {pins.lock_path()}; where its publisher replaced it, "
            "take its line out of that file"
        )
    return notes


def _finish(item: Item, data_root: Path) -> list[str]:
    """What is left to do when the bytes are here; what there is to say about it."""
    if isinstance(item.owner, Paper):
        if item.kind != "checkpoint":
            return []
        here = [part for part in item.parts if part.target.is_file()]
        return arrival.settle(item.owner, item.name.partition("/")[2]).notes if here else []
    if item.kind == "archive" and item.state == "missing":
        return [_unpacked(item.parts[0].target, item.owner, item.folder, data_root)]
    return []


def _unpacked(archive: Path, dataset: Dataset, folder: Path, data_root: Path) -> str:
    """Unpacks a data set into its folder, where its clips begin; says where they were found."""
    with alone(folder):
        if archive.exists():
            _unpack(archive, dataset, folder)
        found = _located(archive, dataset, folder, data_root)
        archive.unlink(missing_ok=True)
    return f"unpacked into {found.root} ({found.layout.name} layout)"


def _unpack(archive: Path, dataset: Dataset, folder: Path) -> None:
    from bench.fetching import unpack

    fresh = folder.with_name(f".{folder.name}.unpacked")
    bound = 4 * archive.stat().st_size + 2**30  # frames are compressed already
    unpack.unpack(archive, fresh, max_bytes=bound, max_files=_MOST_FILES)
    below = [fresh, *sorted(p for depth in ("*", "*/*") for p in fresh.glob(depth) if p.is_dir())]
    base = next((place for place in below if locate.begins(dataset, place)), fresh)
    _move_into(base, folder)
    if base != fresh:
        _move_into(fresh, folder)


def _located(archive: Path, dataset: Dataset, folder: Path, data_root: Path) -> Found:
    """Where the data set lies, once it is unpacked into the folder."""
    try:
        return locate.find(dataset, data_root)
    except BenchError as error:
        there = sorted(str(p.relative_to(folder)) for p in folder.glob("*/*") if p.is_dir())
        raise BenchError(
            f"{dataset.title} was unpacked into {folder}, but not found there ({error.wrong})",
            expected=choices({layout.gt for layout in dataset.layouts if layout.gt}),
            found="folders " + (", ".join(there[:8]) or "none") + (", ..." * (len(there) > 8)),
            todo=f"move them into one of these layouts; the archive is {archive}",
        ) from error


def _move_into(source: Path, target: Path) -> None:
    """Moves what lies in a folder into another, into folders that are there already too."""
    target.mkdir(parents=True, exist_ok=True)
    for entry in sorted(source.iterdir()):
        place = target / entry.name
        if not place.exists():
            entry.rename(place)
        elif entry.is_dir() and place.is_dir():
            _move_into(entry, place)
        else:
            raise BenchError(
                f"{place} is there already",
                found=f"another one in {source}",
                todo="move one of them away",
            )
    source.rmdir()
