"""One file from the web: mirrors in order, resumed, checked, and only then under its name."""

from __future__ import annotations

import os
import random
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from functools import partial
from pathlib import Path
from typing import NamedTuple

from bench import storage
from bench.errors import BenchError
from bench.fetching import digests, transfer, web
from bench.fetching.addresses import Source, printable, sources
from bench.fetching.digests import Digests, Expected
from bench.fetching.fault import Fault
from bench.fetching.part import Part

ATTEMPTS = 5  # in a row that bring nothing new
FIRST_WAIT_S = 1.0
LONGEST_WAIT_S = 120.0
_NOTHING_KNOWN = Expected()
_POLL_S = 0.1
_GAIN = 2**20  # bytes that make an attempt count as one that brought something


class Arrived(NamedTuple):
    """A file that is here: its path, its digests, and the address that it came from.

    The address is fit for printing, and None where the file was here before.
    """

    path: Path
    digests: Digests
    address: str | None


def offline_wanted() -> bool:
    """Whether BENCH_OFFLINE forbids the network: it is set, and to something else than 0."""
    return os.environ.get("BENCH_OFFLINE", "") not in {"", "0"}


def _silent(_here: int, _total: int | None) -> None:
    pass


def download(
    addresses: Sequence[str],
    target: Path,
    expected: Expected = _NOTHING_KNOWN,
    *,
    progress: Callable[[int, int | None], object] = _silent,
    offline: bool = False,
    pause: Callable[[float], object] = time.sleep,
) -> Arrived:
    """The file at `target`, fetched from the first address that has it unless it is here.

    `progress` is called with the bytes that are here and the size of the file, None where that is
    not known. What comes lies in a hidden part file and gets its name when size and digests are
    those expected; an interrupted download goes on where it ended. Of two processes that want one
    file, one waits for the other.

    Raises BenchError where the file that is here is not the expected one, where it is not here and
    the network must not be used, where no address has it, and where it cannot be written.
    """
    shown = [printable(address) for address in addresses]
    if found := _here(target, expected, shown):
        return found
    to_ask = [source for address in addresses for source in sources(address)]
    if offline or offline_wanted() or not to_ask:
        raise _not_here(target, shown)
    with alone(target, pause):
        if found := _here(target, expected, shown):
            return found
        return _first_of(to_ask, target, expected, progress, pause)


def _here(target: Path, expected: Expected, shown: Sequence[str]) -> Arrived | None:
    """The file if it is here; raises BenchError if it is another than expected."""
    if not target.exists():
        return None
    found = digests.remembered(target, git_blob=bool(expected.git_blob))
    digests.check(target, found, expected, shown)
    return Arrived(target, found, None)


def _first_of(
    to_ask: Sequence[Source],
    target: Path,
    expected: Expected,
    progress: transfer.Progress,
    pause: Callable[[float], object],
) -> Arrived:
    """The file from the first source that has it."""
    part = Part(target, git_blob=bool(expected.git_blob))
    said, todo = [], ""
    with web.session() as session:
        for source in to_ask:
            try:
                attempt = partial(transfer.receive, session, source, part, expected, progress)
                found = _obtain(attempt, part, expected, pause)
            except Fault as fault:
                said.append(f"{printable(source.address)} {fault}")
                todo = todo or fault.todo
                continue
            part.finish()
            digests.remember(target, found, target.stat().st_mtime_ns)
            return Arrived(target, found, printable(source.address))
    raise BenchError(
        f"cannot download {target.name}",
        found=", ".join(said),
        todo=todo or f"try again later, or get it in another way and put it at {target}",
    )


def _obtain(
    attempt: Callable[[], None], part: Part, expected: Expected, pause: Callable[[float], object]
) -> Digests:
    """The digests of the whole and right file, which then lies in the part.

    A wrong file that was pieced together from several answers is fetched once more in one piece.
    """
    complaint = ""
    for _ in range(2):
        _persist(attempt, part, pause)
        found = part.digests()
        difference = digests.differs(part.path, found, expected)
        if difference is None:
            return found
        complaint = "has another file (expected {}, found {})".format(*difference)
        pieced = part.pieced
        part.drop()
        if not pieced:
            break
    raise Fault(complaint)


def _persist(attempt: Callable[[], None], part: Part, pause: Callable[[float], object]) -> None:
    """Attempts until the part is at its end; ever longer pauses between those in vain."""
    failures, furthest = 0, part.size
    while True:
        try:
            attempt()
        except Fault as fault:
            if part.size >= furthest + _GAIN:
                failures, furthest = 0, part.size
            failures += 1
            if not fault.again or failures >= ATTEMPTS:
                raise
            wait_s = _wait_s(failures) if fault.wait_s is None else fault.wait_s
            if wait_s > LONGEST_WAIT_S:
                raise Fault(f"{fault}, and asks to come back in {wait_s:.0f} s") from None
            pause(wait_s)
        else:
            return


def _wait_s(failures: int) -> float:
    """Twice as long after every failure, and of random length, so that clients do not march."""
    longest = min(LONGEST_WAIT_S, FIRST_WAIT_S * 2.0 ** (failures - 1))
    return longest * random.uniform(0.5, 1)  # noqa: S311 - no secret


@contextmanager
def alone(target: Path, pause: Callable[[float], object] = time.sleep) -> Iterator[None]:
    """Waits until no other process fetches the file; the lock of a killed process is none.

    Whoever enters must look whether it is here by now. `pause` is what can end the waiting: a lock
    that waits by itself cannot be interrupted.
    """
    from filelock import Timeout

    path = target.with_name(f".{target.name}.lock")
    try:
        target.parent.mkdir(parents=True, exist_ok=True)
        lock = storage.lock(path)
        while not lock.is_locked:
            try:
                lock.acquire(blocking=False)
            except Timeout:
                pause(_POLL_S)
    except OSError as error:
        raise BenchError(
            f"cannot write {target}",
            found=error.strerror or str(error),
            todo="choose another folder",
        ) from error
    try:
        yield
        # Whoever still waits for this lock finds the file and needs none.
        with suppress(OSError):
            path.unlink()
    finally:
        lock.release()


def _not_here(target: Path, shown: Sequence[str]) -> BenchError:
    return BenchError(
        f"{target.name} is not on this machine",
        expected=str(target),
        todo="fetch it with the network, or put it there"
        + (" from " + ", ".join(shown) if shown else ""),
    )
