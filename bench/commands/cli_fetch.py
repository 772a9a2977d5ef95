"""The commands that bring files here, look at them and remove them."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING

from bench.commands import console
from bench.commands.console import BAD_INPUT, FINE
from bench.errors import BenchError

# Everything else is imported where it is used: `bench --help` must not wait for it.
if TYPE_CHECKING:
    from bench.fetch import Outcome
    from bench.fetching.wanted import Item


def fetch(options: argparse.Namespace) -> int:
    """Lists and gets what the names need; the exit code."""
    from bench import catalog
    from bench.fetching import wanted

    root = catalog.data_root(options.data_root)
    selection = wanted.Selection(options.checkpoint, not options.no_data, options.large)
    items = wanted.wanted(options.names, root, selection)
    if not items:
        print(f"nothing to fetch: {', '.join(options.names)} needs no files")
        return FINE
    headers = ("name", "what", "size", "licence", "state")
    print(console.table([_row(item) for item in items], headers), end="\n\n")
    missing = [part for item in items for part in item.missing]
    unknown = sum(part.expected.size is None for part in missing)
    known = sum(part.expected.size or 0 for part in missing)
    print(
        f"to fetch: {len(missing)} file{'s' * (len(missing) != 1)}, {_size(known)}"
        + (f" and {unknown} of unknown size" if unknown else "")
    )
    if free := dict.fromkeys(item.name for item in items if item.missing and item.unlicensed):
        print(f"no licence file, so no leave to pass on: {', '.join(free)}")
    print(f"checkpoints into {catalog.cache_folder()}, data sets into {root}")
    if options.dry_run:
        for problem in filter(None, (item.problem for item in items)):
            print(f"- {problem}")
        return FINE
    return _report(_fetched(items, options), options)


def _fetched(items: Sequence[Item], options: argparse.Namespace) -> list[Outcome]:
    from tqdm import tqdm

    from bench import catalog
    from bench.fetch import fetch

    known = sum(part.expected.size or 0 for item in items for part in item.missing)
    with tqdm(
        desc="fetching",
        total=known,
        unit="B",
        unit_scale=True,
        file=sys.stderr,
        disable=None,
        leave=False,
    ) as bar:

        def on_bytes(came: int, grown: int) -> None:
            bar.total = (bar.total or 0) + grown
            bar.update(came)

        root = catalog.data_root(options.data_root)
        return fetch(items, root, progress=on_bytes, offline=options.offline)


def _report(outcomes: Sequence[Outcome], options: argparse.Namespace) -> int:
    """Prints what came and what did not; the exit code."""
    failed = False
    for item, notes, problem in outcomes:
        label = f"{item.name}, {item.what}"
        if problem is None:
            print(f"{'here' if item.state == 'here' else 'came'}: {label}: {item.folder}")
        elif item.optional:
            print(f"left out: {problem}")
        else:
            failed = True
            print(f"failed: {label}: {problem}")
        for note in notes:
            print(f"  {note}")
    if failed and not options.offline:
        print("what came stays: run the same command again for the rest, or bench add FILE for a")
        print("weight file that came in another way")
    return BAD_INPUT if failed else FINE


def _row(item: Item) -> tuple[str, ...]:
    state: str = item.state
    if item.problem and not item.optional:
        state = "cannot be fetched"
    elif item.optional:
        state = "left out: needs --large"
    elif item.state == "here" and item.kind == "files" and not item.parts:
        state = "here, not the published files"
    size = "unknown" if item.bytes is None else _size(item.bytes)
    licence = item.licence or ("no licence file" if item.unlicensed else "none stated")
    return item.name, item.what, size, licence, state


def _size(count: int) -> str:
    """The number of bytes as people write it.

    >>> _size(999), _size(145000), _size(15 * 10**9)
    ('999 B', '145 kB', '15 GB')
    """
    value = float(count)
    for unit in ("B", "kB", "MB", "GB"):
        if value < 1000 or unit == "GB":
            break
        value /= 1000
    return f"{value:.3g} {unit}" if value < 1000 else f"{value:.0f} {unit}"


def _add(options: argparse.Namespace) -> int:
    from bench.fetching import arrival

    for settled in arrival.add(options.file, options.name):
        print(f"{settled.name}: {settled.path}")
        for note in settled.notes:
            print(f"  {note}")
    return FINE


def _inspect(options: argparse.Namespace) -> int:
    from bench.weights import inspection

    seen = inspection.inspect(options.file)
    kind = "a whole pickled network; bench convert makes a state dict of it"
    lines = [
        ("file", f"{seen.path}, {_size(seen.digests.size)}"),
        ("SHA-256", seen.digests.sha256),
        ("git blob", seen.digests.git_blob),
        ("kind", kind if seen.whole_module else "tensors in plain containers"),
        ("wrapper", seen.wrapper or "none"),
        ("prefix", seen.prefix or "none"),
        ("tensors", f"{seen.tensors}, {seen.values:,} values, {', '.join(seen.dtypes)}"),
        ("published", ", ".join(seen.published) or "no known checkpoint has these digests"),
    ]
    exact = [fit for fit in seen.fits if not fit.faults]
    for fit in exact:
        parameters = f"{fit.parameters:,} parameters" if fit.parameters else "every tensor"
        lines.append(("fits", f"{fit.name}: {fit.title}, {parameters}"))
    if not exact and seen.fits:
        nearest = seen.fits[0]
        told = "; ".join(nearest.faults[:4]) + ("; ..." if len(nearest.faults) > 4 else "")
        lines.append(("nearest", f"{nearest.name}, but {len(nearest.faults)} do not fit: {told}"))
    for label, text in lines:
        print(f"{label:<10}{text}")
    return FINE


def _convert(options: argparse.Namespace) -> int:
    from bench.weights import convert

    made = convert.convert(options.file, options.output)
    print(f"{options.file}: SHA-256 {made.source_sha256}, git blob {made.source_git_blob}")
    print(f"{made.path}: SHA-256 {made.sha256}")
    return FINE


def _cache(options: argparse.Namespace) -> int:
    from bench import catalog
    from bench.fetching import cache

    if options.clear is None:
        if options.yes:
            raise BenchError("--yes belongs to --clear", todo="add --clear, or leave --yes out")
        rows = [
            (entry.name, entry.kind, _size(entry.bytes), ", ".join(entry.used_by) or "-")
            for entry in cache.entries()
        ]
        print(console.table(rows, ("entry", "kind", "size", "used by")), end="\n\n")
        total = sum(entry.bytes for entry in cache.entries())
        print(f"{_size(total)} in {catalog.cache_folder()}")
        return FINE
    if not options.clear and not options.yes:
        raise BenchError(
            "--clear without names removes everything",
            expected="names, or --yes",
            todo="see bench cache for what is there",
        )
    gone = cache.clear(options.clear)
    for entry in gone:
        print(f"removed: {entry.name}, {_size(entry.bytes)}")
    print(f"{_size(sum(entry.bytes for entry in gone))} freed in {catalog.cache_folder()}")
    return FINE


COMMANDS: dict[str, Callable[[argparse.Namespace], int]] = {
    "fetch": fetch,
    "add": _add,
    "inspect": _inspect,
    "convert": _convert,
    "cache": _cache,
}
