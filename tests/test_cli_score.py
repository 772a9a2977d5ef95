from __future__ import annotations

import json
import re
from pathlib import Path

import corruptions
import numpy as np
import pytest

from bench import degrade, frames, sample


@pytest.fixture
def clips(tmp_path, monkeypatch):
    """Two clips of the sample set as `gt` and, bicubic, as `sr`; the test is where they lie."""
    for name in ("pan", "zoom"):
        gt = list(sample.clip(name))
        put(tmp_path / "gt" / name, gt)
        put(tmp_path / "sr" / name, [degrade.upsample(degrade.degrade(f, "bi")) for f in gt])
    monkeypatch.chdir(tmp_path)
    return tmp_path


def put(folder, clip):
    for i, frame in enumerate(clip):
        frames.write(folder / f"{i}.png", np.ascontiguousarray(frame))


def read(folder):
    return [frames.read(path) for path in frames.frame_files(folder)]


def test_match_finds_what_score_computed(bench, clips):
    out = bench("score", "sr", "gt", "--protocol", "border=3,skip=1")[1]
    psnr, ssim = re.search(r"clip mean +([\d.]+) +([\d.]+)$", out, re.MULTILINE).groups()
    code, out, err = bench("match", "sr", "gt", f"{psnr}/{ssim}")
    assert (code, err) == (0, "")
    assert re.search(rf"^of 1\d\d\d ways to compute it, 1 gives {psnr}/{ssim} ", out)
    row = r"^Y, crop 3, 1 frames left out at each end, clip mean +border=3,skip=1 +[\d.]+ +[\d.]+ "
    assert re.search(row + r"+[+-]0.0000 / [+-]0.0000\d$", out, re.MULTILINE)
    assert "a hypothesis, not proof" in out
    assert bench("score", "sr", "gt", "--protocol", "border=3,skip=1")[0] == 0


def test_match_against_a_data_set_by_psnr_alone(bench, clips):
    out = bench("score", "sr/pan", "gt/pan")[1]
    psnr = re.search(r"^fixed +pan +([\d.]+) ", out, re.MULTILINE)[1]
    code, out, _ = bench("match", "sr", "sample", f"{psnr}/-", "--clip", "pan", "--workers", 1)
    assert code == 0
    assert re.search(r"^Y, crop 8, clip mean +fixed +[\d.]+ +- +[+-]0.0000$", out, re.MULTILINE)


def test_match_by_ssim_alone(bench, clips):
    out = bench("score", "sr/pan", "gt/pan")[1]
    ssim = re.search(r"^fixed +pan +[\d.]+ +([\d.]+)$", out, re.MULTILINE)[1]
    code, out, err = bench("match", "sr/pan", "gt/pan", f"-/{ssim}")
    assert (code, err) == (0, "")
    assert re.search(rf"^of \d+ ways to compute it, \d+ gives? -/{ssim} for these frames", out)
    assert re.search(
        r"^Y, crop 8, clip mean +fixed +[\d.]+ +[\d.]+ +[+-]0.0000\d$", out, re.MULTILINE
    )


def test_match_that_finds_none_names_the_nearest_five(bench, clips):
    code, out, _ = bench("match", "sr/pan", "gt/pan", "19.99/-")
    assert code == 1
    assert re.search(r"^of \d+ ways to compute it, none gives 19.99/- for these frames", out)
    assert len(re.findall(r"^(?:Y|RGB), crop .*[+-]\d+\.\d{4}$", out, re.MULTILINE)) == 5
    assert "a hypothesis, not proof" in out


def test_diagnose_is_silent_on_clean_clips(bench, clips):
    code, out, err = bench("diagnose", "sr", "gt")
    assert (code, err) == (0, "")
    assert re.fullmatch(r"(\w+: nothing wrong was found \(RGB PSNR [\d.]+ dB\)\n){2}", out)


def test_diagnose_names_each_clips_fault(bench, clips, rng):
    put(clips / "sr/pan", corruptions.exchanged(read(clips / "sr/pan"), rng))
    put(clips / "sr/zoom", corruptions.moved(read(clips / "sr/zoom"), 1.5, 1.5)[::-1])
    code, out, err = bench("diagnose", "sr", "sample", "--clip", "pan", "--clip", "zoom")
    assert (code, err) == (1, "")
    lines = out.splitlines()
    assert re.fullmatch(r"pan: 1 found: RGB PSNR [\d.]+ dB, mended [\d.]+ dB", lines[0])
    assert re.match(
        r"  channels \[\+[\d.]+ dB\]: red and blue are exchanged; write frame", lines[1]
    )
    assert lines[2].startswith("zoom: 2 found")
    assert {line.split()[0] for line in lines[3:]} == {"order", "shift"}
    assert "bd-duf" in out


def test_diagnose_one_clip_of_another_name(bench, clips):
    (clips / "sr/zoom").rename(clips / "sr/mine")
    code, out, _ = bench("diagnose", "sr/mine", "gt/zoom")
    assert (code, out.split(":")[1]) == (0, " nothing wrong was found (RGB PSNR 25.80 dB)\n")
    (clips / "sr/mine").rename(clips / "pan")
    code, out, _ = bench("diagnose", "pan", "gt")
    assert code == 1
    assert re.search(r"^  clip \[\+[\d.]+ dB\]: SR shows the clip zoom", out, re.MULTILINE)


def test_temporal_measures_each_clip_and_their_mean(bench, clips):
    code, out, err = bench("temporal", "sr", "gt", "--json", "new/t.json", "--csv", "t.csv")
    assert (code, err) == (0, "")
    rows = [line.split() for line in out.splitlines() if re.search(r"\d$", line)]
    assert [row[0] for row in rows] == ["pan", "zoom", "clip"]
    values = [[float(value) for value in row[-5:]] for row in rows]
    assert np.mean(values[:2], axis=0) == pytest.approx(values[2], abs=0.06)
    data = json.loads(Path("new/t.json").read_text())
    assert f"definition 1 ({data['hash']}): compare them only" in out
    assert data["clips"]["zoom"]["mean"]["tof"] == pytest.approx(values[1][2], abs=1e-4)
    assert Path("t.csv").read_text().count("\n") == 17
    alone = bench("temporal", "sr/zoom", "gt/zoom", "--workers", 1)[1]
    assert " ".join(rows[1]) in " ".join(alone.split())
    assert "clip mean" not in alone
    chosen = bench("temporal", "sr", "sample", "--clip", "zoom")[1]
    assert " ".join(rows[1]) in " ".join(chosen.split())


def test_temporal_says_what_it_leaves_out(bench, clips):
    put(clips / "cut", [*sample.clip("pan")[:2], *sample.clip("rotation")[:2]])
    out = bench("temporal", "cut", "cut")[1]
    assert "\ncut: 1 of 3 pairs of frames is left out: too little of GT is seen in both\n" in out
    assert re.search(r"^cut +[\d.]+ +[\d.]+ +0.0000 +- +[\d.]+$", out, re.MULTILINE)


@pytest.mark.parametrize(
    ("words", "message"),
    [
        ("temporal nowhere gt", "cannot read the folder nowhere"),
        ("temporal sr nowhere", "cannot read the folder nowhere"),
        ("temporal sr gt --clip tilt", "GT lacks tilt: expected 1 clips: tilt, found 2: pan, zoom"),
        ("temporal sr sample --clip tilt", "tilt"),
        ("temporal tiny gt/pan", "the clip: SR and GT differ in the number of frames"),
        ("temporal tiny tiny", "the clip cannot be measured .* at least 3, found 2 SR, 2 GT"),
        ("temporal one one", "clip pan: the clip cannot be measured .* found 1 SR, 1 GT"),
        ("temporal mixed gt/pan", "differ in the number of frames"),
        ("temporal three three", "SR frame 2 differs in size .* expected 48x40, found 44x40"),
        ("temporal low gt/pan", "low/0.png differs in size from its GT frame"),
        ("match sr gt 27.33", "not a published number: expected PSNR/SSIM as printed"),
        ("match sr gt 27.33/1.5", "not a published number"),
        ("match sr gt -/-", "not a published number: .* found '-/-'"),
        ("match sr gt -/x", "not a published number: .* found '-/x'"),
        ("match sr gt", "the following arguments are required: PSNR/SSIM"),
        ("match nowhere gt 27.33/-", "cannot read the folder nowhere"),
        ("match sr/pan gt 27.33/-", "SR lacks pan"),
        ("match tiny tiny 27.33/-", "at least 27 pixels a side, found 20x20"),
        ("diagnose sr nowhere", "cannot read the folder nowhere"),
        ("diagnose sr gt --clip tilt", "SR and GT are not of the same clips: expected tilt"),
        (
            "diagnose other gt",
            "SR and GT are not of the same clips: expected pan, zoom, found a, b",
        ),
        ("diagnose tiny tiny", "too small to tell"),
        ("diagnose tiny gt/pan", "differ in size by more than padding"),
        ("diagnose mixed gt/pan", "frame 2 differs in size from the first"),
        ("diagnose odd gt", "clip zoom: SR and GT frames differ in size by more than padding"),
        ("match little little 27.33/-", "clip pan: SR and GT frames cannot be compared"),
    ],
)
def test_bad_input_is_one_line(bench, clips, noise, words, message):
    put(clips / "tiny", noise(2, 20, 20))
    put(clips / "one/pan", noise(1, 40, 48))
    put(clips / "one/zoom", noise(3, 40, 48))
    put(clips / "three", [noise(40, 48), noise(40, 44), noise(40, 48)])
    put(clips / "low", noise(9, 36, 48))
    put(clips / "other/a", noise(1, 144, 192))
    put(clips / "other/b", noise(1, 144, 192))
    put(clips / "odd/pan", sample.clip("pan"))
    put(clips / "odd/zoom", noise(2, 40, 48))
    put(clips / "little/pan", noise(2, 20, 20))
    put(clips / "little/zoom", noise(2, 20, 20))
    put(clips / "mixed", [noise(144, 192), noise(140, 192)])
    code, _, err = bench(*words.split())
    assert code == 2
    assert re.search(message, err)
    assert len(err.splitlines()) == 1
