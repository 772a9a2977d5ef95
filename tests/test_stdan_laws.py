"""STDAN: laws that hold for any weights, and clips that cannot be read."""

from __future__ import annotations

import subprocess
import sys
from typing import Any

import parity
import pytest
import torch
from torch import Tensor

from reproductions.stdan import aggregation
from reproductions.stdan.aggregation import FeatureAggregation
from reproductions.stdan.decoder import AttentionBlock
from reproductions.stdan.network import STDAN


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


@pytest.mark.parametrize("wanted", [[3], [0, 4], [1, 2, 3, 4]])
def test_moments_are_those_of_the_whole_clip(wanted: list[int]) -> None:
    """Whichever others are wanted, and whichever frames were read together."""
    net, clip = small(), texture(2, 3, 3, 16, 8)
    with torch.inference_mode():
        features = [*net.features(clip[:, :1]), *net.features(clip[:, 1:])]
        found, expected = net.moments(features, wanted), net(clip)[:, wanted]
    torch.testing.assert_close(found, expected, rtol=0, atol=1e-12)


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
        found = module(features[order], 5, range(5))
        expected = module(features, 5, range(5))[order]
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
    with pytest.raises(ValueError, match=r"given no frame; expected at least 2"):
        net(torch.zeros(1, 0, 3, 8, 8))
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
