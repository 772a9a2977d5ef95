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
    """What the pixels of a query frame find in m key frames."""

    value: Tensor
    """Weighted sum of the kept values, (m, h, w, e)."""
    score: Tensor
    """How well the key frames fit: the query times the same sum of keys, (m, h, w)."""


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

    def forward(self, features: Tensor, count: int, wanted: Sequence[int]) -> Tensor:
        """Gives the wanted ones of `count` frames, (frames * n, c, h, w), frame by frame.

        features: of all, (count * n, c, h, w).
        """
        frames = self.frames(features)
        n = len(features) // count
        queries = [frame * n + item for frame in wanted for item in range(n)]
        found = []
        for query in queries:
            keys = [i for i in range(query % n, len(features), n) if i != query]
            found.append(self.aggregate(frames, query, keys))
        aggregated = torch.stack(found).permute(0, 3, 1, 2)
        added: Tensor = self.conv_last(aggregated)
        # One by one: indexing by a list would leave channels last.
        return torch.cat([features[query : query + 1] for query in queries]) + added

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
        # On a CPU a key frame at a time: what is made of it stays in the cache.
        step = 1 if frames.query.device.type == "cpu" else len(keys)
        runs = [keys[i : i + step] for i in range(0, len(keys), step)]
        looks = [self.deformable_corr(frames, query, run) for run in runs]
        weight = torch.cat([look.score for look in looks]).softmax(dim=0)
        value = torch.cat([look.value for look in looks])
        return (value * weight[..., None]).sum(dim=0)


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

    def forward(self, frames: Frames, query: int, keys: Sequence[int]) -> Look:
        """Gives what a query frame finds in m key frames; all by number."""
        offsets = self.offsets(frames, query, keys)
        bands = [self.look(frames, query, keys, offsets, rows) for rows in _bands(offsets)]
        return Look(*(torch.cat(parts, dim=1) for parts in zip(*bands, strict=True)))

    def offsets(self, frames: Frames, query: int, keys: Sequence[int]) -> Tensor:
        """Gives offsets and masks in m key frames, (m, h, w, 3 * taps * groups).

        Three runs of channels, each ordered (tap, group): y and x, in pixels, and the mask before
        its sigmoid.
        """
        # Added pair by pair: indexing by a list would leave channels last.
        x = torch.cat([frames.as_query[query : query + 1] + frames.as_key[i : i + 1] for i in keys])
        x = _leaky(self.offset_conv2(_leaky(x)))
        conv = cast("nn.Conv2d", self.dcn_attention.conv_offset_mask)
        return sampling.offsets(conv, x, self.groups, TAPS, "tap, group")

    def look(
        self, frames: Frames, query: int, keys: Sequence[int], offsets: Tensor, rows: slice
    ) -> Look:
        """Gives what the pixels of some rows find, (m, rows, w, ...); offsets: of `offsets`."""
        corners = self.corners(frames, keys, offsets, rows)
        m, height, width, samples, _ = corners.pixels.shape
        sampled = corners.read(frames.keys).view(m, height, width, TAPS, -1)
        # Of these the product and the sum take a fourth of the time of a matrix product.
        relevance = (sampled * frames.query[query, rows, :, None]).sum(dim=-1)
        top = relevance.topk(KEPT, dim=-1, sorted=False)
        weight = top.values.softmax(dim=-1)
        # The query times a weighted sum of keys is the weighted sum of its products with them.
        score = (top.values * weight).sum(dim=-1)
        pixel = torch.arange(0, relevance.numel(), TAPS, device=relevance.device)
        chosen = (top.indices.view(-1, KEPT) + pixel[:, None]).flatten()
        of_taps = (relevance.numel(), samples // TAPS * 4)
        kept = [x.view(of_taps).index_select(0, chosen) for x in corners]
        share = kept[1] * weight.view(-1, 1)
        values = Corners(kept[0].view(-1, 4), share.view(-1, 4)).read(frames.values)
        first, *others = values.view(m, height, width, KEPT, -1).unbind(dim=-2)
        return Look(sum(others, first), score)

    def corners(self, frames: Frames, keys: Sequence[int], offsets: Tensor, rows: slice) -> Corners:
        """Gives the corners of all samples of some rows, (m, rows, w, taps * groups, 4)."""
        places = frames.places
        dy, dx, mask = offsets[:, rows].to(places.y.dtype).chunk(3, dim=-1)
        start = places.start[list(keys)]
        return sampling.corners(dy, dx, mask.sigmoid(), places, start, rows)


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
