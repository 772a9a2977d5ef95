"""SPyNet: what it computes is tested with the networks that use it, here what they do not show."""

from functools import cache

import parity
import pytest
import torch
from torch import Tensor

from bench import checkpoint
from reproductions.layers.spynet import SPyNet


@cache
def network() -> SPyNet:
    """SPyNet with the weights of the TTVSR fixtures, float64."""
    description = parity.case("ttvsr", "base")
    state = {
        name: torch.from_numpy(parity.recipe().parameter(name, tuple(shape)))
        * description["scale"]["spynet."]
        for name, shape, _, kind in description["entries"]
        if name.startswith("spynet.") and kind == "parameter"
    }
    state = checkpoint.rename(state, parity.publishers("ttvsr")["official"])
    net = SPyNet()
    state |= {"spynet.mean": net.mean, "spynet.std": net.std}
    net.load_state_dict({name.removeprefix("spynet."): v for name, v in state.items()})
    return net.double().eval()


def frames(height: int = 64, width: int = 64) -> tuple[Tensor, Tensor]:
    clip = torch.from_numpy(parity.recipe().clip(1, (1, 5, 3, height, width))).double()[0]
    return clip[:-1], clip[1:]


@pytest.mark.parametrize("direction", ["forward", "backward"])
def test_flows_of_the_official_code(direction: str) -> None:
    earlier, later = frames()
    pair = (later, earlier) if direction == "forward" else (earlier, later)
    with torch.inference_mode():
        found = network()(*pair)[:, :, ::4, ::4]
    expected = parity.arrays("ttvsr", "base")[f"mid_flows_{direction}"]
    assert parity.relative_error(found, expected) < 1e-6


def test_pairs_do_not_depend_on_each_other() -> None:
    earlier, later = frames()
    with torch.inference_mode():
        together = network()(earlier, later)
        alone = torch.cat([network()(earlier[i : i + 1], later[i : i + 1]) for i in range(4)])
    torch.testing.assert_close(together, alone, rtol=0, atol=1e-10)


def test_other_sizes_are_enlarged_and_the_flow_is_in_their_pixels() -> None:
    """What SPyNet gives for enlarged frames, at the size of the frames and in their pixels."""
    earlier, later = frames(40, 70)
    resized = [
        torch.nn.functional.interpolate(x, (64, 96), mode="bilinear") for x in (earlier, later)
    ]
    with torch.inference_mode():
        found = network()(earlier, later)
        large = torch.nn.functional.interpolate(network()(*resized), (40, 70), mode="bilinear")
    expected = large * torch.tensor([70 / 96, 40 / 64], dtype=torch.float64)[:, None, None]
    torch.testing.assert_close(found, expected, rtol=0, atol=1e-10)


def test_size() -> None:
    with torch.device("meta"):
        net = SPyNet()
    assert sum(p.numel() for p in net.parameters()) == 1_440_300
    assert len(net.state_dict()) == 62


@pytest.mark.parametrize("dtype", [torch.float16, torch.float32, torch.float64])
def test_colours_of_a_file_are_compared_with_ours(dtype: torch.dtype) -> None:
    net = SPyNet()
    state = {name: value.to(dtype) for name, value in net.state_dict().items()}
    net.load_state_dict(state)
    state["std"] = state["std"] * 1.01
    with pytest.raises(RuntimeError, match=r"std is \[0.23\d*, .*\], not \[0.229, "):
        net.load_state_dict(state)
    del state["std"]
    with pytest.raises(RuntimeError, match="Missing key"):
        net.load_state_dict(state)


def test_the_fixture_names_every_tensor() -> None:
    names = [name for name, *_ in parity.case("ttvsr", "base")["entries"]]
    table = parity.publishers("ttvsr")["official"]
    renamed = {next(iter(checkpoint.rename({name: 0}, table))) for name in names}
    with torch.device("meta"):
        ours = {f"spynet.{name}" for name in SPyNet().state_dict()}
    assert {name for name in renamed if name.startswith("spynet.")} == ours
