"""A real Slurm cluster of one node on the loopback interface, for tests marked `slurm`.

`cluster()` starts munged, slurmctld and slurmd as root, with a configuration, a munge key, a
socket, ports and logs of their own in one temporary folder; /etc/slurm, /etc/munge and daemons that
the machine runs are left alone. Whatever runs for a cluster carries the folder's name in its
environment (`SLURM_CONF`), and is found by it and killed: at the end of the block; by a watchdog
if this process dies, however it dies; and, should the watchdog have died as well, by the next call
of `cluster()`.

There is no accounting storage, as on many small clusters. `sacct` then says "Slurm accounting
storage is disabled" and fails, and it is all that submitit 1.5 asks: every job's state stays
UNKNOWN, and only the file with its result tells that it ended. A job that leaves no result, because
it was cancelled, ran out of time or out of memory, would be waited for without end. `squeue
--states=all` knows how jobs ended for `MinJobAge` seconds after, except items of an array that
were cancelled before they started: those are gone at once. `queue_watcher()` asks it instead, and
takes what it does not list for ended.
"""

from __future__ import annotations

import os
import secrets
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterable, Iterator
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from submitit.slurm.slurm import SlurmInfoWatcher

INSTALL = "BENCH_TEST_SLURM"
# Variables that a cluster's commands obey: of a job, if the tests run in one, or of the user.
FOREIGN = ("SLURM_", "SLURMD_", "SBATCH_", "SRUN_", "SQUEUE_", "SCANCEL_", "SINFO_", "SACCT_")
# What became of an array's item that was cancelled before it started, Slurm does not keep.
VANISHED = "VANISHED"
_PREFIX = "bench-slurm-"
PROGRAMS = (
    *("munged", "slurmctld", "slurmd"),
    *("sbatch", "srun", "squeue", "scancel", "scontrol", "sinfo", "sacct"),
)
PATH = os.pathsep.join((os.environ.get("PATH", os.defpath), "/usr/sbin", "/sbin"))

CONF = """\
ClusterName=bench
SlurmctldHost={host}(127.0.0.1)
SlurmctldPort={controller_port}
SlurmdPort={node_port}
CommunicationParameters=NoInAddrAny,NoCtldInAddrAny
# cred_expire is also how long a requeued job waits before it starts again; the default is 120 s.
AuthInfo=socket={folder}/munge.socket,cred_expire=5
AuthType=auth/munge
CredType=cred/munge
SlurmUser=root
SlurmdUser=root
StateSaveLocation={folder}/state
SlurmdSpoolDir={folder}/spool
SlurmctldPidFile={folder}/slurmctld.pid
SlurmdPidFile={folder}/slurmd.pid
# No cgroups: in a container they belong to somebody else.
ProctrackType=proctrack/linuxproc
TaskPlugin=task/none
JobAcctGatherType=jobacct_gather/none
AccountingStorageType=accounting_storage/none
MpiDefault=none
MailProg=/bin/true
SelectType=select/cons_tres
SelectTypeParameters=CR_CPU
SchedulerType=sched/backfill
SchedulerParameters=sched_interval=1,sched_min_interval=0,batch_sched_delay=0,bf_interval=1
PreemptType=preempt/partition_prio
PreemptMode=REQUEUE
JobRequeue=1
# submitit remembers jobs by number for as long as its process lives: no two clusters share numbers.
FirstJobId={first_job}
MinJobAge=300
KillWait=1
ReturnToService=2
SlurmdTimeout=30
# More processors than the machine may have, so that several items run at once.
SlurmdParameters=config_overrides
NodeName={host} NodeAddr=127.0.0.1 CPUs={cpus} RealMemory={memory_mb} State=UNKNOWN
PartitionName=bench Nodes=ALL Default=YES PriorityTier=1 MaxTime=INFINITE State=UP
PartitionName=short Nodes=ALL PriorityTier=2 MaxTime=60 State=UP
"""


@dataclass(frozen=True)
class Cluster:
    """A running cluster: its folder, and `environment`, which its commands need."""

    folder: Path

    @property
    def environment(self) -> dict[str, str]:
        return {"SLURM_CONF": str(self.folder / "slurm.conf")}

    def call(self, *words: object) -> str:
        """What a Slurm command prints; CalledProcessError if it fails."""
        return _call(self.folder, *words).stdout.strip()

    def states(self, *jobs: str) -> list[str]:
        """The states of jobs or array items ("12_3"); VANISHED for what squeue does not know."""
        words = ("squeue", "--noheader", "--array", "--states=all", "--format=%i %T")
        found = dict(line.split() for line in self.call(*words).splitlines())
        return [found.get(job, VANISHED) for job in jobs]

    def cancel_all(self, limit_s: float = 20) -> None:
        """Cancels every job and waits until none is left."""
        deadline = time.monotonic() + limit_s
        while self.call("squeue", "--noheader", "--format=%i"):
            if time.monotonic() > deadline:
                raise TimeoutError(f"jobs outlived scancel:\n{self.call('squeue')}")
            self.call("scancel", "--user=root")
            time.sleep(0.2)


def hindrance() -> str | None:
    """Why no cluster can be started here, in one line, or None."""
    if sys.platform != "linux":
        return f"Slurm runs on Linux, not on {sys.platform}"
    if os.geteuid() != 0:
        return "the daemons of a Slurm cluster are started by root"
    lacking = _lacking()
    if not lacking:
        return None
    if os.environ.get(INSTALL) != "install":
        return f"no {lacking[0]}: set {INSTALL}=install to install slurm-wlm"
    if not shutil.which("apt-get"):
        return f"no {lacking[0]}, and no apt-get to install it"
    return None


def install() -> str | None:
    """Installs the packages if a program is missing: None, or in one line why that failed."""
    import debian  # here, because the watchdog runs this file by itself

    return debian.install(("slurm-wlm", "munge"), lambda: next(iter(_lacking()), None))


def _lacking() -> list[str]:
    return [name for name in PROGRAMS if not shutil.which(name, path=PATH)]


@contextmanager
def cluster(cpus: int = 4) -> Iterator[Cluster]:
    """A cluster of one node with that many CPUs, idle; nothing of it is left after the block.

    The partition `bench` is the default; jobs of `short` (an hour at most) preempt its jobs,
    which are then requeued. RuntimeError, with the end of the logs, if it does not come up.
    """
    _sweep()
    with _folder() as folder:
        daemons: list[subprocess.Popen[bytes]] = []
        try:
            # A port that was free when it was chosen may be taken when it is bound.
            for attempts_left in (2, 1, 0):
                try:
                    _start(folder, cpus, daemons)
                    break
                except RuntimeError:
                    if not attempts_left:
                        raise
                    _end(folder, daemons)
                    daemons.clear()
            yield Cluster(folder)
        finally:
            _end(folder, daemons)


def queue_watcher() -> SlurmInfoWatcher:
    """submitit's watcher of job states, made to ask squeue instead of sacct."""
    from submitit.slurm.slurm import SlurmInfoWatcher

    class QueueWatcher(SlurmInfoWatcher):
        def _make_command(self) -> list[str] | None:
            # All of one's jobs: asked for jobs that it does not know, squeue may fail.
            words = ["squeue", "--me", "--noheader", "--array", "--states=all"]
            return [*words, "--format=%i|%T|%N"] if self._registered - self._finished else None

        def read_info(self, string: bytes | str) -> dict[str, dict[str, str]]:
            text = string if isinstance(string, str) else string.decode()
            vanished = {job: {"JobID": job, "State": VANISHED} for job in self._registered}
            return vanished | super().read_info("JobID|State|NodeList\n" + text)

    return QueueWatcher(delay_s=2)


def _start(folder: Path, cpus: int, daemons: list[subprocess.Popen[bytes]]) -> None:
    """Appends the daemons as they are started; returns when the node is idle."""
    folder.chmod(0o755)  # munged wants its socket to be within everybody's reach
    for name in ("state", "spool"):
        shutil.rmtree(folder / name, ignore_errors=True)
        (folder / name).mkdir()
    controller_port, node_port = free_ports(2)
    text = CONF.format(
        host=socket.gethostname().partition(".")[0],
        folder=folder,
        controller_port=controller_port,
        node_port=node_port,
        first_job=1 + secrets.randbelow(60_000_000),
        cpus=cpus,
        memory_mb=os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE") // 2**20,
    )
    (folder / "slurm.conf").write_text(text, encoding="utf-8")
    key = folder / "munge.key"
    key.touch(mode=0o600)
    key.write_bytes(secrets.token_bytes(128))
    files = {"key": "key-file", "socket": "socket", "seed": "seed-file", "pid": "pid-file"}
    options = [f"--{option}={folder}/munge.{name}" for name, option in files.items()]
    daemons.append(_daemon(folder, "munged", "--foreground", *options))
    _await(folder, daemons, (folder / "munge.socket").exists)
    daemons.append(_daemon(folder, "slurmctld", "-D"))
    daemons.append(_daemon(folder, "slurmd", "-D"))

    def idle() -> bool:
        asked = _call(folder, "sinfo", "--noheader", "--format=%T", check=False)
        return set(asked.stdout.split()) == {"idle"}

    _await(folder, daemons, idle)


def _daemon(folder: Path, *words: str) -> subprocess.Popen[bytes]:
    # A session of its own: Ctrl-C in the terminal is for the tests, which then end the daemons.
    with (folder / f"{words[0]}.log").open("wb") as log:
        return subprocess.Popen(
            words,
            env=_environment(folder),
            cwd=folder,
            stdin=subprocess.DEVNULL,
            stdout=log,
            stderr=log,
            start_new_session=True,
        )


def _await(
    folder: Path,
    daemons: list[subprocess.Popen[bytes]],
    ready: Callable[[], bool],
    limit_s: float = 15,
) -> None:
    deadline = time.monotonic() + limit_s
    while not ready():
        if time.monotonic() > deadline or any(daemon.poll() is not None for daemon in daemons):
            tails = (
                f"{log.name}: {log.read_text(errors='replace')[-800:]}"
                for log in sorted(folder.glob("*.log"))
            )
            raise RuntimeError("Slurm does not come up\n" + "\n".join(tails))
        time.sleep(0.1)


def _environment(folder: Path) -> dict[str, str]:
    """This process's own, for commands of that cluster and of no other."""
    kept = {name: value for name, value in os.environ.items() if not name.startswith(FOREIGN)}
    return kept | {"PATH": PATH, "SLURM_CONF": str(folder / "slurm.conf")}


def _call(folder: Path, *words: object, check: bool = True) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [str(word) for word in words],
        env=_environment(folder),
        capture_output=True,
        text=True,
        check=check,
        timeout=60,
    )


def free_ports(count: int) -> list[int]:
    with ExitStack() as stack:
        bound = [stack.enter_context(socket.socket()) for _ in range(count)]
        for each in bound:
            each.bind(("127.0.0.1", 0))
        return [each.getsockname()[1] for each in bound]


@contextmanager
def _folder() -> Iterator[Path]:
    """A new folder that is locked as long as this process lives, and watched from outside it."""
    import fcntl

    folder = Path(tempfile.mkdtemp(prefix=_PREFIX))
    with (folder / "lock").open("wb") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        # Without the mark of any cluster, or the end of another one would be its end too.
        watchdog = subprocess.Popen(
            [sys.executable, "-I", __file__, folder],
            env={name: value for name, value in os.environ.items() if name != "SLURM_CONF"},
            stdin=subprocess.PIPE,
            start_new_session=True,
        )
        try:
            yield folder
        finally:
            shutil.rmtree(folder)
            watchdog.communicate()


def _sweep() -> None:
    """Ends the clusters whose process and whose watchdog were killed."""
    import fcntl

    # The lock is taken before slurm.conf is written: without the file the folder may be just made.
    for conf in Path(tempfile.gettempdir()).glob(f"{_PREFIX}*/slurm.conf"):
        with (
            suppress(FileNotFoundError, BlockingIOError),
            (conf.parent / "lock").open("rb") as lock,
        ):
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
            _end(conf.parent)
            shutil.rmtree(conf.parent, ignore_errors=True)


def _end(
    folder: Path, daemons: Iterable[subprocess.Popen[bytes]] = (), limit_s: float = 15
) -> None:
    """Kills whatever runs for the cluster of that folder; RuntimeError if it lives on."""
    deadline = time.monotonic() + limit_s
    while running := processes(folder):
        if time.monotonic() > deadline:
            raise RuntimeError(f"processes {sorted(running)} of {folder} cannot be killed")
        for process in running:
            with suppress(ProcessLookupError):
                os.kill(process, signal.SIGKILL)
        time.sleep(0.05)
    for daemon in daemons:
        daemon.wait()


def processes(folder: Path) -> set[int]:
    """Processes with the folder's slurm.conf in their environment, and their descendants.

    A killed process that waits for its parent has no environment any more.
    """
    mark = f"SLURM_CONF={folder / 'slurm.conf'}".encode()
    found, parents = set(), {}
    for entry in Path("/proc").iterdir():
        if not entry.name.isdecimal():
            continue
        with suppress(OSError):
            parents[int(entry.name)] = int(
                (entry / "stat").read_text().rpartition(")")[2].split()[1]
            )
            if mark in (entry / "environ").read_bytes().split(b"\0"):
                found.add(int(entry.name))
    more = found
    while more := {child for child, parent in parents.items() if parent in found} - found:
        found |= more
    return found - {os.getpid()}


if __name__ == "__main__":
    # The watchdog: standard input ends when the process that started it has gone.
    sys.stdin.buffer.read()
    _end(Path(sys.argv[1]))
    shutil.rmtree(sys.argv[1], ignore_errors=True)
