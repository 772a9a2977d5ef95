"""TDAN against what the official code computes."""

from functools import cache

import parity
import pytest
import stages
import torch
from torch import Tensor
from torch.nn import functional

from bench import checkpoint
from reproductions.layers.deform_conv import Border
from reproductions.tdan.network import TDAN

NAMES = parity.publishers("tdan")

VARIANTS: dict[str, tuple[str, Border]] = {
    "mmagic": ("openmmlab", "fade"),
    "official_torchvision_op": ("author", "fade"),
    "official_original_op": ("author", "hold"),
}


@cache
def network(variant: str, dtype: torch.dtype, mean: float) -> TDAN:
    publisher, border = VARIANTS[variant]
    net = TDAN(border=border, mean=mean).eval()
    state = parity.state(parity.case("tdan", variant))
    net.load_state_dict(checkpoint.rename(state, NAMES[publisher]), strict=True)
    return net.to(dtype)


@pytest.mark.parametrize(
    ("dtype", "tolerance"), [(torch.float64, 1e-6), (torch.float32, 1e-5)], ids=["f64", "f32"]
)
@pytest.mark.parametrize("case", ["s1", "s2", "centered_s1"])
@pytest.mark.parametrize("variant", VARIANTS)
def test_output(variant: str, case: str, dtype: torch.dtype, tolerance: float) -> None:
    """The stored outputs are rounded to float32; the official code's own float32 is 1e-6 off."""
    description = parity.case("tdan", variant)
    clip = parity.clip(description, case.removeprefix("centered_")).to(dtype)
    # The official classes leave the mean to their callers, hence the cases without it.
    net = network(variant, dtype, 0.5 if case.startswith("centered") else 0.0)
    with torch.inference_mode():
        found = net(clip)
    error = parity.relative_error(found, parity.arrays("tdan", variant)[f"output_{case}"])
    assert error < tolerance


def stage(found: dict[str, Tensor], variant: str, published: str) -> Tensor:
    """What ours gives where the official module gives its output."""
    match published:
        case "feat_extract.0":
            return found["conv_first"].relu()
        case "feat_extract":
            return found["feature_extraction"]
        case "reconstruct.0" | "fea_ex":
            return found["conv_fusion"].relu()
        case "reconstruct.3" | "up.0":
            return functional.pixel_shuffle(found["upconv2"], 2)
        case _:
            return found[next(iter(checkpoint.rename({published: 0}, NAMES[VARIANTS[variant][0]])))]


@pytest.mark.parametrize("variant", VARIANTS)
def test_stages(variant: str) -> None:
    description = parity.case("tdan", variant)
    stored = parity.arrays("tdan", f"{variant}_mid")
    net = network(variant, torch.float64, 0.0)
    clip = parity.clip(description, "s1")
    modules = [name for name, _ in net.named_children()]
    # With gradients, since without them the last convolutions are one.
    found = stages.outputs(net, modules, lambda: net(clip))
    aligned = torch.stack(net.align(net.features(clip)), dim=1).detach()
    departure = stages.first_departure(
        description, stored, lambda published: stage(found, variant, published)
    )
    assert departure is None
    assert parity.relative_error(aligned, stored["aligned_lr"]) < 1e-6


@pytest.mark.parametrize("variant", VARIANTS)
def test_parameters(variant: str) -> None:
    parameters = dict(network(variant, torch.float32, 0.5).named_parameters())
    assert len(parameters) == 85
    assert sum(p.numel() for p in parameters.values()) == 1_970_819
    assert not list(network(variant, torch.float32, 0.5).named_buffers())


def test_publishers_name_the_same_tensors() -> None:
    for author, openmmlab in parity.case("tdan", "keymap")["map"].items():
        assert checkpoint.rename({author: 0}, NAMES["author"]) == checkpoint.rename(
            {openmmlab: 0}, NAMES["openmmlab"]
        )


def example(frames: int = 5, batch: int = 1) -> tuple[TDAN, Tensor]:
    net = network("mmagic", torch.float64, 0.5)
    return net, torch.from_numpy(parity.recipe().clip(3, (batch, frames, 3, 11, 13))).double()


def test_a_batch_is_its_items() -> None:
    net, clip = example(batch=2)
    with torch.inference_mode():
        torch.testing.assert_close(
            net(clip), torch.cat([net(clip[:1]), net(clip[1:])]), rtol=0, atol=1e-12
        )


def test_features_once_per_frame_are_those_of_every_window() -> None:
    net, clip = example(frames=7)
    with torch.inference_mode():
        features = net.features(clip)
        for window in ([0, 1, 2, 3, 4], [2, 3, 4, 5, 6], [2, 1, 0, 1, 2]):
            shared = net.reconstruct([features[i] for i in window])
            torch.testing.assert_close(shared, net(clip[:, window]), rtol=0, atol=1e-12)


def test_gradients_reach_every_parameter() -> None:
    net, clip = example()
    loss = net(clip).square().mean()
    gradients = torch.autograd.grad(loss, list(net.parameters()))
    assert all(bool(g.abs().sum() > 0) for g in gradients)


def test_frames_that_cannot_be_read() -> None:
    net, clip = example(frames=7)
    with torch.inference_mode():
        with pytest.raises(ValueError, match="window of 7 frames; expected 5"):
            net(clip)
        with pytest.raises(ValueError, match="RGB"):
            net(clip[:, :5, :1])
        with pytest.raises(ValueError, match="RGB"):
            net(clip[0])
