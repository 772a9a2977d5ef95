"""What a weight file is: whose it is by its digests, what it fits by names and shapes.

Nothing in the file is executed.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

from bench import checkpoint
from bench.errors import BenchError
from bench.fetching import digests, pins
from bench.fetching.digests import Digests, Expected
from bench.paper import Checkpoint, Paper

if TYPE_CHECKING:
    from torch import Tensor


class Fit(NamedTuple):
    """How well a file fits a checkpoint: what does not fit, one word a tensor."""

    paper: str
    checkpoint: str
    title: str
    parameters: int | None
    faults: list[str]

    @property
    def name(self) -> str:
        """What commands call it."""
        return f"{self.paper}/{self.checkpoint}"


class Inspected(NamedTuple):
    """What is in a weight file.

    `published` are the checkpoints whose known digests the file has; `wrapper` is the key that its
    tensors lie under, `prefix` what stands before all names; `values` is the number of numbers in
    its tensors, constants included; `fits` is sorted, the nearest checkpoint first.
    """

    path: Path
    digests: Digests
    published: list[str]
    whole_module: bool
    wrapper: str | None
    prefix: str
    tensors: int
    values: int
    dtypes: list[str]
    fits: list[Fit]


def inspect(path: Path) -> Inspected:
    """What is in the weight file, and which checkpoints of the installed papers it fits.

    Raises BenchError where it holds no tensors.
    """
    content, whole_module = _content(path)  # first: what is no weight file need not be hashed
    wrapper, state = _state(path, content)
    found = digests.of(path, git_blob=True)
    return Inspected(
        path,
        found,
        [name_of(*one) for one in published(found)],
        whole_module,
        wrapper,
        _prefix(state),
        len(state),
        sum(tensor.numel() for tensor in state.values()),
        sorted({str(tensor.dtype).removeprefix("torch.") for tensor in state.values()}),
        sorted(_fits(path, content), key=lambda fit: len(fit.faults)),
    )


def name_of(chosen: Paper, name: str) -> str:
    """What commands call a checkpoint: paper/checkpoint."""
    return f"{chosen.name}/{name}"


def published(found: Digests) -> list[tuple[Paper, str]]:
    """The checkpoints whose published or pinned digests a file has; its git blob is in `found`."""
    known = pins.read()
    return [
        (chosen, name)
        for chosen, name in checkpoint.networks()
        if _has_digests(found, _known(chosen, name, known))
    ]


def _known(chosen: Paper, name: str, pinned: Mapping[str, pins.Pin]) -> Expected:
    described = chosen.checkpoint(name)
    pin = pinned.get(f"{chosen.name}/{described.file}")
    return Expected(described.sha256 or (pin.sha256 if pin else None), described.git_blob)


def _has_digests(found: Digests, known: Expected) -> bool:
    return bool(
        (known.sha256 and found.sha256.startswith(known.sha256))
        or (known.git_blob and found.git_blob == known.git_blob)
    )


def fitting(path: Path) -> list[tuple[Paper, str]]:
    """The checkpoints that a file fits by the names and shapes of its tensors."""
    content, _ = _content(path)
    perfect = {(fit.paper, fit.checkpoint) for fit in _fits(path, content) if not fit.faults}
    return [one for one in checkpoint.networks() if (one[0].name, one[1]) in perfect]


def check_fit(path: Path, chosen: Paper, name: str) -> None:
    """Raises BenchError where the tensors of a file are not those of the checkpoint's network."""
    described, (content, _) = chosen.checkpoint(name), _content(path)
    state = checkpoint.unwrap(path, content, described)
    if faults := checkpoint.misfit(chosen, described, checkpoint.shapes(state)):
        raise BenchError(
            f"{path} does not fit {name_of(chosen, name)}",
            expected=f"exactly the tensors of {described.title}",
            found="; ".join(faults[:3]) + (f"; {len(faults) - 3} more" if len(faults) > 3 else ""),
            todo=f"see bench inspect {path}",
        )


def _content(path: Path) -> tuple[object, bool]:
    """What the file holds, and whether it is a pickled network, read without running its code."""
    digests.check_regular(path)
    try:
        return checkpoint.load(path), False
    except checkpoint.PickledError:
        from bench.weights import convert

        return {"state_dict": convert.read_module(path)}, True


def _fits(path: Path, content: object) -> Iterator[Fit]:
    for chosen, name in checkpoint.networks():
        described = chosen.checkpoint(name)
        try:
            state = checkpoint.unwrap(path, content, described)
        except BenchError:  # tensors under a wrapper of another publisher
            continue
        faults = checkpoint.misfit(chosen, described, checkpoint.shapes(state))
        yield Fit(chosen.name, name, described.title, described.parameters, faults)


def _state(path: Path, content: object) -> tuple[str | None, dict[str, Tensor]]:
    """The tensors of a file and the key that they lie under: the largest such collection."""
    import torch

    def tensors(of: object) -> dict[str, Tensor]:
        pairs = of.items() if isinstance(of, Mapping) else ()
        return {str(key): value for key, value in pairs if torch.is_tensor(value)}

    inner = content.items() if isinstance(content, Mapping) else ()
    layers = [(None, tensors(content)), *((str(key), tensors(value)) for key, value in inner)]
    wrapper, state = max(layers, key=lambda layer: len(layer[1]))
    if not state:
        raise BenchError(
            f"{path} holds no state dict",
            expected="tensors, also one level down",
            found=type(content).__name__,
            todo="give the published weight file",
        )
    return wrapper, state


def _prefix(state: Mapping[str, Tensor]) -> str:
    """The first part of the names where all share it.

    >>> _prefix(dict.fromkeys(["generator.a.weight", "generator.b.bias"]))
    'generator.'
    """
    first = {name.partition(".")[0] for name in state if name.rpartition(".")[2] != "step_counter"}
    return f"{first.pop()}." if len(first) == 1 and len(state) > 1 else ""


def settle_on(path: Path, candidates: Sequence[tuple[Paper, str]]) -> tuple[Paper, str]:
    """The one checkpoint among those that a file fits by shape which it can be.

    Those whose known digests are others drop out. Raises BenchError where none or several are
    left.
    """
    found, pinned = digests.of(path, git_blob=True), pins.read()
    names = [name_of(*one) for one in candidates]
    if not candidates:
        raise BenchError(
            f"{path} fits no known checkpoint",
            expected="the weight file of a checkpoint that bench list names",
            todo=f"see bench inspect {path}",
        )
    left = [one for one in candidates if _may_be(found, _known(*one, pinned))]
    if len(left) == 1:
        return left[0]
    if not left:
        wanted = ", ".join(_told(chosen.checkpoint(name)) for chosen, name in candidates)
        raise BenchError(
            f"{path} fits {' or '.join(names)} but is not the published file",
            expected=wanted,
            found=f"SHA-256 {found.sha256}, git blob {found.git_blob}",
            todo=f"run bench fetch {names[0]}",
        )
    names = [name_of(*one) for one in left]
    same = [name_of(c, n) for c, n in left if c.checkpoint(n).file == path.name]
    raise BenchError(
        f"{path} fits several checkpoints, whose tensors have the same names and shapes",
        expected="--as with one of " + ", ".join(names),
        todo=f"say which it is, such as --as {(same or names)[0]}"
        + (", whose published file has this name" if same else ""),
    )


def _may_be(found: Digests, known: Expected) -> bool:
    return not (known.sha256 or known.git_blob) or _has_digests(found, known)


def _told(described: Checkpoint) -> str:
    return f"SHA-256 {described.sha256}" if described.sha256 else f"git blob {described.git_blob}"
