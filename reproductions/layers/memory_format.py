"""The order in which a feature map lies in memory."""

import torch
from torch import Tensor


def preferred(x: Tensor) -> Tensor:
    """Gives `x`, (n, c, h, w), in the memory format in which its device convolves fastest.

    On a CPU that is channels last: convolutions otherwise reorder their input and output each
    time (64 -> 64 channels at 144x180: 17 ms for 23), and deformable convolution reads pixels, not
    planes. The format then carries over from layer to layer. Elsewhere `x` is left as it is.
    """
    return x.contiguous(memory_format=torch.channels_last) if x.device.type == "cpu" else x
