"""Prints the ratios that the benchmarks state, after pytest-benchmark's own tables."""

from __future__ import annotations

import statistics
import time
from collections.abc import Callable

import pytest

_LINES: list[str] = []


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    marked = [item for item in items if item.get_closest_marker("gpu")]
    if marked:
        import torch

        if not torch.cuda.is_available():
            for item in marked:
                item.add_marker(pytest.mark.skip(reason="needs a CUDA device; torch sees none"))


@pytest.fixture
def ratio(benchmark) -> Callable[..., None]:
    """Times ours by the benchmark and another function before each of its rounds.

    In turns, so that both meet the same machine. `ratio("PSNR and SSIM", ours, other,
    "scikit-image", 15)` states how many times as long the other takes.
    """

    def measure(
        what: str, ours: Callable[[], object], other: Callable[[], object], name: str, rounds: int
    ) -> None:
        theirs = []

        def before() -> None:
            begin = time.perf_counter()
            other()
            theirs.append(time.perf_counter() - begin)

        benchmark.pedantic(ours, setup=before, rounds=rounds, warmup_rounds=1)
        if benchmark.stats is None:  # benchmarks are disabled: this run only checks that they run
            return
        mine, median = benchmark.stats.stats.median, statistics.median(theirs[1:])
        benchmark.extra_info.update(other_s=median, ratio=median / mine)
        state(
            f"{what}: {1e3 * mine:.1f} ms, {name} {1e3 * median:.1f} ms: "
            f"{name} takes {median / mine:.2f} times as long"
        )

    return measure


def state(line: str) -> None:
    """Adds a line to the end of the report."""
    _LINES.append(line)


@pytest.hookimpl(trylast=True)
def pytest_terminal_summary(terminalreporter) -> None:
    if _LINES:
        terminalreporter.section("ratios within this run (medians)")
        for line in _LINES:
            terminalreporter.write_line(line)
