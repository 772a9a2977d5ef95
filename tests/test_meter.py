from __future__ import annotations

import time

import pytest
import torch
import toynetworks

from bench.cost.flops import FlopCounter
from bench.cost.meter import Clock, CudaClock, Metered
from bench.restore import SlidingWindow, SpaceTime, WholeClip


class Calls:
    """A meter that counts how often it was entered."""

    def __init__(self):
        self.calls = 0.0

    def __enter__(self):
        self.calls += 1
        return self

    def __exit__(self, *error):
        pass

    def take(self):
        taken, self.calls = self.calls, 0.0
        return taken


KINDS = [
    (toynetworks.Window, SlidingWindow(edge="reflection")),
    (toynetworks.Clip, WholeClip()),
    (toynetworks.Between, SpaceTime(4)),
]


@pytest.mark.parametrize(("kind", "restorer"), KINDS)
def test_a_metered_network_restores_the_same_frames(kind, restorer, noise):
    torch.manual_seed(0)
    network, lr = kind().eval(), list(noise(9, 6, 8))
    plain = list(restorer.restore(network, lr, range(9)))
    for batch in (1, 3):
        meter = Calls()
        metered = Metered(network, meter, batch)
        restored = list(restorer.restore(metered, lr, range(9)))
        assert all((a == b).all() for a, b in zip(plain, restored, strict=True))
        assert metered.take() > 0
        assert metered.scale == 4


@pytest.mark.parametrize(("kind", "restorer"), KINDS)
def test_a_network_on_meta_can_be_restored_with(kind, restorer, noise):
    with torch.device("meta"):
        network = kind()
    metered = Metered(network, FlopCounter(), 2)
    restored = list(restorer.restore(metered, list(noise(9, 6, 8)), range(9)))
    assert [frame.shape for frame in restored] == [(24, 32, 3)] * 9
    assert not any(frame.any() for frame in restored)
    assert metered.take().total > 0


def test_a_batch_costs_as_many_times_as_much(noise):
    totals = []
    for batch in (1, 4):
        metered = Metered(toynetworks.Clip(), FlopCounter(), batch)
        list(WholeClip().restore(metered, list(noise(2, 6, 8)), range(2)))
        totals.append(metered.take().total)
    assert totals[1] == 4 * totals[0]


def test_copies_of_a_clip_differ():
    metered = Metered(toynetworks.Between(), Calls(), 3)
    copied = metered.copies(torch.rand(1, 2, 3, 4, 5))
    assert copied.shape == (3, 2, 3, 4, 5)
    assert not torch.equal(copied[0], copied[1])
    assert not torch.equal(copied[1], copied[2])


def test_the_clock_runs_only_inside():
    clock, begin = Clock(), time.perf_counter()
    for _ in range(2):
        with clock:
            time.sleep(0.02)
        time.sleep(0.03)
    whole = 1e3 * (time.perf_counter() - begin)
    assert 40 <= clock.take() <= whole - 60
    assert clock.take() == 0


class Event:
    """In place of torch.cuda.Event: recording takes a number, a millisecond later each time."""

    now = 0.0

    def __init__(self, *, enable_timing):
        assert enable_timing

    def record(self, _stream):
        Event.now += 1
        self.at = Event.now

    def elapsed_time(self, other):
        assert synchronised, "events were read before the device was done"
        return other.at - self.at


synchronised: list[object] = []


def test_the_clock_of_a_gpu_reads_events_once_the_device_is_done(monkeypatch):
    monkeypatch.setattr(torch.cuda, "Event", Event)
    monkeypatch.setattr(torch.cuda, "current_stream", lambda _: "stream")
    monkeypatch.setattr(torch.cuda, "synchronize", synchronised.append)
    synchronised.clear()
    clock = CudaClock(torch.device("cuda", 1))
    for _ in range(3):
        with clock:
            Event.now += 10
    assert clock.take() == 33
    assert synchronised == [torch.device("cuda", 1)]
    assert clock.take() == 0
    with pytest.raises(RuntimeError, match="before it was entered"):
        clock.__exit__(None, None, None)
