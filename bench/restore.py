"""How a network meets a clip: which LR frames it sees for which SR frame, padding, 8 bits.

A network is a torch module that takes float RGB frames in [0, 1] and has the attributes `scale`
(of SR over LR) and `size_multiple` (height and width must be multiples of it). One that restores
the middle frame of a window has `window` (its number of frames), `features(frames)`, which sees
frames (n, t, 3, h, w) one by one and gives a list of t, and `reconstruct(features of a window)`,
which gives (n, 3, scale h, scale w); its forward pass is both in a row.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING, Any, Literal

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

    def settings(self, network: Any, height: int, width: int) -> dict[str, int | str]:
        """What of the restoring moves the number, for the record; sizes in LR pixels."""
        bottom, right = padding(height, width, network.size_multiple)
        padded = {"padded_rows": bottom, "padded_columns": right} if bottom or right else {}
        return {"window": network.window, "edge": self.edge, **padded}

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


def padding(height: int, width: int, multiple: int) -> tuple[int, int]:
    """How many rows and columns bring a frame up to multiples of `multiple`."""
    return -height % multiple, -width % multiple


def to_tensor(frame: Frame, network: Any) -> Tensor:
    """The frame as a float tensor (3, h, w) in [0, 1] where the network is, padded for it."""
    import torch

    some = next(network.parameters())
    height, width = frame.shape[:2]
    bottom, right = padding(height, width, network.size_multiple)
    if bottom >= height or right >= width:
        raise BenchError(
            f"frames of {width}x{height} are too small for the network",
            expected=f"more than half of {network.size_multiple} pixels a side",
            todo="use larger frames",
        )
    padded = np.pad(frame, ((0, bottom), (0, right), (0, 0)), mode="reflect")
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
