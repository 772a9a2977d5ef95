"""Web addresses: which are asked for a file, in which order, and how they are printed."""

from __future__ import annotations

import os
import re
from typing import NamedTuple
from urllib.parse import parse_qsl, quote, unquote, urlencode, urljoin, urlsplit, urlunsplit

from bench.errors import BenchError

# What names a file. Every other parameter may be a token or a signature, whatever it is called.
_SHOWN = {"id", "export", "confirm", "resourcekey", "usp", "download", "dl", "raw", "path"}
_DRIVE = {"drive.google.com", "docs.google.com", "drive.usercontent.google.com"}
_BLOB = re.compile(r"/([^/]+/[^/]+)/(?:blob|raw)/(.+)")


class Source(NamedTuple):
    """One address to ask for a file.

    `written` is the address that it stands for, as its author wrote it. `drive` says that Google
    Drive, or a mirror of it, answers there; `folder` that the address names a file of a folder,
    which must be listed first.
    """

    address: str
    written: str
    drive: bool = False
    folder: bool = False


def printable(address: str) -> str:
    """The address without what may be a secret: user, password, values of query and fragment.

    >>> printable("https://me:pass@example.org/a.zip?id=3&token=abc#part")
    'https://example.org/a.zip?id=3&token=***#part'
    """
    try:
        parts = urlsplit(address)
        place = parts.netloc.rpartition("@")[2]
        path = parts.path if place else parts.path.rpartition("@")[2]  # no scheme or slashes
        query = "&".join(
            f"{name}={quote(value) if name.lower() in _SHOWN else '***'}"
            for name, value in parse_qsl(parts.query, keep_blank_values=True)
        )
    except ValueError:
        return "an address that cannot be read"
    fragment = "***" if "=" in parts.fragment else parts.fragment
    return urlunsplit((parts.scheme, place, path, query, fragment))


def sources(address: str) -> list[Source]:
    """What to ask in order: the mirrors of BENCH_MIRRORS first, then the address itself.

    GitHub's page of a file becomes its raw address, Google Drive's page of a file its download
    address. A mirror may stand for the address as it is written or for what it becomes. Below a
    mirror, the file NAME of a Drive folder `.../folders/ID#NAME` is expected at `ID/NAME`.
    """
    plain = _downloadable(address)
    folder = is_drive_folder(address)
    if folder:
        folder_entry(address)  # refuses what names no file
    drive = urlsplit(plain).hostname in _DRIVE
    found = [
        Source(mirror.replace("#", "/") if folder else mirror, address, drive and not folder)
        for mirror in _mirrored(address)
    ]
    if plain != address:
        found += [Source(mirror, address, drive) for mirror in _mirrored(plain)]
    return [*found, Source(plain, address, drive, folder)]


def is_drive_folder(address: str) -> bool:
    """Whether the address is that of a Google Drive folder."""
    parts = urlsplit(address)
    return parts.hostname in _DRIVE and "/folders/" in parts.path


def folder_entry(address: str) -> tuple[str, str]:
    """The ID of a Google Drive folder and the name of the file meant in it.

    Raises BenchError where the address names no file.
    """
    parts = urlsplit(address)
    folder = re.search(r"/folders/([-\w]+)", parts.path)
    if not folder or not parts.fragment:
        raise BenchError(
            "which file of the Google Drive folder is meant?",
            expected="https://drive.google.com/drive/folders/ID#NAME",
            found=printable(address),
            todo="add #NAME to the address",
        )
    return folder[1], unquote(parts.fragment)


def drive_download(file: str, resource_key: str | None = None) -> str:
    """The address under which Google Drive gives the content of a file."""
    query = {"id": file, "export": "download", "confirm": "t"}
    if resource_key:
        query["resourcekey"] = resource_key
    return "https://drive.usercontent.google.com/download?" + urlencode(query)


def next_hop(address: str, location: str) -> str | None:
    """Where a redirect leads; None where it must not be followed.

    It must not leave http and https, nor encryption.
    """
    try:
        target = urljoin(address, location)
        scheme = urlsplit(target).scheme
    except ValueError:
        return None
    allowed = {"https"} if urlsplit(address).scheme == "https" else {"http", "https"}
    return target if scheme in allowed else None


def _downloadable(address: str) -> str:
    """The address of the file itself where a page was given."""
    try:
        parts = urlsplit(address)
        host, query = parts.hostname, dict(parse_qsl(parts.query))
    except ValueError as error:
        raise _malformed(address) from error
    if parts.scheme not in {"http", "https"} or not host:
        raise _malformed(address)
    if host == "github.com" and (blob := _BLOB.fullmatch(parts.path)):
        return f"https://raw.githubusercontent.com/{blob[1]}/{blob[2]}"
    if host in _DRIVE and not is_drive_folder(address):
        file = re.match(r"/file/(?:u/\d+/)?d/([-\w]+)", parts.path)
        if name := file[1] if file else query.get("id"):
            return drive_download(name, query.get("resourcekey"))
    return address


def _mirrored(address: str) -> list[str]:
    return [
        to + address.removeprefix(prefix) for prefix, to in _mirrors() if address.startswith(prefix)
    ]


def _mirrors() -> list[tuple[str, str]]:
    """The prefixes of BENCH_MIRRORS with what takes their place."""
    found = []
    for entry in filter(None, map(str.strip, os.environ.get("BENCH_MIRRORS", "").split(","))):
        pair = re.fullmatch(r"(https?://[^/].*?)=(https?://[^/].*)", entry)
        if not pair:
            raise BenchError(
                "BENCH_MIRRORS is malformed",
                expected="FROM=TO[,FROM=TO...], each the beginning of http(s) addresses",
                found="=".join(map(printable, entry.split("=", 1))),
                todo="mend or unset BENCH_MIRRORS",
            )
        found.append((pair[1], pair[2]))
    return found


def _malformed(address: str) -> BenchError:
    return BenchError(
        "not a web address",
        expected="https://HOST/PATH or http://HOST/PATH",
        found=printable(address),
        todo="mend the address",
    )
