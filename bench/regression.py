"""Two sets of results -> what got worse, what is gone, what cannot be compared.

A mean of PSNR may fall by 0.001 dB and one of SSIM by 0.00005: more than arithmetic on another
machine moves them, less than any printed digit. Times are compared on one device only. One is
slower if its median rose by more than 5 % and the passes say so: the rank test of Mann and Whitney
on the medians of passes, which depend on each other less than frames do, or, where they were not
kept or are too few, the 5th percentile against the 95th of before.
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Iterator, Sequence
from typing import Literal, NamedTuple

from bench.baseline import Results
from bench.grid import markdown_table
from bench.latency import Latency
from bench.protocol import Protocol
from bench.record import ClipRecord, FrameScores, Record
from bench.score import dataset_mean

Verdict = Literal["worse", "missing", "changed", "not comparable", "better", "new", "same"]
_ORDER: tuple[Verdict, ...] = ("worse", "missing", "changed", "not comparable", "better", "new")
_FAILING = {"worse", "missing", "changed"}
PSNR_TOLERANCE_DB = 0.001
SSIM_TOLERANCE = 0.00005
TIME_TOLERANCE = 0.05
_ERROR_RATE = 0.01
_FEWEST_PASSES = 5  # of each side: with four the rank test can hardly say anything
_FEWEST_SAMPLES = 20  # of each side: of fewer the percentiles say no more than the extremes
_EXACT = 1e-9  # differences of numbers with six decimals


class Finding(NamedTuple):
    """One number, record or protocol, before and after.

    `changed` is what was measured under another protocol, against other GT frames or on another
    number of clips, so that its numbers do not compare; it fails the gate as `worse` and `missing`
    do. `not comparable` are times of another device, of other kernels
    or of too few passes.
    """

    result: str
    what: str
    before: str
    after: str
    verdict: Verdict
    note: str = ""

    @property
    def fails(self) -> bool:
        """Whether the gate stays closed for it."""
        return self.verdict in _FAILING


def compare(before: Results, after: Results) -> list[Finding]:
    """Everything that was compared, in the order of the results."""
    found: list[Finding] = []
    for path, old in before.records.items():
        new = after.records.get(path)
        if new is None:
            found.append(Finding(_run(old), "record", _clips(old), "", "missing"))
        else:
            found += _records(old, new)
    found += [
        Finding(_run(new), "record", "", _clips(new), "new")
        for path, new in after.records.items()
        if path not in before.records
    ]
    for path, timed in before.latencies.items():
        again = after.latencies.get(path)
        found.append(_times(timed, again) if again else _untimed(timed, before, after))
    found += [
        Finding(_task(one), _device(one), "", _ms(one), "new")
        for path, one in after.latencies.items()
        if path not in before.latencies
    ]
    return found


def failures(found: Sequence[Finding]) -> int:
    """How many of them fail the gate."""
    return sum(one.fails for one in found)


def summary(found: Sequence[Finding], before: Results, after: Results) -> str:
    """The outcome in one line."""
    counts = Counter(one.verdict for one in found)
    told = [f"{counts[verdict]} {verdict}" for verdict in (*_ORDER, "same") if counts[verdict]]
    outcome = "failed" if failures(found) else "passed"
    words = ", ".join(told)
    return f"gate {outcome}: {after.title} against {before.title}: {words}"


def document(found: Sequence[Finding], before: Results, after: Results) -> str:
    """The outcome as Markdown: one line, and a row for all but what stayed the same."""
    rows = [
        [one.verdict, one.result, one.what, one.before, one.after, one.note]
        for one in sorted(found, key=lambda one: (*_ORDER, "same").index(one.verdict))
        if one.verdict != "same"
    ]
    headers = ["verdict", "result", "what", "before", "after", "note"]
    line = summary(found, before, after)
    parts = ["## Regression gate", f"{line[0].upper()}{line[1:]}."]
    parts += [markdown_table(headers, rows)] if rows else []
    return "\n\n".join(parts) + "\n"


def _records(before: Record, after: Record) -> Iterator[Finding]:
    run = _run(before)
    if before.clip_count != after.clip_count:
        yield Finding(run, "clips of the data set", _clips(before), _clips(after), "changed")
    for old in before.clips:
        if after.clip(old.clip) is None:
            frames = f"{old.frames} frames"
            yield Finding(run, f"clip {old.clip}", frames, "", "missing", _failed(after, old.clip))
    for name, wanted in before.protocols.items():
        there = after.protocols.get(name)
        if there is None:
            yield Finding(run, f"protocol {name}", str(wanted), "", "missing")
        elif there.hash != wanted.hash:
            told = str(wanted), str(there)
            yield Finding(run, f"protocol {name}", *told, "changed", "numbers are not comparable")
        else:
            yield from _scores(name, before, after)
    for name, other in after.protocols.items():
        if name not in before.protocols:
            yield Finding(run, f"protocol {name}", "", str(other), "new")


def _scores(name: str, before: Record, after: Record) -> Iterator[Finding]:
    """Every clip that both have, and the mean where both are complete."""
    run, protocol, pairs = _run(before), before.protocols[name], []
    for old in before.measured(name):
        new = after.clip(old.clip)
        if new is None:
            continue  # told once, not under each protocol
        what = f"{name}, {old.clip}"
        if (old.frames, old.gt_sha256) != (new.frames, new.gt_sha256):
            yield Finding(run, what, _frames(old), _frames(new), "changed", "other GT frames")
        elif name not in new.scores:
            yield Finding(run, what, "scores", "", "missing")
        else:
            pairs.append((old.scores[name], new.scores[name]))
            yield from _means(run, what, pairs[-1:], protocol, _moved(before, old, after, new))
    if before.complete(name) and after.complete(name) and len(pairs) == before.clip_count:
        yield from _means(run, f"{name}, {protocol.mean_name}", pairs, protocol, "")


def _means(
    run: str,
    what: str,
    pairs: Sequence[tuple[FrameScores, FrameScores]],
    protocol: Protocol,
    moved: str,
) -> Iterator[Finding]:
    """PSNR and SSIM; PSNR is that of frames that are not identical to GT in either."""
    both = [list(zip(o.numbers(), n.numbers(), strict=True)) for o, n in pairs]
    finite = [[p for p in clip if math.isfinite(p[0]) and math.isfinite(p[1])] for clip in both]
    old, new = (dataset_mean([[p[i] for p in clip] for clip in finite], protocol) for i in (0, 1))
    yield _judged(run, f"{what}: PSNR (dB)", old.value, new.value, PSNR_TOLERANCE_DB, moved)
    were, are = (sum(math.isinf(p[i]) for clip in both for p in clip) for i in (0, 1))
    yield _judged(run, f"{what}: frames identical to GT", were, are, 0, moved)
    old, new = (dataset_mean([pair[i].ssim for pair in pairs], protocol) for i in (0, 1))
    yield _judged(run, f"{what}: SSIM", old.value, new.value, SSIM_TOLERANCE, moved)


def _judged(  # noqa: PLR0917
    run: str, what: str, before: float, after: float, tolerance: float, moved: str
) -> Finding:
    if before == after or abs(after - before) <= tolerance + _EXACT:  # infinite ones are equal
        return Finding(run, what, "", "", "same")
    verdict: Verdict = "worse" if after < before else "better"
    digits = 6 if tolerance else 0
    told = f"{before:.{digits}f}", f"{after:.{digits}f} ({after - before:+.{digits}f})"
    return Finding(run, what, *told, verdict, moved)


def _moved(before: Record, old: ClipRecord, after: Record, new: ClipRecord) -> str:
    """What else differs between two measurements of a clip: where to look for the cause."""
    then, now = before.provenance[old.provenance], after.provenance[new.provenance]
    differing = {
        "weights": then.checkpoint_sha256 != now.checkpoint_sha256,
        "LR frames": old.lr_sha256 != new.lr_sha256,
        "restoring": old.restoring != new.restoring,
        "code": then.code_sha256 != now.code_sha256,
        "device": then.device != now.device,
    }
    words = [word for word, differs in differing.items() if differs]
    for name, version in now.packages.items():
        if (former := then.packages.get(name)) not in {version, None}:
            words.append(f"{name} {former} -> {version}")
    if old.sr_sha256 == new.sr_sha256:
        words.append("the scoring of the same SR frames")
    return f"differs: {', '.join(words)}" if words else ""


def _times(before: Latency, after: Latency) -> Finding:
    task, where = _task(before), _device(before)
    if before == after:  # nobody measured again: there is nothing to compare, or to complain of
        return Finding(task, where, "", "", "same")
    for which, one in (("before", before), ("after", after)):
        if one.clocks_fell or not one.warm_up_stable:
            why = "clocks fell" if one.clocks_fell else "not stable after the warm-up"
            return Finding(
                task, where, _ms(before), _ms(after), "not comparable", f"{which}: {why}"
            )
    if before.restoring.get("triton") != after.restoring.get("triton"):
        why = "other kernels: BENCH_TRITON differed"
        return Finding(task, where, _ms(before), _ms(after), "not comparable", why)
    if _too_few(before, after):
        why = f"fewer than {_FEWEST_PASSES} passes and {_FEWEST_SAMPLES} frames"
        return Finding(task, where, _ms(before), _ms(after), "not comparable", why)
    rise = after.latency_ms.median / before.latency_ms.median - 1
    faster, slower = (before, after) if rise > 0 else (after, before)
    apart, why = _apart(faster, slower)
    if abs(rise) <= TIME_TOLERANCE or not apart:
        return Finding(task, where, "", "", "same")
    told = _ms(before), f"{_ms(after)} ({100 * rise:+.0f} %)"
    return Finding(task, where, *told, "worse" if rise > 0 else "better", why)


def _too_few(*measured: Latency) -> bool:
    """Whether chance cannot be told from a change."""
    passes = min(len(one.pass_medians_ms or []) for one in measured)
    samples = min(one.latency_ms.samples for one in measured)
    return passes < _FEWEST_PASSES and samples < _FEWEST_SAMPLES


def _apart(faster: Latency, slower: Latency) -> tuple[bool, str]:
    """Whether one is slower beyond chance, and how that was told."""
    some, more = faster.pass_medians_ms or [], slower.pass_medians_ms or []
    if min(len(some), len(more)) < _FEWEST_PASSES:
        return slower.latency_ms.p5 > faster.latency_ms.p95, "5th percentile above the 95th"
    from scipy.stats import mannwhitneyu

    p = float(mannwhitneyu(more, some, alternative="greater").pvalue)
    return p < _ERROR_RATE, f"Mann-Whitney p = {p:.2g}, {len(some)} and {len(more)} passes"


def _untimed(one: Latency, before: Results, after: Results) -> Finding:
    """What is said of a time that is gone: another device's may have come in its place."""
    others = [
        new
        for path, new in after.latencies.items()
        if path not in before.latencies and _task(new) == _task(one)
    ]
    if not others:
        return Finding(_task(one), _device(one), _ms(one), "", "missing")
    new = others[0]
    note = f"measured on {new.device.slug}"
    return Finding(_task(one), _device(one), _ms(one), _ms(new), "not comparable", note)


def _run(one: Record) -> str:
    return f"{one.paper}/{one.checkpoint} on {one.dataset}, {one.degradation}"


def _clips(one: Record) -> str:
    return f"{len(one.clips)} of {one.clip_count} clips"


def _frames(one: ClipRecord) -> str:
    return f"{one.frames} frames, {one.gt_sha256[:8]}"


def _failed(record: Record, clip: str) -> str:
    lines = [one.error[-1] for one in record.failures if one.clip == clip and one.error]
    return f"failed: {lines[0]}" if lines else ""


def _task(one: Latency) -> str:
    return f"{one.paper}/{one.checkpoint} at {one.size}, {one.options}"


def _device(one: Latency) -> str:
    return f"time on {one.device.slug}"


def _ms(one: Latency) -> str:
    return f"{one.latency_ms.median:.4g} ms"
