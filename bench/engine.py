"""Where work items run: in this process, or one process a device. The records are the same."""

from __future__ import annotations

import multiprocessing
import multiprocessing.connection
import multiprocessing.resource_tracker
import signal
import threading
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import contextmanager, suppress
from typing import TYPE_CHECKING, NamedTuple

from bench import evaluate, journal
from bench.errors import BenchError
from bench.evaluate import Inputs, Job, Outcome, Worker
from bench.record import Record

if TYPE_CHECKING:
    from multiprocessing.connection import Connection
    from multiprocessing.context import SpawnProcess


class Item(NamedTuple):
    """One clip of one job: the unit of work."""

    job: Job
    clip: str


class Done(NamedTuple):
    """What became of a job: clips measured now, failed with their errors, and the whole record.

    `dropped` are clips that the record held before: measured in another way than those of now.
    """

    job: Job
    measured: list[str]
    failed: dict[str, list[str]]
    record: Record | None
    dropped: Sequence[str] = ()


Engine = Callable[[Sequence[Item]], Iterator[tuple[Item, Outcome]]]


def execute(
    todo: Sequence[tuple[Job, Sequence[str]]],
    engine: Engine,
    on_outcome: Callable[[Item, Outcome], object] = lambda *_: None,
) -> list[Done]:
    """Works on the named clips of all jobs and gathers the records, also when it is interrupted."""
    done = {id(job): Done(job, [], {}, None) for job, _ in todo}
    items = [Item(job, clip) for job, clips in todo for clip in clips]
    before = [journal.known(job.results, job.run) for job, _ in todo]
    try:
        for item, outcome in engine(items):
            one = done[id(item.job)]
            if outcome.error:
                one.failed[item.clip] = outcome.error
            else:
                one.measured.append(item.clip)
            on_outcome(item, outcome)
    finally:
        gathered = [journal.gather(job.results, job.run) for job, _ in todo]
    return [
        one._replace(record=now, dropped=_lost(then, now))
        for one, then, now in zip(done.values(), before, gathered, strict=True)
    ]


def _lost(then: Record | None, now: Record | None) -> list[str]:
    kept = {clip.clip for clip in now.clips} if now else set()
    return [clip.clip for clip in then.clips if clip.clip not in kept] if then else []


def in_process(
    items: Sequence[Item], on_frame: Callable[[], object] = lambda: None
) -> Iterator[tuple[Item, Outcome]]:
    """Works on the items one after the other, here.

    While a clip is restored and scored, the next one is opened, decoded and checked by a thread.
    """
    with ThreadPoolExecutor(1, thread_name_prefix="clips") as pool:
        ahead: Future[Inputs] | None = None
        worker: Worker | None = None
        try:
            for place, (job, clip) in enumerate(items):
                now = ahead or pool.submit(evaluate.read, job, clip)
                following = items[place + 1] if place + 1 < len(items) else None
                ahead = pool.submit(evaluate.read, *following) if following else None
                if worker is None or worker.job is not job:
                    worker = Worker(job)
                yield items[place], worker.work(clip, now.result, on_frame)
        finally:
            if ahead:
                ahead.cancel()


def on_devices(items: Sequence[Item], devices: Sequence[str]) -> Iterator[tuple[Item, Outcome]]:
    """Works on the items in one process a device, each on the next item that waits.

    A process that dies (of memory, of a signal) fails its item and is replaced.
    """
    waiting, started = deque(items), list[_Process]()
    busy: dict[Connection, _Process] = {}

    def hand(process: _Process) -> None:
        process.hand(waiting.popleft())
        busy[process.connection] = process

    def start(device: str) -> _Process:
        with _uninterrupted():
            started.append(_Process(device))
        return started[-1]

    try:
        for device in devices[: len(items)]:
            hand(start(device))
        while busy:
            for ready in multiprocessing.connection.wait(list(busy)):
                process = busy.pop(ready)  # type: ignore[call-overload]
                item, outcome = process.item, process.outcome()
                if waiting:
                    hand(process if process.alive else start(process.device))
                yield item, outcome
        for process in started:
            process.stop()
    finally:
        for process in started:
            process.kill()


class _Process:
    """A worker process that is handed one item after the other."""

    def __init__(self, device: str) -> None:
        context = multiprocessing.get_context("spawn")  # CUDA does not survive a fork
        self.device, self.alive = device, True
        self.connection, theirs = context.Pipe()
        self.process: SpawnProcess = context.Process(target=_serve, args=(theirs,), daemon=True)
        self.process.start()
        theirs.close()
        self.item: Item
        self._job: Job | None = None

    def hand(self, item: Item) -> None:
        """Begins an item; the job travels only when it is another than before."""
        self.item = item
        settings = item.job.settings._replace(device=self.device)
        job = None if item.job is self._job else item.job._replace(settings=settings)
        self._job = item.job
        with suppress(OSError):  # it has died; `outcome` will tell
            self.connection.send((job, item.clip))

    def outcome(self) -> Outcome:
        """What became of the item; to be asked once the connection is ready.

        Raises BenchError where that could not be written down, such as on a full disk.
        """
        try:
            outcome: Outcome | BenchError = self.connection.recv()
        except (EOFError, OSError):
            self.process.join()
            self.alive = False
            self.connection.close()
            outcome = evaluate.died(self.item.job, self.item.clip, _ending(self.process.exitcode))
        if isinstance(outcome, BenchError):
            raise outcome
        return outcome

    def stop(self) -> None:
        """Lets the process end."""
        if self.alive:
            self.connection.close()
            self.process.join()

    def kill(self) -> None:
        """Ends the process at once, if it has not ended."""
        self.process.kill()
        self.process.join()
        self.connection.close()


@contextmanager
def _uninterrupted() -> Iterator[None]:
    """Holds Ctrl-C back until the block ends; what is started in it never sees one at all.

    It would print a traceback; this process ends it instead.
    """
    main = threading.current_thread() is threading.main_thread()
    if not main or not hasattr(signal, "pthread_sigmask"):  # Windows lacks it
        yield
        return
    # Where it is not running yet, starting a process starts it, which unblocks the signal.
    multiprocessing.resource_tracker.ensure_running()
    pressed = list[int]()  # another thread may still be handed the signal
    handler = signal.signal(signal.SIGINT, lambda number, _: pressed.append(number))
    before = signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT})
    try:
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)
        signal.signal(signal.SIGINT, handler)
    if pressed:
        raise KeyboardInterrupt


def _serve(connection: Connection) -> None:
    """The life of a worker process: items in, outcomes out, until the other side closes."""
    worker: Worker | None = None
    with connection, suppress(EOFError, KeyboardInterrupt, BrokenPipeError):
        while True:
            job, clip = connection.recv()
            if job is not None or worker is None:
                worker = Worker(job)
            try:
                connection.send(worker.work(clip))
            except BenchError as error:
                connection.send(error)


def _ending(code: int | None) -> str:
    if code is not None and code < 0:
        return f"its process was ended by signal {-code}" + (
            ", as the system does when memory runs out" if code == -9 else ""
        )
    return f"its process ended with code {code}"
