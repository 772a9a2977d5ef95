from __future__ import annotations

import math
import re
import sys
import time

import numpy as np
import pytest

from bench import metrics, score
from bench.errors import BenchError
from bench.protocol import PROTOCOLS, Protocol
from bench.questions import match, windows


@pytest.fixture(scope="module")
def clips():
    """SR and GT of two clips of unequal length."""
    rng = np.random.default_rng(5)
    made = {}
    for name, count, size in (("a", 5, 5.0), ("b", 7, 9.0)):
        gt = rng.integers(30, 220, (count, 44, 52, 3), dtype=np.uint8)
        noise = rng.normal(0, size, gt.shape) * np.linspace(0.5, 1.5, 52)[:, None]
        noise *= np.linspace(0.8, 1.2, count)[:, None, None, None]
        made[name] = np.clip(np.round(gt + noise), 0, 255).astype(np.uint8), gt
    return made


@pytest.fixture(scope="module")
def measured(clips):
    return {name: match.measure(*pair) for name, pair in clips.items()}


def printed(psnr, ssim, digits=(4, 6)):
    return match.parse(f"{psnr:.{digits[0]}f}/{ssim:.{digits[1]}f}")


@pytest.mark.parametrize("name", PROTOCOLS)
def test_every_named_protocol_is_found_from_its_own_number(clips, measured, name):
    protocol = PROTOCOLS[name]
    scores = {
        clip: score.score_clip(sr, gt, {name: protocol}).scores[name]
        for clip, (sr, gt) in clips.items()
    }
    psnr = score.dataset_mean([s.psnr for s in scores.values()], protocol).value
    ssim = score.dataset_mean([s.ssim for s in scores.values()], protocol).value
    found = [one for one in match.search(measured, printed(psnr, ssim)) if one.fits]
    assert match.name_of(found[0].way) == name or protocol.frames == "centre"
    assert found[0].way.fields.moved.items() <= protocol.moved.items()
    assert not found[0].way.beyond
    assert found[0].psnr == pytest.approx(psnr, abs=1e-5)
    assert found[0].ssim == pytest.approx(ssim, abs=1e-6)


@pytest.mark.parametrize(
    ("luma", "similarity"),
    [
        ("y-rounded", ("gaussian", 255.0)),
        ("y-full", ("uniform", 255.0)),
        ("y-full-rounded", ("gaussian", 255.0)),
        ("y", ("gaussian", 219.0)),
        ("y", ("zeros", 255.0)),
    ],
)
def test_what_a_protocol_cannot_say_is_found_and_put_in_words(clips, measured, luma, similarity):
    weights = {"y-full": (0.299, 0.587, 0.114)}

    def plane(frame):
        y = metrics.luma(frame)
        if "full" in luma:
            y = frame @ np.array(weights["y-full"])
        return np.floor(y + 0.5) if "rounded" in luma else y

    psnr, ssim = [], []
    for sr, gt in clips.values():
        pairs = [(plane(a), plane(b)) for a, b in zip(sr, gt, strict=True)]
        errors = [windows.squared_errors(*pair, (4,))[0] for pair in pairs]
        psnr.append(np.mean(10 * np.log10(255**2 / np.array(errors))))
        ssim.append(
            np.mean([windows.similarities(*pair, (4,), (similarity,))[0, 0] for pair in pairs])
        )
    best = match.search(measured, printed(np.mean(psnr), np.mean(ssim), (5, 7)))[0]
    assert best.fits
    assert (best.way.luma, best.way.similarity) == (luma, similarity)
    assert best.way.fields == Protocol(border=4)
    assert best.way.beyond == [
        word for word in (match.LUMAS[luma], match.SIMILARITIES[similarity]) if word
    ]
    assert match.name_of(best.way) == "-"
    assert str(best.way) == "; ".join(["Y, crop 4, clip mean", *best.way.beyond])


def test_one_channel_and_the_error_of_all_frames(clips, measured):
    errors = np.concatenate(
        [
            np.square(sr.astype(float) - gt)[:, 8:-8, 8:-8].mean(axis=(1, 2, 3))
            for sr, gt in clips.values()
        ]
    )
    whole = 10 * np.log10(255**2 / errors.mean())
    best = match.search(measured, match.parse(f"{whole:.6f}/-"))[0]
    assert best.fits
    assert str(best.way) == "RGB, crop 8, frame mean; PSNR of the mean squared error of all frames"
    blue = [
        np.mean(
            [
                windows.similarities(a[..., 2] * 1.0, b[..., 2] * 1.0, (8,), (("gaussian", 255.0),))
                for a, b in zip(sr, gt, strict=True)
            ]
        )
        for sr, gt in clips.values()
    ]
    fitting = [
        one for one in match.search(measured, match.parse(f"-/{np.mean(blue):.8f}")) if one.fits
    ]
    assert "SSIM of channel B alone" in fitting[0].way.beyond


def test_nearest_come_first_and_none_is_invented(measured):
    found = match.search(measured, match.parse("11.11/0.1234"))
    assert not any(one.fits for one in found)
    distances = [one.distance for one in found]
    assert distances == sorted(distances)
    assert len({str(one.way) for one in found}) == len(found)
    nearest = found[0]
    assert nearest.distance == pytest.approx(
        max(abs(nearest.psnr - 11.11) / 0.01, abs(nearest.ssim - 0.1234) / 0.0001)
    )


def test_fewer_digits_fit_more_and_the_half_fits(measured):
    fixed = next(
        one for one in match.search(measured, match.parse("30.00/-")) if not one.way.fields.moved
    )
    counts = [
        sum(one.fits for one in match.search(measured, match.parse(f"{fixed.psnr:.{digits}f}/-")))
        for digits in (1, 2, 6)
    ]
    assert counts[0] >= counts[1] >= counts[2] >= 1


def test_ways_that_come_to_the_same_are_tried_once(clips):
    one = {"a": match.measure(*clips["a"], with_ssim=False)}
    ways = list(match.ways(one, with_ssim=False))
    assert {way.average for way in ways} == {"clips", "error"}
    frame = {"a": match.measure(*(part[:1] for part in clips["a"]), with_ssim=False)}
    assert {way.fields.frames for way in match.ways(frame, with_ssim=False)} == {"all"}
    assert len(list(match.ways(frame, with_ssim=False))) == 5 * 9


def test_identical_frames_match_nothing(clips):
    _, gt = clips["a"]
    found = match.search({"a": match.measure(gt, gt)}, match.parse("99.99/1.0000"))
    assert not any(one.fits for one in found)
    assert all(math.isinf(one.psnr) for one in found)


@pytest.mark.parametrize("text", ["27.33", "27/0.8", "-/-", "27.33/83.18", "a/b", "133.00/-", ""])
def test_what_is_no_published_number(text):
    with pytest.raises(BenchError, match=r"not a published number: expected .*found"):
        match.parse(text)


def test_units_are_those_of_the_last_digits():
    assert match.parse("27.330/.83") == (27.33, 0.83, pytest.approx(0.001), pytest.approx(0.01))
    assert match.parse(" - / 0.8318 ").psnr is None


@pytest.mark.parametrize("height", [26, 44])
def test_frames_too_small_or_of_another_size(noise, height):
    sr, gt = noise(1, height, 60), noise(1, 26 if height == 26 else 48, 60)
    with pytest.raises(BenchError, match="at least 27 pixels a side, found 60x"):
        match.measure(sr, gt)


@pytest.mark.data
def test_duf_frames_tell_the_protocols_of_their_published_numbers(data):
    """Prints how long it took: `pytest -s`."""
    pairs = score.pair(data / "vid4/DUF-52L", score.gt_clips(data / "vid4/GT"))
    begin, used = time.perf_counter(), time.process_time()
    measured = {clip: match.measure(sr, gt) for clip, (sr, gt) in pairs.items()}
    for text, name in (("27.33/0.8318", "fixed"), ("25.79/0.8136", "rgb-crop8")):
        found = match.search(measured, match.parse(text))
        assert [match.name_of(one.way) for one in found if one.fits] == [name]
        assert re.fullmatch(r"(Y|RGB), crop 8, clip mean", str(found[0].way))
    elapsed, processor = time.perf_counter() - begin, time.process_time() - used
    sys.stdout.write(
        f"\n171 frames, {len(found)} ways: {elapsed:.0f} s ({processor:.0f} s of processor)\n"
    )
