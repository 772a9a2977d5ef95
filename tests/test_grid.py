from __future__ import annotations

import re
import shutil
import subprocess
from pathlib import Path

import pytest

from bench import grid
from bench.grid import Grid

NASTY = r"50% of a_b & c|d #1 {x} ~ ^ \ $ <i> *"


def small(**change) -> Grid:
    plain = Grid(
        "Title", "Caption.", ["row", "", "PSNR"], [[["a", "b", "c"]]], [("[1]", "why: `bench run`")]
    )
    return plain._replace(**change)


def test_markdown_is_heading_caption_table_and_footnotes():
    assert grid.markdown(small()).splitlines() == [
        *("### Title", "", "Caption.", ""),
        *("| row |   | PSNR |", "|-----|---|------|", "| a   | b | c    |"),
        *("", "[1] why: `bench run`  "),
    ]
    assert grid.markdown(small(caption="", notes=[])).count("\n\n") == 1


def test_markdown_lines_have_one_width_and_as_many_columns():
    lines = grid.markdown_table(["x", "longer"], [[NASTY, "1"], ["a", "b"]]).splitlines()
    assert len({len(line) for line in lines}) == 1
    assert {len(re.findall(r"(?<!\\)\|", line)) for line in lines} == {3}


def test_markdown_keeps_code_and_escapes_the_rest():
    line = grid.markdown_table(["`a*b`", "a_b", "_c_", "<d>"], []).splitlines()[0]
    assert line == r"| `a*b` | a_b | \_c\_ | \<d> |"
    assert grid.markdown_table(["a`*"], []).startswith(r"| a`\* |")


def test_latex_escapes_every_special_character():
    text = grid.latex(small(title=NASTY, header=[NASTY, "", ""], notes=[(grid.DAGGER, NASTY)]))
    bare = re.sub(r"\\[&%$#_{}]|\$\\dagger\$", "", text)
    assert not re.search(r"[%#~^|<>$]", re.sub(r"\\text\w+\{\}", "", bare))
    assert bare.count("{") == bare.count("}")
    assert text.count(r"50\% of a\_b \& c\textbar{}d \#1") == 3
    assert r"\par $\dagger$ 50\%" in text


def test_latex_lines_have_as_many_columns_as_the_header():
    text = grid.latex(small(groups=[[["a & b", "", "`c_d`"], ["e", "f", "g"]], [["[1]", "", ""]]]))
    body = text[text.index("toprule") : text.index("bottomrule")]
    lines = [line for line in body.splitlines() if line.endswith(r"\\")]
    assert {len(re.findall(r"(?<!\\)&", line)) for line in lines} == {2}
    assert len(lines) == 4
    assert r"\begin{tabular}{lll}" in text
    assert r"\texttt{c\_d}" in text
    assert r"{}[1] &" in text  # not the height of the line above
    assert text.count(r"\addlinespace") == 1
    assert r"\addlinespace" not in grid.latex(small(groups=[[["a", "b", "c"]]] * 2))


@pytest.mark.skipif(not shutil.which("pdflatex"), reason="pdflatex is not installed")
def test_latex_compiles():
    groups = [[[NASTY, "[1]", grid.DAGGER], ["[2]", "`a_b`", ""]], [["", "", ""]]]
    body = grid.latex(small(title=NASTY, groups=groups, notes=[(grid.DAGGER, NASTY)]))
    head = f"\\documentclass{{article}}\n{grid.LATEX_NEEDS.removeprefix('% needs')}\n"
    text = f"{head}\\begin{{document}}\n{body}\n\\end{{document}}\n"
    Path("t.tex").write_text(text, encoding="utf-8")
    command = ["pdflatex", "-draftmode", "-interaction=nonstopmode", "-halt-on-error", "t.tex"]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout[-2000:]
