"""Published costs, and which way of counting gives them; one line each after the run.

Sizes are those of LR frames: REDS 180x320, Vimeo-90K 64x112; on Vid4, whose clips differ in size,
the mean over its 171 frames, 23380 pixels. Every table counts multiply-adds and calls them FLOPs.
"""

from __future__ import annotations

import pytest
import torch
from conftest import state
from torch import nn

import reproductions
from bench import paper
from bench.cost import flops, timing
from bench.cost.timing import Shape
from reproductions.layers.deform_conv import DeformConv

REDS, VIMEO = 180 * 320, 64 * 112
VID4 = (41 * 144 * 180 + 34 * 144 * 176 + 49 * 120 * 180 + 47 * 120 * 180) / 171


def on_meta(name, checkpoint):
    with torch.device("meta"):
        return reproductions.network(name, checkpoint)


def multiply_adds(network, *shape):
    """Of a whole window or clip, nothing kept from the one before."""
    x = torch.empty(1, *shape, device="meta")
    # Step by step, as published: without gradients TDAN's last convolutions are one.
    with torch.enable_grad():
        return flops.count(lambda: network(x)) / 2


@pytest.fixture(scope="module")
def psrt():
    """Multiply-adds of PSRT for a pixel: one frame needs no flow, and 64x64 no padding."""
    return multiply_adds(on_meta("psrt", "reds"), 1, 3, 64, 64) / 64**2


def tell(what, published, ours, how):
    state(f"{what}: published {published}, counted {ours}: {how}")


def test_tdan_in_the_table_of_d3dnet():
    """288.02 G: ordinary convolutions with their biases, a whole window of REDS's size."""
    network = on_meta("tdan", "bix4")
    biases = []
    for module in network.modules():
        if isinstance(module, nn.Conv2d) and module.bias is not None:
            module.register_forward_hook(lambda *call: biases.append(call[2].numel()))
        if isinstance(module, DeformConv):
            # Its layer of offsets is called by its weight, not as a module.
            of_offsets = module.offset_channels / len(module.weight)
            module.register_forward_hook(
                lambda *call, ratio=of_offsets: biases.append(ratio * call[2].numel())
            )
    counted = multiply_adds(network, 5, 3, 180, 320)
    convolutions = counted.counted["aten.convolution"]
    # Ours has both halves of the pair convolution of five frames, the author's of four pairs.
    convolutions -= 2 * 64 * 64 * 9 * REDS
    pair_biases = 4 * 64 * REDS
    theirs = convolutions + sum(biases) + pair_biases
    assert f"{theirs / 1e9:.2f}" == "288.02"
    steady = timing.count_flops(paper.load("tdan"), "bix4", Shape(180, 320, 4)).total / 2
    tell(
        "TDAN, REDS",
        "288.02 G",
        f"{theirs / 1e9:.2f} G",
        "multiply-adds and biases of ordinary convolutions, a whole window; deformable ones not "
        f"counted. With them {counted.total / 1e9:.1f} G, and {steady / 1e9:.1f} G a frame where "
        "the features of a frame are kept for the next windows",
    )


@pytest.mark.parametrize(
    ("pixels", "published"), [(REDS, "2.39"), (VIMEO, "0.297"), (VID4, "0.97")]
)
def test_psrt_in_the_table_of_mia_vsr(psrt, pixels, published):
    """Per pixel, without SPyNet, where windows need no padding, as the official code computes.

    It makes all three frames in the last block and the last convolution of a pass, of which only
    the middle one is used; ours makes that one alone.
    """
    channels, tokens, frames = 120, 3 * 8 * 8, 2
    linear = channels**2 + 2 * channels * (2 * channels)
    attention = 2 * tokens * channels
    unused = 4 * frames * (linear + attention + 9 * channels**2)
    theirs = (psrt.total + unused) * pixels / 1e12
    digits = len(published.partition(".")[2])
    assert f"{theirs:.{digits}f}" == published
    tell(
        f"PSRT, {pixels:.0f} pixels",
        f"{published} T",
        f"{theirs:.{digits}f} T",
        "multiply-adds without the flow network, with what the official code computes and drops; "
        f"ours takes {psrt.total * pixels / 1e12:.{digits}f} T without flow",
    )


def test_psrt_in_the_table_of_iart(psrt):
    """1.5 T lies between the linear layers alone and those with the convolutions."""
    linear = psrt.counted["aten.addmm"] * REDS / 1e12
    both = linear + psrt.counted["aten.convolution"] * REDS / 1e12
    assert linear < 1.5 < both
    tell(
        "PSRT, REDS, IART's table",
        "1.5 T",
        f"{linear:.2f} T to {both:.2f} T",
        "linear layers alone, and with convolutions, attention left out in both; unexplained",
    )


def test_ttvsr_in_its_own_table():
    """0.61 T: neither flow nor attention, as of a single frame; cut, not rounded."""
    single = multiply_adds(on_meta("ttvsr", "reds"), 1, 3, 180, 320).total / 1e12
    several = timing.count_flops(paper.load("ttvsr"), "reds", Shape(180, 320, 2)).total / 2e12
    assert int(100 * single) == 61
    assert several > single
    tell(
        "TTVSR, REDS",
        "0.61 T",
        f"{single:.3f} T",
        "multiply-adds of one frame, without flow and attention, if two digits were cut off; "
        f"{several:.3f} T a frame in a clip of two",
    )


@pytest.mark.parametrize(("pixels", "published"), [(REDS, 2.95), (VIMEO, 0.367), (VID4, 1.197)])
def test_edvr_in_the_table_of_mia_vsr(pixels, published):
    """One figure, scaled by pixels; no way of counting that was tried gives it."""
    assert published == pytest.approx(2.95 * pixels / REDS, abs=0.0006)
    counts = {
        name: multiply_adds(on_meta("edvr", name), window, 3, 32, 32).total / 32**2 * pixels / 1e12
        for name, window in (("l-reds", 5), ("l-vimeo90k", 7))
    }
    assert 1.1 < published / counts["l-vimeo90k"] < 1.13
    assert 1.38 < published / counts["l-reds"] < 1.41
    tell(
        f"EDVR-L, {pixels:.0f} pixels",
        f"{published} T",
        f"{counts['l-reds']:.3f} T with 5 frames, {counts['l-vimeo90k']:.3f} T with 7",
        "multiply-adds of a whole window; unexplained",
    )
