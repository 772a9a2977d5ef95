"""The papers: each a package of data (paper.yaml) and code. Others may register their own."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING

from bench.paper import load, names

if TYPE_CHECKING:
    from torch import Tensor, nn

__all__ = ["load", "names", "network"]


def network(paper: str, checkpoint: str, state: Mapping[str, Tensor] | None = None) -> nn.Module:
    """The network of a paper's checkpoint, in eval mode.

    `state` maps the published names (the file's wrapper and prefix removed) to tensors and is
    loaded strictly; without it the weights are random. Networks take float LR frames (n, t, 3, h,
    w), RGB in [0, 1]; see the network's class for what they give. Raises BenchError where the state
    does not fit.
    """
    from bench import checkpoint as checkpoints

    return checkpoints.network(load(paper), checkpoint, state)
