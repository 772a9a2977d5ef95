"""STDAN against what the official code computes."""

from __future__ import annotations

import re
import subprocess
import sys
from functools import cache
from typing import Any

import numpy as np
import parity
import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional

from reproductions.stdan import aggregation
from reproductions.stdan.aggregation import FeatureAggregation
from reproductions.stdan.decoder import AttentionBlock, official_mask
from reproductions.stdan.enlargement import enlarge
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


def small(dtype: torch.dtype = torch.float64, **arguments: Any) -> STDAN:
    """A network of few blocks with the recipe's weights."""
    sizes = {
        "channels": 16,
        "embedded": 24,
        "heads": 2,
        "extraction_depths": (2,),
        "reconstruction_depths": (2,),
    }
    return filled(STDAN(**{**sizes, **arguments})).to(dtype).eval()


def filled(net: Any) -> Any:
    """The module with the recipe's weights."""
    for name, value in net.named_parameters():
        weights = parity.recipe().parameter(name, tuple(value.shape))
        value.data.copy_(torch.from_numpy(weights))
    return net


def texture(*shape: int, seed: int = 5) -> Tensor:
    """A clip (n, t, c, h, w)."""
    return torch.from_numpy(parity.recipe().clip(seed, shape)).double()


def test_a_batch_is_its_items() -> None:
    net, clip = small(), texture(2, 3, 3, 16, 8)
    with torch.inference_mode():
        expected = torch.cat([net(clip[:1]), net(clip[1:])])
        torch.testing.assert_close(net(clip), expected, rtol=0, atol=1e-12)


@pytest.mark.parametrize("count", [2, 3, 5])
def test_frames_and_the_moments_between(count: int) -> None:
    net = small()
    with torch.inference_mode():
        assert net(texture(1, count, 3, 8, 16)).shape == (1, 2 * count - 1, 3, 32, 64)


def test_cache_sized_runs_change_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    net, clip = small(), texture(1, 3, 3, 16, 24)
    with torch.inference_mode():
        expected = net(clip)
        monkeypatch.setattr("reproductions.layers.window_attention._CPU_TOKENS", 128)
        monkeypatch.setattr(aggregation, "_BAND_SAMPLES", {"cpu": 1})
        torch.testing.assert_close(net(clip), expected, rtol=0, atol=1e-12)


def test_both_ways_of_a_reversed_clip() -> None:
    """One set of weights goes both ways: what is backward in one clip is forward in the other."""
    module = small().pcd_align_modified
    count, n = 4, 2
    levels = [texture(1, count * n, 16, 16 >> i, 24 >> i, seed=i)[0] for i in range(3)]
    turned = [x.view(count, n, *x.shape[1:]).flip(0).flatten(0, 1) for x in levels]
    with torch.inference_mode():
        forward, backward = module.both_ways(levels, count)
        others = module.both_ways(turned, count)
    for found, expected in zip(others, (backward, forward), strict=True):
        torch.testing.assert_close(found[::-1], expected, rtol=0, atol=1e-12)
    assert not torch.allclose(forward[0], backward[0])


def test_aggregation_does_not_know_the_order_of_frames() -> None:
    """Every frame looks at all others; where in time they stand plays no role."""
    module = filled(FeatureAggregation(16, 24, 8)).double().eval()
    features, order = texture(1, 5, 16, 8, 16)[0], [3, 0, 4, 2, 1]
    with torch.inference_mode():
        found, expected = module(features[order], 5), module(features, 5)[order]
    torch.testing.assert_close(found, expected, rtol=0, atol=1e-12)


def test_aggregation_of_a_frame_and_its_copies() -> None:
    """Equal key frames weigh the same: together they give what one gives."""
    module = filled(FeatureAggregation(16, 24, 8)).double().eval()
    query, key = texture(1, 2, 16, 8, 16)[0]
    with torch.inference_mode():
        frames = module.frames(torch.stack((query, key, key, key)))
        found, expected = (module.aggregate(frames, 0, keys) for keys in ([1, 2, 3], [1]))
    torch.testing.assert_close(found, expected, rtol=0, atol=1e-12)


def test_weights_depend_on_dot_products_alone() -> None:
    """Doubling queries and halving keys, where they are sampled, changes no weight."""
    module = filled(FeatureAggregation(16, 24, 8)).double().eval()
    with torch.inference_mode():
        frames = module.frames(texture(1, 3, 16, 8, 16)[0])
        other = frames._replace(query=2 * frames.query, keys=frames.keys / 2)
        expected, found = (module.aggregate(x, 0, [1, 2]) for x in (frames, other))
        louder = module.aggregate(frames._replace(query=2 * frames.query), 0, [1, 2])
    torch.testing.assert_close(found, expected, rtol=0, atol=1e-12)
    assert parity.relative_error(louder, expected) > 1e-3


@pytest.mark.parametrize("shifted", [False, True])
def test_windows_do_not_see_each_other(shifted: bool) -> None:
    """Also at a side of 8, where the shift stays on and leaves four windows of 4x4."""
    block = filled(AttentionBlock(24, 2, shifted=shifted)).double().eval()
    x = texture(1, 1, 24, 8, 8)[0].permute(0, 2, 3, 1)
    changed = x.clone()
    changed[:, 5, 6, 0] += 1
    with torch.inference_mode():
        moved = (block(changed) - block(x)).abs().amax(dim=-1)[0] > 1e-12
    expected = torch.zeros(8, 8, dtype=torch.bool)
    expected[4 if shifted else 0 :, 4 if shifted else 0 :] = True
    assert torch.equal(moved, expected)


def test_shifted_windows_meet_in_the_middle() -> None:
    """A window of the shifted kind covers the last four and the first four of its neighbours."""
    block = filled(AttentionBlock(24, 2, shifted=True)).double().eval()
    x = texture(1, 1, 24, 16, 24)[0].permute(0, 2, 3, 1)
    changed = x.clone()
    changed[:, 7, 9, 0] += 1
    with torch.inference_mode():
        moved = (block(changed) - block(x)).abs().amax(dim=-1)[0] > 1e-12
    expected = torch.zeros(16, 24, dtype=torch.bool)
    expected[4:12, 4:12] = True
    assert torch.equal(moved, expected)


@pytest.mark.parametrize(("h", "w"), [(8, 8), (8, 40), (24, 16)])
@pytest.mark.parametrize("dtype", [torch.float64, torch.float32])
def test_one_convolution_is_the_three(h: int, w: int, dtype: torch.dtype) -> None:
    """At the border too, where each of the three reads zeros."""
    net = small(channels=16)
    x = texture(2, 1, 16, h, w)[:, 0] - 0.5
    with torch.inference_mode():
        expected = net.enlarge(x)
        net.to(dtype)
        found = enlarge(x.to(dtype), net.enlarge)
    assert found.shape == (2, 3, 4 * h, 4 * w)
    assert parity.relative_error(found, expected) < (1e-14 if dtype == torch.float64 else 1e-6)


def test_with_and_without_gradients_agree() -> None:
    """Where gradients are wanted, the enlargement is made step by step."""
    net, clip = small(), texture(1, 2, 3, 8, 16)
    with torch.inference_mode():
        expected = net(clip)
    found = net(clip)
    assert found.requires_grad
    torch.testing.assert_close(found.detach(), expected, rtol=0, atol=1e-12)


def test_gradients_reach_every_parameter() -> None:
    net, clip = small(), texture(1, 3, 3, 16, 16)
    with torch.inference_mode():
        net(clip)
    names = [name for name, _ in net.named_parameters()]
    gradients = torch.autograd.grad(net(clip).square().mean(), list(net.parameters()))
    assert [n for n, g in zip(names, gradients, strict=True) if not g.abs().sum() > 0] == []


def test_clips_that_cannot_be_read() -> None:
    net = small()
    with pytest.raises(ValueError, match=r"clip of shape \(2, 3, 8, 8\); .* RGB"):
        net(torch.zeros(2, 3, 8, 8))
    with pytest.raises(ValueError, match="RGB"):
        net(torch.zeros(1, 2, 1, 8, 8))
    with pytest.raises(ValueError, match=r"given 1 frame; expected at least 2"):
        net(torch.zeros(1, 1, 3, 8, 8))
    for h, w in ((12, 8), (8, 20), (0, 8)):
        with pytest.raises(ValueError, match=rf"{h}x{w}; .* multiples of 8"):
            net(torch.zeros(1, 2, 3, h, w))


MEMORY = """
import resource, torch
from reproductions.stdan.network import STDAN
torch.manual_seed(0)
net = STDAN().eval()
before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
with torch.inference_mode():
    net(torch.rand(1, 4, 3, 144, 184))
print(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before)
"""


@pytest.mark.long
@pytest.mark.skipif(sys.platform != "linux", reason="ru_maxrss is in KiB on Linux only")
def test_memory_is_bounded() -> None:
    """Four frames of Vid4, padded; the offsets of all 42 pairs at once would take 1 GB alone."""
    done = subprocess.run(
        [sys.executable, "-c", MEMORY], capture_output=True, text=True, check=True
    )
    assert int(done.stdout) * 1024 < 1.5e9
