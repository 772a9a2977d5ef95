"""Archive -> its entries, one by one: ZIP, tar (plain, gzip, bzip2, xz) and 7z.

The format is told by the file's first bytes. Nothing is written here, and names are given as they
stand in the archive: `bench.fetching.unpack` decides what may be written where.
"""

from __future__ import annotations

import bz2
import gzip
import lzma
import re
import shutil
import stat
import struct
import subprocess
import tarfile
import zipfile
import zlib
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from functools import partial
from pathlib import Path
from typing import BinaryIO, NamedTuple, cast

from bench.errors import BenchError

FILE, FOLDER = "file", "folder"
_CHUNK = 2**20
_LONGEST_HEADER = 2**22  # a tar header that describes one member
_MOST_AFTER_END = 2**26  # what may follow a tar archive's end: padding
_PROGRAMS = ("7zz", "7z", "7za")
_TAR_KINDS = {
    **dict.fromkeys((tarfile.REGTYPE, tarfile.AREGTYPE, tarfile.CONTTYPE), FILE),
    tarfile.SYMTYPE: "a symbolic link",
    tarfile.LNKTYPE: "a hard link",
    tarfile.CHRTYPE: "a device",
    tarfile.BLKTYPE: "a device",
    tarfile.FIFOTYPE: "a named pipe",
}
_MODES = {
    0: FILE,  # written where modes are not known
    stat.S_IFREG: FILE,
    stat.S_IFDIR: FOLDER,
    stat.S_IFLNK: "a symbolic link",
    stat.S_IFIFO: "a named pipe",
    stat.S_IFCHR: "a device",
    stat.S_IFBLK: "a device",
}
_FAULTS = (
    zipfile.BadZipFile,
    tarfile.TarError,
    zlib.error,
    lzma.LZMAError,
    struct.error,
    EOFError,
    OSError,
    RuntimeError,  # among them NotImplementedError: a method of compression
    ValueError,
)


class Entry(NamedTuple):
    """One entry: its name as stored, FILE or FOLDER or what else it is, its size in bytes.

    `chunks` gives the content, and must be drawn before the next entry is asked for.
    """

    name: str
    kind: str
    size: int
    chunks: Callable[[], Iterator[bytes]]


class Archive(NamedTuple):
    """The entries of an archive in its order; `listing` has them beforehand where it can be known.

    `total` is the size of all content in bytes, 0 where only reading it would tell.
    """

    entries: Iterator[Entry]
    listing: list[Entry]
    total: int


@contextmanager
def opened(path: Path) -> Iterator[Archive]:
    """The archive at `path`.

    Raises BenchError, also while its entries are drawn, where it is none that can be read, is
    encrypted, truncated or damaged.
    """
    with ExitStack() as stack:
        with _reading(path):
            archive = _open(path, stack)
        yield archive


def _open(path: Path, stack: ExitStack) -> Archive:
    try:
        file = stack.enter_context(path.open("rb"))
    except OSError as error:
        raise BenchError(
            f"cannot read {path}", found=error.strerror or str(error), todo="check the path"
        ) from error
    head = file.read(512)
    file.seek(0)
    if head.startswith((b"PK\x03\x04", b"PK\x05\x06")):
        zipped = stack.enter_context(zipfile.ZipFile(file))
        listing = [_zip_entry(path, zipped, info) for info in zipped.infolist()]
        return Archive(iter(listing), listing, sum(entry.size for entry in listing))
    if head.startswith(b"7z\xbc\xaf\x27\x1c"):
        return _open_7z(path, stack)
    if head.startswith(b"\x1f\x8b"):
        return _open_tar(path, stack.enter_context(gzip.open(file)), 0)
    if head.startswith(b"BZh"):
        return _open_tar(path, stack.enter_context(bz2.open(file)), 0)
    if head.startswith(b"\xfd7zXZ\0"):
        return _open_tar(path, stack.enter_context(lzma.open(file)), 0)
    if _is_tar(head):
        return _open_tar(path, file, path.stat().st_size)
    raise BenchError(
        f"cannot unpack {path}",
        expected="a ZIP, tar (plain, gzip, bzip2, xz) or 7z archive",
        found=_likeness(head),
        todo="fetch it again, in a browser if need be",
    )


def _likeness(head: bytes) -> str:
    if not head:
        return "an empty file"
    if head.lstrip().startswith(b"<"):
        return "a web page"
    return f"bytes that begin with {head[:8]!r}"


@contextmanager
def _reading(path: Path) -> Iterator[None]:
    """Turns what the readers of the formats raise into one error."""
    try:
        yield
    except _FAULTS as error:
        raise _damaged(path, getattr(error, "strerror", None) or str(error)) from error


def _damaged(path: Path, found: str) -> BenchError:
    return BenchError(
        f"cannot unpack {path}",
        expected="a whole archive",
        found=found[:200] or "its end too early",
        todo="fetch it again",
    )


def _encrypted(path: Path) -> BenchError:
    return BenchError(
        f"cannot unpack {path}",
        expected="an archive without a password",
        found="an encrypted one",
        todo="unpack it by hand",
    )


def _zip_entry(path: Path, archive: zipfile.ZipFile, info: zipfile.ZipInfo) -> Entry:
    if info.flag_bits & 0x1:
        raise _encrypted(path)
    name = info.orig_filename  # zipfile cuts the other one at a NUL
    mode = stat.S_IFMT(info.external_attr >> 16)
    kind = _MODES.get(mode, "a special file")
    if kind == FILE and name.endswith("/"):
        kind = FOLDER
    return Entry(name, kind, info.file_size, partial(_zip_chunks, path, archive, info))


def _zip_chunks(path: Path, archive: zipfile.ZipFile, info: zipfile.ZipInfo) -> Iterator[bytes]:
    with _reading(path), archive.open(info) as member:
        while chunk := member.read(_CHUNK):
            yield chunk


class _Blocks:
    """What `tarfile` reads from: it gets no more than `allowed` bytes until that is set anew.

    Headers may ask for any number of bytes, which a compressed archive has at no cost.
    """

    def __init__(self, file: BinaryIO) -> None:
        self.file = file
        self.allowed = _LONGEST_HEADER
        self.last = b""

    def read(self, size: int) -> bytes:
        if not 0 <= size <= self.allowed:
            raise tarfile.ReadError(f"a header of more than {_LONGEST_HEADER} bytes")
        self.last = self.file.read(size)
        self.allowed -= len(self.last)
        return self.last

    def seek(self, place: int) -> int:
        return self.file.seek(place)

    def tell(self) -> int:
        return self.file.tell()


def _is_tar(head: bytes) -> bool:
    try:
        tarfile.TarInfo.frombuf(head, "utf-8", "surrogateescape")
    except tarfile.TarError:
        return False
    return True


def _open_tar(path: Path, file: object, total: int) -> Archive:
    blocks = _Blocks(cast("BinaryIO", file))
    return Archive(_tar_entries(path, blocks), [], total)


def _tar_entries(path: Path, blocks: _Blocks) -> Iterator[Entry]:
    """The members of a tar archive up to the zero block that ends it.

    `tarfile` takes a damaged header for the end, and so a part of the archive for the whole.
    """
    with _reading(path):
        archive = tarfile.open(fileobj=cast("BinaryIO", blocks), mode="r:")  # noqa: SIM115 - the file is closed by `opened`
        while (info := archive.next()) is not None:
            archive.members = []  # type: ignore[attr-defined]  # it would keep all of them
            blocks.allowed = info.size
            chunks = partial(_tar_chunks, path, archive, info)
            kind = FOLDER if info.isdir() else _TAR_KINDS.get(info.type, "a special file")
            kind = "a sparse file" if info.issparse() else kind
            yield Entry(info.name, kind, info.size if kind == FILE else 0, chunks)
            blocks.allowed = _LONGEST_HEADER
        if len(blocks.last) != tarfile.BLOCKSIZE or any(blocks.last):
            raise tarfile.ReadError("no end of the archive")
        after = 0  # what a compressed file ends with is its checksum
        while chunk := blocks.file.read(_CHUNK):
            after += len(chunk)
            if after > _MOST_AFTER_END:
                raise tarfile.ReadError(f"more than {_MOST_AFTER_END} bytes after its end")


def _tar_chunks(path: Path, archive: tarfile.TarFile, info: tarfile.TarInfo) -> Iterator[bytes]:
    with _reading(path):
        member = archive.extractfile(info)
        while member is not None and (chunk := member.read(_CHUNK)):
            yield chunk


def _open_7z(path: Path, stack: ExitStack) -> Archive:
    """A 7z archive, through the program: its listing, then its content as one stream.

    The program writes no file, so that neither its idea of a name nor a size that is not the
    listed one has any effect.
    """
    program = next(filter(None, map(shutil.which, _PROGRAMS)), None)
    if program is None:
        raise BenchError(
            f"cannot unpack {path}",
            expected="the program " + " or ".join(_PROGRAMS),
            found="none of them on this machine",
            todo="install 7-Zip or unpack it by hand",
        )
    words = [program, "-t7z", "-sccUTF-8", "--", str(path.resolve())]
    listed = subprocess.run(  # noqa: S603 - no shell, and a path that is absolute
        [program, "l", "-slt", "-ba", *words[1:]],
        stdin=subprocess.DEVNULL,
        capture_output=True,
        check=False,
    )
    text = listed.stdout.decode("utf-8", "surrogateescape")
    if listed.returncode or not text.strip():
        told = text + listed.stderr.decode("utf-8", "replace")
        if "password" in told:
            raise _encrypted(path)
        raise _damaged(path, " ".join(told.split()))
    described = [
        dict(line.split(" = ", 1) for line in block.split("\n") if " = " in line)
        for block in text.replace("\r\n", "\n").strip("\n").split("\n\n")
    ]
    if any(fields.get("Encrypted") == "+" for fields in described):
        raise _encrypted(path)
    stream = _Stream(path, [program, "x", "-so", *words[1:]])
    stack.callback(stream.close)
    listing = [_7z_entry(stream, fields) for fields in described]
    return Archive(_until_end(listing, stream), listing, sum(entry.size for entry in listing))


def _7z_entry(stream: _Stream, fields: dict[str, str]) -> Entry:
    flags = fields.get("Attributes", "").split() or [""]
    mode = flags[-1] if re.fullmatch(r"[-a-z][-rwxsStT]{9}", flags[-1]) else "-"
    kind = FOLDER if "D" in flags[0] or mode[0] == "d" else FILE
    linked = "L" in flags[0] or fields.get("Symbolic Link") or fields.get("Hard Link")
    if mode[0] == "l" or linked:
        kind = "a symbolic link"
    elif mode[0] not in "-d" or fields.get("Anti") == "+":
        kind = "a special file"
    size = int(fields.get("Size") or 0)
    crc = int(fields.get("CRC") or "0", 16)
    return Entry(fields.get("Path", ""), kind, size, partial(stream.chunks, size, crc))


def _until_end(listing: list[Entry], stream: _Stream) -> Iterator[Entry]:
    yield from listing
    stream.check_end()


class _Stream:
    """The content of all files of a 7z archive, one after another, from a running program."""

    def __init__(self, path: Path, command: list[str]) -> None:
        self.path = path
        self.command = command
        self.process: subprocess.Popen[bytes] | None = None

    def output(self) -> BinaryIO:
        if self.process is None:
            self.process = subprocess.Popen(  # noqa: S603 - as above
                self.command,
                stdin=subprocess.DEVNULL,
                stdout=subprocess.PIPE,
                stderr=subprocess.DEVNULL,
            )
        return cast("BinaryIO", self.process.stdout)

    def chunks(self, size: int, crc: int) -> Iterator[bytes]:
        """The next `size` bytes, which must have that CRC-32."""
        found = 0
        while size:
            chunk = self.output().read(min(size, _CHUNK))
            if not chunk:
                raise _damaged(self.path, "its end too early")
            size -= len(chunk)
            found = zlib.crc32(chunk, found)
            yield chunk
        if found != crc:
            raise _damaged(self.path, "content that does not agree with its checksum")

    def check_end(self) -> None:
        """Raises BenchError unless the program is content and has nothing more to say."""
        if self.output().read(1) or cast("subprocess.Popen[bytes]", self.process).wait():
            raise _damaged(self.path, "more or less content than listed")

    def close(self) -> None:
        if self.process is not None:
            self.process.kill()
            with self.process:
                pass
