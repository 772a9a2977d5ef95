"""Dataset -> Found: where a data set lies on disk, in any of its layouts.

Only folder names and list files are looked at; `bench.clips` opens what is found.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

from bench import frames
from bench.catalog import ClipList, Dataset, Layout
from bench.errors import BenchError, choices


class Found(NamedTuple):
    """A data set on disk: its root, the layout of its GT frames, its clips, and where LR lies."""

    dataset: Dataset
    root: Path
    layout: Layout
    clips: list[str]
    lr: dict[str, Layout]


def find(dataset: Dataset, root: Path, only: Sequence[str] = ()) -> Found:
    """The data set below `root`, in a layout that holds all of its clips, or those named.

    Raises BenchError that names the folders looked in, or the clips that are missing.
    """
    if not dataset.layouts:
        return Found(dataset, root, Layout("built in"), list(dataset.clips or ()), {})
    bases = _bases(dataset, root)
    problem: BenchError | None = None
    for base in bases:
        try:
            if found := _find_at(dataset, base, only):
                return found
        except BenchError as error:
            problem = problem or error
    raise problem or BenchError(
        f"{dataset.title} not found",
        expected=choices({layout.gt for layout in dataset.layouts if layout.gt}),
        found=f"none of them in {', '.join(map(str, bases)) or root}",
        todo=(f"run bench fetch {dataset.name}, or " if dataset.downloads else "")
        + "name its parent folder with --data-root or BENCH_DATA",
    )


def _find_at(dataset: Dataset, base: Path, only: Sequence[str]) -> Found | None:
    """The data set with its root at `base`; None where no clip of it is there."""
    layouts = [layout for layout in dataset.layouts if _begins(dataset, base, layout)]
    if not layouts:
        return None
    clips = _clips(dataset, base)
    wanted = [clip for clip in clips if not only or clip in only] or clips
    missing = {
        index: [clip for clip in wanted if not folder_of(base, layout.gt, clip)]
        for index, layout in enumerate(layouts)
    }
    whole = [layouts[index] for index, lacking in missing.items() if not lacking]
    if whole:
        layout = max(whole, key=lambda layout: _likeness(dataset, base, layout, wanted[0]))
        return Found(dataset, base, layout, clips, _lr_layouts(dataset, base, layout, wanted))
    index, lacking = min(missing.items(), key=lambda item: len(item[1]))
    if len(lacking) == len(wanted):
        return None
    raise BenchError(
        f"{dataset.title} in {base} ({layouts[index].name} layout) lacks {len(lacking)} clips",
        expected=f"{dataset.count} clips",
        found="no " + ", ".join(lacking[:4]) + (", ..." if len(lacking) > 4 else ""),
        todo="complete the data set"
        + (f": bench fetch {dataset.name}" if dataset.downloads else ""),
    )


def _likeness(dataset: Dataset, base: Path, layout: Layout, clip: str) -> tuple[bool, int]:
    """What tells layouts apart whose GT folders all exist: frame counts, then LR folders."""
    folder, frame_count = folder_of(base, layout.gt, clip), dataset.size(clip).frames
    right = bool(folder and frame_count and frames.count(folder) == frame_count + 2 * layout.skip)
    return right, sum(folder_of(base, lr, clip) is not None for lr in layout.lr.values())


def folder_of(base: Path, template: str | None, clip: str) -> Path | None:
    """The folder of a clip below the data set's root, where it exists."""
    if template is None:
        return None
    folder = base / template.format(clip=clip)
    return folder if folder.is_dir() else None


def _bases(dataset: Dataset, root: Path) -> list[Path]:
    return [base for base in (root, *(root / name for name in dataset.folders)) if base.is_dir()]


def begins(dataset: Dataset, base: Path) -> bool:
    """Whether folders of the data set's clips begin at `base` in any layout, whole or not."""
    return any(_begins(dataset, base, layout) for layout in dataset.layouts)


def _begins(dataset: Dataset, base: Path, layout: Layout) -> bool:
    """Whether the layout's folder of clips exists, or, where it is `base` itself, any clip does."""
    if layout.gt is None:
        return False
    if parent := layout.gt.partition("{clip}")[0]:
        return (base / parent).is_dir()
    known = dataset.clips or (dataset.clip_list.among if dataset.clip_list else ())
    return any(folder_of(base, layout.gt, clip) for clip in known)


def _lr_layouts(
    dataset: Dataset, base: Path, gt_layout: Layout, clips: list[str]
) -> dict[str, Layout]:
    """For each degradation, the layout whose LR folders exist; the one of the GT frames first."""
    found = {}
    others = [layout for layout in dataset.layouts if layout is not gt_layout]
    for degradation in dataset.degradations:
        for layout in (gt_layout, *others):
            template = layout.lr.get(degradation)
            if template and all(folder_of(base, template, clip) for clip in clips):
                found[degradation] = layout
                break
    return found


def _clips(dataset: Dataset, base: Path) -> list[str]:
    if dataset.clips is not None:
        return list(dataset.clips)
    wanted = dataset.clip_list
    if wanted is None:
        return []
    patterns = [f"{where}{name}" for name in wanted.files for where in ("", "*/", "*/*/")]
    found = [path for pattern in patterns for path in sorted(base.glob(pattern))]
    errors = []
    for path in found:
        try:
            return read_list(path, wanted)
        except BenchError as error:
            errors.append(error)
    if errors:
        raise errors[0]
    present = [
        clip
        for clip in wanted.among
        if any(folder_of(base, layout.gt, clip) for layout in dataset.layouts)
    ]
    if len(present) == wanted.count:
        return present
    raise BenchError(
        f"{dataset.title} in {base} has no list of its clips",
        expected=choices(wanted.files)
        + (f", or folders of exactly {wanted.count} of the known clips" if wanted.among else ""),
        found=f"{len(present)} folders of known clips" if wanted.among else None,
        todo="put the list beside the frames"
        + ("; known ones: " + "; ".join(k.source for k in wanted.known) if wanted.known else ""),
    )


def check_clips(found: Found, names: Sequence[str]) -> None:
    """Raises BenchError where the data set has no clip of one of the names."""
    for name in names:
        if name not in found.clips:
            raise BenchError(
                f"{found.dataset.title} has no clip {name!r}",
                expected=choices(found.clips[:12]) + (", ..." if len(found.clips) > 12 else ""),
                todo="choose one of them",
            )


def read_list(path: Path, wanted: ClipList) -> list[str]:
    """The clips named by a list file: the first word of each line that is not empty.

    Reads the lists of Zooming Slow-Mo and STDAN (`00001/0266`), BasicSR's (`00001/0266 7
    (256,448,3)`) and plain names. Clips in `wanted.without` are dropped.
    """
    try:
        lines = path.read_text(encoding="utf-8-sig").splitlines()
    except (OSError, UnicodeDecodeError) as error:
        raise BenchError(
            f"cannot read {path}", expected="a text file", todo="restore it"
        ) from error
    clips: list[str] = []
    for number, line in enumerate(lines, 1):
        if not line.strip():
            continue
        clip = re.sub(r"/im\d\.png$", "", line.split()[0].replace("\\", "/").strip("/"))
        if ".." in clip.split("/") or (wanted.among and clip not in wanted.among):
            raise BenchError(
                f"{path}:{number}: unknown clip",
                expected=choices(wanted.among) if wanted.among else "a name such as 00001/0266",
                found=repr(clip),
                todo="use the published list",
            )
        clips.append(clip)
    if len(set(clips)) != len(clips):
        twice = next(clip for i, clip in enumerate(clips) if clip in clips[:i])
        raise BenchError(f"{path} names {twice} twice", todo="use the published list")
    kept = [clip for clip in clips if clip not in set(wanted.without)]
    if len(kept) != wanted.count:
        raise BenchError(
            f"{path} names the wrong number of clips",
            expected=str(wanted.count),
            found=str(len(kept)),
            todo="use a published list"
            + (": " + "; ".join(known.source for known in wanted.known) if wanted.known else ""),
        )
    return kept
