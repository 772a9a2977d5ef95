from __future__ import annotations

import io
import os
import pickle
import struct
import subprocess
import sys
from collections import OrderedDict, defaultdict

import pytest
from pickles import HOSTILE, MADE, Class, Instance, Writer, calling

from bench.errors import BenchError
from bench.weights import inert
from bench.weights.tensors import Name, Record


def load(program: bytes) -> object:
    return inert.read(io.BytesIO(program)).root


PLAIN = {
    "numbers": [0, -1, 255, 65536, -(2**31), 2**40, -(2**80), 10**100, 0.5, -1e300, True, False],
    "text": ["", "a", "\u00e9\U0001f600", "x" * 300, b"", b"\x00\xff", b"y" * 300],
    "nested": ((), (1,), (1, 2), (1, 2, 3), (1, 2, 3, 4), [[]], {"a": {"b": None}}, [1] * 2000),
    "keys": {1: "a", None: "b", 2.5: "c", b"d": "e", False: "f"},
    "sets": {1, 2, 3},
    "entries": {str(i): i for i in range(2000)},
}


@pytest.mark.parametrize("protocol", range(pickle.HIGHEST_PROTOCOL + 1))
def test_plain_objects_come_back(protocol):
    if protocol < 3:  # where Python 3 writes bytes as a call of _codecs.encode
        plain = {key: value for key, value in PLAIN.items() if key not in ("text", "keys")}
    else:
        plain = PLAIN
    assert load(pickle.dumps(plain, protocol)) == plain
    shared = ["x"]
    first, second = load(pickle.dumps([shared, shared], protocol))
    assert first is second
    loop: list[object] = []
    loop.append(loop)
    back = load(pickle.dumps(loop, protocol))
    assert isinstance(back, list)
    assert back[0] is back
    ordered = OrderedDict(b=1, a=[2])
    assert list(load(pickle.dumps(ordered, protocol)).items()) == [("b", 1), ("a", [2])]


class Thing:
    def __init__(self) -> None:
        self.size = 3

    def __setstate__(self, state):
        raise AssertionError("an object's own code ran")


class Slotted:
    __slots__ = ("size",)


class Listed(list):
    pass


class Mapped(dict):
    pass


@pytest.mark.parametrize("protocol", range(pickle.HIGHEST_PROTOCOL + 1))
def test_objects_of_any_class_become_records(protocol):
    found = load(pickle.dumps(Thing(), protocol))
    assert isinstance(found, Record)
    assert (found.kind, found.state) == (f"{__name__}.Thing", {"size": 3})
    assert load(pickle.dumps(Thing, protocol)) == Name(f"{__name__}.Thing")
    if protocol >= 2:
        slotted = Slotted()
        slotted.size = 4
        assert load(pickle.dumps(slotted, protocol)).state == (None, {"size": 4})
        assert load(pickle.dumps(Listed([1, 2]), protocol)).items == [1, 2]
        assert load(pickle.dumps(Mapped(a=1), protocol)).entries == {"a": 1}
    counted = load(pickle.dumps(defaultdict(int, a=1), protocol))
    assert (counted.kind, counted.entries) == ("collections.defaultdict", {"a": 1})


def test_old_style_objects_become_records():
    assert load(b"(imodel\nNet\n.").kind == "model.Net"
    assert load(b"(cmodel\nNet\nK\x01o.").arguments == (1,)
    named = load(b"\x80\x04cmodel\nNet\n)}\x92.")
    assert (named.kind, named.arguments) == ("model.Net", ())


@pytest.mark.parametrize("asked", HOSTILE)
def test_a_call_is_named_and_never_made(asked, tmp_path, monkeypatch):
    def run(*_: object, **__: object) -> None:
        raise AssertionError("it ran")

    monkeypatch.setattr(os, "system", run)
    monkeypatch.setattr(subprocess, "Popen", run)
    with pytest.raises(BenchError) as caught:
        load(HOSTILE[asked])
    assert str(caught.value) == (
        f"the file asks to call {asked}: expected tensors and modules, which need no such call; "
        "nothing was run; ask the author why, or use another file"
    )
    assert not list((tmp_path / "here").iterdir())


def test_the_programs_above_would_run():
    """What the test above refuses does run where pickles are loaded in the ordinary way."""
    from pathlib import Path

    pickle.loads(HOSTILE["posix.system"])  # noqa: S301 - our own
    assert Path(MADE).exists()


def test_the_publishers_own_code_is_neither_called_nor_imported(tmp_path, monkeypatch):
    (tmp_path / "evil_code.py").write_text(f"open({str(tmp_path / MADE)!r}, 'w')\n")
    monkeypatch.syspath_prepend(tmp_path)
    found = load(calling("evil_code", "run", 1))
    assert (found.kind, found.arguments) == ("evil_code.run", (1,))
    assert "evil_code" not in sys.modules
    assert not (tmp_path / MADE).exists()


def test_a_reference_to_a_function_is_text():
    assert load(b"cos\nsystem\n.") == Name("os.system")
    assert load(b"\x80\x04\x8c\x02os\x8c\x06system\x93.") == Name("os.system")
    # A state with __setstate__ or __reduce__ in it is data like any other.
    found = load(
        pickle.dumps({"__setstate__": 1}, 2)[:-1] + b"0cmodel\nNet\n)\x81}"
        b"X\x0c\x00\x00\x00__setstate__cos\nsystem\nsb."
    )
    assert found.state == {"__setstate__": Name("os.system")}


BROKEN = {
    "empty": b"",
    "no end": b"\x80\x02N",
    "nothing to return": b".",
    "unknown instruction": b"\xff.",
    "protocol": b"\x80\x06N.",
    "reduce without arguments": b"cmodel\nNet\nR.",
    "reduce of no tuple": b"cmodel\nNet\nNR.",
    "object of no class": b"N)\x81.",
    "object of a class of classes": b"\x80\x04K\x01)}\x92.",
    "no mark": b"K\x01t.",
    "empty old object": b"(o.",
    "odd entries": b"}(K\x01u.",
    "odd dictionary": b"(K\x01d.",
    "entries for a list": b"](K\x01K\x02u.",
    "entries for a number": b"K\x05K\x01K\x02s.",
    "items for a dictionary": b"}K\x01a.",
    "items for a tuple": b")(K\x01e.",
    "added to a number": b"\x80\x04K\x01(K\x01\x90.",
    "build of nothing": b"}b.",
    "memo before": b"g7\n.",
    "memo below zero": b"Np-1\n.",
    "memo of nothing": b"q\x00.",
    "name of a number": b"\x80\x04K\x01K\x02\x93.",
    "pairs": b"ccollections\nOrderedDict\n](K\x01ae\x85R.",
    "long int": b"L" + b"9" * 5000 + b"L\n.",
    "length beyond the end": b"\x8e" + struct.pack("<Q", 2**62) + b"x.",
    "length beyond all": b"\x8e" + struct.pack("<Q", 2**64 - 1) + b"x.",
    "negative length": b"T\xff\xff\xff\xffx.",
    "text that is not UTF-8": b"X\x01\x00\x00\x00\xff.",
}


@pytest.mark.parametrize("name", BROKEN)
def test_broken_pickles(name):
    with pytest.raises(BenchError, match=r"^the file is damaged: expected a whole pickle, found ."):
        load(BROKEN[name])


@pytest.mark.parametrize(
    ("program", "name"),
    [
        (b"\x82\x01.", "EXT1"),
        (b"\x83\x01\x00.", "EXT2"),
        (b"\x84\x01\x00\x00\x00.", "EXT4"),
        (b"Pos.system\n.", "PERSID"),
        (b"\x80\x05\x97.", "NEXT_BUFFER"),
        (b"\x80\x05N\x98.", "READONLY_BUFFER"),
    ],
)
def test_instructions_that_reach_outside_are_refused(program, name):
    with pytest.raises(BenchError, match=f"uses the pickle instruction {name}: expected those"):
        load(program)


@pytest.mark.parametrize(
    "program", [b"NQ.", b"(X\x04\x00\x00\x00fileNtQ.", b"(X\x06\x00\x00\x00moduleNNNtQ."]
)
def test_references_to_other_things_are_refused(program):
    with pytest.raises(BenchError, match="neither a storage nor a module's class"):
        load(program)


def test_depth_and_size_do_no_harm():
    deep = load(b")" + b"\x85" * 300_000 + b".")  # hashing or comparing it would end the process
    assert isinstance(deep, tuple)
    keyed = load(b"}" + b")" + b"\x85" * 300_000 + b"K\x01s.")
    assert list(keyed.values()) == [1]
    chained = load(b"cm\nN\nq\x000h\x00)\x81" + b"q\x010h\x00)\x81h\x01b" * 100_000 + b".")
    assert isinstance(chained, Record)
    far = load(b"Nr\xff\xff\xff\x7fj\xff\xff\xff\x7f.")  # the C unpickler makes room for 2**31
    assert far is None


def test_lists_cannot_be_copied_without_end():
    copies = b"cbuiltins\nset\nq\x000](" + b"N" * 200_000 + b"eq\x010" + b"h\x00h\x01\x85R0" * 99
    with pytest.raises(BenchError, match="copied without end"):
        load(copies + b"N.")


def test_messages_show_names_safely():
    with pytest.raises(BenchError) as caught:
        load(b"cos\n\x1b[2J" + b"x" * 500 + b"\n)R.")
    assert "call os.?[2Jxxx" in str(caught.value)
    assert len(str(caught.value)) < 300


def test_instances_written_by_hand_agree_with_pickle():
    file = io.BytesIO()
    Writer(file, modern=True).dump(Instance(Class(__name__, "Thing"), {"size": 3}))
    by_hand, by_pickle = load(file.getvalue()), load(pickle.dumps(Thing(), 2))
    assert (by_hand.kind, by_hand.state) == (by_pickle.kind, by_pickle.state)
