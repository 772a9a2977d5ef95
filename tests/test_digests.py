from __future__ import annotations

import hashlib
import os
import shutil
import subprocess
from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bench.errors import BenchError
from bench.fetching import digests
from bench.fetching.digests import Digests, Expected, Running

CONTENT = b"frames\n" * 400_000


@pytest.fixture
def file(tmp_path):
    path = tmp_path / "weights.pth"
    path.write_bytes(CONTENT)
    return path


@given(st.binary(max_size=300), st.lists(st.integers(0, 300), max_size=5))
def test_pieces_have_the_digests_of_the_whole(content, cuts):
    running = Running(len(content))
    places = sorted([0, *(min(cut, len(content)) for cut in cuts), len(content)])
    for start, end in pairwise(places):
        running.update(content[start:end])
    whole = Running(len(content))
    whole.update(content)
    assert running.digests() == whole.digests()
    assert whole.digests().sha256 == hashlib.sha256(content).hexdigest()


def test_the_git_blob_is_the_one_of_git(file):
    found = digests.of(file, git_blob=True)
    assert found.size == len(CONTENT)
    assert found.sha256 == hashlib.sha256(CONTENT).hexdigest()
    if shutil.which("git"):
        called = subprocess.run(["git", "hash-object", file], capture_output=True, check=True)
        assert called.stdout.decode().strip() == found.git_blob


def test_the_git_blob_of_a_known_text():
    running = Running(0)
    assert running.digests().git_blob == "e69de29bb2d1d6434b8b29ae775ad8c2e48c5391"  # git's own
    running = Running(6)
    running.update(b"hello\n")
    assert running.digests().git_blob == "ce013625030ba8dba906f756967f9e9ca394464a"


def test_no_git_blob_unless_asked_and_none_of_another_size(file):
    assert digests.of(file).git_blob is None
    running = Running(7)
    running.update(b"hello\n")
    assert running.digests().git_blob is None


def test_a_file_that_cannot_be_read(tmp_path):
    for find in (digests.of, digests.remembered):
        with pytest.raises(BenchError, match=r"cannot read .*none: found No such file"):
            find(tmp_path / "none")
    with pytest.raises(BenchError, match=r"cannot read .*: found Is a directory"):
        digests.of(tmp_path)


@pytest.fixture
def hashed(monkeypatch):
    """The files that are hashed."""
    paths, of = [], digests.of

    def counted(path, *, git_blob=False):
        paths.append(path)
        return of(path, git_blob=git_blob)

    monkeypatch.setattr(digests, "of", counted)
    return paths


def test_a_file_is_hashed_once(file, hashed):
    assert digests.remembered(file) == digests.remembered(file) == digests.of(file)
    assert len(hashed) == 2  # once by each function
    assert sorted(p.name for p in file.parent.glob("*weights*")) == [
        ".weights.pth.digest",
        "weights.pth",
    ]


def test_a_change_of_size_or_time_is_seen(file, hashed):
    before = digests.remembered(file)
    state = file.stat()
    file.write_bytes(b"other\n" + CONTENT[6:])
    os.utime(file, ns=(state.st_atime_ns, state.st_mtime_ns + 1))
    assert digests.remembered(file).sha256 != before.sha256
    with file.open("ab") as opened:
        opened.write(b"more")
    os.utime(file, ns=(state.st_atime_ns, state.st_mtime_ns + 1))
    assert digests.remembered(file).size == before.size + 4
    assert len(hashed) == 3


def test_the_git_blob_is_added_to_the_memory(file, hashed):
    assert digests.remembered(file).git_blob is None
    blob = digests.remembered(file, git_blob=True).git_blob
    assert blob is not None
    assert digests.remembered(file).git_blob == blob
    assert len(hashed) == 2


@pytest.mark.parametrize("memory", ["", "{", '{"mtime_ns": 1}', "[]", "\x00\xff"])
def test_a_corrupt_memory_costs_time_only(file, hashed, memory):
    found = digests.remembered(file)
    (file.parent / ".weights.pth.digest").write_text(memory, encoding="latin-1")
    assert digests.remembered(file) == found
    assert digests.remembered(file) == found
    assert len(hashed) == 2


def test_a_folder_that_is_read_only_costs_time_only(file, monkeypatch):
    def refuse(*_):
        raise BenchError("cannot write")

    monkeypatch.setattr(digests.storage, "write_text", refuse)
    assert digests.remembered(file) == digests.remembered(file)


def test_what_fits_passes(file):
    found = digests.of(file)
    blob = digests.of(file, git_blob=True).git_blob
    for expected in (
        Expected(),
        Expected(found.sha256),
        Expected(found.sha256[:8].upper()),
        Expected(git_blob=blob),
        Expected(size=len(CONTENT)),
        Expected(found.sha256, blob, len(CONTENT)),
    ):
        digests.check(file, found, expected)


@pytest.mark.parametrize(
    ("expected", "words"),
    [
        (Expected("0" * 64), "expected SHA-256 0{64}, found [0-9a-f]{64}"),
        (Expected("00000000"), "expected SHA-256 00000000, found"),
        (Expected(git_blob="0" * 40), "expected git blob 0{40}, found [0-9a-f]{40}"),
        (Expected(size=3), "expected 3 bytes, found 2800000"),
    ],
)
def test_what_does_not_fit_is_told(file, expected, words):
    with pytest.raises(BenchError, match=words) as caught:
        digests.check(file, digests.of(file), expected, ["https://example.org/a"])
    assert "move it away and fetch it again from https://example.org/a" in str(caught.value)
    assert file.read_bytes() == CONTENT


def test_a_known_git_blob_is_not_computed_again(file, hashed):
    found = Digests(len(CONTENT), "0" * 64, "1" * 40)
    digests.check(file, found, Expected(git_blob="1" * 40))
    assert hashed == []
