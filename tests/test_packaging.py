"""A wheel, installed into an environment of its own, works from any folder."""

from __future__ import annotations

import os
import subprocess
import sys
import sysconfig
import venv
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent


def call(*command: object, cwd: Path, **env: str) -> str:
    kept = {name: os.environ[name] for name in ("PATH", "HOME") if name in os.environ}
    done = subprocess.run(
        [str(word) for word in command],
        cwd=cwd,
        env=kept | env,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    return done.stdout


@pytest.fixture(scope="module")
def installed(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The environment's folder of programs; dependencies come from the tests' own environment."""
    folder = tmp_path_factory.mktemp("wheel")
    call(
        sys.executable,
        "-m",
        "pip",
        "wheel",
        "-q",
        "--no-deps",
        "--no-build-isolation",
        "-w",
        folder,
        ROOT,
        cwd=folder,
    )
    wheel = next(folder.glob("*.whl"))
    venv.create(folder / "venv", with_pip=False, symlinks=True)
    programs = folder / "venv" / ("Scripts" if os.name == "nt" else "bin")
    site = call(
        programs / "python",
        "-c",
        "import sysconfig; print(sysconfig.get_path('purelib'))",
        cwd=folder,
    ).strip()
    call(
        sys.executable,
        "-m",
        "pip",
        "--python",
        programs / "python",
        "install",
        "-q",
        "--no-deps",
        "--no-index",
        wheel,
        cwd=folder,
    )
    (Path(site) / "dependencies.pth").write_text(sysconfig.get_path("purelib") + "\n")
    return programs


def test_the_wheel_holds_code_and_data(installed):
    site = call(
        installed / "python", "-c", "import bench; print(*bench.__path__)", cwd=installed
    ).strip()
    assert Path(site).is_relative_to(installed.parent)
    assert (Path(site) / "datasets.yaml").read_bytes() == (ROOT / "datasets.yaml").read_bytes()
    patterns = (
        "reproductions/*/paper.yaml",
        "reproductions/*/*.csv",
        "bench/fetching/manifests/*.csv",
    )
    patterns += ("bench/site/assets/*",)
    for file in [file for pattern in patterns for file in ROOT.glob(pattern)]:
        copy = Path(site).parent / file.relative_to(ROOT)
        assert copy.read_bytes() == file.read_bytes()


def test_the_command_runs_outside_the_checkout(installed, tmp_path):
    out = call(installed / "bench", "list", cwd=tmp_path)
    assert "bicubic" in out
    assert "duf" in out
    words = ("run", "bicubic", "--dataset", "sample")
    out = call(installed / "bench", *words, cwd=tmp_path)
    assert "28.2037" in out
    assert (tmp_path / "results/records/bicubic/bicubic/sample-bi.json").exists()
    out = call(installed / "python", "-m", "bench", *words, "--results", "other", cwd=tmp_path)
    assert (tmp_path / "other/records/bicubic/bicubic/sample-bi.json").exists()
    code = "import reproductions as r; print(r.names(), r.load('duf').title)"
    assert "Dynamic Upsampling" in call(installed / "python", "-c", code, cwd=tmp_path)
