"""What the documents say is true: commands run, links lead somewhere, doctests pass."""

from __future__ import annotations

import ast
import doctest
import importlib
import os
import pkgutil
import re
import shlex
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
import torch

import bench as package
import reproductions
from bench import frames, sample
from bench.commands.arguments import parser

ROOT = Path(__file__).parent.parent
README = (ROOT / "README.md").read_text(encoding="utf-8")
BLOCKS = re.findall(r"```(\w+)\n(.*?)```", README, re.DOTALL)
SETUP = [body.strip() for kind, body in BLOCKS if kind == "sh" and "nox" in body]


@pytest.mark.parametrize(
    "name", [m.name for m in pkgutil.walk_packages(package.__path__, "bench.")]
)
def test_doctests(name):
    if name != "bench.__main__":
        assert doctest.testmod(importlib.import_module(name)).failed == 0


def test_the_two_commands_name_sessions_that_exist_and_ci_runs_the_second():
    assert len(SETUP) == 2
    assert SETUP[0].endswith("nox -s demo")
    assert SETUP[1].endswith("nox -s tests")
    text = (ROOT / "noxfile.py").read_text(encoding="utf-8")
    assert "\ndef demo(" in text
    assert "\ndef tests(" in text
    assert SETUP[1] in (ROOT / ".ci/run").read_text(encoding="utf-8")
    assert subprocess.run(["bash", "-n", ROOT / ".ci/run"], check=True).returncode == 0


def test_readme_commands_run(bench, tmp_path, monkeypatch):
    """Every `bench` command of the README, on the sample set in place of Vid4."""
    monkeypatch.chdir(tmp_path)
    for name in [name for name in os.environ if name.startswith("GIT_")]:
        monkeypatch.delenv(name)  # set by hooks of another repository
    for name in sample.names():
        for i, frame in enumerate(sample.clip(name)):
            for folder in ("MY-FRAMES", "GT", "VSR-DUF/results/52L/G"):
                frames.write(tmp_path / folder / name / f"{i}.png", frame)
    commands = [
        line.partition("#")[0].strip()
        for kind, body in BLOCKS
        if kind == "sh"
        for line in body.splitlines()
        if line.startswith("bench ")
    ]
    assert len(commands) == 25
    state = reproductions.network("psrt", "reds").state_dict()
    torch.save({"params": state}, "WEIGHTS.pth")
    torch.save(torch.nn.Linear(2, 2), "MODEL.pt")
    for command in commands:
        words = shlex.split(command)[1:]
        parser().parse_args(words)
        if words[:2] == ["report", "--check"]:
            bench("report")
        if words[0] == "check":
            commit_results(tmp_path, "THEIRS")
        if "DATA" in words and words[0] == "run":
            continue  # needs the real frames: test_cli runs these two on them
        if words[0] != "fetch":
            words = [word.replace("vid4", "sample").replace("city", "pan") for word in words]
        code, _, err = bench(*words)
        # MY-FRAMES are GT's: no finite PSNR fits them.
        assert (code, err) == (int(words[0] == "match"), ""), command


def commit_results(folder, copy):
    """Makes the folder a repository with its results in the last commit, and a copy of them."""
    for words in (
        "init -q",
        "add results",
        "-c user.name=a -c user.email=a@b -c commit.gpgsign=false commit -qm x --allow-empty",
    ):
        subprocess.run(["git", *words.split()], cwd=folder, check=True)
    shutil.copytree(folder / "results", folder / copy, dirs_exist_ok=True)


def test_readme_python_runs(noise):
    code = next(body for kind, body in BLOCKS if kind == "python")
    gt = noise(2, 40, 48)
    lines = code.replace('degrade(gt, "bi")', 'degrade(gt[0], "bi")')
    lr = torch.rand(1, 5, 3, 8, 12)
    exec(lines, {"sr": 255 - gt, "gt": gt, "lr": lr})  # noqa: S102


def test_links_lead_to_files():
    for target in re.findall(r"\]\((?!http)([^)#]+)\)", README):
        assert (ROOT / target).exists(), target


def test_readme_table_is_in_the_committed_one():
    table = (ROOT / "results/tables/duf.md").read_text(encoding="utf-8")
    rows = re.findall(r"^\| .* \| ([\d. /]+) \| ([\d. /]+) \| (\w+) \|$", README, re.MULTILINE)
    assert len(rows) == 3
    for published, measured, verdict in rows:
        line = rf"\| {published}(?: \[\d\])? +\| {measured} +\| [^|]+\| {verdict} +\|"
        assert re.search(line, table), published


def test_import_bench_is_light_and_reaches_every_module():
    code = (
        "import sys, bench\n"
        "assert not {'numpy', 'torch', 'msgspec'} & set(sys.modules)\n"
        "bench.metrics.psnr, bench.degrade.degrade, bench.cli.main\n"
        "try: bench.nothing\n"
        "except AttributeError: pass\n"
        "else: sys.exit(1)"
    )
    subprocess.run([sys.executable, "-c", code], check=True)


def _is_folder(node: ast.ImportFrom) -> bool:
    """Whether it imports from a folder of bench, and so modules."""
    parts = (node.module or "").split(".")
    return parts[0] == "bench" and ROOT.joinpath(*parts).is_dir()


def test_no_import_runs_upward():
    """The floors of the house; a module imports only from lower floors or its own."""
    floors = [
        {"errors", "grid", "bootstrap", "style"},
        {"storage", "charts", "sheet"},
        {"protocol", "metrics", "degrade", "frames", "addresses", "digests", "manifest", "flops"}
        | {"windows", "alignment", "flow"},
        {"catalog", "locate", "clips", "sample", "score", "restore", "meter", "factory"}
        | {"crops", "maps"}
        | {"fault", "drive", "part", "web", "transfer", "download"}
        | {"tensors", "inert", "torchfile", "convert", "archive", "unpack"},
        {"provenance", "tiles", "runtime", "cells", "match", "repair"},
        {"phrases"},
        {"diagnose", "temporal"},
        {"paper", "checkpoint", "record", "journal", "hardware", "pins", "inspection"},
        {"contract"},
        {"maker", "pivot", "pictures"},
        {"latency"},
        {"baseline", "timetables"},
        {"plan", "evaluate", "resume", "engine", "slurm", "tables", "doctor", "verify"}
        | {
            "laws",
            "generated",
            "timing",
            "growth",
            "forecast",
            "arrival",
            "wanted",
            "fetch",
            "cache",
        }
        | {"regression", "leaderboard", "gallery", "figures", "panel", "curves", "album", "page"},
        {"console"},
        {"options"},
        {"fetch_arguments"},
        {"arguments", "cli", "cli_run", "cli_reproduce", "cli_fetch", "cli_latency"}
        | {"cli_check", "cli_score", "cli_report"},
        {"__main__"},
    ]
    level = {name: i for i, floor in enumerate(floors) for name in floor}
    files = [file for file in (ROOT / "bench").rglob("*.py") if file.stem != "__init__"]
    modules = {file.stem: file.read_text() for file in files}
    assert len(modules) == len(files)  # a name stands for one module, in whatever folder
    assert set(modules) == set(level)
    for name, text in modules.items():
        imported = [n for n in ast.walk(ast.parse(text)) if isinstance(n, ast.ImportFrom)]
        assert not any((node.module or "").startswith("reproductions") for node in imported)
        assert not any(node.level for node in imported), f"{name} imports by dots"
        plain = [n for n in ast.walk(ast.parse(text)) if isinstance(n, ast.Import)]
        tops = {one.name.partition(".")[0] for node in plain for one in node.names}
        # Only from-imports are held to their floors below.
        assert not {"bench", "reproductions"} & tops, f"{name} imports whole packages"
        found = {(node.module or "").rpartition(".")[2] for node in imported}
        found |= {one.name for node in imported if _is_folder(node) for one in node.names}
        for other in found & set(level):
            assert level[other] <= level[name], f"{name} imports {other}"
            assert not (level[other] == level[name] <= 2), f"{name} imports {other}"
