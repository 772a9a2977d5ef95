"""paper.yaml -> Paper: published cells, checkpoints, what authors released."""

from __future__ import annotations

import importlib
import importlib.metadata
import importlib.resources
from collections.abc import Callable, Collection, Iterator, Sequence
from pathlib import Path
from typing import Annotated, Any, Literal

import msgspec
import numpy as np
from numpy.typing import NDArray

from bench import catalog, protocol, storage
from bench.cells import Cell, Context, Source, Table
from bench.errors import BenchError, choices
from bench.fetching import manifest
from bench.restore import Recurrent, SlidingWindow, SpaceTime

Frame = NDArray[np.uint8]
Method = Callable[[Sequence[Frame], int, Sequence[int]], Iterator[Frame]]
"""LR frames of a whole clip, uint8 RGB (h, w, 3), the scale, and the indices of the wanted frames,
which ascend -> the SR frames of those, in order."""

GROUP = "bench.papers"


class Checkpoint(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """One way of the paper to make SR frames.

    method       `module:function` that restores a clip (see `Method`)
    network      `module:class` of a network, `arguments` for it, `parameters` that it must have,
                 and the `restorer` that shows it a clip
    factory      `module:function` that makes a method (see bench.contract), weights and all
    frames       data set -> folders of frames that the authors released, `{clip}` in each
    missing      why it cannot be run here

    Exactly one of these five. For a network: `file` is the published file's name, `wrapper` the key
    that its state dict lies under, `prefix` what stands before every name in it, `names` the tables
    of names.yaml that may turn its names into ours, the empty one standing for ours; `sha256` may
    be as many of the first digits as are known, from eight up, `git_blob` is git's SHA-1 of the
    file; a `whole_module` is a pickled network, of which `weights.convert` makes a state dict.

    `sources` are addresses, tried in order; `by_hand` are places that only a browser reaches.
    """

    title: str
    method: str | None = None
    network: str | None = None
    factory: str | None = None
    arguments: dict[str, int | float | bool | str] = {}
    parameters: int | None = None
    restorer: SlidingWindow | Recurrent | SpaceTime | None = None
    file: str | None = None
    wrapper: str | None = None
    prefix: str = ""
    names: tuple[str, ...] = ("",)
    git_blob: Annotated[str, msgspec.Meta(pattern=r"^[0-9a-f]{40}$")] | None = None
    frames: dict[str, list[str]] = {}
    missing: str | None = None
    sources: list[catalog.Address] = []
    by_hand: list[str] = []
    whole_module: bool = False
    sha256: Annotated[str, msgspec.Meta(pattern=r"^[0-9a-f]{8,64}$")] | None = None
    licence: str | None = None
    note: str | None = None

    @property
    def state(self) -> str:
        """What it takes to run it, in a few words."""
        if self.missing:
            return f"cannot run: {self.missing}"
        if self.network:
            return f"needs {self.file}"
        if self.factory:
            return f"made by {self.factory}"
        return "scored from released frames" if self.frames else "no weights needed"

    def __post_init__(self) -> None:
        ways = (self.method, self.network, self.factory, self.frames, self.missing)
        if sum(map(bool, ways)) != 1:
            raise ValueError(
                "exactly one of method, network, factory, frames and missing must be given"
            )
        if self.network and not (self.restorer and self.file):
            raise ValueError("a network needs a restorer and a file")
        if self.factory and (self.restorer or self.file):
            raise ValueError("what a factory makes brings its restorer and its weights")


class Reference(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """Outputs that the authors released, which their checkpoint must give again.

    They are of `dataset` under `degradation` (of `clips`, else of all), or of one clip whose LR
    frames lie in the first of the folders `lr` that exists below the data root; `every` is 2 where
    that folder holds every second frame only. They are one of these two:

    frames     folders of SR frames below the data root, `{clip}` being the clip's name; the first
               that exists counts
    scores     a CSV file beside paper.yaml with the columns clip and frame (from 1) and, for each
               entry of `protocols`, psnr_<entry> and ssim_<entry>

    `manifest` is a CSV file beside paper.yaml (see `fetching.manifest`) of the frames and of what
    lies in `lr`, which belong below the data root at the paths that they have in their repository.
    """

    title: str
    checkpoint: str
    source: str
    dataset: str | None = None
    degradation: str | None = None
    clips: list[str] = []
    lr: list[str] = []
    every: Literal[1, 2] = 1
    frames: list[str] = []
    scores: str | None = None
    protocols: dict[str, str] = {}
    manifest: str | None = None
    note: str | None = None

    def __post_init__(self) -> None:
        if bool(self.dataset) == bool(self.lr) or bool(self.dataset) != bool(self.degradation):
            raise ValueError("either dataset and degradation or lr must be given")
        if bool(self.frames) == bool(self.scores) or bool(self.scores) != bool(self.protocols):
            raise ValueError("either frames or scores and protocols must be given")
        if self.scores and not self.dataset:
            raise ValueError("scores need a dataset")
        if self.manifest and not self.frames:
            raise ValueError("a manifest needs frames")


class Paper(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """A publication: its cells, its checkpoints, the sources of its numbers.

    `name` and `package` are those of its entry point; `folder` is where factories are looked for
    before all other places.
    """

    schema: Literal[1]
    title: str
    scale: Literal[1, 2, 3, 4]
    sources: dict[str, Source]
    checkpoints: dict[str, Checkpoint]
    cells: list[Cell]
    context: list[Context] = []
    references: dict[str, Reference] = {}
    tables: list[Table] = []
    note: str | None = None
    name: str = ""
    package: str = ""
    folder: str = ""

    def __post_init__(self) -> None:
        for number, cell in enumerate(self.cells):
            known = catalog.load()
            found = known.get(cell.dataset)
            checks: tuple[tuple[str, str | None, Collection[str]], ...] = (
                ("source", cell.source, self.sources),
                ("data set", cell.dataset, known),
                ("checkpoint", cell.checkpoint, self.checkpoints),
                ("protocol", cell.protocol, protocol.PROTOCOLS),
                ("degradation", cell.degradation, found.degradations if found else ()),
                ("clip", cell.clip, (found.clips if found else None) or (cell.clip or "",)),
            )
            for what, name, choice in checks:
                if name is not None and name not in choice:
                    raise ValueError(
                        f"cells[{number}] ({cell.row}): {choices(choice)}, found {what} {name!r}"
                    )
        for key, reference in self.references.items():
            self._check_reference(key, reference)

    def _check_reference(self, key: str, reference: Reference) -> None:
        known = catalog.load()
        found = known.get(reference.dataset or "")
        checks: list[tuple[str, str | None, Collection[str]]] = [
            ("source", reference.source, self.sources),
            ("data set", reference.dataset, known),
            ("checkpoint", reference.checkpoint, self.checkpoints),
            ("degradation", reference.degradation, found.degradations if found else ()),
        ]
        clips = (found.clips if found else None) or reference.clips
        checks += [("clip", clip, clips) for clip in reference.clips]
        checks += [("protocol", p, protocol.PROTOCOLS) for p in reference.protocols.values()]
        for what, name, choice in checks:
            if name is not None and name not in choice:
                raise ValueError(f"references.{key}: {choices(choice)}, found {what} {name!r}")

    def checkpoint(self, name: str) -> Checkpoint:
        """The checkpoint of that name."""
        if name not in self.checkpoints:
            raise BenchError(
                f"{self.name} has no checkpoint {name!r}",
                expected=choices(self.checkpoints),
                todo="choose one of them",
            )
        return self.checkpoints[name]


def names() -> list[str]:
    """The names of the installed papers, sorted."""
    return sorted(_entry_points())


def load(name: str) -> Paper:
    """The paper of that name, from the paper.yaml of its package."""
    packages = _entry_points()
    if name not in packages:
        raise BenchError(
            "unknown paper", expected=choices(packages), found=repr(name), todo="choose one"
        )
    try:
        folder = importlib.resources.files(packages[name])
    except ImportError as error:
        raise BenchError(
            f"paper {name} cannot be loaded",
            expected=f"a package {packages[name]} with a paper.yaml",
            found=str(error),
            todo="install or remove the distribution that names it",
        ) from error
    return read(Path(str(folder)) / "paper.yaml", name, packages[name])


def read(path: Path, name: str, package: str = "") -> Paper:
    """The paper that the file in that package describes."""
    loaded = storage.read_yaml(path, Paper)
    for number, table in enumerate(loaded.tables):
        try:
            table.check(loaded.cells, loaded.checkpoints, loaded.context)
        except ValueError as error:
            raise BenchError(f"{path}: tables[{number}].{error}", todo="mend that key") from error
    for context in loaded.context:
        if context.timed and context.timed.checkpoint not in loaded.checkpoints:
            raise BenchError(
                f"{path}: {context.title}: timed.checkpoint",
                expected=choices(loaded.checkpoints),
                found=repr(context.timed.checkpoint),
                todo="mend that key",
            )
    return msgspec.structs.replace(loaded, name=name, package=package)


def published_files(chosen: Paper, reference: Reference) -> list[manifest.Row]:
    """The files of a reference that can be fetched; none where no manifest lists them."""
    if not reference.manifest:
        return []
    return manifest.read(Path(str(importlib.resources.files(chosen.package))) / reference.manifest)


def method(checkpoint: Checkpoint) -> Method:
    """The function that restores a clip, imported."""
    module, _, attribute = (checkpoint.method or "").partition(":")
    try:
        found: Any = getattr(importlib.import_module(module), attribute)
    except (ImportError, AttributeError, ValueError) as error:
        raise BenchError(
            f"cannot import the method {checkpoint.method!r}",
            expected="module:function",
            found=str(error),
            todo="mend `method` in paper.yaml or install what it needs",
        ) from error
    return found  # type: ignore[no-any-return]


def _entry_points() -> dict[str, str]:
    found = importlib.metadata.entry_points(group=GROUP)
    return {entry.name: entry.value for entry in found}
