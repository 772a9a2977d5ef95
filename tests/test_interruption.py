"""What a user has after the process was killed, again and again."""

from __future__ import annotations

import json
import os
import random
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

HERE = Path(__file__).parent
ENTRY = "[bench.papers]\ntoy = toypaper\n"
PAPER = """\
schema: 1
title: Ten ways of one method
scale: 4
sources: {}
checkpoints:
""" + "".join(f'  way{i}: {{title: bicubic, method: "toypaper:good"}}\n' for i in range(10))


@pytest.fixture
def installed(tmp_path) -> dict[str, str]:
    """The environment of a machine where a paper of ten checkpoints is installed."""
    folder = tmp_path / "installed"
    shutil.copytree(HERE / "toypaper", folder / "toypaper")
    (folder / "toypaper/paper.yaml").write_text(PAPER + "cells: []\n")
    distribution = folder / "toypaper-1.dist-info"
    distribution.mkdir()
    (distribution / "METADATA").write_text("Metadata-Version: 2.1\nName: toypaper\nVersion: 1\n")
    (distribution / "entry_points.txt").write_text(ENTRY)
    return {**os.environ, "PYTHONPATH": str(folder)}


def run(environment, results, *words) -> subprocess.Popen:
    command = [sys.executable, "-m", "bench", "run", "toy", "--dataset", "sample", *words]
    return subprocess.Popen(
        [*command, "--results", results],
        env=environment,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    )


def records(results: Path) -> dict[str, str]:
    """What the records say, but for provenance."""
    found = {}
    for file in sorted((results / "records").rglob("*.json")):
        content = json.loads(file.read_text())
        content.pop("provenance")
        for clip in content["clips"]:
            clip.pop("provenance")
        found[str(file.relative_to(results))] = json.dumps(content)
    return found


def test_twenty_kills_leave_the_records_of_an_undisturbed_run(tmp_path, installed):
    """Forty items: ten checkpoints on four clips."""
    undisturbed, disturbed = tmp_path / "undisturbed", tmp_path / "disturbed"
    begin = time.monotonic()
    process = run(installed, undisturbed)
    out, _ = process.communicate(timeout=300)
    whole_s = time.monotonic() - begin
    assert process.returncode == 0, out
    expected = records(undisturbed)
    assert len(expected) == 10

    chance, kills, growth = random.Random(20), 0, set()  # noqa: S311 - no secret
    while kills < 20:
        process = run(installed, disturbed)
        try:
            process.communicate(timeout=whole_s * chance.uniform(0.05, 0.8))
        except subprocess.TimeoutExpired:
            process.send_signal(signal.SIGKILL)
            process.communicate()
            kills += 1
        else:
            assert process.returncode == 0
            shutil.rmtree(disturbed)  # it was done before the clock ran out: once more from nothing
        found = records(disturbed)
        growth.add(sum(len(json.loads(text)["clips"]) for text in found.values()))
    process = run(installed, disturbed)
    out, _ = process.communicate(timeout=300)
    assert process.returncode == 0, out
    assert records(disturbed) == expected
    assert len(growth - {0, 40}) > 1  # some kills came in the middle


def test_ctrl_c_keeps_what_was_measured(tmp_path, installed):
    results = tmp_path / "results"
    process = run(installed, results)
    while not list(results.rglob("*.json")) and process.poll() is None:
        pass
    process.send_signal(signal.SIGINT)
    out, _ = process.communicate(timeout=60)
    assert process.returncode == 130, out
    assert "interrupted; what was written is whole" in out
    found = records(results)
    assert found
    assert not [name for name in found if "/." in name]  # all of it is gathered
