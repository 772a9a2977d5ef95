"""Stage by stage: what a network computes inside, against stored intermediates."""

from collections.abc import Callable, Iterable
from typing import Any

import parity
import pytest
import torch
from torch import Tensor, nn


def outputs(
    network: nn.Module, modules: Iterable[str], call: Callable[[], object]
) -> dict[str, Tensor]:
    """What the named modules give while `call` runs, all calls of one as a batch.

    Copies: activations are written over what the convolutions gave.
    """
    found: dict[str, list[Tensor]] = {name: [] for name in modules}

    def keep(name: str) -> torch.utils.hooks.RemovableHandle:
        def hook(_module: nn.Module, _inputs: tuple[Tensor, ...], output: Tensor) -> None:
            found[name].append(output.detach().clone())

        return network.get_submodule(name).register_forward_hook(hook)

    handles = [keep(name) for name in found]
    try:
        call()
    finally:
        for handle in handles:
            handle.remove()
    return {name: torch.cat(calls) for name, calls in found.items() if calls}


def first_departure(
    description: dict[str, Any], stored: dict[str, Tensor], stage: Callable[[str], Tensor]
) -> str | None:
    """The first stored stage that ours departs from and by how much, or None.

    stage: the name of an official module -> what ours gives in its place. The official networks
    call their modules once per frame where some of ours take all frames at once: their
    call k is entry k of our batch. Besides the stored crop, statistics of the whole are compared.
    """
    for key, statistics in description["intermediates"]["stats"].items():
        name, call = key.rsplit("#", 1)
        calls = stage(name)
        count = statistics["shape"][0]
        found = calls[int(call) * count : (int(call) + 1) * count]
        if list(found.shape) != statistics["shape"]:
            return f"{key}: shape {list(found.shape)} for {statistics['shape']}"
        error = parity.relative_error(found[0:1, 0:4, 0:6, 0:8], stored[key])
        if not error < 1e-6:
            return f"{key}: relative error {error:.1e} in the crop"
        whole = {
            "mean": found.mean(),
            "std": found.std(correction=0),
            "min": found.min(),
            "max": found.max(),
            "norm": found.norm(),
        }
        for statistic, value in whole.items():
            expected = pytest.approx(statistics[statistic], rel=1e-4, abs=1e-9)
            if value.item() != expected:
                return f"{key}: {statistic} {value.item()} for {statistics[statistic]}"
    return None
