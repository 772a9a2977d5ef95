"""Spatial-temporal deformable feature aggregation (STDFA): every frame looks at all others.

For a query frame j and a key frame i, offsets and a mask come from the pair. Keys and values are
sampled at the 9 deformed places of each pixel; of these the 2 whose keys fit the query best are
kept. A softmax over them, and one over the frames, weigh the values. No dot product is scaled.
Source: STDAN codes/models/modules/def_enc_dec.py.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import NamedTuple, cast

import torch
from torch import Tensor, nn
from torch.nn import functional

from reproductions.layers import deform_sampling as sampling
from reproductions.layers.deform_sampling import Corners, Grid, Places
from reproductions.layers.pair_conv import PairConv

TAPS = 9
"""Places that a pixel reads in a key frame."""

KEPT = 2
"""Places that are kept of the 9, a choice for all channels of a pixel together."""

# Samples of a band of rows, see deform_conv.py.
_BAND_SAMPLES = {"cpu": 72 * 1024}
_BAND_SAMPLES_ELSEWHERE = 2 * 1024 * 1024


class Look(NamedTuple):
    """What the pixels of some rows of a query frame find in m key frames."""

    kept: Corners
    """Where they read, (m, rows, w, kept, groups, 4); the weights are those of sampling alone."""
    weight: Tensor
    """Softmax over the kept places, (m, rows, w, kept)."""
    score: Tensor
    """How well the key frames fit, before the softmax over frames, (m, rows, w)."""


class Frames(NamedTuple):
    """What is made of t frames once for all pairs; t counts the items of a batch too."""

    query: Tensor
    """(t, h, w, e)."""
    as_query: Tensor
    """What each adds to the offsets' first layer as the query frame, (t, e, h, w)."""
    as_key: Tensor
    """The same as the key frame."""
    keys: Tensor
    """A row for each pixel and group of every frame, see `pixel_table`."""
    values: Tensor
    """Likewise."""
    places: Places
    """Where the samples lie without offsets."""


class FeatureAggregation(nn.Module):
    """Gives every frame's features with what they find in all other frames added.

    Named as officially: `deformable_corr` compares two frames, `qkv_maps` gives queries, keys and
    values of `embedded` channels.
    """

    def __init__(self, channels: int, embedded: int, groups: int) -> None:
        super().__init__()
        self.conv_first = nn.Conv2d(channels, embedded, 3, padding=1)
        self.qkv_maps = PixelMaps(embedded)
        self.deformable_corr = DeformableCorrelation(embedded, groups)
        self.conv_last = nn.Conv2d(embedded, channels, 3, padding=1)

    def forward(self, features: Tensor, count: int) -> Tensor:
        """Gives (count * n, c, h, w) of the features of `count` frames, frame by frame."""
        frames = self.frames(features)
        n = len(features) // count
        found = []
        for query in range(len(features)):
            keys = [i for i in range(query % n, len(features), n) if i != query]
            found.append(self.aggregate(frames, query, keys))
        aggregated = torch.stack(found).permute(0, 3, 1, 2)
        added: Tensor = self.conv_last(aggregated)
        return features + added

    def frames(self, features: Tensor) -> Frames:
        """Gives what the pairs share of the features of t frames, (t, c, h, w)."""
        query, key, value = self.qkv_maps(self.conv_first(features))
        t, embedded, h, w = query.shape
        groups = self.deformable_corr.groups
        grid = Grid(t, embedded, h, w, h, w, deformable_groups=groups, order="tap, group")
        kind = torch.promote_types(query.dtype, torch.float32)
        return Frames(
            query.permute(0, 2, 3, 1),
            *self.deformable_corr.halves(query, key),
            sampling.pixel_table(key, grid),
            sampling.pixel_table(value, grid),
            sampling.places(grid, kind, query.device),
        )

    def aggregate(self, frames: Frames, query: int, keys: Sequence[int]) -> Tensor:
        """Gives what a query frame, by number, finds in key frames, (h, w, e)."""
        offsets = self.deformable_corr.offsets(frames, query, keys)
        return torch.cat(
            [
                _weigh(self.deformable_corr.look(frames, query, keys, offsets, rows), frames)
                for rows in _bands(offsets)
            ]
        )


class PixelMaps(nn.Module):
    """Gives queries, keys and values: three linear maps of each pixel."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.w_qs = nn.Linear(channels, channels)
        self.w_ks = nn.Linear(channels, channels)
        self.w_vs = nn.Linear(channels, channels)

    def forward(self, x: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """Gives three maps (n, c, h, w) of one, in channels last."""
        pixels = x.permute(0, 2, 3, 1)
        query, key, value = (
            linear(pixels).permute(0, 3, 1, 2) for linear in (self.w_qs, self.w_ks, self.w_vs)
        )
        return query, key, value


class DeformableCorrelation(nn.Module):
    """Gives where the pixels of a query frame read in key frames, and how well that fits."""

    def __init__(self, channels: int, groups: int) -> None:
        super().__init__()
        self.groups = groups
        self.offset_conv1 = PairConv(channels)
        self.offset_conv2 = nn.Conv2d(channels, channels, 3, padding=1)
        self.dcn_attention = nn.Module()
        self.dcn_attention.conv_offset_mask = nn.Conv2d(channels, groups * TAPS * 3, 3, padding=1)

    def halves(self, query: Tensor, key: Tensor) -> tuple[Tensor, Tensor]:
        """Gives what frames add to the first layer as query frame, and as key frame."""
        return self.offset_conv1.first(query), self.offset_conv1.second(key)

    def offsets(self, frames: Frames, query: int, keys: Sequence[int]) -> Tensor:
        """Gives offsets and masks in m key frames, (m, h, w, 3 * taps * groups).

        Three runs of channels, each ordered (tap, group): y and x, in pixels, and the mask before
        its sigmoid.
        """
        x = _leaky(frames.as_query[query : query + 1] + frames.as_key[list(keys)])
        x = _leaky(self.offset_conv2(x))
        conv = cast("nn.Conv2d", self.dcn_attention.conv_offset_mask)
        # Officially offsets are ordered (group, tap, axis) and masks (group, tap). The rows of the
        # weight are cheaper to reorder than what it gives.
        number = torch.arange(len(conv.weight), device=conv.weight.device)
        moved, mask = number.tensor_split([2 * TAPS * self.groups])
        moved = moved.view(self.groups, TAPS, 2).permute(2, 1, 0)
        order = torch.cat((moved.flatten(), mask.view(self.groups, TAPS).t().flatten()))
        bias = conv.bias if conv.bias is None else conv.bias[order]
        return functional.conv2d(x, conv.weight[order], bias, padding=1).permute(0, 2, 3, 1)

    def look(
        self, frames: Frames, query: int, keys: Sequence[int], offsets: Tensor, rows: slice
    ) -> Look:
        """Gives what the pixels of some rows find; offsets: of `offsets`."""
        corners = self.corners(frames, keys, offsets, rows)
        m, height, width, _, _ = corners.pixels.shape
        sampled = corners.read(frames.keys).view(m, height, width, TAPS, -1)
        relevance = torch.matmul(sampled, frames.query[query, rows, :, :, None]).squeeze(-1)
        top = relevance.topk(KEPT, dim=-1, sorted=False)
        weight = top.values.softmax(dim=-1)
        # The score is that of the weighted sum of keys, and that is the weighted sum of scores.
        score = (top.values * weight).sum(dim=-1)
        number = torch.arange(0, relevance.numel(), TAPS, device=relevance.device)
        chosen = (top.indices.view(-1, KEPT) + number[:, None]).flatten()
        kept = [
            x.view(relevance.numel(), -1)
            .index_select(0, chosen)
            .view(m, height, width, KEPT, self.groups, -1)
            for x in corners
        ]
        return Look(Corners(*kept), weight, score)

    def corners(self, frames: Frames, keys: Sequence[int], offsets: Tensor, rows: slice) -> Corners:
        """Gives the corners of all samples of some rows, (m, rows, w, taps * groups, 4)."""
        places = frames.places
        dy, dx, mask = offsets[:, rows].to(places.y.dtype).chunk(3, dim=-1)
        start = places.start[list(keys)]
        return sampling.corners(dy, dx, mask.sigmoid(), places, start, rows)


def _weigh(look: Look, frames: Frames) -> Tensor:
    """Gives the weighted sum of the kept values of all key frames, (rows, w, e)."""
    weight = look.weight * look.score.softmax(dim=0)[..., None]
    pixels, weights = look.kept
    weights = weights * weight[..., None, None]
    # All that a group of channels of a pixel reads, side by side: (rows, w, groups, m * kept * 4).
    read = [x.permute(1, 2, 4, 0, 3, 5).flatten(3) for x in (pixels, weights)]
    rows, width = read[0].shape[:2]
    return Corners(*read).read(frames.values).view(rows, width, -1)


def _bands(offsets: Tensor) -> Iterator[slice]:
    """Gives bands of rows for offsets (m, h, w, 3 * samples of a pixel)."""
    m, height, width, channels = offsets.shape
    samples = _BAND_SAMPLES.get(offsets.device.type, _BAND_SAMPLES_ELSEWHERE)
    step = max(1, samples // max(1, m * width * (channels // 3)))
    for top in range(0, height, step):
        yield slice(top, min(top + step, height))


def _leaky(x: Tensor) -> Tensor:
    """Gives the leaky ReLU of slope 0.1, written over `x`."""
    return functional.leaky_relu(x, 0.1, inplace=True)
