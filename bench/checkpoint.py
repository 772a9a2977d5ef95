"""Weight file -> state dict -> network, strictly.

Files are read with `weights_only=True`, always: nothing in them is executed. What a publisher wraps
around a state dict, puts before its names or calls its tensors differently is written in paper.yaml
(`wrapper`, `prefix`, `names`) and in the names.yaml beside it. Of a pickled network
(`whole_module`) the state dict is read that `bench.weights.convert` wrote beside it.
"""

from __future__ import annotations

import importlib
import importlib.resources
import struct
import warnings
from collections.abc import Collection, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

import msgspec

from bench import paper, storage
from bench.errors import BenchError
from bench.fetching import digests, pins
from bench.fetching.digests import Digests
from bench.paper import Checkpoint, Paper
from bench.weights import torchfile

if TYPE_CHECKING:
    from torch import Tensor, nn

Shapes = dict[str, tuple[int, ...]]
_CONVERTED = ".state.pth"
# What torch's reader of harmless pickles raises at bytes that are none.
_UNREADABLE = (
    *(OSError, RuntimeError, EOFError, ValueError, LookupError),
    *(TypeError, AttributeError, AssertionError, OverflowError, MemoryError, struct.error),
)


class _Names(msgspec.Struct, forbid_unknown_fields=True):
    """names.yaml: publisher -> the beginning of a published name -> the beginning of ours."""

    publishers: dict[str, dict[str, str]]


class PickledError(BenchError):
    """A weight file that needs more than tensors in plain containers to be read."""


def place_of(chosen: Paper, name: str) -> Path:
    """Where the published file of the checkpoint belongs in the cache folder."""
    return pins.folder() / chosen.name / (chosen.checkpoint(name).file or name)


def find(chosen: Paper, name: str) -> Path:
    """The file of the checkpoint in the cache folder; what was converted from it will do.

    Raises BenchError that says how and where it is to be had.
    """
    checkpoint, path = chosen.checkpoint(name), place_of(chosen, name)
    if path.is_file():
        return path
    if checkpoint.whole_module and converted(path).is_file():
        return converted(path)
    places = ", ".join([*checkpoint.sources, *checkpoint.by_hand])
    command = f"bench fetch {chosen.name}/{name}"
    raise BenchError(
        f"checkpoint {checkpoint.file} is not on this machine",
        expected=str(path),
        todo=f"run {command}, or get it from {places} and run bench add FILE",
    )


def state(chosen: Paper, name: str) -> str:
    """What it takes to run the checkpoint on this machine, in a few words."""
    if not chosen.checkpoint(name).network:
        return chosen.checkpoint(name).state
    try:
        return f"here: {find(chosen, name)}"
    except BenchError:
        return f"missing: bench fetch {chosen.name}/{name}"


def converted(path: Path) -> Path:
    """Where the state dict lies that was made of a pickled network."""
    return path.with_name(f"{path.stem}{_CONVERTED}")


def check(path: Path, checkpoint: Checkpoint) -> None:
    """Raises BenchError where the bytes of the file that `find` gives are not the published ones.

    Of a converted file that is told when it is read.
    """
    if not path.name.endswith(_CONVERTED):
        found = digests.remembered(path, git_blob=bool(checkpoint.git_blob))
        pins.check(path, checkpoint, found)


def read(path: Path, checkpoint: Checkpoint) -> dict[str, Tensor]:
    """The state dict in a published file: wrapper and prefix removed, names as published.

    Raises BenchError where the file's SHA-256 is not the known one, where it needs more than
    tensors to be read, or where it has another layout.
    """
    return weights(path, checkpoint).state


class Weights(NamedTuple):
    """A state dict, and whether its file says that it is `untrained`: a stand-in for a real one."""

    state: dict[str, Tensor]
    untrained: bool


def weights(path: Path, checkpoint: Checkpoint) -> Weights:
    """What `read` gives, and whether the file bears the entry `untrained` beside its tensors."""
    if path.name.endswith(_CONVERTED):
        content = load(path)
        pins.check(path, checkpoint, _origin(path, content))
    else:
        check(path, checkpoint)
        whole = checkpoint.whole_module
        content = _converted_content(path, sha256(path)) if whole else load(path)
    untrained = isinstance(content, Mapping) and content.get("untrained") is True
    return Weights(unwrap(path, content, checkpoint), untrained)


def load(path: Path) -> Any:  # noqa: ANN401 - whatever the publisher put into the file
    """The content of a weight file, with nothing in it executed.

    Raises BenchError where it is no weight file, or needs more than tensors to be read.
    """
    import pickle

    import torch

    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", UserWarning)  # of TorchScript, which is refused below
            return torch.load(path, map_location="cpu", weights_only=True)
    except pickle.UnpicklingError as error:
        with path.open("rb") as file:
            if file.read(64).lstrip().startswith(b"<"):
                raise BenchError(
                    f"{path} is a web page",
                    expected="a PyTorch weight file",
                    todo="open the address in a browser and save the file that it offers",
                ) from error
        raise PickledError(
            f"{path} is more than a state dict",
            expected="tensors in plain containers",
            found=str(error).partition("\n")[0],
            todo=f"convert it to a plain state dict without running its code: bench convert {path}",
        ) from error
    except _UNREADABLE as error:
        if "TorchScript" in str(error):
            raise BenchError(
                f"{path} is a TorchScript archive, which holds code",
                expected="a PyTorch weight file",
                todo="use the published weights",
            ) from error
        raise BenchError(
            f"cannot read {path}",
            expected="a PyTorch weight file",
            found=_told(path, error),
            todo="fetch it again",
        ) from error


def _told(path: Path, error: Exception) -> str:
    """What is wrong with a file that torch did not read; what torch says may be a bare number."""
    if isinstance(error, OSError):
        return error.strerror or str(error)
    with path.open("rb") as file:
        likeness = torchfile.likeness(file.read(512))
    return likeness or str(error).partition("\n")[0].partition(". ")[0]


def unwrap(path: Path, content: object, checkpoint: Checkpoint) -> dict[str, Tensor]:
    """The state dict of the checkpoint in the content of a file: wrapper and prefix removed.

    Raises BenchError where there is none.
    """
    import torch

    wrapper = "state_dict" if checkpoint.whole_module else checkpoint.wrapper
    if wrapper and isinstance(content, Mapping) and wrapper in content:
        content = content[wrapper]
    if not isinstance(content, Mapping) or not any(map(torch.is_tensor, content.values())):
        keys = list(content)[:4] if isinstance(content, Mapping) else type(content).__name__
        raise BenchError(
            f"{path} holds no state dict",
            expected=f"tensors under {wrapper!r}" if wrapper else "tensors",
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


def _converted_content(path: Path, sha256: str) -> object:
    """What was made of the pickled network at `path`, if it was made of just this file."""
    made = converted(path)
    if not made.is_file():
        raise BenchError(
            f"{path} is a pickled network",
            expected=f"its state dict in {made.name}",
            todo=f"convert it without running its code: bench convert {path}",
        )
    content = load(made)
    if _origin(made, content).sha256 != sha256:
        raise BenchError(
            f"{made} was made of another file",
            expected=f"SHA-256 {sha256} of {path.name}",
            found=_origin(made, content).sha256,
            todo=f"remove it and run bench convert {path}",
        )
    return content


def _origin(path: Path, content: object) -> Digests:
    """The digests of the published file that a converted one was made of."""
    origin = content.get("converted") if isinstance(content, Mapping) else None
    if not isinstance(origin, Mapping) or not {"sha256", "git_blob"} <= set(origin):
        raise BenchError(
            f"{path} does not say what it was made of",
            expected="a file that bench convert wrote",
            todo="remove it and convert the published file",
        )
    return Digests(0, str(origin["sha256"]), str(origin["git_blob"]))


def network(chosen: Paper, name: str, state: Mapping[str, Tensor] | None = None) -> nn.Module:
    """The network of a checkpoint, in eval mode, on the CPU.

    `state` maps the published names (wrapper and prefix removed) to tensors and must fit exactly;
    without it the network keeps the random weights it was built with. Raises BenchError that lists
    what does not fit and names the checkpoint that the state does look like, if any.
    """
    checkpoint = chosen.checkpoint(name)
    built = build(chosen, checkpoint)
    if state is not None:
        wanted, constants = (
            shapes(built.state_dict()),
            dict(built.named_buffers(remove_duplicate=False)),
        )
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
    """The SHA-256 of a published file, also where only what was converted from it is here."""
    if path.name.endswith(_CONVERTED):
        return _origin(path, load(path)).sha256
    return digests.remembered(path).sha256


def shapes(state: Mapping[str, Tensor]) -> Shapes:
    """The shape of each tensor of a state."""
    return {key: tuple(value.shape) for key, value in state.items()}


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
    like = [f"{other} {name}" for other, name in look_alikes(shapes(state))]
    return BenchError(
        f"the weights do not fit {chosen.name} {name}",
        expected=f"exactly the tensors of {chosen.checkpoint(name).title}",
        found="; ".join(told),
        todo=f"they look like {' or '.join(like)}" if like else "they fit no known checkpoint",
    )


def look_alikes(found: Shapes) -> list[tuple[str, str]]:
    """The checkpoints of all papers, as (paper, checkpoint), that the shapes do fit."""
    return [
        (other.name, name)
        for other, name in networks()
        if not misfit(other, other.checkpoint(name), found)
    ]


def networks() -> list[tuple[Paper, str]]:
    """Every installed paper's checkpoints that have a network."""
    return [
        (other, name)
        for other in map(paper.load, paper.names())
        for name, checkpoint in other.checkpoints.items()
        if checkpoint.network
    ]


def misfit(chosen: Paper, checkpoint: Checkpoint, found: Shapes) -> list[str]:
    """What keeps tensors of these shapes from fitting the checkpoint, under its best name table."""
    import torch

    with torch.device("meta"):
        built = build(chosen, checkpoint)
    wanted, constants = (
        shapes(built.state_dict()),
        dict(built.named_buffers(remove_duplicate=False)),
    )
    tables = name_tables(chosen, checkpoint)
    return min((_faults(rename(found, t), wanted, constants) for t in tables), key=len)
