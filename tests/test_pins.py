from __future__ import annotations

import json
import multiprocessing
import os
from pathlib import Path

import filelock
import msgspec
import pytest

from bench.errors import BenchError
from bench.fetching import digests, pins
from bench.paper import Checkpoint
from bench.restore import SlidingWindow

FREE = Checkpoint(
    title="x",
    network="toypaper.network:Toy",
    restorer=SlidingWindow(edge="reflection"),
    file="x.pth",
    sources=["https://example.org/x.pth"],
)


def put(name: str = "toy/x.pth", content: bytes = b"weights") -> Path:
    path = pins.folder() / name
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(content)
    return path


def known(**fields: str) -> Checkpoint:
    return msgspec.structs.replace(FREE, **fields)


def test_what_came_first_is_expected_from_then_on():
    path = put()
    found = digests.of(path)
    assert pins.expected(path, FREE) == digests.Expected()
    assert pins.add(path, FREE, found)
    assert not pins.add(path, FREE, found)
    assert pins.expected(path, FREE) == digests.Expected(found.sha256, None, 7)
    pins.check(path, FREE, found)
    other = digests.of(put(content=b"other"))
    with pytest.raises(BenchError, match=rf"not the file that came first: .*{found.sha256}.*line"):
        pins.check(path, FREE, other)


def test_links_in_the_cache_folder_are_pinned_too(tmp_path):
    (tmp_path / "disk").mkdir()
    (tmp_path / "disk/real.pth").write_bytes(b"weights")
    pins.folder().mkdir(parents=True)
    (pins.folder() / "far").symlink_to(tmp_path / "disk")
    (pins.folder() / "toy").mkdir()
    (pins.folder() / "toy/x.pth").symlink_to(tmp_path / "disk/real.pth")
    for name in ("far/real.pth", "toy/x.pth", "toy/../toy/x.pth"):
        path = pins.folder() / name
        assert pins.add(path, FREE, digests.of(path)) == (".." not in name)
    assert set(pins.read()) == {"far/real.pth", "toy/x.pth"}


def test_a_cache_that_is_read_only(monkeypatch):
    def refuse(*_: object, **__: object) -> None:
        raise PermissionError(13, "Permission denied")

    path, other = put(), put("toy/y.pth", b"more")
    pins.add(path, FREE, digests.of(path))
    monkeypatch.setattr(filelock, "FileLock", refuse)
    assert not pins.add(path, FREE, digests.of(path))
    words = r"cannot write .*checkpoints.lock: found Permission denied; check who may write there"
    with pytest.raises(BenchError, match=words):
        pins.add(other, FREE, digests.of(other))


def test_a_cache_that_cannot_be_locked(no_flock):
    words = r"cannot write .*checkpoints.lock: found Function not implemented; check"
    with pytest.raises(BenchError, match=words):
        pins.add(put(), FREE, digests.of(put()))
    assert pins.read() == {}


def test_the_lock_file_is_sorted_and_says_its_version():
    for name in ("toy/b.pth", "toy/a.pth", "abc/z.pth"):
        path = put(name, name.encode())
        pins.add(path, FREE, digests.of(path))
    text = pins.lock_path().read_text()
    whole = json.loads(text)
    assert whole["schema"] == 1
    assert list(whole["checkpoints"]) == ["abc/z.pth", "toy/a.pth", "toy/b.pth"]
    assert text.endswith("}\n")
    assert text == json.dumps(whole, indent=2, sort_keys=True) + "\n"


def test_only_what_was_not_published_whole_is_pinned():
    path = put()
    found = digests.of(path, git_blob=True)
    assert not pins.add(path, known(sha256=found.sha256), found)
    assert not pins.lock_path().exists()
    assert pins.add(path, known(sha256=found.sha256[:8]), found)
    assert pins.expected(path, known(sha256=found.sha256[:8])).sha256 == found.sha256


def test_nothing_outside_the_cache_is_pinned(tmp_path):
    file = tmp_path / "x.pth"
    file.write_bytes(b"weights")
    assert pins.key(file) is None
    assert not pins.add(file, FREE, digests.of(file))
    pins.check(file, FREE, digests.of(file))


def test_what_is_published_wins_over_a_pin():
    path = put(content=b"old")
    pins.add(path, FREE, digests.of(path))
    new = digests.of(put(content=b"new"))
    described = known(sha256=new.sha256)
    assert pins.expected(path, described) == digests.Expected(new.sha256)
    pins.check(path, described, new)


def test_published_digests_are_checked():
    path = put()
    found = digests.of(path, git_blob=True)
    pins.check(path, known(sha256=found.sha256[:8], git_blob=found.git_blob), found)
    words = "x.pth is not the published file: expected {}.*; fetch it again from https://example"
    with pytest.raises(BenchError, match=words.format("SHA-256 00000000, found")):
        pins.check(path, known(sha256="00000000"), found)
    with pytest.raises(BenchError, match=words.format(f"git blob {'0' * 40}")):
        pins.check(path, known(git_blob="0" * 40), found)


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ('{"schema": 2, "x": 1}', "another version of bench: expected schema 1, found schema 2"),
        ("{", "is not JSON"),
        (
            '{"schema": 1, "checkpoints": {"a/b": {"bytes": 1, "sha256": ""}}}',
            r"checkpoints.a/b.sha256: .*matching regex",
        ),
        ('{"schema": 1, "checkpoints": {"a/b": {"bytes": 1}}}', "missing required field `sha256`"),
    ],
)
def test_a_lock_file_that_cannot_be_read(text, words):
    pins.lock_path().parent.mkdir(parents=True)
    pins.lock_path().write_text(text)
    with pytest.raises(BenchError, match=words):
        pins.expected(put(), FREE)


def pin_many(cache: str, first: int) -> None:
    os.environ["BENCH_CACHE"] = cache
    for number in range(first, first + 20):
        path = put(f"toy/{number:02d}.pth", bytes([number]))
        pins.add(path, FREE, digests.of(path))


def test_two_processes_lose_no_pin(tmp_path):
    context = multiprocessing.get_context("spawn")
    cache = os.environ["BENCH_CACHE"]
    workers = [context.Process(target=pin_many, args=(cache, first)) for first in (0, 20)]
    for worker in workers:
        worker.start()
    for worker in workers:
        worker.join(60)
        assert worker.exitcode == 0
    assert set(pins.read()) == {f"toy/{number:02d}.pth" for number in range(40)}
