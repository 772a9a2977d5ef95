"""What a diagnosis says: the evidence, and what mends it."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from bench.questions.alignment import Order, Places
from bench.questions.repair import CHANNELS, Curve, Levels

MEND_CLIP = "compare with the frames of the same clip; check the folders' names"
MEND_UNKNOWN = (
    "compare with the frames of the same clip; if they are, look at both: frames that are flipped, "
    "turned, scaled or empty fit nothing"
)
_PHASE, _NEAR = 1.5, 0.25  # pixels between bd and bd-duf at scale 4, and how near a shift must be
_SHOWN = 6  # frames that are named
_WINDOW = 5  # frames at an end: no window of a method lacks more


def size(extra: tuple[int, int], place: tuple[int, int]) -> tuple[str, str]:
    """Frames of SR and GT that differ in size by `extra` rows and columns, `place` of them first.

    >>> size((4, 0), (4, 0))[0]
    'SR is 4 pixels taller than GT: 4 at the top'
    """
    words = [
        f"{abs(one)} pixels {longer if one > 0 else shorter}"
        for one, longer, shorter in zip(
            extra, ("taller", "wider"), ("lower", "narrower"), strict=True
        )
        if one
    ]
    ends = [(first, abs(all_) - first) for first, all_ in zip(place, extra, strict=True)]
    sides = [
        f"{count} at the {side}"
        for (first, last), names in zip(ends, (("top", "bottom"), ("left", "right")), strict=True)
        for count, side in zip((first, last), names, strict=True)
        if count
    ]
    seen = f"SR is {' and '.join(words)} than GT: {', '.join(sides)}"
    if min(extra) < 0:
        return seen, "restore whole frames, or cut GT frames in the same way"
    cut = ", ".join(_slice(*one) for one in ends)
    return seen, f"cut off the padding: frame[{cut}]"


def _slice(first: int, last: int) -> str:
    return f"{first or ''}:{-last if last else ''}"


def shift(moved: tuple[float, float]) -> tuple[str, str]:
    """Content of SR that lies `moved` pixels down and right of GT's.

    >>> shift((-2.0, 0.02))[0]
    'SR lies 2.00 pixels up of GT'
    """
    words = [
        f"{abs(one):.2f} pixels {forth if one > 0 else back}"
        for one, forth, back in zip(moved, ("down", "right"), ("up", "left"), strict=True)
        if abs(one) >= 0.05
    ]
    seen = f"SR lies {' and '.join(words)} of GT"
    if all(abs(one - _PHASE) < _NEAR for one in moved):
        return seen, (
            "it is what LR in the phase of bd-duf gives a method for bi or bd: restore LR of the "
            "method's own degradation"
        )
    if all(abs(one + _PHASE) < _NEAR for one in moved):
        return seen, (
            "it is what LR in the phase of bi or bd gives a method for bd-duf: restore LR of the "
            "method's own degradation"
        )
    return seen, (
        "check where samples lie in LR and in enlarging (align_corners, half-pixel centres, cuts "
        "before scaling)"
    )


def channels(order: tuple[int, ...]) -> tuple[str, str]:
    """Channels of SR that stand in another order; `order[i]` shows channel i of GT.

    >>> channels((2, 1, 0))[0]
    'red and blue are exchanged'
    """
    kept = [i for i in range(3) if order[i] == i]
    names = ("red", "green", "blue")
    if len(kept) == 1:
        one, two = (names[i] for i in range(3) if i not in kept)
        seen = f"{one} and {two} are exchanged"
    else:
        seen = "the channels stand as " + ", ".join(names[order.index(i)] for i in range(3))
    if order == CHANNELS[-1]:
        return seen, "write frame[..., ::-1]: cv2.imwrite takes BGR, Pillow RGB"
    return seen, f"write frame[..., {list(order)}]"


GREY = (
    "SR is grey where GT has colours",
    "score it in luma (--protocol channel=y), or write the enlarged colours of LR beside it",
)


def damaged(rows: Sequence[int], most: float, usual: float) -> tuple[str, str]:
    """SR frames that do not show what the others do; correlations of both.

    >>> damaged([4], 0.02, 0.98)[0]
    'SR frame 5 shows nothing of GT: correlation 0.02, that of the others 0.98'
    """
    more = ", ..." if len(rows) > _SHOWN else ""
    names = ", ".join(str(row + 1) for row in rows[:_SHOWN]) + more
    shown = f"s {names} show" if len(rows) > 1 else f" {names} shows"
    at_most = " at most" if len(rows) > 1 else ""
    return (
        f"SR frame{shown} nothing of GT: correlation {most:.2f}{at_most}, that of the others "
        f"{usual:.2f}"
    ), "look at it: empty, torn or of another clip; then restore it again"


def levels(kind: Levels, curve: Curve) -> tuple[str, str]:
    """Levels of SR that are others than GT's, and the curve that undoes that.

    >>> levels("line", Curve(1.25, -10))[0]
    'SR has 0.80 times the levels of GT, and +8'
    """
    if kind == "narrow":
        return (
            "SR has levels 16 to 235 where GT has 0 to 255",
            "expand them: (x - 16) * 255 / 219; a video decoder or an RGB from YCbCr did not",
        )
    if kind == "wide":
        return (
            "SR has levels 0 to 255 where GT has 16 to 235",
            "narrow them: 16 + x * 219 / 255; something expanded the range once too often",
        )
    if kind == "power":
        # Means over blocks of texture tell the power a little too near to 1.
        seen = f"SR has the levels of GT to the power of about {1 / curve.exponent:.1f}: a gamma"
        undone = f"near 255 * (x / 255) ** {curve.exponent:.1f}"
        return seen, f"undo it: {undone}; something took linear light for gamma, or the reverse"
    factor, summand = 1 / curve.factor, -curve.summand / curve.factor
    seen = f"SR has {factor:.2f} times the levels of GT, and {summand:+.0f}"
    return seen, "look for a mean that is added twice or never, and for values of another range"


def temporal(kind: str, order: Order, copies: Sequence[int], gt_count: int) -> tuple[str, str]:
    """What is wrong with the order and number of frames; frames are counted from 1."""
    places, count = order.places, len(order.places)
    if kind == "duplicated":
        return _duplicated(copies, count, gt_count)
    if kind == "missing":
        return _missing(places, count, gt_count)
    if kind == "offset":
        moved = int(np.median((places - np.arange(count))[places >= 0]))
        late = "late" if moved < 0 else "early"
        one = abs(moved) + 2
        seen = f"frames are {abs(moved)} {late}: SR frame {one} shows GT frame {one + moved}"
        return seen, "write the output of a window under the number of the frame it restores"
    if order.kind == "reversed":
        return "frames run backwards", "reverse them, or their numbers"
    wrong = [i for i in range(count) if places[i] not in {-1, i} and i not in copies]
    shown = ", ".join(f"{i + 1} shows {places[i] + 1}" for i in wrong[:_SHOWN])
    more = ", ..." if len(wrong) > _SHOWN else ""
    if order.kind == "text":
        return (
            f"frames follow their names as text (1, 10, 11, 2): SR frame {shown}{more}",
            "sort names by their numbers, or write them with leading zeros",
        )
    return (
        f"frames are in another order: SR frame {shown}{more}",
        "sort the list of LR frames (os.listdir and glob do not)",
    )


def _duplicated(copies: Sequence[int], count: int, gt_count: int) -> tuple[str, str]:
    number = f"{count} SR frames for {gt_count} of GT" if count != gt_count else ""
    pairs = ", ".join(f"{i + 1} repeats {i}" for i in copies[:_SHOWN])
    more = ", ..." if len(copies) > _SHOWN else ""
    words = [number, f"SR frame {pairs}{more}" if pairs else ""]
    mend = "write each frame once" if count > gt_count else "restore those frames again"
    return ": ".join(word for word in words if word), mend


def _missing(places: Places, count: int, gt_count: int) -> tuple[str, str]:
    present = {int(place) for place in places if place >= 0}
    lacking = [i for i in range(gt_count) if i not in present]
    first = next((i for i in range(gt_count) if i in present), 0)
    last = next((i for i in range(gt_count) if gt_count - 1 - i in present), 0)
    words = [f"the first {first}"] if first else []
    words += [f"the last {last}"] if last else []
    inside = [i for i in lacking if first <= i < gt_count - last]
    more = ", ..." if len(inside) > _SHOWN else ""
    named = ", ".join(str(i + 1) for i in inside[:_SHOWN]) + more
    words += [f"frame{'s' if len(inside) > 1 else ''} {named}"] if inside else []
    seen = f"{count} SR frames for {gt_count} of GT: {' and '.join(words) or 'some'} missing"
    mend = "fill windows at the ends of clips (mirrored or repeated frames), so that all come out"
    if inside or max(first, last) > _WINDOW:
        mend = "restore whole clips"
    return seen, mend
