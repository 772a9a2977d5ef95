"""What the Triton kernel and compilation bring on a CUDA device, as ratios within one run.

Written without such a device at hand: nothing here has been measured yet.
"""

from __future__ import annotations

import statistics
import time

import pytest
import torch
from conftest import state
from test_networks_speed import CASES

from bench import paper
from bench.cost import timing
from bench.cost.meter import Metered
from bench.cost.timing import Shape
from bench.latency import Options
from reproductions.layers.deform_conv import deform_conv2d

pytestmark = pytest.mark.gpu

DEVICE = "cuda"
SIZE = (180, 320)
PASSES = 3


@pytest.fixture
def operands(benchmark):
    """128 channels, 8 deformable groups, offsets of one pixel's standard deviation, float32."""
    if not benchmark.enabled:
        pytest.skip("tests/test_deform_conv_triton.py runs the kernel")
    torch.backends.cuda.matmul.allow_tf32 = False
    random = torch.Generator().manual_seed(0)

    def normal(*shape):
        return torch.randn(*shape, generator=random).to(DEVICE)

    offset, mask = normal(1, 144, *SIZE), normal(1, 72, *SIZE).sigmoid()
    return normal(1, 128, *SIZE), offset, normal(128, 128, 3, 3), normal(128), mask


@pytest.fixture
def timed(monkeypatch, operands):
    """A call of the deformable convolution under a switch, which ends when the device is done."""
    x, offset, weight, bias, mask = operands

    def under(switch):
        def call():
            monkeypatch.setenv("BENCH_TRITON", switch)
            found = deform_conv2d(x, offset, weight, bias, mask=mask, padding=1)
            _wait()
            return found

        return call

    return under


def _wait():
    if DEVICE == "cuda":
        torch.cuda.synchronize()


WHAT = f"deformable convolution, 128 channels at {SIZE[0]}x{SIZE[1]}, Triton"


def test_beside_the_plain_path(ratio, timed):
    pytest.importorskip("triton", reason="Triton is not installed")
    with torch.inference_mode():
        found, expected = timed("1")(), timed("0")()
        assert (found - expected).norm() < 1e-5 * expected.norm()
        ratio(WHAT, timed("1"), timed("0"), "the plain path", 30)


def test_beside_torchvision(ratio, timed, operands):
    pytest.importorskip("triton", reason="Triton is not installed")
    ops = pytest.importorskip("torchvision.ops", reason="torchvision is not installed")
    x, offset, weight, bias, mask = operands

    def theirs():
        found = ops.deform_conv2d(x, offset, weight, bias, padding=1, mask=mask)
        _wait()
        return found

    with torch.inference_mode():
        expected = theirs()
        assert (timed("1")() - expected).norm() < 1e-5 * expected.norm()
        ratio(WHAT, timed("1"), theirs, "torchvision", 30)


@pytest.mark.filterwarnings("ignore")  # of the compiler, about itself and what it reads
@pytest.mark.parametrize("case", CASES, ids=lambda case: f"{case.paper}-{case.checkpoint}")
def test_eager_beside_compiled(benchmark, case):
    """An SR frame in steady state, in turns, once both have run and the compiler is done."""
    if not benchmark.enabled:
        pytest.skip("the networks' own tests run them")
    chosen, device = paper.load(case.paper), torch.device(DEVICE)
    shape = case.shape._replace(height=SIZE[0], width=SIZE[1])
    restorer = chosen.checkpoint(case.checkpoint).restorer.on("", None)
    clip = timing.draw(shape, 0)
    metered = {
        compiled: Metered(
            timing.random_network(chosen, case.checkpoint, Options(compiled=compiled), device),
            timing.clock(device),
        )
        for compiled in (False, True)
    }
    costs = {False: [], True: []}

    def one_pass(compiled):
        return timing.run_pass(restorer, metered[compiled], clip).steady

    def before():
        costs[True] += one_pass(True)

    for compiled in metered:
        one_pass(compiled)
    benchmark.pedantic(lambda: costs[False].extend(one_pass(False)), setup=before, rounds=PASSES)
    eager, compiled = (statistics.median(costs[key]) for key in (False, True))
    benchmark.extra_info.update(eager_ms=eager, compiled_ms=compiled)
    state(
        f"{case.paper} {case.checkpoint}, {shape.frames} frames of {SIZE[0]}x{SIZE[1]}: {eager:.1f}"
        f" ms an SR frame, compiled {compiled:.1f} ms: eager takes {eager / compiled:.2f} times as "
        "long"
    )


def test_ttvsr_on_a_sequence(benchmark):
    """100 frames of 180x320 at once, as a clip of REDS4, rounding to 8 bits included."""
    if not benchmark.enabled:
        pytest.skip("tests/test_ttvsr.py runs the network")
    chosen, device = paper.load("ttvsr"), torch.device(DEVICE)
    shape = Shape(*SIZE, 100)
    network = timing.random_network(chosen, "reds", Options(), device)
    restorer = chosen.checkpoint("reds").restorer.on("", None)
    metered, clip, seconds = Metered(network, timing.clock(device)), timing.draw(shape, 0), []

    def sequence():
        begin = time.perf_counter()
        timing.run_pass(restorer, metered, clip)
        seconds.append(time.perf_counter() - begin)

    benchmark.pedantic(sequence, rounds=2, warmup_rounds=1)
    state(
        f"TTVSR, {shape.frames} frames of {SIZE[0]}x{SIZE[1]}: "
        f"{statistics.median(seconds[1:]):.2f} s a sequence"
    )
