"""A file of `torch.save` -> the object that was saved and the bytes of its storages.

Both serialisations are read, neither is run (see `inert`): the one of PyTorch before 1.6,
which is five pickles (a magic number, a version, the machine, the object, the keys of its storages)
and then each storage's length and bytes; and the ZIP archive of today, with the object in data.pkl
and each storage in a member of its own. Source: torch/serialization.py of 0.3.1 and 2.x.
"""

from __future__ import annotations

import io
import re
import struct
import zipfile
import zlib
from typing import NamedTuple

from bench.errors import BenchError
from bench.weights import inert
from bench.weights.inert import Content
from bench.weights.tensors import ITEM_BYTES, Storage, fault

_MAGIC = 0x1950A86A20F9469CFC6C
_VERSION = 1001
_ZIP = b"PK\x03\x04"
_ENCRYPTED = 0x1


class Saved(NamedTuple):
    """What a file holds: its object, the classes left as Records, the storages' bytes by key."""

    root: object
    kinds: frozenset[str]
    data: dict[str, bytes | memoryview]


def read(content: bytes) -> Saved:
    """What the bytes of a file hold; elements are little-endian.

    Raises BenchError where they were not written by torch.save, are not whole, or ask to call what
    no weights need.
    """
    check_beginning(content)
    return _read_zip(content) if content.startswith(_ZIP) else _read_pickles(content)


def check_beginning(content: bytes) -> None:
    """Raises BenchError where a file that begins so was not written by torch.save."""
    if found := likeness(content):
        raise BenchError(
            "the file was not written by torch.save",
            expected="a PyTorch weight file",
            found=found,
            todo="fetch it again, in a browser if need be",
        )


def likeness(content: bytes) -> str | None:
    """What a file is by its first 512 bytes; None where torch.save may have written it."""
    if content.startswith((_ZIP, b"\x80", b"L1")):  # b"L1": pickles of protocol 0 and 1
        return None
    if not content:
        return "an empty file"
    if content[:256].lstrip().startswith(b"<"):
        return "a web page"
    if content.startswith(b"version https://git-lfs"):
        return "a pointer of git LFS, in place of the file"
    if content[257:262] == b"ustar":
        return "a tar archive, as PyTorch before 0.1.10 wrote them"
    return f"bytes that begin with {content[:8]!r}"


def _read_pickles(content: bytes) -> Saved:
    file = io.BytesIO(content)
    if inert.read(file).root != _MAGIC:
        raise BenchError(
            "the file is a pickle that torch.save did not write",
            expected="PyTorch's magic number",
            todo="use the published file",
        )
    version, machine = inert.read(file).root, inert.read(file).root
    if version != _VERSION:
        raise fault("another version of the format")
    _check_order(machine.get("little_endian") if isinstance(machine, dict) else None)
    saved, keys = inert.read(file), inert.read(file).root
    if not isinstance(keys, list) or not all(isinstance(key, str) for key in keys):
        raise fault("no list of storages")
    if sorted(keys) != sorted(saved.storages):
        raise fault("storages that do not go with the tensors")
    view, place = memoryview(content), file.tell()
    data: dict[str, bytes | memoryview] = {}
    for key in keys:
        data[key], place = _storage(view, place, saved.storages[key])
    return Saved(saved.root, saved.kinds, data)


def _storage(view: memoryview, place: int, storage: Storage) -> tuple[memoryview, int]:
    """The bytes of the storage at `place`, and where they end."""
    begin = place + 8
    end = begin + storage.numel * ITEM_BYTES[storage.dtype]
    if end > len(view):
        raise fault("its end too early")
    if struct.unpack("<q", view[place:begin]) != (storage.numel,):
        raise fault("a storage of another length than its tensors say")
    return view[begin:end], end


def _read_zip(content: bytes) -> Saved:
    try:
        with zipfile.ZipFile(io.BytesIO(content)) as archive:
            return _read_members(archive, len(content))
    except (zipfile.BadZipFile, zlib.error, struct.error, EOFError, OSError, ValueError) as error:
        raise fault(str(error)[:80] or "no whole archive") from error
    except NotImplementedError as error:  # a later version of ZIP
        raise fault(str(error)[:80]) from error


def _read_members(archive: zipfile.ZipFile, most: int) -> Saved:
    members = archive.infolist()
    names = [member.filename for member in members]
    if any(re.fullmatch(r"[^/]+/constants\.pkl", name) for name in names):
        raise BenchError(
            "the file is a TorchScript archive, which holds code",
            expected="a pickled module or state dict",
            todo="use the published weights",
        )
    plain = all(
        member.compress_type == zipfile.ZIP_STORED and not member.flag_bits & _ENCRYPTED
        for member in members
    )
    # Stored members cannot be larger than the file unless they overlap, as in a ZIP bomb.
    if not plain or sum(member.file_size for member in members) > most:
        raise fault("compressed, encrypted or overlapping members, which torch.save never writes")
    roots = [name for name in names if re.fullmatch(r"[^/]+/data\.pkl", name)]
    if len(roots) != 1 or len(set(names)) != len(names):
        raise BenchError(
            "the file is a ZIP archive that torch.save did not write",
            expected="one data.pkl in one folder",
            found=f"{len(roots)} among {len(names)} members",
            todo="use the published file",
        )
    folder = roots[0].removesuffix("data.pkl")
    order = f"{folder}byteorder"
    _check_order(order not in names or archive.read(order) == b"little")
    pickled = io.BytesIO(archive.read(roots[0]))
    saved: Content = inert.read(pickled)
    data: dict[str, bytes | memoryview] = {}
    for key, storage in saved.storages.items():
        name = f"{folder}data/{key}"
        if name not in names:
            raise fault("a tensor without its storage")
        data[key] = archive.read(name)
        if len(data[key]) != storage.numel * ITEM_BYTES[storage.dtype]:
            raise fault("a storage of another length than its tensors say")
    return Saved(saved.root, saved.kinds, data)


def _check_order(little: object) -> None:
    if little is not True:
        raise BenchError(
            "the file was written on a big-endian machine",
            expected="little-endian numbers",
            todo="save it again on an ordinary machine",
        )
