"""Records, papers, latencies and pictures -> the figures that they ask for, and what each shows."""

from __future__ import annotations

import functools
import hashlib
import itertools
import math
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

import msgspec

from bench import catalog, leaderboard, pictures
from bench import protocol as protocols
from bench.drawing import charts, crops, maps
from bench.drawing.charts import (
    Clip,
    ClipMeans,
    Costs,
    Curve,
    Dot,
    Means,
    Method,
    Panel,
    Spot,
    Value,
)
from bench.drawing.crops import Pictured, Shown
from bench.latency import Latency, Options
from bench.leaderboard import Board
from bench.paper import Paper
from bench.pictures import Pictures
from bench.record import ClipRecord, Record
from bench.score import Mean

if TYPE_CHECKING:
    from matplotlib.figure import Figure

MOST_CLIPS = 12  # a page holds no more panels, and nobody looks at more sheets
_LEAST_SPOTS = 2  # a single one shows no relation
_Asked = Iterator[tuple[str, Callable[..., "Figure"], msgspec.Struct]]  # name, what draws, data


class Asked(NamedTuple):
    """A figure by its name below the folder of figures: its kind, what it shows, what draws it."""

    name: Path
    kind: str
    data: msgspec.Struct
    draw: Callable[[], Figure]


class _Known(NamedTuple):
    """What the figures of all boards share; `methods` go by paper and checkpoint."""

    papers: dict[str, Paper]
    latencies: list[Latency]
    methods: dict[tuple[str, str], Method]

    def method(self, one: Record) -> Method:
        return self.methods[one.paper, one.checkpoint]


def asked(
    results: Path,
    papers: Sequence[Paper],
    records: Sequence[Record],
    latencies: Sequence[Latency],
) -> Iterator[Asked]:
    """The figures that the results ask for; pictures are looked for below `results`.

    Sets of more than `MOST_CLIPS` clips have no figures of their clips' scores, and of more clips
    with pictures the first are drawn.

    Methods take their looks in the order of their names, so that they keep them in every figure.
    """
    keys = sorted({(one.paper, one.checkpoint) for one in records})
    known = _Known(
        {chosen.name: chosen for chosen in papers},
        [one for one in latencies if one.usual],
        {key: Method(_label(*key), place) for place, key in enumerate(keys)},
    )
    for board, measured in leaderboard.boards(papers, records).items():
        place = Path(f"{board.dataset}-{board.degradation}" + "-space-time" * board.space_time)
        for name, draw, data in _of_board(board, measured, known):
            yield Asked(place / name, _kind(draw), data, functools.partial(draw, data))
    for one in _few(pictures.read_all(results, records)):
        place = Path(f"{one.dataset}-{one.degradation}") / one.clip
        for name, draw, data in _of_pictures(results, one, known):
            yield Asked(place / name, _kind(draw), data, functools.partial(draw, data, results))


def _few(found: Sequence[Pictures]) -> Iterator[Pictures]:
    """The first clips of each data set and degradation, as many as have figures."""
    for _, clips in itertools.groupby(found, lambda one: (one.dataset, one.degradation)):
        yield from itertools.islice(clips, MOST_CLIPS)


def _kind(draw: Callable[..., Figure]) -> str:
    return f"{draw.__module__}.{draw.__qualname__}"


def _label(paper: str, checkpoint: str) -> str:
    return paper if paper == checkpoint else f"{paper} {checkpoint}"


def _of_board(board: Board, records: Sequence[Record], known: _Known) -> _Asked:
    title = f"{catalog.get(board.dataset).title}, {board.degradation}"
    head = f"{title}\nProtocol {protocols.name_of(board.protocol)}: {board.protocol}"
    ranked = leaderboard.comparable(board, records)
    dots = [_dot(board, one, known) for one in ranked]
    if dots:
        yield "means", charts.means, Means(head, dots)
    if max(one.clip_count for one in records) <= MOST_CLIPS:
        yield from _of_clips(board, head, records, known)
    levels = zip(ranked, (dot.psnr.value for dot in dots), strict=True)
    finite = [(one, psnr) for one, psnr in levels if psnr is not None]
    spots = list(_parameters(finite, known))
    if len(spots) >= _LEAST_SPOTS:
        yield "parameters", charts.costs, Costs(head, "parameters (millions)", spots)
    for column in leaderboard.columns(ranked, known.latencies):
        spots = [
            _timed(time, psnr, known.method(one))
            for one, psnr in finite
            if (time := column.times.get((one.paper, one.checkpoint)))
        ]
        if len(spots) >= _LEAST_SPOTS:
            size, _, device = column.heading.removeprefix("ms").rpartition(" on ")
            where = f"{head}\nDevice {device}, {Options().dtype}"
            yield f"time-{device}", charts.costs, Costs(where, f"ms per SR frame, LR{size}", spots)


def _of_clips(board: Board, head: str, records: Sequence[Record], known: _Known) -> _Asked:
    """The figures of each clip; records of other GT frames than most are left out of a clip."""
    clips, panels, methods = [], [], set[Method]()
    ordered = sorted(records, key=lambda one: (one.paper, one.checkpoint))
    for name in sorted({clip.clip for one in ordered for clip in one.clips}):
        pairs = _of_same_gt(board, ordered, name)
        if not pairs:
            continue
        methods |= {known.method(one) for one, _ in pairs}
        clips.append(Clip(name, [_dot(board, one, known, name) for one, _ in pairs]))
        times = board.protocol.scored(pairs[0][1].frames)
        if len(times) > 1:
            curves = [Curve(known.method(one), _psnr(board, one, clip)) for one, clip in pairs]
            panels.append(Panel(name, times[0], curves))
    listed = sorted(methods, key=lambda method: method.place)
    if clips:
        yield "clips", charts.clip_means, ClipMeans(head, listed, clips)
    if panels:
        yield "frames", charts.frames, charts.Frames(head, listed, panels)


def _of_same_gt(
    board: Board, records: Sequence[Record], name: str
) -> list[tuple[Record, ClipRecord]]:
    pairs = [
        (one, clip)
        for one in records
        if (clip := one.clip(name)) and one.name_of(board.protocol) in clip.scores
    ]
    counts = Counter((clip.gt_sha256, clip.frames) for _, clip in pairs)
    usual = max(counts, key=lambda gt: counts[gt], default=None)
    return [(one, clip) for one, clip in pairs if (clip.gt_sha256, clip.frames) == usual]


def _psnr(board: Board, one: Record, clip: ClipRecord) -> list[float | None]:
    scores = clip.scores[one.name_of(board.protocol) or ""]
    return [None if math.isinf(value) else value for value in scores.numbers()]


def _dot(board: Board, one: Record, known: _Known, clip: str | None = None) -> Dot:
    """The means of a record, of all clips or one, beside what its paper printed of the same.

    That is a verified number of that checkpoint on that data set under the board's protocol.
    """
    psnr, ssim = one.mean(one.name_of(board.protocol) or "", clip)
    chosen = known.papers.get(one.paper)
    wanted = (one.checkpoint, one.dataset, one.degradation, clip)
    cells = [
        cell
        for cell in (chosen.cells if chosen else ())
        if (cell.checkpoint, cell.dataset, cell.degradation, cell.clip) == wanted
        and cell.verified
        and cell.protocol
        and protocols.PROTOCOLS[cell.protocol].hash == board.protocol.hash
    ]
    return Dot(
        known.method(one),
        _value(psnr, 2, next((cell.psnr for cell in cells if cell.psnr), None)),
        _value(ssim, 4, next((cell.ssim for cell in cells if cell.ssim), None)),
    )


def _value(mean: Mean, digits: int, published: str | None) -> Value:
    value = mean.value if math.isfinite(mean.value) else None
    return Value(value, mean.text(digits), float(published) if published else None)


def _parameters(levels: Sequence[tuple[Record, float]], known: _Known) -> Iterator[Spot]:
    """Parameters as paper.yaml states them, which tests hold to be right, else as measured."""
    measured = {(one.paper, one.checkpoint): one.parameters for one in known.latencies}
    for one, psnr in levels:
        chosen = known.papers.get(one.paper)
        described = chosen.checkpoints.get(one.checkpoint) if chosen else None
        count = (described and described.parameters) or measured.get((one.paper, one.checkpoint))
        if count:
            yield Spot(known.method(one), count / 1e6, count / 1e6, count / 1e6, psnr)


def _timed(time: Latency, psnr: float, method: Method) -> Spot:
    label = f"{method.label} (clocks fell)" if time.clocks_fell else method.label
    spread = time.latency_ms
    return Spot(Method(label, method.place), spread.median, spread.p5, spread.p95, psnr)


def _of_pictures(results: Path, one: Pictures, known: _Known) -> _Asked:
    title = f"{catalog.get(one.dataset).title}, {one.degradation}, {one.clip}"
    frame = f"{title}, frame {one.frame} (from 0)"
    gt, lr = (_shown(results, one, name, Method(name, -1)) for name in ("gt", "lr"))
    shown = [
        _shown(results, one, found.name, known.methods[found.paper, found.checkpoint])
        for found in one.methods
    ]

    def pictured(head: str) -> Pictured:
        return Pictured(head, gt, lr, shown, one.height, one.width, one.row)

    if min(one.height, one.width) >= crops.LEAST:
        words = "Where methods differ most; PSNR of each crop in Y"
        if len(shown) == 1:
            words = "Where errors are largest; PSNR of each crop in Y"
        yield "crops", crops.draw, pictured(f"{frame}\n{words}")
    words = "PSNR of this frame under fixed (Y, crop 8)"
    yield "errors", maps.errors, pictured(f"{frame}\n{words}")
    row = f"row {one.row} (from 0) over {one.frames} frames"
    yield "profiles", maps.profiles, pictured(f"{title}, {row}")


def _shown(results: Path, one: Pictures, name: str, method: Method) -> Shown:
    frame = pictures.frame_file(results, one, name)
    # LR has no profile.
    profile = pictures.profile_file(results, one, name) if name != "lr" else None
    return Shown(
        method,
        frame.relative_to(results).as_posix(),
        _sha256(frame),
        profile.relative_to(results).as_posix() if profile else "",
        _sha256(profile) if profile else "",
    )


def _sha256(file: Path) -> str:
    return hashlib.sha256(file.read_bytes()).hexdigest()
