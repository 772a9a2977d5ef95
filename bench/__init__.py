"""The harness: scores frames under written-down protocols and keeps the results.

Submodules are imported on first use, so that `import bench` costs nothing: `bench.metrics.psnr`
works after a plain `import bench`.
"""

from __future__ import annotations

import importlib
import pkgutil
from types import ModuleType


def __getattr__(name: str) -> ModuleType:
    if not name.startswith("_") and name in __dir__():
        return importlib.import_module(f"{__name__}.{name}")
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")


def __dir__() -> list[str]:
    modules = {module.name for module in pkgutil.iter_modules(__path__)} - {"__main__"}
    return sorted(modules | set(globals()))
