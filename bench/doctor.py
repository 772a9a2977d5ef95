"""What this machine can and cannot run, line by line."""

from __future__ import annotations

import os
import platform
import shutil
from collections.abc import Iterator
from pathlib import Path

from bench import catalog, locate, paper, provenance
from bench.errors import BenchError

_PACKAGES = ("vsr-reproductions", "numpy", "scipy", "pillow", "scikit-image", "pandas", "torch")


def examine(data_root: Path, results: Path) -> Iterator[str]:
    """One line per fact: interpreter, packages, devices, folders, data sets, papers."""
    yield f"python      {platform.python_version()} on {platform.system()} {platform.machine()}"
    yield f"processor   {provenance.cpu_model()}, {os.cpu_count()} threads"
    for name in _PACKAGES:
        version = provenance.package_version(name) or f"missing: pip install {name}"
        yield f"package     {name} {version}"
    yield f"device      {_devices()}"
    yield f"results     {results.resolve()}: {_writable(results)}"
    yield f"data root   {data_root}: {_room(data_root)}"
    for dataset in catalog.load().values():
        try:
            found = locate.find(dataset, data_root)
            where = f"in {found.root}" if dataset.layouts else "built in"
            lr = [f"{d} {'read' if d in found.lr else 'made'}" for d in dataset.degradations]
            yield f"data set    {dataset.name}: {where}; LR {', '.join(lr)}"
        except BenchError as error:
            yield f"data set    {dataset.name}: missing: {error.wrong}"
    for name in paper.names():
        try:
            loaded = paper.load(name)
        except BenchError as error:
            yield f"paper       {error}"
            continue
        for checkpoint, described in loaded.checkpoints.items():
            yield f"checkpoint  {name}/{checkpoint}: {described.state}"


def _devices() -> str:
    try:
        import torch
    except ImportError as error:
        return f"torch cannot be imported ({error}): networks cannot run"
    if not torch.cuda.is_available():
        return (
            f"CPU only, {torch.get_num_threads()} threads (torch {torch.__version__} sees no CUDA)"
        )
    names = [torch.cuda.get_device_name(i) for i in range(torch.cuda.device_count())]
    return f"CUDA {torch.version.cuda}: " + ", ".join(names)


def _writable(folder: Path) -> str:
    nearest = next(p for p in (folder.resolve(), *folder.resolve().parents) if p.exists())
    return "can be written" if os.access(nearest, os.W_OK) else "cannot be written"


def _room(folder: Path) -> str:
    if not folder.is_dir():
        return "does not exist; name one with --data-root or BENCH_DATA"
    return f"{shutil.disk_usage(folder).free / 2**30:.0f} GiB free"
