"""A checkpoint's file that came, from the web or by hand: checked, pinned, converted."""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import NamedTuple

from bench import checkpoint, paper, storage
from bench.errors import BenchError, choices
from bench.fetching import digests, pins
from bench.paper import Paper
from bench.weights import inspection


class Settled(NamedTuple):
    """A checkpoint's file in its place: which one, where, and what there is to say about it."""

    name: str
    path: Path
    notes: list[str]


def settle(chosen: Paper, name: str) -> Settled:
    """Checks the checkpoint's file in the cache folder, pins its SHA-256, converts a whole module.

    A file of which nothing is known is pinned only if the network takes it. Raises BenchError where
    it is not the file that was published, or not the one that came first.
    """
    described, path = chosen.checkpoint(name), checkpoint.place_of(chosen, name)
    found = digests.remembered(path, git_blob=bool(described.git_blob))
    pins.check(path, described, found)
    if not pins.expected(path, described).hashed:
        inspection.check_fit(path, chosen, name)
    notes = []
    if pins.add(path, described, found):
        notes.append(
            f"its whole SHA-256 was not published: pinned in {pins.lock_path()}; "
            f'for paper.yaml: sha256: "{found.sha256}"'
        )
    if described.whole_module and not checkpoint.converted(path).is_file():
        from bench.weights import convert

        made = convert.convert(path, checkpoint.converted(path))
        notes.append(f"its tensors were read without running its code: {made.path}")
    return Settled(f"{chosen.name}/{name}", path, notes)


def add(file: Path, name: str | None = None) -> list[Settled]:
    """Copies a weight file to where its checkpoint is looked for; `name` is paper/checkpoint.

    Without a name it is recognised by its digests, else by the names and shapes of its tensors.
    Raises BenchError where it fits none or several, or is not the published file.
    """
    found = digests.of(file, git_blob=True)
    chosen = [_named(name)] if name else inspection.published(found)
    if not chosen:
        chosen = [inspection.settle_on(file, inspection.fitting(file))]
    return [_put(file, found.sha256, *one) for one in chosen]


def _named(name: str) -> tuple[Paper, str]:
    owner, _, key = name.partition("/")
    chosen = paper.load(owner)
    if not key:
        raise BenchError(
            f"{name} is a paper",
            expected=choices(f"{owner}/{one}" for one in chosen.checkpoints),
            todo="say which checkpoint",
        )
    described = chosen.checkpoint(key)
    if not described.network:
        raise BenchError(
            f"{name} has no weight file",
            expected="a checkpoint with a network",
            found=described.state,
            todo="see bench list",
        )
    return chosen, key


def _put(file: Path, sha256: str, chosen: Paper, name: str) -> Settled:
    described, target = chosen.checkpoint(name), checkpoint.place_of(chosen, name)
    # Judged under the name that it will have, before anything is replaced there.
    pins.check(target, described, digests.of(file, git_blob=bool(described.git_blob)), file)
    if not pins.expected(target, described).hashed:
        inspection.check_fit(file, chosen, name)
    if not target.is_file() or digests.of(target).sha256 != sha256:
        with storage.replacing(target) as part:
            shutil.copyfile(file, part)
            if digests.of(part).sha256 != sha256:
                raise BenchError(
                    f"{file} changed while it was copied", todo="wait until it is written"
                )
    return settle(chosen, name)
