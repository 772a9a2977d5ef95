"""What is shown of frames: one whole frame of a clip and one row of it over time, of each method.

They lie below the results folder, so that pages and figures are made from results alone:

    pictures/<dataset>-<degradation>/<clip>/clip.json
                                            gt.png lr.png <paper>-<checkpoint>.png
                                            gt-profile.png <paper>-<checkpoint>-profile.png

All are 8-bit RGB; a profile is `frames` high and as wide as GT.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Literal, NamedTuple

import msgspec
import numpy as np
from numpy.typing import NDArray

from bench import catalog, clips, frames, locate, score, storage
from bench.clips import Clip
from bench.errors import BenchError
from bench.frames import FrameFiles
from bench.record import ClipRecord, Record

Frame = NDArray[np.uint8]

SCHEMA: Literal[1] = 1
_BORDER = 8  # that of `fixed`: what it does not score is not chosen
_TAKE_AGAIN = "take them again with bench report --frames"
_AGAIN = "run again with --save-frames and --overwrite always"


class Method(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """Whose SR frames are shown; `sr_sha256` is the digest of the clip's frames in the record."""

    paper: str
    checkpoint: str
    sr_sha256: str

    @property
    def name(self) -> str:
        """The name of its pictures."""
        return f"{self.paper}-{self.checkpoint}"


class Pictures(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """The pictures of one clip.

    frame          the frame that is shown, from 0: where the methods differ most, or the only one
                   errs most
    row            the row of pixels that the profiles show, chosen likewise over the whole clip
    frames         rows of a profile: the frames that were restored
    height, width  of GT
    """

    schema: Literal[1] = SCHEMA
    dataset: str
    degradation: str
    clip: str
    frame: int
    row: int
    frames: int
    height: int
    width: int
    gt_sha256: str
    methods: list[Method]


class Saved(NamedTuple):
    """A record's clip whose SR frames lie on disk, and which frames these are."""

    record: Record
    clip: ClipRecord
    files: FrameFiles
    numbers: list[int]


def folder(results: Path, one: Pictures) -> Path:
    """Where the pictures of a clip lie below the results folder."""
    return results / "pictures" / f"{one.dataset}-{one.degradation}" / one.clip


def frame_file(results: Path, one: Pictures, name: str) -> Path:
    """The PNG of the frame: of `gt`, `lr` or a method's name."""
    return folder(results, one) / f"{name}.png"


def profile_file(results: Path, one: Pictures, name: str) -> Path:
    """The PNG of the row over time: of `gt` or a method's name."""
    return folder(results, one) / f"{name}-profile.png"


def read_all(results: Path, records: Sequence[Record]) -> list[Pictures]:
    """The pictures below the results folder that show what `records` measured, sorted by path.

    Methods whose frames are no longer those of their record are left out, and so are clips of
    which none is left. Raises BenchError where a picture is missing, torn or of another size.
    """
    digests = {
        (one.paper, one.checkpoint, one.dataset, one.degradation, clip.clip): (
            clip.sr_sha256,
            clip.gt_sha256,
        )
        for one in records
        for clip in one.clips
    }

    def belongs(one: Pictures, method: Method) -> bool:
        key = (method.paper, method.checkpoint, one.dataset, one.degradation, one.clip)
        return digests.get(key) == (method.sr_sha256, one.gt_sha256)

    found = []
    for file in sorted((results / "pictures").glob("**/clip.json")):
        one = _read(file)
        kept = [method for method in one.methods if belongs(one, method)]
        if not kept:
            continue
        _check_files(results, one, file)
        found.append(msgspec.structs.replace(one, methods=kept))
    return found


def _check_files(results: Path, one: Pictures, description: Path) -> None:
    """Raises BenchError where a picture is not what its description says; decodes none."""
    profiles = {profile_file(results, one, method.name) for method in one.methods}
    profiles.add(profile_file(results, one, "gt"))
    lr = frame_file(results, one, "lr")
    for path in _files(results, one):
        if not path.is_file():
            raise BenchError(
                f"{path} is missing",
                expected=f"the pictures that {description} names",
                todo=_TAKE_AGAIN,
            )
        found = frames.size(path)
        wanted = (one.frames if path in profiles else one.height, one.width)
        if path != lr and found != wanted:
            raise BenchError(
                f"{path} has another size than {description} says",
                expected="{1}x{0}".format(*wanted),
                found="{1}x{0}".format(*found),
                todo=_TAKE_AGAIN,
            )


def _files(results: Path, one: Pictures) -> list[Path]:
    names = [method.name for method in one.methods]
    files = [frame_file(results, one, name) for name in ("gt", "lr", *names)]
    return files + [profile_file(results, one, name) for name in ("gt", *names)]


def saved(below: Path, records: Sequence[Record]) -> dict[tuple[str, str, str], list[Saved]]:
    """The SR frames that `bench run --save-frames` left below a folder, by clip.

    Keys are data set, degradation and clip. Raises BenchError where there are none of any record.
    """
    found: dict[tuple[str, str, str], list[Saved]] = {}
    for one in records:
        run = below / one.paper / one.checkpoint / f"{one.dataset}-{one.degradation}"
        for clip in one.clips:
            if not (run / clip.clip).is_dir():
                continue
            files = frames.frame_files(run / clip.clip)
            key = (one.dataset, one.degradation, clip.clip)
            numbers = [_number(file) for file in files]
            found.setdefault(key, []).append(Saved(one, clip, FrameFiles(files), numbers))
    if not found:
        raise BenchError(
            f"no frames of any record in {below}",
            expected="PAPER/CHECKPOINT/DATASET-DEGRADATION/CLIP, as bench run writes them",
            todo="give the folder that bench run --save-frames was given",
        )
    return found


def _number(file: Path) -> int:
    if not file.stem.isdecimal():
        raise BenchError(
            f"{file} has no frame's number for a name",
            expected="names such as 00000000.png, as bench run --save-frames writes them",
            todo="remove the file, or run again",
        )
    return int(file.stem)


def take(
    found: Mapping[tuple[str, str, str], Sequence[Saved]],
    data_root: Path,
    results: Path,
    on_frame: Callable[[], object] = lambda: None,
) -> list[Pictures]:
    """Makes the pictures of clips whose SR frames were saved, and writes them.

    `found` is what `saved` gives. All methods of a clip are taken together. `on_frame` is called
    twice for each SR frame. Raises BenchError where the SR or GT frames are not those that the
    record was measured on.
    """
    written = []
    for (dataset, degradation, name), methods in sorted(found.items()):
        place = locate.find(catalog.get(dataset), data_root, [name])
        clip = clips.open_clip(place, name, degradation, methods[0].record.scale)
        written.append(_taken(clip, degradation, methods, results, on_frame))
    return written


def _taken(
    clip: Clip,
    degradation: str,
    methods: Sequence[Saved],
    results: Path,
    on_frame: Callable[[], object],
) -> Pictures:
    numbers = _numbers(clip, methods)
    place, row = _chosen(_differences(clip, methods, on_frame))
    height, width = clip.gt[0].shape[:2]
    one = Pictures(
        dataset=clip.dataset,
        degradation=degradation,
        clip=clip.name,
        frame=numbers[place],
        row=row,
        frames=len(numbers),
        height=height,
        width=width,
        gt_sha256=methods[0].clip.gt_sha256,
        methods=[
            Method(paper=m.record.paper, checkpoint=m.record.checkpoint, sr_sha256=m.clip.sr_sha256)
            for m in methods
        ],
    )
    description, former = folder(results, one) / "clip.json", _formerly(results, one)
    # Last written and first removed: it never tells of pictures that were replaced in part.
    description.unlink(missing_ok=True)
    _write(results, one, clip, methods, on_frame)
    text = msgspec.json.format(msgspec.json.encode(one, order="sorted"), indent=2).decode()
    storage.write_text(description, text + "\n")
    for file in former.difference(_files(results, one)):
        file.unlink(missing_ok=True)
    return one


def _numbers(clip: Clip, methods: Sequence[Saved]) -> list[int]:
    """Which frames were saved; the same of all methods, and none that the clip has not."""
    first = methods[0]
    if any(one.numbers != first.numbers for one in methods):
        raise BenchError(
            f"{clip.dataset}/{clip.name}: methods were saved with different frames",
            expected=f"{len(first.numbers)} frames as of {first.record.paper}",
            found=", ".join(f"{one.record.paper}: {len(one.numbers)}" for one in methods),
            todo=_AGAIN,
        )
    beyond = [place for place, number in enumerate(first.numbers) if number >= len(clip.gt)]
    if beyond:
        raise BenchError(
            f"{first.files.files[beyond[0]]} is beyond the end of the clip",
            expected=f"numbers below {len(clip.gt)}, which begin at 0",
            todo=f"remove it, or {_AGAIN}",
        )
    return first.numbers


def _write(
    results: Path,
    one: Pictures,
    clip: Clip,
    methods: Sequence[Saved],
    on_frame: Callable[[], object],
) -> None:
    """Writes the frame and the row over time of GT and of each method, and the LR frame."""
    numbers = methods[0].numbers
    profile = np.stack([clip.gt[t][one.row] for t in numbers])
    frames.write(profile_file(results, one, "gt"), profile, smallest=True)
    frames.write(frame_file(results, one, "gt"), clip.gt[one.frame], smallest=True)
    frames.write(frame_file(results, one, "lr"), clip.lr[one.frame], smallest=True)
    for method, m in zip(one.methods, methods, strict=True):
        profile = np.stack([_row(frame, one.row, on_frame) for frame in m.files])
        frames.write(profile_file(results, one, method.name), profile, smallest=True)
        shown = m.files[numbers.index(one.frame)]
        frames.write(frame_file(results, one, method.name), shown, smallest=True)


def _formerly(results: Path, one: Pictures) -> set[Path]:
    """The pictures of the clip that were taken before; a reader's own files are none of them."""
    file = folder(results, one) / "clip.json"
    if not file.is_file():
        return set()
    return set(_files(results, _read(file)))


def _read(file: Path) -> Pictures:
    return storage.read_json(
        file,
        Pictures,
        lambda data: storage.updated(file, data, SCHEMA, {}),
        todo="remove it, and take the pictures anew with bench report --frames",
    )


def _row(frame: Frame, row: int, on_frame: Callable[[], object]) -> Frame:
    on_frame()
    pixels: Frame = frame[row]
    return pixels


def _differences(
    clip: Clip, methods: Sequence[Saved], on_frame: Callable[[], object]
) -> NDArray[np.float64]:
    """How far the methods are apart in each row of each frame, (frames, rows).

    The variance over methods, summed over channels and pixels; of one method its squared error.
    """
    digests = [score.Digest() for _ in methods]
    gt_digest = score.Digest()
    found = []
    for t, number in enumerate(methods[0].numbers):
        reference = clip.gt[number]
        gt_digest.add(reference)
        shown = []
        for digest, one in zip(digests, methods, strict=True):
            frame = one.files[t]
            if frame.shape != reference.shape:
                raise BenchError(
                    f"{one.files.files[t]} differs in size from its GT frame",
                    expected="{1}x{0}".format(*reference.shape[:2]),
                    found="{1}x{0}".format(*frame.shape[:2]),
                    todo=_AGAIN,
                )
            digest.add(frame)
            shown.append(frame.astype(np.float64))
            on_frame()
        centre = np.mean(shown, axis=0) if len(shown) > 1 else reference
        found.append(sum(((frame - centre) ** 2).sum(axis=(1, 2)) for frame in shown))
    for digest, one in zip(digests, methods, strict=True):
        _check(f"SR frames in {one.files.files[0].parent}", digest, one.clip.sr_sha256)
        _check(f"GT frames of {clip.dataset}/{clip.name}", gt_digest, one.clip.gt_sha256)
    return np.stack(found)


def _check(what: str, shown: score.Digest, wanted: str) -> None:
    if shown.value != wanted:
        raise BenchError(
            f"the {what} are not those of the record",
            expected=f"frames with the digest {wanted[:12]}",
            found=shown.value[:12],
            todo=_AGAIN,
        )


def _chosen(differences: NDArray[np.float64]) -> tuple[int, int]:
    """The place of the frame and the row in which the methods are farthest apart."""
    height = differences.shape[1]
    border = _BORDER if height > 2 * _BORDER else 0
    inside = differences[:, border : height - border]
    return int(inside.sum(axis=1).argmax()), border + int(inside.sum(axis=0).argmax())
