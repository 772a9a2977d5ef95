"""A paper whose networks are one convolution each, of known cost, for each kind of restorer."""

from __future__ import annotations

import torch
from torch import nn
from torch.nn import functional

from bench.paper import Checkpoint, Paper
from bench.restore import Recurrent, SlidingWindow, SpaceTime


def enlarged(frames):
    return functional.interpolate(frames, scale_factor=4, mode="nearest")


class Base(nn.Module):
    scale = 4
    size_multiple = 1

    def __init__(self, *, minimum: int = 0, gain: float = 1.0) -> None:
        super().__init__()
        self.minimum_size = minimum
        self.gain = gain
        self.conv = nn.Conv2d(3, 3, 3, padding=1, bias=False)


class Window(Base):
    """Features are one convolution of a frame, an SR frame one of the middle frame's features."""

    window = 3

    def features(self, frames):
        return [self.conv(frames[:, i]) for i in range(frames.shape[1])]

    def reconstruct(self, window):
        return self.gain * enlarged(self.conv(window[1]))


class Clip(Base):
    """Reads the clip once before it gives the first frame."""

    def frames(self, clip):
        features = [self.conv(frame) for frame in clip.unbind(1)]
        for frame in features:
            yield enlarged(self.conv(frame))


class Between(Base):
    """Features are one convolution of a frame, SR frames one more of each frame's features.

    Gives every frame, and each one again between it and the next.
    """

    def features(self, frames):
        return [self.conv(frames[:, i]) for i in range(frames.shape[1])]

    def moments(self, features, wanted):
        made = [enlarged(self.conv(frame)) for frame in features]
        return torch.stack([made[i // 2] for i in wanted], dim=1)


class Failing(Window):
    def reconstruct(self, _window):
        raise torch.OutOfMemoryError("CUDA out of memory. Tried\nto allocate")


def _checkpoint(network, restorer, **arguments):
    return Checkpoint(
        title="a convolution",
        network=f"toynetworks:{network}",
        arguments=arguments,
        restorer=restorer,
        file="none.pth",
    )


def paper() -> Paper:
    window = SlidingWindow(edge="reflection")
    return Paper(
        schema=1,
        title="Toy networks",
        scale=4,
        name="nets",
        sources={},
        cells=[],
        checkpoints={
            "none": Checkpoint(title="no network", method="toypaper:good"),
            "window": _checkpoint("Window", window),
            "same": _checkpoint("Window", window),
            "large": _checkpoint("Window", window, minimum=8),
            "infinite": _checkpoint("Window", window, gain=float("inf")),
            "failing": _checkpoint("Failing", window),
            "clip": _checkpoint("Clip", Recurrent()),
            "between": _checkpoint("Between", SpaceTime(4)),
        },
    )
