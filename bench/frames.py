"""Frames on disk: found in natural order, checked, decoded, encoded, read ahead."""

from __future__ import annotations

import io
import os
import re
import struct
import zlib
from collections import deque
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from pathlib import Path
from typing import TypeVar

import numpy as np
from numpy.typing import NDArray

from bench.errors import BenchError
from bench.storage import replacing

Frame = NDArray[np.uint8]
Item = TypeVar("Item")
Result = TypeVar("Result")

SUFFIXES = (".png", ".bmp")  # lossless, 8 bits a channel
_SIGNATURE = b"\x89PNG\r\n\x1a\n"
_END = b"\x00\x00\x00\x00IEND\xaeB`\x82"
_MOST_PIXELS = 2**26  # 8192x8192; Pillow warns beyond 2**26.4
_COLOURS = {0: "grey", 2: "RGB", 3: "palette", 4: "grey with alpha", 6: "RGB with alpha"}


def natural(name: str) -> list[tuple[bool, int, str]]:
    """The sort key under which "Frame 2" comes before "Frame 10".

    >>> sorted(["im10.png", "im2.png", "Frame 01.png"], key=natural)
    ['Frame 01.png', 'im2.png', 'im10.png']
    """
    parts = re.split(r"(\d+)", name)
    return [
        (part.isdecimal(), int(part) if part.isdecimal() else 0, part) for part in parts if part
    ]


def frame_files(folder: Path) -> list[Path]:
    """The frames of a folder in natural order; hidden files and other formats are passed over."""
    files = _images(folder)
    if not files:
        raise BenchError(
            f"no frames in {folder}",
            expected="files ending in " + " or ".join(SUFFIXES),
            found=_inventory(folder),
            todo="give the folder that holds the frames",
        )
    return files


def count(folder: Path) -> int:
    """The number of frames in a folder; 0 where there are none."""
    return len(_images(folder))


class FrameFiles(Sequence[Frame]):
    """Frames on disk as a sequence of uint8 RGB (h, w, 3), decoded when asked for."""

    def __init__(self, files: list[Path]) -> None:
        self.files = files

    def __len__(self) -> int:
        return len(self.files)

    def __getitem__(self, index: int) -> Frame:  # type: ignore[override]
        return read(self.files[index])


def clip_folders(folder: Path) -> dict[str, Path]:
    """The clips below a folder: {"": folder} for frames, else name -> folder of frames.

    A component that all clips share at the end is no part of their names, so that
    `calendar/truth`, `city/truth` are the clips `calendar` and `city`.
    """
    if _images(folder):
        return {"": folder}
    found: list[tuple[str, ...]] = []
    visited: set[Path] = set()
    for parent, folders, files in os.walk(folder, followlinks=True):
        # Links to clips are followed, links in a circle once.
        folders[:] = [f for f in folders if not f.startswith(".") and _new(parent, f, visited)]
        if any(_is_frame(name) for name in files):
            found.append(Path(parent).relative_to(folder).parts)
    if not found:
        return {"": frame_files(folder)[0].parent}  # raises: neither frames nor clips
    paths = {parts: folder.joinpath(*parts) for parts in found}
    while all(len(parts) > 1 for parts in paths) and len({parts[-1] for parts in paths}) == 1:
        paths = {parts[:-1]: path for parts, path in paths.items()}
    return {"/".join(parts): paths[parts] for parts in sorted(paths, key=_natural_parts)}


def size(path: Path) -> tuple[int, int]:
    """Height and width of a frame, from its header; refuses what is not whole 8-bit RGB."""
    if path.suffix.lower() != ".png":
        frame = read(path)
        return frame.shape[0], frame.shape[1]
    try:
        with path.open("rb") as file:
            head = file.read(33)
            file.seek(-min(12, os.fstat(file.fileno()).st_size), os.SEEK_END)
            tail = file.read()
    except OSError as error:
        raise _unreadable(path, error) from error
    return _png_size(path, head, tail)


def read(path: Path) -> Frame:
    """The frame as uint8 RGB (h, w, 3). Colour profiles and gamma are not applied.

    The checksums of a PNG's chunks are compared: decoders that skip them read some damaged files
    without complaint.
    """
    from PIL import Image

    try:
        data = path.read_bytes()
    except OSError as error:
        raise _unreadable(path, error) from error
    if path.suffix.lower() == ".png":
        _png_size(path, data[:33], data[-12:])  # Pillow would quietly reduce 16 bits to 8
        _check_chunks(path, data)
    try:
        with Image.open(io.BytesIO(data)) as image:
            if image.mode != "RGB":
                raise _wrong_format(path, image.mode)
            return np.asarray(image)
    except (OSError, SyntaxError, ValueError, Image.DecompressionBombError) as error:
        raise _unreadable(path, error) from error


def _png_size(path: Path, head: bytes, tail: bytes) -> tuple[int, int]:
    if head[:8] != _SIGNATURE or len(head) < 33:
        raise BenchError(
            f"{path} is not a PNG file",
            expected="a PNG signature and header",
            found=repr(head[:8]) if head else "an empty file",
            todo="replace the file",
        )
    width, height, depth, colour = struct.unpack(">IIBB", head[16:26])
    if depth != 8 or colour != 2:
        raise _wrong_format(path, f"{depth}-bit {_COLOURS.get(colour, 'unknown')}")
    if not 0 < width * height <= _MOST_PIXELS:
        raise BenchError(
            f"{path} has an impossible size",
            expected=f"1 to {_MOST_PIXELS} pixels",
            found=f"{width}x{height}",
            todo="replace the file",
        )
    if tail != _END:
        raise BenchError(
            f"{path} is truncated or has bytes after its end",
            expected="a PNG file that ends with its IEND chunk",
            todo="fetch or write the file again",
        )
    return int(height), int(width)


def _check_chunks(path: Path, data: bytes) -> None:
    place = len(_SIGNATURE)
    while place + 12 <= len(data):
        (length,) = struct.unpack_from(">I", data, place)
        body = memoryview(data)[place + 4 : place + 8 + length]
        stored = data[place + 8 + length : place + 12 + length]
        if zlib.crc32(body).to_bytes(4, "big") != stored:
            raise BenchError(
                f"{path} is damaged",
                expected="chunks that agree with their checksums",
                found=f"one at byte {place} that does not",
                todo="fetch or write the file again",
            )
        place += 12 + length


def _wrong_format(path: Path, found: str) -> BenchError:
    return BenchError(
        f"{path} has the wrong pixel format",
        expected="8-bit RGB",
        found=found,
        todo="convert the frames to 8-bit RGB in the way the paper did",
    )


def write(path: Path, frame: Frame, *, smallest: bool = False) -> None:
    """Writes uint8 RGB (h, w, 3) as PNG; under its name the file is whole or absent.

    `smallest` takes ten times as long, for files that are kept.
    """
    from PIL import Image

    with replacing(path) as part:
        Image.fromarray(frame).save(part, format="PNG", compress_level=9 if smallest else 1)


def in_order(
    function: Callable[[Item], Result], items: Iterable[Item], workers: int
) -> Iterator[Result]:
    """`map(function, items)` on `workers` threads, in order, never more than a few items ahead.

    Items are drawn in the calling thread while earlier ones are worked on, so a slow producer (a
    network) and slow consumers (decoding, scoring) overlap, and memory stays bounded.
    """
    with ThreadPoolExecutor(workers, thread_name_prefix="frames") as pool:
        pending: deque[Future[Result]] = deque()
        try:
            for item in items:
                pending.append(pool.submit(function, item))
                if len(pending) > 2 * workers:
                    yield pending.popleft().result()
            while pending:
                yield pending.popleft().result()
        finally:
            for future in pending:
                future.cancel()


def _new(parent: str, folder: str, visited: set[Path]) -> bool:
    place = Path(parent, folder).resolve()
    seen = place in visited
    visited.add(place)
    return not seen


def _is_frame(name: str) -> bool:
    return not name.startswith(".") and name.lower().endswith(SUFFIXES)


def _images(folder: Path) -> list[Path]:
    try:
        names = [entry.name for entry in os.scandir(folder) if _is_frame(entry.name)]
    except OSError as error:
        raise BenchError(
            f"cannot read the folder {folder}",
            expected="a folder",
            found=error.strerror or str(error),
            todo="check the path",
        ) from error
    return [folder / name for name in sorted(names, key=natural)]


def _inventory(folder: Path) -> str:
    names = sorted((entry.name for entry in os.scandir(folder)), key=natural)
    shown = ", ".join(names[:3]) + (f" and {len(names) - 3} more" if len(names) > 3 else "")
    return shown or "an empty folder"


def _natural_parts(parts: tuple[str, ...]) -> list[list[tuple[bool, int, str]]]:
    return [natural(part) for part in parts]


def _unreadable(path: Path, error: Exception) -> BenchError:
    reason = getattr(error, "strerror", None) or str(error)
    return BenchError(
        f"cannot read {path}", expected="a whole image", found=reason, todo="replace the file"
    )
