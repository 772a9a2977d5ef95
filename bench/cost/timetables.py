"""The papers' own tables of times, with what was measured here below: each row says its device."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from bench.cells import Context, Timed
from bench.grid import Grid
from bench.latency import Latency, path
from bench.paper import Paper

_HERE = (
    "Published, then measured here with random weights in float32. Times of different devices do "
    "not compare."
)
_MILLISECONDS = {"s": 1e3, "ms": 1.0}


def joined(grids: Sequence[Grid], chosen: Paper, latencies: Sequence[Latency]) -> list[Grid]:
    """The grids of a paper, those of its tables of times with a row for each device measured on.

    Where nothing was measured a footnote says by what command it would be.
    """
    timed = {context.title: context for context in chosen.context}
    return [_joined(one, timed.get(one.title), chosen, latencies) for one in grids]


def _joined(
    one: Grid, context: Context | None, chosen: Paper, latencies: Sequence[Latency]
) -> Grid:
    if context is None or context.timed is None:
        return one
    timed = context.timed
    found = fitting(timed, [m for m in latencies if m.paper == chosen.name])
    if not found:
        size = f" --size {timed.size}" if timed.size else ""
        todo = f"`bench latency {chosen.name} --checkpoint {timed.checkpoint}{size}`"
        return one._replace(notes=[*one.notes, ("Not measured here:", todo)])
    groups, notes = list(one.groups), list(one.notes)
    for number, measured in enumerate(found, 1):
        mark = f"[{number}]"
        line = {context.columns[0]: f"{timed.label}, measured here {mark}"}
        line |= {timed.time: _time(timed, measured), timed.device: measured.device.title}
        groups.append([[line.get(column, "-") for column in context.columns]])
        notes.append((mark, _how(timed, measured)))
    return one._replace(caption=_HERE, groups=groups, notes=notes)


def fitting(timed: Timed, latencies: Sequence[Latency]) -> list[Latency]:
    """The results that join the table, one for each device: those in float32 of the stated size.

    Of several on a device, that of the clip whose length is most like the published one, then that
    of the largest frames.
    """
    found: dict[str, Latency] = {}

    def nearness(one: Latency) -> tuple[int, int]:
        return -abs(one.frames - timed.frames), one.pixels

    for one in sorted(latencies, key=nearness):
        wanted = one.checkpoint == timed.checkpoint and one.usual
        if wanted and timed.size in {None, f"{one.height}x{one.width}"}:
            found[one.device.slug] = one
    return [found[slug] for slug in sorted(found)]


def _time(timed: Timed, measured: Latency) -> str:
    """Three digits, or as many as the whole part has."""
    value = measured.latency_ms.median * timed.frames / _MILLISECONDS[timed.unit]
    return f"{value:.0f}" if value >= 99.95 else f"{value:#.3g}"


def _how(timed: Timed, measured: Latency) -> str:
    clip = f" of a clip of {measured.frames}" if measured.whole_clips else ""
    words = [f"one SR frame in steady state{clip}, LR {measured.height}x{measured.width}"]
    words += [f"times {timed.frames}"] if timed.frames > 1 else []
    words += ["while clocks fell"] if measured.clocks_fell else []
    words += [] if timed.size else ["of the published times no size is stated"]
    return f"{', '.join(words)}: `{path(Path('results'), measured).as_posix()}`"
