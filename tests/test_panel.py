from __future__ import annotations

import pytest
from measured import clip, device, failure, made, scores, source, timed

from bench import latency, record
from bench.site import panel


def facts(one):
    return dict(panel.of_record(one).facts)


def test_files_are_those_that_are_written(tmp_path):
    one, time = made([clip("pan", scores([25.0]))]), timed([4.0])
    assert tmp_path / panel.record_file(one) == record.write(tmp_path, one)
    assert tmp_path / panel.latency_file(time) == latency.write(tmp_path, time)
    assert panel.of_record(one).file == panel.record_file(one) == "records/toy/good/sample-bi.json"
    assert panel.of_latency(time).file == panel.latency_file(time)


def test_what_a_record_says():
    asked = {"window": 5, "edge": "reflection"}
    one = made([clip("pan", scores([25.0] * 9), restoring=asked, lr_origin="made")], clip_count=4)
    told = facts(one)
    assert told["clips measured"] == "1 of 4"
    assert told["frames"] == "9"
    assert told["LR frames"] == "made"
    assert told["restoring"] == "edge reflection, window 5"
    assert told["checkpoint SHA-256"] == "feed"
    assert told["commit"] == "0" * 40
    assert told["packages"] == "torch 2.13.0"
    assert told["device"] == "AMD EPYC"


def test_what_differs_between_clips_is_said_once_each():
    here, there = source(), source(device="NVIDIA H200", dirty=True, measured_at="later")
    again = source(measured_at="later still")
    clips = [
        clip("pan", scores([25.0]), restoring={"padded": 4}),
        clip("tilt", scores([25.0]), provenance=again.key),
        clip("zoom", scores([25.0]), provenance=there.key),
    ]
    one = made(clips, provenance={each.key: each for each in (here, there, again)})
    told = facts(one)
    assert told["restoring"] == "none (2 clips); padded 4 (1 clip)"
    assert sorted(told["device"].split("; ")) == ["AMD EPYC", "NVIDIA H200"]
    assert sorted(told["commit"].split("; ")) == ["0" * 40, "0" * 40 + " (changed)"]
    assert "later" not in str(told)


def test_means_stand_under_every_protocol_unless_clips_are_missing():
    by_protocol = {"fixed": scores([25.0] * 2), "rgb-crop0": scores([23.0] * 2)}
    one = made([clip("pan", by_protocol)])
    fixed, rgb = panel.of_record(one).scores
    assert (fixed.name, fixed.psnr, fixed.ssim) == ("fixed", "25.0000", "0.8000")
    assert fixed.hash == one.protocols["fixed"].hash
    assert (rgb.words, rgb.psnr) == ("RGB, crop 0, clip mean", "23.0000")
    part = made([clip("pan", by_protocol)], clip_count=3)
    assert [one.psnr for one in panel.of_record(part).scores] == ["1 of 3 clips"] * 2


def test_untrained_failed_and_interpolated_ones_are_said_to_be_so():
    clips = [clip("pan", scores([9.0] * 3), restoring={"weights": "untrained"}, interpolated=[1])]
    told = facts(made(clips, failures=[failure("zoom", "out of memory")], clip_count=4))
    assert told["weights"] == "untrained"
    assert told["failed: zoom"] == "out of memory"
    assert told["interpolated frames"] == "1"


def test_what_a_latency_says():
    one = timed([12.5, 12.5, 12.5], device=device("NVIDIA H200", "cuda"))
    told = dict(panel.of_latency(one).facts)
    assert float(told["ms per frame"]) == pytest.approx(12.5)
    assert told["device"].startswith("NVIDIA H200")
    assert told["samples"] == f"50 frames in {one.passes} passes"
    assert panel.of_latency(one).scores == []
    assert panel.of_latency(one).title == f"{one.paper} / {one.checkpoint} on nvidia-h200"
