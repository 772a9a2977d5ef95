"""What came from one address instead of the file; another attempt or address may do better."""

from __future__ import annotations


class Fault(Exception):  # noqa: N818 - not an error of the program, nor one that a user meets
    """What came from an address instead of the file, in words fit for printing.

    `again` says that another attempt may do better, `wait_s` how long the server asks to wait, and
    `todo` what a person can do about it.
    """

    def __init__(
        self, what: str, *, again: bool = False, wait_s: float | None = None, todo: str = ""
    ) -> None:
        super().__init__(" ".join(what.split()))
        self.again = again
        self.wait_s = wait_s
        self.todo = todo
