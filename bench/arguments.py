"""The words that the `bench` command takes."""

from __future__ import annotations

import argparse
import re
import sys
import textwrap
from collections.abc import Callable
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
        "every run that a paper's cells need, what is here, what is measured, how long it takes",
        """\
                  examples:
                    bench plan bicubic --data-root ~/data
                    bench plan tdan --items""",
    )
    _paper_options(sub)
    sub.add_argument("--items", action="store_true", help="one line a clip: the unit of work")

    _fetch_commands(command)

    sub = command(
        "run",
        "restore and score a paper's clips, write records, show the table",
        """\
                  examples:
                    bench run bicubic --dataset sample
                    bench run bicubic --dataset vid4 --degradation bi --data-root ~/data
                    bench run duf --frames ~/VSR-DUF/results/52L/G""",
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
    _work_options(sub, strict="exit with 1 if a cell differs")

    _reproduce_command(command)
    _verify_command(command)

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
        "latency",
        "what networks cost here: time, memory, FLOPs, with random weights",
        """\
                  examples:
                    bench latency tdan --size 180x320 --frames 7
                    bench latency edvr --checkpoint l-reds --dtype float16 --device cuda
                    bench latency --all --size 64x112
                    bench latency psrt --sweep --size 64x64 --size 96x96 --frames 7 --frames 14""",
    )
    _latency_options(sub)

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
    _paper_options(sub)
    _fetch_options(sub)
    _work_options(sub, strict="exit with 1 unless every cell that can be judged is reproduced")


def _work_options(sub: argparse.ArgumentParser, strict: str) -> None:
    _runtime_options(sub)
    _engine_options(sub)
    sub.add_argument(
        "--overwrite",
        choices=("only-missing", "always", "never"),
        default="only-missing",
        help="measure what is missing or has changed (default), everything, or only runs that "
        "have no record at all",
    )
    sub.add_argument("--strict", action="store_true", help=strict)
    _workers_option(sub)


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
    _data_option(sub)
    _results_option(sub)
    _runtime_options(sub)
    _workers_option(sub)


def _fetch_commands(command: Callable[[str, str, str], argparse.ArgumentParser]) -> None:
    """The commands that bring files here, look at them and remove them."""
    sub = command(
        "fetch",
        "get checkpoints and data sets from the web",
        """\
                  examples:
                    bench fetch vid4 --dry-run
                    bench fetch tdan
                    bench fetch edvr/m-reds edvr/openmmlab-m-reds
                    bench fetch reds4 --large --data-root ~/data""",
    )
    sub.add_argument(
        "names", nargs="+", metavar="NAME", help="a paper, paper/checkpoint or data set"
    )
    sub.add_argument(
        "--checkpoint",
        action="append",
        default=[],
        metavar="C",
        help="of a paper, only this checkpoint; may be repeated",
    )
    sub.add_argument("--dry-run", action="store_true", help="list what would be fetched; no more")
    _fetch_options(sub)
    _data_option(sub)

    sub = command(
        "add",
        "take a weight file that was downloaded by hand",
        """\
                  examples:
                    bench add ~/Downloads/EDVR_M_x4_SR_REDS_official-32075921.pth
                    bench add ~/Downloads/PSRT_REDS.pth --as psrt/reds""",
    )
    sub.add_argument("file", type=Path, metavar="FILE")
    sub.add_argument(
        "--as", dest="name", metavar="NAME", help="paper/checkpoint, where the file does not tell"
    )

    sub = command(
        "inspect",
        "what a weight file holds, and which checkpoints it fits",
        "example: bench inspect ~/Downloads/model.pth",
    )
    sub.add_argument("file", type=Path, metavar="FILE")

    sub = command(
        "convert",
        "make a state dict of a pickled network, without running any code from it",
        """\
                  examples:
                    bench convert model.pt
                    bench convert model.pt --output tdan.pth""",
    )
    sub.add_argument("file", type=Path, metavar="FILE")
    sub.add_argument(
        "--output", type=Path, metavar="FILE", help="default: FILE's name ending in .state.pth"
    )

    sub = command(
        "cache",
        "what lies in the cache folder, how large it is and what uses it",
        """\
                  examples:
                    bench cache
                    bench cache --clear edvr/l-reds vid4
                    bench cache --clear --yes""",
    )
    sub.add_argument(
        "--clear",
        nargs="*",
        metavar="NAME",
        help="remove an entry, or what a paper, paper/checkpoint or data set uses",
    )
    sub.add_argument("--yes", action="store_true", help="--clear without names removes all")


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


def _fetch_options(sub: argparse.ArgumentParser) -> None:
    sub.add_argument("--no-data", action="store_true", help="of a paper, no data sets")
    sub.add_argument(
        "--large", action="store_true", help="data sets of 1 GB and more, or of unknown size, too"
    )
    sub.add_argument(
        "--offline",
        action="store_true",
        help="use no network (also BENCH_OFFLINE=1): check what is here",
    )


def _runtime_options(sub: argparse.ArgumentParser) -> None:
    sub.add_argument(
        "--device",
        action="append",
        metavar="D",
        help="where networks run: cpu, cuda, cuda:1 (default: cuda where there is one); repeated, "
        "one process on each",
    )
    _precision_options(sub)
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


def _precision_options(sub: argparse.ArgumentParser) -> None:
    sub.add_argument(
        "--dtype",
        choices=("float32", "float16", "bfloat16"),
        default="float32",
        help="precision of the network (default: float32)",
    )
    sub.add_argument("--tf32", action="store_true", help="let CUDA round factors to TF32")
    sub.add_argument("--compile", action="store_true", help="compile the network with torch")


def _latency_options(sub: argparse.ArgumentParser) -> None:
    sub.add_argument("paper", nargs="?", metavar="PAPER", help="may be left out with --all")
    either = sub.add_mutually_exclusive_group()
    either.add_argument(
        "--checkpoint",
        action="append",
        default=[],
        metavar="C",
        help="this checkpoint (default: the paper's first with a network); may be repeated",
    )
    either.add_argument(
        "--all",
        action="store_true",
        help="every checkpoint with a network; one measurement where they are of one architecture",
    )
    sub.add_argument(
        "--size",
        type=_size,
        action="append",
        metavar="HxW",
        help="height x width of the LR frames (default: 180x320); may be repeated",
    )
    sub.add_argument(
        "--frames",
        type=_count,
        action="append",
        metavar="N",
        help="LR frames of the clip (default: 7); may be repeated",
    )
    sub.add_argument(
        "--sweep",
        action="store_true",
        help="several sizes and clip lengths (--size and --frames, or built-in ones), with plots",
    )
    sub.add_argument(
        "--repeats",
        type=_count,
        default=10,
        metavar="N",
        help="clips that are measured after the warm-up (default: 10)",
    )
    sub.add_argument(
        "--batch", type=_count, default=1, metavar="N", help="clips at once (default: 1)"
    )
    sub.add_argument(
        "--device",
        default="auto",
        metavar="D",
        help="where: cpu, cuda, cuda:1 (default: cuda where there is one)",
    )
    sub.add_argument("--threads", type=_count, metavar="N", help="threads of the CPU")
    _precision_options(sub)
    sub.add_argument(
        "--channels-last",
        action="store_true",
        help="keep weights in channels-last order, which feature maps then follow",
    )
    _results_option(sub)


def _engine_options(sub: argparse.ArgumentParser) -> None:
    sub.add_argument(
        "--engine",
        choices=("local", "slurm"),
        default="local",
        help="local: here (default); slurm: as a job array on the cluster, one clip a task",
    )
    sub.add_argument("--partition", metavar="P", help="of Slurm (default: Slurm's own)")
    sub.add_argument(
        "--minutes",
        type=_count,
        default=240,
        metavar="N",
        help="time limit of a Slurm task (default: 240)",
    )
    sub.add_argument(
        "--parallel",
        type=_count,
        default=16,
        metavar="N",
        help="Slurm tasks that run at once (default: 16)",
    )
    sub.add_argument(
        "--sbatch",
        type=_pair,
        action="append",
        default=[],
        metavar="OPTION=VALUE",
        help="any other option of sbatch, such as gres=gpu:1; may be repeated",
    )


def _paper_options(sub: argparse.ArgumentParser) -> None:
    sub.add_argument("paper", metavar="PAPER")
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


def _size(text: str) -> tuple[int, int]:
    found = re.fullmatch(r"([1-9]\d*)x([1-9]\d*)", text)
    if not found:
        raise argparse.ArgumentTypeError(f"expected height x width such as 180x320, found {text!r}")
    return int(found[1]), int(found[2])


def _pair(text: str) -> tuple[str, str]:
    name, equals, value = text.removeprefix("--").partition("=")
    if not (name and equals):
        raise argparse.ArgumentTypeError(f"expected OPTION=VALUE, found {text!r}")
    return name, value
