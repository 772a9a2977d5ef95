"""EDVR against what the official code computes."""

from functools import cache
from typing import Any

import parity
import pytest
import stages
import torch
from torch import Tensor
from torch.nn import functional

from bench import checkpoint
from reproductions.edvr.network import EDVR

NAMES = parity.publishers("edvr")

LARGE = {"channels": 128, "reconstruction_blocks": 40}

VARIANTS: dict[str, dict[str, Any]] = {
    "basicsr_m": {},
    "basicsr_m_wotsa": {"tsa": False},
    "basicsr_l_reds": LARGE,
    "basicsr_l_vimeo90k": {**LARGE, "window": 7},
    "basicsr_l_srblur": {**LARGE, "predeblur": True},
    "basicsr_l_deblur": {**LARGE, "predeblur": True, "hr_in": True},
    "mmagic_m": {},
    "mmagic_m_wotsa": {"tsa": False},
    "mmagic_l": LARGE,
    "mmagic_l_wotsa": {**LARGE, "tsa": False},
}


def table(variant: str) -> dict[str, str]:
    return dict(NAMES["openmmlab"]) if variant.startswith("mmagic") else {}


def build(arguments: dict[str, Any], state: dict[str, Tensor]) -> EDVR:
    """A network with the state, strictly; without first drawing weights that nobody uses."""
    with torch.device("meta"):
        net = EDVR(**arguments)
    net.load_state_dict(state, strict=True, assign=True)
    return net.eval()


@cache
def published(variant: str) -> dict[str, Tensor]:
    return parity.state(parity.case("edvr", variant))


def network(variant: str, dtype: torch.dtype) -> EDVR:
    state = checkpoint.rename(published(variant), table(variant))
    return build(VARIANTS[variant], state).to(dtype)


@pytest.mark.parametrize(
    ("dtype", "tolerance"), [(torch.float64, 1e-6), (torch.float32, 1e-5)], ids=["f64", "f32"]
)
@pytest.mark.parametrize("case", ["s1", "s2"])
@pytest.mark.parametrize("variant", VARIANTS)
def test_output(variant: str, case: str, dtype: torch.dtype, tolerance: float) -> None:
    """The stored outputs are rounded to float32; the official code's own float32 is 1e-6 off."""
    clip = parity.clip(parity.case("edvr", variant), case).to(dtype)
    net = network(variant, dtype)
    with torch.inference_mode():
        found = net(clip)
    error = parity.relative_error(found, parity.arrays("edvr", variant)[f"output_{case}"])
    assert error < tolerance


def stage(found: dict[str, Tensor], variant: str, official: str) -> Tensor:
    """What ours gives where the official module gives its output."""
    if not variant.startswith("mmagic"):
        return found[official]
    # OpenMMLab's modules carry their activation or their pixel shuffle.
    match official:
        case "feat_l2_conv2" | "feat_l3_conv2" | "fusion.feat_fusion":
            ours = official.replace("feat_l", "conv_l").replace("_conv2", "_2")
            return functional.leaky_relu(found[ours], 0.1)
        case "upsample1" | "upsample2":
            return functional.pixel_shuffle(found[official.replace("sample", "conv")], 2)
        case _:
            return found[next(iter(checkpoint.rename({official: 0}, table(variant))))]


@pytest.mark.parametrize("variant", VARIANTS)
def test_stages(variant: str) -> None:
    description = parity.case("edvr", variant)
    stored = parity.arrays("edvr", f"{variant}_mid")
    net = network(variant, torch.float64)
    modules = [name for name, _ in net.named_modules() if name and "blocks" not in name]
    with torch.inference_mode():
        found = stages.outputs(net, modules, lambda: net(parity.clip(description, "s1")))
    departure = stages.first_departure(
        description, stored, lambda official: stage(found, variant, official)
    )
    assert departure is None


@pytest.mark.parametrize(
    ("variant", "count", "tensors"),
    [
        ("basicsr_m", 3_300_131, 144),
        ("basicsr_m_wotsa", 2_996_259, 120),
        ("basicsr_l_reds", 20_633_827, 264),
        ("basicsr_l_vimeo90k", 20_699_363, 264),
        ("mmagic_l_wotsa", 19_419_875, 240),
        ("basicsr_l_srblur", 23_306_851, 302),
        ("basicsr_l_deblur", 23_602_019, 306),
    ],
)
def test_parameters(variant: str, count: int, tensors: int) -> None:
    with torch.device("meta"):
        net = EDVR(**VARIANTS[variant])
    assert len(net.state_dict()) == tensors
    assert sum(p.numel() for p in net.parameters()) == count


def test_publishers_name_the_same_tensors() -> None:
    keymap = parity.case("edvr", "keymap")["map"]
    assert len(keymap) == 310
    for ours, (openmmlab, old) in keymap.items():
        if openmmlab is not None:
            assert checkpoint.rename({openmmlab: 0}, NAMES["openmmlab"]) == {ours: 0}
        assert checkpoint.rename({old: 0}, NAMES["2019"]) == {ours: 0}


@pytest.mark.parametrize("variant", [v for v in VARIANTS if v.startswith("basicsr")])
def test_files_of_2019_load(variant: str) -> None:
    """A file of 2019 has the same tensors under old names, one of them depending on hr_in."""
    keymap = {ours: old for ours, (_, old) in parity.case("edvr", "keymap")["map"].items()}
    old = {}
    for name, value in published(variant).items():
        key = keymap[name]
        if VARIANTS[variant].get("hr_in") and name.startswith("predeblur.conv_first."):
            key = key.replace("pre_deblur.conv_first.", "pre_deblur.conv_first_1.")
        old[key] = value
    state = checkpoint.rename(old, NAMES["2019"])
    build(VARIANTS[variant], state)
    assert all(state[name] is value for name, value in published(variant).items())


def example(
    frames: int = 5, batch: int = 1, size: tuple[int, int] = (8, 12), **arguments: Any
) -> tuple[EDVR, Tensor]:
    net = EDVR(**arguments).eval()
    state = {
        name: torch.from_numpy(parity.recipe().parameter(name, tuple(value.shape)))
        for name, value in net.state_dict().items()
    }
    net.load_state_dict(state)
    clip = parity.recipe().clip(3, (batch, frames, 3, *size))
    return net.double(), torch.from_numpy(clip).double()


@pytest.mark.parametrize("tsa", [True, False])
def test_a_batch_is_its_items(tsa: bool) -> None:
    net, clip = example(batch=2, tsa=tsa)
    with torch.inference_mode():
        torch.testing.assert_close(
            net(clip), torch.cat([net(clip[:1]), net(clip[1:])]), rtol=0, atol=1e-12
        )


@pytest.mark.parametrize("hr_in", [True, False])
def test_features_once_per_frame_are_those_of_every_window(hr_in: bool) -> None:
    net, clip = example(frames=7, size=(16, 32), predeblur=hr_in, hr_in=hr_in)
    with torch.inference_mode():
        features = net.features(clip)
        for window in ([0, 1, 2, 3, 4], [2, 3, 4, 5, 6], [4, 3, 0, 1, 2]):
            shared = net.reconstruct([features[i] for i in window])
            torch.testing.assert_close(shared, net(clip[:, window]), rtol=0, atol=1e-12)


def test_an_untrained_network_adds_to_the_enlarged_frame() -> None:
    """With a last convolution of zeros the result is the bilinear enlargement alone."""
    net, clip = example()
    for parameter in net.conv_last.parameters():
        torch.nn.init.zeros_(parameter)
    expected = functional.interpolate(clip[:, 2], scale_factor=4, mode="bilinear")
    with torch.inference_mode():
        torch.testing.assert_close(net(clip), expected)


def test_gradients_reach_every_parameter() -> None:
    net, clip = example(predeblur=True)
    loss = net(clip).square().mean()
    gradients = torch.autograd.grad(loss, list(net.parameters()))
    assert all(bool(g.abs().sum() > 0) for g in gradients)


def test_frames_that_cannot_be_read() -> None:
    net, clip = example(frames=7)
    with torch.inference_mode():
        with pytest.raises(ValueError, match="window of 7 frames; expected 5"):
            net(clip)
        with pytest.raises(ValueError, match=r"8x10; .* multiples of 4"):
            net(clip[:, :5, :, :, :10])
        with pytest.raises(ValueError, match="RGB"):
            net(clip[0])
    with pytest.raises(ValueError, match="predeblur"):
        EDVR(hr_in=True)


def test_a_state_that_mixes_two_publishers() -> None:
    mixed = checkpoint.rename({"HRconv.weight": 0, "conv_hr.weight": 0}, NAMES["2019"])
    assert list(mixed) == ["conv_hr.weight", "conv_hr.weight (twice)"]
