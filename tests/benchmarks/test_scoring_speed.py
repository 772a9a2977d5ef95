from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from bench import frames, score
from bench.protocol import PROTOCOLS


@pytest.fixture
def pairs():
    folder = Path(os.environ["BENCH_TEST_DATA"]) / "vid4"
    return score.pair(folder / "DUF-52L", score.gt_clips(folder / "GT"))


@pytest.mark.data
@pytest.mark.parametrize("names", [("fixed", "y-crop0"), ("fixed", "rgb-crop0")])
def test_scoring_vid4_from_disk(pairs, names, ratio):
    """171 frame pairs under two protocols on two threads, beside decoding the 342 files alone."""
    protocols = {name: PROTOCOLS[name] for name in names}
    files = [file for sr, gt in pairs.values() for file in (*sr.files, *gt.files)]

    def scoring():
        for sr, gt in pairs.values():
            score.score_clip(sr, gt, protocols, workers=2, digests=False)

    def decoding():
        for _ in frames.in_order(frames.read, files, workers=2):
            pass

    ratio(f"scoring Vid4 under {' and '.join(names)}", scoring, decoding, "decoding", 3)


@pytest.mark.data
def test_decoding_a_frame(benchmark, pairs):
    file = pairs["calendar"][1].files[0]
    benchmark(frames.read, file)


@pytest.mark.parametrize("words", [("--help",), ("list",), ("plan", "bicubic")])
def test_starting_a_light_command(benchmark, words):
    command = [sys.executable, "-m", "bench", *words]
    benchmark.pedantic(
        subprocess.run, (command,), {"check": True, "stdout": subprocess.DEVNULL}, rounds=5
    )
