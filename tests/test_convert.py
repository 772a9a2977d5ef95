from __future__ import annotations

import hashlib
import os
import stat
import subprocess
from collections import OrderedDict
from pathlib import Path
from types import SimpleNamespace

import msgspec
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from pickles import (
    CONV,
    HOSTILE,
    NET,
    PARALLEL,
    Call,
    Class,
    Instance,
    hostile,
    in_parallel,
    legacy,
    modern,
    old_module,
    old_network,
    old_parameter,
    old_tensor,
)

import reproductions
from bench import checkpoint, paper
from bench.errors import BenchError
from bench.fetching import digests
from bench.weights import convert

FILE = Path("model.pt")
STATE = {
    "scale": torch.tensor(2.0),
    "conv.weight": torch.arange(36.0).view(2, 2, 3, 3),
    "conv.bias": torch.tensor([0.5, float("nan")]),
    "body.0.weight": torch.ones(3, 1),
    "body.10.weight": torch.zeros(0, 4),
}


def same(found: dict[str, torch.Tensor], state: dict[str, torch.Tensor]) -> bool:
    return list(found) == list(state) and all(
        found[name].dtype == value.dtype
        and torch.equal(found[name].nan_to_num(), value.nan_to_num())
        for name, value in state.items()
    )


@pytest.fixture(params=[legacy, modern])
def write(request):
    """Writes an object as a weight file of either serialisation."""

    def into_file(obj: object, path: Path = FILE) -> Path:
        path.write_bytes(request.param(obj))
        return path

    return into_file


@pytest.mark.parametrize(
    "wrap", [lambda net: net, in_parallel, lambda n: in_parallel(in_parallel(n))]
)
def test_a_module_of_the_old_pytorch_becomes_its_state_dict(write, wrap):
    network = wrap(old_network(STATE))
    assert same(convert.read_module(write(network)), STATE)
    made = convert.convert(write(network))
    assert made.path == Path("model.state.pth")
    written = torch.load(made.path, weights_only=True)
    assert same(written["state_dict"], STATE)
    assert same(made.state, STATE)
    content = FILE.read_bytes()
    blob = b"blob %d\0" % len(content) + content
    assert made.source_sha256 == hashlib.sha256(content).hexdigest()
    assert made.source_git_blob == hashlib.sha1(blob).hexdigest()  # noqa: S324 - git's
    assert made.sha256 == hashlib.sha256(made.path.read_bytes()).hexdigest()
    assert written["converted"] == {"sha256": made.source_sha256, "git_blob": made.source_git_blob}
    parallel = network.kind is PARALLEL
    assert (
        any("prefix 'module.' of DataParallel was removed" in note for note in made.notes)
        == parallel
    )
    assert "these classes were left out: model.Net, torch.nn.backends.thnn._get" in made.notes[-1]
    assert "Parameter" not in made.notes[-1]
    assert sorted(p.name for p in Path().iterdir()) == ["model.pt", "model.state.pth"]
    assert stat.S_IMODE(made.path.stat().st_mode) & 0o444


def test_the_same_source_gives_the_same_bytes(write):
    write(old_network(STATE))
    first = convert.convert(FILE, Path("a.pth"))
    assert convert.convert(FILE, Path("deep/b.pth")).sha256 == first.sha256


def test_the_git_blob_is_the_one_that_git_gives(write):
    made = convert.convert(write(old_network(STATE)))
    told = subprocess.run(
        ["git", "hash-object", "--no-filters", FILE], capture_output=True, text=True, check=True
    )
    assert told.stdout.strip() == made.source_git_blob


class Inner(torch.nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.tied = torch.nn.Linear(3, 3)
        self.body = torch.nn.Sequential(self.tied, torch.nn.ReLU(), torch.nn.BatchNorm1d(3))
        self.register_buffer("table", torch.arange(6).view(2, 3).t())
        self.register_buffer("passing", torch.ones(1), persistent=False)
        self.register_parameter("absent", None)
        self.flag = torch.nn.Parameter(torch.tensor([True, False]), requires_grad=False)
        self.narrow = torch.nn.Parameter(torch.ones(2, 2, dtype=torch.bfloat16)[:, 1])
        self.narrow.author_said = "kept beside the tensor"
        self.options = SimpleNamespace(a=torch.float32, b={1, 2}, c=torch.Size([1]))

    def __setstate__(self, state):
        raise AssertionError("a module's own code ran")


@pytest.mark.parametrize("zip_file", [True, False])
@pytest.mark.parametrize("parallel", [True, False])
def test_a_module_of_this_pytorch_becomes_its_state_dict(zip_file, parallel, recwarn):
    network = Inner()
    whole = torch.nn.DataParallel(network) if parallel else network
    torch.save(whole, FILE, _use_new_zipfile_serialization=zip_file)
    recwarn.clear()  # torch says that it cannot find the source of classes
    found = convert.read_module(FILE)
    assert same(found, network.state_dict())
    assert all(value.is_contiguous() for value in found.values())
    assert found["tied.weight"] is found["body.0.weight"]
    made = convert.convert(FILE)
    again = torch.load(made.path, weights_only=True)["state_dict"]
    assert again["tied.weight"].data_ptr() == again["body.0.weight"].data_ptr()
    assert again["narrow"].untyped_storage().nbytes() == 4  # not the column's whole table


def test_it_is_found_inside_a_checkpoint(write):
    state = {name: old_tensor(value) for name, value in STATE.items()}
    log = {"epoch": 3, "best": old_tensor(torch.ones(1)), "optimizer": {"state": {}}}
    assert same(convert.read_module(write({**log, "net": old_network(STATE)})), STATE)
    assert same(convert.read_module(write({**log, "state_dict": state})), STATE)
    args = Instance(Class("argparse", "Namespace"), {"lr": 1e-4})
    prefixed = {f"module.{name}": value for name, value in state.items()}
    made = convert.convert(write({"weights": OrderedDict(prefixed), "args": args}))
    assert same(made.state, STATE)
    assert made.notes == (
        "read from the entry 'weights' of the file",
        "the prefix 'module.' of DataParallel was removed",
        "nothing was run, these classes were left out: argparse.Namespace",
    )
    variables = {name: old_parameter(value) for name, value in STATE.items()}
    assert same(convert.convert(write(variables)).state, STATE)
    both = {"g": old_network(STATE), "d": old_network(STATE)}
    with pytest.raises(
        BenchError, match=r"holds several networks: expected one, found one of d, g"
    ):
        convert.read_module(write(both))


def test_a_plain_state_dict_needs_no_conversion(write):
    write({name: old_tensor(value) for name, value in STATE.items()})
    assert same(convert.read_module(FILE), STATE)
    with pytest.raises(
        BenchError, match=r"model.pt is a plain state dict already: expected a pick"
    ):
        convert.convert(FILE)
    torch.save({"state_dict": STATE}, FILE)
    with pytest.raises(BenchError, match=r"is a plain state dict already.*use the file as it is"):
        convert.convert(FILE)
    made = convert.convert(write(old_network(STATE)))
    with pytest.raises(BenchError, match=r"model.state.pth is a plain state dict already"):
        convert.convert(made.path)


@pytest.mark.parametrize(
    ("obj", "words"),
    [
        (None, "holds no network: expected a module or a state dict, found NoneType"),
        ({"epoch": 3}, "holds no network: expected a module or a state dict, found dict"),
        (Instance(NET, {"a": 1}), "holds no network.*found model.Net"),
        (old_module(NET, modules=[("a", 3)]), "damaged.*no module at a"),
        (old_module(NET, parameters=[("w", 3)]), "damaged.*no tensor at w"),
        (old_module(NET, parameters=[(3, old_parameter(STATE["scale"]))]), "a tensor's name that"),
        (old_module(NET, modules=[("x" * 2000, None)]), "a tensor's name that is none"),
        (old_module(NET, modules=[("\x1b[2J", None)]), "a tensor's name that is none"),
        (Instance(NET, {"_modules": {}}), "damaged.*a model.Net without _parameters"),
    ],
)
def test_files_without_a_network(write, obj, words):
    with pytest.raises(BenchError, match=f"^model.pt: the file .*{words}") as caught:
        convert.read_module(write(obj))
    assert "\n" not in str(caught.value)


def test_modules_without_end(write):
    loop = old_module(NET)
    loop.state["_modules"]["again"] = loop
    with pytest.raises(BenchError, match="modules inside themselves"):
        convert.read_module(write(loop))
    wide = old_module(CONV)
    for _ in range(40):  # 2**40 modules, each written once
        wide = old_module(CONV, modules=[("a", wide), ("b", wide)])
    with pytest.raises(BenchError, match="modules inside themselves"):
        convert.read_module(write(wide))
    parallel = old_module(PARALLEL)
    parallel.state["_modules"]["module"] = parallel
    with pytest.raises(BenchError, match="a module inside itself"):
        convert.read_module(write(parallel))
    assert convert.read_module(write(old_module(PARALLEL))) == {}


def test_tensors_cannot_be_larger_than_the_file_can_mean(write):
    few = old_tensor(torch.ones(1))
    huge = Call(few.function, (few.arguments[0], 0, (2**40,), (0,)))
    with pytest.raises(BenchError, match=r"4398046511104 bytes of tensors in a file of"):
        convert.read_module(write({"a": huge}))
    small = Call(few.function, (few.arguments[0], 0, (1000,), (0,)))
    assert torch.equal(convert.read_module(write({"a": small}))["a"], torch.ones(1000))


def test_views_of_old_storages(write):
    twelve = torch.arange(12.0)
    if write(None).read_bytes()[:2] != b"PK":
        view = old_tensor(twelve[:4].clone())
        view = Call(
            view.function, (old_tensor(twelve, ("v", 8, 4)).arguments[0], 0, (2, 2), (1, 2))
        )
        found = convert.read_module(write({"a": view, "b": old_tensor(twelve)}))
        assert torch.equal(found["a"], torch.tensor([[8.0, 10.0], [9.0, 11.0]]))
        assert torch.equal(found["b"], twelve)
    found = convert.read_module(write({"t": old_tensor(twelve.view(3, 4).t()[1:])}))
    assert torch.equal(found["t"], twelve.view(3, 4).t()[1:])


@pytest.mark.parametrize("form", ["legacy", "modern"])
@pytest.mark.parametrize("asked", HOSTILE)
def test_hostile_files_are_refused_and_nothing_runs(asked, form, monkeypatch):
    def run(*_: object, **__: object) -> None:
        raise AssertionError("it ran")

    for module, name in (
        (os, "system"),
        (subprocess, "Popen"),
        (torch, "load"),
        (torch.hub, "load"),
    ):
        monkeypatch.setattr(module, name, run)
    FILE.write_bytes(hostile(HOSTILE[asked], form))
    with pytest.raises(BenchError, match=f"^model.pt: the file asks to call {asked}: expected"):
        convert.convert(FILE)
    assert [path.name for path in Path().iterdir()] == ["model.pt"]


def test_a_file_that_does_not_fit_into_the_memory(tmp_path, monkeypatch):
    file = tmp_path / "x.pt"
    with file.open("wb") as sparse:
        sparse.write(b"\x80\x02")
        sparse.truncate(2**40)

    def full(_: object) -> None:
        raise MemoryError

    monkeypatch.setattr(Path, "read_bytes", full)
    words = "x.pt does not fit into the memory: expected a weight file, found 1024 GiB; convert it"
    with pytest.raises(BenchError, match=words):
        convert.convert(file)


def test_files_that_cannot_be_read_or_written(write, monkeypatch):
    with pytest.raises(BenchError, match=r"^cannot read none.pt: found No such file"):
        convert.convert(Path("none.pt"))
    with pytest.raises(BenchError, match=r"^cannot read .*: found Is a directory"):
        convert.convert(Path.cwd())
    FILE.write_text("<html>quota exceeded</html>")
    with pytest.raises(
        BenchError, match=r"^model.pt: the file was not written .* found a web page"
    ):
        convert.convert(FILE)
    write(old_network(STATE))
    with pytest.raises(
        BenchError, match=r"would take the place of model.pt: expected another file"
    ):
        convert.convert(FILE, FILE)
    (Path("file")).write_text("")
    with pytest.raises(BenchError, match=r"cannot write file/a.pth"):
        convert.convert(FILE, Path("file/a.pth"))
    other = {"state_dict": {name: value + 1 for name, value in STATE.items()}}
    monkeypatch.setattr(torch, "load", lambda *_, **__: other)
    with pytest.raises(
        BenchError, match=r"cannot write model.state.pth: expected the tensors that"
    ):
        convert.convert(FILE)
    assert sorted(path.name for path in Path().iterdir()) == ["file", "model.pt"]


VALID = [legacy(in_parallel(old_network(STATE))), modern(in_parallel(old_network(STATE)))]


def assert_tensors_or_one_line(content: bytes) -> None:
    FILE.write_bytes(content)
    told = "model.pt: the file "
    found: dict[str, torch.Tensor] = {}
    try:
        found = convert.read_module(FILE)
    except BenchError as error:
        told = str(error)
    assert told.startswith("model.pt: the file ")
    assert "\n" not in told
    assert all(isinstance(value, torch.Tensor) for value in found.values())


@settings(max_examples=300, deadline=None)
@given(
    content=st.sampled_from(VALID),
    changes=st.lists(st.tuples(st.integers(0), st.integers(0, 255)), min_size=1, max_size=4),
)
def test_damaged_files_give_tensors_or_one_line(content, changes):
    damaged = bytearray(content)
    for place, value in changes:
        damaged[place % len(damaged)] = value
    assert_tensors_or_one_line(damaged)


@pytest.mark.parametrize("value", [ord("."), ord("R"), ord("c"), 0xFF])
def test_every_byte_of_an_old_file_may_be_damaged(value):
    for place in range(0, len(VALID[0]), 3):
        damaged = bytearray(VALID[0])
        damaged[place] = value
        assert_tensors_or_one_line(damaged)


def test_the_authors_tdan_is_converted_and_loaded_strictly():
    """With seeded weights in place of the published ones, which cannot be had here."""
    loaded = paper.load("tdan")
    described = loaded.checkpoint("official-bi")
    table = checkpoint.name_tables(loaded, described)[0]
    back = {ours: theirs for theirs, ours in table.items()}
    network = reproductions.network("tdan", "official-bi")
    torch.manual_seed(0)
    ours = {name: torch.randn_like(value) for name, value in network.state_dict().items()}
    FILE.write_bytes(legacy(in_parallel(old_network(checkpoint.rename(ours, back)))))
    blob = digests.of(FILE, git_blob=True).git_blob
    described = msgspec.structs.replace(described, git_blob=blob)
    with pytest.raises(BenchError, match=r"is a pickled network: .*convert it without running"):
        checkpoint.read(FILE, described)
    made = convert.convert(FILE)
    assert same(checkpoint.read(made.path, described), checkpoint.read(FILE, described))
    state = checkpoint.read(FILE, described)
    assert set(state) == set(checkpoint.rename(ours, back))
    filled = reproductions.network("tdan", "official-bi", state)
    assert same(dict(filled.state_dict()), ours)
