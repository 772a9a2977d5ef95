from __future__ import annotations

import json
import math

import numpy as np
import pandas as pd
import pytest

from bench import frames, metrics, score
from bench.errors import BenchError
from bench.protocol import PROTOCOLS, Protocol


@pytest.fixture
def pair(noise):
    gt = noise(9, 40, 48)
    sr = gt.copy()
    sr[:, ::3] = 255 - sr[:, ::3]
    sr[4] = gt[4]
    return sr, gt


def test_every_protocol_in_one_pass(pair):
    sr, gt = pair
    scored = score.score_clip(iter(sr), list(gt), PROTOCOLS)
    for name, protocol in PROTOCOLS.items():
        scores, chosen = scored.scores[name], list(protocol.scored(9))
        assert list(scores.frames) == chosen
        expected = metrics.psnr(sr[chosen], gt[chosen], protocol.channel, protocol.border)
        assert scores.psnr == pytest.approx(list(expected), abs=1e-6)
        expected = metrics.ssim(sr[chosen], gt[chosen], protocol.channel, protocol.border)
        assert scores.ssim == list(expected)
    assert scored.scores["y-crop0-centre"].psnr == [math.inf]


def test_stream_sequence_and_workers_give_the_same(pair):
    sr, gt = pair
    whole = score.score_clip(list(sr), list(gt), PROTOCOLS, workers=1)
    assert score.score_clip(iter(sr), list(gt), PROTOCOLS, workers=5) == whole
    assert whole.sr_sha256 == score.digest(sr) != whole.gt_sha256 == score.digest(gt)


def test_sr_frames_are_drawn_as_they_are_scored(pair):
    sr, gt = pair
    drawn, done = [], []

    def stream():
        for i, frame in enumerate(sr):
            drawn.append(i)
            assert i - len(done) <= 4
            yield frame

    score.score_clip(
        stream(), list(gt), {"f": Protocol()}, workers=1, on_frame=lambda: done.append(1)
    )
    assert len(drawn) == len(done) == 9


@pytest.mark.parametrize("count", [0, 8, 10, 14])
def test_counts_that_differ(pair, count):
    sr, gt = pair
    frames_of = [sr[i % 9] for i in range(count)]
    for given in (frames_of, iter(frames_of)):
        with pytest.raises(BenchError, match="differ in the number of frames: expected 9 SR"):
            score.score_clip(given, list(gt), {"fixed": Protocol()})


def test_the_frame_of_another_size_is_named(pair):
    sr, gt = list(pair[0]), list(pair[1])
    sr[6] = sr[6][:32]
    with pytest.raises(BenchError, match=r"frame 7 of 9: SR and GT frames differ in shape"):
        score.score_clip(sr, gt, {"fixed": Protocol()})


def test_means_say_what_they_leave_out():
    assert score.mean([30.0, 32.0]).text() == "31.0000"
    assert score.mean([30.0, math.inf, 32.0]).text(2) == "31.00 (1 of 3 frames identical)"
    assert score.mean([math.inf] * 2).text() == "inf (all 2 frames identical)"
    clips = [[30.0, 32.0], [math.inf, math.inf], [40.0, math.inf]]
    by_clip = score.dataset_mean(clips, Protocol())
    assert by_clip == (35.5, 3, 6)
    assert by_clip.text(1) == "35.5 (3 of 6 frames identical)"
    by_frame = score.dataset_mean(clips, Protocol(averaging="frames"))
    assert by_frame == (34.0, 3, 6)


def test_clip_mean_and_frame_mean_differ_for_clips_of_unequal_length():
    clips = [[30.0], [36.0, 36.0]]
    assert score.dataset_mean(clips, Protocol()).value == 33.0
    assert score.dataset_mean(clips, Protocol(averaging="frames")).value == 34.0


def test_pairing_is_by_clip_name_and_frame_order(tmp_path, put):
    for clip in ("city", "walk"):
        stack = put(tmp_path / "gt" / clip / "truth", 3)
        for i, frame in enumerate(stack):
            frames.write(tmp_path / "sr" / clip / f"Frame {i + 8}.png", frame)
    pairs = score.pair(tmp_path / "sr", score.gt_clips(tmp_path / "gt"))
    assert list(pairs) == ["city", "walk"]
    for sr, gt in pairs.values():
        assert all(np.array_equal(a, b) for a, b in zip(sr, gt, strict=True))
    assert list(score.pair(tmp_path / "sr", score.gt_clips(tmp_path / "gt"), ["walk"])) == ["walk"]


def test_pairing_names_what_does_not_fit(tmp_path, put):
    put(tmp_path / "gt/a", 3)
    put(tmp_path / "gt/b", 3)
    gt = score.gt_clips(tmp_path / "gt")

    def expect(words: str, *clips: str) -> None:
        with pytest.raises(BenchError, match=words) as caught:
            score.pair(tmp_path / "sr", gt, clips)
        assert "\n" not in str(caught.value)

    expect("cannot read the folder")
    put(tmp_path / "sr/a", 3)
    expect("SR lacks b: expected 2 clips: a, b, found 1: a")
    expect("GT lacks c", "c")
    put(tmp_path / "sr/b", 2)
    expect("clip b: SR and GT differ in the number of frames: expected 3 as GT, found 2 in")
    put(tmp_path / "sr/b", 3, 18, 20)
    expect("clip b: .*00000000.png differs in size from its GT frame: expected 20x16, found 20x18")
    put(tmp_path / "sr/b", 3)
    put(tmp_path / "sr/c", 3)
    expect("SR holds clips that GT lacks: expected 2 clips: a, b, found c")
    assert list(score.pair(tmp_path / "sr", gt, ["a"])) == ["a"]


def test_export(tmp_path, pair):
    sr, gt = pair
    protocols = {"fixed": Protocol(), "skip=1": Protocol(skip=1)}
    clips = {"a, b": score.score_clip(sr, list(gt), protocols).scores}
    score.export(clips, protocols, tmp_path / "s.json", tmp_path / "s.csv")
    data = json.loads((tmp_path / "s.json").read_text())
    assert data["skip=1"]["clips"]["a, b"]["frames"] == list(range(1, 8))
    assert data["fixed"]["clips"]["a, b"]["psnr"][4] == "inf"
    assert data["fixed"]["hash"] == Protocol().hash
    table = pd.read_csv(tmp_path / "s.csv")
    assert list(table.columns) == ["protocol", "clip", "frame", "psnr", "ssim"]
    assert len(table) == 9 + 7
    assert table["psnr"].max() == math.inf
