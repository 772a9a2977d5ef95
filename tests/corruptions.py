"""What people do to SR frames without meaning to, and what a diagnosis must call it."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage

Frame = NDArray[np.uint8]
Clip = list[Frame]
Rng = np.random.Generator


class Case(NamedTuple):
    """SR frames of a clip and what was done to them."""

    name: str
    sr: Clip
    done: list[str]
    kinds: set[str]


def moved(clip: Clip, down: float, right: float) -> Clip:
    """As if the frames had been drawn with their content elsewhere."""
    return [
        np.clip(
            np.round(ndimage.shift(f.astype(float), (down, right, 0), order=3, mode="mirror")),
            0,
            255,
        ).astype(np.uint8)
        for f in clip
    ]


def whole_shift(clip: Clip, rng: Rng) -> Clip:
    down, right = rng.integers(-3, 4, 2)
    return moved(clip, down or 1, right)


def part_shift(clip: Clip, rng: Rng) -> Clip:
    down, right = rng.uniform(0.35, 2.8, 2) * rng.choice([-1, 1], 2)
    return moved(clip, down, right)


def phase(clip: Clip, rng: Rng) -> Clip:
    return moved(clip, *([1.5 * rng.choice([-1, 1])] * 2))


def padded(clip: Clip, rng: Rng) -> Clip:
    size, mode = int(rng.choice([4, 8])), str(rng.choice(["reflect", "edge", "constant"]))
    side = [(size, 0), (0, size), (size, size)][rng.integers(3)]
    return [np.pad(f, (side, side, (0, 0)), mode=mode) for f in clip]


def exchanged(clip: Clip, _: Rng) -> Clip:
    return [f[..., ::-1] for f in clip]


def narrowed(clip: Clip, _: Rng) -> Clip:
    return [np.round(16 + f * (219 / 255)).astype(np.uint8) for f in clip]


def widened(clip: Clip, _: Rng) -> Clip:
    wide = [np.round((f.astype(float) - 16) * (255 / 219)) for f in clip]
    return [np.clip(f, 0, 255).astype(np.uint8) for f in wide]


def reversed_(clip: Clip, _: Rng) -> Clip:
    return clip[::-1]


def shuffled(clip: Clip, rng: Rng) -> Clip:
    order = np.arange(len(clip))
    while (order == np.arange(len(clip))).mean() > 0.5 or (np.diff(order) == -1).all():
        order = rng.permutation(len(clip))
    return [clip[i] for i in order]


def by_text(clip: Clip, _: Rng) -> Clip:
    return [clip[i] for i in sorted(range(len(clip)), key=lambda i: str(i + 1))]


def late(clip: Clip, _: Rng) -> Clip:
    return [clip[0], *clip[:-1]]


def early(clip: Clip, _: Rng) -> Clip:
    return [*clip[1:], clip[-1]]


def beheaded(clip: Clip, rng: Rng) -> Clip:
    return clip[rng.integers(1, 3) :]


def curtailed(clip: Clip, rng: Rng) -> Clip:
    return clip[: -rng.integers(1, 3)]


def repeated(clip: Clip, rng: Rng) -> Clip:
    place = int(rng.integers(3, len(clip) - 3))
    if rng.integers(2):
        return [*clip[:place], clip[place - 1], *clip[place:]]
    return [*clip[:place], clip[place - 1], *clip[place + 1 :]]


GROUPS: dict[str, dict[Callable[[Clip, Rng], Clip], str]] = {
    "time": {
        reversed_: "order",
        shuffled: "order",
        by_text: "order",
        late: "offset",
        early: "offset",
        beheaded: "missing",
        curtailed: "missing",
        repeated: "duplicated",
    },
    "place": {whole_shift: "shift", part_shift: "shift", phase: "shift"},
    "size": {padded: "size"},
    "channels": {exchanged: "channels"},
    "levels": {narrowed: "levels", widened: "levels"},
    "clip": {},
}


def case(clips: Mapping[str, tuple[Clip, Clip]], rng: Rng, count: int) -> Case:
    """A clip's SR with `count` things done to it, of as many groups."""
    name = str(rng.choice(list(clips)))
    sr, gt = clips[name]
    done, kinds = [], set()
    chosen = rng.choice(list(GROUPS), count, replace=False)
    for group in sorted(chosen, key=["clip", *GROUPS].index):  # frames of a clip come first
        if group == "clip":
            other = str(rng.choice([k for k, (_, g) in clips.items() if not same(g, gt)]))
            sr, done = clips[other][0], [*done, f"clip {other}"]
            kinds.add("clip")
            continue
        known = {f: k for f, k in GROUPS[group].items() if f is not by_text or len(sr) > 9}
        change = list(known)[rng.integers(len(known))]
        sr, done = change(list(sr), rng), [*done, change.__name__]
        kinds.add(known[change])
    return Case(name, list(sr), done, kinds)


def same(one: Sequence[Frame], two: Sequence[Frame]) -> bool:
    return one is two or bool(np.array_equal(one[0], two[0]))
