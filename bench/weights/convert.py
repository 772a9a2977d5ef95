"""Pickled network -> plain state dict, without running any code from the file.

Authors who saved whole modules (`torch.save(network)`) published files that need their code, and
often their PyTorch, to be loaded. The tensors are in them all the same: what a module's class would
do with its attributes is not asked, its `_parameters`, `_buffers` and `_modules` are read.
"""

from __future__ import annotations

import hashlib
import io
from collections import OrderedDict
from collections.abc import Iterator, Mapping
from math import prod
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

from bench import storage
from bench.errors import BenchError, choices
from bench.fetching import digests
from bench.weights import tensors, torchfile
from bench.weights.tensors import ITEM_BYTES, Name, Record, View, fault
from bench.weights.torchfile import Saved

if TYPE_CHECKING:
    from torch import Tensor

_PARALLEL = ("DataParallel", "DistributedDataParallel")
_MOST_MODULES = 100_000
_MOST_DEPTH = 100
_LONGEST_NAME = 1000


class Converted(NamedTuple):
    """A written state dict: its file and SHA-256, those of its source, and what was left out.

    `source_git_blob` is the id that git gives the source's content; `notes` are sentences for the
    user.
    """

    path: Path
    sha256: str
    source_sha256: str
    source_git_blob: str
    state: dict[str, Tensor]
    notes: tuple[str, ...]


class _Network(NamedTuple):
    """The named tensors of a file, still as views of its storages, and what was left out."""

    views: dict[str, View]
    notes: tuple[str, ...]


def read_module(path: Path) -> dict[str, Tensor]:
    """The state dict of the network in a file of `torch.save`, on the CPU, each tensor contiguous.

    The file may hold a module or a state dict, alone or as one entry of a dictionary. The prefix
    of DataParallel is removed; names that share a tensor share it here too. Raises BenchError that
    says why where there is no such thing in the file.
    """
    return _read(path, _content(path))[0]


def convert(path: Path, target: Path | None = None) -> Converted:
    """Writes the state dict of a pickled network to `target`, by default beside its source.

    The file holds {"state_dict": ..., "converted": {"sha256": ..., "git_blob": ...}} with the
    digests of the source, is readable with `weights_only=True`, and has the same bytes each time.
    Raises BenchError where the source is a plain state dict already.
    """
    import torch

    target = target or path.with_name(f"{path.stem}.state.pth")
    content = _content(path)
    state, saved, notes = _read(path, content)
    if not saved.kinds:
        raise BenchError(
            f"{path} is a plain state dict already",
            expected="a pickled module",
            todo="use the file as it is",
        )
    if target.exists() and target.samefile(path):
        raise BenchError(
            f"the state dict would take the place of {path}",
            expected="another file to write to",
            todo="leave the target out or name another",
        )
    origin = {
        "sha256": hashlib.sha256(content).hexdigest(),
        "git_blob": _git_blob(content),
    }
    buffer = io.BytesIO()  # into a named file torch.save would write that name
    torch.save({"state_dict": OrderedDict(state), "converted": origin}, buffer)
    with storage.replacing(target) as part:
        part.write_bytes(buffer.getbuffer())
        _check_written(part, target, state)
    written = hashlib.sha256(buffer.getbuffer()).hexdigest()
    return Converted(target, written, origin["sha256"], origin["git_blob"], state, notes)


def _content(path: Path) -> bytes:
    digests.check_regular(path)
    try:
        with path.open("rb") as file:
            torchfile.check_beginning(file.read(512))
        return path.read_bytes()
    except MemoryError as error:
        raise BenchError(
            f"{path} does not fit into the memory",
            expected="a weight file",
            found=f"{path.stat().st_size / 2**30:.0f} GiB",
            todo="convert it on a larger machine",
        ) from error
    except BenchError as error:
        raise BenchError(f"{path}: {error}") from error
    except OSError as error:
        raise BenchError(
            f"cannot read {path}", found=error.strerror or str(error), todo="check the path"
        ) from error


def _git_blob(content: bytes) -> str:
    return hashlib.sha1(b"blob %d\0" % len(content) + content, usedforsecurity=False).hexdigest()


def _read(path: Path, content: bytes) -> tuple[dict[str, Tensor], Saved, tuple[str, ...]]:
    try:
        saved = torchfile.read(content)
        views, notes = _network(saved)
        _check_size(views, len(content))
        return _tensors(views, saved), saved, notes
    except BenchError as error:
        raise BenchError(f"{path}: {error}") from error


def _network(saved: Saved) -> tuple[dict[str, View], tuple[str, ...]]:
    """The named tensors of a file, still as views of its storages, and what to tell the user."""
    key, root = _find(saved.root)
    notes = [f"read from the entry {key!r} of the file"] if key else []
    unwrapped = _unwrapped(root)
    views = dict(_entries(root) if isinstance(root, dict) else _walked(unwrapped))
    parallel = unwrapped is not root
    if isinstance(root, dict) and all(name.startswith("module.") for name in views):
        parallel = True
        views = {name.removeprefix("module."): view for name, view in views.items()}
    if parallel:
        notes.append("the prefix 'module.' of DataParallel was removed")
    if classes := sorted(saved.kinds.difference(tensors.VARIABLES)):
        notes.append("nothing was run, these classes were left out: " + ", ".join(classes))
    return views, tuple(notes)


def _find(root: object) -> tuple[str | None, object]:
    """The module or state dict in a file, and the key under which it lies, if any."""
    inside = root if isinstance(root, dict) else {}
    found = {
        _printable(key): value
        for key, value in inside.items()
        if isinstance(key, str) and _is_network(value)
    }
    if not found and _is_network(root):
        return None, root
    if len(found) == 1:
        return next(iter(found.items()))
    if found:
        raise BenchError(
            "the file holds several networks",
            expected="one",
            found=choices(found),
            todo="save the one that is wanted alone",
        )
    raise BenchError(
        "the file holds no network",
        expected="a module or a state dict",
        found=_printable(root.kind) if isinstance(root, Record) else type(root).__name__,
        todo="use the published file",
    )


def _printable(text: str) -> str:
    return str(Name(text))


def _is_network(value: object) -> bool:
    if isinstance(value, dict):
        return any(tensors.tensor(entry) is not None for entry in value.values())
    return isinstance(value, Record) and isinstance(_part(value, "_modules"), dict)


def _part(module: Record, name: str) -> object:
    """An attribute of a module; a class with slots pickles a pair, the attributes first."""
    state = module.state
    if isinstance(state, tuple) and len(state) == 2:
        state = state[0]
    return state.get(name) if isinstance(state, dict) else None


def _unwrapped(module: object) -> object:
    """The network inside DataParallel, which some put around one another; else the module."""
    for _ in range(_MOST_DEPTH):
        if not isinstance(module, Record) or module.kind.rpartition(".")[2] not in _PARALLEL:
            return module
        children = _part(module, "_modules")
        if not isinstance(children, dict) or "module" not in children:
            return module
        module = children["module"]
    raise fault("a module inside itself")


def _entries(state: Mapping[object, object]) -> Iterator[tuple[str, View]]:
    """The tensors of a state dict."""
    for name, value in state.items():
        view = tensors.tensor(value)
        if view is not None:
            yield _checked(name), view


def _walked(root: object) -> Iterator[tuple[str, View]]:
    """The tensors of a module in the order of PyTorch's `state_dict`, under its names.

    A module may stand at several places; the walk ends with an error where they have no end.
    """
    waiting, seen = [("", root, 0)], 0
    while waiting:
        prefix, module, depth = waiting.pop()
        seen += 1
        if seen > _MOST_MODULES or depth > _MOST_DEPTH:
            raise fault("modules inside themselves")
        if module is None:
            continue
        if not isinstance(module, Record):
            raise fault(f"no module at {prefix or 'the top'}")
        for name, value in _own(module):
            view = tensors.tensor(value)
            if view is None:
                raise fault(f"no tensor at {_checked(prefix + name)}")
            yield _checked(prefix + name), view
        inner = [
            (f"{_checked(prefix + _checked(name))}.", child, depth + 1)
            for name, child in _mapping(module, "_modules").items()
        ]
        waiting += reversed(inner)


def _own(module: Record) -> Iterator[tuple[str, object]]:
    """A module's own parameters and buffers; absent ones are None, some buffers are not saved."""
    passing = _part(module, "_non_persistent_buffers_set")
    for name, value in _mapping(module, "_parameters").items():
        if value is not None:
            yield _checked(name), value
    for name, value in _mapping(module, "_buffers").items():
        if value is not None and not (isinstance(passing, set) and name in passing):
            yield _checked(name), value


def _mapping(module: Record, name: str) -> dict[object, object]:
    part = _part(module, name)
    if not isinstance(part, dict):
        raise fault(f"a {_printable(module.kind)} without {name}")
    return part


def _checked(name: object) -> str:
    if not isinstance(name, str) or not 0 < len(name) <= _LONGEST_NAME or not name.isprintable():
        raise fault("a tensor's name that is none")
    return name


def _check_size(views: Mapping[str, View], source: int) -> None:
    """Refuses tensors that repeat few stored elements so often that they would fill the memory."""
    size = sum(prod([*view.size, ITEM_BYTES[view.dtype]]) for view in set(views.values()))
    if size > 8 * source + 2**20:
        raise fault(f"{size} bytes of tensors in a file of {source}")


def _tensors(views: Mapping[str, View], saved: Saved) -> dict[str, Tensor]:
    """The views as tensors that own their elements, one for each distinct view."""
    distinct = set(views.values())
    places = {(view.key, view.dtype) for view in distinct}
    stored = {(key, dtype): _flat(saved.data[key], dtype) for key, dtype in places}
    made = {view: _seen(stored[view.key, view.dtype], view) for view in distinct}
    return {name: made[view] for name, view in views.items()}


def _flat(data: bytes | memoryview, dtype: str) -> Tensor:
    """All elements of a storage."""
    import torch

    whole = len(data) - len(data) % ITEM_BYTES[dtype]
    if not whole:
        return torch.empty(0, dtype=getattr(torch, dtype))
    if dtype == "bool":  # whose bytes may be nothing but 0 and 1
        return torch.frombuffer(bytearray(data), dtype=torch.uint8).ne(0)
    return torch.frombuffer(bytearray(data[:whole]), dtype=getattr(torch, dtype))


def _seen(flat: Tensor, view: View) -> Tensor:
    import torch

    if not all(view.size):
        return flat.new_empty(view.size)
    seen = flat.as_strided(view.size, view.stride, view.offset)
    return seen.clone(memory_format=torch.contiguous_format)


def _check_written(part: Path, target: Path, state: Mapping[str, Tensor]) -> None:
    """Reads the file back as `bench.checkpoint` would."""
    import torch

    found = torch.load(part, map_location="cpu", weights_only=True)["state_dict"]
    same = list(found) == list(state) and all(
        torch.equal(_bytes(found[name]), _bytes(value)) and found[name].dtype == value.dtype
        for name, value in state.items()
    )
    if not same:
        raise BenchError(
            f"cannot write {target}",
            expected="the tensors that were written",
            found="others on reading the file back",
            todo="check the disk",
        )


def _bytes(value: Tensor) -> Tensor:
    """A tensor's bytes, in which NaN equals itself."""
    import torch

    return value.reshape(-1).view(torch.uint8)
