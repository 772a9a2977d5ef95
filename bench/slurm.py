"""Work items as a job array on a Slurm cluster, through submitit.

Workers share the data root, the cache and the results folder with this process, and nothing else:
what they measured lies in the journal, so that a job that was preempted and requeued goes on where
it was, and a command that was killed is finished by giving it again. States are asked of `squeue`,
because `sacct`, which submitit asks, knows nothing on a cluster without accounting.
"""

from __future__ import annotations

import io
import os
import re
import signal
import subprocess
import time
from collections.abc import Iterator, Sequence
from contextlib import redirect_stderr
from pathlib import Path
from typing import Any, NamedTuple

from bench import evaluate, journal, record
from bench.engine import Item
from bench.errors import BenchError
from bench.evaluate import Job, Outcome, Worker

# States of a job that may still give something (squeue(1), JOB STATE CODES).
_ALIVE = {
    "CONFIGURING",
    "COMPLETING",
    "PENDING",
    "PREEMPTED",
    "REQUEUED",
    "REQUEUE_FED",
    "REQUEUE_HOLD",
    "RESIZING",
    "RUNNING",
    "SIGNALING",
    "SPECIAL_EXIT",
    "STAGE_OUT",
    "STOPPED",
    "SUSPENDED",
}
_TASKS = 256  # of one array: most clusters allow 1001


class Options(NamedTuple):
    """How jobs are submitted.

    partition     Slurm's default if null
    minutes       time limit of a task
    parallel      tasks that run at once
    more          any other option of sbatch by its long name, such as {"gres": "gpu:1"}
    poll_s        seconds between two looks at the queue and the journal
    grace_s       seconds that files may take to appear here after their job has ended
    """

    partition: str | None = None
    minutes: int = 240
    parallel: int = 16
    more: dict[str, str] = {}  # noqa: RUF012 - a NamedTuple's default, never changed
    poll_s: float = 5.0
    grace_s: float = 30.0


class Batch:
    """What one task of the array works on; submitit pickles it and calls it."""

    def __init__(self, items: Sequence[Item]) -> None:
        self.items = list(items)

    def __call__(self) -> None:
        """Measures what is not in the journal yet."""
        # submitit ignores SIGTERM, with which Slurm asks preempted jobs to go: they would hold
        # their node until they are killed.
        signal.signal(signal.SIGTERM, signal.SIG_DFL)
        worker: Worker | None = None
        for item in self.items:
            if _written(item):
                continue
            if worker is None or worker.job is not item.job:
                worker = Worker(item.job)
            worker.work(item.clip)

    def checkpoint(self) -> object:
        """Called before a time limit: the same batch again, which skips what it has done."""
        import submitit

        return submitit.helpers.DelayedSubmission(self)


def on_slurm(
    items: Sequence[Item], options: Options, folder: Path
) -> Iterator[tuple[Item, Outcome]]:
    """Works on the items as one array of jobs, whose logs go into `folder`.

    A task that ends without a result (cancelled, out of time, killed) fails its items. Jobs are
    cancelled if this generator is closed early. Raises BenchError where Slurm refuses them.
    """
    if not items:
        return
    count = min(len(items), _TASKS)
    jobs = {id(item.job): _absolute(item.job) for item in items}
    shared = [Item(jobs[id(item.job)], item.clip) for item in items]
    submitted = _submitted([Batch(shared[i::count]) for i in range(count)], options, folder)
    tasks = [
        _Task(one.job_id, list(items[i::count]), Path(one.paths.stderr))
        for i, one in enumerate(submitted)
    ]
    try:
        while tasks:
            states = _states()
            for task in tasks:
                yield from task.arrived()
                if states is not None and task.over(states.get(task.job_id), options.grace_s):
                    yield from task.failed(states.get(task.job_id))
            tasks = [task for task in tasks if task.items]
            if tasks:
                time.sleep(options.poll_s)
    finally:
        if tasks:
            _cancel([task.job_id for task in tasks if task.items])


class _Task:
    """One task of the array, and the items of which nothing has arrived yet."""

    def __init__(self, job_id: str, items: list[Item], log: Path) -> None:
        self.job_id, self.items, self.log = job_id, items, log
        self._ended_at: float | None = None

    def arrived(self) -> Iterator[tuple[Item, Outcome]]:
        """The items that have been written down since the last look."""
        there = [item for item in self.items if _written(item)]
        self.items = [item for item in self.items if item not in there]
        for item in there:
            yield item, _outcome(item)

    def over(self, state: str | None, grace_s: float) -> bool:
        """Whether the task has ended for so long that nothing more will arrive."""
        if state in _ALIVE or not self.items:
            self._ended_at = None
            return False
        now = time.monotonic()
        if self._ended_at is None:
            self._ended_at = now
        return now - self._ended_at >= grace_s

    def failed(self, state: str | None) -> Iterator[tuple[Item, Outcome]]:
        """Writes down that the task ended, for the items that it left."""
        how = _ending(self.job_id, state, self.log)
        items, self.items = self.items, []
        for item in items:
            yield item, evaluate.died(item.job, item.clip, how)


def _absolute(job: Job) -> Job:
    """The job with paths that hold in any working folder."""
    settings = job.settings._replace(
        data_root=job.settings.data_root.absolute(),
        released=job.settings.released and job.settings.released.absolute(),
        save=job.settings.save and job.settings.save.absolute(),
    )
    found = job.found._replace(root=job.found.root.absolute())
    return job._replace(settings=settings, found=found, results=job.results.absolute())


def _written(item: Item) -> bool:
    return journal.path(item.job.results, item.job.run, item.clip).exists()


def _outcome(item: Item) -> Outcome:
    single = record.read(journal.path(item.job.results, item.job.run, item.clip))
    if single.failures:
        return Outcome(item.clip, 0, single.failures[0].error)
    return Outcome(item.clip, len(evaluate.restored(item.job, single.clips[0].frames)), [])


def _submitted(batches: Sequence[Batch], options: Options, folder: Path) -> list[Any]:
    # Its handlers would hold on to today's stdout.
    os.environ.setdefault("SUBMITIT_LOG_LEVEL", "NOCONFIG")
    try:
        import submitit
    except ImportError as error:
        raise BenchError(
            "submitit is not installed",
            expected="the extra `slurm`",
            todo="pip install 'vsr-reproductions[slurm]'",
        ) from error
    try:
        executor = submitit.AutoExecutor(folder=folder, cluster="slurm")
        executor.update_parameters(
            name="bench",
            timeout_min=options.minutes,
            slurm_array_parallelism=options.parallel,
            slurm_additional_parameters=dict(options.more),
            **({"slurm_partition": options.partition} if options.partition else {}),
        )
        # submitit repeats on stderr what sbatch says, which is told below.
        with redirect_stderr(io.StringIO()), executor.batch():
            jobs = [executor.submit(batch) for batch in batches]
    except (RuntimeError, submitit.core.utils.FailedJobError) as error:
        lines = [line.strip() for line in str(error).splitlines() if line.strip()]
        said = [re.sub("^sbatch: (error: )?", "", line) for line in lines if "sbatch: " in line]
        raise BenchError(
            "Slurm does not take the jobs",
            expected="a cluster and options that sbatch accepts",
            found=", ".join(said or lines[-1:]),
            todo="see sinfo and sbatch --help",
        ) from error
    return jobs


def _states() -> dict[str, str] | None:
    """State of each of my jobs that Slurm remembers, by its id; None where it does not answer.

    No ids are given: one that is forgotten makes squeue fail, and a pending task of an array that
    is cancelled is forgotten at once.
    """
    command = ["squeue", "--me", "--array", "--states=all", "--noheader", "--format=%i %T"]
    try:
        done = subprocess.run(command, capture_output=True, text=True, check=True, timeout=60)  # noqa: S603
    except (OSError, subprocess.SubprocessError):
        return None
    return dict(line.split(maxsplit=1) for line in done.stdout.splitlines() if line.strip())


def _cancel(job_ids: Sequence[str]) -> None:
    subprocess.run(["scancel", *job_ids], capture_output=True, check=False)  # noqa: S603, S607


def _ending(job_id: str, state: str | None, log: Path) -> str:
    """How a task ended without a result, in one line."""
    how = f"Slurm job {job_id} ended as {state}" if state else f"Slurm job {job_id} is gone"
    try:
        lines = [line for line in log.read_text(errors="replace").splitlines() if line.strip()]
    except OSError:
        lines = []
    return f"{how}: {lines[-1].strip()}" if lines else how
