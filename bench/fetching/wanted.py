"""Names of papers, checkpoints and data sets -> what there is to fetch, and what is here of it.

Only the disk is looked at; `bench.fetch` gets what is missing.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path, PurePosixPath
from typing import Literal, NamedTuple
from urllib.parse import urlsplit

from bench import catalog, checkpoint, frames, locate, paper
from bench.catalog import Dataset, Download
from bench.errors import BenchError, choices
from bench.fetching import manifest, pins
from bench.fetching.digests import Expected
from bench.locate import Found
from bench.paper import Paper, Reference

LARGE_BYTES = 10**9


class Part(NamedTuple):
    """One file to be fetched: its addresses, tried in order, its place, what is known of it."""

    addresses: tuple[str, ...]
    target: Path
    expected: Expected

    @property
    def here(self) -> bool:
        """Whether a file of the right size is in its place."""
        size = self.expected.size
        return self.target.is_file() and size in {None, self.target.stat().st_size}


class Item(NamedTuple):
    """One thing to be fetched, whole or not at all as far as users care.

    `folder` is where it ends up; `bytes` is null where nobody states the size; `problem` says why
    it cannot be fetched, or not without another option.
    """

    name: str
    what: str
    kind: Literal["checkpoint", "files", "list", "archive"]
    folder: Path
    parts: tuple[Part, ...]
    bytes: int | None
    licence: str | None
    state: Literal["here", "missing", "left out"]
    owner: Paper | Dataset
    problem: BenchError | None = None

    @property
    def optional(self) -> bool:
        """Whether it is left out because nobody asked for large ones."""
        return self.state == "left out" and self.kind == "archive"

    @property
    def unlicensed(self) -> bool:
        """Whether it is a paper's, and no licence file gives leave to pass it on."""
        return isinstance(self.owner, Paper) and self.licence is None

    @property
    def missing(self) -> list[Part]:
        """The files that are not here."""
        wanted_now = self.state == "missing" and not self.problem
        return [part for part in self.parts if not part.here] if wanted_now else []


class Selection(NamedTuple):
    """What of the names is wanted: these checkpoints only, no data sets, large ones too."""

    checkpoints: Sequence[str] = ()
    data: bool = True
    large: bool = False


def wanted(names: Sequence[str], data_root: Path, selection: Selection | None = None) -> list[Item]:
    """What the names stand for, each thing once.

    A paper stands for the files of its checkpoints that have a network, the frames that its authors
    released, to be scored or as examples, and the data sets of its cells, the large ones listed as
    left out; `paper/checkpoint`
    for that checkpoint alone; a data set for all of it. Raises BenchError for an unknown name.
    """
    items: dict[object, Item] = {}
    for name in names:
        for item in _stands_for(name, data_root, selection or Selection()):
            key = tuple(part.target for part in item.parts) or (item.name, item.what)
            old = items.setdefault(key, item)
            if old.state == "left out" and item.state != "left out":
                items[key] = item
    return list(items.values())


def _stands_for(name: str, data_root: Path, selection: Selection) -> Iterator[Item]:
    owner, _, key = name.partition("/")
    if owner in paper.names():
        chosen = paper.load(owner)
        if key:
            yield from _of_checkpoint(chosen, key, data_root)
        else:
            yield from _of_paper(chosen, data_root, selection)
    elif name in catalog.load():
        dataset = catalog.get(name)
        for download in dataset.downloads:
            if not download.released:
                yield _of_dataset(dataset, download, data_root, large=selection.large)
    else:
        raise BenchError(
            f"nothing is called {name!r}",
            expected="paper, paper/checkpoint or data set: "
            + choices({*paper.names(), *catalog.load()}),
            todo="choose one",
        )


def _of_paper(chosen: Paper, data_root: Path, selection: Selection) -> Iterator[Item]:
    keys = selection.checkpoints or [
        key for key, described in chosen.checkpoints.items() if not described.missing
    ]
    for key in keys:
        yield from _of_checkpoint(chosen, key, data_root)
    if not selection.data:
        return
    for reference in chosen.references.values():
        if reference.manifest and reference.checkpoint in keys:
            yield _of_reference(chosen, reference, data_root)
    # Released frames are scored as they are: their cells need no LR frames.
    needed: dict[str, set[str | None]] = {}
    for cell in chosen.cells:
        if cell.checkpoint is not None and cell.checkpoint in keys:
            described = chosen.checkpoints[cell.checkpoint]
            if not described.frames or cell.dataset in described.frames:
                of = None if described.frames else cell.degradation
                needed.setdefault(cell.dataset, {None}).add(of)
    for name, degradations in needed.items():
        dataset = catalog.get(name)
        items = [
            _of_dataset(dataset, download, data_root, large=selection.large)
            for download in dataset.downloads
            if not download.released and download.degradation in degradations
        ]
        left_out = [item for item in items if item.optional]
        yield from left_out or items  # a list of clips is no use without them


def _of_checkpoint(chosen: Paper, key: str, data_root: Path) -> Iterator[Item]:
    described, name = chosen.checkpoint(key), f"{chosen.name}/{key}"
    if described.missing:
        raise BenchError(
            f"{name} cannot be fetched", found=described.missing, todo="see bench list"
        )
    for dataset, templates in described.frames.items():
        for download in catalog.get(dataset).downloads:
            if download.released and download.into in templates:
                found = _of_dataset(catalog.get(dataset), download, data_root, large=True)
                yield found._replace(name=name, licence=described.licence)
    if not described.network:
        return
    path = checkpoint.place_of(chosen, key)
    part = Part(tuple(described.sources), path, pins.expected(path, described))
    problem = None
    if not described.sources:
        problem = BenchError(
            f"{name} can be had by hand only",
            found=", ".join(described.by_hand) or "no address",
            todo=f"save it and run bench add FILE --as {name}",
        )
    try:
        checkpoint.find(chosen, key)
        here, problem = True, None
    except BenchError:
        here = False
    yield Item(
        name,
        described.title,
        "checkpoint",
        path.parent,
        (part,) if path.is_file() or not here else (),
        path.stat().st_size if path.is_file() else part.expected.size,
        described.licence,
        "here" if here else "left out" if problem else "missing",
        chosen,
        problem,
    )


def _of_reference(chosen: Paper, reference: Reference, data_root: Path) -> Item:
    rows = paper.published_files(chosen, reference)
    parts = tuple(
        Part((row.address,), data_root / row.path, Expected(row.sha256, size=row.bytes))
        for row in rows
    )
    item = Item(
        chosen.name,
        reference.title,
        "files",
        data_root / PurePosixPath(rows[-1].path).parent,
        parts,
        sum(row.bytes for row in rows),
        chosen.checkpoint(reference.checkpoint).licence,
        "missing",
        chosen,
    )
    if all(part.here for part in parts):
        return item._replace(state="here")
    return item._replace(problem=_strangers(item))


def _of_dataset(dataset: Dataset, download: Download, data_root: Path, *, large: bool) -> Item:
    found = _found(dataset, data_root)
    root = found.root if found else data_root / (download.folder or dataset.folders[0])
    parts = _parts(download, root)
    sizes = [part.expected.size for part in parts]
    size = sum(filter(None, sizes)) if all(sizes) else download.about_bytes
    item = Item(
        dataset.name,
        download.what,
        download.kind,
        root / download.into.partition("{clip}")[0],
        parts,
        size,
        dataset.licence,
        "missing",
        dataset,
    )
    if download.kind != "list" and _has(dataset, download, found, root):
        return item._replace(state="here", parts=parts if all(p.here for p in parts) else ())
    if all(part.here for part in parts) and download.kind != "archive":
        return item._replace(state="here")
    if download.kind == "files":
        return item._replace(problem=_strangers(item))
    if not large and (size is None or size >= LARGE_BYTES):
        command = f"bench fetch {dataset.name} --large"
        told = "size unknown" if size is None else f"{size / 1e9:.0f} GB"
        problem = BenchError(
            f"{dataset.name}, {download.what}: {told}, fetched with --large only",
            todo=f"run {command}; it comes from " + ", ".join(download.addresses),
        )
        return item._replace(state="left out", problem=problem)
    return item


def _parts(download: Download, root: Path) -> tuple[Part, ...]:
    if download.kind == "archive":
        expected = Expected(download.sha256, size=download.bytes)
        place = catalog.cache_folder() / "archives" / archive_name(download.addresses[0])
        return (Part(tuple(download.addresses), place, expected),)
    return tuple(
        Part(
            (row.address,),
            root / download.into.format(clip=row.clip) / row.name,
            Expected(row.sha256, size=row.bytes),
        )
        for row in manifest.rows(download.manifest or "", download.role or "")
    )


def archive_name(address: str) -> str:
    """The name of an archive's file: that of its address, or Google Drive's identifier.

    >>> archive_name("https://a.b/c/d.zip"), archive_name("https://drive.google.com/file/d/1x/view")
    ('d.zip', '1x')
    """
    path = PurePosixPath(urlsplit(address).path)
    return path.parent.name if path.name == "view" else path.name


def _found(dataset: Dataset, data_root: Path) -> Found | None:
    """The data set on disk, if every clip has its number of GT frames, where that is known."""
    try:
        found = locate.find(dataset, data_root)
    except BenchError:
        return None
    skip = found.layout.skip
    folders = {c: locate.folder_of(found.root, found.layout.gt, c) for c in found.clips}
    whole = all(_whole(dataset, folder, clip, skip) for clip, folder in folders.items())
    return found if whole else None


def _whole(dataset: Dataset, folder: Path | None, clip: str, skip: int = 0) -> bool:
    wanted_frames = dataset.size(clip).frames
    return folder is not None and (
        wanted_frames is None or frames.count(folder) == wanted_frames + 2 * skip
    )


def _has(dataset: Dataset, download: Download, found: Found | None, root: Path) -> bool:
    """Whether the frames of the download are here, in any layout, whoever wrote the files."""
    if download.released:
        return all(
            _whole(dataset, locate.folder_of(root, download.into, clip), clip)
            for clip in dataset.clips or ()
        )
    if found is None:
        return False
    if download.degradation is None:
        return True
    layout = found.lr.get(download.degradation)
    return layout is not None and all(
        _whole(
            dataset,
            locate.folder_of(found.root, layout.lr[download.degradation], clip),
            clip,
            layout.skip,
        )
        for clip in found.clips
    )


def _strangers(item: Item) -> BenchError | None:
    """Why frames must not be put into their folders: other frames lie there already."""
    ours = {part.target for part in item.parts}
    for folder in dict.fromkeys(part.target.parent for part in item.parts):
        if folder.is_dir():
            files = frames.frame_files(folder) if frames.count(folder) else []
            if others := [file for file in files if file not in ours]:
                return BenchError(
                    f"{folder} holds frames that are none of {item.name}, {item.what}",
                    expected="the published file names, or a whole clip",
                    found=others[0].name + (", ..." if len(others) > 1 else ""),
                    todo="move the folder away, or name another one with --data-root",
                )
    return None
