from __future__ import annotations

import msgspec
import pytest
import toynetworks

from bench import checkpoint, maker, paper, plan
from bench.errors import BenchError
from bench.maker import Settings
from bench.plan import Run, Selection


@pytest.fixture
def settings(tmp_path):
    return Settings(data_root=tmp_path / "data")


def planned(toy, settings, **selection):
    return plan.plan(toy, Selection(**selection), settings)


def test_a_plan_has_every_run_and_its_protocols(toy, settings):
    runs = {item.run: item for item in planned(toy, settings)}
    good = runs[Run("toy", "good", "sample", "bi")]
    assert list(good.protocols) == ["fixed", "rgb-crop0"]
    assert (good.cells, good.problem) == (5, None)
    assert list(runs[Run("toy", "good", "sample", "bd")].protocols) == ["fixed", "y-crop8-skip2"]
    assert "address is dead" in str(runs[Run("toy", "absent", "sample", "bi")].problem)
    assert "Vid4 not found" in str(runs[Run("toy", "good", "vid4", "bi")].problem)
    assert "no frames were released" in str(runs[Run("toy", "released", "vid4", "bi")].problem)
    released = str(runs[Run("toy", "released", "sample", "bi")].problem)
    assert "name their folder with --frames; they are at https://example.org/toy" in released
    assert len(runs) == 6


def test_released_frames_that_can_be_fetched(settings, put):
    put(settings.data_root / "vid4/GT/city", 34)
    item, *_ = planned(paper.load("duf"), settings, checkpoints=["52l"], clips=["city"])
    words = "run bench fetch duf, or name their folder with --frames; they are at https://github"
    with pytest.raises(BenchError, match=words):
        raise item.problem


def test_a_plan_can_be_narrowed_and_widened(toy, settings):
    one = planned(toy, settings, checkpoints=["good"], datasets=["sample"], degradations=["bi"])
    assert [item.run for item in one] == [Run("toy", "good", "sample", "bi")]
    other = planned(
        toy,
        settings,
        checkpoints=["swapped"],
        datasets=["sample"],
        degradations=["bd-duf"],
        protocols=["channel=rgb,border=1"],
    )
    assert [item.run for item in other] == [Run("toy", "swapped", "sample", "bd-duf")]
    assert list(other[0].protocols) == ["fixed", "channel=rgb,border=1"]
    for selection, words in [
        ({"checkpoints": ["best"]}, "toy has no checkpoint 'best'"),
        ({"datasets": ["vid5"]}, "unknown data set"),
        ({"datasets": ["sample"], "degradations": ["bx"]}, "Sample has no degradation 'bx'"),
        ({"protocols": ["y9"]}, "unknown protocol"),
    ]:
        with pytest.raises(BenchError, match=words):
            planned(toy, settings, **selection)


def test_data_sets_scored_at_the_centre(toy, settings):
    wanted = {"datasets": ["vimeo-90k-t"], "checkpoints": ["good"]}
    item = planned(toy, settings, **wanted, protocols=["y-crop0-centre"])[0]
    assert list(item.protocols) == ["fixed-centre", "y-crop0-centre"]
    with pytest.raises(BenchError, match="protocol y-crop8-skip2 does not fit Vimeo-90K-T"):
        planned(toy, settings, **wanted, protocols=["y-crop8-skip2"])


@pytest.mark.parametrize(
    ("name", "asked", "words"),
    [
        ("window", {"chunk": 8}, "a network that sees windows takes no chunks: found --chunk 8"),
        ("clip", {"chunk": 3}, "chunks are too short: expected at least 4 frames, found 3"),
        ("clip", {"tile": 31}, "tiles are too small: expected at least 32 LR pixels, found 31"),
        ("clip", {"tile": 32, "chunk": 4}, None),
        ("none", {"tile": 31}, None),
    ],
)
def test_ways_that_cannot_be_are_refused_before_anything_runs(
    settings, monkeypatch, name, asked, words
):
    """Not as the failure of every clip, which would go into the record."""
    monkeypatch.setattr(checkpoint, "find", lambda *_: None)
    monkeypatch.setattr(checkpoint, "check", lambda *_: None)
    chosen = Selection(checkpoints=[name], datasets=["sample"])
    (item,) = plan.plan(toynetworks.paper(), chosen, settings._replace(**asked))
    assert (item.problem is None) if words is None else str(item.problem).startswith(words)


def test_ways_of_a_method_of_ones_own_are_refused_too(settings):
    own = msgspec.structs.replace(
        toynetworks.paper(),
        checkpoints={"own": paper.Checkpoint(title="own", factory="ownmethods:Window")},
    )
    with pytest.raises(BenchError, match="takes no chunks"):
        maker.check(own, "own", "sample", settings._replace(chunk=8))
