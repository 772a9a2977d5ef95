"""A wrong number -> its likeliest causes: what is wrong with these SR frames, and what mends it.

What a clip shows is found from all of its frames at once (`alignment`): clip, order and
shift. Channels and levels are then those under which the frames come closest. Of all that was
found, only what brings PSNR is told, so that the softness of an SR method is no finding.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Literal, NamedTuple

import numpy as np
from numpy.typing import NDArray

from bench import frames
from bench.errors import BenchError
from bench.questions import alignment, phrases
from bench.questions.alignment import Alignment, Box, Places, Spectrum
from bench.questions.repair import CHANNELS, Part, Repair, Trial

Frame = NDArray[np.uint8]
Kind = Literal[
    "clip",
    "size",
    "order",
    "offset",
    "missing",
    "duplicated",
    "damaged",
    "shift",
    "channels",
    "levels",
]

_PADDING = 64  # pixels: frames that differ by more in size are other frames
_LEAST_SIDE = 48  # pixels
_UNLIKE, _LIKER = 0.45, 0.2  # correlation: below it a clip may be another; by how much
_DOUBTFUL = 0.9  # coarse correlation: even SR of LR of an eighth of the size has 0.98
_CLOSE = 30.0  # dB of frames without much to compare, such as a dark scene of noise
_TRIED = 6  # frames
_DAMAGE = 3.0  # dB that a frame which shows nothing of GT must be behind the others
# What a correction must bring, in dB: less is within what SR methods do by themselves.
_WORTH: dict[Part, float] = {"order": 0.05, "shift": 0.03, "channels": 0.05, "levels": 0.0}


class Finding(NamedTuple):
    """One thing that is wrong: the evidence, the dB that mending it brings, and what mends it.

    `gain` is None where there is no number without mending it, or where another finding has it.
    """

    kind: Kind
    evidence: str
    gain: float | None
    mend: str


class Diagnosis(NamedTuple):
    """What is wrong with a clip, the largest gain first; RGB PSNR in dB as it is and mended."""

    findings: list[Finding]
    before: float
    after: float


class _Seen(NamedTuple):
    """A clip as it is compared: `copies` repeat the frame before them."""

    spectrum: Spectrum
    copies: list[int]


def examine(
    sr: Sequence[Frame],
    gt: Sequence[Frame],
    *,
    name: str = "",
    others: Mapping[str, Sequence[Frame]] | None = None,
    numbers: Sequence[int] = (0, 1),
    workers: int = 2,
) -> Diagnosis:
    """What is wrong with the SR frames of one clip, uint8 (h, w, 3), against its GT frames.

    `others` are the GT frames of other clips, by name, which SR may show. `numbers` are those that
    the first frame's name may have, for orders that come from sorting names as text.
    """
    shape, gt_shape = sr[0].shape[:2], gt[0].shape[:2]
    true, actual = name, gt
    extra = (shape[0] - gt_shape[0], shape[1] - gt_shape[1])
    fit = _fitted(sr, gt, extra, numbers, workers) if _comparable(extra) else None
    if others and (fit is None or fit.aligned.likeness < _UNLIKE):
        true, actual, fit = _other(
            sr, gt, name, fit, others=others, numbers=numbers, workers=workers
        )
    if fit is None:
        raise _not_padding(shape, gt_shape)
    if fit.aligned.likeness < _UNLIKE / 2:
        seen = (
            f"no frame, order or shift of up to {alignment.REACH} pixels fits: correlation "
            f"{fit.aligned.likeness:.2f} at most"
        )
        return Diagnosis([Finding("clip", seen, None, phrases.MEND_UNKNOWN)], np.nan, np.nan)
    found = _judged(sr, gt, actual, fit, "" if actual is gt else true)
    if found.findings or fit.coarse_likeness > _DOUBTFUL or found.before > _CLOSE:
        return found
    # Silence would say that all is well.
    seen = f"SR is not much like GT: correlation {fit.coarse_likeness:.2f}, for no known cause"
    return found._replace(findings=[Finding("clip", seen, None, phrases.MEND_UNKNOWN)])


class _Fit(NamedTuple):
    """SR against one clip's GT: what differs in size, and how the rest fits.

    likenesses          correlation of each SR frame with its GT frame, NaN where it has none
    coarse_likeness     their median in low frequencies alone
    unlike              SR frames whose correlation is far below that of most
    """

    extra: tuple[int, int]
    place: tuple[int, int]
    aligned: Alignment
    copies: list[int]
    likenesses: NDArray[np.float64]
    coarse_likeness: float
    unlike: list[int]
    gt_count: int


def _comparable(extra: tuple[int, int]) -> bool:
    return max(map(abs, extra)) <= _PADDING


def _not_padding(shape: tuple[int, ...], gt_shape: tuple[int, ...]) -> BenchError:
    return BenchError(
        "SR and GT frames differ in size by more than padding",
        expected=f"{gt_shape[1]}x{gt_shape[0]}, give or take {_PADDING} pixels",
        found=f"{shape[1]}x{shape[0]}",
        todo="give SR frames of the size of GT; LR frames are scored after bench run",
    )


def _fitted(
    sr: Sequence[Frame],
    gt: Sequence[Frame],
    extra: tuple[int, int],
    numbers: Sequence[int],
    workers: int,
) -> _Fit:
    height, width = sr[0].shape[0] - max(extra[0], 0), sr[0].shape[1] - max(extra[1], 0)
    if min(height, width) < _LEAST_SIDE:
        raise BenchError(
            "frames are too small to tell what is wrong with them",
            expected=f"at least {_LEAST_SIDE} pixels a side",
            found=f"{width}x{height}",
            todo="give whole frames",
        )
    box, place = Box.within(height, width), (0, 0)
    reference = _look(gt, box, workers)
    if any(extra):
        place = _placed(_look(sr, box, workers).spectrum, reference.spectrum, extra)
        rows, columns = place
        down, right = rows * (extra[0] > 0), columns * (extra[1] > 0)
        up, left = rows * (extra[0] < 0), columns * (extra[1] < 0)
        if up or left:
            reference = _look(gt, box.moved(up, left), workers)
        box = box.moved(down, right)
    seen = _look(sr, box, workers)
    copies = [] if reference.copies else seen.copies
    aligned = alignment.align(seen.spectrum, reference.spectrum, copies, numbers)
    likenesses = alignment.likenesses(seen.spectrum, reference.spectrum, aligned)
    coarse = alignment.coarse_likeness(seen.spectrum, reference.spectrum, aligned)
    unlike = _unlike(likenesses, copies)
    return _Fit(extra, place, aligned, copies, likenesses, coarse, unlike, len(gt))


def _unlike(likenesses: NDArray[np.float64], copies: Sequence[int]) -> list[int]:
    usual = float(np.nanmedian(likenesses))
    found = np.flatnonzero(likenesses < min(_UNLIKE, usual / 2))  # not so where NaN
    return [int(row) for row in found if row not in copies]


def _look(clip: Sequence[Frame], box: Box, workers: int) -> _Seen:
    """The clip's spectrum, and which frames repeat the one before, from one pass over it."""
    kept: list[Frame] = []
    copies = []
    area = np.s_[box.top : box.top + box.height, box.left : box.left + box.width]
    decoded = frames.in_order(lambda t: clip[t], range(len(clip)), workers)
    for index, frame in enumerate(decoded):
        if frame.shape != clip[0].shape:
            raise BenchError(
                f"frame {index + 1} differs in size from the first",
                expected=f"{clip[0].shape[1]}x{clip[0].shape[0]}",
                found=f"{frame.shape[1]}x{frame.shape[0]}",
                todo="give frames of one size",
            )
        kept.append(np.ascontiguousarray(frame[area]))
        if index and np.array_equal(kept[-1], kept[-2]):
            copies.append(index)
    whole = Box(0, 0, box.height, box.width)
    return _Seen(Spectrum(kept, whole), copies)


def _placed(sr: Spectrum, gt: Spectrum, extra: tuple[int, int]) -> tuple[int, int]:
    """The rows and columns at the top and left that one of the clips has beyond the other."""
    corners = {(y, x) for y in (0, extra[0]) for x in (0, extra[1])}
    candidates = sorted(corners | {(int(extra[0] / 2), int(extra[1] / 2))})
    shifts = {
        (float(y + dy), float(x + dx))
        for y, x in candidates
        for dy in range(-3, 4)
        for dx in range(-3, 4)
    }
    (down, right), _ = alignment.best_place(sr, gt, sorted(shifts))
    nearest = min(candidates, key=lambda place: np.hypot(place[0] - down, place[1] - right))
    return abs(nearest[0]), abs(nearest[1])


def _other(
    sr: Sequence[Frame],
    gt: Sequence[Frame],
    name: str,
    fit: _Fit | None,
    *,
    others: Mapping[str, Sequence[Frame]],
    numbers: Sequence[int],
    workers: int,
) -> tuple[str, Sequence[Frame], _Fit | None]:
    """The clip that SR shows most likely: the one of its name unless another is far liker."""
    best = (name, gt, fit)
    bar = max(fit.aligned.likeness + _LIKER, _UNLIKE) if fit else _UNLIKE
    for other, clip in others.items():
        height, width = clip[0].shape[:2]
        extra = (sr[0].shape[0] - height, sr[0].shape[1] - width)
        if clip is gt or not _comparable(extra):
            continue
        found = _fitted(sr, clip, extra, numbers, workers)
        if found.aligned.likeness > bar:
            best, bar = (other, clip, found), found.aligned.likeness
    return best


def _judged(
    sr: Sequence[Frame], named: Sequence[Frame], gt: Sequence[Frame], fit: _Fit, other: str
) -> Diagnosis:
    """What of a fit is worth telling, with its gains."""
    places = fit.aligned.order.places
    odd = {*fit.copies, *fit.unlike}
    sure = [row for row in range(len(sr)) if places[row] >= 0 and row not in odd]
    rows = [sure[i] for i in np.unique(np.linspace(0, len(sure) - 1, _TRIED).astype(int))]
    down, right = fit.place
    moved = max(map(abs, fit.aligned.shift)) > alignment.NOTICED
    repair = Repair(
        (down * (fit.extra[0] > 0), right * (fit.extra[1] > 0)),
        (down * (fit.extra[0] < 0), right * (fit.extra[1] < 0)),
        places,
        fit.aligned.shift if moved else (0.0, 0.0),
    )
    trial = Trial(sr, named, gt, repair, rows)
    trial.repair = repair = trial.with_levels()
    parts: set[Part] = {"clip"} if other else set()
    parts |= {"size"} if any(fit.extra) else set()
    parts |= {"order"} if not np.array_equal(places[sure], sure) else set()
    parts |= {"shift"} if moved else set()
    parts |= {"channels"} if repair.channels != CHANNELS[0] else set()
    parts |= {"levels"} if repair.levels != "as they are" else set()
    for part, least in sorted(_WORTH.items(), key=lambda item: item[1]):
        if part in parts and _worth(trial, parts, part) < least:
            parts.discard(part)
    gains = _gains(trial, parts)
    before, after = trial.psnr(frozenset()), trial.psnr(frozenset(parts))
    findings = _findings(fit, repair, gains, other, len(sr))
    if "channels" not in parts and trial.colourless:
        seen, mend = phrases.GREY
        findings.append(Finding("channels", seen, None, mend))
    findings += _damaged(trial, fit, sr, parts, after)
    if fit.copies and any(finding.kind == "duplicated" for finding in findings):
        findings = [_with_gain(one, trial, fit, sr, parts) for one in findings]
    findings.sort(key=lambda finding: -(finding.gain or 0))
    return Diagnosis(findings, before, after)


def _damaged(
    trial: Trial, fit: _Fit, sr: Sequence[Frame], parts: set[Part], usual: float
) -> Iterator[Finding]:
    """Frames that show nothing of GT, with what the clip's mean PSNR loses by them.

    Where GT itself shows next to nothing, as in a fade to black, frames differ little in PSNR.
    """
    lost = {}
    for row in fit.unlike:
        one = Trial(sr, trial.named, trial.gt, trial.repair, [row])
        lost[row] = usual - one.psnr(frozenset(parts))
    rows = [row for row, loss in lost.items() if loss > _DAMAGE]
    if rows:
        others = np.delete(fit.likenesses, fit.unlike)
        seen, mend = phrases.damaged(rows, fit.likenesses[rows].max(), float(np.nanmedian(others)))
        gain = sum(lost[row] for row in rows) / len(sr)
        yield Finding("damaged", seen, gain if np.isfinite(gain) else None, mend)


def _worth(trial: Trial, parts: set[Part], part: Part) -> float:
    return trial.psnr(frozenset(parts)) - trial.psnr(frozenset(parts - {part}))


def _gains(trial: Trial, parts: set[Part]) -> dict[Part, float]:
    """What each correction brings after those that bring more."""
    done: set[Part] = set()
    gains: dict[Part, float] = {}
    while parts - done:
        now = trial.psnr(frozenset(done))
        tried = {part: trial.psnr(frozenset(done | {part})) - now for part in sorted(parts - done)}
        best = max(tried, key=lambda part: tried[part])
        gains[best] = tried[best]
        done.add(best)
    return gains


def _findings(
    fit: _Fit, repair: Repair, gains: Mapping[Part, float], other: str, count: int
) -> list[Finding]:
    found: list[Finding] = []
    if other:
        seen = f"SR shows the clip {other} (correlation {fit.aligned.likeness:.2f})"
        found.append(Finding("clip", seen, gains["clip"], phrases.MEND_CLIP))
    if any(fit.extra):
        seen, mend = phrases.size(fit.extra, fit.place)
        found.append(Finding("size", seen, gains.get("size"), mend))
    found += _temporal(fit, gains.get("order"), count)
    if "shift" in gains:
        seen, mend = phrases.shift(repair.shift)
        if fit.coarse_likeness < _DOUBTFUL:
            seen += (
                f", and is even so not much like it (correlation {fit.coarse_likeness:.2f}): it "
                "may be scaled, or lie farther off"
            )
        found.append(Finding("shift", seen, gains["shift"], mend))
    if "channels" in gains:
        seen, mend = phrases.channels(repair.channels)
        found.append(Finding("channels", seen, gains["channels"], mend))
    if "levels" in gains:
        seen, mend = phrases.levels(repair.levels, repair.curve)
        found.append(Finding("levels", seen, gains["levels"], mend))
    return found


def _temporal(fit: _Fit, gain: float | None, count: int) -> list[Finding]:
    """What is wrong with the frames' order and number; the first finding has the gain."""
    places = fit.aligned.order.places.copy()
    places[fit.unlike] = -1
    order = fit.aligned.order._replace(places=places)
    kinds = timing(places, fit.copies, count, fit.gt_count)
    if gain is None:
        kinds = [kind for kind in kinds if kind not in {"order", "offset"}]
    found = []
    for kind in kinds:
        seen, mend = phrases.temporal(kind, order, fit.copies, fit.gt_count)
        found.append(Finding(kind, seen, gain if kind != "duplicated" else None, mend))
        gain = gain if kind == "duplicated" else None
    return found


def timing(places: Places, copies: Sequence[int], count: int, gt_count: int) -> list[Kind]:
    """The kinds of what is wrong with the frames' order and number, likeliest first."""
    if copies and len(copies) == count - 1:  # one frame alone has no order
        return ["duplicated"]
    rows = np.array([r for r in range(count) if places[r] >= 0 and r not in copies], int)
    shown, moved = places[rows], places[rows] - rows
    kinds: list[Kind] = []
    if (np.diff(shown) <= 0).any():
        kinds.append("order")
    usual = int(np.median(moved))
    reach = abs(usual)
    at_ends = [r for r in copies if reach < r < count - reach]
    if not kinds and count == gt_count and usual:
        odd = rows[moved != usual]
        if not at_ends and not any(reach <= r < count - reach for r in odd):
            return ["offset"]
    lacking = gt_count - len({int(p) for p in shown} | {int(places[r]) for r in copies})
    if copies:
        kinds.append("duplicated")
    if count < gt_count and lacking > 0:
        kinds.append("missing")
    elif not kinds and count != gt_count:
        kinds.append("missing" if count < gt_count else "duplicated")
    elif not kinds and usual:
        kinds.append("offset")
    elif not kinds and moved.any():
        kinds.append("order")
    return kinds


def _with_gain(
    finding: Finding, trial: Trial, fit: _Fit, sr: Sequence[Frame], parts: set[Part]
) -> Finding:
    """A finding of copies with what the clip's mean PSNR loses by them."""
    if finding.kind != "duplicated" or finding.gain is not None:
        return finding
    right = frozenset(parts)
    places = np.where(fit.aligned.order.places < 0, 0, fit.aligned.order.places)
    copied = Trial(sr, trial.named, trial.gt, trial.repair._replace(places=places), fit.copies[:4])
    lost = trial.psnr(right) - copied.psnr(right)
    share = len(fit.copies) / len(sr)
    return finding._replace(gain=max(lost * share, 0.0) if np.isfinite(lost) else None)
