"""The convolution of two concatenated feature maps, computable in halves."""

from torch import Tensor, nn
from torch.nn import functional


class PairConv(nn.Module):
    """A 3x3 convolution of cat(first, second): 2 * channels -> channels.

    A convolution is linear, so it is the sum of what each map contributes. A frame takes part in
    many windows; its contributions are computed once and added in each. The parameters are those of
    the ordinary convolution.
    """

    def __init__(self, channels: int) -> None:
        super().__init__()
        whole = nn.Conv2d(2 * channels, channels, 3, padding=1)
        self.weight, self.bias = whole.weight, whole.bias

    def halves(self, x: Tensor) -> tuple[Tensor, Tensor]:
        """Gives what (n, channels, h, w) contributes as the first map, and as the second.

        The first carries the bias.
        """
        return self.first(x), self.second(x)

    def first(self, x: Tensor) -> Tensor:
        """Gives what (n, channels, h, w) contributes as the first map, with the bias."""
        return functional.conv2d(x, self.weight.chunk(2, dim=1)[0], self.bias, padding=1)

    def second(self, x: Tensor) -> Tensor:
        """Gives what (n, channels, h, w) contributes as the second map."""
        return functional.conv2d(x, self.weight.chunk(2, dim=1)[1], padding=1)

    def forward(self, first: Tensor, second: Tensor) -> Tensor:
        """Gives the convolution from the two contributions (`halves`), which broadcast."""
        return first + second
