"""What it saves on a CPU to keep freed memory (`bench.runtime.keep_memory`)."""

import ctypes

import pytest
import torch

import reproductions
from bench import runtime

# What glibc begins with: maps of their own for large pieces, the heap's end given back.
M_TRIM_THRESHOLD, M_MMAP_MAX = -1, -4
TRIM_THRESHOLD, MMAP_MAX = 128 * 1024, 65536


@pytest.mark.skipif(not hasattr(ctypes.CDLL(None), "mallopt"), reason="not glibc")
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
