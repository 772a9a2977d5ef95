"""The one exception that tells a user about bad input."""

from __future__ import annotations

from collections.abc import Iterable


class BenchError(Exception):
    """Bad input, told in one line of four parts.

    `wrong` says what was wrong, short enough for a table; `expected` and `found` are shown where
    they help; `todo` says what to do next. Line breaks inside a part are folded, so that the
    message stays one line.

    >>> print(BenchError("city: wrong frame count", expected="34", found="33", todo="fetch again"))
    city: wrong frame count: expected 34, found 33; fetch again
    """

    def __init__(
        self,
        wrong: str,
        *,
        expected: str | None = None,
        found: str | None = None,
        todo: str | None = None,
    ) -> None:
        self.wrong = wrong
        facts = [f"expected {expected}"] if expected else []
        facts += [f"found {found}"] if found else []
        message = wrong + (": " + ", ".join(facts) if facts else "") + (f"; {todo}" if todo else "")
        super().__init__(" ".join(message.split()))


def choices(names: Iterable[str]) -> str:
    """The names as the `expected` of a message.

    >>> choices({"vid4", "reds4"})
    'one of reds4, vid4'
    """
    return "one of " + ", ".join(sorted(names))
