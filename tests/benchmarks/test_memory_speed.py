"""What it saves on a CPU to keep freed memory (`bench.runtime.keep_memory`), and what it costs."""

from __future__ import annotations

import ctypes
import subprocess
import sys

import pytest
import torch
from conftest import state

import reproductions
from bench import runtime

# What glibc begins with: maps of their own for large pieces, the heap's end given back.
M_TRIM_THRESHOLD, M_MMAP_MAX = -1, -4
TRIM_THRESHOLD, MMAP_MAX = 128 * 1024, 65536

PEAK = """
import resource, sys, torch, reproductions
from bench import runtime
torch.set_num_threads(2)
if sys.argv[1] == "kept":
    runtime.keep_memory()
network = reproductions.network(*sys.argv[2:4])
with torch.inference_mode():
    for _ in range(2):  # the second finds what the first has left between its pieces
        network(torch.rand(1, int(sys.argv[4]), 3, 180, 320))
print(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss // 1024)
"""

pytestmark = pytest.mark.skipif(
    not hasattr(ctypes.CDLL(None), "mallopt"), reason="the C library is not glibc"
)


def test_edvr_m_at_144x180(benchmark, ratio):
    if not benchmark.enabled:
        pytest.skip("tests/test_runtime.py shows that memory is kept")
    torch.set_num_threads(2)
    network = reproductions.network("edvr", "m-reds")
    frames = torch.rand(1, 5, 3, 144, 180)
    mallopt = ctypes.CDLL(None).mallopt

    def kept():
        runtime.keep_memory()
        network(frames)

    def handed_back():
        mallopt(M_MMAP_MAX, MMAP_MAX)
        mallopt(M_TRIM_THRESHOLD, TRIM_THRESHOLD)
        network(frames)

    with torch.inference_mode():
        ratio("EDVR-M, a window of 144x180", kept, handed_back, "memory handed back", 4)


@pytest.mark.parametrize(
    ("paper", "checkpoint", "frames"), [("edvr", "m-reds", 5), ("ttvsr", "reds", 3)]
)
def test_peak_memory_at_180x320(benchmark, paper, checkpoint, frames):
    if not benchmark.enabled:
        pytest.skip("a price, which nothing bounds")

    def peak(way: str) -> int:
        words = [sys.executable, "-c", PEAK, way, paper, checkpoint, str(frames)]
        return int(subprocess.run(words, capture_output=True, text=True, check=True).stdout)

    kept = benchmark.pedantic(peak, ("kept",), rounds=1)
    state(
        f"{paper} {checkpoint}, {frames} frames of 180x320, twice: {kept} MiB at most where memory "
        f"is kept, {peak('handed back')} MiB where it is handed back"
    )
