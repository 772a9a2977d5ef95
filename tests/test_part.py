from __future__ import annotations

import hashlib

import pytest

from bench.errors import BenchError
from bench.part import Origin, Part

FIRST = Origin("https://example.org/a", '"1"', "Fri, 20 Nov 2026 12:00:00 GMT")


@pytest.fixture
def target(tmp_path):
    return tmp_path / "a.bin"


def grow(part, content, *, total=6, onward=True, origin=FIRST):
    with part.growing(origin, total, onward=onward) as add:
        add(content)


def test_a_part_remembers_bytes_and_origin(target):
    grow(Part(target), b"abc")
    again = Part(target)
    assert (again.size, again.origin(), again.pieced) == (3, FIRST, True)
    grow(again, b"def")
    assert again.digests().sha256 == hashlib.sha256(b"abcdef").hexdigest()
    again.finish()
    assert target.read_bytes() == b"abcdef"
    assert list(target.parent.glob(".a*")) == []


@pytest.mark.parametrize("total", [6, None])
def test_digests_are_those_of_the_file_however_it_came(target, total):
    blob = hashlib.sha1(b"blob 6\0abcdef", usedforsecurity=False).hexdigest()
    part = Part(target, git_blob=True)
    grow(part, b"abc", total=None)
    grow(part, b"def", total=total)
    assert part.digests() == (6, hashlib.sha256(b"abcdef").hexdigest(), blob)
    assert Part(target, git_blob=True).digests() == part.digests()
    assert Part(target).digests().git_blob is None


def test_bytes_that_replace_what_was_there(target):
    part = Part(target)
    grow(part, b"wrong")
    grow(part, b"abcdef", onward=False)
    assert (part.size, part.pieced) == (6, False)
    assert part.digests().sha256 == hashlib.sha256(b"abcdef").hexdigest()


def test_a_dropped_part_leaves_nothing(target):
    part = Part(target)
    grow(part, b"abc")
    part.drop()
    part.drop()
    assert (part.size, part.origin(), part.pieced) == (0, None, False)
    assert list(target.parent.glob(".a*")) == []


def test_a_weak_etag_validates_nothing():
    assert FIRST.validator == '"1"'
    assert Origin("a", 'W/"1"', "Fri").validator == "Fri"
    assert Origin("a", 'W/"1"').validator is None
    assert Origin("a").validator is None


def test_a_part_that_cannot_be_written(target):
    part = Part(target)
    part.path.mkdir()
    with pytest.raises(BenchError, match=r"cannot write .*a.bin: found Is a directory; free some"):
        grow(part, b"abc")
    assert not target.exists()
