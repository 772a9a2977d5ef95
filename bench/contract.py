"""A user's own method: what its factory must give, and how bench.restore is shown that.

A factory is a function or a class without arguments. What it gives can be called, such as a
torch.nn.Module, and has these attributes, of which only `scale` must be there:

    scale           of SR over LR: 1, 2, 3 or 4
    window          number of LR frames about the wanted one, odd; without it, the clip
    edge            how windows are filled at a clip's ends (see bench.restore.window_indices):
                    `reflection` unless another is named
    inputs          in place of `window`, for a method that doubles the frame rate: the number of LR
                    frames, every second one of the clip, that make 2 inputs - 1 SR frames
    size_multiple   LR height and width must be multiples of it: 1
    minimum_size    LR height and width must not be smaller: 0
    value_range     the value of white: 1.0, or 255.0

It is called with one argument, float frames (1, t, 3, h, w), RGB from 0 to `value_range`. It gives
floats of the same range on the same device: (1, 3, scale h, scale w) of a window, (1, t, 3, scale
h, scale w) of a clip, (1, 2t - 1, 3, scale h, scale w) of `inputs`. The frames have been padded for
it, and its answer is cropped. A Module is put in eval mode, on the device and into the precision
that were asked for, and its weights are part of the record; another callable has to see to what it
keeps by itself. Gradients are off.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal, get_args

import msgspec

from bench import factory
from bench.errors import BenchError, choices
from bench.paper import Checkpoint, Paper
from bench.restore import Edge, Recurrent, SlidingWindow, SpaceTime

if TYPE_CHECKING:
    from torch import Tensor, device, dtype

PAPER = "own"  # what methods that are named on the command line are kept under
_OUTSIDE, _SHARE = 0.5, 0.01  # an answer may overshoot: not by half the range at 1 value of 100
_DARKER = 50  # an answer from 0 to 1 where 255 is white is 255 times darker than its frames
_EXPECTED = {
    "scale": "1, 2, 3 or 4",
    "window": "an odd number of frames",
    "edge": choices(get_args(Edge)),
    "inputs": "a number of frames from 2 up",
    "size_multiple": "a number from 1 up",
    "minimum_size": "a number from 0 up",
    "value_range": "1.0 or 255.0",
}


class Attributes(msgspec.Struct, frozen=True):
    """The attributes of a method: see above."""

    scale: Literal[1, 2, 3, 4]
    window: Annotated[int, msgspec.Meta(ge=1)] | None = None
    edge: Edge = "reflection"
    inputs: Annotated[int, msgspec.Meta(ge=2)] | None = None
    size_multiple: Annotated[int, msgspec.Meta(ge=1)] = 1
    minimum_size: Annotated[int, msgspec.Meta(ge=0)] = 0
    value_range: float = 1.0

    def __post_init__(self) -> None:
        if self.window and self.inputs:
            raise ValueError("window and inputs exclude each other")
        if self.window and not self.window % 2:
            raise ValueError(f"window must be odd, found {self.window}")
        if self.value_range not in {1.0, 255.0}:
            raise ValueError(f"value_range must be 1.0 or 255.0, found {self.value_range}")

    @property
    def restorer(self) -> SlidingWindow | Recurrent | SpaceTime:
        """What shows a clip to the method."""
        if self.window:
            return SlidingWindow(self.edge)
        return SpaceTime(self.inputs) if self.inputs else Recurrent()

    def answer(self, shown: Sequence[int]) -> tuple[int, ...]:
        """The shape of the answer to frames of that shape (1, t, 3, h, w)."""
        count, height, width = shown[1], self.scale * shown[3], self.scale * shown[4]
        if self.window:
            return (1, 3, height, width)
        return (1, 2 * count - 1 if self.inputs else count, 3, height, width)


def attributes(method: object, name: str) -> Attributes:
    """The attributes of the method that has that name, checked."""
    given = {k: getattr(method, k) for k in Attributes.__struct_fields__ if hasattr(method, k)}
    try:
        return msgspec.convert(given, Attributes)
    except msgspec.ValidationError as error:
        problem, _, where = str(error).partition(" - at ")
        key = where.strip("`$.")
        raise BenchError(
            f"{name}: the attribute {key} is not right" if key else f"{name}: {problem}",
            expected=_EXPECTED.get(key),
            found=_shown(given[key]) if key else None,
            todo="set it on what the factory gives",
        ) from error


def _shown(value: object) -> str:
    return repr(value) if isinstance(value, (int, float, str)) else type(value).__name__


def own(named: factory.Named) -> Paper:
    """The paper of a method that a user named: one checkpoint, whose name is the slug, no cells."""
    return Paper(
        schema=1,
        title="Own methods",
        scale=load(named.factory, named.folder).scale,
        sources={},
        checkpoints={named.slug: Checkpoint(title=named.factory, factory=named.factory)},
        cells=[],
        name=PAPER,
        folder=named.folder,
    )


def find(text: str) -> Paper:
    """The paper of the method that a user names (see bench.factory.find) in the current folder."""
    return own(factory.find(text, Path.cwd()))


def load(name: str, folder: str = "") -> Adapted:
    """The method of a factory, which is named as `module:function`, for bench.restore.

    Raises BenchError where there is none, or where its attributes are not as they should be.
    """
    return Adapted(factory.made(name, folder), name)


class Adapted:
    """A method under the names by which bench.restore calls a network (see there).

    Raises BenchError where the method gives what it should not.
    """

    def __init__(self, method: Callable[[Tensor], Any], name: str) -> None:
        import torch

        self.method, self.name = method, name
        self.attributes = attributes(method, name)
        self.scale, self.window = self.attributes.scale, self.attributes.window
        self.size_multiple = self.attributes.size_multiple
        self.minimum_size = self.attributes.minimum_size
        self._module = method if isinstance(method, torch.nn.Module) else None
        self._place = torch.zeros(())  # a method may have no parameters that tell where it is
        if self._module:
            self._module.eval()

    def parameters(self) -> Iterator[Tensor]:
        """One tensor on the device and of the precision that frames should have."""
        yield self._place

    def to(self, where: str | device | dtype) -> Adapted:
        """Itself on that device, or in that precision."""
        self._place = self._place.to(where)
        if self._module:
            self._module.to(where)
        return self

    def compile(self) -> None:
        """Compiles the method with torch."""
        import torch

        if self._module:
            self._module.compile()
        else:
            self.method = torch.compile(self.method)

    def features(self, frames: Tensor) -> list[Tensor]:
        """The frames (n, t, 3, h, w) one by one: what a method makes of them is its own affair."""
        return list(frames.unbind(1))

    def reconstruct(self, window: Sequence[Tensor]) -> Tensor:
        """The SR frame of a window of frames (1, 3, h, w)."""
        import torch

        return self(torch.stack(list(window), 1))

    def moments(self, window: Sequence[Tensor], wanted: Sequence[int]) -> Tensor:
        """The wanted SR frames of a window of frames (1, 3, h, w) and of the moments between."""
        import torch

        return self(torch.stack(list(window), 1))[:, list(wanted)]

    def frames(self, clip: Tensor) -> Iterator[Tensor]:
        """The SR frames of a clip, in time order."""
        yield from self(clip).unbind(1)

    def __call__(self, frames: Tensor) -> Tensor:
        """The answer to frames in [0, 1], in [0, 1] as well but for overshoots, checked."""
        shown = self.shown(frames)
        answer = self.method(shown)
        for check in (check_tensor, check_shape, check_range):
            check(self, shown, answer)
        scaled: Tensor = answer / self.attributes.value_range
        return scaled

    def shown(self, frames: Tensor) -> Tensor:
        """What the method is shown for 8-bit frames in [0, 1]: whole levels where white is 255."""
        return frames.mul(255).round() if self.attributes.value_range == 255 else frames

    def weights_sha256(self) -> str | None:
        """The SHA-256 of names, types, shapes and values of a Module's tensors, if it has any."""
        import torch

        state = self._module.state_dict() if self._module else {}
        tensors = {name: value for name, value in state.items() if torch.is_tensor(value)}
        digest = hashlib.sha256()
        for name, value in sorted(tensors.items()):
            digest.update(f"{name} {value.dtype} {list(value.shape)}\n".encode())
            flat = value.detach().cpu().contiguous().reshape(-1).view(torch.uint8)
            digest.update(flat.numpy().data)
        return digest.hexdigest() if tensors else None


def check_tensor(method: Adapted, shown: Tensor, answer: object) -> None:
    """Raises BenchError where the answer is no tensor of floats on the device of the frames."""
    import torch

    if not torch.is_tensor(answer):
        found = type(answer).__name__
    elif not answer.is_floating_point() or answer.device != shown.device:
        found = f"{answer.dtype} on {answer.device}"
    else:
        return
    raise BenchError(
        f"{method.name} does not answer with a tensor of floats",
        expected=f"a floating-point torch.Tensor on {shown.device}",
        found=found,
        todo="let the method give one",
    )


def check_shape(method: Adapted, shown: Tensor, answer: Tensor) -> None:
    """Raises BenchError where the answer to frames of that shape has not the shape it should."""
    expected = method.attributes.answer(shown.shape)
    if tuple(answer.shape) != expected:
        raise BenchError(
            f"{method.name} gives another shape than it should",
            expected=f"{expected} for frames {tuple(shown.shape)}",
            found=str(tuple(answer.shape)),
            todo="check scale, window and size_multiple, and what the method returns",
        )


def check_range(method: Adapted, shown: Tensor, answer: Tensor) -> None:
    """Raises BenchError where many values are far outside the range, or all are next to black.

    That is what a method of another range gives; NaN is told by whoever turns frames into 8 bits.
    """
    white = method.attributes.value_range
    low, high = map(float, answer.aminmax())
    below, above = -_OUTSIDE * white, (1 + _OUTSIDE) * white
    outside = 0.0
    if low < below or high > above:
        outside = int(((answer < below) | (answer > above)).sum()) / answer.numel()
    if outside > _SHARE or high * _DARKER < float(shown.max()):
        raise BenchError(
            f"{method.name} gives values of another range",
            expected=f"0 to {white:g} as in its frames",
            found=f"{low:.4g} to {high:.4g}",
            todo="set value_range, or return what the range says",
        )
