"""STDAN against what the official code computes."""

from __future__ import annotations

import re
from functools import cache
from typing import Any

import numpy as np
import parity
import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional

from reproductions.stdan.decoder import official_mask
from reproductions.stdan.network import STDAN

KEPT = {
    "all": ...,
    "[:, :4, :8, :8]": np.s_[:, :4, :8, :8],
    "[:, :, :4, :8, :8]": np.s_[:, :, :4, :8, :8],
    "[:2, :4, :16, :16]": np.s_[:2, :4, :16, :16],
    "[:2, :64, :8] (frames, tokens, channels)": np.s_[:2, :64, :8],
    "first 9 channels (deformable group 0), all kernel points and positions": np.s_[:, :9],
}

WATCHED = (
    "conv_first",
    "feature_extraction",
    "feature_extraction.layers.0",
    "feature_extraction.layers.0.residual_group.blocks.0",
    "feature_extraction.layers.0.residual_group.blocks.1",
    "fea_L2_conv2",
    "fea_L3_conv2",
    "pcd_align_modified.L3_dcnpack_1",
    "pcd_align_modified.fusion",
    "pcd_align_modified.pcd_h",
    "pcd_align_modified.fusion_1x1",
    "pcd_align_modified.conv_h2",
    "fusion_f_b",
    "stdfa",
    "stdfa.conv_last",
    "stdfa.deformable_corr.offset_conv2",
    "feature_recon",
    "conv_before_upsample",
)

TOKENS = {
    "fe_block0": "feature_extraction.layers.0.residual_group.blocks.0",
    "fe_block1_shifted": "feature_extraction.layers.0.residual_group.blocks.1",
    "fe_rstb0": "feature_extraction.layers.0",
}
MAPS = {
    "L1_fea": "feature_extraction",
    "fusion_f_b": "fusion_f_b",
    "stdfa_aggregated": "aggregated",
    "stdfa_out": "stdfa",
    "feature_recon": "feature_recon",
    "before_upsample": "conv_before_upsample",
    "upsample": "upsample",
}
ACTIVATED = {"conv_first_lrelu": "conv_first", "L2_fea": "fea_L2_conv2"}
FIRST_CALLS = {
    "pcd_dcn_L3_1_first": "L3_dcnpack_1",
    "pcd_fusion_first": "fusion",
    "pcd_h_first": "pcd_h",
}
PASSES = {"pcd_y": "fusion_1x1", "pcd_hid": "conv_h2"}
"""Of these, calls 0 to t - 2 are those of the forward pass, and the others of the backward one."""


def description() -> dict[str, Any]:
    return parity.case("stdan", "stdan")


@cache
def published() -> dict[str, Tensor]:
    """Everything that the official state dict holds: parameters by the recipe, and buffers."""
    state = parity.state(description())
    index = relative_position_index()
    for name, _, _, kind in description()["items"]:
        if kind == "buffer":
            state[name] = official_mask() if name.endswith("attn_mask") else index
    return state


def relative_position_index() -> Tensor:
    """Row of the bias table for each pair of pixels of an 8x8 window, written out."""
    places = [(row, column) for row in range(8) for column in range(8)]
    table = [[(y - v + 7) * 15 + x - u + 7 for v, u in places] for y, x in places]
    return torch.tensor(table)


def network(dtype: torch.dtype) -> STDAN:
    with torch.device("meta"):
        net = STDAN()
    net.load_state_dict(published(), strict=True, assign=True)
    return net.to(dtype).eval()


class Run:
    """One pass over a clip in float64, and what the network computed on the way."""

    def __init__(self, case: str) -> None:
        self.net = network(torch.float64)
        clip = parity.clip(description(), case)
        self.batch, self.count = clip.shape[:2]
        self.given: dict[str, list[Tensor]] = {}
        self.made: dict[str, list[Tensor]] = {}
        for name in WATCHED:
            self._keep(name, self.net.get_submodule(name))
        with torch.inference_mode():
            self.sr = self.net(clip)
            self.between = self.net.stdfa.frames(self.given["stdfa"][0])
            # The enlargement takes no such steps.
            self.made["upsample"] = [self.net.upsample(self.made["conv_before_upsample"][0])]
        self.made["aggregated"] = self.given["stdfa.conv_last"]

    def _keep(self, name: str, module: nn.Module) -> None:
        def keep(_module: nn.Module, given: tuple[Tensor, ...], made: Tensor) -> None:
            self.given.setdefault(name, []).append(given[0].clone())
            self.made.setdefault(name, []).append(made.clone())

        module.register_forward_hook(keep)

    def items(self, x: Tensor) -> Tensor:
        """Frames as (n, t, ...), which ours keeps frame by frame."""
        return x.unflatten(0, (-1, self.batch)).transpose(0, 1)

    def one_way(self, name: str, number: int) -> Tensor:
        """What a module gives in official call `number`; ours goes both ways at a time."""
        step, halves = number % (self.count - 1), self.made[name]
        return halves[step][: self.batch] if number == step else halves[step][self.batch :]

    def stage(self, name: str) -> Tensor:
        """What ours gives where the official code gives the stored tensor."""
        if name.startswith("attn01"):
            return self.of_the_first_pair(name)
        stem, _, number = name.partition(".")
        if stem in PASSES:
            return self.one_way(f"pcd_align_modified.{PASSES[stem]}", int(number))
        if name in FIRST_CALLS:
            return self.made[f"pcd_align_modified.{FIRST_CALLS[name]}"][0][: self.batch]
        if name == "L3_fea_frame0":
            return leaky(self.made["fea_L3_conv2"][0])[: self.batch]
        frames = self.items(self.frames(name))
        if name in TOKENS:
            return frames.flatten(0, 1).flatten(1, 2)
        return frames.flatten(0, 1) if name in MAPS or name in ACTIVATED else frames

    def frames(self, name: str) -> Tensor:
        """What ours gives frame by frame."""
        if name in ACTIVATED:
            return leaky(self.made[ACTIVATED[name]][0])
        modules = TOKENS | MAPS
        return self.made[modules[name]][0] if name in modules else self.inner(name)

    def inner(self, name: str) -> Tensor:
        """What no module of ours gives, frame by frame."""
        with torch.inference_mode():
            match name:
                case "lstfi_out":
                    return self.given["stdfa"][0]
                case "stdfa_q" | "stdfa_k" | "stdfa_v":
                    x = self.net.stdfa.conv_first(self.given["stdfa"][0])
                    return self.net.stdfa.qkv_maps(x)["qkv".index(name[-1])]
        raise KeyError(name)

    def of_the_first_pair(self, name: str) -> Tensor:
        """Of query frame 0 and key frame 1."""
        correlation, frames = self.net.stdfa.deformable_corr, self.between
        with torch.inference_mode():
            if name in {"attn01_query", "attn01_key", "attn01_value"}:
                which = {"query": "q", "key": "k", "value": "v"}[name.rpartition("_")[2]]
                frame = 0 if which == "q" else 1
                return self.stage(f"stdfa_{which}")[:, frame]
            match name:
                case "attn01_offset_fea":
                    return leaky(self.made["stdfa.deformable_corr.offset_conv2"][0])
                case "attn01_key_sampled":
                    offsets = correlation.offsets(frames, 0, [1])
                    corners = correlation.corners(frames, [1], offsets, slice(None))
                    sampled = corners.read(frames.keys).view(1, -1, 9, 72)
                    return sampled.permute(0, 3, 2, 1)
                case "attn01_weight":
                    return correlation(frames, 0, [1]).score.flatten(1)
                case "attn01_out":
                    return correlation(frames, 0, [1]).value.flatten(1, 2).transpose(1, 2)
        raise KeyError(name)


def leaky(x: Tensor) -> Tensor:
    return functional.leaky_relu(x, 0.1)


@cache
def run(case: str) -> Run:
    return Run(case)


def departure(case: str) -> str | None:
    """The first stored stage that ours departs from and by how much, or None."""
    stored = parity.arrays("stdan", "intermediates")
    for name, described in description()["cases"][case]["intermediates"].items():
        found = run(case).stage(name)
        if list(found.shape) != described["shape"]:
            return f"{name}: shape {list(found.shape)} for {described['shape']}"
        error = parity.relative_error(found[KEPT[described["kept"]]], stored[f"{case}/{name}"])
        if not error < 1e-6:
            return f"{name}: relative error {error:.1e} in what is kept"
        spread = described["std"]
        if found.mean().item() != pytest.approx(described["mean"], abs=1e-9 + 1e-6 * spread):
            return f"{name}: mean {found.mean().item()} for {described['mean']}"
        if found.std(correction=0).item() != pytest.approx(spread, rel=1e-6):
            return f"{name}: standard deviation {found.std(correction=0).item()} for {spread}"
    return None


@pytest.mark.parametrize("case", ["s1", "s2"])
def test_stages(case: str) -> None:
    assert departure(case) is None


def test_every_stored_stage_is_compared() -> None:
    names = {
        f"{case}/{name}"
        for case, found in description()["cases"].items()
        for name in found["intermediates"]
    }
    assert names == set(parity.arrays("stdan", "intermediates"))
    assert len(names) == 71


def errors(sr: Tensor, case: str) -> float:
    """The largest relative error of what is stored of an output."""
    stored = parity.arrays("stdan", "stdan")
    assert list(sr.shape) == description()["cases"][case]["output_shape"]
    if case == "s1":
        return parity.relative_error(sr, stored["output_s1"])
    parts = {
        "output_s2": sr[..., 24:64, 52:96],
        "output_s2_grid": sr[..., ::8, ::8],
        "output_s2_mean": sr.mean(dim=(-2, -1)),
        "output_s2_std": sr.std(dim=(-2, -1), correction=0),
    }
    return max(parity.relative_error(part, stored[name]) for name, part in parts.items())


@pytest.mark.parametrize("case", ["s1", "s2"])
def test_output(case: str) -> None:
    """In float64; the outputs are stored in float32."""
    assert errors(run(case).sr, case) < 1e-6


@pytest.mark.parametrize("case", ["s1", "s2"])
def test_output_in_float32(case: str) -> None:
    """The official code's own float32 is 1.4e-6 off; no choice of a key flips."""
    net = network(torch.float32)
    with torch.inference_mode():
        assert errors(net(parity.clip(description(), case).float()), case) < 1e-5


def test_parameters() -> None:
    with torch.device("meta"):
        net = STDAN()
    found = [
        [name, list(value.shape), str(value.dtype).removeprefix("torch.")]
        for name, value in net.state_dict().items()
    ]
    stored = description()
    assert sorted(found) == sorted(entry[:3] for entry in stored["items"])
    parameters = list(net.parameters())
    assert len(parameters) == stored["parameter_tensors"] == 842
    assert sum(p.numel() for p in parameters) == stored["parameter_count"] == 8_292_843
    buffers = {name for name, _, _, kind in stored["items"] if kind == "buffer"}
    assert {name for name, _ in net.named_buffers()} == buffers
    assert len(buffers) == stored["buffer_tensors"] == 72
    assert (net.scale, net.size_multiple) == (4, 8)


def test_a_state_without_constants() -> None:
    bare = parity.state(description())
    assert len(bare) == 842
    with torch.device("meta"):
        empty = STDAN()
    for net, assign in ((STDAN(), False), (empty, True)):
        net.load_state_dict(bare, strict=True, assign=assign)
        assert len(bare) == 842
        assert all(torch.equal(value, published()[n]) for n, value in net.state_dict().items())


@pytest.mark.parametrize(
    "name",
    [
        "feature_recon.layers.3.residual_group.blocks.5.attn_mask",
        "feature_extraction.layers.1.residual_group.blocks.2.attn.relative_position_index",
    ],
)
def test_a_state_with_other_constants(name: str) -> None:
    with torch.device("meta"):
        net = STDAN()
    state = dict(published())
    for other in (state[name] + 1, state[name].flatten()):
        state[name] = other
        with pytest.raises(ValueError, match=f"the buffer {re.escape(name)} is"):
            net.load_state_dict(state, assign=True)
