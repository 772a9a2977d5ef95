from __future__ import annotations

import json
import math
from pathlib import Path

import msgspec
import pytest

from bench import provenance, record, score
from bench.errors import BenchError
from bench.protocol import PROTOCOLS, Protocol


def clip(noise, name: str, source, protocols=("fixed",)):
    gt = noise(3, 32, 40)
    sr = 255 - gt
    sr[1] = gt[1]
    scored = score.score_clip(sr, list(gt), {p: PROTOCOLS[p] for p in protocols})
    return record.clip_record(
        name, scored, source, lr_sha256=None, lr_origin=None, restoring={}, interpolated=[]
    )


def make(noise, names, count=2, protocols=("fixed",), source=None):
    source = source or provenance.now()
    return record.Record(
        paper="p",
        checkpoint="c",
        dataset="vid4",
        degradation="bi",
        scale=4,
        clip_count=count,
        protocols={p: PROTOCOLS[p] for p in protocols},
        clips=[clip(noise, name, source, protocols) for name in names],
        failures=[],
        provenance={source.key: source},
    )


def test_round_trip(tmp_path, noise):
    made = make(noise, ["city", "walk"])
    file = record.write(tmp_path, made)
    assert file == tmp_path / "records/p/c/vid4-bi.json"
    assert record.read(file) == made
    text = file.read_text()
    assert text.endswith("}\n")
    assert not text.endswith("\n\n")
    data = json.loads(text)
    assert data["schema"] == 2
    assert list(data) == sorted(data)
    assert data["clips"][0]["scores"]["fixed"]["psnr"][1] == "inf"
    assert record.read_all(tmp_path) == record.read_all(tmp_path, "p") == [made]
    assert record.read_all(tmp_path, "q") == []
    record.write(tmp_path, made)
    assert file.read_text() == text


def test_means_and_completeness(noise):
    made = make(noise, ["city", "walk"])
    psnr, ssim = made.mean("fixed")
    assert made.complete("fixed")
    assert (psnr.infinite, psnr.total) == (2, 6)
    assert math.isfinite(psnr.value)
    assert ssim.infinite == 0
    assert made.mean("fixed", "walk")[0].total == 3
    assert not make(noise, ["city"]).complete("fixed")


def test_name_of_goes_by_hash(noise):
    made = make(noise, ["city"], protocols=("fixed", "rgb-crop0"))
    assert made.name_of(Protocol()) == "fixed"
    assert made.name_of(Protocol(channel="rgb", border=0)) == "rgb-crop0"
    assert made.name_of(Protocol(border=2)) is None


def test_provenance_says_where_a_number_came_from():
    made = provenance.now(checkpoint_sha256="ab")
    assert made.packages["numpy"] == __import__("numpy").__version__
    assert made.checkpoint_sha256 == "ab"
    assert made.device == provenance.cpu_model()
    assert made.measured_at.endswith("Z")
    assert len(made.key) == 8


def test_merging_keeps_clips_measured_in_the_same_way(noise):
    old = make(noise, ["city", "foliage"], count=4)
    new = make(noise, ["city", "walk"], count=4)
    merged = record.merged(old, new)
    assert [c.clip for c in merged.clips] == ["city", "foliage", "walk"]
    assert merged.clip("city") == new.clip("city")
    assert merged.clip("foliage") == old.clip("foliage")
    assert set(merged.provenance) == {c.provenance for c in merged.clips}
    assert record.merged(None, new) == new
    assert record.merged(msgspec.structs.replace(old, scale=2), new) == new


@pytest.mark.parametrize("what", ["weights", "origin", "restoring"])
def test_merging_drops_clips_measured_in_another_way(noise, what):
    other = provenance.now(checkpoint_sha256="ab") if what == "weights" else None
    old = make(noise, ["city"], source=other)
    change = {"origin": {"lr_origin": "files"}, "restoring": {"restoring": {"window": 5}}}
    clips = [msgspec.structs.replace(c, **change.get(what, {})) for c in old.clips]
    old = msgspec.structs.replace(old, clips=clips)
    assert [c.clip for c in record.merged(old, make(noise, ["walk"])).clips] == ["walk"]


def test_merging_drops_a_protocol_that_changed(noise):
    old = make(noise, ["city"])
    changed = {"fixed": Protocol(border=4)}
    old = msgspec.structs.replace(old, protocols=changed)
    assert [c.clip for c in record.merged(old, make(noise, ["walk"])).clips] == ["walk"]


def test_records_that_contradict_themselves(tmp_path, noise):
    made = make(noise, ["city", "walk"])
    file = record.write(tmp_path, made)
    data = json.loads(file.read_text())

    def expect(words: str) -> None:
        file.write_text(json.dumps(data))
        with pytest.raises(BenchError, match=words):
            record.read_all(tmp_path)

    data["clips"][1]["clip"] = "city"
    expect("a clip is recorded twice")
    data["clips"][1]["clip"] = "walk"
    data["clips"][1]["scores"]["fixed"]["psnr"].pop()
    expect("clip walk: fixed needs the scores of 3 frames")
    data["clips"][1]["scores"] = {"other": data["clips"][0]["scores"]["fixed"]}
    expect("clip walk: unknown protocol 'other'")
    data["clips"][1]["provenance"] = "none"
    expect("clip walk: unknown provenance 'none'")
    data["clips"].pop()
    file.write_text(json.dumps(data))
    (file.parent / "vid4-bi (copy).json").write_text(file.read_text())
    with pytest.raises(BenchError, match=r"\(copy\).json is misplaced: expected .*vid4-bi.json"):
        record.read_all(tmp_path)


@pytest.mark.parametrize("place", ["vid4-bi.json", "p/vid4-bi.json", "p/c/old/vid4-bi.json"])
def test_records_that_lie_too_high_or_too_deep_are_misplaced(tmp_path, noise, place):
    file, elsewhere = record.write(tmp_path, make(noise, ["city"])), tmp_path / "records" / place
    elsewhere.parent.mkdir(exist_ok=True)
    file.rename(elsewhere)
    with pytest.raises(BenchError, match=r"vid4-bi\.json is misplaced: expected .*/p/c/vid4"):
        record.read_all(tmp_path)


def test_files_from_elsewhere(tmp_path, noise):
    file = record.write(tmp_path, make(noise, ["city"]))
    data = json.loads(file.read_text())
    file.write_text(json.dumps(data | {"schema": 3, "new": "field"}))
    with pytest.raises(BenchError, match="written by a newer version of bench: expected schema 2"):
        record.read(file)
    file.write_text(json.dumps(data | {"new": "field"}))
    with pytest.raises(BenchError, match="unknown field `new`"):
        record.read(file)
    file.write_text(json.dumps(data)[:300])
    with pytest.raises(BenchError, match=r"is not JSON: .*or remove it to measure its clips again"):
        record.read(file)


def test_means_of_frames_shown_and_interpolated(noise):
    made = make(noise, ["city", "walk"])
    clips = [msgspec.structs.replace(clip, interpolated=[1]) for clip in made.clips]
    made = msgspec.structs.replace(made, clips=clips)
    assert made.interpolates
    between, shown = made.mean("fixed", part="interpolated"), made.mean("fixed", part="shown")
    assert (between[0].infinite, between[0].total) == (2, 2)  # the frames that equal their GT
    assert (shown[0].infinite, shown[0].total) == (0, 4)
    assert shown[0].value == pytest.approx(made.mean("fixed")[0].value, abs=1e-12)


def test_failures_give_way_to_measurements(noise):
    def failed(clip, now):
        one = record.Failure(clip=clip, error=["broken"], provenance=now.key)
        whole = make(noise, [], source=now)
        return msgspec.structs.replace(whole, failures=[one], provenance={now.key: now})

    then, now = provenance.now(), provenance.now("some GPU")
    merged = record.merged(None, failed("walk", then), failed("city", then))
    assert [one.clip for one in merged.failures] == ["city", "walk"]
    assert set(merged.provenance) == {then.key}
    merged = record.merged(merged, make(noise, ["city"], source=now))
    assert [one.clip for one in merged.failures] == ["walk"]
    assert set(merged.provenance) == {then.key, now.key}
    kept = record.merged(merged, failed("city", now))
    assert kept.clip("city") == merged.clip("city")
    assert [one.clip for one in kept.failures] == ["walk"]


def test_records_of_the_first_schema_are_still_read():
    file = Path(__file__).parent / "fixtures/record-schema-1.json"
    read = record.read(file)
    assert json.loads(file.read_text())["schema"] == 1
    assert read.schema == record.SCHEMA
    assert [clip.clip for clip in read.clips] == ["calendar"]
    assert read.clips[0].interpolated == read.failures == []
    assert {source.code_sha256 for source in read.provenance.values()} == {None}
