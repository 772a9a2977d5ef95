from __future__ import annotations

import functools
import multiprocessing
import os
import signal
import subprocess
import sys
from pathlib import Path

import msgspec
import pytest
from runs import RESULTS, bare, job, measure

from bench import engine, journal, record
from bench.errors import BenchError
from bench.maker import Settings

TWO = functools.partial(engine.on_devices, devices=["cpu", "cpu"])


@pytest.fixture
def settings(tmp_path):
    return Settings(data_root=tmp_path / "data")


@pytest.fixture(autouse=True)
def _toypaper_for_workers(monkeypatch):
    """Worker processes begin with another search path: they must find the methods all the same."""
    monkeypatch.setenv("PYTHONPATH", str(Path(__file__).parent))


def test_processes_give_the_same_record_as_this_one(toy, settings):
    here = measure(toy, settings)
    there = measure(toy, settings, overwrite="always", how=TWO)
    assert sorted(there.measured) == sorted(here.measured)
    assert bare(there.record) == bare(here.record)


def test_a_process_that_dies_fails_its_clip_and_is_replaced(toy, settings):
    done = measure(toy, settings, checkpoint="dying", how=TWO)
    assert done.measured == []
    assert len(done.failed) == 4
    assert {tuple(error) for error in done.failed.values()} == {
        ("its process was ended by signal 9, as the system does when memory runs out",)
    }
    assert len(done.record.failures) == 4


def test_failures_come_back_from_processes(toy, settings):
    done = measure(toy, settings, ["pan", "zoom"], checkpoint="failing", how=TWO)
    assert set(done.failed) == {"pan", "zoom"}
    assert all("the network gave NaN" in error[0] for error in done.failed.values())


def test_what_a_process_cannot_write_is_told_in_one_line(toy, settings, capfd):
    """Such as on a full disk: no traceback of the process, and no next item."""
    blocked = journal.folder(RESULTS, job(toy, settings).run)
    blocked.parent.mkdir(parents=True)
    blocked.touch()
    with pytest.raises(BenchError, match=r"cannot write .*\.sample-bi"):
        measure(toy, settings, how=TWO)
    assert "Traceback" not in capfd.readouterr().err
    assert multiprocessing.active_children() == []


def test_ctrl_c_is_held_back_while_a_process_starts():
    code = "import os, signal; os.kill(os.getpid(), signal.SIGINT)"
    codes = []

    def start():
        with engine._uninterrupted():  # noqa: SLF001
            os.kill(os.getpid(), signal.SIGINT)
            codes.append(subprocess.run([sys.executable, "-c", code], check=False).returncode)

    with pytest.raises(KeyboardInterrupt):
        start()
    assert codes == [0]
    assert signal.getsignal(signal.SIGINT) is signal.default_int_handler


def test_clips_that_were_measured_otherwise_are_told(toy, settings):
    """One record holds clips of one way only: what that costs is not silent."""
    whole = measure(toy, settings).record
    clips = [msgspec.structs.replace(clip, restoring={"window": 5}) for clip in whole.clips]
    record.write(RESULTS, msgspec.structs.replace(whole, clips=clips))
    done = measure(toy, settings, ["pan"])
    assert (done.measured, done.dropped) == (["pan"], ["occlusion", "rotation", "zoom"])
    assert measure(toy, settings).dropped == []


def test_no_process_is_left_behind(toy, settings):
    measure(toy, settings, ["pan"], how=TWO)
    assert multiprocessing.active_children() == []

    def stop_early(items):
        stream = engine.on_devices(items, ["cpu", "cpu"])
        first = next(stream)
        stream.close()
        yield first

    done = measure(toy, settings, overwrite="always", how=stop_early)
    assert len(done.measured) == 1
    assert multiprocessing.active_children() == []
