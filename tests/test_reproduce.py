"""`bench reproduce`: what a user has after one command, with everything there and with nothing."""

from __future__ import annotations

from pathlib import Path

import msgspec
import pytest

from bench import paper, record
from bench.paper import Checkpoint


@pytest.fixture
def whole(toy, monkeypatch) -> paper.Paper:
    """The toy paper without what is meant to fail."""
    cells = [cell for cell in toy.cells if cell.checkpoint == "good" and cell.dataset == "sample"]
    kept = [cell for cell in cells if cell.psnr == "28.20" and cell.degradation == "bi"]
    known = msgspec.structs.replace(toy, cells=kept)
    monkeypatch.setattr(paper, "load", lambda _: known)
    return known


def test_everything_is_there(bench, whole):
    code, out, err = bench("reproduce", "toy", "--offline")
    assert (code, err) == (0, "")
    assert "nothing to fetch: toy needs no files" in out
    assert "toy/good on sample, bi: 4 of 4 clips (4 measured)" in out
    assert out.endswith(
        "table: results/tables/toy.md\n"
        "toy: of 2 published cells 1 reproduced, 0 differ, 1 without verdict, 0 not run\n"
    )
    assert "28.2037 / 0.8278" in Path("results/tables/toy.md").read_text()
    code, out, _ = bench("reproduce", "toy", "--offline", "--strict")
    assert code == 0  # what has no verdict could not be judged by anyone
    assert "4 as they were" in out


def test_nothing_is_there(bench, toy, monkeypatch):
    """No network, no data, no weights: the table with its reasons, and no failure."""
    missing = Checkpoint(
        title="far away",
        network="toypaper.network:Toy",
        restorer=toy_restorer(),
        file="far.pth",
        sources=["https://far.example/far.pth"],
    )
    cells = [
        msgspec.structs.replace(cell, checkpoint="far")
        for cell in toy.cells
        if cell.checkpoint == "good"
    ]
    known = msgspec.structs.replace(toy, checkpoints={"far": missing}, cells=cells)
    monkeypatch.setattr(paper, "load", lambda _: known)
    code, out, err = bench("reproduce", "toy", "--offline")
    assert (code, err) == (0, "")
    assert "failed: toy/far, far away: far.pth is not on this machine" in out
    assert "not run: far sample bi, far sample bd, far vid4 bi: checkpoint far.pth is" in out
    assert "run bench fetch toy/far, or get it from https://far.example/far.pth" in out
    assert (
        f"toy: of {len(cells)} published cells 0 reproduced, 0 differ, {len(cells)} not run" in out
    )
    assert Path("results/tables/toy.md").exists()
    assert record.read_all(Path("results")) == []
    assert bench("reproduce", "toy", "--offline", "--strict")[0] == 1


def toy_restorer():
    from bench.restore import SlidingWindow

    return SlidingWindow("reflection")


def test_what_fails_does_not_stop_the_table(bench, toy):
    words = ("--dataset", "sample", "--degradation", "bi")
    code, out, err = bench("reproduce", "toy", "--offline", *words, "--checkpoint", "good")
    assert code == 0
    assert "clips failed" not in out
    code, out, err = bench("reproduce", "toy", "--offline", *words, "--checkpoint", "failing")
    assert code == 0
    assert "toy/failing on sample, bi, clip pan: the network gave NaN" in err
    assert "not run, 4 clips failed" in out
