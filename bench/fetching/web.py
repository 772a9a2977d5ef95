"""HTTP answers: asked for, redirects followed, read as they come; what goes wrong is a Fault."""

from __future__ import annotations

import email.utils
import http
import logging
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from datetime import UTC
from typing import TYPE_CHECKING

from bench.fetching import addresses, drive
from bench.fetching.fault import Fault

if TYPE_CHECKING:
    from requests import Response, Session

CONNECT_S = 15.0
STALL_S = 60.0  # a server that is silent for so long is given up, however long the file takes
_READ = 2**20
_HOPS = 10
_AGAIN = {408, 425, 429, *range(500, 600)}


def session() -> Session:
    """Connections for the attempts of one download; to be closed after it."""
    import requests

    # urllib3 logs every path with its query, which may hold a token.
    logging.getLogger("urllib3.connectionpool").addFilter(_is_grave)
    made = requests.Session()
    # The bytes as they lie on the server: only these have the published digest, and can be resumed.
    made.headers.update({"Accept-Encoding": "identity", "User-Agent": "vsr-reproductions"})
    # `requests` would read the body of a redirect whole, however long; `ask` follows them itself.
    made.get_redirect_target = lambda resp: None  # type: ignore[method-assign]  # noqa: ARG005
    return made


@contextmanager
def ask(session: Session, address: str, headers: Mapping[str, str]) -> Iterator[Response]:
    """The answer of an address, its body unread, after as many as ten redirects."""
    asked = address
    for _ in range(_HOPS + 1):
        with _answer(session, asked, headers) as response:
            if not response.is_redirect:
                yield response
                return
            onward = addresses.next_hop(asked, response.headers["Location"])
            if onward is None:
                refused = addresses.printable(response.headers["Location"])
                raise Fault(f"redirects to {refused}, which is not followed")
            asked = onward
    raise Fault(f"redirects more than {_HOPS} times")


def _answer(session: Session, address: str, headers: Mapping[str, str]) -> Response:
    import requests

    try:
        return session.get(
            address,
            headers=dict(headers),
            stream=True,
            allow_redirects=False,
            timeout=(CONNECT_S, STALL_S),
        )
    except requests.RequestException as error:
        raise unreachable(error) from None
    except ValueError:  # of urllib3, about a host that no name server can be asked for
        raise Fault("is no web address") from None


def unreachable(error: OSError) -> Fault:
    """What an error of `requests` means, without its text, which may hold a token."""
    import requests

    if isinstance(error, requests.exceptions.SSLError) and "CERTIFICATE" in str(error):
        return Fault("its TLS certificate is not trusted")
    if isinstance(error, requests.Timeout):
        return Fault("no answer in time", again=True)
    if isinstance(error, requests.exceptions.InvalidURL | requests.exceptions.InvalidSchema):
        return Fault("is no web address")
    if isinstance(error, requests.exceptions.ProxyError):
        return Fault("the proxy gives no connection", again=True)
    return Fault("no connection", again=True)


def chunks(response: Response) -> Iterator[bytes]:
    """The bytes of the body as they come, as transferred, at most 1 MiB at a time."""
    import urllib3

    try:
        while chunk := response.raw.read1(_READ, decode_content=False):
            yield chunk
    except urllib3.exceptions.TimeoutError:
        raise Fault(f"silent for {STALL_S:g} s", again=True) from None
    except (urllib3.exceptions.HTTPError, OSError):
        raise Fault("the connection broke off", again=True) from None


def check_status(response: Response) -> None:
    """Raises Fault where the answer is neither the whole file nor the part asked for."""
    status = response.status_code
    if status in {http.HTTPStatus.OK, http.HTTPStatus.PARTIAL_CONTENT}:
        return
    phrase = http.HTTPStatus(status).phrase if status in set(http.HTTPStatus) else ""
    raise Fault(
        f"answers {status} {phrase}",
        again=status in _AGAIN,
        wait_s=_retry_after(response.headers.get("Retry-After")),
    )


def _retry_after(text: str | None) -> float | None:
    """The seconds that a Retry-After header asks for, as a number or as a date."""
    if text is None:
        return None
    if text.strip().isdecimal():
        return float(text)
    try:
        date = email.utils.parsedate_to_datetime(text)
    except ValueError:
        return None
    return max(0.0, date.replace(tzinfo=date.tzinfo or UTC).timestamp() - time.time())


def confirmed(page: drive.Page, address: str, source: addresses.Source) -> str:
    """The address behind a page that only asks to confirm; raises Fault for any other page."""
    if source.drive and page.quota:
        raise Fault(
            "Google Drive's download quota of the file is used up for some hours",
            todo=f"open {addresses.printable(source.written)} in a browser, then `bench add FILE`",
        )
    onward = addresses.next_hop(address, page.confirm) if page.confirm is not None else None
    if not source.drive or onward is None:
        title = f", titled {page.title[:120]!r}" if page.title else ""
        raise Fault(f"sends a web page in place of the file{title}")
    return onward


def _is_grave(record: logging.LogRecord) -> bool:
    return record.levelno >= logging.ERROR
