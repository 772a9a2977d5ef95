"""checkpoints.lock: the SHA-256 of files whose publisher gave none, as they were when they came.

A file that was seen once must stay the same from then on, on this machine and, once its line is in
paper.yaml, on every other.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import msgspec

from bench import catalog, storage
from bench.errors import BenchError
from bench.fetching.digests import Digests, Expected
from bench.paper import Checkpoint

SCHEMA = 1
_WHOLE = 64


class Pin(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """What a file was when it first came."""

    bytes: catalog.Natural
    sha256: catalog.Sha256


class _Lock(msgspec.Struct, forbid_unknown_fields=True):
    """`checkpoints` maps paper/file to its pin."""

    schema: int
    checkpoints: dict[str, Pin]


class _Versioned(msgspec.Struct):
    schema: int


def folder() -> Path:
    """Where checkpoints lie: one folder a paper below it."""
    return catalog.cache_folder() / "checkpoints"


def lock_path() -> Path:
    """The lock file, in the cache folder."""
    return catalog.cache_folder() / "checkpoints.lock"


def read() -> dict[str, Pin]:
    """The pins by paper/file; none where there is no lock file.

    Raises BenchError where a newer version wrote it, or where it is damaged.
    """
    path = lock_path()
    if not path.exists():
        return {}
    schema = storage.read_json(path, _Versioned).schema
    if schema != SCHEMA:
        raise BenchError(
            f"{path} was written by another version of bench",
            expected=f"schema {SCHEMA}",
            found=f"schema {schema}",
            todo="use that version, or move the file away",
        )
    return storage.read_json(path, _Lock).checkpoints


def key(path: Path) -> str | None:
    """The name of a checkpoint's file in the lock; None outside the cache folder.

    A file or a paper's folder there may be a link to where the weights really lie.
    """
    for place, base in (
        (path.parent.resolve() / path.name, folder().resolve()),
        (path.absolute(), folder().absolute()),
    ):
        if place.is_relative_to(base):
            return place.relative_to(base).as_posix()
    return None


def expected(path: Path, checkpoint: Checkpoint) -> Expected:
    """What a checkpoint's file must be: as published, and where that says too little, as pinned.

    A pin that contradicts what was published counts for nothing.
    """
    published, pin = checkpoint.sha256, read().get(key(path) or "")
    if pin and pin.sha256.startswith(published or ""):
        return Expected(pin.sha256, checkpoint.git_blob, pin.bytes)
    return Expected(published, checkpoint.git_blob)


def needed(checkpoint: Checkpoint) -> bool:
    """Whether the whole SHA-256 of the file was not published."""
    return len(checkpoint.sha256 or "") < _WHOLE


def add(path: Path, checkpoint: Checkpoint, found: Digests) -> bool:
    """Pins a checkpoint's file in the cache folder; False where nothing was to be pinned.

    Two processes that pin at once lose neither pin. Raises BenchError where the lock file cannot be
    written; a cache that is read only serves as long as everything in it is pinned.
    """
    name, lock, pin = key(path), lock_path(), Pin(found.size, found.sha256)
    if name is None or not needed(checkpoint) or read().get(name) == pin:
        return False
    try:
        lock.parent.mkdir(parents=True, exist_ok=True)
        with storage.lock(lock.with_name(f".{lock.name}.lock")):
            _write({**read(), name: pin})
    except OSError as error:
        raise BenchError(
            f"cannot write {lock}",
            found=error.strerror or str(error),
            todo="check who may write there, or choose another folder with BENCH_CACHE",
        ) from error
    return True


def _write(pins: dict[str, Pin]) -> None:
    whole: dict[str, Any] = {
        "checkpoints": {name: msgspec.to_builtins(pin) for name, pin in pins.items()},
        "schema": SCHEMA,
    }
    storage.write_text(lock_path(), json.dumps(whole, indent=2, sort_keys=True) + "\n")


def check(path: Path, checkpoint: Checkpoint, found: Digests, judged: Path | None = None) -> None:
    """Raises BenchError where a checkpoint's file is not the one published, or not the one pinned.

    A git blob is expected in `found` where one was published. `judged` is the file that `found` is
    of where it does not lie at `path` yet.
    """
    shown, name = (judged, f" {path.name}") if judged else (path, "")
    places = ", ".join([*checkpoint.sources, *checkpoint.by_hand]) or "its publisher"
    published = Expected(checkpoint.sha256, checkpoint.git_blob)
    for word, wanted, got in (
        ("SHA-256", published.sha256, found.sha256),
        ("git blob", published.git_blob, found.git_blob or ""),
    ):
        if wanted and not got.startswith(wanted):
            raise BenchError(
                f"{shown} is not the published file{name}",
                expected=f"{word} {wanted}",
                found=got,
                todo=f"fetch it again from {places}",
            )
    pin = read().get(key(path) or "")
    if pin and pin.sha256.startswith(checkpoint.sha256 or "") and pin.sha256 != found.sha256:
        raise BenchError(
            f"{shown} is not the file{name} that came first",
            expected=f"SHA-256 {pin.sha256} ({lock_path()})",
            found=found.sha256,
            todo="restore it; or, where its publisher replaced it, take its line out of that file",
        )
