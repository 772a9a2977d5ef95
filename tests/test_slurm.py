"""Work items on a real Slurm cluster; and what is said where there is none."""

from __future__ import annotations

import functools
import subprocess
import threading
import time
from pathlib import Path

import pytest
from runs import RESULTS, bare, job, measure

from bench import journal, slurm
from bench.errors import BenchError
from bench.maker import Settings
from bench.slurm import Options

QUICK = Options(partition="bench", minutes=20, parallel=4, poll_s=0.2, grace_s=2)


@pytest.fixture
def settings(tmp_path):
    return Settings(data_root=tmp_path / "data", workers=1)


@pytest.fixture
def submit(slurm, tmp_path, monkeypatch):
    """The engine on the cluster of the tests; workers find the toy methods."""
    pytest.importorskip("submitit")
    monkeypatch.setenv("PYTHONPATH", str(Path(__file__).parent))
    monkeypatch.setenv("OMP_NUM_THREADS", "1")
    return functools.partial(on, folder=tmp_path / "jobs")


def on(items, folder, options=QUICK):
    return slurm.on_slurm(items, options, folder)


def queue(*fields):
    command = ["squeue", "--me", "--array", "--noheader", "--format=" + " ".join(fields)]
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    return [line.split() for line in done.stdout.splitlines()]


def soon_empty():
    deadline = time.monotonic() + 20
    while queue("%i") and time.monotonic() < deadline:
        time.sleep(0.2)
    assert queue("%i") == []


@pytest.mark.slurm
def test_twelve_items_give_the_records_of_a_local_run(toy, settings, submit):
    """Three runs of four clips, one array of twelve tasks."""
    from bench import engine, resume

    runs = [("good", "bi"), ("good", "bd"), ("swapped", "bi")]
    here = [measure(toy, settings, checkpoint=c, degradation=d).record for c, d in runs]
    jobs = [job(toy, settings, checkpoint=c, degradation=d) for c, d in runs]
    todo = [(one, resume.missing(one, [], "always")) for one in jobs]
    assert sum(len(clips) for _, clips in todo) == 12
    done = engine.execute(todo, submit)
    assert [one.failed for one in done] == [{}, {}, {}]
    assert [bare(one.record) for one in done] == [bare(whole) for whole in here]
    soon_empty()


@pytest.mark.slurm
def test_a_cancelled_and_a_requeued_task(toy, settings, submit):
    """The first fails, and the same command finishes it; of the other nothing is seen."""
    slow = {"checkpoint": "slow"}
    one = job(toy, settings, **slow)
    clips = one.found.clips
    acted = threading.Event()

    def disturb():
        deadline = time.monotonic() + 60
        while time.monotonic() < deadline and not acted.is_set():
            running = [i for i, state in queue("%i", "%T") if state == "RUNNING"]
            if len(running) == len(clips):
                time.sleep(1)  # so that they are inside their items
                subprocess.run(["scancel", running[0]], check=True)
                subprocess.run(["scontrol", "requeue", running[1]], check=True)
                acted.set()
            time.sleep(0.1)

    thread = threading.Thread(target=disturb)
    thread.start()
    done = measure(toy, settings, how=submit, **slow)
    thread.join()
    assert acted.is_set()
    (failed,) = done.failed.items()
    assert "ended as CANCELLED" in failed[1][0] or "is gone" in failed[1][0]
    assert len(done.measured) == len(clips) - 1
    again = measure(toy, settings, how=submit, **slow)
    assert again.measured == [failed[0]]
    assert again.record.failures == []
    local = measure(toy, settings, overwrite="always", **slow)
    assert bare(again.record) == bare(local.record)


@pytest.mark.slurm
def test_an_early_end_cancels_what_waits(toy, settings, submit):
    one = job(toy, settings, checkpoint="slow")
    items = [slurm.Item(one, clip) for clip in one.found.clips]
    stream = submit(items)
    next(stream)
    stream.close()
    soon_empty()


@pytest.mark.slurm
def test_a_failing_item_and_a_refused_option(toy, settings, submit):
    done = measure(toy, settings, ["pan"], checkpoint="failing", how=submit)
    assert "the network gave NaN" in done.failed["pan"][0]
    for options, words in [
        (QUICK._replace(partition="none"), "Slurm does not take the jobs: .*invalid partition"),
        (QUICK._replace(more={"no-such": "1"}), "Slurm does not take the jobs: .*no-such"),
    ]:
        with pytest.raises(BenchError, match=words):
            measure(toy, settings, ["zoom"], how=functools.partial(submit, options=options))


@pytest.mark.slurm
def test_the_command(bench, toy, submit):
    words = ("run", "toy", "--checkpoint", "good", "--dataset", "sample", "--clip", "pan")
    slurm_words = ("--engine", "slurm", "--partition", "short", "--minutes", "20")
    code, out, err = bench(*words, *slurm_words, "--sbatch", "comment=from a test")
    assert (code, err) == (0, "")
    assert "toy/good on sample, bi: 1 of 4 clips (1 measured)" in out
    code, _, err = bench(*words, "--overwrite", "always", "--engine", "slurm", "--partition", "x")
    assert (code, err.count("\n")) == (2, 1)
    assert "Slurm does not take the jobs" in err


def test_without_a_cluster(toy, settings, tmp_path, monkeypatch):
    pytest.importorskip("submitit")
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(BenchError, match="Slurm does not take the jobs: expected a cluster and"):
        measure(toy, settings, ["pan"], how=lambda items: on(items, tmp_path / "jobs"))


def test_a_batch_skips_what_is_written(toy, settings):
    one = job(toy, settings)
    slurm.Batch([slurm.Item(one, "pan")])()
    file = journal.path(RESULTS, one.run, "pan")
    before = file.stat().st_mtime_ns
    slurm.Batch([slurm.Item(one, "pan"), slurm.Item(one, "zoom")])()
    assert file.stat().st_mtime_ns == before
    assert journal.path(RESULTS, one.run, "zoom").exists()


def test_nothing_to_do(tmp_path):
    assert list(slurm.on_slurm([], QUICK, tmp_path)) == []
    assert [path.name for path in tmp_path.iterdir()] == ["here"]
