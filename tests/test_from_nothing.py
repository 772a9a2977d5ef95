"""Every paper from nothing to its table: fetched, planned, run, interrupted, resumed, printed."""

from __future__ import annotations

from pathlib import Path

import pytest
from untrained import CHECKPOINTS, file_of, published_at

from bench import engine, journal, paper, record, sample


@pytest.fixture(autouse=True)
def _small(monkeypatch, name):
    """The sample clips, cut to what a network restores in a second."""
    whole, count = sample.clip, {"stdan": 7, "edvr": 5, "tdan": 3}.get(name, 2)

    def cut(clip):
        return [frame[40:104, 60:124] for frame in whole(clip)[:count]]

    monkeypatch.setattr(sample, "clip", cut)


SLOW = {"psrt"}


@pytest.mark.parametrize(
    "name",
    [
        pytest.param(name, marks=pytest.mark.long if name in SLOW else ())
        for name in sorted(CHECKPOINTS)
    ],
)
def test_from_nothing_to_the_table(bench, server, monkeypatch, name):
    """With seeded weights in place of the published ones, which is said wherever they show."""
    loaded = paper.load(name)
    checkpoint, content = file_of(loaded)
    server.put(f"/{name}.pth", content)
    chosen = published_at(monkeypatch, loaded, checkpoint, f"{server.root}/{name}.pth")
    run = (name, "--dataset", "sample", "--device", "cpu")

    code, out, _ = bench("plan", *run[:3])
    assert code == 0
    assert "0 of 4" in out
    assert f"run bench fetch {name}/{checkpoint}" in out

    code, out, _ = bench("fetch", name, "--no-data")
    assert code == 0, out
    assert f"came: {name}/{checkpoint}" in out

    # The first clip, cut short as if the process had been killed: what is done is in the journal.
    clips = ("--clip", "pan", "--clip", "zoom")
    with monkeypatch.context() as patch:
        patch.setattr(engine, "in_process", killed_after_the_first)
        patch.setattr(journal, "gather", lambda *_: None)
        with pytest.raises(Killed):
            bench("run", *run, *clips)
    assert record.read_all(Path("results")) == []

    code, out, err = bench("run", *run, *clips)
    assert err == ""
    assert code == 0
    assert "2 of 4 clips with untrained weights (1 measured, 1 as they were)" in out
    code, out, _ = bench("plan", *run[:3])
    assert "2 of 4" in out

    code, out, err = bench("reproduce", name, "--offline", "--device", "cpu", *run[1:3])
    assert err == ""
    assert code == 0
    assert "4 of 4 clips with untrained weights (2 measured, 2 as they were)" in out
    assert "0 reproduced, 0 differ, 1 without verdict, 0 not run" in out
    table = Path(f"results/tables/{name}.md").read_text()
    assert "untrained weights" in table
    assert f"{checkpoint} (untrained)" in table
    (whole,) = record.read_all(Path("results"))
    assert whole.untrained
    assert whole.complete("fixed")
    assert whole.interpolates == (name == "stdan")
    assert chosen.cells[0].checkpoint == whole.checkpoint


class Killed(BaseException):
    """Stands for a signal that nothing survives."""


def killed_after_the_first(items, *_):
    from bench.evaluate import Worker

    item = items[0]
    yield item, Worker(item.job).work(item.clip)
    raise Killed
