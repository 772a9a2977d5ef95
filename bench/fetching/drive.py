"""Google Drive: what lies in a folder, and what the pages say that come in place of a file."""

from __future__ import annotations

import inspect
from contextlib import suppress
from html.parser import HTMLParser
from pathlib import Path, PurePosixPath
from typing import Any, NamedTuple
from urllib.parse import parse_qsl, urlencode, urljoin, urlsplit, urlunsplit

from bench.fetching import addresses
from bench.fetching.fault import Fault

_TOLD = 20  # names of a folder in a message
_QUOTA = ("quota exceeded", "too many users have viewed or downloaded")


class Page(NamedTuple):
    """A web page in place of a file.

    `confirm` is the address behind the button "Download anyway" of Drive's virus-scan page; `quota`
    says that too many people downloaded the file lately.
    """

    title: str
    confirm: str | None
    quota: bool


def read_page(address: str, text: str) -> Page:
    """What the page at an address says."""
    reader = _Reader()
    with suppress(AssertionError):  # of the parser, on declarations that are none
        reader.feed(text)
        reader.close()
    said = " ".join("".join(reader.text).lower().split())
    title = " ".join("".join(reader.title).split())
    return Page(title, reader.confirm(address), any(words in said for words in _QUOTA))


class _Reader(HTMLParser):
    """Title, text and the form of Drive's virus-scan page."""

    def __init__(self) -> None:
        super().__init__()
        self.title: list[str] = []
        self.text: list[str] = []
        self.action: str | None = None
        self.hidden: dict[str, str] = {}
        self._titled = self._asked = False

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        given = {name: value or "" for name, value in attrs}
        if tag == "title":
            self._titled = True
        elif tag == "form" and given.get("id") == "download-form":
            self._asked, self.action = True, given.get("action", "")
        elif tag == "input" and self._asked and given.get("type") == "hidden":
            self.hidden[given.get("name", "")] = given.get("value", "")

    def handle_endtag(self, tag: str) -> None:
        if tag == "title":
            self._titled = False
        elif tag == "form":
            self._asked = False

    def handle_data(self, data: str) -> None:
        self.text += [data, " "]
        if self._titled:
            self.title.append(data)

    def confirm(self, address: str) -> str | None:
        """The address that the form of a page at `address` leads to."""
        if self.action is None:
            return None
        try:
            parts = urlsplit(urljoin(address, self.action))
        except ValueError:
            return None
        return urlunsplit(
            parts._replace(query=urlencode(dict(parse_qsl(parts.query)) | self.hidden))
        )


def in_folder(address: str, timeout_s: float) -> str:
    """The download address of the file that `https://drive.google.com/drive/folders/ID#NAME` names.

    NAME is the file's path below the folder, or its name where only one file is called so. Raises
    Fault where there is no such file or the folder cannot be listed, and what `requests` raises.
    """
    folder, name = addresses.folder_entry(address)
    files = _listing(folder, timeout_s)
    found = [file for path, file in files if path == name] or [
        file for path, file in files if PurePosixPath(path).name == name
    ]
    if len(found) != 1:
        held = ", ".join(sorted(path for path, _ in files)[:_TOLD]) or "nothing"
        raise Fault(
            f"holds {len(found) or 'no'} file {name!r} but {held}"
            + (", ..." if len(files) > _TOLD else ""),
            todo="mend the name in the address, or give the address of the file itself",
        )
    return addresses.drive_download(found[0])


def _listing(folder: str, timeout_s: float) -> list[tuple[str, str]]:
    """Path and ID of every file in a folder and below."""
    import gdown
    import gdown.exceptions

    # gdown 5 stops at 50 files unless told otherwise; gdown 6 knows time limits.
    known = inspect.signature(gdown.download_folder).parameters
    more = {"remaining_ok": True} if "remaining_ok" in known else {"timeout": timeout_s}
    refusals: tuple[type[Exception], ...]
    refusals = (gdown.exceptions.FileURLRetrievalError, RuntimeError, ValueError)
    if "DownloadError" in vars(gdown.exceptions):
        refusals += (gdown.exceptions.DownloadError,)
    try:
        found: Any = gdown.download_folder(
            id=folder, quiet=True, use_cookies=False, skip_download=True, **more
        )
    except refusals as error:
        raise _unlisted(folder, str(error).partition("\n")[0]) from error
    if found is None:
        raise _unlisted(folder, "no list of files")
    return [(Path(file.path).as_posix(), file.id) for file in found]


def _unlisted(folder: str, found: str) -> Fault:
    return Fault(
        f"cannot be listed ({found})",
        todo=f"open https://drive.google.com/drive/folders/{folder} in a browser, "
        "then `bench add FILE`",
    )
