"""The commands that write what readers look at, and show it to them."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING

from bench.commands import console
from bench.commands.console import CHECK_FAILED, FINE
from bench.errors import BenchError

if TYPE_CHECKING:
    from bench.paper import Paper

# Everything else is imported where it is used: `bench --help` must not wait for it.


def _report(options: argparse.Namespace) -> int:
    from bench import generated, paper

    _refuse_contradictions(options)
    papers = [paper.load(name) for name in options.papers or paper.names()]
    if options.stdout:
        return _print(papers, options)
    if not options.results.is_dir():  # a mistyped name must not become a folder of empty tables
        raise BenchError(
            f"no folder {options.results}",
            expected="the records that bench run writes, in records below it",
            todo="name another folder with --results, or measure something first",
        )
    if options.frames:
        _take_pictures(options)
    files: dict[Path, bytes] = {}
    if options.page:
        files = generated.the_page(options.results)
    elif not options.figures:
        for chosen in papers:
            files |= generated.of_paper(options.results, chosen)
        files |= {} if options.papers else generated.shared(options.results)
    stale = write(files, check=options.check)
    if not options.papers and not options.page:
        stale += draw(options.results, check=options.check)
    for file in stale:
        print(f"{file}: stale; run bench report", file=sys.stderr)
    return CHECK_FAILED if stale else FINE


def _refuse_contradictions(options: argparse.Namespace) -> None:
    if options.format != "markdown" and not options.stdout:
        raise BenchError(f"--format {options.format} needs --stdout", todo="add --stdout")
    one = options.page or options.figures
    said = {"--page": options.page, "--figures": options.figures, "--frames": options.frames}
    of_all = [name for name, given in said.items() if given]
    if of_all and options.papers:
        raise BenchError(
            f"{of_all[0]} goes without papers",
            expected="the page, figures and pictures, which are of all papers",
            found=" ".join(options.papers),
            todo=f"leave out the papers or {of_all[0]}",
        )
    silent = "--check" if options.check else "--stdout" if options.stdout else ""
    if silent and (options.frames or (one and options.stdout)):
        raise BenchError(
            f"{of_all[-1]} goes without {silent}",
            expected="one of them, as the other writes files",
            todo=f"leave out {silent} or {of_all[-1]}",
        )


def _print(papers: list[Paper], options: argparse.Namespace) -> int:
    from bench import latency, record, tables

    measured = latency.read_all(options.results)
    forms = {"markdown": tables.document, "latex": tables.latex, "csv": tables.csv}
    for chosen in papers:
        records = record.read_all(options.results, chosen.name)
        print(forms[options.format](chosen, records, measured), end="")
    return FINE


def _take_pictures(options: argparse.Namespace) -> None:
    from bench import catalog, pictures, record

    found = pictures.saved(options.frames, record.read_all(options.results))
    frames = sum(2 * len(one.numbers) for methods in found.values() for one in methods)
    with console.progress("pictures", frames) as bar:
        taken = pictures.take(
            found, catalog.data_root(options.data_root), options.results, bar.update
        )
    for one in taken:
        print(f"{pictures.folder(options.results, one)}: written")


def write(files: dict[Path, bytes], *, check: bool = False) -> list[Path]:
    """Writes what is not as it should be, says so, and returns what it would with `check`."""
    from bench import storage

    stale = []
    for file, content in files.items():
        if file.is_file() and file.read_bytes() == content:
            print(f"{file}: fresh")
        elif check:
            stale.append(file)
        else:
            storage.write_bytes(file, content)
            print(f"{file}: written")
    return stale


def draw(results: Path, *, check: bool = False) -> list[Path]:
    """Draws the figures that are not current and removes those without data, likewise."""
    from bench import generated
    from bench.drawing import figures

    wanted = generated.drawn(results)
    old = [file for file, one in wanted.items() if not figures.current(file, one)]
    gone = figures.orphans(results, wanted)
    print(f"{figures.folder(results)}: {len(wanted) - len(old)} figures fresh")
    if check:
        return old + gone
    with console.progress("drawing", len(old), unit="figure") as bar:
        for file in old:
            figures.write(file, wanted[file])
            bar.update()
    for file in gone:
        figures.discard(results, file)
        print(f"{file}: removed, for its data are gone")
    if old or gone:
        print(f"{figures.folder(results)}: {len(old)} drawn, {len(gone)} removed")
    return []


def _open(options: argparse.Namespace) -> int:
    import webbrowser

    from bench.site import page

    file = page.path(options.results)
    if not file.is_file():
        raise BenchError(
            f"no page in {options.results}", expected=str(file), todo="write it with bench report"
        )
    address = file.resolve().as_uri()
    print(address)
    if not options.print and not webbrowser.open(address):
        raise BenchError("no browser could be opened", todo="open that address in one by hand")
    return FINE


COMMANDS: dict[str, Callable[[argparse.Namespace], int]] = {"report": _report, "open": _open}
