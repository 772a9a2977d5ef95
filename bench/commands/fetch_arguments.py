"""The words of the commands that bring files here, look at them and remove them."""

from __future__ import annotations

import argparse
from collections.abc import Callable
from pathlib import Path

from bench.commands import options


def add(command: Callable[[str, str, str], argparse.ArgumentParser]) -> None:
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
    options.fetch_options(sub)
    options.data_option(sub)

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
