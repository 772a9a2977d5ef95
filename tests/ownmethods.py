"""Methods of users: some keep the contract of bench.contract, some break it in one way."""

from __future__ import annotations

import torch
from torch import nn
from torch.nn import functional


def enlarged(frames, scale=4):
    """Frames (..., h, w) enlarged without overshoot, each by itself."""
    flat = frames.reshape(-1, 3, *frames.shape[-2:])
    size = [scale * side for side in frames.shape[-2:]]
    large = functional.interpolate(flat, size, mode="bilinear", antialias=False)
    return large.reshape(*frames.shape[:-2], *size)


def method(call, **attributes):
    """A function as a method, of scale 4 unless the attributes say otherwise."""
    for name, value in ({"scale": 4} | attributes).items():
        setattr(call, name, value)
    return call


class Window(nn.Module):
    """The mean of a window, its middle frame weighted; a weight and a buffer."""

    scale, window, size_multiple = 4, 3, 8

    def __init__(self):
        super().__init__()
        self.weight = nn.Parameter(torch.tensor(0.9))
        self.register_buffer("share", torch.tensor(0.5))
        self.drop = nn.Dropout(0.9)

    def forward(self, frames):
        assert frames.shape[1] == 3
        assert not any(side % 8 for side in frames.shape[-2:])
        before, middle, after = frames.unbind(1)
        return self.drop(
            enlarged(self.weight * middle + (1 - self.weight) * self.share * (before + after))
        )


class Wide(Window):
    """The same with a larger edge rule to it."""

    edge = "replicate"


def clip():
    return method(enlarged)


def clip255():
    return method(levels, value_range=255.0)


def levels(frames):
    assert frames.equal(frames.round())
    return enlarged(frames)


def small():
    return method(lambda frames: enlarged(frames, 2), scale=2)


def same_size():
    return method(lambda frames: frames.clone(), scale=1)


def between():
    def call(frames):
        large = enlarged(frames)
        mean = (large[:, 1:] + large[:, :-1]) / 2
        both = torch.stack([large[:, :-1], mean], 2).flatten(1, 2)
        return torch.cat([both, large[:, -1:]], 1)

    return method(call, inputs=4)


def window255():
    return method(lambda frames: levels(frames[:, 1]), window=3, value_range=255)


# Each of the rest breaks one law.


def first_frame():
    return method(lambda frames: enlarged(frames[:, 0]), window=5)


def bgr():
    return method(lambda frames: enlarged(frames).flip(2))


def whiter():
    return method(lambda frames: 255 * enlarged(frames))


def darker():
    return method(lambda frames: enlarged(frames) / 255, value_range=255.0)


def signed():
    return method(lambda frames: -1.9 * enlarged(frames))


def negative():
    return method(lambda frames: 1 - enlarged(frames))


def not_finite():
    return method(lambda frames: enlarged(frames) / 0)


def pair():
    return method(lambda frames: (enlarged(frames), 1))


def whole_numbers():
    return method(lambda frames: (255 * enlarged(frames)).byte())


def double():
    return method(lambda frames: enlarged(frames).double())


def elsewhere():
    return method(lambda frames: enlarged(frames).to("meta"))


def smaller():
    return method(lambda frames: enlarged(frames, 2))


def writes():
    def call(frames):
        large = enlarged(frames)
        frames.zero_()
        return large

    return method(call)


def noisy():
    return method(lambda frames: enlarged(frames) + 0.1 * torch.rand(1))


def random_weights():
    built = Window()
    built.weight.data.uniform_(0.5, 1)
    return built


def undeclared_minimum():
    def call(frames):
        assert frames.shape[-1] >= 16, "the pyramid needs 16 pixels"
        return enlarged(frames)

    return method(call)


def declared_minimum():
    return method(undeclared_minimum(), minimum_size=16)


def undeclared_multiple():
    def call(frames):
        if frames.shape[-1] % 4 or frames.shape[-2] % 4:
            return enlarged(frames[..., :-1, :-1])
        return enlarged(frames)

    return method(call)


def five_frames():
    def call(frames):
        if frames.shape[1] != 5:
            raise IndexError("no frame 4")
        return enlarged(frames)

    return method(call)


def learns():
    def call(frames):
        weight = torch.ones(1, requires_grad=True)
        (weight * frames.sum()).backward()
        return enlarged(frames)

    return method(call)


def raises():
    def call(frames):
        raise LookupError("layer 7")

    return method(call)


def bare():
    return enlarged_alone


def enlarged_alone(frames):
    return enlarged(frames)
