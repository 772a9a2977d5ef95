"""The words that the `bench` command takes."""

from __future__ import annotations

import argparse
import textwrap
from collections.abc import Callable
from pathlib import Path

from bench.commands import fetch_arguments, options


def parser() -> argparse.ArgumentParser:
    """The parser; what it gives has the command's name in `command`."""
    whole = options.Parser(
        prog="bench",
        description="Reproduces the published numbers of video super-resolution papers.",
        epilog="example: bench run bicubic --dataset sample",
    )
    commands = whole.add_subparsers(title="commands", metavar="COMMAND", required=True)

    def command(name: str, summary: str, example: str) -> options.Parser:
        sub: options.Parser = commands.add_parser(
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
    options.data_option(sub)

    sub = command(
        "plan",
        "every run that a paper's cells need, what is here, what is measured, how long it takes",
        """\
                  examples:
                    bench plan bicubic --data-root ~/data
                    bench plan tdan --items""",
    )
    sub.add_argument("paper", metavar="PAPER")
    options.paper_options(sub)
    sub.add_argument("--items", action="store_true", help="one line a clip: the unit of work")

    fetch_arguments.add(command)

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
    options.paper_options(sub)
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
    options.work_options(sub, strict="exit with 1 if a cell differs")

    _reproduce_command(command)
    _verify_command(command)

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
    options.frames_arguments(sub)
    sub.add_argument(
        "--protocol",
        action="append",
        default=[],
        metavar="P",
        help="a protocol's name or its fields (default: fixed); may be repeated",
    )
    sub.add_argument("--json", type=Path, metavar="FILE", help="write every frame's scores as JSON")
    sub.add_argument("--csv", type=Path, metavar="FILE", help="write every frame's scores as CSV")

    _temporal_command(command)
    _question_commands(command)

    sub = command(
        "latency",
        "what networks cost here: time, memory, FLOPs, with random weights",
        """\
                  examples:
                    bench latency tdan --size 180x320 --frames 7
                    bench latency edvr --checkpoint l-reds --dtype float16 --device cuda
                    bench latency --all --size 64x112
                    bench latency psrt --sweep --size 64x64 --size 96x96 --frames 7 --frames 14""",
    )
    options.latency_options(sub)

    _report_commands(command)
    _check_command(command)

    sub = command(
        "doctor",
        "what this machine can and cannot run",
        "example: bench doctor --data-root ~/data",
    )
    options.data_option(sub)
    options.results_option(sub)
    return whole


def _reproduce_command(command: Callable[[str, str, str], argparse.ArgumentParser]) -> None:
    sub = command(
        "reproduce",
        "fetch what a paper needs, run every cell that can be run, write its table",
        """\
                  examples:
                    bench reproduce bicubic
                    bench reproduce tdan --data-root ~/data --device cuda:0 --device cuda:1
                    bench reproduce edvr --checkpoint m-reds --large --strict""",
    )
    sub.add_argument("paper", metavar="PAPER")
    options.paper_options(sub)
    options.fetch_options(sub)
    options.work_options(
        sub, strict="exit with 1 unless every cell that can be judged is reproduced"
    )


def _verify_command(command: Callable[[str, str, str], argparse.ArgumentParser]) -> None:
    sub = command(
        "verify",
        "compare a checkpoint's outputs with those that its authors released",
        """\
                  examples:
                    bench verify stdan
                    bench verify edvr --reference vid4-l --frames ~/EDVR_Vid4""",
    )
    sub.add_argument("paper", metavar="PAPER")
    sub.add_argument(
        "--reference",
        action="append",
        default=[],
        metavar="R",
        help="only this reference of paper.yaml; may be repeated",
    )
    sub.add_argument(
        "--frames",
        type=Path,
        metavar="DIR",
        help="the frames that the authors released, or a folder of clips of them",
    )
    options.data_option(sub)
    options.results_option(sub)
    options.runtime_options(sub)
    options.workers_option(sub)


def _report_commands(command: Callable[[str, str, str], argparse.ArgumentParser]) -> None:
    """The commands that write what readers look at, and show it to them."""
    sub = command(
        "report",
        "write the tables of the papers, the leaderboard and the page from the records",
        """\
                  examples:
                    bench report
                    bench report --page
                    bench report --frames SAVED --data-root ~/data
                    bench report bicubic --format latex --stdout
                    bench report --check""",
    )
    sub.add_argument("papers", nargs="*", metavar="PAPER", help="default: all, and what they share")
    options.results_option(sub)
    options.data_option(sub)
    only = sub.add_mutually_exclusive_group()
    only.add_argument("--page", action="store_true", help="of all files only index.html")
    only.add_argument("--figures", action="store_true", help="of all files only the figures")
    sub.add_argument(
        "--frames",
        type=Path,
        metavar="DIR",
        help="take pictures of the SR frames first that bench run --save-frames DIR left",
    )
    either = sub.add_mutually_exclusive_group()
    either.add_argument(
        "--check", action="store_true", help="write nothing; exit with 1 if a file is stale"
    )
    either.add_argument("--stdout", action="store_true", help="print the tables instead")
    sub.add_argument(
        "--format",
        choices=("markdown", "latex", "csv"),
        default="markdown",
        help="of what --stdout prints",
    )

    sub = command(
        "open",
        "show the page of the results in your browser",
        """\
                  examples:
                    bench open
                    bench open --print --results ~/other/results""",
    )
    sub.add_argument("--print", action="store_true", help="print its address; open nothing")
    options.results_option(sub)


def _check_command(command: Callable[[str, str, str], argparse.ArgumentParser]) -> None:
    sub = command(
        "check",
        "compare results with committed ones; exit with 1 if any got worse or is gone",
        """\
                  examples:
                    bench check
                    bench check --against origin/main --summary gate.md
                    bench check --against ~/other/results""",
    )
    sub.add_argument(
        "--against",
        default="HEAD",
        metavar="REF",
        help="a commit, or another results folder (default: HEAD)",
    )
    sub.add_argument(
        "--summary", type=Path, metavar="FILE", help="append the table there, as Markdown"
    )
    options.results_option(sub)


def _temporal_command(command: Callable[[str, str, str], argparse.ArgumentParser]) -> None:
    sub = command(
        "temporal",
        "how steady SR frames are in time: warping error, flow difference, flicker",
        """\
                  examples:
                    bench temporal SR/calendar GT/calendar
                    bench temporal ~/SR vid4 --json temporal.json

                  The measures are this project's own (docstring of bench/temporal.py): compare them
                  only with numbers of this command.""",
    )
    options.frames_arguments(sub)
    sub.add_argument("--json", type=Path, metavar="FILE", help="write every pair's values as JSON")
    sub.add_argument("--csv", type=Path, metavar="FILE", help="write every pair's values as CSV")


def _question_commands(command: Callable[[str, str, str], argparse.ArgumentParser]) -> None:
    """The commands that ask why a number is another."""
    sub = command(
        "match",
        "which protocols give a published number for these frames",
        """\
                  examples:
                    bench match ~/VSR-DUF/results/52L/G vid4 27.33/0.8318
                    bench match SR/calendar GT/calendar 24.05/-
                    bench match SR/calendar GT/calendar -/0.8113""",
    )
    options.frames_arguments(sub)
    sub.add_argument(
        "printed",
        type=str.strip,  # of the space that options.Parser puts before a hyphen
        metavar="PSNR/SSIM",
        help="the number as it is printed; - for what is not given",
    )

    sub = command(
        "diagnose",
        "what is wrong with these SR frames, and what each correction would bring",
        """\
                  examples:
                    bench diagnose SR/calendar GT/calendar
                    bench diagnose ~/SR vid4""",
    )
    options.frames_arguments(sub)
