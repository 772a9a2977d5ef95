"""CONTRIBUTING.md is true: its example runs as it stands there, what it names exists."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path

import msgspec
import pytest
import yaml

from bench import catalog, paper, protocol, record
from bench.commands.arguments import parser

ROOT = Path(__file__).parent.parent
TEXT = (ROOT / "CONTRIBUTING.md").read_text(encoding="utf-8")
EXAMPLE, REST = TEXT.split("\n## A checkpoint\n")
BLOCK = re.compile(r"^```(\w+)\n(.*?)^```$", re.MULTILINE | re.DOTALL)


def snippet(section: str, kind: str) -> str:
    """The first block of that kind in a section."""
    (after,) = re.findall(rf"^## {section}\n(.*?)(?=^## |\Z)", TEXT, re.MULTILINE | re.DOTALL)
    return next(body for found, body in BLOCK.findall(after) if found == kind)


@pytest.fixture
def shell(tmp_path):
    """Runs lines of the example in its folder, as in an environment that has this project.

    `pip` installs beside that environment, without looking anything up.
    """
    folder, site = tmp_path / "vsr-tiny", tmp_path / "site"
    folder.mkdir()
    offline = "--no-index --no-deps --no-build-isolation --disable-pip-version-check -q"
    pip = f"python -m pip install {offline} --target {site} ."
    environment = {
        **os.environ,
        "PATH": f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}",
        "PYTHONPATH": str(site),
    }

    def run(lines: str) -> str:
        done = subprocess.run(
            ["bash", "-euo", "pipefail", "-c", lines.replace("pip install -e .", pip)],
            cwd=folder,
            env=environment,
            capture_output=True,
            text=True,
            check=False,
        )
        assert (done.returncode, done.stderr) == (0, ""), done.stdout
        return done.stdout

    run.folder = folder
    return run


def shows(line: str, wanted: str) -> bool:
    """Whether words are the same, and what was measured to 0.002: levels may round elsewhere."""
    ours, theirs = line.split(), wanted.split()
    return len(ours) == len(theirs) and all(map(same, ours, theirs))


def same(one: str, two: str) -> bool:
    measured = re.compile(r"\d+\.\d{4}")
    if measured.fullmatch(one) and measured.fullmatch(two):
        return float(one) == pytest.approx(float(two), abs=0.002)
    return one == two


def test_the_example_runs_as_it_stands(shell):
    """Files are written and commands run in the order of the page; outputs hold what it shows."""
    files, commands, said = 0, 0, ""
    for kind, body in BLOCK.findall(EXAMPLE):
        name = re.match(r"# ([\w./]+\.\w+)\n", body)
        if kind == "sh":
            said, commands = shell(body), commands + 1
        elif kind == "text":
            for wanted in body.splitlines():
                assert any(shows(line, wanted) for line in said.splitlines()), said
        else:
            file = shell.folder / name[1]
            file.parent.mkdir(exist_ok=True)
            file.write_text(body)
            files += 1
    assert (files, commands) == (6, 3)
    (made,) = record.read_all(shell.folder / "results")
    assert made.complete("y-crop0")
    assert next(iter(made.provenance.values())).checkpoint_sha256
    table = (shell.folder / "results/tables/tiny.md").read_text()
    assert "2 cells: 2 reproduced" in table


def test_the_checkpoint_of_the_example_fits_its_network():
    described = yaml.safe_load(snippet("A checkpoint", "yaml"))["small"]
    ours = msgspec.convert(described, paper.Checkpoint)
    theirs = paper.load("tdan").checkpoint("bix4")
    for field in ("network", "arguments", "parameters", "restorer"):
        assert getattr(ours, field) == getattr(theirs, field)


def test_the_data_set_is_one():
    described = yaml.safe_load(snippet("A data set", "yaml"))["three"]
    dataset = msgspec.convert(described, catalog.Dataset)
    assert dataset.count == 3
    assert dataset.size("rain") == catalog.ClipSize(40, 720, 1280)


def test_the_protocol_is_one(monkeypatch):
    monkeypatch.setattr(protocol, "PROTOCOLS", dict(protocol.PROTOCOLS))
    exec(snippet("A protocol", "python"), vars(protocol).copy())  # noqa: S102
    assert protocol.PROTOCOLS["rgb-crop4"] == protocol.parse("channel=rgb,border=4")
    (command,) = re.findall(r"`bench (score .*?)`", TEXT)
    assert protocol.parse(parser().parse_args(command.split()).protocol[0]).border == 4


def test_what_the_page_names_exists():
    for target in re.findall(r"\]\((?!http)([^)#]+)\)", TEXT):
        assert (ROOT / target).exists(), target
    sessions = (ROOT / "noxfile.py").read_text(encoding="utf-8")
    for session in re.findall(r"nox -s (\w+)(?!-|\w)", TEXT):
        assert f"\ndef {session}(" in sessions, session
    for path in re.findall(r"nox -s tests -- (\S+)", TEXT):
        assert (ROOT / path).is_file()
    for module in re.findall(r"`(\w+)`", REST.rpartition("| floor |")[2]):
        found = [*(ROOT / "bench").rglob(f"{module}.py"), *(ROOT / "bench").rglob(module)]
        assert module == "bench" or found, module
    conftest = (ROOT / "tests/conftest.py").read_text(encoding="utf-8")
    for variable in re.findall(r"BENCH_TEST_\w+", TEXT):
        assert variable in conftest
    assert "def test_no_import_runs_upward" in (ROOT / "tests/test_documents.py").read_text()
