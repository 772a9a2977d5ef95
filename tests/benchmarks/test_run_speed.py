"""What `bench run` takes beside what its parts take by themselves."""

from __future__ import annotations

import functools
import os
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest
from conftest import state
from runs import job

import reproductions
from bench import catalog, degrade, engine, frames, maker, metrics, paper, runtime, sample
from bench.maker import Maker, Settings
from bench.metrics import View
from bench.restore import SlidingWindow


@pytest.mark.data
def test_bicubic_on_vid4_beside_its_parts(benchmark, tmp_path):
    """The command on two threads, from nothing to its record, beside each part on one thread.

    The parts: each GT frame decoded, each LR frame decoded, LR checked against GT (which decodes
    and reduces GT once more), enlarged, scored under the protocols of its cells.
    """
    if not benchmark.enabled:
        pytest.skip("benchmarks are disabled")
    data = Path(os.environ["BENCH_TEST_DATA"])
    command = [sys.executable, "-m", "bench", "run", "bicubic", "--dataset", "vid4"]
    command += ["--degradation", "bi", "--data-root", str(data), "--workers", "2"]
    run = functools.partial(subprocess.run, check=True, stdout=subprocess.DEVNULL)
    rounds = iter(range(100))

    def whole():
        run([*command, "--results", str(tmp_path / str(next(rounds)))])

    spent = dict.fromkeys(("decode GT", "decode LR", "check LR", "enlarge", "score"), 0.0)

    def part(name, function, *words):
        begin = time.perf_counter()
        result = function(*words)
        spent[name] += time.perf_counter() - begin
        return result

    for clip in catalog.get("vid4").clips:
        gt_files = frames.frame_files(data / "vid4/GT" / clip)
        lr_files = frames.frame_files(data / "vid4/LR-BI" / clip)
        for gt_file, lr_file in zip(gt_files, lr_files, strict=True):
            gt, lr = (
                part("decode GT", frames.read, gt_file),
                part("decode LR", frames.read, lr_file),
            )
            part("check LR", lambda f=gt_file: degrade.degrade(frames.read(f), "bi"))
            sr = part("enlarge", degrade.upsample, lr)
            part("score", metrics.measure, sr, gt, [View("y", 8), View("y", 0)])
    benchmark.pedantic(whole, rounds=2)
    if benchmark.stats:
        wall, parts = benchmark.stats.stats.median, sum(spent.values())
        told = ", ".join(f"{name} {seconds:.1f} s" for name, seconds in spent.items())
        state(
            f"bench run bicubic --dataset vid4: {wall:.1f} s on two threads, its parts on one "
            f"{parts:.1f} s ({told}): {wall / parts:.2f} times"
        )


def test_a_network_waits_for_nothing(benchmark, tmp_path, monkeypatch):
    """TDAN with random weights on two clips: the wall time of a run over the network's own."""
    if not benchmark.enabled:
        pytest.skip("benchmarks are disabled")
    network = reproductions.network("tdan", "bix4")
    own = [0.0]

    def timed(method):
        @functools.wraps(method)
        def call(*words):
            begin = time.perf_counter()
            result = method(*words)
            own[0] += time.perf_counter() - begin
            return result

        return call

    for name in ("features", "reconstruct"):
        monkeypatch.setattr(network, name, timed(getattr(network, name)))
    placed, device = runtime.place(network, "cpu")
    made = Maker(network=placed, way=SlidingWindow("reflection"), device=device)
    monkeypatch.setattr(maker, "make", lambda *_: made)
    settings = Settings(tmp_path / "data")
    one = job(paper.load("tdan"), settings, checkpoint="bix4", dataset="sample", degradation="bi")
    one = one._replace(results=tmp_path)
    clips = [engine.Item(one, clip) for clip in ("pan", "zoom")]
    walls = []

    def run():
        own[0] = 0.0
        begin = time.perf_counter()
        outcomes = [outcome for _, outcome in engine.in_process(clips)]
        walls.append((time.perf_counter() - begin, own[0]))
        assert [outcome.error for outcome in outcomes] == [[], []]

    benchmark.pedantic(run, rounds=2)
    if benchmark.stats:
        wall, network_s = walls[-1]
        assert np.isfinite(wall)
        state(
            f"TDAN on {2 * sample.FRAMES} frames of the sample: {wall:.2f} s, the network alone "
            f"{network_s:.2f} s: {wall / network_s:.3f} times"
        )
