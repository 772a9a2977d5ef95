"""Pickle -> what it says, read without running any of it.

A pickle is a program whose instructions name functions and call them. Here the instructions are
walked one by one, and nothing that they name is ever looked up: a name stays text, the tensors and
containers that weight files are made of are rebuilt by the functions of `tensors`, and an
object of any other class becomes a Record of what the file stores about it.
"""

from __future__ import annotations

import pickletools
import sys
import warnings
from collections.abc import Callable
from typing import BinaryIO, NamedTuple

from bench.errors import BenchError
from bench.weights import tensors
from bench.weights.tensors import REBUILT, Name, Record, Storage, fault, hashable, hostile

# Python 2's names of modules, which files of protocol 2 use to this day.
_RENAMED = {"__builtin__": "builtins", "copy_reg": "copyreg"}
# Code that every machine with PyTorch has: a call to it is what a hostile file is made of. Calls
# to the publisher's own code, which is not here, stay Records.
_EVERYWHERE = sys.stdlib_module_names | {"commands", "numpy", "pip", "setuptools", "torch"}
# Calls of that kind which honest files make too. They are not carried out either.
_HARMLESS = {
    *(f"builtins.{name}" for name in ("bytearray", "bytes", "complex", "range", "slice", "xrange")),
    *(f"collections.{name}" for name in ("Counter", "defaultdict", "deque")),
    *(f"datetime.{name}" for name in ("date", "datetime", "time", "timedelta")),
    *(f"pathlib.{name}Path" for name in ("Posix", "PurePosix", "Windows", "PureWindows")),
    *(f"numpy.{core}.multiarray._reconstruct" for core in ("core", "_core")),
    *(f"numpy.{core}.multiarray.scalar" for core in ("core", "_core")),
    *("numpy.dtype", "_codecs.encode", "torch.device", "types.SimpleNamespace"),
    *tensors.VARIABLES,
}
_MOST_COPIED = 1_000_000  # items of lists that calls copy


class Content(NamedTuple):
    """What one pickle says: its object, the storages it refers to, the classes left as Records."""

    root: object
    storages: dict[str, Storage]
    kinds: frozenset[str]


def read(file: BinaryIO) -> Content:
    """The next pickle of the file, which is left behind its last byte.

    Raises BenchError where it is no whole pickle, or asks to call what no weights need.
    """
    machine = _Machine()
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", DeprecationWarning)  # of backslashes in names
            for opcode, argument, _ in pickletools.genops(file):
                machine.step(opcode.name, argument)
        return Content(machine.stack[-1], machine.storages, frozenset(machine.kinds))
    except IndexError as error:  # the stack or the marks ran out
        raise fault("an instruction without its operand") from error
    except (ValueError, OverflowError) as error:
        raise fault(str(error)[:80] or "bytes that are no instruction") from error


class _Machine:
    """The stack machine of pickles; its instructions are those that `pickletools` lists."""

    def __init__(self) -> None:
        self.stack: list[object] = []
        self.marks: list[list[object]] = []
        self.memo: dict[int, object] = {}
        self.storages: dict[str, Storage] = {}
        self.kinds: set[str] = set()
        self.copied = 0

    def step(self, name: str, argument: object) -> None:
        """Carries out one instruction."""
        if name in _PUSHED:
            self.push(argument)
        elif name in _MADE:
            self.push(_MADE[name]())
        elif name in _STEPS:
            _STEPS[name](self, argument)
        else:
            raise BenchError(
                f"the file uses the pickle instruction {name}",
                expected="those that torch.save writes",
                todo="nothing was run; do not use this file",
            )

    def push(self, value: object) -> None:
        """Puts an object on the stack of the moment: taking what lies above a mark replaces it."""
        self.stack.append(value)

    def top(self, count: int) -> list[object]:
        """The last `count` objects, taken off the stack."""
        if len(self.stack) < count:
            raise IndexError
        place = len(self.stack) - count
        found = self.stack[place:]
        del self.stack[place:]
        return found

    def since_mark(self) -> list[object]:
        """The objects above the last mark, taken off the stack."""
        found, self.stack = self.stack, self.marks.pop()
        return found

    def call(self, function: object, arguments: object) -> None:
        """Puts on the stack what a call stands for; it is never made."""
        if isinstance(function, Record):
            raise hostile(f"what {Name(function.kind)} gives")
        if not isinstance(function, Name) or not isinstance(arguments, tuple):
            raise fault("a call without function or arguments")
        self.copied += sum(len(one) for one in arguments if isinstance(one, list))
        if self.copied > _MOST_COPIED:
            raise fault("lists that are copied without end")
        if function.full in REBUILT:
            self.push(REBUILT[function.full](*tensors.padded(arguments)))
        elif function.full in ("copyreg._reconstructor", "copyreg.__newobj__"):
            self.instance(arguments[0] if arguments else None, arguments[1:])
        elif function.full.startswith("torch._utils._rebuild"):
            raise BenchError(
                "the file holds a kind of tensor that is not read",
                expected="dense tensors of plain numbers",
                found=str(function),
                todo="save it again as such",
            )
        elif _is_hostile(function.full):
            raise hostile(str(function))
        else:
            self.instance(function, arguments)

    def instance(self, kind: object, arguments: object) -> None:
        """Puts a Record on the stack."""
        if not isinstance(kind, Name) or not isinstance(arguments, tuple):
            raise fault("an object of something that is no class")
        self.kinds.add(str(kind))
        self.push(Record(kind.full, arguments))

    def append(self, values: list[object]) -> None:
        """Adds to the list or set on the stack."""
        target = self.stack[-1]
        if isinstance(target, Record):
            target = target.items
        if isinstance(target, set):
            target.update(map(hashable, values))
        elif isinstance(target, list):
            target += values
        else:
            raise fault("items for something that holds none")

    def set_items(self, values: list[object]) -> None:
        """Adds to the dictionary on the stack."""
        target = self.stack[-1]
        if isinstance(target, Record):
            target = target.entries
        if not isinstance(target, dict):
            raise fault("entries for something that holds none")
        target.update(_pairs(values))

    def mark(self, _: object) -> None:
        self.marks.append(self.stack)
        self.stack = []

    def pop(self, _: object) -> None:
        if self.stack:
            self.stack.pop()
        else:
            self.since_mark()

    def protocol(self, version: object) -> None:
        if not isinstance(version, int) or version > 5:
            raise fault(f"pickle protocol {version}")

    def put(self, place: object) -> None:
        self.memo[_place(place)] = self.stack[-1]

    def get(self, place: object) -> None:
        if _place(place) not in self.memo:
            raise fault("a reference to what was not said before")
        self.push(self.memo[_place(place)])

    def name(self, words: object) -> None:
        """A name in one line; pickletools joins its two parts with a space."""
        module, _, name = str(words).partition(" ")
        self.push(Name(f"{_RENAMED.get(module, module)}.{name}"))

    def name_on_stack(self, _: object) -> None:
        module, name = self.top(2)
        if not isinstance(name, str) or not isinstance(module, str):
            raise fault("a name that is no text")
        self.name(f"{module} {name}")

    def reduce(self, _: object) -> None:
        self.call(*self.top(2))

    def old_object(self, _: object) -> None:
        kind, *arguments = self.since_mark() or [None]
        self.call(kind, tuple(arguments))

    def old_instance(self, words: object) -> None:
        arguments = tuple(self.since_mark())
        self.name(words)
        self.call(self.stack.pop(), arguments)

    def new_object(self, _: object) -> None:
        self.instance(*self.top(2))

    def new_object_with_keywords(self, _: object) -> None:
        kind, arguments, _keywords = self.top(3)
        self.instance(kind, arguments)

    def build(self, _: object) -> None:
        """The state of a Record; what else has one (a dictionary's attributes) loses it."""
        (state,) = self.top(1)
        if isinstance(self.stack[-1], Record):
            self.stack[-1].state = state

    def persistent(self, _: object) -> None:
        """A storage, or a module's class, which PyTorch stored together with its source text."""
        (saved,) = self.top(1)
        if isinstance(saved, tuple) and len(saved) == 4 and saved[0] == "module":
            if isinstance(saved[1], Name):
                self.push(saved[1])
                return
        elif isinstance(saved, tuple) and len(saved) in (5, 6) and saved[0] == "storage":
            storage = tensors.storage(saved[1], saved[2], saved[4])
            if self.storages.setdefault(storage.key, storage) != storage:
                raise fault("two storages under one key")
            self.push(tensors.part(storage, saved[5] if len(saved) == 6 else None))
            return
        raise fault("a reference to something that is neither a storage nor a module's class")


def _is_hostile(function: str) -> bool:
    """Whether no honest file calls it. PyTorch 0.3's modules call for their backend."""
    here = function.partition(".")[0] in _EVERYWHERE
    return here and function not in _HARMLESS and not function.startswith("torch.nn.")


def _place(place: object) -> int:
    if not isinstance(place, int) or place < 0:
        raise fault("a memo place below zero")
    return place


def _pairs(values: list[object]) -> dict[object, object]:
    if len(values) % 2:
        raise fault("a key without its value")
    return dict(zip(map(hashable, values[::2]), values[1::2], strict=True))


_PUSHED = {
    *("INT", "BININT", "BININT1", "BININT2", "LONG", "LONG1", "LONG4", "FLOAT", "BINFLOAT"),
    *("STRING", "BINSTRING", "SHORT_BINSTRING", "BINBYTES", "SHORT_BINBYTES", "BINBYTES8"),
    *("UNICODE", "SHORT_BINUNICODE", "BINUNICODE", "BINUNICODE8", "BYTEARRAY8"),
}
_MADE: dict[str, Callable[[], object]] = {
    "NONE": lambda: None,
    "NEWTRUE": lambda: True,
    "NEWFALSE": lambda: False,
    "EMPTY_LIST": list,
    "EMPTY_DICT": dict,
    "EMPTY_TUPLE": tuple,
    "EMPTY_SET": set,
}
_STEPS: dict[str, Callable[[_Machine, object], object]] = {
    "PROTO": _Machine.protocol,
    "FRAME": lambda _, __: None,  # where to read ahead
    "STOP": lambda _, __: None,  # pickletools ends there
    "MARK": _Machine.mark,
    "POP": _Machine.pop,
    "POP_MARK": lambda m, _: m.since_mark(),
    "DUP": lambda m, _: m.push(m.stack[-1]),
    "TUPLE": lambda m, _: m.push(tuple(m.since_mark())),
    "TUPLE1": lambda m, _: m.push(tuple(m.top(1))),
    "TUPLE2": lambda m, _: m.push(tuple(m.top(2))),
    "TUPLE3": lambda m, _: m.push(tuple(m.top(3))),
    "LIST": lambda m, _: m.push(list(m.since_mark())),
    "DICT": lambda m, _: m.push(_pairs(m.since_mark())),
    "FROZENSET": lambda m, _: m.push(set(map(hashable, m.since_mark()))),
    "APPEND": lambda m, _: m.append(m.top(1)),
    "APPENDS": lambda m, _: m.append(m.since_mark()),
    "ADDITEMS": lambda m, _: m.append(m.since_mark()),
    "SETITEM": lambda m, _: m.set_items(m.top(2)),
    "SETITEMS": lambda m, _: m.set_items(m.since_mark()),
    **dict.fromkeys(("PUT", "BINPUT", "LONG_BINPUT"), _Machine.put),
    "MEMOIZE": lambda m, _: m.put(len(m.memo)),
    **dict.fromkeys(("GET", "BINGET", "LONG_BINGET"), _Machine.get),
    "GLOBAL": _Machine.name,
    "STACK_GLOBAL": _Machine.name_on_stack,
    "REDUCE": _Machine.reduce,
    "OBJ": _Machine.old_object,
    "INST": _Machine.old_instance,
    "NEWOBJ": _Machine.new_object,
    "NEWOBJ_EX": _Machine.new_object_with_keywords,
    "BUILD": _Machine.build,
    "BINPERSID": _Machine.persistent,
}
