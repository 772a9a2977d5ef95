from __future__ import annotations

from functools import partial

import pytest
import torch
from torch import nn
from torch.nn import functional

from bench.cost import flops
from reproductions.layers.deform_conv import DeformConv, deform_conv2d
from reproductions.layers.warp import warp

DEVICES = pytest.mark.parametrize("device", ["cpu", "meta"])


@DEVICES
def test_a_convolution_by_hand(device):
    layer = nn.Conv2d(6, 10, 3, stride=2, padding=1, groups=2, device=device)
    counted = flops.count(lambda: layer(torch.rand(2, 6, 8, 12, device=device)))
    # 2 items, 10 channels, 4x6 pixels, each a sum over 3 channels of its group and 9 taps.
    assert counted.total == 2 * (2 * 10 * 4 * 6) * (3 * 9)


@DEVICES
@pytest.mark.parametrize("modulated", [False, True])
def test_a_deformable_convolution_by_hand(device, modulated):
    torch.manual_seed(0)
    layer = DeformConv(8, 2, modulated=modulated).to(device)
    x = torch.rand(2, 8, 5, 7, device=device)
    with torch.inference_mode():
        counted = flops.count(lambda: layer(x, x))
    pixels, taps = 2 * 5 * 7, 9
    offsets = 2 * pixels * (2 * taps * (3 if modulated else 2)) * (8 * taps)
    # Each of 9 taps of each channel is a bilinear sample: four multiply-adds.
    samples = 2 * pixels * 8 * taps * 4
    product = 2 * pixels * 8 * (8 * taps)
    assert counted.total == offsets + samples + product
    assert counted.counted["aten._embedding_bag_forward_only"] == samples


@DEVICES
def test_attention_by_hand(device):
    q, k, v = (torch.rand(2, 3, n, c, device=device) for n, c in ((4, 8), (6, 8), (6, 8)))
    with torch.inference_mode():
        counted = flops.count(lambda: functional.scaled_dot_product_attention(q, k, v))
    # Every query by every key, 8 channels; and the 6 weights by 8 channels of values.
    assert counted.total == 2 * (2 * 3 * 4 * 6 * 8) + 2 * (2 * 3 * 4 * 6 * 8)


@DEVICES
@pytest.mark.parametrize(("mode", "taps"), [("bilinear", 4), ("nearest", 0)])
def test_sampling_by_hand(device, mode, taps):
    x, flow = torch.rand(2, 3, 5, 7, device=device), torch.rand(2, 2, 5, 7, device=device)
    assert flops.count(lambda: warp(x, flow, mode=mode)).total == 2 * taps * (2 * 3 * 5 * 7)


@DEVICES
@pytest.mark.parametrize("inference", [False, True])
@pytest.mark.parametrize(("mode", "taps"), [("bilinear", 4), ("nearest", 0), ("bicubic", 16)])
def test_resizing_by_hand(device, inference, mode, taps):
    x = torch.rand(1, 3, 5, 7, device=device)
    with torch.inference_mode(inference):
        counted = flops.count(lambda: functional.interpolate(x, scale_factor=2, mode=mode))
    assert counted.total == 2 * taps * (3 * 10 * 14)


@DEVICES
def test_products_by_hand(device):
    x, y = torch.rand(5, 4, 8, device=device), torch.rand(5, 4, 8, device=device)
    with torch.inference_mode():
        assert flops.count(lambda: torch.linalg.vecdot(x, y)).total == 2 * 5 * 4 * 8
        assert flops.count(lambda: torch.linalg.vecdot(x, y, dim=0)).total == 2 * 5 * 4 * 8
        assert flops.count(lambda: x @ y.transpose(1, 2)).total == 2 * 5 * 4 * 4 * 8
        assert flops.count(lambda: x[0] @ y[0, 0]).total == 2 * 4 * 8
        assert flops.count(lambda: x[0, 0].dot(y[0, 0])).total == 2 * 8
        assert flops.count(lambda: functional.linear(x, y[0])).total == 2 * 5 * 4 * 4 * 8


def test_bags_without_weights_are_additions():
    table, bags = torch.rand(9, 4), torch.zeros(3, 5, dtype=torch.int64)
    summed = flops.count(lambda: functional.embedding_bag(bags, table, mode="sum"))
    assert summed.total == 3 * 5 * 4


def test_what_has_no_formula_is_named_with_its_calls():
    x = torch.rand(1, 4, 6, 6)

    def code():
        y = functional.layer_norm(x, (6,))
        for _ in range(3):
            y = functional.max_pool2d(y, 3, 1, 1)
        return (y + 1).relu().sigmoid().view(-1)

    counted = flops.count(code)
    assert counted.total == 0
    assert counted.uncounted_calls == {
        "aten.max_pool2d_with_indices": 3,
        "aten.native_layer_norm": 1,
        "elementwise": 3,
    }


def test_a_counter_goes_on_where_it_stopped_and_starts_anew_when_taken():
    x, counter = torch.rand(4, 4), flops.FlopCounter()
    for _ in range(2):
        with counter:
            x @ x
        x @ x  # outside
    assert counter.take().total == 2 * 2 * 64
    assert counter.take() == flops.Flops(counted={}, uncounted_calls={})
    with pytest.raises(RuntimeError, match="before it was entered"):
        counter.__exit__(None, None, None)


def test_counts_add_up_and_are_shared():
    one = flops.Flops(counted={"a": 2, "b": 4}, uncounted_calls={"c": 1})
    two = flops.Flops(counted={"b": 6}, uncounted_calls={"d": 3})
    half = (one + two) / 2
    assert half == flops.Flops(counted={"a": 1, "b": 5}, uncounted_calls={"c": 0.5, "d": 1.5})
    assert half.total == 6


def test_bands_and_memory_formats_change_no_count():
    """On a CPU deformable convolution goes band by band, on other devices at once."""
    counts = []
    for device in ("cpu", "meta"):
        x = torch.rand(1, 16, 40, 64, device=device)
        offset = torch.zeros(1, 2 * 4 * 9, 40, 64, device=device)
        weight = torch.zeros(8, 16, 3, 3, device=device)
        code = partial(deform_conv2d, x, offset, weight, padding=1)
        counts.append(flops.count(code).counted)
    assert counts[0] == counts[1]
