import parity
import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional

import reproductions
from bench.cost import flops
from reproductions.layers.enlargement import at_once, enlarge


class Steps(nn.Module):
    """Three convolutions, each of another number of channels, with biases."""

    def __init__(self) -> None:
        super().__init__()
        self.first = nn.Conv2d(12, 4 * 10, 3, padding=1)
        self.second = nn.Conv2d(10, 4 * 8, 3, padding=1)
        self.last = nn.Conv2d(8, 3, 3, padding=1)
        for name, value in self.named_parameters():
            weights = parity.recipe().parameter(name, tuple(value.shape))
            value.data.copy_(torch.from_numpy(weights))

    def forward(self, x: Tensor) -> Tensor:
        x = functional.pixel_shuffle(self.first(x), 2)
        x = functional.pixel_shuffle(self.second(x), 2)
        return self.last(x)


SIZES = [(8, 8), (8, 40), (24, 16), (1, 1), (2, 5), (3, 2), (7, 1), (4, 3)]


@pytest.mark.parametrize(("h", "w"), SIZES)
@pytest.mark.parametrize("dtype", [torch.float64, torch.float32])
def test_one_convolution_is_the_three(h: int, w: int, dtype: torch.dtype) -> None:
    """At the border too, where each of the three reads zeros."""
    steps = Steps().double()
    x = torch.rand(2, 12, h, w, dtype=torch.float64, generator=torch.Generator().manual_seed(0))
    with torch.inference_mode():
        expected = steps(x - 0.5)
        found = at_once((x - 0.5).to(dtype), steps.to(dtype))
    assert found.shape == (2, 3, 4 * h, 4 * w)
    assert parity.relative_error(found, expected) < (1e-14 if dtype == torch.float64 else 1e-6)


@pytest.mark.parametrize(("h", "w", "share"), [(180, 320, 18), (64, 112, 47), (48, 48, 106)])
def test_what_it_takes_of_the_multiplications(h: int, w: int, share: int) -> None:
    """Per cent, as the docstring says; those that make the one convolution are counted."""
    network = reproductions.network("tdan", "bix4").to("meta")
    x = torch.empty(1, 64, h, w, device="meta")
    with torch.inference_mode():
        whole = flops.count(lambda: network.enlarge(x)).total
        assert round(100 * flops.count(lambda: at_once(x, network.enlarge)).total / whole) == share
        taken = flops.count(lambda: enlarge(x, network.enlarge)).total
    assert round(100 * taken / whole) == min(share, 100)


def test_gradients_go_through_the_steps() -> None:
    steps = Steps()
    x = torch.rand(1, 12, 6, 7, requires_grad=True)
    found = enlarge(x, steps)
    assert torch.equal(found, steps(x))
    gradients = torch.autograd.grad(found.square().mean(), [x, *steps.parameters()])
    assert all(bool(g.abs().sum() > 0) for g in gradients)
