from __future__ import annotations

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st
from measured import clip, device, failure, made, scores, source, timed

from bench import baseline, latency, record, regression
from bench.latency import Spread
from bench.protocol import PROTOCOLS, Protocol

NAMES = ("calendar", "city", "walk")
PASSES = (10.0, 10.1, 9.9, 10.05, 9.95, 10.02)


def results(*found, title="here"):
    """As `baseline.read` has them."""
    kept = baseline.Results(title, {}, {})
    for one in found:
        if isinstance(one, latency.Latency):
            kept.latencies[str(latency.path(baseline.Path(), one))] = one
        else:
            kept.records[f"{one.paper}/{one.checkpoint}/{one.dataset}-{one.degradation}"] = one
    return kept


def told(before, after):
    """Verdicts by what they are about, without what stayed the same."""
    before, after = (one if isinstance(one, tuple) else (one,) for one in (before, after))
    found = regression.compare(results(*before), results(*after))
    return {one.what: one.verdict for one in found if one.verdict != "same"}


def whole(fall=0.0, ssim=0.8, **fields):
    """Three clips whose PSNR is lower by `fall` than it would be."""
    clips = [
        clip(name, scores([20.0 + i - fall, 25.0 + i - fall], [ssim] * 2))
        for i, name in enumerate(NAMES)
    ]
    return made(clips, **fields)


def test_times_of_other_kernels_are_not_compared():
    plain = timed(median=50.0, restoring={"triton": "0"})
    assert told(timed(median=10.0), plain) == {"time on amd-epyc-1-thread": "not comparable"}
    assert told(plain, plain) == {}


def test_nothing_changed():
    assert told(whole(), whole()) == {}
    found = regression.compare(results(whole()), results(whole()))
    assert len(found) == 3 * (len(NAMES) + 1)
    assert regression.failures(found) == 0


def test_a_fall_of_0_002_db_is_caught():
    named = {f"fixed, {name}: PSNR (dB)": "worse" for name in NAMES}
    assert told(whole(), whole(0.002)) == {**named, "fixed, clip mean: PSNR (dB)": "worse"}


@pytest.mark.parametrize("fall", [0.0005, -0.0005, 0.001])
def test_less_than_the_tolerance_raises_no_alarm(fall):
    assert told(whole(), whole(fall)) == {}


def test_one_clip_is_not_hidden_by_the_mean():
    after = whole()
    after.clips[1] = clip("city", scores([21.0 - 0.002, 26.0 - 0.002]))
    assert told(whole(), after) == {"fixed, city: PSNR (dB)": "worse"}


def test_ssim_has_a_tolerance_of_its_own():
    assert told(whole(), whole(ssim=0.79997)) == {}
    found = told(whole(), whole(ssim=0.7999))
    assert set(found.values()) == {"worse"}
    assert len(found) == len(NAMES) + 1


@given(st.floats(-0.01, 0.01).map(lambda x: round(x, 6)))
def test_what_is_worse_one_way_is_better_the_other(change):
    there, back = told(whole(), whole(change)), told(whole(change), whole())
    opposite = {"worse": "better", "better": "worse"}
    assert back == {what: opposite[verdict] for what, verdict in there.items()}
    assert bool(there) == (abs(change) > 0.001 + 1e-9)


def test_a_deleted_record_fails():
    other = whole(checkpoint="other")
    found = regression.compare(results(whole(), other), results(whole()))
    assert [(one.result, one.what, one.verdict) for one in found if one.fails] == [
        ("toy/other on sample, bi", "record", "missing")
    ]


def test_a_deleted_clip_fails_and_is_told_once():
    after = msgspec.structs.replace(whole(), clips=whole().clips[:2])
    assert told(whole(), after) == {"clip walk": "missing"}
    failed = msgspec.structs.replace(after, failures=[failure("walk", "out of memory")])
    (gone,) = (one for one in regression.compare(results(whole()), results(failed)) if one.fails)
    assert gone.note == "failed: out of memory"


def test_a_changed_protocol_fails_and_its_numbers_are_left_alone():
    changed = whole(5.0, protocols={"fixed": Protocol(border=4)})
    (only,) = regression.compare(results(whole()), results(changed))
    assert (only.verdict, only.what, only.fails) == ("changed", "protocol fixed", True)
    assert (only.before, only.after) == ("Y, crop 8, clip mean", "Y, crop 4, clip mean")
    assert only.note == "numbers are not comparable"


def test_deleted_scores_fail():
    def two(*names):
        clips = [clip(name, {p: scores([20.0]) for p in names}) for name in NAMES]
        return made(clips, protocols={p: PROTOCOLS[p] for p in ("fixed", "rgb-crop0")})

    assert told(two("fixed", "rgb-crop0"), whole_like(two("fixed"))) == {
        "protocol rgb-crop0": "missing"
    }
    assert told(two("fixed", "rgb-crop0"), two("fixed")) == {
        f"rgb-crop0, {name}": "missing" for name in NAMES
    }


def whole_like(found):
    return msgspec.structs.replace(found, protocols={"fixed": PROTOCOLS["fixed"]})


def test_other_gt_frames_and_another_number_of_clips_do_not_compare():
    other = whole(5.0)
    other.clips[0] = clip("calendar", scores([1.0, 1.0]), gt_sha256="other")
    found = told(whole(5.0), other)
    assert found == {"fixed, calendar": "changed"}
    more = whole(clip_count=4)
    assert told(whole(), more) == {"clips of the data set": "changed"}


def test_new_results_are_listed_and_do_not_fail():
    more = whole(checkpoint="more")
    found = regression.compare(results(whole()), results(whole(), more, timed(PASSES)))
    assert [(one.result, one.verdict) for one in found if one.verdict != "same"] == [
        ("toy/more on sample, bi", "new"),
        ("nets/window at 10x20, float32", "new"),
    ]
    assert regression.failures(found) == 0
    both = {"fixed": scores([20.0]), "rgb-crop0": scores([19.0])}
    alone = made([clip("city", {"fixed": scores([20.0])})])
    assert told(alone, made([clip("city", both)])) == {"protocol rgb-crop0": "new"}


def test_better_numbers_are_listed_and_do_not_fail():
    found = regression.compare(results(whole()), results(whole(-0.5)))
    assert regression.failures(found) == 0
    shown = next(one for one in found if one.verdict == "better")
    assert (shown.before, shown.after) == ("22.500000", "23.000000 (+0.500000)")


def test_frames_that_are_no_longer_identical_to_gt_are_worse():
    """Though the mean of the others rises by them."""
    black, spoilt = made([clip("city", scores(["inf", 20.0]))]), whole_city(90.0, 20.0)
    assert told(black, spoilt) == {
        "fixed, city: frames identical to GT": "worse",
        "fixed, clip mean: frames identical to GT": "worse",
    }
    assert set(told(spoilt, black).values()) == {"better"}
    all_black = made([clip("city", scores(["inf", "inf"]))])
    assert told(all_black, all_black) == {}


def whole_city(*psnr):
    return made([clip("city", scores(psnr))])


def test_the_mean_is_that_of_the_protocol():
    """Over frames, a long clip outweighs a short one."""
    name = "y-crop0-framemean"

    def two(of_long):
        long, short = scores([of_long] * 9), scores([30.0])
        return made([clip("long", {name: long}), clip("short", {name: short})])

    found = regression.compare(results(two(20.0)), results(two(21.0)))
    (mean,) = (one for one in found if "frame mean: PSNR" in one.what)
    assert mean.after == "21.900000 (+0.900000)"


def test_what_else_differs_is_said():
    now = source(
        checkpoint_sha256="beef", code_sha256="other", device="H200", packages={"torch": "2.14.0"}
    )
    fields = {"lr_sha256": "x", "restoring": {"dtype": "float16"}, "provenance": now.key}
    after = made([clip("city", scores([19.0]), **fields)], provenance={now.key: now})
    found = regression.compare(results(whole_city(20.0)), results(after))
    assert found[0].note == (
        "differs: weights, LR frames, restoring, code, device, torch 2.13.0 -> 2.14.0, "
        "the scoring of the same SR frames"
    )


def slower(factor, passes=PASSES):
    return timed([factor * one for one in passes])


@pytest.mark.parametrize(
    ("factor", "verdict"), [(1.5, "worse"), (0.5, "better"), (1.03, None), (0.97, None)]
)
def test_times_are_told_apart_by_rank(factor, verdict):
    found = told(timed(PASSES), slower(factor))
    assert found == ({"time on amd-epyc-1-thread": verdict} if verdict else {})


def test_passes_that_overlap_are_not_told_apart():
    """A median that is higher by 10 % says nothing where the passes differ by more."""
    wild = (9.0, 12.0, 10.0, 15.0, 11.0, 8.0)
    assert told(timed(wild), slower(1.1, wild)) == {}


def test_without_passes_the_spread_decides():
    before = timed(median=10.0, spread=0.02)
    assert told(before, timed(median=11.0, spread=0.02)) == {"time on amd-epyc-1-thread": "worse"}
    assert told(before, timed(median=11.0, spread=0.2)) == {}
    few = timed((11.0, 11.1), spread=0.02)
    (found,) = regression.compare(results(timed((10.0, 10.1))), results(few))
    assert (found.verdict, found.note) == ("worse", "5th percentile above the 95th")


def test_two_passes_of_whole_clips_say_nothing():
    """Percentiles of two numbers are these numbers, which lie apart by chance."""
    few = [
        msgspec.structs.replace(
            timed((ms, ms + 0.1)),
            latency_ms=Spread(median=ms, p5=ms, p95=ms + 0.1, samples=2),
        )
        for ms in (10.0, 11.0)
    ]
    (found,) = regression.compare(*(results(one) for one in few))
    assert (found.verdict, found.note) == ("not comparable", "fewer than 5 passes and 20 frames")


def test_times_that_nobody_measured_again_are_the_same():
    """However few their passes: a table of them would hide what did change."""
    for one in (timed((10.0, 10.1)), timed(PASSES, clocks_fell=True), timed(median=9.0)):
        (found,) = regression.compare(results(one), results(one))
        assert found.verdict == "same"


def test_times_of_two_devices_do_not_compare():
    gpu = timed([0.1] * 6, device=device("NVIDIA H200", "cuda"))
    (lost, new) = regression.compare(results(timed(PASSES)), results(gpu))
    assert (lost.verdict, lost.note) == ("not comparable", "measured on nvidia-h200")
    assert new.verdict == "new"
    assert not lost.fails
    # ... but a time that is gone is no less gone for one that was there all along.
    found = regression.compare(results(timed(PASSES), gpu), results(gpu))
    assert [one.verdict for one in found] == ["missing", "same"]


def test_disturbed_times_are_not_judged():
    for fields in ({"clocks_fell": True}, {"warm_up_stable": False}):
        disturbed = timed([2 * one for one in PASSES], **fields)
        for pair in ((timed(PASSES), disturbed), (disturbed, timed(PASSES))):
            assert told(*pair) == {"time on amd-epyc-1-thread": "not comparable"}


def test_the_document_lists_failures_first():
    before, after = results(whole(), title="HEAD"), results(whole(0.5), whole(checkpoint="new"))
    found = regression.compare(before, after)
    text = regression.document(found, before, after)
    line = "failed: here against HEAD: 4 worse, 1 new, 8 same"
    assert text.startswith(f"## Regression gate\n\nGate {line}.\n\n| verdict | ")
    rows = [row.split(" | ") for row in text.splitlines() if row.startswith("| ")][1:]
    assert [row[0].strip("| ") for row in rows] == ["worse"] * 4 + ["new"]
    assert rows[0][4].strip() == "22.000000 (-0.500000)"
    assert regression.summary(found, before, after) == f"gate {line}"
    same = regression.compare(before, before)
    assert "|" not in regression.document(same, before, before)


def test_the_committed_schema_is_what_is_compared(tmp_path):
    """Records that are written and read compare as those in memory."""
    record.write(tmp_path, whole())
    read = baseline.read(tmp_path)
    assert set(read.records) == {"records/toy/good/sample-bi.json"}
    assert told(whole(), next(iter(read.records.values()))) == {}
