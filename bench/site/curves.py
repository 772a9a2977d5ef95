"""Records -> the scores of every frame of every clip, small enough for a page."""

from __future__ import annotations

import math
from collections.abc import Collection, Iterable, Mapping, Sequence

import msgspec

from bench import catalog, leaderboard, score
from bench.leaderboard import Board
from bench.record import ClipRecord, Record
from bench.site import panel

UNIT = 10_000  # scores are integers of 1/10,000: the digits that tables print

Values = list[int | None]  # null for identical frames, whose PSNR is infinite


class Method(msgspec.Struct, frozen=True):
    """The scores of one record, by protocol: a list of values for each clip, null where none.

    `means` are PSNR and SSIM of each clip; it is empty where a clip has one frame, its own mean.
    """

    name: str
    file: str
    psnr: dict[str, list[Values | None]]
    ssim: dict[str, list[Values | None]]
    means: dict[str, list[Values | None]]


class Curves(msgspec.Struct, frozen=True):
    """Every record of a data set under one degradation, interpolating ones apart.

    protocols  name -> its words
    first      protocol -> the place in each clip of the first frame that it scores, from 0
    single     whether only one frame of each clip was scored
    """

    title: str
    clips: list[str]
    protocols: dict[str, str]
    first: dict[str, list[int]]
    single: bool
    methods: list[Method]


def of_records(
    records: Sequence[Record], order: Mapping[str, int], others: Collection[str] = ()
) -> list[Curves]:
    """The curves of every data set and degradation; `order` ranks the files of records.

    `others` are the files of those that were scored against other GT frames than the rest.
    """
    sets: dict[tuple[str, str, bool], list[Record]] = {}
    for one in records:
        if one.clips:
            sets.setdefault((one.dataset, one.degradation, one.interpolates), []).append(one)
    keys = sorted(sets, key=lambda key: leaderboard.place(Board(*key)))
    return [_curves(key, sets[key], order, others) for key in keys]


def _curves(
    key: tuple[str, str, bool],
    records: Sequence[Record],
    order: Mapping[str, int],
    others: Collection[str],
) -> Curves:
    dataset, degradation, between = key
    clips = {clip.clip: clip for one in records for clip in one.clips}
    names = sorted(clips)
    protocols = {
        name: p for one in records for name, p in one.protocols.items() if one.measured(name)
    }
    ordered = sorted(protocols, key=lambda name: (not name.startswith("fixed"), name))
    single = all(len(values.psnr) < 2 for c in clips.values() for values in c.scores.values())
    ranked = sorted(records, key=lambda one: order.get(panel.record_file(one), len(order)))
    title = f"{catalog.get(dataset).title}, {degradation}"
    methods = [_method(one, names, ordered, single=single) for one in ranked]
    return Curves(
        title=title + (", space-time" if between else ""),
        clips=names,
        protocols={name: str(protocols[name]) for name in ordered},
        first={
            name: [protocols[name].scored(clips[clip].frames).start for clip in names]
            for name in ordered
        },
        single=single,
        methods=[
            msgspec.structs.replace(one, name=f"{one.name} (other GT)")
            if one.file in others
            else one
            for one in methods
        ],
    )


def _method(one: Record, names: Sequence[str], protocols: Iterable[str], *, single: bool) -> Method:
    clips = {clip.clip: clip for clip in one.clips}
    held = [name for name in protocols if one.measured(name)]
    words = f"{one.paper} {one.checkpoint}" + " (untrained)" * one.untrained
    return Method(
        name=words,
        file=panel.record_file(one),
        psnr={p: [_psnr(clips.get(name), p) for name in names] for p in held},
        ssim={p: [_ssim(clips.get(name), p) for name in names] for p in held},
        means={} if single else {p: [_mean(clips.get(name), p) for name in names] for p in held},
    )


def _mean(clip: ClipRecord | None, protocol: str) -> Values | None:
    scores = clip.scores.get(protocol) if clip else None
    if scores is None:
        return None
    return [_whole(score.mean(values).value) for values in (scores.numbers(), scores.ssim)]


def _psnr(clip: ClipRecord | None, protocol: str) -> Values | None:
    scores = clip.scores.get(protocol) if clip else None
    return [_whole(value) for value in scores.numbers()] if scores else None


def _ssim(clip: ClipRecord | None, protocol: str) -> Values | None:
    scores = clip.scores.get(protocol) if clip else None
    return [_whole(value) for value in scores.ssim] if scores else None


def _whole(value: float) -> int | None:
    # By way of the text, so that it is what tables print to the last digit.
    return round(float(f"{value:.4f}") * UNIT) if math.isfinite(value) else None
