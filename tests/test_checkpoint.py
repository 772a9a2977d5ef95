from __future__ import annotations

import hashlib
import os
from pathlib import Path

import msgspec
import pytest
import torch

import reproductions
from bench import catalog, checkpoint, paper, record
from bench.errors import BenchError

NETWORKS = [
    (name, key)
    for name in paper.names()
    for key, described in paper.load(name).checkpoints.items()
    if described.network
]


def published(name: str, key: str, table: int = -1) -> dict[str, torch.Tensor]:
    """A state of seeded random weights under the names of the published file."""
    loaded = paper.load(name)
    network = reproductions.network(name, key)
    back = {
        ours: theirs
        for theirs, ours in checkpoint.name_tables(loaded, loaded.checkpoint(key))[table].items()
    }
    torch.manual_seed(0)
    return {
        next(iter(checkpoint.rename({ours: 0}, back))): 0.05 * torch.randn(value.shape)
        for ours, value in network.state_dict().items()
    }


@pytest.mark.parametrize(("name", "key"), NETWORKS)
def test_declared_parameters_are_recomputed(name, key):
    described = paper.load(name).checkpoint(key)
    with torch.device("meta"):
        built = checkpoint.build(paper.load(name), described)
    assert sum(p.numel() for p in built.parameters()) == described.parameters
    assert described.sources
    assert described.sha256 or described.git_blob or "no SHA-256 was published" in described.note


@pytest.fixture
def state():
    return published("tdan", "bix4")


def test_a_state_is_loaded_under_published_names(state):
    network = reproductions.network("tdan", "bix4", state)
    assert not network.training
    assert torch.equal(network.conv_last.weight, state["reconstruct.4.weight"])
    double = {key: value.double() for key, value in state.items()}
    assert reproductions.network("tdan", "bix4", double).conv_last.weight.dtype == torch.float64


def test_edvr_takes_both_sets_of_names():
    for table in (0, 1):
        state = published("edvr", "m-reds", table)
        network = reproductions.network("edvr", "m-reds", state)
        name = "conv_hr.weight" if table == 0 else "HRconv.weight"
        assert torch.equal(network.conv_hr.weight, state[name])


def test_constants_may_be_absent_and_are_compared():
    built = reproductions.network("ttvsr", "reds")
    loaded = paper.load("ttvsr")
    table = checkpoint.name_tables(loaded, loaded.checkpoint("reds"))[0]
    back = {ours: theirs for theirs, ours in table.items()}
    state = checkpoint.rename(built.state_dict(), back)
    without = {key: value for key, value in state.items() if key != "spynet.mean"}
    assert torch.equal(
        reproductions.network("ttvsr", "reds", without).spynet.mean, built.spynet.mean
    )
    wrong = state | {"spynet.mean": state["spynet.mean"] + 0.1}
    with pytest.raises(BenchError, match=r"ttvsr reds hold another spynet.mean"):
        reproductions.network("ttvsr", "reds", wrong)


def test_what_does_not_fit_is_told_in_one_message(state):
    wrong = dict(state)
    wrong["reconstruct.4.weight"] = torch.zeros(3, 32, 3, 3)
    for name in list(wrong)[:5]:
        del wrong[name]
    wrong["step_counter"] = torch.zeros(1)
    with pytest.raises(BenchError) as caught:
        reproductions.network("tdan", "bix4", wrong)
    text = str(caught.value)
    assert "the weights do not fit tdan bix4" in text
    assert "5 missing (conv_first.weight, conv_first.bias, " in text
    assert ", ...)" in text
    assert "1 unexpected (step_counter)" in text
    assert "1 mis-shaped (conv_last.weight is [3, 32, 3, 3], not [3, 64, 3, 3])" in text
    assert "they fit no known checkpoint" in text
    assert "\n" not in text


def test_the_checkpoint_that_a_state_looks_like_is_named(state):
    with pytest.raises(BenchError, match=r"look like tdan bix4 or tdan bdx4"):
        reproductions.network("edvr", "m-reds", state)
    with pytest.raises(BenchError, match=r"they look like .*edvr m-wotsa-reds"):
        reproductions.network("edvr", "m-reds", published("edvr", "m-wotsa-reds", 0))


def test_not_every_checkpoint_is_a_network():
    with pytest.raises(BenchError, match="frames released by the authors is no network"):
        reproductions.network("duf", "52l")
    with pytest.raises(BenchError, match="edvr has no checkpoint 'xl'"):
        reproductions.network("edvr", "xl")


def described(file: Path | None = None, **change) -> paper.Checkpoint:
    chosen = paper.load("tdan").checkpoint("bix4")
    sha = hashlib.sha256(file.read_bytes()).hexdigest()[:8] if file else None
    return msgspec.structs.replace(chosen, sha256=sha, **change)


def test_files_are_unwrapped(tmp_path, state):
    file = tmp_path / "tdan.pth"
    prefixed = {f"generator.{key}": value for key, value in state.items()}
    counters = {"step_counter": torch.zeros(1), "generator.step": 3}
    torch.save({"meta": {"a": 1}, "state_dict": prefixed | counters}, file)
    read = checkpoint.read(file, described(file))
    assert set(read) == set(state)
    assert all(torch.equal(read[key], state[key]) for key in state)
    torch.save({f"module.{key}": value for key, value in state.items()}, file)
    assert set(checkpoint.read(file, described(wrapper=None))) == set(state)


class Evil:
    def __reduce__(self):
        return os.system, ("touch pwned",)


def test_files_that_are_not_state_dicts(tmp_path, state):
    file = tmp_path / "x.pth"

    def expect(words: str, checkpoint_of: paper.Checkpoint | None = None) -> None:
        with pytest.raises(BenchError, match=words) as caught:
            checkpoint.read(file, checkpoint_of or described())
        assert "\n" not in str(caught.value)

    expect("cannot read .*No such file")
    torch.save({"state_dict": Evil()}, file)
    expect(
        "is more than a state dict.*convert it to a plain state dict without running its code: ben"
    )
    assert not Path("pwned").exists()
    torch.save({"params": {}}, file)
    expect(r"holds no state dict: expected tensors under 'state_dict', found \['params'\]")
    torch.save(torch.zeros(3), file)
    expect("holds no state dict")
    torch.save({"state_dict": state}, file)
    file.write_bytes(file.read_bytes()[:-5000])
    expect("cannot read .*expected a PyTorch weight file")
    file.write_text("<html>quota exceeded</html>")
    expect("x.pth is a web page: expected a PyTorch weight file")
    with pytest.raises(BenchError, match="is not the published file: expected SHA-256 739979d9"):
        checkpoint.read(file, paper.load("tdan").checkpoint("bix4"))


def test_a_network_runs_end_to_end(bench, monkeypatch, state):
    """With seeded weights in place of the published ones, which cannot be had here."""
    loaded = paper.load("tdan")
    folder = catalog.cache_folder() / "checkpoints/tdan"
    folder.mkdir(parents=True)
    file = folder / loaded.checkpoint("bix4").file
    words = ("run", "tdan", "--checkpoint", "bix4", "--dataset", "sample", "--clip", "pan")
    code, _, err = bench(*words)
    assert code == 2
    assert f"is not on this machine: expected {file}; run bench fetch tdan/bix4, or get it" in err
    torch.save({"state_dict": {f"generator.{k}": v for k, v in state.items()}}, file)
    code, _, err = bench(*words)
    assert code == 2
    assert "is not the published file" in err
    known = msgspec.structs.replace(
        loaded, checkpoints={"bix4": described(file)}, cells=[], references={}
    )
    monkeypatch.setattr(paper, "load", lambda _: known)
    code, _, err = bench(*words, "--device", "cpu")
    assert (code, err) == (0, "")
    made = record.read_all(Path("results"))[0]
    said = made.clips[0].restoring
    assert said == {"window": 5, "edge": "reflection", "arguments": "border=fade"}
    bench(*words, "--device", "cpu")
    assert record.read_all(Path("results")) == [made]
    other = msgspec.structs.replace(described(file), arguments={"border": "hold"})
    known = msgspec.structs.replace(known, checkpoints={"bix4": other})
    _, out, _ = bench(*words, "--device", "cpu")
    assert "1 of 4 clips (1 measured)" in out  # what paper.yaml says of the network has changed
    provenance = made.provenance[made.clips[0].provenance]
    assert provenance.checkpoint_sha256 == hashlib.sha256(file.read_bytes()).hexdigest()
    assert len(made.clips[0].scores["fixed"].psnr) == 9
