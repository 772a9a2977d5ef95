from __future__ import annotations

import hashlib
import os
import re
import resource
import subprocess

import pytest
from downloads import CONTENT, put_part, ranges
from downloads import part as part_of

from bench.errors import BenchError
from bench.fetching import download, transfer
from bench.fetching.digests import Expected
from bench.fetching.part import Origin, Part

pytest_plugins = ["download_fixtures"]

FIRST = Origin("https://example.org/a", '"1"', "Fri, 20 Nov 2026 12:00:00 GMT")


@pytest.fixture
def plain(tmp_path):
    return tmp_path / "a.bin"


def grow(part, content, *, total=6, onward=True, origin=FIRST):
    with part.growing(origin, total, onward=onward) as add:
        add(content)


def test_a_part_remembers_bytes_and_origin(plain):
    grow(Part(plain), b"abc")
    again = Part(plain)
    assert (again.size, again.origin(), again.pieced) == (3, FIRST, True)
    grow(again, b"def")
    assert again.digests().sha256 == hashlib.sha256(b"abcdef").hexdigest()
    again.finish()
    assert plain.read_bytes() == b"abcdef"
    assert list(plain.parent.glob(".a*")) == []


@pytest.mark.parametrize("total", [6, None])
def test_digests_are_those_of_the_file_however_it_came(plain, total):
    blob = hashlib.sha1(b"blob 6\0abcdef", usedforsecurity=False).hexdigest()
    part = Part(plain, git_blob=True)
    grow(part, b"abc", total=None)
    grow(part, b"def", total=total)
    assert part.digests() == (6, hashlib.sha256(b"abcdef").hexdigest(), blob)
    assert Part(plain, git_blob=True).digests() == part.digests()
    assert Part(plain).digests().git_blob is None


def test_bytes_that_replace_what_was_there(plain):
    part = Part(plain)
    grow(part, b"wrong")
    grow(part, b"abcdef", onward=False)
    assert (part.size, part.pieced) == (6, False)
    assert part.digests().sha256 == hashlib.sha256(b"abcdef").hexdigest()


def test_a_dropped_part_leaves_nothing(plain):
    part = Part(plain)
    grow(part, b"abc")
    part.drop()
    part.drop()
    assert (part.size, part.origin(), part.pieced) == (0, None, False)
    assert list(plain.parent.glob(".a*")) == []


def test_a_weak_etag_validates_nothing():
    assert FIRST.validator == '"1"'
    assert Origin("a", 'W/"1"', "Fri").validator == "Fri"
    assert Origin("a", 'W/"1"').validator is None
    assert Origin("a").validator is None


def test_a_part_that_cannot_be_written(plain):
    part = Part(plain)
    part.path.mkdir()
    with pytest.raises(BenchError, match=r"cannot write .*a.bin: found Is a directory; free some"):
        grow(part, b"abc")
    assert not plain.exists()


# The disk.


def test_too_little_space_is_told_before_writing(server, get, fails, target, monkeypatch):
    usage = type("Usage", (), {"free": 2**20})
    monkeypatch.setattr(transfer.shutil, "disk_usage", lambda _: usage)
    address = server.put("/w.pth", CONTENT)
    put_part(target, CONTENT[:100_000], address=address, etag='"1"')
    message = fails(address)
    assert re.search(
        r"not enough space for .*weights.pth: expected 64 MiB free, found 1 MiB", message
    )
    assert part_of(target).read_bytes() == CONTENT[:100_000]
    usage.free = 2**30
    monkeypatch.setattr(transfer, "MARGIN", 2**30 - 200_001)
    get(address)
    assert target.read_bytes() == CONTENT


def test_a_part_that_is_replaced_makes_room(server, get, target, monkeypatch):
    put_part(target, bytes(200_000))
    usage = type("Usage", (), {"free": transfer.MARGIN + 100_000})
    monkeypatch.setattr(transfer.shutil, "disk_usage", lambda _: usage)
    get(server.put("/w.pth", CONTENT), expected=Expected())
    assert target.read_bytes() == CONTENT


def test_the_bytes_are_on_the_disk_before_the_name(server, get, target, monkeypatch):
    seen, fsync = [], os.fsync

    def noted(number):
        seen.append((target.exists(), os.fstat(number).st_size))
        fsync(number)

    monkeypatch.setattr(os, "fsync", noted)
    get(server.put("/w.pth", CONTENT))
    assert seen == [(False, len(CONTENT))]


def test_a_write_that_fails_keeps_what_came(server, get, fails, target):
    """A limit on the size of files makes the write itself fail, as a full disk does."""
    address = server.put("/w.pth", CONTENT)
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (100_000, before[1]))
    try:
        message = fails(address, expected=Expected())
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)
    assert re.search(r"cannot write .*weights.pth: found File too large; free some space", message)
    assert part_of(target).read_bytes() == CONTENT[:100_000]
    assert len(server.asked) == 1  # no mirror can help
    get(address, expected=Expected())
    assert ranges(server) == [None, "bytes=100000-"]
    assert target.read_bytes() == CONTENT


@pytest.fixture
def small_disk(tmp_path):
    folder = tmp_path / "disk"
    folder.mkdir()
    mount = ["mount", "-t", "tmpfs", "-o", "size=128k", "tmpfs", str(folder)]
    try:
        done = subprocess.run(mount, capture_output=True, check=False).returncode == 0
    except OSError:
        done = False
    if not done:
        pytest.skip("no right to mount a small disk")
    yield folder
    subprocess.run(["umount", str(folder)], check=True)


def test_a_full_disk(server, small_disk, monkeypatch):
    target = small_disk / "weights.pth"
    address = server.put("/w.pth", CONTENT, says_length=False)
    monkeypatch.setattr(transfer, "MARGIN", 0)
    with pytest.raises(BenchError, match=r"cannot write .*: found No space left on device"):
        download.download([address], target)
    assert not target.exists()
    kept = part_of(target).read_bytes()
    assert kept
    assert kept == CONTENT[: len(kept)]
    with pytest.raises(BenchError, match=r"not enough space for"):
        download.download([server.put("/w.pth", CONTENT)], target)


def test_a_folder_that_cannot_be_made(server, tmp_path):
    (tmp_path / "file").write_text("")
    address = server.put("/w.pth", CONTENT)
    with pytest.raises(BenchError, match=r"cannot write .*weights.pth.*; choose another folder"):
        download.download([address], tmp_path / "file" / "weights.pth")
    assert server.asked == []
