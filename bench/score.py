"""SR frames against GT frames: scores of each frame under any number of protocols, and means."""

from __future__ import annotations

import csv
import hashlib
import io
import math
from collections.abc import Callable, Iterable, Mapping, Sequence
from pathlib import Path
from typing import NamedTuple

import msgspec
import numpy as np
from numpy.typing import NDArray

from bench import frames, metrics, storage
from bench.errors import BenchError
from bench.frames import FrameFiles
from bench.metrics import View
from bench.protocol import Protocol

Frame = NDArray[np.uint8]


class Scores(NamedTuple):
    """PSNR in dB and SSIM of the frames of one clip that a protocol scores, and which those are."""

    frames: range
    psnr: list[float]
    ssim: list[float]


class ClipScores(NamedTuple):
    """The scores of one clip by protocol, and what was compared.

    A digest is the SHA-256 of the SHA-256 digests of the decoded RGB frames, in order.
    """

    frames: int
    scores: dict[str, Scores]
    sr_sha256: str
    gt_sha256: str


class Mean(NamedTuple):
    """A mean of scores that says what it left out.

    value      mean of the finite scores; `inf` where there is none
    infinite   number of infinite scores: frames identical to their GT, such as black ones
    total      number of scores, infinite ones included
    """

    value: float
    infinite: int
    total: int

    def text(self, digits: int = 4) -> str:
        """The value, and in brackets how many identical frames it leaves out."""
        if math.isinf(self.value):
            return f"inf (all {self.total} frames identical)"
        left_out = f" ({self.infinite} of {self.total} frames identical)" if self.infinite else ""
        return f"{self.value:.{digits}f}{left_out}"


def mean(values: Iterable[float]) -> Mean:
    """The mean of the scores of one clip."""
    values = list(values)
    finite = [value for value in values if math.isfinite(value)]
    value = math.fsum(finite) / len(finite) if finite else math.inf
    return Mean(value, len(values) - len(finite), len(values))


def dataset_mean(clips: Iterable[Sequence[float]], protocol: Protocol) -> Mean:
    """The mean over the clips of a data set, in the way of averaging of the protocol."""
    clips = list(clips)
    if protocol.averaging == "frames":
        return mean(value for clip in clips for value in clip)
    means = [mean(clip) for clip in clips]
    return Mean(
        mean(m.value for m in means).value,
        sum(m.infinite for m in means),
        sum(m.total for m in means),
    )


def score_clip(
    sr: Iterable[Frame],
    gt: Sequence[Frame],
    protocols: Mapping[str, Protocol],
    *,
    workers: int = 2,
    on_frame: Callable[[], object] = lambda: None,
    digests: bool = True,
    restored: Sequence[int] | None = None,
) -> ClipScores:
    """Scores the SR frames of one clip, drawn one after the other, under all protocols at once.

    `sr` gives uint8 RGB frames (h, w, 3), as many as `gt` holds, or those of the frames `restored`,
    among which must be every frame that a protocol scores. Where it is a sequence, frames are
    fetched (decoded) by the workers too. Frames are dropped as soon as they are scored. `on_frame`
    is called after each frame. Raises BenchError where counts or sizes differ.
    """
    count = len(gt)
    restored = range(count) if restored is None else restored
    scored = {name: protocol.scored(count) for name, protocol in protocols.items()}
    wanted: list[list[View]] = [
        list(dict.fromkeys(_view(protocols[name]) for name in scored if i in scored[name]))
        for i in range(count)
    ]

    def compare(item: tuple[int, Frame | None]) -> tuple[dict[View, tuple[float, float]], bytes]:
        position, frame = item
        if frame is None:
            frame = sr[position]  # type: ignore[index]
        index = restored[position]
        reference, views = gt[index], wanted[index]
        try:
            results = metrics.measure(frame, reference, views) if views else []
        except BenchError as error:
            raise BenchError(f"frame {index + 1} of {count}: {error}") from error
        digest = _digest(frame) + _digest(reference) if digests else b""
        values = {
            view: (float(quality.psnr), float(quality.ssim))
            for view, quality in zip(views, results, strict=True)
        }
        return values, digest

    table, sr_hash, gt_hash = {}, hashlib.sha256(), hashlib.sha256()
    compared = frames.in_order(compare, _numbered(sr, len(restored)), workers)
    for index, (values, digest) in zip(restored, compared, strict=True):
        table[index] = values
        sr_hash.update(digest[:32])
        gt_hash.update(digest[32:])
        on_frame()
    scores = {
        name: Scores(
            indices,
            [table[i][_view(protocols[name])][0] for i in indices],
            [table[i][_view(protocols[name])][1] for i in indices],
        )
        for name, indices in scored.items()
    }
    return ClipScores(count, scores, sr_hash.hexdigest(), gt_hash.hexdigest())


def gt_clips(folder: Path) -> dict[str, Sequence[Frame]]:
    """The clips of a folder of frames (one clip, named "") or of clips of frames."""
    folders = frames.clip_folders(folder)
    return {name: FrameFiles(frames.frame_files(path)) for name, path in folders.items()}


def pair(
    sr: Path, gt: Mapping[str, Sequence[Frame]], clips: Sequence[str] = ()
) -> dict[str, tuple[FrameFiles, Sequence[Frame]]]:
    """SR frames below a folder beside the GT frames of each clip, or of the named clips.

    Clips are paired by name, frames in natural order, whatever their names. Counts and sizes are
    checked from the frames' headers before anything is scored.
    """
    sr_clips = frames.clip_folders(sr)
    wanted = list(clips or gt)
    for where, present in (("GT", gt), ("SR", sr_clips)):
        lacking = [clip for clip in wanted if clip not in present]
        if lacking:
            raise BenchError(
                f"{where} lacks " + ", ".join(clip or "frames of its own" for clip in lacking[:4]),
                expected=f"{len(wanted)} clips: " + ", ".join(map(_shown, wanted[:8])),
                found=f"{len(present)}: " + ", ".join(map(_shown, list(present)[:8])),
                todo="give folders of the same clips, or choose some with --clip",
            )
    extra = [clip for clip in sr_clips if clip not in gt]
    if extra and not clips:
        raise BenchError(
            "SR holds clips that GT lacks",
            expected=f"{len(gt)} clips: " + ", ".join(map(_shown, list(gt)[:8])),
            found=", ".join(extra[:8]),
            todo="give folders of the same clips, or choose some with --clip",
        )
    pairs = {}
    for clip in wanted:
        files = FrameFiles(frames.frame_files(sr_clips[clip]))
        _check_headers(clip, files, gt[clip])
        pairs[clip] = (files, gt[clip])
    return pairs


def _shown(clip: str) -> str:
    return clip or "frames, no clips"


def _check_headers(clip: str, sr: FrameFiles, gt: Sequence[Frame]) -> None:
    where = f"clip {clip}" if clip else "the clip"
    if len(sr) != len(gt):
        raise BenchError(
            f"{where}: SR and GT differ in the number of frames",
            expected=f"{len(gt)} as GT",
            found=f"{len(sr)} in {sr.files[0].parent}",
            todo="score whole clips",
        )
    for index, path in enumerate(sr.files):
        size = frames.size(path)
        expected = (
            frames.size(gt.files[index]) if isinstance(gt, FrameFiles) else gt[index].shape[:2]
        )
        if size != expected:
            raise BenchError(
                f"{where}: {path} differs in size from its GT frame",
                expected=f"{expected[1]}x{expected[0]}",
                found=f"{size[1]}x{size[0]}",
                todo="score frames of the size of GT",
            )


def export(
    clips: Mapping[str, Mapping[str, Scores]],
    protocols: Mapping[str, Protocol],
    json_file: Path | None = None,
    csv_file: Path | None = None,
) -> None:
    """Writes the scores of every frame; frames are counted from 0 in the order of their names.

    JSON holds the protocols' fields and, under each, clips with their lists; infinite PSNR is the
    string "inf" there.
    """
    if json_file:
        data = {
            name: {
                "protocol": msgspec.structs.asdict(protocol),
                "hash": protocol.hash,
                "clips": {
                    clip: {
                        "frames": [*scores[name].frames],
                        "psnr": ["inf" if math.isinf(v) else v for v in scores[name].psnr],
                        "ssim": scores[name].ssim,
                    }
                    for clip, scores in clips.items()
                },
            }
            for name, protocol in protocols.items()
        }
        text = msgspec.json.format(msgspec.json.encode(data), indent=2).decode()
        storage.write_text(json_file, text + "\n")
    if csv_file:
        rows = [
            (name, clip, frame, psnr, ssim)
            for name in protocols
            for clip, scores in clips.items()
            for frame, psnr, ssim in zip(*scores[name], strict=True)
        ]
        table = io.StringIO()
        writer = csv.writer(table, lineterminator="\n")
        writer.writerows([("protocol", "clip", "frame", "psnr", "ssim"), *rows])
        storage.write_text(csv_file, table.getvalue())


class Digest:
    """The digest of frames as in `ClipScores`, one frame after the other."""

    def __init__(self) -> None:
        self._total = hashlib.sha256()

    def add(self, frame: Frame) -> None:
        """Takes the next frame."""
        self._total.update(_digest(frame))

    @property
    def value(self) -> str:
        """The digest of the frames so far, in hexadecimal digits."""
        return self._total.hexdigest()


def digest(clip: Iterable[Frame]) -> str:
    """The digest of a clip's frames, as in `ClipScores`."""
    total = Digest()
    for frame in clip:
        total.add(frame)
    return total.value


def _digest(frame: Frame) -> bytes:
    return hashlib.sha256(np.ascontiguousarray(frame).data).digest()


def _view(protocol: Protocol) -> View:
    return View(protocol.channel, protocol.border)


def _numbered(sr: Iterable[Frame], count: int) -> Iterable[tuple[int, Frame | None]]:
    if isinstance(sr, Sequence):
        if len(sr) != count:
            raise _miscounted(len(sr), count)
        yield from ((index, None) for index in range(count))
        return
    index = -1
    for index, frame in enumerate(sr):
        if index >= count:
            raise _miscounted(index + 1, count, "or more")
        yield index, frame
    if index + 1 != count:
        raise _miscounted(index + 1, count)


def _miscounted(found: int, count: int, more: str = "") -> BenchError:
    return BenchError(
        "SR and GT differ in the number of frames",
        expected=f"{count} SR frames",
        found=f"{found} {more}",
        todo="score whole clips",
    )
