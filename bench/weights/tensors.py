"""Names, records and tensors as a pickle describes them, none of which is looked up or called.

`REBUILT` says what the few calls stand for that weight files are made of.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from math import prod

from bench.errors import BenchError

# PyTorch's storage classes and dtypes, by the name of the dtype: what a file may hold.
_STORAGES = {
    "FloatStorage": "float32",
    "DoubleStorage": "float64",
    "HalfStorage": "float16",
    "BFloat16Storage": "bfloat16",
    "LongStorage": "int64",
    "IntStorage": "int32",
    "ShortStorage": "int16",
    "CharStorage": "int8",
    "ByteStorage": "uint8",
    "BoolStorage": "bool",
    "UntypedStorage": "uint8",
    "ComplexFloatStorage": "complex64",
    "ComplexDoubleStorage": "complex128",
}
ITEM_BYTES = {
    **dict.fromkeys(("uint8", "int8", "bool"), 1),
    **dict.fromkeys(("int16", "float16", "bfloat16"), 2),
    **dict.fromkeys(("int32", "float32"), 4),
    **dict.fromkeys(("int64", "float64", "complex64"), 8),
    "complex128": 16,
}
VARIABLES = (
    "torch.autograd.variable.Variable",
    "torch.nn.parameter.Parameter",
    "torch.nn.parameter.Buffer",
    "torch.nn.Parameter",
)


@dataclass(frozen=True)
class Name:
    """A class or function that the file names, dotted, as text."""

    full: str

    def __str__(self) -> str:
        """The name as a message can show it."""
        short = self.full if len(self.full) <= 80 else self.full[:80] + "..."
        return "".join(letter if letter.isprintable() else "?" for letter in short)


@dataclass(frozen=True)
class Storage:
    """A run of elements of one dtype, kept outside the pickle under `key`; `start` in elements.

    A view of another storage has that one's key.
    """

    key: str
    dtype: str
    numel: int
    start: int = 0


@dataclass(frozen=True)
class View:
    """A tensor: a stored run of elements, by its key, seen from an offset under size and stride.

    Offset and stride count elements of `dtype`; all that is seen lies inside the storage.
    """

    key: str
    dtype: str
    offset: int
    size: tuple[int, ...]
    stride: tuple[int, ...]


@dataclass(eq=False)
class Record:
    """An object of a class that stays unknown: what it was made from, its state, its items."""

    kind: str
    arguments: tuple[object, ...] = ()
    state: object = None
    items: list[object] = field(default_factory=list)
    entries: dict[object, object] = field(default_factory=dict)


def fault(found: str) -> BenchError:
    """The error of a file that does not follow the format."""
    return BenchError(
        "the file is damaged", expected="a whole pickle", found=found, todo="fetch it again"
    )


def tensor(value: object) -> View | None:
    """The tensor that a value is, if it is one: a View, or one of PyTorch 0.3's Variables.

    Variables were written as the class with the tensor, or, before 0.2, as the class alone with
    the tensor first in its state.
    """
    if isinstance(value, Record) and value.kind in VARIABLES:
        state = value.state if isinstance(value.state, tuple) else ()
        value = next(iter(value.arguments or state), None)
    return value if isinstance(value, View) else None


def hostile(what: str) -> BenchError:
    """The error of a file that wants something to be run."""
    return BenchError(
        f"the file asks to call {what}",
        expected="tensors and modules, which need no such call",
        todo="nothing was run; ask the author why, or use another file",
    )


def hashable(key: object) -> object:
    """The key itself if it is text or a number, else a stand-in that equals nothing.

    Python hashes nested tuples by recursion in C, without a bound.
    """
    return key if isinstance(key, (str, bytes, int, float, type(None), Name)) else Record("key")


def padded(arguments: tuple[object, ...]) -> Iterator[object]:
    """Seven arguments, which is as many as any function below looks at."""
    yield from (*arguments, *(None,) * 7)[:7]


def _count(value: object, what: str) -> int:
    if type(value) is not int or not 0 <= value <= 2**48:
        raise fault(f"{what} that is no count")
    return value


def storage(kind: object, key: object, numel: object) -> Storage:
    """The storage of that class, key and number of elements."""
    if not isinstance(kind, Name) or not isinstance(key, str):
        raise fault("a storage without type or key")
    package, _, name = kind.full.rpartition(".")
    if package not in ("torch", "torch.cuda", "torch.storage") or name not in _STORAGES:
        raise BenchError(
            f"the file holds a {kind}",
            expected="storages of plain numbers",
            todo="save it again with an ordinary dtype",
        )
    return Storage(key, _STORAGES[name], _count(numel, "a storage's size"))


def part(storage: Storage, view: object) -> Storage:
    """The part of a storage that PyTorch before 0.4 called a view: (key, offset, size) or None."""
    if view is None:
        return storage
    if not isinstance(view, tuple) or len(view) != 3:
        raise fault("a view of a storage without offset and size")
    start, numel = _count(view[1], "an offset"), _count(view[2], "a size")
    if start + numel > storage.numel:
        raise fault("a view that reaches outside its storage")
    return Storage(storage.key, storage.dtype, numel, start)


def _tensor(storage: object, offset: object, size: object, stride: object, *_: object) -> View:
    return _view(storage, offset, size, stride, None)


def _tensor_v3(
    storage: object,
    offset: object,
    size: object,
    stride: object,
    _: object,
    __: object,
    dtype: object,
) -> View:
    return _view(storage, offset, size, stride, dtype)


def _view(storage: object, offset: object, size: object, stride: object, dtype: object) -> View:
    if not isinstance(storage, Storage):
        raise fault("a tensor without a storage")
    kind = dtype.full.removeprefix("torch.") if isinstance(dtype, Name) else storage.dtype
    if kind not in ITEM_BYTES:
        raise BenchError(
            f"the file holds tensors of {Name(kind)}",
            expected="an ordinary dtype",
            todo="save it again with one of " + ", ".join(ITEM_BYTES),
        )
    if not isinstance(size, tuple) or not isinstance(stride, tuple) or len(size) != len(stride):
        raise fault("a tensor whose size and stride do not go together")
    sizes = tuple(_count(n, "a tensor's size") for n in size)
    strides = tuple(_count(n, "a tensor's stride") for n in stride)
    first = _count(offset, "a tensor's offset")
    last = first + sum((n - 1) * step for n, step in zip(sizes, strides, strict=True))
    outside = all(sizes) and last >= _elements(storage, storage.numel, kind)
    if outside or len(sizes) > 32 or prod([n or 1 for n in sizes]) > 2**48:
        raise fault("a tensor that reaches outside its storage")
    return View(storage.key, kind, first + _elements(storage, storage.start, kind), sizes, strides)


def _elements(storage: Storage, count: int, dtype: str) -> int:
    """A number of the storage's elements in those of a tensor's dtype, which may be another."""
    return count * ITEM_BYTES[storage.dtype] // ITEM_BYTES[dtype]


def _first(value: object, *_: object) -> object:
    """What a call passes on: a parameter its tensor, a size its tuple."""
    return value


def _with_attributes(function: object, _: object, arguments: object, *__: object) -> object:
    """A tensor that carries Python attributes, or is of a subclass; those are left out."""
    if not isinstance(function, Name) or not isinstance(arguments, tuple):
        raise fault("a tensor without the function that makes it")
    made = REBUILT.get(function.full)
    if made not in (_tensor, _tensor_v3):
        raise hostile(str(function))
    return made(*padded(arguments))


def _set(values: object, *_: object) -> object:
    return set(map(hashable, values)) if isinstance(values, list) else set()


def _dict(pairs: object, *_: object) -> object:
    """A dictionary; Python 2 gives a list of pairs."""
    made: dict[object, object] = {}
    for pair in pairs if isinstance(pairs, list) else []:
        if not isinstance(pair, (list, tuple)) or len(pair) != 2:
            raise fault("a key without its value")
        made[hashable(pair[0])] = pair[1]
    return made


REBUILT: dict[str, Callable[..., object]] = {
    "torch._utils._rebuild_tensor": _tensor,
    "torch._utils._rebuild_tensor_v2": _tensor,
    "torch._utils._rebuild_tensor_v3": _tensor_v3,
    "torch._utils._rebuild_parameter": _first,
    "torch._utils._rebuild_parameter_with_state": _first,
    "torch._tensor._rebuild_from_type_v2": _with_attributes,
    "torch.Size": _first,
    "collections.OrderedDict": _dict,
    "builtins.dict": _dict,
    "builtins.set": _set,
    "builtins.frozenset": _set,
}
