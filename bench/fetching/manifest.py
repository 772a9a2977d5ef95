"""Lists of published files: repository, commit, path, size and SHA-256 of each.

Those of data sets lie in `manifests`, those of a paper beside its paper.yaml, each a CSV
file; a row's `role` groups those that belong together, such as the GT frames.
"""

from __future__ import annotations

import csv
import functools
import re
from pathlib import Path
from typing import NamedTuple
from urllib.parse import quote

from bench.errors import BenchError, choices

HOST = "https://raw.githubusercontent.com"
FOLDER = Path(__file__).parent / "manifests"
_COLUMNS = ["role", "clip", "repository", "commit", "path", "bytes", "sha256"]
_FORMS = {
    "repository": r"[\w.-]+/[\w.-]+",
    "commit": r"[0-9a-f]{40}",
    "bytes": r"\d+",
    "sha256": r"[0-9a-f]{64}",
    "clip": r"[^/\\]*",
    "path": r"(?!/)(?!.*(^|/)\.\.?(/|$))[^\\]+",
}


class Row(NamedTuple):
    """One published file; `clip` is empty where it belongs to no clip."""

    role: str
    clip: str
    repository: str
    commit: str
    path: str
    bytes: int
    sha256: str

    @property
    def name(self) -> str:
        """The file's own name."""
        return self.path.rpartition("/")[2]

    @property
    def address(self) -> str:
        """Where its bytes are, at the commit.

        >>> Row("GT", "city", "a/b", "c0ffee", "G/Frame 01.png", 5, "").address
        'https://raw.githubusercontent.com/a/b/c0ffee/G/Frame%2001.png'
        """
        return f"{HOST}/{self.repository}/{self.commit}/{quote(self.path)}"


def rows(name: str, role: str) -> list[Row]:
    """The rows of a manifest that have the role.

    Raises BenchError where the manifest is not one, or has no such role.
    """
    listed = read(FOLDER / name)
    found = [row for row in listed if row.role == role]
    if not found:
        raise BenchError(
            f"{FOLDER / name} has no role {role!r}",
            expected=choices({row.role for row in listed}),
            todo="mend `role` in datasets.yaml",
        )
    return found


@functools.cache
def read(path: Path) -> list[Row]:
    """All rows of the manifest at `path`, which is read once; BenchError where it is none."""
    try:
        with path.open(encoding="utf-8", newline="") as file:
            lines = list(csv.DictReader(file))
    except (OSError, UnicodeDecodeError, csv.Error) as error:
        raise BenchError(
            f"cannot read {path}", expected="a CSV file", found=str(error), todo="restore it"
        ) from error
    return [_row(path, number, line) for number, line in enumerate(lines, 2)]


def _row(path: Path, number: int, line: dict[str, str]) -> Row:
    if list(line) != _COLUMNS or None in line.values():
        raise BenchError(
            f"{path}:{number} is no row of a manifest",
            expected=",".join(_COLUMNS),
            found=",".join(map(str, line)),
            todo="mend that line",
        )
    for column, form in _FORMS.items():
        if not re.fullmatch(form, line[column]):
            raise BenchError(
                f"{path}:{number}: {column}",
                expected=f"the form {form}",
                found=repr(line[column]),
                todo="mend that line",
            )
    return Row(**{**line, "bytes": int(line["bytes"])})  # type: ignore[arg-type]
