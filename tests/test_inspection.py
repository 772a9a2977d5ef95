from __future__ import annotations

import os
import warnings

import pytest
import torch
import toyweb
from web_server import sha256

from bench.errors import BenchError
from bench.fetching import arrival, digests, pins
from bench.weights import convert, inspection


@pytest.fixture
def paper(monkeypatch, toy):
    known = toyweb.saved({"params": toyweb.state_of(1)})
    return toyweb.with_weights(
        monkeypatch,
        toy,
        known={"sha256": sha256(known)[:8]},
        free={"wrapper": "state_dict", "prefix": "generator."},
        twin={},
        wide={"arguments": {"channels": 5}, "parameters": 2348},
    )


def put(folder, content: object, name: str = "x.pth"):
    file = folder / name
    file.write_bytes(toyweb.saved(content))
    return file


def test_a_published_file(paper, tmp_path):
    seen = inspection.inspect(put(tmp_path, {"params": toyweb.state_of(1)}))
    assert seen.published == ["toy/known"]
    assert (seen.wrapper, seen.prefix, seen.whole_module) == ("params", "", False)
    assert (seen.tensors, seen.dtypes) == (5, ["float32"])
    # Two convolutions of 3 channels with biases, and a constant of three numbers.
    assert seen.values == (3 * 3 * 9 + 3) + (48 * 3 * 9 + 48) + 3
    assert [fit.name for fit in seen.fits if not fit.faults] == ["toy/known", "toy/twin"]
    assert seen.digests == digests.of(tmp_path / "x.pth", git_blob=True)


def test_wrapper_and_prefix(paper, tmp_path):
    state = {f"generator.{key}": value.half() for key, value in toyweb.state_of().items()}
    counters = {"step_counter": torch.zeros(1)}
    seen = inspection.inspect(put(tmp_path, {"meta": 1, "state_dict": state | counters}))
    assert (seen.wrapper, seen.prefix) == ("state_dict", "generator.")
    assert seen.dtypes == ["float16", "float32"]
    assert [fit.name for fit in seen.fits if not fit.faults] == ["toy/free"]


def test_the_nearest_checkpoint_and_what_does_not_fit(paper, tmp_path):
    state = toyweb.state_of(channels=5)
    del state["last.bias"]
    seen = inspection.inspect(put(tmp_path, state))
    assert seen.published == []
    assert seen.fits[0].name == "toy/wide"
    assert seen.fits[0].faults == ["missing last.bias"]
    assert "first.weight is [5, 3, 3, 3], not [3, 3, 3, 3]" in seen.fits[-1].faults


def test_a_pinned_file_is_recognised(paper, tmp_path):
    file = put(tmp_path, {"params": toyweb.state_of(2)})
    assert inspection.published(digests.of(file)) == []
    place = pins.folder() / "toy/twin.pth"
    place.parent.mkdir(parents=True)
    place.write_bytes(file.read_bytes())
    pins.add(place, paper.checkpoint("twin"), digests.of(place))
    assert [name for _, name in inspection.published(digests.of(file))] == ["twin"]


def settled(file):
    return inspection.settle_on(file, inspection.fitting(file))


def test_one_checkpoint_is_left_when_known_digests_rule_out_the_others(paper, tmp_path):
    _, name = settled(put(tmp_path, {"params": toyweb.state_of(3)}))
    assert name == "twin"


def test_several_checkpoints_of_one_shape(monkeypatch, toy, tmp_path):
    toyweb.with_weights(monkeypatch, toy, one={}, two={})
    words = r"fits several checkpoints.*expected --as with one of toy/one, toy/two; .*such as --as "
    with pytest.raises(BenchError, match=words + "toy/one$"):
        settled(put(tmp_path, {"params": toyweb.state_of()}))
    with pytest.raises(BenchError, match=words + "toy/two, whose published file has this name"):
        settled(put(tmp_path, {"params": toyweb.state_of()}, "two.pth"))


def test_a_file_that_fits_but_is_another(monkeypatch, toy, tmp_path):
    toyweb.with_weights(monkeypatch, toy, one={"sha256": "0" * 64}, two={"git_blob": "1" * 40})
    file = put(tmp_path, {"params": toyweb.state_of()})
    words = "x.pth fits toy/one or toy/two but is not the published file: expected SHA-256 0+, git "
    with pytest.raises(BenchError, match=words + "blob 1+, found SHA-256 .*bench fetch toy/one"):
        settled(file)


def test_a_file_that_fits_nothing(paper, tmp_path):
    file = put(tmp_path, {"params": {"a": torch.zeros(3)}})
    with pytest.raises(BenchError, match=r"fits no known checkpoint.*bench inspect"):
        settled(file)
    with pytest.raises(BenchError, match=r"x.pth does not fit toy/twin: .*missing first.weight"):
        inspection.check_fit(file, paper, "twin")
    inspection.check_fit(put(tmp_path, {"params": toyweb.state_of()}), paper, "twin")


@pytest.mark.parametrize(
    ("content", "words"),
    [
        (b"<html>quota</html>", "is a web page"),
        (b"", "cannot read .*found an empty file; fetch it again"),
        (b"hello there", "cannot read .*found bytes that begin with b'hello th'; fetch it"),
        (b"PK\x03\x04 and no more", r"found PytorchStreamReader [^.]*; fetch it again$"),
        (None, "cannot read .*No such file"),
    ],
)
def test_what_is_no_weight_file(paper, tmp_path, content, words):
    file = tmp_path / "x.pth"
    if content is not None:
        file.write_bytes(content)
    with pytest.raises(BenchError, match=words):
        inspection.inspect(file)


def test_what_is_no_weight_file_is_not_read_to_its_end(paper, tmp_path, monkeypatch):
    file = tmp_path / "x.pth"
    with file.open("wb") as sparse:
        sparse.truncate(2**42)
    monkeypatch.setattr(digests, "of", lambda *_, **__: pytest.fail("hashed"))
    for read in (inspection.inspect, convert.convert):
        with pytest.raises(BenchError, match=r"x.pth.*found bytes that begin with"):
            read(file)


def test_torchscript_is_told_without_a_warning(paper, tmp_path):
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DeprecationWarning)  # of writing such files
        torch.jit.trace(torch.nn.Linear(2, 2), torch.zeros(1, 2)).save(tmp_path / "x.pt")
    for read in (inspection.inspect, convert.convert):
        with pytest.raises(BenchError, match=r"x.pt.* is a TorchScript archive, which holds code"):
            read(tmp_path / "x.pt")


def test_a_pipe_is_not_waited_for(paper, tmp_path):
    os.mkfifo(tmp_path / "pipe")
    words = "cannot read .*pipe: expected a file, found a pipe or a device; write what it gives"
    for read in (inspection.inspect, convert.convert, arrival.add):
        with pytest.raises(BenchError, match=words):
            read(tmp_path / "pipe")


def test_a_file_without_tensors(paper, tmp_path):
    with pytest.raises(BenchError, match="holds no state dict: expected tensors, also one level"):
        inspection.inspect(put(tmp_path, {"params": {"a": 1}}))
