"""datasets.yaml -> Dataset -> Clip: found on disk in any known layout, and checked.

Finding a data set looks only at folder names; opening a clip reads the headers of its frames.
"""

from __future__ import annotations

import functools
import os
import re
from collections.abc import Sequence
from pathlib import Path
from typing import Annotated, Literal, NamedTuple

import msgspec
import numpy as np
from numpy.typing import NDArray

from bench import frames, storage
from bench.errors import BenchError, choices
from bench.frames import FrameFiles

Frame = NDArray[np.uint8]


Natural = Annotated[int, msgspec.Meta(ge=0)]
Positive = Annotated[int, msgspec.Meta(ge=1)]
Template = Annotated[str, msgspec.Meta(pattern=r"^[^{}]*\{clip\}[^{}]*$")]


class ClipSize(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """What is known of one clip; null where no source states it."""

    frames: Positive | None = None
    height: Positive | None = None
    width: Positive | None = None


class KnownList(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """A published list file: the repository, commit and path, and the SHA-256 of its bytes."""

    source: str
    sha256: str


class ClipList(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Clips that are named by a list file which users have."""

    files: list[str]
    count: int
    without: list[str] = []
    among: list[str] = []
    known: list[KnownList] = []


class Layout(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Folders of a clip's frames below the root of the data set; `{clip}` is the clip's name."""

    name: str
    gt: Template | None = None
    lr: dict[str, Template] = {}
    skip: Natural = 0


class Source(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Where something can be had."""

    what: str
    where: str


class Dataset(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """One data set as datasets.yaml describes it."""

    title: str
    folders: list[str]
    scored: Literal["all", "centre"]
    degradations: list[str]
    frames: Positive | None
    height: Positive | None
    width: Positive | None
    layouts: list[Layout]
    licence: str | None
    sources: list[Source]
    clips: dict[str, ClipSize] | None = None
    clip_list: ClipList | None = None
    lr_scale: dict[str, int] = {}
    hints: dict[int, str] = {}
    note: str | None = None
    name: str = ""

    def __post_init__(self) -> None:
        if (self.clips is None) == (self.clip_list is None):
            raise ValueError("exactly one of clips and clip_list must be given")

    @property
    def count(self) -> int:
        """The number of clips."""
        if self.clips is not None:
            return len(self.clips)
        return self.clip_list.count if self.clip_list else 0

    def size(self, clip: str) -> ClipSize:
        """Frame count and frame size of a clip, as far as they are known."""
        own = (self.clips or {}).get(clip, ClipSize())
        return ClipSize(
            own.frames or self.frames, own.height or self.height, own.width or self.width
        )


class _File(msgspec.Struct, forbid_unknown_fields=True):
    schema: Literal[1]
    datasets: dict[str, Dataset]


class Found(NamedTuple):
    """A data set on disk: its root, the layout of its GT frames, its clips, and where LR lies."""

    dataset: Dataset
    root: Path
    layout: Layout
    clips: list[str]
    lr: dict[str, Layout]


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


def default_path() -> Path:
    """datasets.yaml beside this package: in an installed package inside it, else one level up."""
    here = Path(__file__).parent
    inside = here / "datasets.yaml"
    return inside if inside.exists() else here.parent / "datasets.yaml"


@functools.cache
def load(path: Path | None = None) -> dict[str, Dataset]:
    """Every known data set by name. The file is read once."""
    datasets = storage.read_yaml(path or default_path(), _File).datasets
    return {name: msgspec.structs.replace(d, name=name) for name, d in datasets.items()}


def get(name: str) -> Dataset:
    """The data set of that name."""
    datasets = load()
    if name not in datasets:
        raise BenchError(
            "unknown data set", expected=choices(datasets), found=repr(name), todo="choose one"
        )
    return datasets[name]


def cache_folder() -> Path:
    """BENCH_CACHE, else the user's cache folder."""
    if given := os.environ.get("BENCH_CACHE"):
        return Path(given)
    base = os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache"
    return Path(base) / "vsr-reproductions"


def data_root(given: str | Path | None = None) -> Path:
    """Where data sets are looked for: the given folder, else BENCH_DATA, else the cache folder."""
    return Path(given or os.environ.get("BENCH_DATA") or cache_folder())


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
        todo="name its parent folder with --data-root or BENCH_DATA",
    )


def _find_at(dataset: Dataset, base: Path, only: Sequence[str]) -> Found | None:
    """The data set with its root at `base`; None where no clip of it is there."""
    layouts = [layout for layout in dataset.layouts if _begins(dataset, base, layout)]
    if not layouts:
        return None
    clips = _clips(dataset, base)
    wanted = [clip for clip in clips if not only or clip in only] or clips
    missing = {
        index: [clip for clip in wanted if not _folder(base, layout.gt, clip)]
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
        todo="complete the data set",
    )


def _likeness(dataset: Dataset, base: Path, layout: Layout, clip: str) -> tuple[bool, int]:
    """What tells layouts apart whose GT folders all exist: frame counts, then LR folders."""
    folder, frame_count = _folder(base, layout.gt, clip), dataset.size(clip).frames
    right = bool(folder and frame_count and frames.count(folder) == frame_count + 2 * layout.skip)
    return right, sum(_folder(base, lr, clip) is not None for lr in layout.lr.values())


def check_clips(found: Found, names: Sequence[str]) -> None:
    """Raises BenchError where the data set has no clip of one of the names."""
    for name in names:
        if name not in found.clips:
            raise BenchError(
                f"{found.dataset.title} has no clip {name!r}",
                expected=choices(found.clips[:12]) + (", ..." if len(found.clips) > 12 else ""),
                todo="choose one of them",
            )


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


def _bases(dataset: Dataset, root: Path) -> list[Path]:
    return [base for base in (root, *(root / name for name in dataset.folders)) if base.is_dir()]


def _folder(base: Path, template: str | None, clip: str) -> Path | None:
    if template is None:
        return None
    folder = base / template.format(clip=clip)
    return folder if folder.is_dir() else None


def _begins(dataset: Dataset, base: Path, layout: Layout) -> bool:
    """Whether the layout's folder of clips exists, or, where it is `base` itself, any clip does."""
    if layout.gt is None:
        return False
    if parent := layout.gt.partition("{clip}")[0]:
        return (base / parent).is_dir()
    known = dataset.clips or (dataset.clip_list.among if dataset.clip_list else ())
    return any(_folder(base, layout.gt, clip) for clip in known)


def _lr_layouts(
    dataset: Dataset, base: Path, gt_layout: Layout, clips: list[str]
) -> dict[str, Layout]:
    """For each degradation, the layout whose LR folders exist; the one of the GT frames first."""
    found = {}
    others = [layout for layout in dataset.layouts if layout is not gt_layout]
    for degradation in dataset.degradations:
        for layout in (gt_layout, *others):
            template = layout.lr.get(degradation)
            if template and all(_folder(base, template, clip) for clip in clips):
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
        if any(_folder(base, layout.gt, clip) for layout in dataset.layouts)
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


def _gt(found: Found, name: str) -> Sequence[Frame]:
    if not found.dataset.layouts:
        from bench import sample

        return list(sample.clip(name))
    folder = _folder(found.root, found.layout.gt, name)
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
    folder = _folder(found.root, layout.lr[degradation], name)
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
