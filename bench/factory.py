"""What a user calls a method -> the function that makes it, imported from wherever it lies."""

from __future__ import annotations

import importlib
import importlib.metadata
import importlib.util
import operator
import re
import sys
import traceback
from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple

from bench.errors import BenchError, choices

GROUP = "bench.methods"


class Named(NamedTuple):
    """A factory as `module:function`, and the folder that its module is looked for in first.

    `folder` is empty where the search path suffices; `slug` stands for the factory as a file name.
    """

    factory: str
    folder: str
    slug: str


def find(text: str, here: Path) -> Named:
    """The factory that a user named.

    `text` is `package.module:function`, also of a module in the folder `here`, or
    `path/to/file.py:function`, or a name in the entry-point group `bench.methods`.
    """
    place, colon, function = text.rpartition(":")
    if not colon:
        value = _registered(text)
        return Named(value, "", _slug(value))
    if not place.endswith(".py"):
        return Named(text, str(here), _slug(text))
    file = (here / place).resolve()
    if not file.is_file():
        raise BenchError(
            f"there is no file {place}", found=f"nothing at {file}", todo="mend --method"
        )
    _check_importable(file)
    parts = file.relative_to(here).parts if file.is_relative_to(here) else file.parts[-2:]
    module = ".".join(parts).removesuffix(".py")
    return Named(f"{file.stem}:{function}", str(file.parent), _slug(f"{module}:{function}"))


def _registered(name: str) -> str:
    known = {entry.name: entry.value for entry in importlib.metadata.entry_points(group=GROUP)}
    if name not in known:
        raise BenchError(
            "unknown method",
            expected="package.module:function, path/to/file.py:function"
            + (f" or {choices(known)}" if known else ""),
            found=repr(name),
            todo="name the function that makes the method after a colon",
        )
    return known[name].partition("[")[0].strip()  # `module:function [extra]`


def _slug(factory: str) -> str:
    return re.sub(r"[^A-Za-z0-9._-]+", "_", factory.replace(":", "-")).lstrip("._-")


def search(folder: str) -> None:
    """Lets modules be found in a folder before all other places, as `python -m` does."""
    if folder and folder not in sys.path:
        sys.path.insert(0, folder)
        importlib.invalidate_caches()  # a file may be younger than the last look into its folder


def _check_importable(file: Path) -> None:
    """Raises BenchError where the name of the file means another module."""
    search(str(file.parent))
    try:
        spec = importlib.util.find_spec(file.stem) if file.stem.isidentifier() else None
    except ValueError:  # `__main__` has none
        spec = None
    found = spec.origin if spec else None
    if found is None or Path(found).resolve() != file:
        raise BenchError(
            f"{file.name} cannot be imported by its name",
            expected="a name that no other module has",
            found=found or repr(file.stem),
            todo="rename the file",
        )


def load(factory: str, folder: str = "") -> Callable[[], Any]:
    """The factory itself.

    Raises BenchError where it cannot be imported, whatever its module does, or cannot be called.
    """
    search(folder)
    module, _, function = factory.partition(":")
    try:
        found: Any = operator.attrgetter(function)(importlib.import_module(module))
    except (Exception, SystemExit) as error:
        raise BenchError(
            f"cannot import {factory}",
            expected="package.module:function",
            found=told(error),
            todo="check both names and what the module needs",
        ) from error
    if not callable(found):
        raise BenchError(
            f"{factory} is no factory",
            expected="a function or a class without arguments",
            found=type(found).__name__,
            todo="name what makes the method",
        )
    return found  # type: ignore[no-any-return]


def made(factory: str, folder: str = "") -> Callable[..., Any]:
    """What the factory gives: a method, which can be called."""
    make = load(factory, folder)
    try:
        method: Callable[..., Any] = make()
    except (Exception, SystemExit) as error:
        raise BenchError(
            f"{factory} fails",
            expected="a method from a call without arguments",
            found=told(error),
            todo="call it by itself to see more",
        ) from error
    if not callable(method):
        raise BenchError(
            f"{factory} gives nothing that can be called",
            expected="a torch.nn.Module or another callable",
            found=type(method).__name__,
            todo="let it give the method",
        )
    return method


def told(error: BaseException) -> str:
    """The error in one line, with the line of code that it comes from.

    >>> told(ValueError("no weights"))
    'ValueError: no weights'
    """
    said = f"{type(error).__name__}: {error}" if str(error) else type(error).__name__
    steps = [s for s in traceback.extract_tb(error.__traceback__) if "importlib" not in s.filename]
    steps = [step for step in steps if step.filename != __file__]
    return f"{said} ({Path(steps[-1].filename).name}:{steps[-1].lineno})" if steps else said
