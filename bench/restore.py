"""How a network meets a clip: which LR frames it sees for which SR frame, padding, 8 bits.

A network is a torch module that takes float RGB frames in [0, 1] and has the attributes `scale`
(of SR over LR), `size_multiple` (height and width must be multiples of it) and, where it has one,
`minimum_size`. One that restores the middle frame of a window has `window` (its number of frames),
`features(frames)`, which sees frames (n, t, 3, h, w) one by one and gives a list of t, and
`reconstruct(features of a window)`, which gives (n, 3, scale h, scale w); its forward pass is both
in a row. One that restores whole clips has `frames(clip)`, which gives those of (n, t, 3, h, w) in
time order, as they are made. One that also doubles the frame rate has `features` likewise, and
`moments(features of t frames, wanted)`, which gives the wanted ones of 2t - 1 SR frames, by number,
(n, wanted, 3, scale h, scale w).
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING, Any, Literal, NamedTuple

import msgspec
import numpy as np
from numpy.typing import NDArray

from bench.errors import BenchError

if TYPE_CHECKING:
    from torch import Tensor

Frame = NDArray[np.uint8]
Edge = Literal["reflection", "reflection-circle", "replicate", "circle", "author"]


class SlidingWindow(
    msgspec.Struct, frozen=True, forbid_unknown_fields=True, tag_field="kind", tag="sliding-window"
):
    """Each SR frame from a window of LR frames about it; `edge` fills windows at a clip's ends."""

    edge: Edge

    def on(self, dataset: str, chunk: int | None) -> SlidingWindow:
        """Itself: windows are the same on every data set."""
        _refuse_chunks(dataset, chunk)
        return self

    def interpolated(self, count: int) -> list[int]:  # noqa: ARG002
        """The SR frames of a clip that no LR frame of the same time was shown for: none."""
        return []

    def settings(self, network: Any, height: int, width: int) -> dict[str, int | str]:
        """What of the restoring moves the number, for the record; sizes in LR pixels."""
        return {"window": network.window, "edge": self.edge, **_padded(network, height, width)}

    def restore(self, network: Any, lr: Sequence[Frame], wanted: Sequence[int]) -> Iterator[Frame]:
        """SR frames, uint8 (sh, sw, 3), of the wanted frames, which must ascend.

        What the network makes of an LR frame alone is made once, kept while a window needs it, and
        dropped then. LR frames are reflected at the bottom and the right up to the size multiple,
        and SR frames cropped.
        """
        import torch

        windows = {t: window_indices(t, len(lr), network.window, self.edge) for t in wanted}
        last_use = {i: t for t, indices in windows.items() for i in indices}
        kept: dict[int, object] = {}
        for t, indices in windows.items():
            with torch.inference_mode():
                for i in indices:
                    if i not in kept:
                        frames = to_tensor(lr[i], network)
                        kept[i] = network.features(frames[None, None])[0]
                sr = network.reconstruct([kept[i] for i in indices])[0]
            kept = {i: features for i, features in kept.items() if last_use[i] > t}
            yield to_frame(sr, lr[t], network.scale, t)


def window_indices(t: int, count: int, window: int, edge: Edge) -> list[int]:
    """The LR frames in the window about frame `t` of a clip of `count` frames, in its order.

    Rules for indices outside the clip, here for frame 0 and a window of 5
    (BasicSR basicsr/data/data_util.py:43-92, mmagic generate_frame_indices.py:145-194):

        replicate          [0 0 0 1 2]
        reflection         [2 1 0 1 2]
        reflection-circle  [4 3 0 1 2]
        circle             [3 4 0 1 2]
        author             reflection at the start; every index past the end is the third frame
                           from it (TDAN eval.py:105-110)
    """
    half, last = window // 2, count - 1

    def inside(i: int) -> int:
        if 0 <= i <= last:
            return i
        match edge:
            case "replicate":
                return max(0, min(i, last))
            case "reflection":
                return -i if i < 0 else 2 * last - i
            case "reflection-circle":
                return t + half - i if i < 0 else t - half - (i - last)
            case "circle":
                return window + i if i < 0 else i - window
            case "author":
                return -i if i < 0 else last - 2

    indices = [inside(i) for i in range(t - half, t + half + 1)]
    if not all(0 <= i < count for i in indices):
        raise BenchError(
            f"a clip of {count} frames is too short for a window of {window}",
            expected=f"enough frames for the edge rule {edge}",
            todo="use a longer clip",
        )
    return indices


class Recurrent(
    msgspec.Struct, frozen=True, forbid_unknown_fields=True, tag_field="kind", tag="recurrent"
):
    """Every SR frame from the whole clip.

    `mirrored` says how often the clips of a data set are extended by their mirror image: 1 makes
    7 frames 14, 2 makes them 28. Data sets that are not named are not mirrored.
    """

    mirrored: dict[str, int] = {}

    def on(self, dataset: str, chunk: int | None) -> WholeClip:
        """The way of restoring on that data set; `chunk` frames at a time where given."""
        if chunk:
            _check_length(chunk)
        return WholeClip(self.mirrored.get(dataset, 0), chunk)


class WholeClip(NamedTuple):
    """A clip in one pass of the network, or in chunks of that many frames that overlap by half.

    A chunk's outer frames, a quarter of it on each side, only serve as context for the others.
    """

    mirrored: int = 0
    chunk: int | None = None

    def interpolated(self, count: int) -> list[int]:  # noqa: ARG002
        """The SR frames of a clip that no LR frame of the same time was shown for: none."""
        return []

    def settings(self, network: Any, height: int, width: int) -> dict[str, int | str]:
        """What of the restoring moves the number, for the record; sizes in LR pixels."""
        settings: dict[str, int | str] = {"mirrored": self.mirrored} if self.mirrored else {}
        if self.chunk:
            settings |= {"chunk": self.chunk, "context": self.chunk // 4}
        return {**settings, **_padded(network, height, width)}

    def restore(self, network: Any, lr: Sequence[Frame], wanted: Sequence[int]) -> Iterator[Frame]:
        """SR frames, uint8 (sh, sw, 3), of the wanted frames, which must ascend.

        Of a mirrored clip the outputs at all places of a frame are averaged before they are rounded
        (TTVSR mmedit/models/restorers/ttvsr.py:156-161). SR frames leave as they are made, those of
        a mirrored clip at its end.
        """
        import torch

        order = list(range(len(lr)))
        for _ in range(self.mirrored):
            order += order[::-1]
        sums: dict[int, Tensor] = {}
        needed = max((place for place, t in enumerate(order) if t in wanted), default=-1)
        for start, stop, first, last in chunks(len(order), self.chunk):
            clip = torch.stack([to_tensor(lr[t], network) for t in order[start:stop]])[None]
            outputs = network.frames(clip)
            for place in range(start, min(stop, last, needed + 1)):
                with torch.inference_mode():
                    sr = next(outputs)[0]
                t = order[place]
                if place < first or t not in wanted:
                    continue
                if not self.mirrored:
                    yield to_frame(sr, lr[t], network.scale, t)
                else:
                    sums[t] = sums[t] + sr if t in sums else sr
        for t in wanted if self.mirrored else ():
            yield to_frame(sums[t] / 2**self.mirrored, lr[t], network.scale, t)


class SpaceTime(
    msgspec.Struct, frozen=True, forbid_unknown_fields=True, tag_field="kind", tag="space-time"
):
    """Twice the frame rate: 2 inputs - 1 SR frames of `inputs` LR frames, every second of the clip.

    Source: STDAN codes/utils/util.py:272-317, codes/test.py:74-84 and 176-179.
    """

    inputs: int

    def on(self, dataset: str, chunk: int | None) -> SpaceTime:
        """Itself: windows are the same on every data set."""
        _refuse_chunks(dataset, chunk)
        return self

    def interpolated(self, count: int) -> list[int]:
        """The SR frames of a clip that no LR frame of the same time was shown for.

        Parity does not tell: a clip's last window may begin at an odd frame.
        """
        owners = self.owners(count)
        return [t for t, start in enumerate(owners) if (t - start) % 2]

    def settings(self, network: Any, height: int, width: int) -> dict[str, int | str]:
        """What of the restoring moves the number, for the record; sizes in LR pixels."""
        padded = _padded(network, height, width)
        return {"inputs": self.inputs, **padded, **({"padding": "zeros"} if padded else {})}

    def windows(self, count: int) -> list[int]:
        """The first frames of the windows over a clip of `count` frames, in their order.

        They overlap by one frame, and always one more lies over the last frames, also where the
        window before it ends there.

        >>> SpaceTime(4).windows(34)
        [0, 6, 12, 18, 24, 27]
        """
        length = 2 * self.inputs - 1
        if count < length:
            raise BenchError(
                f"a clip of {count} frames is too short for {self.inputs} inputs",
                expected=f"at least {length} frames",
                todo="use a longer clip",
            )
        return [*range(0, count - length + 1, length - 1), count - length]

    def owners(self, count: int) -> list[int]:
        """For each frame, the first frame of the window that it is taken from: the first over it.

        >>> SpaceTime(4).owners(9)
        [0, 0, 0, 0, 0, 0, 0, 2, 2]
        """
        windows, length = self.windows(count), 2 * self.inputs - 1
        return [next(s for s in windows if s <= t < s + length) for t in range(count)]

    def restore(self, network: Any, lr: Sequence[Frame], wanted: Sequence[int]) -> Iterator[Frame]:
        """SR frames, uint8 (sh, sw, 3), of the wanted frames, which must ascend.

        LR frames are padded with zeros at the bottom and the right, and SR frames cropped. A window
        that no wanted frame is taken from is left out; so are its frames that are taken from
        another. What the network makes of an LR frame alone serves both windows over it.
        """
        import torch

        owners = self.owners(len(lr))
        kept: dict[int, object] = {}
        for start, group in itertools.groupby(wanted, lambda t: owners[t]):
            taken = list(group)
            shown = range(start, start + 2 * self.inputs, 2)
            kept = {i: features for i, features in kept.items() if i in shown}
            new = [i for i in shown if i not in kept]
            with torch.inference_mode():
                if new:
                    frames = torch.stack([to_tensor(lr[i], network, zeros=True) for i in new])
                    kept.update(zip(new, network.features(frames[None]), strict=True))
                window = [kept[i] for i in shown]
                sr = network.moments(window, [t - start for t in taken])[0]
            for t, frame in zip(taken, sr, strict=True):
                yield to_frame(frame, lr[t], network.scale, t)


def _refuse_chunks(dataset: str, chunk: int | None) -> None:
    if chunk:
        raise BenchError(
            "a network that sees windows takes no chunks",
            found=f"--chunk {chunk}" + (f" on {dataset}" if dataset else ""),
            todo="leave --chunk out",
        )


def _check_length(chunk: int) -> None:
    if chunk < 4:
        raise BenchError(
            "chunks are too short",
            expected="at least 4 frames",
            found=str(chunk),
            todo="use longer chunks",
        )


def chunks(count: int, size: int | None) -> list[tuple[int, int, int, int]]:
    """The chunks of a clip of `count` frames: start and stop, and which frames are kept of it.

    >>> chunks(10, 4)
    [(0, 4, 0, 3), (2, 6, 3, 5), (4, 8, 5, 7), (6, 10, 7, 10)]
    >>> chunks(10, None)
    [(0, 10, 0, 10)]
    """
    if size is None or size >= count:
        return [(0, count, 0, count)]
    _check_length(size)
    context = size // 4
    starts = [*range(0, count - size, size - 2 * context), count - size]
    ends = [start + size - context for start in starts[:-1]] + [count]
    return [
        (start, start + size, first, last)
        for start, first, last in zip(starts, [0, *ends[:-1]], ends, strict=True)
    ]


def padding(height: int, width: int, multiple: int, minimum: int = 0) -> tuple[int, int]:
    """How many rows and columns bring a frame up to multiples of `multiple` and to `minimum`."""

    def lacking(side: int) -> int:
        whole = max(side, minimum)
        return whole + -whole % multiple - side

    return lacking(height), lacking(width)


def _padding(network: Any, height: int, width: int) -> tuple[int, int]:
    minimum = getattr(network, "minimum_size", 0)
    return padding(height, width, network.size_multiple, minimum)


def _padded(network: Any, height: int, width: int) -> dict[str, int | str]:
    bottom, right = _padding(network, height, width)
    return {"padded_rows": bottom, "padded_columns": right} if bottom or right else {}


def to_tensor(frame: Frame, network: Any, *, zeros: bool = False) -> Tensor:
    """The frame as a float tensor (3, h, w) in [0, 1] where the network is, padded for it.

    Padding reflects the frame at the bottom and the right, as often as it takes, or is zero there.
    """
    import torch

    some = next(network.parameters())
    bottom, right = _padding(network, *frame.shape[:2])
    sides, mode = ((0, bottom), (0, right), (0, 0)), "constant" if zeros else "reflect"
    padded = np.pad(frame, sides, mode=mode)  # type: ignore[call-overload]
    tensor = torch.from_numpy(padded).to(some.device, some.dtype)
    return tensor.permute(2, 0, 1).contiguous() / 255


def to_frame(sr: Tensor, lr: Frame, scale: int, t: int) -> Frame:
    """The network's output (3, h, w) as uint8 RGB: cropped, clipped to [0, 1], rounded.

    Raises BenchError where it holds NaN or infinities: that is a failure, not a score.
    """
    height, width = (scale * side for side in lr.shape[:2])
    sr = sr[:, :height, :width].float()
    if not math.isfinite(float(sr.sum())):
        raise BenchError(
            f"the network's output for frame {t} is not finite",
            todo="check that the weights fit, or use float32",
        )
    levels = sr.clamp(0, 1).mul(255).round().to("cpu").permute(1, 2, 0)
    frame: Frame = levels.contiguous().numpy().astype(np.uint8)
    return frame
