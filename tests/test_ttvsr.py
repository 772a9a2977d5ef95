"""TTVSR against what the official code computes.

One clip in float64 takes 20 to 40 seconds on one thread. Without BENCH_TEST_LONG one of them runs
in float64, stage by stage, and the others in float32; with it, all run in both.
"""

import weakref
from functools import cache

import numpy as np
import parity
import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional

from bench import checkpoint
from reproductions.ttvsr.network import TTVSR, KeyFrames, Match, TrajectoryAttention

NAMES = parity.publishers("ttvsr")["official"]


@cache
def published(variant: str) -> dict[str, Tensor]:
    description = parity.case("ttvsr", variant)
    state = {}
    for name, shape, _, kind in description["entries"]:
        if kind == "parameter":
            value = parity.recipe().parameter(name, tuple(shape))
            for prefix, factor in description["scale"].items():
                if name.startswith(prefix):
                    value *= np.float32(factor)
            state[name] = torch.from_numpy(value)
    # Buffers are not part of the recipe; they are ImageNet's statistics in the file, too.
    state["spynet.mean"] = torch.tensor([0.485, 0.456, 0.406]).view(1, 3, 1, 1)
    state["spynet.std"] = torch.tensor([0.229, 0.224, 0.225]).view(1, 3, 1, 1)
    return state


def network(variant: str, dtype: torch.dtype) -> TTVSR:
    with torch.device("meta"):
        net = TTVSR()
    state = checkpoint.rename(published(variant), NAMES)
    net.load_state_dict(state, strict=True, assign=True)
    return net.to(dtype).eval()


def clip(variant: str, name: str) -> Tensor:
    if name in {"mirror", "septuplet"}:
        key = {"mirror": "mirror_extended", "septuplet": "mirrored_septuplet"}[name]
        found = parity.case("ttvsr", variant)[key]
        shape = found["clip_shape" if name == "mirror" else "input_shape"]
        frames = torch.from_numpy(parity.recipe().clip(found["seed"], tuple(shape))).double()
        mirrored = torch.cat((frames, frames.flip(1)), dim=1)
        return mirrored if name == "mirror" else mirrored.repeat(1, 2, 1, 1, 1)
    return parity.clip(parity.case("ttvsr", variant), name)


def worst_error(found: Tensor, variant: str, name: str) -> float:
    """The largest relative error of samples, crop, corner, mean and deviation of an output."""
    stored = {
        key.removeprefix(f"output_{name}"): value
        for key, value in parity.arrays("ttvsr", variant).items()
        if key.startswith(f"output_{name}")
    }
    # Crops are of even sides, in the middle; their first index is written in the JSON.
    top, left = (side // 2 - 16 for side in found.shape[-2:])
    pairs = {
        "_sample_value": found.flatten()[stored["_sample_index"].long()],
        "": found[..., top : top + 32, left : left + 32],
        "_corner": found[..., -16:, -16:],
        "_stat": torch.stack((found.mean(), found.std(correction=0))),
    }
    return max(parity.relative_error(ours, stored[key]) for key, ours in pairs.items())


@pytest.mark.parametrize(
    ("variant", "name"),
    [
        ("base", "s1"),
        ("base", "s2"),
        ("base", "s3"),
        ("base", "mirror"),
        ("unscaled", "s1"),
        pytest.param("unscaled", "s2", marks=pytest.mark.long),
    ],
)
def test_output_in_float32(variant: str, name: str) -> None:
    """The official code's own float32 is up to 4e-7 off, 3e-6 in `unscaled`."""
    net = network(variant, torch.float32)
    with torch.inference_mode():
        found = net(clip(variant, name).float())
    assert worst_error(found.double(), variant, name) < 1e-5


@pytest.mark.long
@pytest.mark.parametrize(
    ("variant", "name"),
    [
        ("base", "s2"),
        ("base", "s3"),
        ("base", "mirror"),
        ("unscaled", "s1"),
        ("unscaled", "s2"),
    ],
)
def test_output_in_float64(variant: str, name: str) -> None:
    """Crops are stored in float32. s1 is tested with its stages."""
    net = network(variant, torch.float64)
    with torch.inference_mode():
        found = net(clip(variant, name))
    assert worst_error(found, variant, name) < 1e-6


@pytest.mark.long
def test_septuplet_mirrored_twice() -> None:
    """Key frames of one picture make exact ties, which rounding decides: 8.5e-4 in float32."""
    net = network("base", torch.float32)
    with torch.inference_mode():
        found = net(clip("base", "septuplet").float())
    centre = found[:, [3, 10, 17, 24]].mean(dim=1)
    assert worst_error(centre.double(), "base", "septuplet") < 5e-3


def everywhere(key_frames: KeyFrames, index: int) -> Match:
    """The match of every token with the one at its own place in a key frame."""
    places = key_frames.places[:, 0]
    return Match(torch.ones_like(places), torch.full_like(places, index), places)


def cut(features: Tensor) -> Tensor:
    """Tokens as the official code lays them out: (n, 16 * c, rows, columns)."""
    n, _, h, w = features.shape
    return functional.unfold(features, 4, stride=4).view(n, -1, h // 4, w // 4)


def as_coordinates(key_frames: KeyFrames) -> Tensor:
    """Location maps as the official code has them: x, y of the first key frame, x, y of the ..."""
    columns = key_frames.columns
    locations = key_frames.locations
    return torch.stack((locations % columns, locations // columns), dim=2).flatten(1, 2).double()


def trace(net: TTVSR, frames: Tensor) -> dict[str, Tensor]:
    """What is computed on the way, under the names of the fixture; the output as `output`."""
    found: dict[str, Tensor] = {}
    count = frames.shape[1]
    passed: list[str] = []

    def place() -> str:
        step = len(passed)
        back = step < count
        return f"backward.frame{count - 1 - step}" if back else f"forward.frame{step - count}"

    def at_features(_m: nn.Module, _i: object, output: Tensor) -> None:
        # Clips are read from the end.
        found["feat_extractor"] = torch.cat((output, found.get("feat_extractor", output[:0])))

    def at_flow(_m: nn.Module, _i: object, output: Tensor) -> None:
        name = "flows_" + place().partition(".")[0]
        others = found.get(name, output[:0])
        back = name == "flows_backward"
        found[name] = torch.cat((output, others) if back else (others, output))

    def at_attention(
        _m: nn.Module, inputs: tuple[Tensor, Tensor, KeyFrames], output: Tensor
    ) -> None:
        features, _, key_frames = inputs
        match = key_frames.most_similar(features)
        indices = range(len(key_frames.keys))
        values = [key_frames.values_of(everywhere(key_frames, i)).chunk(3, 1) for i in indices]
        keys = [key.permute(0, 3, 1, 2) for key in key_frames.keys]
        found.update(
            {
                f"{place()}.location": as_coordinates(key_frames),
                f"{place()}.argmax": match.key_frame.double(),
                f"{place()}.corr": match.similarity,
                f"{place()}.ltam": output.clone(),
                f"{place()}.tokens_index": torch.stack([cut(key) for key in keys], 1),
            }
        )
        for scale in range(3):
            tokens = torch.stack([cut(value[scale]) for value in values], 1)
            found[f"{place()}.tokens_s{scale + 1}"] = tokens

    def at_state(_m: nn.Module, _i: object, output: Tensor) -> None:
        found[f"{place()}.resblocks"] = output.clone()
        passed.append(place())

    def once(name: str, shuffled: bool = False):
        def hook(_m: nn.Module, _i: object, output: Tensor) -> None:
            # The official upsampling module carries its pixel shuffle.
            output = functional.pixel_shuffle(output, 2) if shuffled else output.clone()
            found.setdefault(f"{name}.frame0", output)

        return hook

    net.feat_extractor.register_forward_hook(at_features)
    net.spynet.register_forward_hook(at_flow)
    net.ltam.register_forward_hook(at_attention)
    net.resblocks.register_forward_hook(at_state)
    net.fusion.register_forward_hook(once("fusion"))
    net.upsample1.register_forward_hook(once("upsample1", shuffled=True))
    net.conv_last.register_forward_hook(once("conv_last"))
    with torch.inference_mode():
        output = net(frames)
    return {"output": output, **found}


def stored_part(stage: str, whole: Tensor) -> Tensor:
    """The part of a stage that the fixture stores."""
    if stage.startswith("flows"):
        return whole[:, :, ::4, ::4]
    if ".tokens" in stage:
        return whole[0, -1, ::33, :8, :8]
    if stage.endswith(("location", "argmax", "corr")):
        return whole[0]
    part = whole[:, :8, :12, :12]
    return part[0] if stage == "feat_extractor" else part


def test_stages_in_float64() -> None:
    """The first stored stage that ours departs from, and the output."""
    stored = parity.arrays("ttvsr", "base")
    found = trace(network("base", torch.float64), clip("base", "s1"))
    stages = [
        key.removeprefix("mid_")
        for key in stored
        if key.startswith("mid_") and not key.endswith("_stat")
    ]
    assert len(stages) == 76
    departures = []
    for stage in stages:
        whole = found[stage]
        pairs = (
            (stored_part(stage, whole), stored[f"mid_{stage}"]),
            (torch.stack((whole.mean(), whole.std(correction=0))), stored[f"mid_{stage}_stat"]),
        )
        for ours, theirs in pairs:
            assert ours.shape == theirs.shape, stage
            if not torch.allclose(ours, theirs, rtol=1e-6, atol=1e-6 * float(theirs.abs().max())):
                departures.append(f"{stage}: {parity.relative_error(ours, theirs):.1e}")
    assert departures[:1] == []
    assert worst_error(found["output"], "base", "s1") < 1e-6


@pytest.mark.parametrize("size", ["16x20", "18x22", "17x21"])
def test_values_of_three_scales(size: str) -> None:
    stored = parity.arrays("ttvsr", "ops")
    x = stored[f"tokens_{size}_x"]
    key_frames = KeyFrames(x, 1)
    key_frames.add(x, x)
    for scale, values in enumerate(key_frames.values_of(everywhere(key_frames, 0)).chunk(3, 1), 1):
        # Stored in float32.
        expected = stored[f"tokens_{size}_s{scale}"].float()
        torch.testing.assert_close(cut(values).float(), expected, rtol=1.2e-7, atol=0)


class Unrelated(KeyFrames):
    """Key frames whose values of each scale come from feature maps of their own."""

    def of_scales(self, scales: list[KeyFrames]) -> "Unrelated":
        self.single = scales
        return self

    def values_of(self, found: Match) -> Tensor:
        return torch.cat([x.values_of(found)[:, : x.channels] for x in self.single], dim=1)


@pytest.mark.parametrize(("h", "w", "count"), [(16, 20, 3), (18, 22, 2)])
def test_trajectory_attention_alone(h: int, w: int, count: int) -> None:
    """The official module is given four unrelated sets of tokens."""
    stored = parity.arrays("ttvsr", "ops")
    case = f"ltam_{h}x{w}_t{count}"
    rows, columns = h // 4, w // 4

    def maps(kind: str) -> list[Tensor]:
        shape = (count, 1024, rows * columns)
        values = parity.recipe().parameter(f"{case}_{kind}", (int(np.prod(shape)),))
        tokens = torch.from_numpy((values * np.float32(20)).reshape(shape)).double()
        whole = functional.fold(tokens, (4 * rows, 4 * columns), 4, stride=4)
        return list(functional.pad(whole, (0, w % 4, 0, h % 4)).split(1))

    def key_frames(features: list[Tensor], states: list[Tensor], kind: type) -> KeyFrames:
        made = kind(features[0], count)
        for pair in zip(features, states, strict=True):
            made.add(*pair)
        return made

    keys = maps("index")
    memory = key_frames(keys, keys, Unrelated)
    memory.of_scales([key_frames(keys, maps(s), KeyFrames) for s in ("s1", "s2", "s3")])
    location = stored[f"{case}_location"].long().unflatten(1, (count, 2))
    memory.locations = location[:, :, 1] * columns + location[:, :, 0]

    ltam = TrajectoryAttention(64).double()
    weights = {
        name: torch.from_numpy(parity.recipe().parameter(f"LTAM.{name}", tuple(value.shape)))
        for name, value in ltam.state_dict().items()
    }
    ltam.load_state_dict(weights)
    with torch.inference_mode():
        found = ltam(stored[f"{case}_curr"], stored[f"{case}_anchor"], memory)
    expected = stored[f"{case}_y"]
    assert parity.relative_error(found, expected) < 5e-8  # stored in float32


def test_state() -> None:
    """Every published tensor and no other; the paper's 6.8 M parameters."""
    description = parity.case("ttvsr", "base")
    with torch.device("meta"):
        net = TTVSR()
    ours = {name: list(value.shape) for name, value in net.state_dict().items()}
    theirs = {name: shape for name, shape, *_ in description["entries"]}
    assert checkpoint.rename(theirs, NAMES) == ours
    assert len(ours) == 338
    assert sum(p.numel() for p in net.parameters()) == description["parameters"] == 6_773_615


class Drift(nn.Module):
    """Flows of several pixels, in a thousandth of SPyNet's time."""

    def forward(self, reference: Tensor, supporting: Tensor) -> Tensor:
        blurred = functional.avg_pool2d(supporting - reference, 9, 1, 4, count_include_pad=False)
        return blurred[:, :2] * 60


def example(
    frames: int = 5, batch: int = 1, size: tuple[int, int] = (64, 68)
) -> tuple[TTVSR, Tensor]:
    """A network of few layers, and a clip."""
    net = TTVSR(channels=8, blocks=1).eval()
    state = net.state_dict()
    for name, value in net.named_parameters():
        state[name] = torch.from_numpy(parity.recipe().parameter(name, tuple(value.shape)))
    net.load_state_dict(state)
    net.spynet = Drift()
    drawn = parity.recipe().clip(3, (batch, frames, 3, *size))
    return net, torch.from_numpy(drawn)


def test_a_batch_is_its_items() -> None:
    net, frames = example(batch=2)
    with torch.inference_mode():
        items = torch.cat([net(frames[:1]), net(frames[1:])])
        torch.testing.assert_close(net(frames), items, rtol=0, atol=1e-4)


@pytest.mark.parametrize("count", [1, 2, 3, 4])
@pytest.mark.parametrize("size", [(64, 64), (67, 71)])
def test_short_clips_of_any_size(count: int, size: tuple[int, int]) -> None:
    net, frames = example(count, size=size)
    with torch.inference_mode():
        found = net(frames)
    assert found.shape == (1, count, 3, 4 * size[0], 4 * size[1])
    assert bool(found.isfinite().all())


def test_frames_leave_as_they_are_made() -> None:
    net, frames = example(7)
    kept: list[weakref.ref[Tensor]] = []
    net.feat_extractor.register_forward_hook(lambda _m, _i, out: kept.insert(0, weakref.ref(out)))
    with torch.inference_mode():
        expected = net(frames)
        kept.clear()
        made = []
        for i, frame in enumerate(net.frames(frames)):
            made.append(frame)
            # Of the frames before, only features of key frames are still of use.
            alive = {k for k, features in enumerate(kept) if features() is not None}
            assert alive - {0, 3} == set(range(i, 7)) - {0, 3}
    assert torch.equal(torch.stack(made, dim=1), expected)


def test_of_equal_keys_the_oldest_is_taken() -> None:
    x = torch.rand(1, 8, 64, 64)
    key_frames = KeyFrames(x, 3)
    for features in (-x, x, x):
        key_frames.add(features, features)
    match = key_frames.most_similar(x)
    assert bool((match.key_frame == 1).all())
    torch.testing.assert_close(match.similarity, torch.ones(1, 16, 16))


def test_trajectories_follow_the_flow() -> None:
    """Content that moves a token to the right each frame is found where it came from."""
    x = torch.rand(1, 8, 64, 64)
    key_frames = KeyFrames(x, 1)
    key_frames.add(x, x)
    flow = torch.tensor([-4.0, 0.0])[None, :, None, None].expand(1, -1, 64, 64)
    key_frames.move(flow)
    key_frames.move(flow)
    columns = torch.arange(16).sub(2).clamp(min=0)
    expected = torch.arange(16)[:, None] * 16 + columns
    assert torch.equal(key_frames.locations[0, 0], expected)


def test_gradients_reach_every_parameter() -> None:
    net = TTVSR(channels=8, blocks=1)
    frames = torch.from_numpy(parity.recipe().clip(3, (1, 5, 3, 64, 64)))
    made = net(frames)
    with torch.inference_mode():
        torch.testing.assert_close(made, net(frames))
    gradients = torch.autograd.grad(made.square().mean(), list(net.parameters()))
    assert all(bool(g.abs().sum() > 0) for g in gradients)


def test_clips_that_cannot_be_read() -> None:
    net, frames = example(1)
    with pytest.raises(ValueError, match=r"63x68; .* at least 64"):
        net(frames[..., :63, :])
    with pytest.raises(ValueError, match="RGB"):
        net.frames(frames[0])
    with pytest.raises(ValueError, match="expected"):
        net(frames[:, :0])
