"""One attempt to get a file from one address, resumed where that is safe."""

from __future__ import annotations

import http
import re
import shutil
from collections.abc import Callable, Iterator
from itertools import chain
from typing import TYPE_CHECKING

from bench.errors import BenchError
from bench.fetching import addresses, drive, web
from bench.fetching.addresses import Source
from bench.fetching.digests import Expected
from bench.fetching.fault import Fault
from bench.fetching.part import Origin, Part

if TYPE_CHECKING:
    from requests import Response, Session

Progress = Callable[[int, int | None], object]

MARGIN = 64 * 2**20  # bytes that a download leaves free on the disk
_PAGE = 2**20
_BEGINNING = 512
_PAGES = (".html", ".htm")


def receive(
    session: Session, source: Source, part: Part, expected: Expected, progress: Progress
) -> None:
    """Brings the part to its end in one attempt; what came before a fault is kept if it is usable.

    `progress` is called with the bytes that are here and the size of the file, None where that is
    not known. Raises Fault for what may be tried again or elsewhere, BenchError for what no address
    can mend: a full disk.
    """
    if expected.size is not None and part.size > expected.size:
        part.drop()
    if expected.hashed and part.size and part.size == expected.size:
        progress(part.size, part.size)
        return
    address = _file_address(source)
    for _ in range(3):
        with web.ask(session, address, _resumption(source, part, expected)) as response:
            behind = _take(response, source, part, expected, progress)
        if behind is None:
            return
        address = behind
    raise Fault("asks for confirmation again and again")


def _file_address(source: Source) -> str:
    """The address of the file itself, which for a file of a Drive folder must be looked up."""
    import requests

    if not source.folder:
        return source.address
    try:
        return drive.in_folder(source.address, web.STALL_S)
    except requests.RequestException as error:
        raise web.unreachable(error) from None


def _take(
    response: Response, source: Source, part: Part, expected: Expected, progress: Progress
) -> str | None:
    """Reads an answer into the part; gives the address behind it where it only asks to confirm."""
    if response.status_code == http.HTTPStatus.REQUESTED_RANGE_NOT_SATISFIABLE and part.size:
        _check_complete(response, part, expected)
        return None
    body = web.chunks(response)
    onward = response.status_code == http.HTTPStatus.PARTIAL_CONTENT
    beginning = _gather(body, _BEGINNING)
    if _is_page(response, b"" if onward else beginning, part):
        text = (beginning + _gather(body, _PAGE)).decode(errors="replace")
        page = drive.read_page(response.url, text)
        if page.quota or response.ok:
            return web.confirmed(page, response.url, source)
    web.check_status(response)
    origin = Origin(
        addresses.printable(source.address),
        response.headers.get("ETag"),
        response.headers.get("Last-Modified"),
    )
    if not beginning and expected.size != 0:
        raise Fault("sends an empty file", again=True)
    total = _total(response, part, expected)
    if onward:
        origin = _continued(origin, part)
    limit = expected.size if total is None else total
    _check_space(part, limit, part.size if onward else 0)
    with part.growing(origin, limit, onward=onward) as add:
        size = part.size
        progress(size, limit)
        for chunk in chain([beginning], body):
            size += len(chunk)
            if limit is not None and size > limit:
                break
            add(chunk)
            progress(size, limit)
    if limit is not None and size > limit:
        part.drop()
        raise Fault(f"sends more than {limit} bytes")
    if limit is not None and size < limit:
        raise Fault(f"ends after {size} of {limit} bytes", again=True)
    return None


def _resumption(source: Source, part: Part, expected: Expected) -> dict[str, str]:
    """The headers that ask for what is missing; none where the whole file must come again.

    Without a validator of the same address only a digest tells if old and new bytes fit.
    """
    if not part.size:
        return {}
    origin = part.origin()
    same = origin and origin.address == addresses.printable(source.address)
    if origin and same and origin.validator:
        return {"Range": f"bytes={part.size}-", "If-Range": origin.validator}
    return {"Range": f"bytes={part.size}-"} if expected.hashed else {}


def _check_complete(response: Response, part: Part, expected: Expected) -> None:
    """A server that has nothing after the part: the part is whole, or of another file.

    Only a digest tells which, since servers compare If-Range after they refused the range.
    """
    size = re.fullmatch(r"bytes \*/(\d{1,18})", response.headers.get("Content-Range", ""))
    if not expected.hashed or not size or int(size[1]) != part.size:
        part.drop()
        raise Fault("has another size than before", again=True, wait_s=0)


def _is_page(response: Response, beginning: bytes, part: Part) -> bool:
    if part.target.suffix.lower() in _PAGES:
        return False
    kind = response.headers.get("Content-Type", "").partition(";")[0].strip().lower()
    start = beginning.removeprefix(b"\xef\xbb\xbf").lstrip().lower()
    return kind == "text/html" or start.startswith((b"<!doctype", b"<html"))


def _total(response: Response, part: Part, expected: Expected) -> int | None:
    """The size of the file that the answer announces; None where it says nothing."""
    encoding = response.headers.get("Content-Encoding", "").lower() or "identity"
    # Servers call a .gz file a gzip-encoded one and mean the file itself.
    if encoding != "identity" and part.target.suffix.lower() not in {".gz", ".tgz"}:
        raise Fault(f"sends the file packed ({encoding})")
    total = None
    if response.status_code == http.HTTPStatus.PARTIAL_CONTENT:
        span = re.fullmatch(
            r"bytes (\d{1,18})-\d+/(\d{1,18}|\*)", response.headers.get("Content-Range", "")
        )
        if not span or int(span[1]) != part.size:
            part.drop()
            raise Fault("sends another part than asked for", again=True, wait_s=0)
        total = None if span[2] == "*" else int(span[2])
    elif length := re.fullmatch(r"\d{1,18}", response.headers.get("Content-Length", "")):
        total = int(length[0])
    if total is not None and expected.size is not None and total != expected.size:
        raise Fault(f"has a file of {total} bytes, not {expected.size}")
    return total


def _continued(origin: Origin, part: Part) -> Origin:
    """What the part is of once the rest has come; servers may ignore If-Range, so it is compared.

    Bytes of two addresses, or of one that named no version before, have no validator together.
    """
    before = part.origin()
    if before is None or before.address != origin.address:
        return Origin(origin.address)
    pairs = ((before.etag, origin.etag), (before.modified, origin.modified))
    if next((old != new for old, new in pairs if old and new), False):
        part.drop()
        raise Fault("has another version than before", again=True, wait_s=0)
    return before


def _check_space(part: Part, total: int | None, here: int) -> None:
    missing = (total or 0) - here
    free = shutil.disk_usage(part.path.parent).free + (part.size - here)
    if missing + MARGIN > free:
        raise BenchError(
            f"not enough space for {part.target}",
            expected=f"{(missing + MARGIN) / 2**20:.0f} MiB free",
            found=f"{free / 2**20:.0f} MiB",
            todo="free some space or choose another folder; what has come is kept",
        )


def _gather(body: Iterator[bytes], least: int) -> bytes:
    """The next bytes of a body, at least so many unless it ends."""
    gathered = b""
    while len(gathered) < least and (chunk := next(body, b"")):
        gathered += chunk
    return gathered
