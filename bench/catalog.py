"""datasets.yaml -> Dataset: every known data set, its clips, its layouts, its sources."""

from __future__ import annotations

import functools
import os
from pathlib import Path
from typing import Annotated, Literal

import msgspec

from bench import storage
from bench.errors import BenchError, choices

Natural = Annotated[int, msgspec.Meta(ge=0)]
Positive = Annotated[int, msgspec.Meta(ge=1)]
Address = Annotated[str, msgspec.Meta(pattern=r"^https?://\S+$")]
Sha256 = Annotated[str, msgspec.Meta(pattern=r"^[0-9a-f]{64}$")]
Template = Annotated[str, msgspec.Meta(pattern=r"^[^{}]*\{clip\}[^{}]*$")]


class ClipSize(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """What is known of one clip; null where no source states it."""

    frames: Positive | None = None
    height: Positive | None = None
    width: Positive | None = None


class KnownList(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """A published list file: the repository, commit and path, and the SHA-256 of its bytes."""

    source: str
    sha256: Sha256


class ClipList(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Clips that are named by a list file which users have."""

    files: list[str]
    count: int
    without: list[str] = []
    among: list[str] = []
    known: list[KnownList] = []


class Layout(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Folders of a clip's frames below the root of the data set; `{clip}` is the clip's name."""

    name: str
    gt: Template | None = None
    lr: dict[str, Template] = {}
    skip: Natural = 0


class Source(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Where something can be had."""

    what: str
    where: str


class Download(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """Something of a data set that can be fetched.

    files, list  the rows of `manifest` that have the `role`: frames of clips, or list files
    archive      one file at `addresses`, which are tried in order; `bytes` and `sha256` where a
                 source states them, `about_bytes` where it states a round size

    `into` is the folder below the data set's root, `{clip}` in it the clip's name; `folder` is the
    root where it is not the data set's first. `degradation` is that of LR frames, and `released`
    says that these are SR frames of a paper, which only that paper needs.
    """

    what: str
    kind: Literal["files", "list", "archive"]
    manifest: str | None = None
    role: str | None = None
    addresses: list[Address] = []
    bytes: Natural | None = None
    about_bytes: Natural | None = None
    sha256: Sha256 | None = None
    folder: str | None = None
    into: str = ""
    degradation: str | None = None
    released: bool = False

    def __post_init__(self) -> None:
        if self.kind == "archive" and not self.addresses:
            raise ValueError(f"{self.what}: an archive needs addresses")
        if self.kind != "archive" and not (self.manifest and self.role):
            raise ValueError(f"{self.what}: {self.kind} need a manifest and a role")


class Dataset(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """One data set as datasets.yaml describes it."""

    title: str
    folders: list[str]
    scored: Literal["all", "centre"]
    degradations: list[str]
    frames: Positive | None
    height: Positive | None
    width: Positive | None
    layouts: list[Layout]
    licence: str | None
    sources: list[Source]
    downloads: list[Download] = []
    clips: dict[str, ClipSize] | None = None
    clip_list: ClipList | None = None
    lr_scale: dict[str, int] = {}
    hints: dict[int, str] = {}
    note: str | None = None
    name: str = ""

    def __post_init__(self) -> None:
        if (self.clips is None) == (self.clip_list is None):
            raise ValueError("exactly one of clips and clip_list must be given")

    @property
    def count(self) -> int:
        """The number of clips."""
        if self.clips is not None:
            return len(self.clips)
        return self.clip_list.count if self.clip_list else 0

    def size(self, clip: str) -> ClipSize:
        """Frame count and frame size of a clip, as far as they are known."""
        own = (self.clips or {}).get(clip, ClipSize())
        return ClipSize(
            own.frames or self.frames, own.height or self.height, own.width or self.width
        )


class _File(msgspec.Struct, forbid_unknown_fields=True):
    schema: Literal[1]
    datasets: dict[str, Dataset]


def default_path() -> Path:
    """datasets.yaml beside this package: in an installed package inside it, else one level up."""
    here = Path(__file__).parent
    inside = here / "datasets.yaml"
    return inside if inside.exists() else here.parent / "datasets.yaml"


@functools.cache
def load(path: Path | None = None) -> dict[str, Dataset]:
    """Every known data set by name. The file is read once."""
    datasets = storage.read_yaml(path or default_path(), _File).datasets
    return {name: msgspec.structs.replace(d, name=name) for name, d in datasets.items()}


def get(name: str) -> Dataset:
    """The data set of that name."""
    datasets = load()
    if name not in datasets:
        raise BenchError(
            "unknown data set", expected=choices(datasets), found=repr(name), todo="choose one"
        )
    return datasets[name]


def cache_folder() -> Path:
    """BENCH_CACHE, else the user's cache folder."""
    if given := os.environ.get("BENCH_CACHE"):
        return Path(given)
    base = os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache"
    return Path(base) / "vsr-reproductions"


def data_root(given: str | Path | None = None) -> Path:
    """Where data sets are looked for: the given folder, else BENCH_DATA, else the cache folder."""
    return Path(given or os.environ.get("BENCH_DATA") or cache_folder())
