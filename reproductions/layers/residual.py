"""The residual block without normalisation."""

from torch import Tensor, nn
from torch.nn import functional


class ResidualBlock(nn.Module):
    """Gives x + conv2(relu(conv1(x))), two 3x3 convolutions and no scaling.

    Takes and gives (n, channels, h, w). Source: BasicSR basicsr/archs/arch_util.py:64-88; the
    blocks of TDAN and of OpenMMLab's networks are the same function.
    """

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(channels, channels, 3, padding=1)
        self.conv2 = nn.Conv2d(channels, channels, 3, padding=1)

    def forward(self, x: Tensor) -> Tensor:
        """Gives the block's output for `x`."""
        residual: Tensor = self.conv2(functional.relu(self.conv1(x), inplace=True))
        return x + residual


def residual_blocks(channels: int, count: int) -> nn.Sequential:
    """Gives `count` residual blocks in a row, named 0, 1, ... as in the official state dicts."""
    return nn.Sequential(*(ResidualBlock(channels) for _ in range(count)))
