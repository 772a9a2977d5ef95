from __future__ import annotations

import time

import numpy as np
import pytest
import torch
import toynetworks

import reproductions
from bench import paper
from bench.cost import timing
from bench.cost.meter import Clock, CudaClock, Metered
from bench.cost.timing import Pass, Round, Settings, Shape
from bench.errors import BenchError
from bench.latency import Options
from bench.restore import SlidingWindow, SpaceTime, WholeClip

NETS = toynetworks.paper()
CONV = 2 * 3 * 3 * 9  # FLOPs of the toy networks' convolution at one pixel
WINDOW = SlidingWindow(edge="reflection")


def measure(name="window", shape=(16, 20, 7), options=None, **settings):
    settings = Settings(device="cpu", repeats=2)._replace(**settings)
    return timing.measure(NETS, name, Shape(*shape), options or Options(), settings)


@pytest.mark.parametrize(
    ("name", "frames", "convolutions"),
    [
        ("window", 7, 2),  # features of one frame, and one reconstruction
        ("window", 30, 2),
        ("clip", 7, 2),
        ("clip", 30, 2),
        ("between", 7, (3 + 4) / 6),  # features of three frames, and all four for six SR frames
        ("between", 13, (3 + 4) / 6),
        ("between", 16, (3 + 4) / 6),
    ],
)
def test_flops_of_a_frame_in_steady_state(name, frames, convolutions):
    counted = timing.count_flops(NETS, name, Shape(8, 10, frames))
    assert counted.total == pytest.approx(convolutions * 80 * CONV)


def test_a_result_says_which_kernels_were_chosen(monkeypatch):
    monkeypatch.delenv("BENCH_TRITON", raising=False)
    assert "triton" not in measure().restoring
    monkeypatch.setenv("BENCH_TRITON", "0")
    assert measure().restoring["triton"] == "0"


def test_rounds():
    network = toynetworks.Window()
    network.window = 5
    assert timing.rounds(WINDOW, network, 7) == [Round(range(t, t + 1), 1) for t in range(1, 5)]
    assert timing.rounds(WholeClip(), network, 7) == [Round(range(7), 7)]
    # Neither the first window, which shares no frame, nor the last, which adds three.
    assert timing.rounds(SpaceTime(4), network, 22) == [
        Round(range(7, 13), 6),
        Round(range(13, 19), 6),
    ]
    assert timing.rounds(SpaceTime(4), network, 13) == [Round(range(7, 13), 6)]
    with pytest.raises(BenchError, match="a clip of 3 frames has no steady state for a window of"):
        timing.rounds(WINDOW, network, 3)


class Slow(toynetworks.Window):
    """Spends known times on features and on reconstruction."""

    def features(self, frames):
        time.sleep(0.01)
        return super().features(frames)

    def reconstruct(self, window):
        time.sleep(0.02)
        return super().reconstruct(window)


def test_a_pass_tells_the_network_from_the_rest(noise):
    begin = time.perf_counter()
    done = timing.run_pass(WINDOW, Metered(Slow().eval(), Clock()), list(noise(6, 8, 8)))
    elapsed = 1e3 * (time.perf_counter() - begin)
    assert len(done.steady) == len(done.whole) == 4
    assert all(
        30 <= network < whole for network, whole in zip(done.steady, done.whole, strict=True)
    )
    assert done.first_ms >= 2 * 10 + 20  # two frames' features: the window of the first is mirrored
    assert done.first_ms + sum(done.whole) < elapsed


def test_warm_up_ends_when_two_passes_agree():
    def passes(*medians):
        left = iter(medians)
        return lambda _: Pass([next(left)], [], 0.0)

    assert timing.warm_up(passes(9.0, 5.0, 4.0, 3.9, 1.0)) == (4, True)
    assert timing.warm_up(passes(4.0, 4.1)) == (2, True)
    halving = [2.0**-i for i in range(timing.WARM_UP_PASSES)]
    assert timing.warm_up(passes(*halving)) == (timing.WARM_UP_PASSES, False)


def test_clips_differ_and_repeat():
    shape = Shape(4, 6, 3)
    first, again, other = timing.draw(shape, 0), timing.draw(shape, 0), timing.draw(shape, 1)
    assert np.array_equal(first, again)
    assert not np.array_equal(first, other)
    assert not np.array_equal(first[0], first[1])


def test_every_pass_sees_another_clip(monkeypatch):
    seen, draw = [], timing.draw
    monkeypatch.setattr(timing, "draw", lambda shape, seed: seen.append(seed) or draw(shape, seed))
    measured = measure(repeats=3)
    assert seen == [0, *range(measured.warm_up_passes + 3)]  # the first is for the FLOPs


def test_spread():
    spread = timing.spread([float(i) for i in range(101)])
    assert (spread.p5, spread.median, spread.p95, spread.samples) == (5, 50, 95, 101)


@pytest.mark.parametrize("name", ["window", "clip", "between"])
def test_a_measurement_says_what_was_measured(name):
    measured = measure(name, threads=1)
    assert (measured.paper, measured.checkpoint, measured.measured_with) == ("nets", name, name)
    assert measured.whole_clips == (name == "clip")
    assert measured.frames == (13 if name == "between" else 7)  # the first window is not steady
    assert measured.parameters == 81
    assert measured.flops_per_frame == sum(measured.counted_flops.values())
    assert set(measured.counted_flops) == {"aten.convolution"}
    samples = {"window": 2 * 5, "clip": 2, "between": 2}[name]
    assert measured.latency_ms.samples == measured.restoring_ms.samples == samples
    assert measured.first_frame_ms.samples == measured.passes == 2
    medians = measured.pass_medians_ms
    assert len(medians) == 2
    assert min(medians) <= measured.latency_ms.median <= max(medians)
    assert 0 < measured.latency_ms.p5 <= measured.latency_ms.median <= measured.latency_ms.p95
    assert measured.latency_ms.median < measured.restoring_ms.median
    assert 2 <= measured.warm_up_passes <= timing.WARM_UP_PASSES
    assert len(measured.readings) == 1 + 2
    assert (measured.device.threads, measured.clocks_fell) == (1, None)
    assert measured.provenance.packages["torch"] == torch.__version__
    assert measured.provenance.code_sha256


def test_a_larger_network_takes_more_memory():
    small, large = (measure("clip", (side, side, 7), repeats=1) for side in (8, 256))
    if small.peak_memory_bytes is None:
        pytest.skip("the system does not tell how much memory a process takes")
    # 7 frames of 1024x1024 in float32, as SR and as 8 bits, are made one after the other.
    taken = [m.peak_memory_bytes - m.memory_before_bytes for m in (small, large)]
    assert taken[1] - taken[0] > 4 * 3 * 1024**2


@pytest.mark.parametrize(
    "options",
    [
        Options(dtype="bfloat16"),
        Options(batch=3),
        Options(channels_last=True),
        Options(dtype="bfloat16", batch=2, channels_last=True, tf32=True),
    ],
)
@pytest.mark.parametrize("name", ["window", "clip", "between"])
def test_options(name, options):
    measured = measure(name, options=options, repeats=1)
    assert measured.options == options
    assert (measured.restoring_ms is None) == (options.batch > 1)
    assert measured.flops_per_frame == measure(name, repeats=1).flops_per_frame


def test_what_runs_is_in_the_dtype_and_order_asked_for(monkeypatch):
    seen = []

    class Spy(toynetworks.Window):
        def reconstruct(self, window):
            seen.append((window[1].dtype, len(window[1]), self.conv.weight))
            return super().reconstruct(window)

    monkeypatch.setattr(toynetworks, "Window", Spy)
    measure(options=Options(dtype="bfloat16", batch=3, channels_last=True), repeats=1)
    dtype, batch, weight = seen[-1]
    assert (dtype, batch) == (torch.bfloat16, 3)
    assert weight.is_contiguous(memory_format=torch.channels_last)


@pytest.mark.long
@pytest.mark.filterwarnings("ignore::DeprecationWarning")  # of torch, about itself
def test_compiled():
    measured = measure(options=Options(compiled=True), repeats=1)
    assert measured.options.compiled
    assert measured.latency_ms.median > 0


def test_threads_are_set_and_put_back():
    before = torch.get_num_threads()
    assert measure(threads=before + 1, repeats=1).device.threads == before + 1
    assert torch.get_num_threads() == before


def test_weights_are_the_same_each_time_and_nothing_begins_as_zeros():
    tdan = reproductions.load("tdan")
    state = torch.random.get_rng_state()
    one, two = (
        timing.random_network(tdan, "bix4", Options(), torch.device("cpu")) for _ in range(2)
    )
    assert torch.equal(torch.random.get_rng_state(), state)
    for (name, weight), again in zip(one.named_parameters(), two.parameters(), strict=True):
        assert torch.equal(weight, again)
        assert weight.dim() == 1 or weight.any(), name
    # Offsets of a pixel or so: neither none nor beyond the frame.
    x = torch.rand(1, 64, 12, 12)
    offsets = one.joint_deform_1.conv_offset(x)[:, : one.joint_deform_1.offset_channels]
    assert 0.05 < offsets.std() < 5


@pytest.mark.parametrize(
    ("name", "shape", "options", "settings", "message"),
    [
        ("none", (8, 8, 7), {}, {}, "nets none has no network: expected a checkpoint that"),
        ("large", (7, 8, 7), {}, {}, "too small for nets large: expected .* 8, found 7x8"),
        ("window", (8, 8, 2), {}, {}, "a clip of 2 frames has no steady state for a window of 3"),
        ("between", (8, 8, 6), {}, {}, "a clip of 6 frames is too short for 4 inputs"),
        ("infinite", (8, 8, 7), {}, {}, "output for frame 0 is not finite"),
        ("window", (8, 8, 7), {}, {"device": "cuda:9"}, "cannot use the device 'cuda:9'"),
    ],
)
def test_what_cannot_be_measured(name, shape, options, settings, message):
    with pytest.raises(BenchError, match=message):
        measure(name, shape, Options(**options), **settings)


def test_memory_that_runs_out_is_told_in_one_line(monkeypatch):
    monkeypatch.setattr(
        timing, "count_flops", lambda *_: timing.Flops(counted={}, uncounted_calls={})
    )
    with pytest.raises(BenchError) as error:
        measure("failing")
    assert str(error.value) == (
        "nets failing cannot be measured at 16x20, float32: found CUDA out of memory. Tried; "
        "choose another size, clip length, dtype or device"
    )


def test_architectures():
    found = [[name for _, name in group] for group in timing.groups([NETS])]
    assert found == [
        ["window", "same"],
        ["large"],
        ["infinite"],
        ["failing"],
        ["clip"],
        ["between"],
    ]
    tdan = [[name for _, name in group] for group in timing.groups([paper.load("tdan")])]
    assert tdan == [["bix4", "bdx4"], ["official-bi", "official-bd"]]
    assert timing.groups([paper.load("bicubic")]) == []


def test_each_device_has_its_clock():
    assert isinstance(timing.clock(torch.device("cpu")), Clock)
    assert isinstance(timing.clock(torch.device("cuda", 0)), CudaClock)


@pytest.mark.parametrize("name", ["edvr", "stdan", "tdan"])
def test_the_networks_of_the_papers(name):
    """Those that are quick enough; psrt and ttvsr want 64x64 pixels."""
    chosen = paper.load(name)
    first = timing.groups([chosen])[0][0][1]
    settings = Settings(device="cpu", repeats=1)
    measured = timing.measure(chosen, first, Shape(16, 16, 7), Options(), settings)
    assert measured.parameters == chosen.checkpoint(first).parameters
    assert measured.latency_ms.median > 0


@pytest.mark.long
@pytest.mark.parametrize("name", ["psrt", "ttvsr"])
def test_the_networks_of_the_papers_that_see_whole_clips(name):
    chosen = paper.load(name)
    settings = Settings(device="cpu", repeats=1)
    measured = timing.measure(chosen, "reds", Shape(64, 64, 4), Options(), settings)
    assert measured.parameters == chosen.checkpoint("reds").parameters
    assert measured.whole_clips
