from __future__ import annotations

import functools
import multiprocessing
from pathlib import Path

import msgspec
import pytest
from runs import measure

from bench import engine
from bench.maker import Settings

TWO = functools.partial(engine.on_devices, devices=["cpu", "cpu"])


@pytest.fixture
def settings(tmp_path):
    return Settings(data_root=tmp_path / "data")


@pytest.fixture(autouse=True)
def _toypaper_for_workers(monkeypatch):
    """Worker processes begin with another search path: they must find the methods all the same."""
    monkeypatch.setenv("PYTHONPATH", str(Path(__file__).parent))


def bare(whole):
    """The record without its provenance."""
    clips = [msgspec.structs.replace(clip, provenance="") for clip in whole.clips]
    return msgspec.json.encode(msgspec.structs.replace(whole, clips=clips, provenance={}))


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
