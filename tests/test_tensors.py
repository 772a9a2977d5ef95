from __future__ import annotations

import io

import pytest
import torch
from pickles import PARAMETER, Call, Class, Instance, Stored, Writer, old_parameter, old_tensor

from bench.errors import BenchError
from bench.weights import inert, tensors
from bench.weights.tensors import ITEM_BYTES, Name, Record, View


def load(obj: object) -> object:
    file = io.BytesIO()
    Writer(file).dump(obj)
    return inert.read(io.BytesIO(file.getvalue())).root


def rebuilt(*arguments: object, function: str = "_rebuild_tensor") -> Call:
    return Call(Class("torch._utils", function), arguments)


TWELVE = torch.arange(12.0)


def test_a_tensor_is_described():
    view = load(old_tensor(TWELVE.view(3, 4).t()[1:]))
    assert view == View(str(TWELVE.data_ptr()), "float32", 1, (3, 3), (1, 4))


def test_variables_of_each_age_are_tensors():
    """Written with their tensor (0.2 to 0.3), or with it first in their state (before)."""
    plain = tensors.tensor(load(old_tensor(TWELVE)))
    assert plain is not None
    assert tensors.tensor(load(old_parameter(TWELVE))) == plain
    variable = Class("torch.autograd.variable", "Variable")
    assert tensors.tensor(load(Call(variable, (old_tensor(TWELVE),), (False,) * 3))) == plain
    older = Instance(PARAMETER, (old_tensor(TWELVE), None, None, True, False))
    assert tensors.tensor(load(older)) == plain
    new = rebuilt(old_tensor(TWELVE), True, {}, function="_rebuild_parameter")
    assert tensors.tensor(load(new)) == plain
    with_state = rebuilt(old_tensor(TWELVE), True, {}, {"a": 1}, function="_rebuild_parameter")
    assert tensors.tensor(load(with_state)) == plain
    for nothing in (None, 3, Record("model.Net"), Record("torch.nn.Parameter")):
        assert tensors.tensor(nothing) is None


def test_a_tensor_with_attributes_loses_them():
    inner = (Class("torch._utils", "_rebuild_tensor_v2"), Class("torch", "Tensor"))
    known = old_tensor(TWELVE).arguments
    made = Call(Class("torch._tensor", "_rebuild_from_type_v2"), (*inner, known, {"a": 1}))
    assert load(made) == load(old_tensor(TWELVE))
    evil = (Class("os", "system"), Class("torch", "Tensor"), ("touch x",), {})
    with pytest.raises(BenchError, match=r"asks to call os.system"):
        load(Call(Class("torch._tensor", "_rebuild_from_type_v2"), evil))
    with pytest.raises(BenchError, match="without the function that makes it"):
        load(Call(Class("torch._tensor", "_rebuild_from_type_v2"), (1,)))


def test_an_untyped_storage_takes_the_dtype_of_its_tensor(monkeypatch):
    monkeypatch.setitem(__import__("pickles").NAMES, torch.uint8, "UntypedStorage")
    data = torch.zeros(24, dtype=torch.uint8)
    typed = Class("torch", "int16")

    def of(count: int) -> Call:
        shape = (Stored(data), 0, (count,), (1,), False, {}, typed)
        return rebuilt(*shape, function="_rebuild_tensor_v3")

    assert load(of(12)).dtype == "int16"
    with pytest.raises(BenchError, match="outside its storage"):
        load(of(13))
    typed = Class("torch", "float8_e5m2")
    with pytest.raises(BenchError, match="holds tensors of float8_e5m2: expected an ordinary"):
        load(of(12))


@pytest.mark.parametrize(
    ("offset", "size", "stride"),
    [
        (0, (13,), (1,)),
        (1, (12,), (1,)),
        (12, (), ()),
        (0, (3, 4), (5, 1)),
        (0, (2,), (12,)),
        (0, (2**47,), (2**47,)),
    ],
)
def test_tensors_stay_inside_their_storage(offset, size, stride):
    with pytest.raises(BenchError, match="a tensor that reaches outside its storage"):
        load(rebuilt(Stored(TWELVE), offset, size, stride))


@pytest.mark.parametrize(
    ("offset", "size", "stride", "words"),
    [
        (-1, (2,), (1,), "a tensor's offset that is no count"),
        (0, (-2,), (1,), "a tensor's size that is no count"),
        (0, (2,), (-1,), "a tensor's stride that is no count"),
        (0, (True,), (1,), "a tensor's size that is no count"),
        (0, (2.0,), (1,), "a tensor's size that is no count"),
        (0, (2**63,), (0,), "a tensor's size that is no count"),
        (None, (2,), (1,), "a tensor's offset that is no count"),
        (0, (2, 2), (1,), "size and stride do not go together"),
        (0, [2], [1], "size and stride do not go together"),
        (0, (2**40, 2**40, 0), (0, 0, 0), "outside its storage"),
        (0, (1,) * 40, (1,) * 40, "outside its storage"),
    ],
)
def test_impossible_tensors(offset, size, stride, words):
    with pytest.raises(BenchError, match=words):
        load(rebuilt(Stored(TWELVE), offset, size, stride))


def test_impossible_storages():
    whole = (0, (4,), (1,))
    for view, words in (
        (("v", 8, 5), "a view that reaches outside its storage"),
        (("v", -1, 5), "an offset that is no count"),
        (("v", 8), "a view of a storage without offset and size"),
    ):
        with pytest.raises(BenchError, match=words):
            load(rebuilt(Stored(TWELVE, view), *whole))
    part = load(rebuilt(Stored(TWELVE, ("v", 8, 4)), *whole))
    assert part == View(str(TWELVE.data_ptr()), "float32", 8, (4,), (1,))
    with pytest.raises(BenchError, match="a tensor that reaches outside its storage"):
        load(rebuilt(Stored(TWELVE, ("v", 8, 3)), *whole))
    with pytest.raises(BenchError, match="a tensor without a storage"):
        load(rebuilt(None, *whole))
    with pytest.raises(BenchError, match="a tensor without a storage"):
        load(Call(Class("torch._utils", "_rebuild_tensor"), ()))


@pytest.mark.parametrize(
    ("kind", "words"),
    [
        (Name("torch.QInt8Storage"), "the file holds a torch.QInt8Storage: expected storages of"),
        (Name("os.FloatStorage"), "the file holds a os.FloatStorage"),
        (None, "a storage without type or key"),
    ],
)
def test_storages_of_other_kinds(kind, words):
    with pytest.raises(BenchError, match=words):
        tensors.storage(kind, "1", 4)


def test_other_kinds_of_tensors_are_named():
    with pytest.raises(
        BenchError, match=r"expected dense tensors .* found torch._utils._rebuild_spa"
    ):
        load(rebuilt(1, function="_rebuild_sparse_tensor"))


def test_every_dtype_has_the_size_that_torch_says():
    for name, size in ITEM_BYTES.items():
        assert torch.empty(0, dtype=getattr(torch, name)).element_size() == size
