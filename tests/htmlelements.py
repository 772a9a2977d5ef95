"""HTML taken apart far enough for tests: elements with their attributes and texts, in order."""

from __future__ import annotations

from dataclasses import dataclass, field
from html.parser import HTMLParser

VOID = {"meta", "link", "input", "br", "img"}


@dataclass
class Element:
    """An element: `text` is its own and that of all inside it."""

    tag: str
    attributes: dict[str, str]
    parents: list[Element] = field(repr=False)
    text: str = ""

    @property
    def words(self) -> str:
        return " ".join(self.text.split())

    def inside(self, **wanted: str) -> bool:
        """Whether an element around it, or it itself, has these attributes."""
        return any(
            all(one.attributes.get(name) == value for name, value in wanted.items())
            for one in (self, *self.parents)
        )


class _Parser(HTMLParser):
    def __init__(self) -> None:
        super().__init__()
        self.found: list[Element] = []
        self.open: list[Element] = []

    def handle_starttag(self, tag, attrs):
        one = Element(tag, {name: value or "" for name, value in attrs}, list(self.open))
        self.found.append(one)
        if tag not in VOID:
            self.open.append(one)

    def handle_endtag(self, tag):
        assert self.open, f"</{tag}> without a beginning"
        assert self.open[-1].tag == tag, f"</{tag}> ends {self.open[-1].tag}"
        self.open.pop()

    def handle_data(self, data):
        for one in self.open:
            one.text += data


def parse(html: str) -> list[Element]:
    """Its elements; every element must end, and in the right place."""
    parser = _Parser()
    parser.feed(html)
    parser.close()
    assert parser.open == []
    return parser.found
