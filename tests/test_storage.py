from __future__ import annotations

import stat

import msgspec
import pytest

from bench import storage
from bench.errors import BenchError


class Thing(msgspec.Struct, forbid_unknown_fields=True):
    name: str
    sizes: dict[str, int]


def test_bytes_are_written_as_they_are(tmp_path):
    storage.write_bytes(tmp_path / "new" / "a.png", b"\x89PNG\r\n")
    assert (tmp_path / "new" / "a.png").read_bytes() == b"\x89PNG\r\n"
    (tmp_path / "file").write_text("")
    with pytest.raises(BenchError, match="cannot write"):
        storage.write_bytes(tmp_path / "file" / "a.png", b"")


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("name: a\nsizes: {b: 1", r"thing.yaml:2 is not YAML|thing.yaml:3 is not YAML"),
        ("name: a\nsizes: {b: one}", "thing.yaml: sizes.*: expected `int`, found `str`"),
        ("name: a", "missing required field `sizes`"),
        ("name: a\nsizes: {}\nsise: 1", "unknown field `sise`"),
        ("- 1", "the top level: expected `object`, found `array`"),
        ("", "the top level: expected `object`, found `null`"),
    ],
)
def test_malformed_yaml_names_file_place_expected_and_found(tmp_path, text, words):
    path = tmp_path / "thing.yaml"
    path.write_text(text)
    with pytest.raises(BenchError, match=words) as caught:
        storage.read_yaml(path, Thing)
    assert "\n" not in str(caught.value)


def test_malformed_json(tmp_path):
    path = tmp_path / "thing.json"
    path.write_text('{"name": "a", "si')
    with pytest.raises(BenchError, match="is not JSON"):
        storage.read_json(path, Thing)
    path.write_text('{"name": 3, "sizes": {}}')
    with pytest.raises(BenchError, match="name: expected `str`, found `int`"):
        storage.read_json(path, Thing)
    path.write_bytes(b"\xff\xfe")
    with pytest.raises(BenchError, match="expected a UTF-8 text file"):
        storage.read_json(path, Thing)
    with pytest.raises(BenchError, match="No such file"):
        storage.read_json(tmp_path / "none.json", Thing)


def test_a_failure_keeps_the_old_file_and_leaves_nothing_else(tmp_path):
    path = tmp_path / "deep" / "a.txt"
    storage.write_text(path, "old")
    assert stat.S_IMODE(path.stat().st_mode) & 0o400

    def fail() -> None:
        with storage.replacing(path) as part:
            part.write_text("half of the n")
            raise OSError(28, "No space left on device")

    with pytest.raises(BenchError, match=r"cannot write .*a.txt: found No space left"):
        fail()
    assert path.read_text() == "old"
    assert [p.name for p in path.parent.iterdir()] == ["a.txt"]


def test_a_folder_that_cannot_be_made(tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises(BenchError, match=r"cannot write .*; free some space or choose another"):
        storage.write_text(tmp_path / "file" / "a.txt", "x")


class Shelf(msgspec.Struct, forbid_unknown_fields=True):
    things: dict[str, list[dict[str, Thing]]]


def test_keys_of_mappings_are_named(tmp_path):
    path = tmp_path / "shelf.yaml"
    good, bad = "{name: a, sizes: {x: 1}}", "{name: b, sizes: {x: 1, y-z: two}}"
    path.write_text(f"things: {{one: [{{k: {good}}}], two-b: [{{k: {good}}}, {{m: {bad}}}]}}")
    with pytest.raises(BenchError, match=r"things.two-b\[1\].m.sizes.y-z: expected `int`"):
        storage.read_yaml(path, Shelf)


@pytest.mark.parametrize("what", ["folder", "/dev/null"])
def test_only_files_are_replaced(tmp_path, what):
    place = tmp_path / what  # the second is absolute, and stays itself
    if what == "folder":
        place.mkdir()
    with pytest.raises(BenchError, match=r"cannot write .*: expected the name of a file; choose"):
        storage.write_text(place, "text")
    assert place.exists()
    assert not place.is_file()


def test_json_files_at_any_depth_but_no_hidden_ones(tmp_path):
    names = (
        "b.json",
        "a/c.json",
        "a/b/d.json",
        ".a.json",
        "a/.b/e.json",
        "a/b.json.part",
        "a/f.txt",
    )
    for name in names:
        storage.write_text(tmp_path / name, "{}")
    found = [file.relative_to(tmp_path).as_posix() for file in storage.json_files(tmp_path)]
    assert found == ["a/b/d.json", "a/c.json", "b.json"]
    assert storage.json_files(tmp_path / "nowhere") == []
