"""Found -> Clip: GT and LR frames of one test sequence, read or made, and checked.

Opening a clip reads the headers of its frames; `check_lr` decodes them.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Literal, NamedTuple

import numpy as np
from numpy.typing import NDArray

from bench import frames
from bench.catalog import Layout
from bench.errors import BenchError, choices
from bench.frames import FrameFiles
from bench.locate import Found, check_clips, folder_of

Frame = NDArray[np.uint8]


class Reduced(Sequence[Frame]):
    """LR frames made from GT frames by one of the known degradations."""

    def __init__(self, gt: Sequence[Frame], degradation: str, scale: int) -> None:
        self.gt, self.degradation, self.scale = gt, degradation, scale

    def __len__(self) -> int:
        return len(self.gt)

    def __getitem__(self, index: int) -> Frame:  # type: ignore[override]
        from bench import degrade

        return degrade.degrade(self.gt[index], self.degradation, self.scale)  # type: ignore[arg-type]


class Clip(NamedTuple):
    """One test sequence: frames are decoded, or made, when asked for.

    `lr_origin` says whether LR frames were read (`files`) or made from GT (`made`).
    """

    dataset: str
    name: str
    gt: Sequence[Frame]
    lr: Sequence[Frame]
    lr_origin: Literal["files", "made"]


def gt_clips(found: Found, only: Sequence[str] = ()) -> dict[str, Sequence[Frame]]:
    """The GT frames of every clip, or of those named, checked as in `open_clip`."""
    return {clip: _gt(found, clip) for clip in found.clips if not only or clip in only}


def open_clip(found: Found, name: str, degradation: str, scale: int = 4) -> Clip:
    """The clip, with every frame's header checked against datasets.yaml and against each other."""
    check_clips(found, [name])
    if degradation not in found.dataset.degradations:
        raise BenchError(
            f"{found.dataset.title} has no degradation {degradation!r}",
            expected=choices(found.dataset.degradations),
            todo="choose one of them",
        )
    gt = _gt(found, name)
    scale = found.dataset.lr_scale.get(degradation, scale)
    layout = found.lr.get(degradation)
    if layout is None:
        check_makeable(found, degradation)
        return Clip(found.dataset.name, name, gt, Reduced(gt, degradation, scale), "made")
    lr = _lr_files(found, layout, degradation, name, gt, scale)
    return Clip(found.dataset.name, name, gt, lr, "files")


def check_makeable(found: Found, degradation: str) -> None:
    """Raises BenchError where LR of this degradation is neither on disk nor can be made."""
    from bench import degrade

    if degradation not in found.lr and degradation not in degrade.DEGRADATIONS:
        folders = [
            layout.lr[degradation] for layout in found.dataset.layouts if degradation in layout.lr
        ]
        raise BenchError(
            f"{found.dataset.title} has no {degradation} LR frames on disk",
            expected=choices(set(folders)),
            found=f"none of them in {found.root}",
            todo="fetch them; they cannot be made from GT",
        )


def check_lr(clip: Clip, degradation: str, workers: int = 2) -> None:
    """Compares every LR frame that was read with what the degradation makes of its GT frame.

    Raises BenchError where another degradation fits the first frame better (trap `bd-phase`: LR in
    DUF's phase in a folder called BDx4), or where a frame comes not within 40 dB: other frames, or
    another order. Degradations that cannot be made here (blur tracks of REDS) are not checked.
    """
    from bench import degrade

    if clip.lr_origin == "made" or degradation not in degrade.DEGRADATIONS:
        return
    first = {name: _fit(clip, name, 0) for name in degrade.DEGRADATIONS}
    best = max(first, key=lambda name: (first[name], name == degradation))
    if first[best] > first[degradation] + 3:  # on flat frames all of them nearly agree
        raise BenchError(
            f"LR of {clip.dataset}/{clip.name} is not {degradation}",
            expected=f"frames that agree with {degradation} of the GT",
            found=f"{first[best]:.1f} dB against {best}, {first[degradation]:.1f} dB against "
            f"{degradation}",
            todo=f"rename the folder to what it holds, or run with --degradation {best}",
        )
    numbers = range(len(clip.gt))
    fits = frames.in_order(lambda t: _fit(clip, degradation, t), numbers, workers)
    for t, fit in zip(numbers, fits, strict=True):
        if fit < 40:
            raise BenchError(
                f"LR of {clip.dataset}/{clip.name} does not match its GT",
                expected=f"frames that agree with {degradation} of the GT",
                found=f"{fit:.1f} dB at frame {t + 1}",
                todo="check that both folders hold the same frames in the same order",
            )


def _fit(clip: Clip, degradation: str, t: int) -> float:
    """PSNR of LR frame `t` against what the degradation makes of its GT frame."""
    from bench import degrade, metrics

    gt, lr = clip.gt[t], clip.lr[t]
    made = degrade.degrade(gt, degradation, gt.shape[0] // lr.shape[0])  # type: ignore[arg-type]
    return float(metrics.psnr(lr, made, channel="rgb", border=0))


def _gt(found: Found, name: str) -> Sequence[Frame]:
    if not found.dataset.layouts:
        from bench import sample

        return list(sample.clip(name))
    folder = folder_of(found.root, found.layout.gt, name)
    if folder is None:
        raise BenchError(f"{found.root} lost its clip {name}", todo="restore the folder")
    files = frames.frame_files(folder)
    known, skip = found.dataset.size(name), found.layout.skip
    expected = None if known.frames is None else known.frames + 2 * skip
    if expected is not None and len(files) != expected:
        hint, few = found.dataset.hints.get(len(files)), "few" if len(files) < expected else "many"
        raise BenchError(
            f"{found.dataset.title}: clip {name} has too {few} frames in {folder}",
            expected=str(expected),
            found=str(len(files)) + (f" ({hint})" if hint else ""),
            todo="complete the folder",
        )
    files = files[skip : len(files) - skip]
    height, width = frames.size(files[0])
    if (known.height or height, known.width or width) != (height, width):
        raise BenchError(
            f"{files[0]} has the wrong size",
            expected=f"{known.width}x{known.height}",
            found=f"{width}x{height}",
            todo=f"use the original frames of {found.dataset.title}",
        )
    _check_sizes(files, (height, width))
    return FrameFiles(files)


def _lr_files(  # noqa: PLR0917
    found: Found, layout: Layout, degradation: str, name: str, gt: Sequence[Frame], scale: int
) -> FrameFiles:
    folder = folder_of(found.root, layout.lr[degradation], name)
    if folder is None:
        raise BenchError(f"{found.root} lost the LR of clip {name}", todo="restore the folder")
    files = frames.frame_files(folder)
    skip = layout.skip if len(files) == len(gt) + 2 * layout.skip else 0
    files = files[skip : len(files) - skip]
    if len(files) != len(gt):
        raise BenchError(
            f"LR of clip {name} in {folder} does not match its GT",
            expected=f"{len(gt)} frames",
            found=str(len(files)),
            todo="complete the folder, or remove it to have LR made from GT",
        )
    height, width = frames.size(gt.files[0]) if isinstance(gt, FrameFiles) else gt[0].shape[:2]
    _check_sizes(files, (height // scale, width // scale))
    return FrameFiles(files)


def _check_sizes(files: list[Path], expected: tuple[int, int]) -> None:
    for path in files:
        height, width = frames.size(path)
        if (height, width) != expected:
            raise BenchError(
                f"{path} has another size than it should",
                expected=f"{expected[1]}x{expected[0]}",
                found=f"{width}x{height}",
                todo="replace the frame",
            )
