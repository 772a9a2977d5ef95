"""Options that several commands of `bench` share, and what their values must look like."""

from __future__ import annotations

import argparse
import re
import sys
from collections.abc import Sequence
from pathlib import Path

from bench.commands.console import BAD_INPUT


def work_options(sub: argparse.ArgumentParser, strict: str) -> None:
    """How clips are measured; `strict` is the help of --strict."""
    runtime_options(sub)
    engine_options(sub)
    sub.add_argument(
        "--overwrite",
        choices=("only-missing", "always", "never"),
        default="only-missing",
        help="measure what is missing or has changed (default), everything, or only runs that "
        "have no record at all",
    )
    sub.add_argument("--strict", action="store_true", help=strict)
    workers_option(sub)


class Parser(argparse.ArgumentParser):
    """An ArgumentParser whose complaints are one line, like all others."""

    def error(self, message: str) -> None:  # type: ignore[override]
        """Says what is wrong and ends the program."""
        print(f"{self.prog}: {message}; see {self.prog} --help", file=sys.stderr)
        sys.exit(BAD_INPUT)

    def parse_args(  # type: ignore[override]
        self, args: Sequence[str] | None = None, namespace: None = None
    ) -> argparse.Namespace:
        """Reads the words, of which `-/0.8318`, an SSIM alone, is no option.

        To argparse whatever begins with a hyphen is one; not so behind a space.
        """
        words = sys.argv[1:] if args is None else args
        spaced = [f" {word}" if word.startswith("-/") else word for word in words]
        return super().parse_args(spaced, namespace)


def frames_arguments(sub: argparse.ArgumentParser) -> None:
    """SR frames, GT frames, and which clips of them."""
    sub.add_argument("sr", type=Path, metavar="SR", help="folder of frames, or of clips of frames")
    sub.add_argument("gt", metavar="GT", help="the same for ground truth, or a data set's name")
    sub.add_argument(
        "--clip", action="append", default=[], metavar="K", help="only this clip; may be repeated"
    )
    data_option(sub)
    workers_option(sub)


def data_option(sub: argparse.ArgumentParser) -> None:
    """Where data sets lie."""
    sub.add_argument(
        "--data-root",
        type=Path,
        metavar="DIR",
        help="where data sets lie (default: BENCH_DATA, else the cache folder)",
    )


def results_option(sub: argparse.ArgumentParser) -> None:
    """Where records and tables lie."""
    sub.add_argument(
        "--results",
        type=Path,
        default=Path("results"),
        metavar="DIR",
        help="folder of records and tables (default: ./results)",
    )


def workers_option(sub: argparse.ArgumentParser) -> None:
    """How many threads decode and score."""
    sub.add_argument(
        "--workers",
        type=count,
        metavar="N",
        help="threads that decode and score (default: one a processor, at most 8)",
    )


def fetch_options(sub: argparse.ArgumentParser) -> None:
    """What is fetched, and whether at all."""
    sub.add_argument("--no-data", action="store_true", help="of a paper, no data sets")
    sub.add_argument(
        "--large", action="store_true", help="data sets of 1 GB and more, or of unknown size, too"
    )
    sub.add_argument(
        "--offline",
        action="store_true",
        help="use no network (also BENCH_OFFLINE=1): check what is here",
    )


def runtime_options(sub: argparse.ArgumentParser) -> None:
    """How networks run."""
    sub.add_argument(
        "--device",
        action="append",
        metavar="D",
        help="where networks run: cpu, cuda, cuda:1 (default: cuda where there is one); repeated, "
        "one process on each",
    )
    precision_options(sub)
    sub.add_argument(
        "--chunk",
        type=count,
        metavar="N",
        help="give networks that see whole clips N frames at a time: less memory, other numbers",
    )
    sub.add_argument(
        "--tile",
        type=count,
        metavar="N",
        help="cut LR frames into squares of N pixels: less memory, other numbers",
    )


def precision_options(sub: argparse.ArgumentParser) -> None:
    """How exactly networks compute."""
    sub.add_argument(
        "--dtype",
        choices=("float32", "float16", "bfloat16"),
        default="float32",
        help="precision of the network (default: float32)",
    )
    sub.add_argument("--tf32", action="store_true", help="let CUDA round factors to TF32")
    sub.add_argument("--compile", action="store_true", help="compile the network with torch")


def latency_options(sub: argparse.ArgumentParser) -> None:
    """What is measured of a network, and how."""
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
        type=size,
        action="append",
        metavar="HxW",
        help="height x width of the LR frames (default: 180x320); may be repeated",
    )
    sub.add_argument(
        "--frames",
        type=count,
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
        type=count,
        default=10,
        metavar="N",
        help="clips that are measured after the warm-up (default: 10)",
    )
    sub.add_argument(
        "--batch", type=count, default=1, metavar="N", help="clips at once (default: 1)"
    )
    sub.add_argument(
        "--device",
        default="auto",
        metavar="D",
        help="where: cpu, cuda, cuda:1 (default: cuda where there is one)",
    )
    sub.add_argument("--threads", type=count, metavar="N", help="threads of the CPU")
    precision_options(sub)
    sub.add_argument(
        "--channels-last",
        action="store_true",
        help="keep weights in channels-last order, which feature maps then follow",
    )
    results_option(sub)


def engine_options(sub: argparse.ArgumentParser) -> None:
    """Where work items run."""
    sub.add_argument(
        "--engine",
        choices=("local", "slurm"),
        default="local",
        help="local: here (default); slurm: as a job array on the cluster, one clip a task",
    )
    sub.add_argument("--partition", metavar="P", help="of Slurm (default: Slurm's own)")
    sub.add_argument(
        "--minutes",
        type=count,
        default=240,
        metavar="N",
        help="time limit of a Slurm task (default: 240)",
    )
    sub.add_argument(
        "--parallel",
        type=count,
        default=16,
        metavar="N",
        help="Slurm tasks that run at once (default: 16)",
    )
    sub.add_argument(
        "--sbatch",
        type=pair,
        action="append",
        default=[],
        metavar="OPTION=VALUE",
        help="any other option of sbatch, such as gres=gpu:1; may be repeated",
    )


def paper_options(sub: argparse.ArgumentParser) -> None:
    """What of a paper is wanted."""
    for name in ("checkpoint", "dataset", "degradation"):
        sub.add_argument(
            f"--{name}",
            action="append",
            default=[],
            metavar=name[0].upper(),
            help=f"only this {name}; may be repeated",
        )
    data_option(sub)
    results_option(sub)


def count(text: str) -> int:
    """A number from 1 up."""
    if not text.isdecimal() or int(text) < 1:
        raise argparse.ArgumentTypeError(f"expected a number from 1 up, found {text!r}")
    return int(text)


def size(text: str) -> tuple[int, int]:
    """A size as height x width."""
    found = re.fullmatch(r"([1-9]\d*)x([1-9]\d*)", text)
    if not found:
        raise argparse.ArgumentTypeError(f"expected height x width such as 180x320, found {text!r}")
    return int(found[1]), int(found[2])


def pair(text: str) -> tuple[str, str]:
    """A name and a value, as OPTION=VALUE."""
    name, equals, value = text.removeprefix("--").partition("=")
    if not (name and equals):
        raise argparse.ArgumentTypeError(f"expected OPTION=VALUE, found {text!r}")
    return name, value
