"""Where the parity fixtures lie, and the recipe that fills weights and inputs."""

import importlib.util
import json
from functools import cache
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np
import torch
import yaml
from torch import Tensor


def root() -> Path:
    """The folder of the fixtures."""
    return Path(__file__).parent / "fixtures"


@cache
def recipe() -> ModuleType:
    """The module that the fixtures' weights and inputs come from."""
    spec = importlib.util.spec_from_file_location("recipe", root() / "recipe.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def case(paper: str, variant: str) -> dict[str, Any]:
    """The JSON of one variant."""
    found: dict[str, Any] = json.loads((root() / paper / f"{variant}.json").read_text())
    return found


def arrays(paper: str, name: str) -> dict[str, Tensor]:
    """The arrays of one npz file as float64 tensors."""
    with np.load(root() / paper / f"{name}.npz") as stored:
        return {key: torch.from_numpy(stored[key]).double() for key in stored.files}


def state(description: dict[str, Any]) -> dict[str, Tensor]:
    """The recipe's weights under the published names."""
    return {
        name: torch.from_numpy(recipe().parameter(name, tuple(shape)))
        for name, shape, _, kind in description["items"]
        if kind == "parameter"
    }


def clip(description: dict[str, Any], name: str) -> Tensor:
    """The input of one case, float64, (n, t, 3, h, w)."""
    found = description["cases"][name]
    return torch.from_numpy(recipe().clip(found["seed"], tuple(found["input_shape"]))).double()


def relative_error(found: Tensor, expected: Tensor) -> float:
    """The norm of the difference over the norm of what was expected."""
    return float((found.double() - expected.double()).norm() / expected.double().norm())


def publishers(paper: str) -> dict[str, dict[str, str]]:
    """The paper's name maps."""
    file = Path(__file__).parent.parent / "reproductions" / paper / "names.yaml"
    found: dict[str, dict[str, str]] = yaml.safe_load(file.read_text())["publishers"]
    return found
