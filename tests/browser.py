"""A browser for tests: Debian's chromium, or the one that is here, driven by Playwright.

Playwright comes from PyPI with its driver; the browser that it would download is not needed. Where
no browser is here, tests are skipped with the reason; `BENCH_TEST_BROWSER=install` installs
Debian's, for which one must be root.
"""

from __future__ import annotations

import importlib.util
import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import TYPE_CHECKING

import debian

if TYPE_CHECKING:
    from playwright.sync_api import Browser

INSTALL = "BENCH_TEST_BROWSER"
WIDE, NARROW = 1400, 380  # the widths, in pixels, that pages are looked at
PACKAGES = ("chromium", "fonts-dejavu-core")  # a page needs some font
PROGRAMS = ("chromium", "chromium-browser", "google-chrome", "google-chrome-stable")


def program() -> str | None:
    """The browser's program, if one is here."""
    return next((found for name in PROGRAMS if (found := shutil.which(name))), None)


def hindrance() -> str | None:
    """Why no browser can be started here, in one line, or None."""
    if importlib.util.find_spec("playwright") is None:
        return "no playwright: install the dependency group `test`"
    if program():
        return None
    if os.environ.get(INSTALL) != "install":
        return f"no {PROGRAMS[0]}: set {INSTALL}=install to install it"
    if not hasattr(os, "geteuid") or os.geteuid() != 0 or not shutil.which("apt-get"):
        return f"no {PROGRAMS[0]}, and only root installs it, with apt-get"
    return None


def install() -> str | None:
    """Installs the browser if there is none: None, or in one line why that failed."""
    return debian.install(PACKAGES, lambda: None if program() else PROGRAMS[0])


@contextmanager
def started() -> Iterator[Browser]:
    """A browser without a window; nothing of it runs after the block.

    While it runs this thread has an event loop: no `asyncio.run` beside it.
    """
    from playwright.sync_api import sync_playwright

    # Its own sandbox needs rights that root in a container lacks; the pages are ours.
    arguments = ["--no-sandbox", "--disable-dev-shm-usage"]
    with sync_playwright() as driver:
        running = driver.chromium.launch(executable_path=program(), args=arguments)
        try:
            yield running
        finally:
            running.close()


class Visit:
    """A page that was opened, all that it asked for, and all that went wrong in it."""

    def __init__(self, page) -> None:
        self.page, self.requests, self.problems = page, [], []
        page.on("request", lambda request: self.requests.append(request.url))
        page.on("console", lambda said: self.problems.append(f"{said.type}: {said.text}"))
        page.on("pageerror", lambda error: self.problems.append(str(error)))

    def __getattr__(self, name):
        return getattr(self.page, name)

    @property
    def foreign(self) -> list[str]:
        return [url for url in self.requests if not url.startswith(("file:", "data:", "blob:"))]

    def texts(self, selector: str) -> list[str]:
        return [" ".join(text.split()) for text in self.locator(selector).all_inner_texts()]

    def open_all(self) -> None:
        """Opens every list and table that can be opened, and waits for what is made then."""
        closed = self.locator("details:not([open]) > summary")
        while closed.count():
            closed.first.click()
        self.locator("summary:only-child").wait_for(state="detached")

    def overflow(self) -> int:
        return self.evaluate("document.scrollingElement.scrollWidth - innerWidth")


def descendants() -> list[str]:
    """The names of the programs that this process and its children started and that still run."""
    parents, names = {}, {}
    for entry in Path("/proc").glob("*"):
        if entry.name.isdecimal():
            with suppress(OSError):
                name, _, rest = (entry / "stat").read_text().partition(" (")[2].rpartition(") ")
                state, parent = rest.split()[:2]
                if state != "Z":
                    parents[int(entry.name)], names[int(entry.name)] = int(parent), name
    found = {os.getpid()}
    while more := {child for child, parent in parents.items() if parent in found} - found:
        found |= more
    return [names[one] for one in sorted(found - {os.getpid()})]
