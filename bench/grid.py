"""A table of texts, with its caption and footnotes -> Markdown, LaTeX."""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import NamedTuple

DAGGER = "\N{DAGGER}"
_LATEX = {
    "\\": r"\textbackslash{}",
    **{char: f"\\{char}" for char in "&%$#_{}"},
    "~": r"\textasciitilde{}",
    "^": r"\textasciicircum{}",
    "<": r"\textless{}",
    ">": r"\textgreater{}",
    "|": r"\textbar{}",
    DAGGER: r"$\dagger$",
}
LATEX_NEEDS = "% needs \\usepackage{booktabs}"


class Grid(NamedTuple):
    """A table of texts in which `backticks` stand around code.

    caption   sentences on all of it
    groups    lines that belong together; each line has as many entries as the header
    notes     footnotes: their marks and texts
    """

    title: str
    caption: str
    header: list[str]
    groups: list[list[list[str]]]
    notes: list[tuple[str, str]]


def markdown(grid: Grid) -> str:
    """The grid under a heading of the third level."""
    lines = [line for group in grid.groups for line in group]
    notes = "\n".join(f"{mark} {_markdown(text)}  " for mark, text in grid.notes)
    parts = (f"### {_markdown(grid.title)}", _markdown(grid.caption))
    return "\n\n".join(part for part in (*parts, markdown_table(grid.header, lines), notes) if part)


def markdown_table(header: Sequence[str], lines: Sequence[Sequence[str]]) -> str:
    r"""The lines under the header, in columns as wide as their widest entry.

    >>> print(markdown_table(["row", "PSNR"], [["a|b", "23.78"]]))
    | row  | PSNR  |
    |------|-------|
    | a\|b | 23.78 |
    """
    rows = [[_markdown(entry).replace("|", "\\|") for entry in line] for line in (header, *lines)]
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    padded = [
        " | ".join(entry.ljust(width) for entry, width in zip(row, widths, strict=True))
        for row in rows
    ]
    rule = "|".join("-" * (width + 2) for width in widths)
    return "\n".join([f"| {padded[0]} |", f"|{rule}|", *(f"| {line} |" for line in padded[1:])])


def latex(grid: Grid) -> str:
    """The grid as a floating table of the package booktabs, its footnotes below it."""
    stacked = any(len(group) > 1 for group in grid.groups)
    body = ("\n    \\addlinespace\n" if stacked else "\n").join(
        "\n".join(_latex_line(line) for line in group) for group in grid.groups
    )
    caption = _latex(". ".join(part.rstrip(".") for part in (grid.title, grid.caption) if part))
    parts = [
        "\\begin{table}",
        "  \\centering\\footnotesize",
        f"  \\caption{{{caption}.}}",
        f"  \\begin{{tabular}}{{{'l' * len(grid.header)}}}",
        "    \\toprule",
        _latex_line(grid.header),
        "    \\midrule",
        body,
        "    \\bottomrule",
        "  \\end{tabular}",
        *(f"  \\par {_latex(mark)} {_latex(text)}" for mark, text in grid.notes),
        "\\end{table}",
    ]
    return "\n".join(parts)


def _latex_line(entries: Sequence[str]) -> str:
    # A line break followed by [1] would take that for its height.
    first = "{}" if entries[0].startswith("[") else ""
    return f"    {first}{' & '.join(_latex(entry) for entry in entries)} \\\\"


def _latex(text: str) -> str:
    escaped = "".join(_LATEX.get(char, char) for char in text)
    return re.sub(r"`([^`]*)`", r"\\texttt{\1}", escaped)


def _markdown(text: str) -> str:
    """The text with what Markdown would take for markup escaped, outside of code."""
    parts = text.split("`")
    closed = len(parts) % 2 == 1
    return "`".join(
        part if closed and number % 2 else re.sub(r"(?<!\w)_|_(?!\w)|[*<\\]", r"\\\g<0>", part)
        for number, part in enumerate(parts)
    )
