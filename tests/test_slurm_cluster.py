"""The cluster of the tests is a real one, and what submitit does on it is as the engine assumes."""

from __future__ import annotations

import os
import re
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import suppress
from pathlib import Path

import pytest
import slurm_cluster

FOLDER = Path(__file__).parent


def wait_for(condition: Callable[[], object], limit_s: float = 20) -> None:
    deadline = time.monotonic() + limit_s
    while not condition():
        assert time.monotonic() < deadline, f"not within {limit_s} s"
        time.sleep(0.1)


@pytest.fixture
def executor(slurm, tmp_path, monkeypatch) -> Iterator:
    """submitit's executor on the cluster; functions of this module travel by value."""
    submitit = pytest.importorskip("submitit")
    import cloudpickle
    from submitit.slurm.slurm import SlurmJob

    monkeypatch.setattr(SlurmJob, "watcher", slurm_cluster.queue_watcher())
    # How long submitit waits for the result of a job that has ended, before it says "no output".
    monkeypatch.setattr(SlurmJob, "_results_timeout_s", 1)
    cloudpickle.register_pickle_by_value(sys.modules[__name__])
    executor = submitit.AutoExecutor(tmp_path / "jobs", cluster="slurm")
    # Under 11 minutes submitit takes every signal for the end of the job's time.
    executor.update_parameters(timeout_min=20, slurm_array_parallelism=4)
    yield executor
    cloudpickle.unregister_pickle_by_value(sys.modules[__name__])


def square(number: int) -> tuple[int, str]:
    return number**2, os.environ["SLURM_ARRAY_TASK_ID"]


def run_of(log: Path) -> list[str]:
    """Writes down each of its runs; stays in the first until it is ended."""
    with log.open("a") as file:
        file.write(f"run {os.environ.get('SLURM_RESTART_COUNT', '0')}\n")
    if "SLURM_RESTART_COUNT" not in os.environ:
        time.sleep(120)
    return log.read_text().splitlines()


class Steps:
    """A function that remembers, if it is told in time, how far it was."""

    def __init__(self) -> None:
        self.done: list[str] = []

    def __call__(self, log: Path) -> list[str]:
        self.done.append(os.environ.get("SLURM_RESTART_COUNT", "0"))
        run_of(log)
        return self.done

    def checkpoint(self, log: Path):
        from submitit.helpers import DelayedSubmission

        return DelayedSubmission(self, log)


@pytest.mark.slurm
def test_the_node_is_idle_and_has_the_cpus(slurm):
    assert slurm.call("sinfo", "--noheader", "--Node", "--format=%P %T %c") == (
        "bench* idle 4\nshort idle 4"
    )
    assert "PreemptMode             = REQUEUE" in slurm.call("scontrol", "show", "config")


@pytest.mark.slurm
def test_the_daemons_listen_on_loopback_alone(slurm):
    text = (slurm.folder / "slurm.conf").read_text()
    ports = {f"{int(port):04X}" for port in re.findall(r"^Slurm\w+Port=(\d+)$", text, re.MULTILINE)}
    assert len(ports) == 2
    sockets = [
        line.split()[1:4]
        for table in ("tcp", "tcp6")
        for line in Path(f"/proc/net/{table}").read_text().splitlines()[1:]
    ]
    listening = {local for local, _, state in sockets if state == "0A"}  # TCP_LISTEN
    ours = {local for local in listening if local.partition(":")[2] in ports}
    assert ours == {f"0100007F:{port}" for port in ports}


@pytest.mark.slurm
def test_an_array_of_twelve(slurm, executor):
    jobs = executor.map_array(square, range(12))
    assert len({job.job_id.partition("_")[0] for job in jobs}) == 1
    assert [job.result() for job in jobs] == [(i**2, str(i)) for i in range(12)]
    assert "#SBATCH --array=0-11%4" in jobs[0].paths.submission_file.read_text()


@pytest.mark.slurm
def test_the_environment_and_the_working_directory_pass_through(slurm, executor, monkeypatch):
    monkeypatch.setenv("BENCH_CACHE", "/a/cache")
    monkeypatch.setenv("SLURM_JOB_ID", "7")
    jobs = executor.submit_array([lambda: dict(os.environ), lambda: (Path.cwd(), sys.prefix)])
    environment, here = (job.result() for job in jobs)
    assert environment["BENCH_CACHE"] == "/a/cache"
    assert environment["SLURM_CONF"] == str(slurm.folder / "slurm.conf")
    assert environment["SLURM_JOB_ID"] != "7"
    assert here[0] == Path.cwd()
    assert Path(here[1]).samefile(sys.prefix)


@pytest.mark.slurm
def test_an_exception_arrives_with_its_text(slurm, executor):
    from submitit.core.utils import FailedJobError

    def fail(clip: str) -> None:
        raise ValueError(f"{clip}: wrong frame count")

    job = executor.submit(fail, "city")
    with pytest.raises(FailedJobError, match=r"ValueError: city: wrong frame count"):
        job.result()


@pytest.mark.slurm
def test_a_cancelled_item_is_a_failure_and_the_others_are_not(slurm, executor):
    from submitit.core.utils import UncompletedJobError

    def item(number: int) -> int:
        time.sleep(120 if number == 1 else 0)
        return number

    executor.update_parameters(slurm_array_parallelism=1)
    jobs = executor.map_array(item, range(4))
    running, waiting = jobs[1:3]
    wait_for(lambda: slurm.states(running.job_id) == ["RUNNING"])
    slurm.call("scancel", waiting.job_id, running.job_id)
    begin = time.monotonic()
    with pytest.raises(UncompletedJobError, match=r"state: CANCELLED"):
        running.result()
    with pytest.raises(UncompletedJobError, match=r"state: VANISHED"):
        waiting.result()
    assert time.monotonic() - begin < 15
    assert [jobs[0].result(), jobs[3].result()] == [0, 3]


@pytest.mark.slurm
def test_without_accounting_submitit_itself_never_learns_of_a_cancellation(
    slurm, executor, monkeypatch
):
    from submitit.slurm.slurm import SlurmInfoWatcher, SlurmJob

    monkeypatch.setattr(SlurmJob, "watcher", SlurmInfoWatcher())
    with pytest.raises(subprocess.CalledProcessError) as caught:
        slurm.call("sacct")
    assert caught.value.stderr == "Slurm accounting storage is disabled\n"
    job = executor.submit(time.sleep, 120)
    job.cancel()
    wait_for(lambda: slurm.states(job.job_id) == ["CANCELLED"])
    assert not job.done(force_check=True)
    assert job.state == "UNKNOWN"


@pytest.mark.slurm
def test_a_requeued_function_runs_again_from_its_start(slurm, executor, tmp_path):
    log = tmp_path / "log"
    job = executor.submit(run_of, log)
    wait_for(log.exists)
    slurm.call("scontrol", "requeue", job.job_id)
    assert job.result() == ["run 0", "run 1"]


@pytest.mark.slurm
def test_a_signalled_checkpointable_goes_on_with_what_it_remembers(slurm, executor, tmp_path):
    log = tmp_path / "log"
    job = executor.submit(Steps(), log)
    wait_for(log.exists)
    slurm.call("scancel", "--signal=USR2", job.job_id)
    assert job.result() == ["0", "1"]  # the second run knows of the first


@pytest.mark.slurm
def test_a_preempted_checkpointable_is_not_told(slurm, executor, tmp_path):
    """Slurm ends it with SIGTERM, which submitit passes over, and requeues it by itself."""
    log = tmp_path / "log"
    executor.update_parameters(slurm_exclusive=True)
    preempted = executor.submit(Steps(), log)
    wait_for(log.exists)
    executor.update_parameters(slurm_partition="short")
    urgent = executor.submit(len, "urgent")
    assert urgent.result() == 6
    assert preempted.result() == ["1"]
    assert log.read_text() == "run 0\nrun 1\n"
    assert "DUE TO PREEMPTION" in preempted.stderr()
    assert "Bypassing signal SIGTERM" in preempted.stderr()


HOLD = """
import sys, time
sys.path.insert(0, sys.argv[1])
import slurm_cluster
with slurm_cluster.cluster(cpus=1) as cluster:
    cluster.call("sbatch", "--output=/dev/null", "--wrap", "env -i sleep 600")
    while "RUNNING" not in cluster.call("squeue", "--noheader", "--format=%T"):
        time.sleep(0.1)
    print(cluster.folder, flush=True)
    time.sleep(600)
"""


def commands(processes: set[int]) -> set[str]:
    found = set()
    for process in processes:
        with suppress(OSError):  # it has ended
            found.add(Path(f"/proc/{process}/comm").read_text().strip())
    return found


@pytest.fixture
def held(slurm) -> Iterator[tuple[subprocess.Popen[str], Path]]:
    """A process that has a cluster of its own, with a job, and the cluster's folder."""
    environment = {name: value for name, value in os.environ.items() if name != "SLURM_CONF"}
    words = [sys.executable, "-c", HOLD, FOLDER]
    with subprocess.Popen(words, env=environment, stdout=subprocess.PIPE, text=True) as holder:
        try:
            folder = Path(holder.stdout.readline().strip())
            expected = {"munged", "slurmctld", "slurmd", "slurmstepd", "sleep"}
            wait_for(lambda: expected <= commands(slurm_cluster.processes(folder)))
            yield holder, folder
        finally:
            holder.kill()


@pytest.mark.slurm
@pytest.mark.parametrize("how", ["SIGINT", "SIGTERM", "SIGKILL"])
def test_nothing_is_left_however_the_tests_end(held, how):
    holder, folder = held
    holder.send_signal(signal.Signals[how])
    holder.wait(timeout=20)
    wait_for(lambda: not folder.exists())
    assert slurm_cluster.processes(folder) == set()


@pytest.mark.slurm
def test_leftovers_of_a_killed_run_are_swept_and_a_running_one_is_not(slurm, held):
    holder, folder = held
    children = Path(f"/proc/{holder.pid}/task/{holder.pid}/children").read_text().split()
    lines = {int(child): Path(f"/proc/{child}/cmdline").read_text() for child in children}
    (watchdog,) = [child for child, line in lines.items() if "slurm_cluster.py" in line]
    os.kill(watchdog, signal.SIGKILL)
    holder.kill()
    holder.wait()
    assert {"slurmctld", "sleep"} <= commands(slurm_cluster.processes(folder))
    with slurm_cluster.cluster(cpus=3) as other:
        assert not folder.exists()
        assert slurm_cluster.processes(folder) == set()
        assert other.call("sinfo", "--noheader", "--format=%c %T") == "3 idle"
        assert slurm.call("sinfo", "--noheader", "--format=%c %T") == "4 idle"
    assert slurm_cluster.processes(other.folder) == set()


@pytest.mark.slurm
def test_a_failure_in_the_block_takes_the_cluster_down(slurm):
    with pytest.raises(KeyboardInterrupt), slurm_cluster.cluster(cpus=1) as cluster:
        raise KeyboardInterrupt
    assert not cluster.folder.exists()
    assert slurm_cluster.processes(cluster.folder) == set()


@pytest.mark.slurm
def test_a_port_that_was_taken_meanwhile_is_replaced(slurm, monkeypatch):
    free_ports, asked = slurm_cluster.free_ports, []

    def ports(count: int) -> list[int]:
        asked.append(free_ports(count))
        return asked[-1] if len(asked) > 1 else [asked[0][0], taken.getsockname()[1]]

    monkeypatch.setattr(slurm_cluster, "free_ports", ports)
    with socket.create_server(("127.0.0.1", 0)) as taken, slurm_cluster.cluster(cpus=1) as cluster:
        assert cluster.call("sinfo", "--noheader", "--format=%T", "--partition=bench") == "idle"
    assert len(asked) == 2


@pytest.mark.slurm
def test_a_cluster_that_does_not_come_up_shows_its_logs(slurm, monkeypatch):
    monkeypatch.setattr(slurm_cluster, "CONF", slurm_cluster.CONF + "NoSuchKey=1\n")
    before = set(Path(slurm.folder.parent).glob("bench-slurm-*"))
    with (
        pytest.raises(RuntimeError, match=r"does not come up(.|\n)*slurmctld.log(.|\n)*NoSuchKey"),
        slurm_cluster.cluster(),
    ):
        pass
    assert set(Path(slurm.folder.parent).glob("bench-slurm-*")) == before


@pytest.mark.parametrize(
    ("change", "words"),
    [
        (("sys.platform", "darwin"), "Slurm runs on Linux, not on darwin"),
        (("os.geteuid", lambda: 1000), "are started by root"),
        (("slurm_cluster.PATH", "/none"), "no munged: set BENCH_TEST_SLURM=install to install"),
    ],
)
def test_what_hinders_is_said_in_one_line(monkeypatch, change, words):
    monkeypatch.setattr("sys.platform", "linux")
    monkeypatch.setattr("os.geteuid", lambda: 0, raising=False)
    monkeypatch.delenv("BENCH_TEST_SLURM", raising=False)
    monkeypatch.setattr(*change)
    assert words in slurm_cluster.hindrance()
    assert "\n" not in slurm_cluster.hindrance()


@pytest.fixture
def apt(monkeypatch, tmp_path) -> Callable[[str], None]:
    """Puts a program of that text in the place of apt-get, and Slurm out of reach."""
    monkeypatch.setattr("sys.platform", "linux")
    monkeypatch.setattr("os.geteuid", lambda: 0, raising=False)
    monkeypatch.setattr(slurm_cluster, "PATH", str(tmp_path))
    monkeypatch.setenv("PATH", str(tmp_path))
    monkeypatch.setenv("BENCH_TEST_SLURM", "install")

    def write(text: str) -> None:
        (tmp_path / "apt-get").write_text(f"#!/bin/sh\n{text}\n")
        (tmp_path / "apt-get").chmod(0o755)

    return write


def test_packages_are_installed_only_where_that_is_wanted_and_possible(apt, monkeypatch):
    assert slurm_cluster.hindrance() == "no munged, and no apt-get to install it"
    apt("exit 0")
    assert slurm_cluster.hindrance() is None
    monkeypatch.delenv("BENCH_TEST_SLURM")
    assert (
        slurm_cluster.hindrance() == "no munged: set BENCH_TEST_SLURM=install to install slurm-wlm"
    )


@pytest.mark.skipif(sys.platform == "win32", reason="runs a shell script")
def test_a_failed_installation_is_told_in_one_line(apt, tmp_path):
    apt("echo 'W: some mirror' >&2; echo 'E: Unable to fetch some archives' >&2; exit 100")
    assert slurm_cluster.install() == "apt-get update failed: E: Unable to fetch some archives"
    apt("exit 0")
    assert slurm_cluster.install() == "no munged, though slurm-wlm and munge were installed"
    asked = tmp_path / "asked"
    lines = [f'echo "$*" >> {asked}', '[ "$2" = install ] || exit 0']
    lines += [f"/bin/cp {tmp_path}/apt-get {tmp_path}/{name}" for name in slurm_cluster.PROGRAMS]
    apt("\n".join(lines))
    assert slurm_cluster.install() is None
    assert asked.read_text().splitlines()[-1].endswith("slurm-wlm munge")
    asked.unlink()
    assert slurm_cluster.install() is None
    assert not asked.exists()
