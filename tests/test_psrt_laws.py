"""PSRT-recurrent: laws that hold for any weights, and clips that cannot be read."""

from __future__ import annotations

from typing import Any

import parity
import pytest
import torch
from torch import Tensor

from reproductions.psrt.network import PSRT


def small(**arguments: Any) -> PSRT:
    """A network of few blocks with the recipe's weights."""
    net = PSRT(**{"channels": 12, "depths": (2, 1), "heads": 2, **arguments})
    for name, value in net.named_parameters():
        weights = parity.recipe().parameter(name, tuple(value.shape))
        value.data.copy_(torch.from_numpy(weights))
    return net.eval()


def texture(frames: int, batch: int = 1, size: tuple[int, int] = (64, 65)) -> Tensor:
    return torch.from_numpy(parity.recipe().clip(5, (batch, frames, 3, *size)))


def test_a_batch_is_its_items() -> None:
    net, frames = small(), texture(3, batch=2)
    with torch.inference_mode():
        expected = torch.cat([net(frames[:1]), net(frames[1:])])
        torch.testing.assert_close(net(frames), expected, rtol=0, atol=1e-5)


@pytest.mark.parametrize("count", [1, 2])
def test_short_clips(count: int) -> None:
    net = small()
    with torch.inference_mode():
        assert net(texture(count)).shape == (1, count, 3, 256, 260)


def test_frames_leave_one_by_one() -> None:
    """`frames` makes SR frames as they are asked for, and they are those of `forward`."""
    net, frames = small(), texture(4)
    made: list[Tensor] = []
    net.conv_last.register_forward_hook(lambda _, __, output: made.append(output))
    with torch.inference_mode():
        stream = net.frames(frames)
        first = next(stream)
        assert len(made) == 1
        sr = torch.stack([first, *stream], dim=1)
        assert torch.equal(sr, net(frames))


def test_number_of_threads_changes_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    """Threads decide how many windows are taken at a time."""
    net, frames = small(), texture(2)
    with torch.inference_mode():
        expected = net(frames)
        monkeypatch.setattr("reproductions.layers.window_attention._CPU_TOKENS", 192)
        torch.testing.assert_close(net(frames), expected, rtol=0, atol=1e-5)


def test_gradients_reach_every_used_parameter() -> None:
    """Also where the layouts of this size were first made for inference.

    None reaches SPyNet: patch alignment rounds the flow.
    """
    net, frames = small(), texture(2)
    with torch.inference_mode():
        net(frames)
    used = {
        name: parameter
        for name, parameter in net.named_parameters()
        if not name.startswith("spynet")
        and "conv_first" not in name.removeprefix("conv_first")
        and ".conv_before" not in name
    }
    gradients = torch.autograd.grad(net(frames).square().mean(), list(used.values()))
    assert [n for n, g in zip(used, gradients, strict=True) if not g.abs().sum() > 0] == []


def test_clips_that_cannot_be_read() -> None:
    net = small()
    assert (net.scale, net.size_multiple, net.minimum_size) == (4, 1, 64)
    with pytest.raises(ValueError, match="RGB"):
        net(texture(1)[0])
    with pytest.raises(ValueError, match="clip of shape"):
        net(texture(1)[:, :0])
    with pytest.raises(ValueError, match=r"63x64; .* at least 64"):
        net(texture(1, size=(63, 64)))
