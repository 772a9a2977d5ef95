from __future__ import annotations

import msgspec
import pytest
import toynetworks
from runs import RESULTS, job, measure

from bench import evaluate, journal, plan, provenance, record, resume, sample
from bench.engine import in_process
from bench.errors import BenchError
from bench.evaluate import Worker
from bench.maker import Settings

ALL = ["pan", "zoom", "rotation", "occlusion"]


@pytest.fixture
def settings(tmp_path):
    return Settings(data_root=tmp_path / "data")


def test_what_was_measured_is_left_alone(toy, settings):
    one = job(toy, settings)
    assert resume.missing(one, []) == ALL
    done = measure(toy, settings, ["pan", "zoom"])
    assert done.measured == ["pan", "zoom"]
    assert resume.missing(one, []) == ["rotation", "occlusion"]
    assert resume.missing(one, ["zoom"]) == []
    again = measure(toy, settings, ["pan", "zoom"])
    assert (again.measured, again.record) == ([], done.record)


def test_policies(toy, settings):
    one = job(toy, settings)
    assert resume.missing(one, [], "never") == ALL
    measure(toy, settings, ["pan"])
    assert resume.missing(one, [], "never") == []
    assert resume.missing(one, [], "always") == ALL
    assert resume.missing(one, ["pan"], "always") == ["pan"]


def test_what_an_interrupted_run_left_behind_counts(toy, settings):
    one = job(toy, settings)
    Worker(one).work("zoom")
    assert record.read_all(RESULTS) == []
    assert resume.missing(one, []) == ["pan", "rotation", "occlusion"]
    assert [clip.clip for clip in record.read_all(RESULTS)[0].clips] == ["zoom"]


@pytest.mark.parametrize("what", ["lr", "gt", "weights", "code", "restoring", "scale"])
def test_whatever_moves_a_number_is_looked_at(toy, settings, what):
    whole = measure(toy, settings).record
    one = job(toy, settings)
    clips = list(whole.clips)
    index = next(i for i, clip in enumerate(clips) if clip.clip == "pan")
    change = {
        "lr": {"lr_sha256": "0" * 64},
        "gt": {"gt_sha256": "0" * 64},
        "restoring": {"restoring": {"window": 5}},
    }
    clips[index] = msgspec.structs.replace(clips[index], **change.get(what, {}))
    sources = {
        key: msgspec.structs.replace(
            source,
            code_sha256="0" * 64 if what == "code" else source.code_sha256,
            checkpoint_sha256="0" * 64 if what == "weights" else None,
        )
        for key, source in whole.provenance.items()
    }
    scale = 2 if what == "scale" else 4
    changed = msgspec.structs.replace(whole, clips=clips, provenance=sources, scale=scale)
    record.write(RESULTS, changed)
    stale = ALL if what in {"weights", "code", "scale"} else ["pan"]
    assert resume.missing(one, []) == stale


def test_another_protocol_needs_another_pass(toy, settings):
    measure(toy, settings)
    assert resume.missing(job(toy, settings, protocols=["border=2"]), []) == ALL


def test_a_plan_knows_another_precision(settings):
    item = plan.Planned(plan.Run("nets", "window", "sample", "bi"), {}, 0, None)
    one = evaluate.job(item, toynetworks.paper(), ["pan"], settings, RESULTS)
    source = provenance.now(module="toynetworks")
    clip = record.ClipRecord(
        clip="pan",
        frames=9,
        gt_sha256="",
        lr_sha256="",
        lr_origin="made",
        sr_sha256="",
        restoring={"window": 3},
        interpolated=[],
        scores={},
        provenance=source.key,
    )
    known = record.Record(
        paper="nets",
        checkpoint="window",
        dataset="sample",
        degradation="bi",
        scale=4,
        clip_count=4,
        protocols={},
        clips=[clip],
        failures=[],
        provenance={source.key: source},
    )
    assert resume.might_be_valid(one, known, "pan")
    half = one._replace(settings=settings._replace(dtype="float16"))
    assert not resume.might_be_valid(half, known, "pan")


def test_frames_that_are_to_be_saved_are_made_again(toy, settings, tmp_path):
    measure(toy, settings, ["pan", "zoom"])
    saving = settings._replace(save=tmp_path / "sr")
    assert measure(toy, saving, ["pan"]).measured == ["pan"]
    assert resume.missing(job(toy, saving), ["pan", "zoom"]) == ["zoom"]
    next((tmp_path / "sr").rglob("*.png")).unlink()
    assert resume.missing(job(toy, saving), ["pan"]) == ["pan"]


def test_places_that_cannot_be_written_are_told_first(toy, settings, tmp_path):
    (tmp_path / "file").touch()
    for moved in (settings._replace(save=tmp_path / "file/sr"), settings):
        results = RESULTS if moved.save else tmp_path / "file/results"
        one = job(toy, moved)._replace(results=results)
        with pytest.raises(BenchError, match=r"cannot write .*: found Not a directory"):
            resume.missing(one, [])


def test_a_clip_that_fails_is_tried_again(toy, settings):
    assert measure(toy, settings, ["pan"], checkpoint="failing").failed
    assert resume.missing(job(toy, settings, checkpoint="failing"), ["pan"]) == ["pan"]


def test_frames_that_were_replaced_are_measured_again(toy, settings, tmp_path):
    from bench import frames

    def put(name, shift):
        for i, frame in enumerate(sample.clip(name)):
            frames.write(tmp_path / "data/toy" / name / f"{i}.png", frame + shift)

    for name in sample.names():
        put(name, 0)
    measure(toy, settings, checkpoint="released")
    one = job(toy, settings, checkpoint="released")
    assert resume.missing(one, []) == []
    put("zoom", 1)
    assert resume.missing(one, []) == ["zoom"]


def test_the_digest_of_code_is_that_of_what_a_score_needs():
    alone, toy = provenance.code_sha256(), provenance.code_sha256("toypaper")
    assert len({alone, toy, provenance.code_sha256("reproductions.tdan.network")}) == 3
    assert provenance.code_sha256("reproductions.tdan.network") != provenance.code_sha256(
        "reproductions.edvr.network"
    )


def test_a_run_in_process_can_be_cut_short(toy, settings):
    """What was finished before the interruption is in the record."""
    one = job(toy, settings)
    items = in_process([(one, clip) for clip in ALL])
    next(items)
    items.close()
    whole = journal.gather(RESULTS, one.run)
    assert [clip.clip for clip in whole.clips] == ["pan"]
