"""Where a number came from: commit, code, packages, device, weights."""

from __future__ import annotations

import ast
import functools
import hashlib
import importlib.metadata
import importlib.util
import platform
import subprocess
import sysconfig
from datetime import UTC, datetime
from importlib.machinery import ModuleSpec
from pathlib import Path

import msgspec

_PACKAGES = ("numpy", "pillow", "scikit-image", "scipy", "torch", "triton", "vsr-reproductions")
# The modules that a score depends on, beside the code of the paper.
_SCORING = (
    *("clips", "contract", "degrade", "frames", "metrics", "protocol", "restore", "runtime"),
    *("sample", "score", "tiles"),
)


class Provenance(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """Where a number came from; what is unknown is null.

    `code_sha256` stands for the code that the number depends on (see `code_sha256` of this module).
    """

    measured_at: str
    commit: str | None
    dirty: bool | None
    code_sha256: str | None
    python: str
    packages: dict[str, str]
    platform: str
    device: str
    driver: str | None
    checkpoint_sha256: str | None

    @property
    def key(self) -> str:
        """Eight hexadecimal digits that stand for this provenance inside a record."""
        return hashlib.sha256(msgspec.json.encode(self, order="sorted")).hexdigest()[:8]


def now(
    device: str = "cpu", checkpoint_sha256: str | None = None, module: str | None = None
) -> Provenance:
    """The provenance of what is measured now, in this process, by the code of that module."""
    commit, dirty = _commit()
    return Provenance(
        measured_at=datetime.now(UTC).strftime("%Y-%m-%dT%H:%M:%SZ"),
        commit=commit,
        dirty=dirty,
        code_sha256=code_sha256(module),
        python=platform.python_version(),
        packages={name: v for name in _PACKAGES if (v := package_version(name))},
        platform=f"{platform.system()} {platform.machine()}",
        device=cpu_model() if device == "cpu" else device,
        driver=None,
        checkpoint_sha256=checkpoint_sha256,
    )


@functools.cache
def code_sha256(module: str | None = None) -> str:
    """The SHA-256 of the code that scores depend on: the harness's, the module's, its imports'.

    What is left out (how work is spread, how tables look, other packages, whose versions stand
    beside) moves no number, so that changing it leaves every measured result valid.
    """
    here, digest = Path(__file__).parent, hashlib.sha256()
    files = [here / f"{name}.py" for name in _SCORING]
    for file in (*files, *(_closure(module) if module else ())):
        digest.update(hashlib.sha256(file.read_bytes()).digest())
    return digest.hexdigest()


def _closure(module: str) -> list[Path]:
    """The files of a module and of what it imports from its own top-level package, sorted.

    Of a module in no package, the modules and packages of its own folder count instead.
    """
    top, found, waiting = module.partition(".")[0], dict[str, Path](), [module]
    folder = _own_folder(module)
    while waiting:
        name = waiting.pop()
        first = name.partition(".")[0]
        if name in found or (first != top and (folder is None or not _lies_in(folder, first))):
            continue
        spec = _spec(name)
        if spec is None or spec.origin is None or not spec.origin.endswith(".py"):
            continue
        found[name] = Path(spec.origin)
        for node in ast.walk(ast.parse(found[name].read_bytes())):
            if isinstance(node, ast.Import):
                waiting += [alias.name for alias in node.names]
            elif isinstance(node, ast.ImportFrom):
                base = _absolute(node, spec.parent or "")
                waiting += [base, *(f"{base}.{alias.name}" for alias in node.names)]
    return [found[name] for name in sorted(found)]


def _absolute(node: ast.ImportFrom, package: str) -> str:
    """The module that an import inside that package names."""
    try:
        return importlib.util.resolve_name("." * node.level + (node.module or ""), package)
    except ImportError:  # more dots than packages: importing it fails too
        return ""


def _spec(name: str) -> ModuleSpec | None:
    """Where the module is; None for what is not a module but something inside one."""
    try:
        return importlib.util.find_spec(name)
    except (ImportError, ValueError):
        return None


def _own_folder(module: str) -> Path | None:
    """The folder of a module in no package, unless distributions are installed there."""
    spec = _spec(module) if "." not in module else None
    if spec is None or spec.submodule_search_locations or spec.origin is None:
        return None
    folder = Path(spec.origin).parent
    installed = {Path(path) for path in sysconfig.get_paths().values()}
    return None if folder in installed else folder


def _lies_in(folder: Path, name: str) -> bool:
    """Whether the module or package of that name lies in the folder itself."""
    spec = _spec(name)
    places = (spec.submodule_search_locations or [spec.origin or ""]) if spec else []
    return any(Path(place).parent == folder for place in places)


def package_version(name: str) -> str | None:
    """The version of an installed distribution, found without importing it."""
    try:
        return importlib.metadata.version(name)
    except importlib.metadata.PackageNotFoundError:
        return None


@functools.cache
def cpu_model() -> str:
    """The processor's name, as far as the system tells."""
    try:
        lines = Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines()
    except OSError:
        lines = []
    named = (line.partition(":")[2].strip() for line in lines if line.startswith("model name"))
    return next(named, platform.processor() or platform.machine())


@functools.cache
def _commit() -> tuple[str | None, bool | None]:
    """Commit of the checkout that this package runs from, and whether its code was changed."""
    root = Path(__file__).parent.parent
    if not (root / ".git").exists():
        return None, None

    def git(*words: str) -> str:
        command = ["git", "-C", str(root), *words]
        return subprocess.run(command, capture_output=True, text=True, check=True).stdout.strip()  # noqa: S603

    try:
        changed = git("status", "--porcelain", "--", "bench", "reproductions", "datasets.yaml")
        return git("rev-parse", "HEAD"), bool(changed)
    except (OSError, subprocess.CalledProcessError):
        return None, None
