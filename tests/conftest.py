from __future__ import annotations

import errno
import fcntl
import os
import signal
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

import browser
import numpy as np
import pageresults
import pytest
import slurm_cluster
from numpy.typing import NDArray
from web_server import Server

from bench import catalog, cli, frames, paper

if TYPE_CHECKING:
    from playwright.sync_api import Browser, BrowserContext

Frame = NDArray[np.uint8]
ROOT = Path(__file__).parent.parent


def pytest_configure() -> None:
    # A shell that was told to run the tests in the background has them, and all that they start,
    # ignore Ctrl-C, of which some speak.
    if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
        signal.signal(signal.SIGINT, signal.default_int_handler)


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    needs = {
        "data": ("BENCH_TEST_DATA", "names no folder of real frames"),
        "long": ("BENCH_TEST_LONG", "is not set"),
    }
    for item in items:
        for marker, (variable, reason) in needs.items():
            if item.get_closest_marker(marker) and not os.environ.get(variable):
                item.add_marker(pytest.mark.skip(reason=f"{variable} {reason}"))
        for marker, module in (("slurm", slurm_cluster), ("browser", browser)):
            if item.get_closest_marker(marker) and (reason := module.hindrance()):
                item.add_marker(pytest.mark.skip(reason=reason))


@pytest.fixture
def no_flock(monkeypatch: pytest.MonkeyPatch) -> None:
    """A file system that cannot lock files, as some of clusters cannot."""

    def refuse(*_: object) -> None:
        raise OSError(errno.ENOSYS, os.strerror(errno.ENOSYS))

    monkeypatch.setattr(fcntl, "flock", refuse)


@pytest.fixture
def data() -> Path:
    """The folder of real frames."""
    return Path(os.environ["BENCH_TEST_DATA"])


@pytest.fixture
def facts(data: Path) -> Path:
    """The folder of collected facts beside the real frames, where there is one."""
    folder = data.parent / "facts"
    if not folder.is_dir():
        pytest.skip("no collected facts lie beside the real frames")
    return folder


@pytest.fixture(scope="session")
def slurm_daemons() -> Iterator[slurm_cluster.Cluster]:
    """One Slurm cluster of four CPUs for all tests that are marked `slurm`."""
    if reason := slurm_cluster.install():
        pytest.skip(reason)
    with slurm_cluster.cluster(cpus=4) as cluster:
        yield cluster


@pytest.fixture
def slurm(
    slurm_daemons: slurm_cluster.Cluster, monkeypatch: pytest.MonkeyPatch
) -> Iterator[slurm_cluster.Cluster]:
    """The cluster, without jobs; this process and its children submit to it."""
    for name in [name for name in os.environ if name.startswith(slurm_cluster.FOREIGN)]:
        monkeypatch.delenv(name)
    for name, value in slurm_daemons.environment.items():
        monkeypatch.setenv(name, value)
    yield slurm_daemons
    slurm_daemons.cancel_all()


@pytest.fixture(autouse=True)
def _alone(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Iterator[None]:
    """No test sees the user's data or cache, or writes into the checkout."""
    monkeypatch.delenv("BENCH_DATA", raising=False)
    monkeypatch.setenv("BENCH_CACHE", str(tmp_path / "cache"))
    folder = tmp_path / "here"
    folder.mkdir()
    monkeypatch.chdir(folder)
    yield
    catalog.load.cache_clear()


@pytest.fixture
def rng() -> np.random.Generator:
    return np.random.default_rng(20261120)


@pytest.fixture
def noise(rng: np.random.Generator) -> Callable[..., NDArray[np.uint8]]:
    """Random uint8 frames of a shape."""

    def draw(*shape: int) -> NDArray[np.uint8]:
        return rng.integers(0, 256, (*shape, 3), dtype=np.uint8)

    return draw


@pytest.fixture
def put(noise: Callable[..., Frame]) -> Callable[..., list[Frame]]:
    """Writes random frames into a folder and returns them."""

    def write(folder: Path, count: int = 3, height: int = 16, width: int = 20) -> list[Frame]:
        written = [noise(height, width) for _ in range(count)]
        for index, frame in enumerate(written):
            frames.write(folder / f"{index:08d}.png", frame)
        return written

    return write


@pytest.fixture
def bench(
    capsys: pytest.CaptureFixture[str],
) -> Callable[..., tuple[int, str, str]]:
    """Runs a command in this process: exit code, output, errors."""

    def run(*words: object) -> tuple[int, str, str]:
        try:
            code = cli.main([str(word) for word in words])
        except SystemExit as stop:
            code = int(stop.code or 0)
        captured = capsys.readouterr()
        return code, captured.out, captured.err

    return run


@pytest.fixture
def server() -> Iterator[Server]:
    """A web server on loopback."""
    with Server() as running:
        yield running


@pytest.fixture
def toy(monkeypatch: pytest.MonkeyPatch) -> paper.Paper:
    """The paper of tests/toypaper, the only one that is installed."""
    monkeypatch.setattr(paper, "_entry_points", lambda: {"toy": "toypaper"})
    return paper.load("toy")


@pytest.fixture(scope="module")
def chromium() -> Iterator[Browser]:
    """A browser without a window; nothing of it may be left when the module has ended."""
    if reason := browser.install():
        pytest.skip(reason)
    before = sorted(browser.descendants())
    with browser.started() as running:
        yield running
    assert sorted(browser.descendants()) == before


@pytest.fixture
def visit(chromium: Browser) -> Iterator[Callable[..., browser.Visit]]:
    """Opens a page; in the end nothing may have gone wrong, and nothing been asked of any host."""
    contexts, visits = [], []

    def open_page(
        file: Path,
        *,
        width: int = browser.WIDE,
        context: BrowserContext | None = None,
        **options: Any,
    ) -> browser.Visit:
        if context is None:
            context = chromium.new_context(viewport={"width": width, "height": 900}, **options)
            contexts.append(context)
        context.set_default_timeout(10_000)
        seen = browser.Visit(context.new_page())
        visits.append(seen)
        seen.goto(file.as_uri())
        if seen.locator("#picture-controls").count():
            seen.locator(".profiles").wait_for()
        return seen

    yield open_page
    for context in contexts:
        context.close()
    for seen in visits:
        assert seen.problems == []
        assert seen.foreign == []


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The page of results that fill every part of it."""
    results = tmp_path_factory.mktemp("site") / "results"
    pageresults.write(results)
    return pageresults.written(results)
