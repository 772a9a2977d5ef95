"""The command that keeps results from getting worse."""

from __future__ import annotations

import argparse
from collections.abc import Callable

from bench.commands.console import CHECK_FAILED, FINE

# Everything else is imported where it is used: `bench --help` must not wait for it.


def _check(options: argparse.Namespace) -> int:
    from bench import baseline, regression, storage

    after = baseline.read(options.results)
    before = baseline.find(options.results, options.against)
    found = regression.compare(before, after)
    text = regression.document(found, before, after)
    if options.summary:
        storage.append_text(options.summary, text)
        print(regression.summary(found, before, after))
    else:
        print(text, end="")
    return CHECK_FAILED if regression.failures(found) else FINE


COMMANDS: dict[str, Callable[[argparse.Namespace], int]] = {"check": _check}
