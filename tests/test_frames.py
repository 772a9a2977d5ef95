from __future__ import annotations

import struct
import threading
import time
import zlib
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from bench import frames
from bench.errors import BenchError


def test_natural_order(tmp_path):
    names = ["Frame 1.png", "Frame 2.png", "Frame 10.png", "Frame 011b.png", "im3.png"]
    for name in reversed(names):
        Image.new("RGB", (4, 4)).save(tmp_path / name)
    (tmp_path / "._Frame 1.png").write_text("left by a file manager")
    (tmp_path / "notes.txt").write_text("")
    assert [path.name for path in frames.frame_files(tmp_path)] == names


def test_a_frame_survives_writing_and_reading(tmp_path, noise):
    frame = noise(13, 17)
    for name in ("a.png", "deep/er/b.png"):
        frames.write(tmp_path / name, frame)
        assert np.array_equal(frames.read(tmp_path / name), frame)
        assert frames.size(tmp_path / name) == (13, 17)
    Image.fromarray(frame).save(tmp_path / "c.bmp")
    assert np.array_equal(frames.read(tmp_path / "c.bmp"), frame)
    assert frames.size(tmp_path / "c.bmp") == (13, 17)
    assert not list(tmp_path.rglob("*.part"))


def png16(path: Path) -> None:
    """A 16-bit RGB PNG, which Pillow cannot write."""

    def chunk(kind: bytes, body: bytes) -> bytes:
        crc = struct.pack(">I", zlib.crc32(kind + body))
        return struct.pack(">I", len(body)) + kind + body + crc

    rows = b"".join(b"\0" + bytes(4 * 6) for _ in range(4))
    head = struct.pack(">IIBBBBB", 4, 4, 16, 2, 0, 0, 0)
    path.write_bytes(
        b"\x89PNG\r\n\x1a\n"
        + chunk(b"IHDR", head)
        + chunk(b"IDAT", zlib.compress(rows))
        + chunk(b"IEND", b"")
    )


def spoil(kind: str, path: Path) -> None:
    frame = Image.fromarray(np.random.default_rng(0).integers(0, 256, (40, 40, 3), np.uint8))
    frame.save(path)
    whole = path.read_bytes()
    if kind == "truncated":
        path.write_bytes(whole[: len(whole) // 2])
    elif kind == "text":
        path.write_text("not an image at all, just text in a file with the wrong name")
    elif kind == "empty":
        path.write_bytes(b"")
    elif kind == "grey":
        frame.convert("L").save(path)
    elif kind == "palette":
        frame.convert("P").save(path)
    elif kind == "alpha":
        frame.convert("RGBA").save(path)
    elif kind == "16 bits":
        png16(path)
    elif kind == "broken inside":
        middle = len(whole) // 2
        path.write_bytes(whole[:middle] + b"\xff" * 64 + whole[middle + 64 :])


@pytest.mark.parametrize(
    ("kind", "words"),
    [
        (
            "truncated",
            "is truncated or has bytes after its end: expected a PNG file that",
        ),
        ("text", "is not a PNG file: expected a PNG signature and header, found b'not an i'"),
        ("empty", "is not a PNG file: .* found an empty file"),
        ("grey", "wrong pixel format: expected 8-bit RGB, found 8-bit grey"),
        ("palette", "wrong pixel format: expected 8-bit RGB, found 8-bit palette"),
        ("alpha", "wrong pixel format: expected 8-bit RGB, found 8-bit RGB with alpha"),
        ("16 bits", "wrong pixel format: expected 8-bit RGB, found 16-bit RGB"),
        (
            "broken inside",
            "is damaged: expected chunks that agree with their checksums",
        ),
    ],
)
def test_bad_files_are_told_in_one_line(tmp_path, kind, words):
    path = tmp_path / "bad.png"
    spoil(kind, path)
    with pytest.raises(BenchError, match=words) as caught:
        frames.read(path)
    assert str(path) in str(caught.value)
    assert "\n" not in str(caught.value)


def test_damage_that_decoders_overlook_is_noticed(tmp_path):
    """A flipped bit in the last rows of a PNG, which Pillow decodes to other pixels in silence."""
    spoil("", tmp_path / "a.png")
    whole = (tmp_path / "a.png").read_bytes()
    for place in range(len(whole) - 60, len(whole) - 12):
        damaged = bytearray(whole)
        damaged[place] ^= 1
        (tmp_path / "a.png").write_bytes(damaged)
        with pytest.raises(BenchError, match="is damaged"):
            frames.read(tmp_path / "a.png")


@pytest.mark.parametrize(("width", "height"), [(0, 10), (10, 0), (30000, 30000)])
def test_impossible_sizes(tmp_path, width, height):
    spoil("", tmp_path / "a.png")
    whole = bytearray((tmp_path / "a.png").read_bytes())
    whole[16:24] = struct.pack(">II", width, height)
    (tmp_path / "a.png").write_bytes(whole)
    for call in (frames.size, frames.read):
        with pytest.raises(BenchError, match=f"impossible size: .* found {width}x{height}"):
            call(tmp_path / "a.png")


def test_links_to_clips_are_followed_and_circles_are_not(tmp_path, put):
    put(tmp_path / "real/city", 2)
    (tmp_path / "linked").mkdir()
    (tmp_path / "linked/city").symlink_to(tmp_path / "real/city")
    (tmp_path / "linked/up").symlink_to(tmp_path / "linked")
    assert list(frames.clip_folders(tmp_path / "linked")) == ["city"]


def test_missing_and_empty_folders(tmp_path):
    with pytest.raises(BenchError, match=r"cannot read the folder .*No such file"):
        frames.frame_files(tmp_path / "nowhere")
    folder = tmp_path / "empty"
    folder.mkdir()
    with pytest.raises(BenchError, match=r"no frames in .* found an empty folder"):
        frames.frame_files(folder)
    (folder / "a.jpg").write_text("")
    with pytest.raises(BenchError, match=r"expected files ending in .png or .bmp, found a.jpg"):
        frames.clip_folders(folder)
    with pytest.raises(BenchError, match="cannot read the folder"):
        frames.frame_files(folder / "a.jpg")


def test_clip_folders(tmp_path, put):
    put(tmp_path / "flat", 2)
    assert list(frames.clip_folders(tmp_path / "flat")) == [""]
    for clip in ("city", "walk"):
        put(tmp_path / "clips" / clip, 2)
        put(tmp_path / "pfnl" / clip / "truth", 2)
        put(tmp_path / "both" / clip / "truth", 2)
        put(tmp_path / "both" / clip / "blur4", 2)
        put(tmp_path / "vimeo" / "00001" / clip, 2)
    assert list(frames.clip_folders(tmp_path / "clips")) == ["city", "walk"]
    found = frames.clip_folders(tmp_path / "pfnl")
    assert found == {c: tmp_path / "pfnl" / c / "truth" for c in ("city", "walk")}
    assert list(frames.clip_folders(tmp_path / "vimeo")) == ["00001/city", "00001/walk"]
    assert len(frames.clip_folders(tmp_path / "both")) == 4


def test_in_order_keeps_order_and_stays_few_items_ahead():
    drawn, lock = [], threading.Lock()

    def items():
        for i in range(50):
            with lock:
                drawn.append(i)
            yield i

    def slow(i):
        time.sleep(0.001 * (i % 3))
        return i * i

    taken = 0
    for result in frames.in_order(slow, items(), workers=3):
        assert result == taken**2
        taken += 1
        assert len(drawn) <= taken + 7
    assert taken == 50


def test_in_order_passes_errors_on_and_stops():
    seen = []

    def fail(i):
        seen.append(i)
        if i == 5:
            raise ValueError("five")
        return i

    with pytest.raises(ValueError, match="five"):
        list(frames.in_order(fail, range(1000), workers=2))
    assert len(seen) < 30


def test_a_full_disk_leaves_nothing_behind(tmp_path, noise, monkeypatch):
    def full(*_, **__):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(Image.Image, "save", full)
    with pytest.raises(BenchError, match=r"cannot write .*: found No space left on device"):
        frames.write(tmp_path / "a.png", noise(4, 4))
    assert not list(tmp_path.glob("*a.png*"))
