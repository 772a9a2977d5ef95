"""Whether a user's method keeps the contract of bench.contract, law by law."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING, Any, Literal, NamedTuple

import msgspec
import numpy as np
from numpy.typing import NDArray

from bench import contract, degrade, factory, metrics, restore, runtime, sample
from bench.contract import Adapted
from bench.errors import BenchError
from bench.factory import Named

if TYPE_CHECKING:
    from torch import Tensor

Frame = NDArray[np.uint8]
State = Literal["kept", "broken", "doubtful"]
Step = Callable[[Any], tuple[object, str]]
_HEIGHT, _WIDTH = 36, 48  # LR pixels that an answer is asked for
_CLIP = 5  # frames that a method of whole clips is shown
_SHORT = 4  # frames of the shortest chunk that bench.restore cuts
_LIKENESS = 10  # dB about bicubic enlargement, which any method for natural frames surpasses
_CLEARLY = 1  # dB


class Verdict(NamedTuple):
    """A law, whether the method keeps it, and what was seen."""

    law: str
    state: State
    seen: str


class Trial(NamedTuple):
    """A method and its answer to frames of the sample set.

    `lr` are 8-bit frames, `shown` is the same as the method was to see it, `left` what the method
    made of that tensor, `answer` what it gave for it.
    """

    method: Adapted
    lr: list[Frame]
    shown: Tensor
    left: Tensor
    answer: Tensor

    @property
    def middle(self) -> int:
        """The frame among `lr` that is looked at."""
        return len(self.lr) // 2

    def sr(self, answer: Tensor) -> Frame:
        """That frame of an answer, with 8 bits."""
        attributes, frames = self.method.attributes, answer[0] / self.method.attributes.value_range
        if not attributes.window:
            frames = frames[2 * self.middle if attributes.inputs else self.middle]
        return restore.to_frame(frames, self.lr[self.middle], self.method.scale, self.middle)


class _DoubtError(Exception):
    """What looks wrong, but may be right."""


def examine(named: Named, device: str = "cpu") -> Iterator[Verdict]:
    """Every law with its verdict, as it is tried; where one fails that others need, no more."""
    found: Any = (named, device)
    for law, step in _STEPS.items():
        found, verdict = _judged(law, step, found)
        yield verdict
        if verdict.state == "broken":
            return
    for law, test in _LAWS.items():
        yield _judged(law, test, found)[1]


def _judged(law: str, step: Step, given: object) -> tuple[object, Verdict]:
    try:
        found, seen = step(given)
    except _DoubtError as doubt:
        return None, Verdict(law, "doubtful", str(doubt))
    except BenchError as error:
        return None, Verdict(law, "broken", str(error))
    except Exception as error:  # noqa: BLE001 - whatever a method raises is its fault
        return None, Verdict(law, "broken", factory.told(error))
    return found, Verdict(law, "kept", seen)


def _imported(given: tuple[Named, str]) -> tuple[object, str]:
    named, _ = given
    factory.load(named.factory, named.folder)
    return given, named.factory


def _made(given: tuple[Named, str]) -> tuple[object, str]:
    named, device = given
    method: Any = contract.load(named.factory, named.folder)
    said = msgspec.structs.asdict(method.attributes)
    seen = ", ".join(f"{name} {value}" for name, value in said.items() if value is not None)
    return (named, runtime.place(method, device)[0]), seen


def _same(given: tuple[Named, Adapted]) -> tuple[object, str]:
    named, method = given
    one = method.weights_sha256()
    if one is None:
        return method, "it has no weights that can be seen"
    if contract.load(named.factory, named.folder).weights_sha256() != one:
        raise BenchError("two calls give other weights", todo="load them from a file, or seed them")
    return method, f"SHA-256 {one[:8]}"


def _answered(method: Adapted) -> tuple[object, str]:
    import torch

    lr = _sample(method, method.window or method.attributes.inputs or _CLIP)
    shown = method.shown(torch.stack([restore.to_tensor(frame, method) for frame in lr])[None])
    given = shown.clone()
    try:
        with torch.inference_mode():
            answer = method.method(given)
    except RuntimeError as error:
        if _needs_gradients(method, shown):
            raise BenchError(
                "it fails without gradients",
                found=factory.told(error),
                todo="let it leave gradients alone, or turn them on itself",
            ) from error
        raise
    return Trial(method, lr, shown, given, answer), f"frames {tuple(shown.shape)}"


def _needs_gradients(method: Adapted, shown: Tensor) -> bool:
    """Whether the method works with gradients, where it failed without."""
    try:
        method.method(shown.clone())
    except Exception:  # noqa: BLE001 - the first failure is told
        return False
    return True


def _typed(trial: Trial) -> tuple[object, str]:
    import torch

    contract.check_tensor(trial.method, trial.shown, trial.answer)
    if trial.answer.dtype != torch.float32:
        raise BenchError(
            "another precision", expected="float32, as its frames", found=str(trial.answer.dtype)
        )
    return trial, f"on {trial.answer.device}"


def _shaped(trial: Trial) -> tuple[object, str]:
    contract.check_shape(trial.method, trial.shown, trial.answer)
    return trial, str(tuple(trial.answer.shape))


def _finite(trial: Trial) -> tuple[object, str]:
    wrong = int((~trial.answer.isfinite()).sum())
    if wrong:
        raise BenchError("NaN or infinite", found=f"{wrong} of {trial.answer.numel()} values")
    return trial, ""


def _ranged(trial: Trial) -> tuple[object, str]:
    contract.check_range(trial.method, trial.shown, trial.answer)
    low, high = map(float, trial.answer.aminmax())
    return trial, f"{low:.4g} to {high:.4g}"


def _untouched(trial: Trial) -> tuple[object, str]:
    if not trial.left.equal(trial.shown):
        raise BenchError("it writes over its frames", todo="let it work on a copy")
    return trial, ""


def _repeated(trial: Trial) -> tuple[object, str]:
    import torch

    with torch.inference_mode():
        again = trial.method.method(trial.shown.clone())
    one, two = trial.sr(trial.answer), trial.sr(again)
    if not np.array_equal(one, two):
        most = int(np.abs(one.astype(int) - two).max())
        raise BenchError("8-bit frames differ", found=f"differences up to {most}", todo="seed it")
    return trial, ""


def _smallest(trial: Trial) -> tuple[object, str]:
    import torch

    method = trial.method
    bottom, right = restore.padding(1, 1, method.size_multiple, method.minimum_size)
    frames = [frame[: 1 + bottom, : 1 + right] for frame in trial.lr]
    shown = torch.stack([restore.to_tensor(frame, method) for frame in frames])[None]
    try:
        with torch.inference_mode():
            method(shown)
    except BenchError:
        raise
    except Exception as error:
        raise BenchError(
            f"{_size(shown)} is too small",
            found=factory.told(error),
            todo="set minimum_size to what it can do",
        ) from error
    return trial, _size(shown)


def _fitted(trial: Trial) -> tuple[object, str]:
    method, multiple = trial.method, trial.method.size_multiple
    height, width = (s - (s % multiple == 0) for s in (_HEIGHT - 1, _WIDTH - 1))
    lr = [frame[:height, :width] for frame in _sample(method, _length(method))]
    expected = (method.scale * height, method.scale * width, 3)
    for sr in method.attributes.restorer.on("sample", None).restore(method, lr, range(len(lr))):
        if sr.shape != expected:
            raise BenchError("another size", expected=str(expected), found=str(sr.shape))
    bottom, right = restore.padding(height, width, multiple, method.minimum_size)
    return trial, f"{width}x{height}, {right} columns and {bottom} rows of padding"


def _short(trial: Trial) -> tuple[object, str]:
    method, attributes = trial.method, trial.method.attributes
    count = _length(method) // 2 if attributes.window or attributes.inputs else _SHORT
    lr = _sample(method, max(1, count))
    way = attributes.restorer.on("sample", None)
    try:
        restored = list(way.restore(method, lr, range(len(lr))))
    except BenchError as refused:
        if not (attributes.window or attributes.inputs):
            raise
        return trial, f"refused: {refused}"
    return trial, f"{len(restored)} frames restored"


def _alike(trial: Trial) -> tuple[object, str]:
    sr = trial.sr(trial.answer)
    large = [_enlarged(frame, trial.method.scale) for frame in trial.lr]
    fits = [_psnr(sr, frame) for frame in large]
    likeness, best = fits[trial.middle], int(np.argmax(fits))
    seen = f"{likeness:.1f} dB"
    exchanged = _psnr(np.ascontiguousarray(sr[..., ::-1]), large[trial.middle])
    if exchanged > max(likeness + _CLEARLY, _LIKENESS):
        raise _DoubtError(f"{seen}, more with red and blue exchanged: does it take BGR?")
    if likeness < _LIKENESS:
        raise _DoubtError(f"{seen}: are its range and its weights right?")
    if fits[best] > likeness + _CLEARLY:
        raise _DoubtError(f"{seen}, more to frame {best} than to frame {trial.middle} of the clip")
    return trial, seen


def _enlarged(frame: Frame, scale: int) -> Frame:
    return frame if scale == 1 else degrade.upsample(frame, scale)


def _psnr(one: Frame, two: Frame) -> float:
    return float(metrics.psnr(one, two, channel="rgb", border=0))


def _sample(method: Adapted, count: int) -> list[Frame]:
    """LR frames (36, 48, 3) of a clip of the sample set, to and fro where it is too short."""
    gt = sample.clip("pan")[:, : _HEIGHT * method.scale, : _WIDTH * method.scale]
    turns = [*range(len(gt)), *range(len(gt) - 2, 0, -1)]
    chosen = [gt[turns[t % len(turns)]] for t in range(count)]
    return chosen if method.scale == 1 else [degrade.degrade(g, "bi", method.scale) for g in chosen]


def _length(method: Adapted) -> int:
    """The number of frames of a clip that the method can do."""
    inputs = method.attributes.inputs
    return method.window or (2 * inputs - 1 if inputs else _CLIP)


def _size(frames: Tensor) -> str:
    return f"{frames.shape[-1]}x{frames.shape[-2]}"


_STEPS: dict[str, Step] = {
    "can be imported": _imported,
    "is made by a call, with its attributes": _made,
    "is the same each time it is made": _same,
    "answers without gradients": _answered,
    "gives float32 on its device": _typed,
    "gives the right shape": _shaped,
}
_LAWS: dict[str, Step] = {
    "gives finite values": _finite,
    "gives values in range": _ranged,
    "leaves its frames as they are": _untouched,
    "gives the same frames twice": _repeated,
    "takes the smallest frames": _smallest,
    "takes frames of any size, padded": _fitted,
    "takes short clips, or says why not": _short,
    "resembles bicubic enlargement": _alike,
}
