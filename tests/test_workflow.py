"""The workflow of the repository: every command in it exists, and those of the gate run."""

from __future__ import annotations

import os
import re
import shlex
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
import yaml

from bench.commands.arguments import parser

ROOT = Path(__file__).parent.parent
FILE = ROOT / ".github/workflows/ci.yml"
TEXT = FILE.read_text(encoding="utf-8")
WORKFLOW = yaml.safe_load(TEXT)
STEPS = [(name, step) for name, job in WORKFLOW["jobs"].items() for step in job["steps"]]
COMMANDS = [line for _, step in STEPS for line in step.get("run", "").splitlines()]
SESSIONS = re.findall(
    r"^@nox\.session\ndef (\w+)\(", (ROOT / "noxfile.py").read_text(encoding="utf-8"), re.MULTILINE
)


@pytest.mark.parametrize("command", COMMANDS)
def test_every_command_exists(command):
    program, *words = shlex.split(command)
    if program == "bench":
        parser().parse_args(words)
    elif program == "nox":
        assert words[0] == "-s"
        assert set(words[1:]) <= set(SESSIONS)
    else:
        assert [program, *words[:5]] == ["python", "-m", "pip", "install", "-c", "constraints.txt"]
        assert words[5] in {"nox", "."}


def test_it_lints_tests_and_keeps_the_gate():
    for wanted in ("nox -s lint", "nox -s tests", "bench report --check"):
        assert wanted in COMMANDS
    assert any(command.startswith("bench check ") for command in COMMANDS)
    assert {"push", "pull_request"} == set(WORKFLOW[True])  # YAML 1.1 reads `on` as true
    assert WORKFLOW["jobs"]["tests"]["strategy"]["matrix"]["python"] == ["3.11", "3.12"]


def test_nothing_is_left_to_chance():
    """Actions by commit, the least permissions, a time limit, no address of anything."""
    used = [step["uses"] for _, step in STEPS if "uses" in step]
    assert all(re.fullmatch(r"[\w-]+/[\w-]+@[0-9a-f]{40}", one) for one in used)
    assert WORKFLOW["permissions"] == {"contents": "read"}
    assert all("permissions" not in job for job in WORKFLOW["jobs"].values())
    assert all(job["timeout-minutes"] <= 60 for job in WORKFLOW["jobs"].values())
    assert "://" not in TEXT
    assert "secrets." not in TEXT


def test_what_steps_are_given_is_there():
    for _, step in STEPS:
        for file in step.get("with", {}).get("cache-dependency-path", "").split():
            assert (ROOT / file).is_file()
    checkouts = [step["with"] for name, step in STEPS if name == "gate" and "with" in step]
    assert checkouts[0]["fetch-depth"] >= 2  # or HEAD^1 would not be there


def test_the_gate_runs(tmp_path):
    """As on a runner: in a checkout of two commits, whose results are those of this one."""
    shutil.copytree(ROOT / "results", tmp_path / "results")
    environment = {key: value for key, value in os.environ.items() if not key.startswith("GIT_")}
    environment |= {
        "PATH": f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}",
        "GITHUB_STEP_SUMMARY": str(tmp_path / "summary of the job.md"),
    }
    lines = [
        "git init -q",
        "git config user.name a && git config user.email a@example.org",
        "git add results && git commit -qm before",
        "git commit -q --allow-empty -m after",
        *(command for command in COMMANDS if command.startswith("bench ")),
    ]
    done = subprocess.run(
        ["bash", "-euo", "pipefail", "-c", "\n".join(lines)],
        cwd=tmp_path,
        env=environment,
        capture_output=True,
        text=True,
        check=False,
    )
    assert (done.returncode, done.stderr) == (0, "")
    summary = (tmp_path / "summary of the job.md").read_text()
    assert summary.startswith("## Regression gate\n\nGate passed: ")
    assert "results/LEADERBOARD.md: fresh\n" in done.stdout
