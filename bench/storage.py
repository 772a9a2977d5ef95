"""Structured text files: read into typed structs, written whole or not at all."""

from __future__ import annotations

import os
import re
import tempfile
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

import msgspec

from bench.errors import BenchError

if TYPE_CHECKING:
    from filelock import BaseFileLock

Struct = TypeVar("Struct", bound=msgspec.Struct)


def read_yaml(path: Path, kind: type[Struct]) -> Struct:
    """The YAML file as a `kind`; unknown keys, missing keys and wrong types are refused."""
    import yaml

    text = _read_text(path)
    loader = getattr(yaml, "CSafeLoader", yaml.SafeLoader)
    try:
        data = yaml.load(text, Loader=loader)  # noqa: S506 - both loaders are the safe one
    except (yaml.YAMLError, ValueError) as error:  # ValueError: a date such as 2024-02-31
        mark = getattr(error, "problem_mark", None)
        where = f"{path}:{mark.line + 1}" if mark else str(path)
        problem = getattr(error, "problem", None) or str(error)
        raise BenchError(
            f"{where} is not YAML", expected="YAML", found=problem, todo="mend that line"
        ) from error
    return _convert(path, data, kind)


def read_json(
    path: Path,
    kind: type[Struct],
    update: Callable[[Any], Any] = lambda data: data,
    todo: str = "restore the file",
) -> Struct:
    """The JSON file as a `kind`; unknown keys, missing keys and wrong types are refused.

    `update` brings the content of an older file into the form of today; `todo` says what to do
    about a torn one.
    """
    try:
        data = msgspec.json.decode(_read_text(path))
    except msgspec.DecodeError as error:
        raise BenchError(
            f"{path} is not JSON", expected="JSON", found=str(error), todo=todo
        ) from error
    return _convert(path, update(data), kind)


def _convert(path: Path, data: Any, kind: type[Struct]) -> Struct:
    try:
        return msgspec.convert(data, kind)
    except msgspec.ValidationError as error:
        raise _invalid(path, _named(data, kind, error)) from error


def lock(path: Path) -> BaseFileLock:
    """A lock, not yet held, against all processes of all machines that share the folder.

    The lock of a killed process is none. Where the file system cannot lock, taking it raises
    OSError with ENOSYS: a mere file in its place would stay behind when a process is killed.
    """
    import filelock

    return filelock.FileLock(path, fallback_to_soft=False)


def json_files(folder: Path) -> list[Path]:
    """The JSON files at any depth below the folder, sorted; hidden files and folders are not seen.

    One that lies too high or too deep is found as well, so that its reader can say so.
    """
    return sorted(
        file
        for file in folder.glob("**/*.json")
        if not any(part.startswith(".") for part in file.relative_to(folder).parts)
    )


def updated(path: Path, data: Any, schema: int, steps: Mapping[int, Callable[[Any], Any]]) -> Any:
    """The content of a file with a `schema`, brought up to `schema` step by step.

    `steps` maps a version to what makes the next one of it. Raises BenchError where a newer
    version of bench wrote the file.
    """
    version = data.get("schema") if isinstance(data, dict) else None
    if isinstance(version, int) and version > schema:
        raise BenchError(
            f"{path} was written by a newer version of bench",
            expected=f"schema {schema} or earlier",
            found=f"schema {version}",
            todo="upgrade vsr-reproductions",
        )
    while isinstance(version, int) and version in steps:
        data = {**steps[version](data), "schema": version + 1}
        version += 1
    return data


def write_text(path: Path, text: str) -> None:
    """Writes `text` as UTF-8; under its name the file is whole or absent."""
    with replacing(path) as part:
        part.write_text(text, encoding="utf-8", newline="\n")


def write_bytes(path: Path, content: bytes) -> None:
    """Writes the bytes; under its name the file is whole or absent."""
    with replacing(path) as part:
        part.write_bytes(content)


def append_text(path: Path, text: str) -> None:
    """Writes `text` as UTF-8 behind what the file holds, such as the summary of a CI job."""
    try:
        with path.open("a", encoding="utf-8", newline="\n") as file:
            file.write(text)
    except OSError as error:
        raise _unwritable(path, error) from error


@contextmanager
def replacing(path: Path) -> Iterator[Path]:
    """A temporary file in the folder of `path` that takes its place if the block succeeds.

    Whatever happens, nothing half-written stays behind; a full disk or a read-only folder becomes
    a BenchError.
    """
    part: Path | None = None
    if path.exists() and not path.is_file():  # renaming onto a device would replace the device
        raise BenchError(
            f"cannot write {path}", expected="the name of a file", todo="choose another name"
        )
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        with tempfile.NamedTemporaryFile(
            dir=path.parent, prefix=f".{path.name}.", suffix=".part", delete=False
        ) as file:
            part = Path(file.name)
        yield part
        part.chmod(0o666 & ~_umask())  # temporary files are private, results are not
        part.replace(path)
    except OSError as error:
        raise _unwritable(path, error) from error
    finally:
        if part is not None:
            with suppress(OSError):
                part.unlink(missing_ok=True)


def check_writable(folder: Path) -> None:
    """Raises BenchError where no file could be written into the folder; leaves nothing behind."""
    nearest = next((parent for parent in (folder, *folder.parents) if parent.exists()), folder)
    try:
        with tempfile.TemporaryFile(dir=nearest):
            pass
    except OSError as error:
        raise _unwritable(folder, error) from error


def _unwritable(path: Path, error: OSError) -> BenchError:
    return BenchError(
        f"cannot write {path}",
        found=error.strerror or str(error),
        todo="free some space or choose another folder",
    )


def _umask() -> int:
    mask = os.umask(0)
    os.umask(mask)
    return mask


def _read_text(path: Path) -> str:
    try:
        return path.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise BenchError(
            f"cannot read {path}",
            expected="a UTF-8 text file",
            found=getattr(error, "strerror", None) or "other bytes",
            todo="check the path",
        ) from error


def _named(data: Any, kind: type[Struct], error: msgspec.ValidationError) -> str:
    """The error's text with the keys of mappings, for which msgspec writes `[...]`."""
    problem, _, where = str(error).partition(" - at ")
    place, names = data, ""
    for name, index, any_key in re.findall(r"\.(\w+)|\[(\d+)\]|(\[\.\.\.\])", where):
        key = _key_at_fault(data, place, kind, str(error)) if any_key else name or int(index)
        place = place[key]
        names += f"[{index}]" if index else f".{key}"
    return f"{problem} - at `${names}`" if names else str(error)


def _key_at_fault(data: Any, mapping: dict[Any, Any], kind: type[Struct], text: str) -> Any:
    """The key of `mapping`, a part of `data`, that alone still gives the same error."""
    whole = dict(mapping)
    try:
        for key, value in whole.items():
            mapping.clear()
            mapping[key] = value
            try:
                msgspec.convert(data, kind)
            except msgspec.ValidationError as again:
                if str(again) == text:
                    return key
    finally:
        mapping.clear()
        mapping.update(whole)
    return next(iter(whole))


def _invalid(path: Path, text: object) -> BenchError:
    # msgspec says "Expected `int`, got `str` - at `$.datasets.vid4`".
    problem, _, key = str(text).partition(" - at ")
    key = key.strip("`").removeprefix("$").lstrip(".") or "the top level"
    expected, _, found = problem.removeprefix("Expected ").partition(", got ")
    if not found:
        return BenchError(f"{path}: {key}: {problem}", todo="mend that key")
    return BenchError(f"{path}: {key}", expected=expected, found=found, todo="mend that key")
