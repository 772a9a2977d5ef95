"""Archives of every format, benign and hostile, and a program that stands in for 7-Zip."""

from __future__ import annotations

import io
import os
import stat
import sys
import tarfile
import zipfile
import zlib
from pathlib import Path
from typing import NamedTuple

FORMATS = ["zip", "tar", "tar.gz", "tar.bz2", "tar.xz", "7z"]
TARGET = Path("data/set")


class Member(NamedTuple):
    name: str
    data: bytes = b"x"
    kind: bytes = tarfile.REGTYPE
    link: str = ""
    mode: int = 0o644


def folder(name: str) -> Member:
    return Member(name, b"", tarfile.DIRTYPE, mode=0o755)


MODES = {
    tarfile.REGTYPE: stat.S_IFREG,
    tarfile.DIRTYPE: stat.S_IFDIR,
    tarfile.SYMTYPE: stat.S_IFLNK,
    tarfile.FIFOTYPE: stat.S_IFIFO,
    tarfile.CHRTYPE: stat.S_IFCHR,
    tarfile.BLKTYPE: stat.S_IFBLK,
}


def make_zip(path: Path, members: list[Member], method: int = zipfile.ZIP_DEFLATED) -> None:
    with zipfile.ZipFile(path, "w") as archive:
        for member in members:
            is_folder = member.kind == tarfile.DIRTYPE
            info = zipfile.ZipInfo(member.name + "/" * is_folder)
            info.filename = member.name + "/" * is_folder  # ZipInfo cuts names at a NUL
            info.compress_type = method
            info.create_system = 3
            info.external_attr = (MODES[member.kind] | member.mode) << 16
            archive.writestr(info, member.link.encode() or member.data)


def make_tar(path: Path, members: list[Member]) -> None:
    mode = {"gz": "w:gz", "bz2": "w:bz2", "xz": "w:xz"}.get(path.suffix[1:], "w")
    with tarfile.open(path, mode) as archive:
        for member in members:
            info = tarfile.TarInfo(member.name)
            info.type, info.linkname, info.mode = member.kind, member.link, member.mode
            info.size = len(member.data) if member.kind == tarfile.REGTYPE else 0
            archive.addfile(info, io.BytesIO(member.data))


FAKE_7Z = """#!{python}
import sys
from pathlib import Path
path = Path(sys.argv[-1])
listing, content = path.with_suffix(".listing"), path.with_suffix(".content")
sys.stdout.buffer.write((listing if sys.argv[1] == "l" else content).read_bytes())
sys.exit(int(path.read_bytes()[6:]))
"""


def make_7z(path: Path, members: list[Member], code: int = 0) -> None:
    """What the program says of an archive, for the stand-in on the PATH to repeat."""
    path.write_bytes(b"7z\xbc\xaf\x27\x1c%d" % code)
    blocks, content = [], b""
    for member in members:
        letter = {tarfile.DIRTYPE: "d", tarfile.SYMTYPE: "l", tarfile.REGTYPE: "-"}
        kind = "D" if member.kind == tarfile.DIRTYPE else "A"
        data = member.link.encode() or member.data
        crc = f"{zlib.crc32(data):08X}" if data else ""
        mode = letter.get(member.kind, "p") + "rw-r--r--"
        blocks.append(
            f"Path = {member.name}\nSize = {len(data)}\nPacked Size = \nEncrypted = -\n"
            f"Attributes = {kind} {mode}\nCRC = {crc}\nMethod = LZMA2:17\n"
        )
        content += data
    path.with_suffix(".listing").write_text("\n".join(blocks), errors="surrogateescape")
    path.with_suffix(".content").write_bytes(content)


def make(form: str, members: list[Member]) -> Path:
    path = Path(f"archive.{form}")
    {"zip": make_zip, "7z": make_7z}.get(form, make_tar)(path, members)
    return path


def install_7z(place: Path, monkeypatch) -> None:
    """Puts a program 7zz on the PATH that repeats what make_7z wrote."""
    place.mkdir()
    program = place / "7zz"
    program.write_text(FAKE_7Z.format(python=sys.executable))
    program.chmod(0o755)
    monkeypatch.setenv("PATH", f"{place}:{os.environ['PATH']}")


BENIGN = [
    folder("set"),
    Member("set/a/1.png", b"one"),
    Member("set/a/empty", b""),
    Member("./set//b/long.bin", bytes(range(256)) * 9000),
    Member("set/\u00e9\u4e2d \u3000.txt", b"text"),
    folder("set/hollow"),
    Member("set/run.sh", b"#!/bin/sh\n", mode=0o4755),
]
