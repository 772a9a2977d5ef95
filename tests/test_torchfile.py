from __future__ import annotations

import io
import pickle
import zipfile

import pickles
import pytest
import torch
from pickles import Stored, hostile, legacy, modern, old_tensor, zipped

from bench.errors import BenchError
from bench.weights import torchfile
from bench.weights.tensors import View

STATE = {"a": torch.arange(6.0).view(2, 3), "b": torch.arange(4)}
OLD = {name: old_tensor(value) for name, value in STATE.items()}


def saved(zip_file: bool) -> bytes:
    file = io.BytesIO()
    torch.save(STATE, file, _use_new_zipfile_serialization=zip_file)
    return file.getvalue()


@pytest.mark.parametrize("content", [saved(True), saved(False), legacy(OLD), modern(OLD)])
def test_both_serialisations_give_the_object_and_its_bytes(content):
    found = torchfile.read(content)
    assert set(found.root) == set(STATE)
    assert not found.kinds
    for name, view in found.root.items():
        assert isinstance(view, View)
        assert bytes(found.data[view.key]) == pickles.raw(STATE[name])


@pytest.mark.parametrize("make", [legacy, modern])
def test_a_file_cut_anywhere_is_refused(make):
    content = make(OLD)
    for end in range(len(content)):
        with pytest.raises(BenchError) as caught:
            torchfile.read(content[:end])
        assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    ("content", "found"),
    [
        (b"", "an empty file"),
        (b"\n <!DOCTYPE html><html>", "a web page"),
        (b"version https://git-lfs.github.com/spec/v1\noid", "a pointer of git LFS"),
        (
            b"sys_info".ljust(257, b"\0") + b"ustar" + b"\0" * 250,
            "a tar archive, as PyTorch before",
        ),
        (b"\x1b[2J\x00123456", r"bytes that begin with b'\\x1b\[2J\\x00123'"),
    ],
)
def test_other_files_are_told_apart(content, found):
    with pytest.raises(BenchError, match=f"not written by torch.save: expected .* found {found}"):
        torchfile.read(content)


def test_pickles_of_others():
    for protocol in range(6):
        with pytest.raises(BenchError):
            torchfile.read(pickle.dumps(STATE["a"].numpy().tolist(), protocol))
    with pytest.raises(BenchError, match=r"a pickle that torch.save did not write: expected Py"):
        torchfile.read(pickle.dumps({"a": 1}))


def test_other_versions_and_byte_orders():
    with pytest.raises(BenchError, match="written on a big-endian machine"):
        torchfile.read(legacy(OLD, little=False))
    with pytest.raises(BenchError, match="written on a big-endian machine"):
        torchfile.read(modern(OLD, byteorder=b"big"))
    version = pickle.dumps(1001, 2)
    with pytest.raises(BenchError, match="another version of the format"):
        torchfile.read(legacy(OLD).replace(version, pickle.dumps(1002, 2)))


def test_storages_must_be_those_of_the_tensors():
    content = legacy({"b": OLD["b"]})
    keys = pickle.dumps([str(STATE["b"].data_ptr())], 2)
    for other in (pickle.dumps([], 2), pickle.dumps({}, 2), pickle.dumps([[1]], 2)):
        with pytest.raises(BenchError, match=r"the file is damaged.*storages"):
            torchfile.read(content.replace(keys, other))
    with pytest.raises(BenchError, match="a storage of another length than its tensors say"):
        torchfile.read(content.replace(b"\x04" + b"\0" * 7, b"\x05" + b"\0" * 7))
    key = f"data/{STATE['b'].data_ptr()}"
    with pytest.raises(BenchError, match="a storage of another length than its tensors say"):
        torchfile.read(modern({"b": OLD["b"]}, **{key: b"123"}))
    short, long = Stored(STATE["a"].flatten()), Stored(torch.arange(4.0))
    assert long.tensor.data_ptr() != short.tensor.data_ptr()
    with zipfile.ZipFile(io.BytesIO(modern(OLD))) as archive:
        pickled = archive.read("archive/data.pkl")
    with pytest.raises(BenchError, match="a tensor without its storage"):
        torchfile.read(hostile(pickled, "modern"))


def test_archives_that_torch_did_not_write():
    with pytest.raises(BenchError, match=r"expected one data.pkl in one folder, found 0 among 1"):
        torchfile.read(zipped({"readme": b""}))
    with pytest.raises(BenchError, match="is a TorchScript archive, which holds code"):
        torchfile.read(zipped({"data.pkl": b"N.", "constants.pkl": b").", "code/x.py": b""}))
    with pytest.raises(BenchError, match="compressed, encrypted or overlapping members"):
        torchfile.read(zipped({"data.pkl": b"\0" * 10**6}, zipfile.ZIP_DEFLATED))
    damaged = bytearray(modern(OLD))
    damaged[damaged.index(pickles.raw(STATE["a"])) + 5] ^= 1
    with pytest.raises(BenchError, match=r"the file is damaged.*Bad CRC-32"):
        torchfile.read(bytes(damaged))
    encrypted = bytearray(modern(OLD))
    encrypted[encrypted.index(b"PK\x01\x02") + 8] |= 1
    with pytest.raises(BenchError, match="compressed, encrypted or overlapping members"):
        torchfile.read(bytes(encrypted))
    twice = io.BytesIO(modern(OLD))
    with zipfile.ZipFile(twice, "a") as archive, pytest.warns(UserWarning, match="Duplicate name"):
        archive.writestr("archive/byteorder", b"little")
    with pytest.raises(BenchError, match=r"a ZIP archive that torch.save did not write"):
        torchfile.read(twice.getvalue())
