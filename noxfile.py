"""Sessions: `nox -s demo`, `nox -s reproduce-<paper>`, `tests`, `lint`, `minimums`, `benchmarks`.

Plain `nox` runs lint and tests. Whatever a session needs it installs itself, with the versions of
constraints.txt. Words after `--` go to the command of the session.
"""

from __future__ import annotations

from pathlib import Path

import nox

nox.options.sessions = ["lint", "tests"]
nox.options.default_venv_backend = "virtualenv"

ROOT = Path(__file__).parent
PROJECT = nox.project.load_toml(ROOT / "pyproject.toml")
PINNED = ("-c", str(ROOT / "constraints.txt"))
ONE_THREAD = {"OMP_NUM_THREADS": "1", "OPENBLAS_NUM_THREADS": "1", "MKL_NUM_THREADS": "1"}


def _group(name: str) -> list[str]:
    return nox.project.dependency_groups(PROJECT, name)


@nox.session
def demo(session: nox.Session) -> None:
    """Run the main job on the built-in sample clips: no data, no weights."""
    session.install(*PINNED, ".")
    results = Path(session.create_tmp()) / "results"
    run = ("bench", "run", "bicubic", "--dataset", "sample", "--results", str(results))
    for degradation in ("bi", "bd", "bd-duf"):
        session.run(*run, "--degradation", degradation, *session.posargs)


def _add_reproduction(paper: str) -> None:
    @nox.session(name=f"reproduce-{paper}")
    def reproduce(session: nox.Session) -> None:
        # Editable, so that the records carry the commit of this checkout.
        session.install(*PINNED, "-e", ".")
        session.run("bench", "reproduce", paper, *session.posargs)

    reproduce.__doc__ = f"Fetch what {paper} needs, run every cell that can be run, write results/."


for _paper in sorted(file.parent.name for file in ROOT.glob("reproductions/*/paper.yaml")):
    _add_reproduction(_paper)


@nox.session
def tests(session: nox.Session) -> None:
    """Run the tests; those that need real frames run if BENCH_TEST_DATA names their folder."""
    session.install(*PINNED, ".", *_group("test"))
    session.run("pytest", *session.posargs)


@nox.session
def lint(session: nox.Session) -> None:
    """Check style, formatting and types."""
    session.install(*PINNED, ".", *_group("lint"))
    session.run("ruff", "check", ".")
    session.run("ruff", "format", "--check", ".")
    session.run("mypy")


@nox.session
def minimums(session: nox.Session) -> None:
    """Run the tests with the lowest versions that pyproject.toml allows."""
    lowest = [spec.replace(">=", "==") for spec in PROJECT["project"]["dependencies"]]
    session.install(*lowest, *_group("test"))
    session.install("--no-deps", ".")
    session.run("pytest", "-W", "default", *session.posargs)


@nox.session
def benchmarks(session: nox.Session) -> None:
    """Print how fast things are, on one thread unless it says two; compare with a saved run.

    Times are compared with those of the run that was saved last on this machine, if there is one:
    `nox -s benchmarks -- --benchmark-save=NAME` saves one, below .benchmarks.
    """
    session.install(*PINNED, ".", *_group("test"))
    runs = ROOT / ".benchmarks"
    saved = max(runs.glob("*/*.json"), key=lambda file: file.stat().st_mtime, default=None)
    latest = runs / "latest.json"
    runs.mkdir(exist_ok=True)
    session.run(
        "pytest",
        "tests/benchmarks",
        "--benchmark-enable",
        f"--benchmark-storage={runs.as_uri()}",
        "--benchmark-save-data",
        f"--benchmark-json={latest}",
        *session.posargs,
        env=ONE_THREAD,
    )
    if saved is None:
        session.log("No run is saved to compare with; save one with -- --benchmark-save=NAME")
    else:
        session.run("python", "tests/benchmarks/compare.py", str(saved), str(latest))
