"""Weight files as PyTorch 0.3.1 wrote them, and hostile ones: assembled, never loaded.

Python's own pickler writes them, but for stand-ins of the classes that PyTorch 0.3.1 had and this
one has not: a `Class` becomes the name that it says, an `Instance` a new object with a state, a
`Call` the result of a call.
"""

from __future__ import annotations

import io
import pickle
import struct
import zipfile
from collections import OrderedDict
from typing import NamedTuple

import torch

MAGIC = 0x1950A86A20F9469CFC6C
NAMES = {torch.float32: "FloatStorage", torch.int64: "LongStorage", torch.bool: "BoolStorage"}


class Class:
    def __init__(self, module: str, name: str) -> None:
        self.module, self.name = module, name


class Instance(NamedTuple):
    kind: Class
    state: object


class Call(NamedTuple):
    function: object
    arguments: tuple
    state: object = None


class Stored(NamedTuple):
    """The storage of a contiguous tensor."""

    tensor: torch.Tensor
    view: tuple | None = None


class Writer(pickle._Pickler):  # noqa: SLF001 - the pickler whose steps can be replaced
    """The pickler of `torch.save`; `modern` is that of the ZIP files."""

    def __init__(self, file, *, modern: bool = False) -> None:
        super().__init__(file, protocol=2)
        self.modern = modern
        self.stored: dict[str, torch.Tensor] = {}
        self.known: set[str] = set()

    def persistent_id(self, obj):
        if isinstance(obj, Stored):
            key = str(obj.tensor.data_ptr())
            self.stored[key] = obj.tensor
            kind = Class("torch", NAMES[obj.tensor.dtype])
            pid = ("storage", kind, key, "cuda:0", obj.tensor.numel(), obj.view)
            return pid[:5] if self.modern else pid
        is_module = (
            isinstance(obj, Class)
            and obj.name[0].isupper()
            and obj.module not in ("torch", "torch.nn.parameter")
        )
        if is_module and not self.modern and obj.name not in self.known:
            self.known.add(obj.name)
            return ("module", obj, "/home/author/model.py", f"class {obj.name}: ...")
        return None

    def save(self, obj, save_persistent_id=True):
        if isinstance(obj, (Stored, Class)) and (pid := self.persistent_id(obj)) is not None:
            super().save(pid, save_persistent_id=False)
            self.write(pickle.BINPERSID)
        elif isinstance(obj, Class):
            if id(obj) in self.memo:
                self.write(self.get(self.memo[id(obj)][0]))
            else:
                self.write(f"c{obj.module}\n{obj.name}\n".encode())
                self.memoize(obj)
        elif isinstance(obj, (Instance, Call)):
            if id(obj) in self.memo:
                self.write(self.get(self.memo[id(obj)][0]))
                return
            self.save(obj[0])
            self.save(obj.arguments if isinstance(obj, Call) else ())
            self.write(pickle.REDUCE if isinstance(obj, Call) else pickle.NEWOBJ)
            self.memoize(obj)
            if obj.state is not None:
                self.save(obj.state)
                self.write(pickle.BUILD)
        else:
            super().save(obj, save_persistent_id)


def legacy(obj, *, little: bool = True) -> bytes:
    """The file that torch.save of 0.3.1 writes of it."""
    file = io.BytesIO()
    info = {"protocol_version": 1001, "little_endian": little, "type_sizes": {"long": 4}}
    for head in (MAGIC, 1001, info):
        pickle.dump(head, file, protocol=2)
    writer = Writer(file)
    writer.dump(obj)
    pickle.dump(sorted(writer.stored), file, protocol=2)
    for key in sorted(writer.stored):
        file.write(struct.pack("<q", writer.stored[key].numel()) + raw(writer.stored[key]))
    return file.getvalue()


def modern(obj, **more: bytes) -> bytes:
    """The ZIP file that torch.save of today writes of it, with more members or others."""
    pickled = io.BytesIO()
    writer = Writer(pickled, modern=True)
    writer.dump(obj)
    members = {"data.pkl": pickled.getvalue(), "byteorder": b"little", "version": b"3\n"}
    members |= {f"data/{key}": raw(tensor) for key, tensor in writer.stored.items()}
    return zipped(members | more)


def zipped(members: dict[str, bytes], method: int = zipfile.ZIP_STORED) -> bytes:
    file = io.BytesIO()
    with zipfile.ZipFile(file, "w", method) as archive:
        for name, content in members.items():
            archive.writestr(f"archive/{name}", content)
    return file.getvalue()


def raw(tensor: torch.Tensor) -> bytes:
    return tensor.numpy().tobytes()


def hostile(program: bytes, form: str) -> bytes:
    """A file whose object is that pickle."""
    if form == "modern":
        return zipped({"data.pkl": program, "byteorder": b"little"})
    heads = (MAGIC, 1001, {"little_endian": True})
    return b"".join(pickle.dumps(head, 2) for head in heads) + program + pickle.dumps([], 2)


def old_tensor(tensor: torch.Tensor, view: tuple | None = None) -> Call:
    rebuild = Class("torch._utils", "_rebuild_tensor")
    base = tensor if tensor._base is None else tensor._base  # noqa: SLF001 - the storage's owner
    stored = Stored(base.flatten(), view)
    return Call(rebuild, (stored, tensor.storage_offset(), tuple(tensor.shape), tensor.stride()))


PARAMETER = Class("torch.nn.parameter", "Parameter")


def old_parameter(tensor: torch.Tensor) -> Call:
    """A Parameter of 0.3.1: the class with its tensor, then gradient flag, volatile and hooks."""
    return Call(PARAMETER, (old_tensor(tensor),), (True, False, OrderedDict()))


def old_module(kind: Class, parameters=(), buffers=(), modules=()) -> Instance:
    """A module of 0.3.1; its backend was pickled as a call."""
    backend = Call(Class("torch.nn.backends.thnn", "_get_thnn_function_backend"), ())
    return Instance(
        kind,
        {
            "_backend": backend,
            "_parameters": OrderedDict(parameters),
            "_buffers": OrderedDict(buffers),
            "_backward_hooks": OrderedDict(),
            "_forward_hooks": OrderedDict(),
            "_forward_pre_hooks": OrderedDict(),
            "_modules": OrderedDict(modules),
            "training": True,
        },
    )


CONV = Class("torch.nn.modules.conv", "Conv2d")
NET = Class("model", "Net")
PARALLEL = Class("torch.nn.parallel.data_parallel", "DataParallel")


def old_network(state: dict[str, torch.Tensor], kind: Class = NET) -> Instance:
    """Modules of 0.3.1 whose state dict is that one."""
    own, inner = {}, {}
    for name, tensor in state.items():
        head, _, rest = name.partition(".")
        if rest:
            inner.setdefault(head, {})[rest] = tensor
        else:
            own[name] = old_parameter(tensor)
    own.setdefault("absent", None)
    children = [(name, old_network(part, CONV)) for name, part in inner.items()]
    return old_module(kind, own.items(), (), children)


def in_parallel(network: Instance) -> Instance:
    wrapper = old_module(PARALLEL, modules=[("module", network)])
    wrapper.state.update(device_ids=[0, 1], output_device=0, dim=0)
    return wrapper


def calling(module: str, name: str, *arguments: object) -> bytes:
    file = io.BytesIO()
    Writer(file, modern=True).dump(Call(Class(module, name), arguments))
    return file.getvalue()


MADE = "made-by-the-file"
HOSTILE = {
    "os.system": calling("os", "system", f"touch {MADE}"),
    "posix.system": calling("posix", "system", f"touch {MADE}"),
    "nt.system": calling("nt", "system", f"touch {MADE}"),
    "subprocess.Popen": calling("subprocess", "Popen", ["touch", MADE]),
    "builtins.eval": calling("builtins", "eval", f"open({MADE!r}, 'w')"),
    "builtins.exec": calling("__builtin__", "exec", f"open({MADE!r}, 'w')"),
    "builtins.open": calling("io", "open", MADE, "w").replace(b"cio\n", b"cbuiltins\n"),
    "builtins.__import__": calling("builtins", "__import__", "os"),
    "builtins.getattr": calling("builtins", "getattr", Class("os", "path"), "sep"),
    "operator.attrgetter": calling("operator", "attrgetter", "system"),
    "functools.partial": calling("functools", "partial", Class("os", "system"), f"touch {MADE}"),
    "importlib.import_module": calling("importlib", "import_module", "os"),
    "runpy.run_path": calling("runpy", "run_path", "evil.py"),
    "pickle.loads": calling("pickle", "loads", b"cos\nsystem\n."),
    "torch.load": calling("torch", "load", "evil.pt"),
    "torch.serialization.load": calling("torch.serialization", "load", "evil.pt"),
    "torch.hub.load": calling("torch.hub", "load", "evil/evil", "main"),
    "torch.serialization.os.system": calling("torch.serialization", "os.system", "touch x"),
    "torch.storage._load_from_bytes": calling("torch.storage", "_load_from_bytes", b"x"),
    "numpy.testing._private.utils.runstring": calling(
        "numpy.testing._private.utils", "runstring", f"open({MADE!r}, 'w')", {}
    ),
    "copyreg.add_extension": calling("copy_reg", "add_extension", "os", "system", 1),
    "pip.main": calling("pip", "main", ["install", "x"]),
    "os.popen": b"(S'touch " + MADE.encode() + b"'\nios\npopen\n.",
    "os.spawnlp": b"(cos\nspawnlp\nK\x00S'touch'\no.",
    "os.execlp": b"\x80\x04\x8c\x02os\x8c\x06execlp\x93\x8c\x05touch\x85R.",
    "os.kill": b"\x80\x04\x8c\x02os\x8c\x04kill\x93\x8c\x05touch\x85R0N.",
    "what model.f gives": b"\x80\x02cmodel\nf\n)R)R.",
}
