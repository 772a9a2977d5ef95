"""The words that the `bench` command takes."""

from __future__ import annotations

import argparse
import sys
import textwrap
from pathlib import Path

from bench.console import BAD_INPUT


def parser() -> argparse.ArgumentParser:
    """The parser; what it gives has the command's name in `command`."""
    whole = _Parser(
        prog="bench",
        description="Reproduces the published numbers of video super-resolution papers.",
        epilog="example: bench run bicubic --dataset sample",
    )
    commands = whole.add_subparsers(title="commands", metavar="COMMAND", required=True)

    def command(name: str, summary: str, example: str) -> _Parser:
        sub: _Parser = commands.add_parser(
            name,
            help=summary,
            description=summary[0].upper() + summary[1:] + ".",
            epilog=textwrap.dedent(example),
            formatter_class=argparse.RawDescriptionHelpFormatter,
        )
        sub.set_defaults(command=name)
        return sub

    sub = command(
        "list",
        "papers, checkpoints and data sets: what is here, what is missing",
        "example: bench list --data-root ~/data",
    )
    _data_option(sub)

    sub = command(
        "plan",
        "every run that a paper's cells need, and whether it can be run",
        "example: bench plan bicubic --data-root ~/data",
    )
    sub.add_argument("paper", metavar="PAPER")
    _paper_options(sub)

    sub = command(
        "run",
        "restore and score a paper's clips, write records, show the table",
        """\
                  examples:
                    bench run bicubic --dataset sample
                    bench run bicubic --dataset vid4 --degradation bi --data-root ~/data
                    bench run duf --frames ~/VSR-DUF/results/52L/G
                    bench run --method mymethod:make --dataset vid4""",
    )
    either = sub.add_mutually_exclusive_group(required=True)
    either.add_argument("paper", nargs="?", metavar="PAPER")
    either.add_argument(
        "--method",
        metavar="M",
        help="a method of your own in place of a paper: module:function, file.py:function or a "
        "name in the entry-point group bench.methods (see bench test-method)",
    )
    _paper_options(sub)
    sub.add_argument(
        "--clip", action="append", default=[], metavar="K", help="only this clip; may be repeated"
    )
    sub.add_argument(
        "--protocol",
        action="append",
        default=[],
        metavar="P",
        help="score under this protocol too; may be repeated",
    )
    sub.add_argument(
        "--frames",
        type=Path,
        metavar="DIR",
        help="frames that the authors released, one folder a clip",
    )
    sub.add_argument("--save-frames", type=Path, metavar="DIR", help="write the SR frames there")
    _runtime_options(sub)
    sub.add_argument(
        "--overwrite",
        choices=("only-missing", "always", "never"),
        default="only-missing",
        help="measure what is missing or has changed (default), everything, or only runs that "
        "have no record at all",
    )
    sub.add_argument("--strict", action="store_true", help="exit with 1 if a cell differs")
    _workers_option(sub)

    sub = command(
        "test-method",
        "check that a method of your own keeps the contract, law by law",
        """\
                  examples:
                    bench test-method mymethod:make
                    bench test-method path/to/file.py:make --device cuda""",
    )
    sub.add_argument("method", metavar="METHOD", help="as for bench run --method")
    sub.add_argument("--device", metavar="D", default="cpu", help="where it runs (default: cpu)")

    sub = command(
        "score",
        "score a folder of SR frames, or of clips, against GT",
        """\
                  examples:
                    bench score SR/calendar GT/calendar
                    bench score ~/SR ~/Vid4/GT --protocol fixed --protocol rgb-crop0
                    bench score ~/SR vid4 --protocol channel=y,border=4 --json scores.json""",
    )
    sub.add_argument("sr", type=Path, metavar="SR", help="folder of frames, or of clips of frames")
    sub.add_argument("gt", metavar="GT", help="the same for ground truth, or a data set's name")
    sub.add_argument(
        "--protocol",
        action="append",
        default=[],
        metavar="P",
        help="a protocol's name or its fields (default: fixed); may be repeated",
    )
    sub.add_argument(
        "--clip", action="append", default=[], metavar="K", help="only this clip; may be repeated"
    )
    sub.add_argument("--json", type=Path, metavar="FILE", help="write every frame's scores as JSON")
    sub.add_argument("--csv", type=Path, metavar="FILE", help="write every frame's scores as CSV")
    _data_option(sub)
    _workers_option(sub)

    sub = command(
        "report",
        "write the tables of the papers from their records",
        """\
                  examples:
                    bench report
                    bench report bicubic --format latex --stdout
                    bench report --check""",
    )
    sub.add_argument("papers", nargs="*", metavar="PAPER", help="default: every installed paper")
    _results_option(sub)
    either = sub.add_mutually_exclusive_group()
    either.add_argument(
        "--check", action="store_true", help="write nothing; exit with 1 if a table is stale"
    )
    either.add_argument("--stdout", action="store_true", help="print the tables instead")
    sub.add_argument(
        "--format",
        choices=("markdown", "latex", "csv"),
        default="markdown",
        help="of what --stdout prints",
    )

    sub = command(
        "doctor",
        "what this machine can and cannot run",
        "example: bench doctor --data-root ~/data",
    )
    _data_option(sub)
    _results_option(sub)
    return whole


class _Parser(argparse.ArgumentParser):
    """An ArgumentParser whose complaints are one line, like all others."""

    def error(self, message: str) -> None:  # type: ignore[override]
        print(f"{self.prog}: {message}; see {self.prog} --help", file=sys.stderr)
        sys.exit(BAD_INPUT)


def _data_option(sub: argparse.ArgumentParser) -> None:
    sub.add_argument(
        "--data-root",
        type=Path,
        metavar="DIR",
        help="where data sets lie (default: BENCH_DATA, else the cache folder)",
    )


def _results_option(sub: argparse.ArgumentParser) -> None:
    sub.add_argument(
        "--results",
        type=Path,
        default=Path("results"),
        metavar="DIR",
        help="folder of records and tables (default: ./results)",
    )


def _workers_option(sub: argparse.ArgumentParser) -> None:
    sub.add_argument(
        "--workers",
        type=_count,
        metavar="N",
        help="threads that decode and score (default: one a processor, at most 8)",
    )


def _runtime_options(sub: argparse.ArgumentParser) -> None:
    sub.add_argument(
        "--device",
        action="append",
        metavar="D",
        help="where networks run: cpu, cuda, cuda:1 (default: cuda where there is one); repeated, "
        "one process on each",
    )
    sub.add_argument(
        "--dtype",
        choices=("float32", "float16", "bfloat16"),
        default="float32",
        help="precision of the network (default: float32)",
    )
    sub.add_argument("--tf32", action="store_true", help="let CUDA round factors to TF32")
    sub.add_argument("--compile", action="store_true", help="compile the network with torch")
    sub.add_argument(
        "--chunk",
        type=_count,
        metavar="N",
        help="give networks that see whole clips N frames at a time: less memory, other numbers",
    )
    sub.add_argument(
        "--tile",
        type=_count,
        metavar="N",
        help="cut LR frames into squares of N pixels: less memory, other numbers",
    )


def _paper_options(sub: argparse.ArgumentParser) -> None:
    for name in ("checkpoint", "dataset", "degradation"):
        sub.add_argument(
            f"--{name}",
            action="append",
            default=[],
            metavar=name[0].upper(),
            help=f"only this {name}; may be repeated",
        )
    _data_option(sub)
    _results_option(sub)


def _count(text: str) -> int:
    if not text.isdecimal() or int(text) < 1:
        raise argparse.ArgumentTypeError(f"expected a number from 1 up, found {text!r}")
    return int(text)
