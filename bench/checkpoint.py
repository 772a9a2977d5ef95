"""Weight file -> state dict -> network, strictly.

Files are read with `weights_only=True`, always: nothing in them is executed. What a publisher wraps
around a state dict, puts before its names or calls its tensors differently is written in paper.yaml
(`wrapper`, `prefix`, `names`) and in the names.yaml beside it.
"""

from __future__ import annotations

import hashlib
import importlib
import importlib.resources
from collections.abc import Collection, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

import msgspec

from bench import catalog, paper, storage
from bench.errors import BenchError
from bench.paper import Checkpoint, Paper

if TYPE_CHECKING:
    from torch import Tensor, nn

Shapes = dict[str, tuple[int, ...]]


class _Names(msgspec.Struct, forbid_unknown_fields=True):
    """names.yaml: publisher -> the beginning of a published name -> the beginning of ours."""

    publishers: dict[str, dict[str, str]]


def find(chosen: Paper, name: str) -> Path:
    """The file of the checkpoint in the cache folder.

    Raises BenchError that says where it is to be had and where to put it.
    """
    checkpoint = chosen.checkpoint(name)
    path = catalog.cache_folder() / "checkpoints" / chosen.name / (checkpoint.file or name)
    if not path.is_file():
        raise BenchError(
            f"checkpoint {checkpoint.file} is not on this machine",
            expected=str(path),
            todo="put it there from " + ", ".join(checkpoint.sources),
        )
    return path


def read(path: Path, checkpoint: Checkpoint) -> dict[str, Tensor]:
    """The state dict in a published file: wrapper and prefix removed, names as published.

    Raises BenchError where the file's SHA-256 is not the known one, where it needs more than
    tensors to be read, or where it has another layout.
    """
    import pickle

    import torch

    check_hash(path, checkpoint)
    try:
        content = torch.load(path, map_location="cpu", weights_only=True)
    except pickle.UnpicklingError as error:
        with path.open("rb") as file:
            if file.read(64).lstrip().startswith(b"<"):
                raise BenchError(
                    f"{path} is a web page",
                    expected="a PyTorch weight file",
                    todo="open the address in a browser and save the file that it offers",
                ) from error
        raise BenchError(
            f"{path} is more than a state dict",
            expected="tensors in plain containers",
            found=str(error).partition("\n")[0],
            todo="convert it to a plain state dict without running its code",
        ) from error
    except (OSError, RuntimeError, EOFError, ValueError) as error:
        raise BenchError(
            f"cannot read {path}",
            expected="a PyTorch weight file",
            found=str(error).partition("\n")[0],
            todo="fetch it again",
        ) from error
    if checkpoint.wrapper and isinstance(content, Mapping) and checkpoint.wrapper in content:
        content = content[checkpoint.wrapper]
    if not isinstance(content, Mapping) or not any(map(torch.is_tensor, content.values())):
        keys = list(content)[:4] if isinstance(content, Mapping) else type(content).__name__
        raise BenchError(
            f"{path} holds no state dict",
            expected=f"tensors under {checkpoint.wrapper!r}" if checkpoint.wrapper else "tensors",
            found=str(keys),
            todo="use the published file",
        )
    # BasicVSR's family stores how often it was trained, which is no part of the network.
    tensors = {
        name: value
        for name, value in content.items()
        if torch.is_tensor(value) and name.rpartition(".")[2] != "step_counter"
    }
    return {_bare(name, checkpoint.prefix): value for name, value in tensors.items()}


def network(chosen: Paper, name: str, state: Mapping[str, Tensor] | None = None) -> nn.Module:
    """The network of a checkpoint, in eval mode, on the CPU.

    `state` maps the published names (wrapper and prefix removed) to tensors and must fit exactly;
    without it the network keeps the random weights it was built with. Raises BenchError that lists
    what does not fit and names the checkpoint that the state does look like, if any.
    """
    checkpoint = chosen.checkpoint(name)
    built = build(chosen, checkpoint)
    if state is not None:
        wanted, constants = _shapes(built), dict(built.named_buffers())
        best: tuple[int, list[str]] | None = None
        for table in name_tables(chosen, checkpoint):
            renamed = rename(state, table)
            found = {key: tuple(v.shape) for key, v in renamed.items()}
            faults = _faults(found, wanted, constants)
            if not faults:
                _check_constants(chosen, name, renamed, constants)
                dtype = next(iter(renamed.values())).dtype
                built.to(dtype).load_state_dict({**constants, **renamed}, strict=True)
                return built.eval()
            if best is None or len(faults) < best[0]:
                best = (len(faults), faults)
        raise _misfit(chosen, name, state, best[1] if best else [])
    return built.eval()


def build(chosen: Paper, checkpoint: Checkpoint) -> nn.Module:
    """The network of a checkpoint with random weights."""
    if checkpoint.network is None:
        raise BenchError(
            f"{checkpoint.title} is no network",
            expected="a checkpoint of " + chosen.name + " that has one",
            todo=f"see bench list; {checkpoint.state}",
        )
    module, _, attribute = checkpoint.network.partition(":")
    factory = getattr(importlib.import_module(module), attribute)
    built: nn.Module = factory(**checkpoint.arguments)
    return built


def rename(state: Mapping[str, Any], table: Mapping[str, str]) -> dict[str, Any]:
    """The state under our names: the longest dotted beginning of a name in the table decides.

    A name without an entry stays as it is; strict loading then says what does not fit. So does it
    where two published names become one, of which the later is marked.
    """
    renamed = {}
    for name, value in state.items():
        parts = name.split(".")
        for length in range(len(parts), 0, -1):
            ours = table.get(".".join(parts[:length]))
            if ours is not None:
                name = ".".join([ours, *parts[length:]])  # noqa: PLW2901
                break
        renamed[f"{name} (twice)" if name in renamed else name] = value
    return renamed


def name_tables(chosen: Paper, checkpoint: Checkpoint) -> list[dict[str, str]]:
    """The name maps that a file of this checkpoint may need, the empty one for our own names."""
    if not any(checkpoint.names):
        return [{}]
    file = Path(str(importlib.resources.files(chosen.package))) / "names.yaml"
    publishers = storage.read_yaml(file, _Names).publishers
    return [publishers[publisher] if publisher else {} for publisher in checkpoint.names]


def _bare(name: str, prefix: str) -> str:
    return name.removeprefix("module.").removeprefix(prefix)


def sha256(path: Path) -> str:
    """The SHA-256 of a file."""
    try:
        with path.open("rb") as file:
            return hashlib.file_digest(file, "sha256").hexdigest()
    except OSError as error:
        raise BenchError(
            f"cannot read {path}", found=error.strerror or str(error), todo="check the path"
        ) from error


def check_hash(path: Path, checkpoint: Checkpoint) -> None:
    """Raises BenchError where the file's SHA-256 is not the known one."""
    found = sha256(path)
    if checkpoint.sha256 and not found.startswith(checkpoint.sha256):
        raise BenchError(
            f"{path} is not the published file",
            expected=f"SHA-256 {checkpoint.sha256}",
            found=found,
            todo="fetch it again from " + ", ".join(checkpoint.sources),
        )


def _shapes(built: nn.Module) -> Shapes:
    return {key: tuple(value.shape) for key, value in built.state_dict().items()}


def _check_constants(
    chosen: Paper, name: str, state: Mapping[str, Tensor], constants: Mapping[str, Tensor]
) -> None:
    """Constant buffers (masks, tables of indices, colour statistics) are compared, not trusted."""
    import torch

    for key, ours in constants.items():
        found = state.get(key)
        if found is not None and not torch.allclose(found.double(), ours.double(), rtol=1e-5):
            raise BenchError(
                f"the weights of {chosen.name} {name} hold another {key}",
                expected="the constant that the network is built with",
                found="other values",
                todo="use the published file",
            )


def _faults(found: Shapes, wanted: Shapes, constants: Collection[str]) -> list[str]:
    """What keeps a state from fitting, one word a tensor: missing, unexpected, mis-shaped.

    Constants may be absent: ours are as good.
    """
    missing = [f"missing {key}" for key in wanted if key not in found and key not in constants]
    unexpected = [f"unexpected {name}" for name in found if name not in wanted]
    shaped = [
        f"{name} is {list(found[name])}, not {list(wanted[name])}"
        for name in wanted
        if name in found and found[name] != wanted[name]
    ]
    return missing + unexpected + shaped


def _misfit(chosen: Paper, name: str, state: Mapping[str, Tensor], faults: list[str]) -> BenchError:
    groups = {
        "missing": [f for f in faults if f.startswith("missing ")],
        "unexpected": [f for f in faults if f.startswith("unexpected ")],
    }
    groups["mis-shaped"] = [f for f in faults if f not in groups["missing"] + groups["unexpected"]]
    told = [
        f"{len(found)} {kind} ("
        + ", ".join(fault.removeprefix(f"{kind} ") for fault in found[:3])
        + (", ...)" if len(found) > 3 else ")")
        for kind, found in groups.items()
        if found
    ]
    like = _look_alikes(state)
    return BenchError(
        f"the weights do not fit {chosen.name} {name}",
        expected=f"exactly the tensors of {chosen.checkpoint(name).title}",
        found="; ".join(told),
        todo=f"they look like {' or '.join(like)}" if like else "they fit no known checkpoint",
    )


def _look_alikes(state: Mapping[str, Tensor]) -> list[str]:
    """The checkpoints of all papers that the state does fit."""
    import torch

    shapes = {key: tuple(value.shape) for key, value in state.items()}
    found = []
    for other in map(paper.load, paper.names()):
        for name, checkpoint in other.checkpoints.items():
            if checkpoint.network is None:
                continue
            with torch.device("meta"):
                built = build(other, checkpoint)
            wanted, constants = _shapes(built), dict(built.named_buffers())
            tables = name_tables(other, checkpoint)
            if any(not _faults(rename(shapes, table), wanted, constants) for table in tables):
                found.append(f"{other.name} {name}")
    return found
