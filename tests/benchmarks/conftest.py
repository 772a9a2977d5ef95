"""Prints the ratios that the benchmarks state, after pytest-benchmark's own tables."""

from __future__ import annotations

import time
from collections.abc import Callable

import pytest

_LINES: list[str] = []


@pytest.fixture
def ratio(benchmark) -> Callable[..., None]:
    """Times ours by the benchmark and another function beside it, in turns of the same run.

    `ratio("PSNR and SSIM", ours, other, "scikit-image")` states how many times faster ours is.
    """

    def measure(
        what: str, ours: Callable[[], object], other: Callable[[], object], name: str, rounds: int
    ) -> None:
        benchmark.pedantic(ours, rounds=rounds, warmup_rounds=1)
        theirs = []
        other()
        for _ in range(rounds):
            begin = time.perf_counter()
            other()
            theirs.append(time.perf_counter() - begin)
        if benchmark.stats is None:  # benchmarks are disabled: this run only checks that they run
            return
        mine = benchmark.stats.stats.median
        median = sorted(theirs)[rounds // 2]
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
