from __future__ import annotations

import re
from pathlib import Path

import msgspec
import pytest
import yaml

from bench import cells, paper, pivot
from bench.cells import Context, Table
from bench.errors import BenchError
from bench.pivot import Entry

ROOT = Path(__file__).parent.parent
OWN = [name for name in paper.names() if (ROOT / "reproductions" / name).is_dir()]


def entry(cell, measured=("", ""), difference=("", ""), verdict="not run", **more):
    return Entry(cell, measured, difference, verdict, **{"reason": "why"} | more)


def whole(toy, *tables, cells=None):
    """The paper with these tables, and its cells as if none had been run."""
    chosen = msgspec.structs.replace(toy, tables=list(tables), cells=cells or toy.cells)
    return chosen, [entry(cell) for cell in chosen.cells]


def only(toy, table, cells=None):
    return pivot.grids(*whole(toy, table, cells=cells))[0]


def lines(grid):
    return [line for group in grid.groups for line in group]


@pytest.mark.parametrize("name", OWN)
def test_every_published_number_is_in_a_table_of_the_paper(name):
    loaded = paper.load(name)
    held = [cell for table in loaded.tables for cell in table.choose(loaded.cells)]
    assert all(cell in held for cell in loaded.cells)
    grids = pivot.grids(loaded, [entry(cell) for cell in loaded.cells])
    texts = " ".join(text for grid in grids for line in lines(grid) for text in line)
    for cell in loaded.cells:
        assert cell.psnr in texts
        assert cell.ssim in texts
    for context in loaded.context:
        for row in context.rows:
            assert all(text in texts for text in row)
        assert any(context.title in grid.title + grid.caption for grid in grids)


@pytest.mark.parametrize("name", OWN)
def test_no_number_is_typed_twice(name):
    loaded = paper.load(name)
    fields = ("row", "dataset", "degradation", "clip", "protocol", "source")
    keys = [tuple(cells.value(cell, field) for field in fields) for cell in loaded.cells]
    assert len(set(keys)) == len(keys)
    pairs = {f"{cell.psnr} / {cell.ssim}" for cell in loaded.cells}
    assert not pairs & {text for table in loaded.context for row in table.rows for text in row}
    declared = str([msgspec.to_builtins(table) for table in loaded.tables])
    for cell in loaded.cells:
        assert cell.psnr not in declared
        assert cell.ssim not in declared


@pytest.mark.parametrize("name", OWN)
def test_no_table_is_too_wide_to_read(name):
    loaded = paper.load(name)
    for grid in pivot.grids(loaded, [entry(cell) for cell in loaded.cells]):
        widths = (max(map(len, column)) for column in zip(grid.header, *lines(grid), strict=True))
        assert sum(widths) + 3 * len(grid.header) < 170, grid.title


def test_cells_of_no_table_stand_in_one_of_their_own(toy):
    chosen, texts = whole(toy, Table(title="T", rows={"row": ["row"]}, where={"row": ["good"]}))
    first, others = pivot.grids(chosen, texts)
    assert len(lines(first)) == 5
    assert (others.title, len(lines(others))) == ("Other published numbers", 6)
    assert [grid.title for grid in pivot.grids(*whole(toy))] == ["Other published numbers"]


def test_a_table_whose_cells_are_gone_is_left_out_but_not_what_stood_below_it(toy):
    context = Context("Theirs", ["method", "Vid4"], [["A", "1.0 / 0.1"]])
    table = Table(title="T", rows={"m": ["row"]}, columns=["dataset"], below=["Theirs"])
    chosen = msgspec.structs.replace(toy, tables=[table], cells=[], context=[context])
    assert [grid.title for grid in pivot.grids(chosen, [])] == ["Theirs"]


def test_side_by_side(toy):
    table = Table(
        title="T", rows={"model": ["row"]}, where={"row": ["good"], "clip": ["mean", "pan"]}
    )
    grid = only(toy, table)
    assert grid.header == [
        *("model", "degradation", "clip", "protocol"),
        *("published", "measured", "difference", "verdict"),
    ]
    assert grid.caption == "Sample; source here."
    assert [line[2] for line in lines(grid)] == ["mean"] * 4 + ["pan"]
    assert lines(grid)[1] == [
        *("good", "bi", "mean", "rgb-crop0"),
        *("20.00 / - [2]", "-", "-", "not run [1]"),
    ]
    assert lines(grid)[2][4] == "28.20 / 0.8278\N{DAGGER}"
    assert [mark for mark, _ in grid.notes] == ["[1]", "[2]", "\N{DAGGER}"]


def test_what_all_cells_share_is_said_once(toy):
    cells = [toy.cells[0], toy.cells[9]]
    grid = only(toy, Table(title="T", rows={"row": ["row"]}), cells)
    assert grid.caption == (
        "Sample; degradation bi; protocol fixed (Y, crop 8, clip mean); source here."
    )
    assert "protocol" not in grid.header
    assert only(toy, Table(title="T", rows={"r": ["row"]}), [toy.cells[2]]).caption.startswith(
        "Sample; degradation bi; clip pan; "
    )


def test_columns_of_their_own_for_psnr_and_ssim(toy):
    table = Table(title="T", rows={"row": ["row"]}, split=True)
    chosen = msgspec.structs.replace(toy, tables=[table], cells=[toy.cells[0], toy.cells[1]])
    texts = [
        entry(toy.cells[0], ("28.2037", "0.8278"), ("+0.0037", "-0.0002"), "reproduced", reason=""),
        entry(toy.cells[1], ("21.0000", "0.9000"), ("+1.0000", ""), "differs", reason=""),
    ]
    grid = pivot.grids(chosen, texts)[0]
    assert grid.header[2:7] == ["PSNR", "measured", "SSIM", "measured", "verdict"]
    values = ["28.20", "28.2037 (+0.0037)", "0.828", "0.8278 (-0.0002)", "reproduced"]
    assert lines(grid)[0][2:7] == values
    assert lines(grid)[1][2:7] == ["20.00 [1]", "21.0000 (+1.0000)", "-", "-", "differs"]


def test_stacked(toy):
    cells = [toy.cells[0], toy.cells[5]]
    table = Table(
        title="T",
        rows={"model": ["row"]},
        columns=["dataset"],
        titles={"good": "ours", "other": "theirs"},
        facts={"GPUs": {"good": "8"}, "checkpoint": "name", "parameters (M)": "parameters"},
    )
    chosen = msgspec.structs.replace(toy, tables=[table], cells=cells)
    texts = [
        entry(cells[0], ("28.2037", "0.8278"), ("+0.0037", "-0.0002"), "reproduced", reason=""),
        entry(cells[1], todo="`do it`"),
    ]
    grid = pivot.grids(chosen, texts)[0]
    assert grid.header == [
        *("model", "GPUs", "checkpoint", "parameters (M)", ""),
        *("Sample", "Vid4"),
    ]
    assert grid.groups == [
        [
            ["ours", "8", "`good`", "-", "published", "28.20 / 0.828", "-"],
            ["", "", "", "", "measured", "28.2037 / 0.8278", "-"],
            ["", "", "", "", "difference", "+0.0037 / -0.0002", "-"],
            ["", "", "", "", "verdict", "reproduced", "-"],
        ],
        [
            ["theirs", "8", "`good`", "-", "published", "-", "1.00 / 0.1000"],
            ["", "", "", "", "measured", "-", "not run [1]"],
        ],
    ]
    assert grid.notes == [("[1]", "why: `do it`")]


def test_what_varies_stands_above_its_column_or_in_its_row(toy):
    good = toy.cells[0]
    change = msgspec.structs.replace
    cells = [
        good,
        change(good, dataset="vid4", protocol="y-crop0", source="there"),
        change(good, row="other", dataset="vid4", protocol="y-crop0", source="elsewhere"),
    ]
    known = dict.fromkeys(("here", "there", "elsewhere"), toy.sources["here"])
    toy = change(toy, sources=known)
    grid = only(toy, Table(title="T", rows={"model": ["row"]}, columns=["dataset"]), cells)
    assert grid.groups[0] == [["", "protocol", "fixed", "y-crop0"]]
    assert [line[:2] for line in grid.groups[1]][:3] == [
        ["good", "published"],
        ["", "source"],
        ["", "measured"],
    ]
    assert grid.groups[1][1][2:] == ["here", "there"]
    assert grid.groups[2][1][2:] == ["-", "elsewhere"]


def test_reasons_and_what_to_do_are_footnotes_said_once(toy):
    cells = [toy.cells[0], toy.cells[4], toy.cells[5]]
    chosen = msgspec.structs.replace(
        toy, tables=[Table(title="T", rows={"r": ["row"]})], cells=cells
    )
    todo = ["`a`", "`b`", "`a`"]
    texts = [entry(cell, todo=one) for cell, one in zip(cells, todo, strict=True)]
    grid = pivot.grids(chosen, texts)[0]
    assert grid.notes == [("[1]", "why: `a`, `b`")]
    assert all("not run [1]" in line for line in lines(grid))


def test_unverified_numbers_carry_the_dagger_measured_or_not(toy):
    cells = [toy.cells[3]]
    chosen = msgspec.structs.replace(
        toy, tables=[Table(title="T", rows={"r": ["row"]})], cells=cells
    )
    one = entry(cells[0], ("28.2037", "0.8278"), ("+0.0037", "+0.0000"), "no verdict")
    assert lines(pivot.grids(chosen, [one])[0])[0][-1] == "no verdict\N{DAGGER}"
    unrun = pivot.grids(chosen, [entry(cells[0])])[0]
    assert lines(unrun)[0][-1] == "not run [1]"
    assert unrun.notes[-1][0] == "\N{DAGGER}"


def test_order_is_that_of_the_values_asked_for_and_means_come_last(toy):
    cells = [toy.cells[0], toy.cells[2], msgspec.structs.replace(toy.cells[2], clip="zoom")]
    table = Table(title="T", rows={"clip": ["clip"]})
    assert [line[0] for line in lines(only(toy, table, cells))] == ["pan", "zoom", "mean"]
    asked = msgspec.structs.replace(table, where={"clip": ["zoom", "mean", "pan"]})
    assert [line[0] for line in lines(only(toy, asked, cells))] == ["zoom", "pan", "mean"]


def test_context_rows_below(toy):
    context = Context("Theirs", ["method", "Vid4"], [["A", "1.0 / 0.1"], ["B", ""]])
    other = Context("Cost", ["system", "ms"], [["A", ""]])
    table = Table(title="T", rows={"m": ["row"]}, columns=["dataset"], below=["Theirs"])
    cells = [toy.cells[0], toy.cells[5]]
    chosen = msgspec.structs.replace(toy, tables=[table], cells=cells, context=[context, other])
    first, second = pivot.grids(chosen, [entry(cell) for cell in cells])
    assert first.groups[-1] == [
        ["A", "published", "-", "1.0 / 0.1"],
        ["B", "published", "-", "-"],
    ]
    assert "below, published only: Theirs" in first.caption
    assert (second.title, second.groups) == ("Cost", [[["A", "-"]]])


def broken(tmp_path, **change) -> Path:
    data = yaml.safe_load((ROOT / "tests/toypaper/paper.yaml").read_text())
    data["context"] = [{"title": "Theirs", "columns": ["method", "UDM10"], "rows": []}]
    table = {
        "title": "T",
        "where": {"row": ["good"], "protocol": ["fixed"], "clip": ["mean"], "source": ["here"]},
        "rows": {"row": ["row"]},
    }
    data["tables"] = [table, table | change]
    path = tmp_path / "paper.yaml"
    path.write_text(yaml.safe_dump(data))
    return path


@pytest.mark.parametrize(
    ("change", "words"),
    [
        (
            {"where": {"row": ["goood"]}},
            r"tables[1].where.row: one of good, other, released, found",
        ),
        ({"where": {"checkpoint": ["best"]}}, r"tables[1].where.checkpoint: one of absent, good,"),
        ({"where": {"rows": ["good"]}}, "Invalid enum value 'rows'"),
        (
            {"where": {"clip": ["pan"], "row": ["other"]}},
            "tables[1].where: expected values of at least one cell, found those of none",
        ),
        ({"rows": {"row": ["name"]}}, "tables[1].rows.row[0]: Invalid enum value 'name'"),
        ({"rows": {}}, "tables[1]: T: rows need at least one field"),
        ({"rows": {"row": []}}, "tables[1]: T: rows need at least one field"),
        ({"columns": ["set"]}, "tables[1].columns[0]: Invalid enum value 'set'"),
        ({"columns": ["dataset"]}, "tables[1].columns: two cells in row 'good', column 'Sample'"),
        ({"titles": {"bad": "x"}}, "tables[1].titles: one of good, found 'bad'"),
        ({"facts": {"GPUs": {"best": "8"}}}, "tables[1].facts.GPUs: one of absent, constant, "),
        ({"facts": {"GPUs": "count"}}, "tables[1].facts.GPUs: Invalid enum value 'count'"),
        ({"below": ["Ours"]}, "tables[1].below: one of Theirs, found 'Ours'"),
        ({"below": ["Theirs"]}, "tables[1].below: columns of 'Theirs': one of "),
        ({"split": True, "columns": ["dataset"]}, "tables[1]: T: split goes without columns"),
        ({"colums": ["dataset"]}, "unknown field `colums`"),
    ],
)
def test_malformed_tables(tmp_path, change, words):
    with pytest.raises(BenchError, match=re.escape(words)) as caught:
        paper.read(broken(tmp_path, **change), "toy")
    assert "\n" not in str(caught.value)
