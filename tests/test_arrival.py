from __future__ import annotations

import json

import pytest
import toyweb
from web_server import sha256

from bench import checkpoint
from bench.errors import BenchError
from bench.fetching import arrival, pins

GOOD = toyweb.saved({"params": toyweb.state_of(1)})
OTHER = toyweb.saved({"params": toyweb.state_of(2)})


@pytest.fixture
def paper(monkeypatch, toy):
    return toyweb.with_weights(
        monkeypatch,
        toy,
        short={"sha256": sha256(GOOD)[:8]},
        whole={"sha256": sha256(OTHER), "file": "w.pth"},
        free={"arguments": {"channels": 5}, "parameters": 2348},
    )


def put(folder, content: bytes, name: str = "download.pth"):
    file = folder / name
    file.write_bytes(content)
    return file


def test_a_file_is_recognised_by_its_sha256_copied_and_pinned(paper, tmp_path):
    (settled,) = arrival.add(put(tmp_path, GOOD))
    assert settled.name == "toy/short"
    assert settled.path == checkpoint.find(paper, "short")
    assert settled.path.read_bytes() == GOOD
    assert f'for paper.yaml: sha256: "{sha256(GOOD)}"' in settled.notes[0]
    assert pins.read()["toy/short.pth"].sha256 == sha256(GOOD)
    (again,) = arrival.add(tmp_path / "download.pth")
    assert again == settled._replace(notes=[])


def test_a_wholly_known_file_needs_no_pin(paper, tmp_path):
    (settled,) = arrival.add(put(tmp_path, OTHER))
    assert (settled.name, settled.notes) == ("toy/whole", [])
    assert not pins.lock_path().exists()


def test_a_file_is_recognised_by_its_tensors(paper, tmp_path):
    wide = toyweb.saved({"params": toyweb.state_of(channels=5)})
    (settled,) = arrival.add(put(tmp_path, wide))
    assert settled.name == "toy/free"
    assert "pinned in" in settled.notes[0]
    # What comes later under that name must be the same.
    changed = toyweb.saved({"params": toyweb.state_of(7, channels=5)})
    with pytest.raises(BenchError, match="fits toy/free but is not the published file"):
        arrival.add(put(tmp_path, changed))
    with pytest.raises(
        BenchError, match=r"download.pth is not the file free.pth that came fi.*SHA-256"
    ):
        arrival.add(put(tmp_path, changed), "toy/free")
    assert settled.path.read_bytes() == wide


def test_the_pin_is_enforced_when_weights_are_read(paper, tmp_path):
    wide = toyweb.saved({"params": toyweb.state_of(channels=5)})
    (settled,) = arrival.add(put(tmp_path, wide))
    described = paper.checkpoint("free")
    assert set(checkpoint.read(settled.path, described)) == set(toyweb.state_of())
    settled.path.write_bytes(toyweb.saved({"params": toyweb.state_of(7, channels=5)}))
    with pytest.raises(BenchError, match="is not the file that came first"):
        checkpoint.read(settled.path, described)
    lock = json.loads(pins.lock_path().read_text())
    del lock["checkpoints"]["toy/free.pth"]
    pins.lock_path().write_text(json.dumps(lock))
    checkpoint.read(settled.path, described)


def test_a_named_file_must_fit(paper, tmp_path):
    with pytest.raises(BenchError, match="does not fit toy/free: expected exactly the tensors of"):
        arrival.add(put(tmp_path, GOOD), "toy/free")
    with pytest.raises(
        BenchError, match=r"download.pth is not the published file w.pth: expected SHA-"
    ):
        arrival.add(put(tmp_path, GOOD), "toy/whole")
    assert not pins.folder().exists()
    assert not pins.lock_path().exists()


@pytest.mark.parametrize(
    ("name", "words"),
    [
        ("toy/gone", "toy has no checkpoint 'gone': expected one of"),
        ("toy/good", "toy/good has no weight file: expected a checkpoint with a network"),
        ("toy", "toy is a paper: expected one of toy/absent, .*; say which checkpoint"),
    ],
)
def test_names_that_stand_for_no_weight_file(paper, tmp_path, name, words):
    with pytest.raises(BenchError, match=words):
        arrival.add(put(tmp_path, GOOD), name)


def test_the_file_that_was_given_is_told(paper, tmp_path):
    file = put(tmp_path, b"other")
    with pytest.raises(
        BenchError, match=f"^{file} is not the published file .*from its publisher$"
    ):
        arrival.add(file, "toy/short")


def test_a_wrong_file_in_its_place_is_replaced_by_the_right_one(paper, tmp_path):
    place = checkpoint.place_of(paper, "short")
    place.parent.mkdir(parents=True)
    place.write_bytes(b"half of it")
    with pytest.raises(BenchError, match="is not the published file"):
        arrival.settle(paper, "short")
    arrival.add(put(tmp_path, GOOD))
    assert place.read_bytes() == GOOD
    assert arrival.settle(paper, "short").notes == []


def test_the_file_may_lie_in_its_place_already(paper):
    place = checkpoint.place_of(paper, "short")
    place.parent.mkdir(parents=True)
    place.write_bytes(GOOD)
    (settled,) = arrival.add(place)
    assert settled.path == place
    assert place.read_bytes() == GOOD
