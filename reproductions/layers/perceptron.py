"""The perceptron behind attention."""

from __future__ import annotations

from torch import Tensor, nn
from torch.nn import functional


class Perceptron(nn.Module):
    """Gives two linear layers with a GELU (the exact one, by erf) between them, pixel by pixel."""

    def __init__(self, channels: int, hidden: int) -> None:
        super().__init__()
        self.fc1 = nn.Linear(channels, hidden)
        self.fc2 = nn.Linear(hidden, channels)

    def forward(self, x: Tensor) -> Tensor:
        """Gives (..., channels)."""
        y: Tensor = self.fc2(functional.gelu(self.fc1(x)))
        return y
