"""TTVSR (Liu et al. 2022): attention to the tokens of earlier frames along their trajectories.

    feature extraction   the features of each frame
    propagation          from the last frame to the first, then from the first to the last: the
                         state moves with the flow, looks back along trajectories (LTAM), and
                         passes the residual blocks
    reconstruction       both states and the features fused, and x4, added to the enlarged frame

A trajectory is where the content of a token (4x4 pixels) was in each key frame before. The
location maps hold it for all trajectories at once: they move with the flow, like the state. Where
content was found again, LTAM takes the values of its token at three scales.

The same function as TTVSR/mmedit/models/backbones/sr_backbones/ttvsrnet.py (in this file:
ttvsrnet.py), for both published checkpoints. Published names: names.yaml.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import NamedTuple

import torch
from torch import Tensor, nn
from torch.nn import functional

from reproductions.layers.memory_format import preferred
from reproductions.layers.residual import residual_blocks
from reproductions.layers.spynet import SPyNet
from reproductions.layers.upsample import bilinear
from reproductions.layers.warp import warp

TOKEN = 4
"""Pixels along the side of a token."""

KEY_FRAME_STEP = 3
"""Of how many frames one is a key frame, counted from the first of a direction."""

MARGINS = (0, 1, 2)
"""Pixels around a token that its values of the first, second and third scale take in."""


class TTVSR(nn.Module):
    """Gives the SR frames of a clip of LR frames.

    `forward` is `frames`, stacked. `frames` gives every SR frame as soon as it is made.
    """

    scale = 4
    size_multiple = 1
    """Any size is read as it is. Up to 3 rows and columns at the end lie in no token, and get
    nothing from LTAM."""
    minimum_size = 64
    """Smallest height and width (ttvsrnet.py:119-121)."""

    def __init__(self, *, channels: int = 64, blocks: int = 60) -> None:
        super().__init__()
        # Feature extraction.
        self.spynet = SPyNet()
        self.feat_extractor = ResidualTrunk(3, channels, 5)
        # Propagation, with the same weights in both directions.
        self.ltam = TrajectoryAttention(channels)
        self.resblocks = ResidualTrunk(2 * channels, channels, blocks)
        # Reconstruction.
        self.fusion = nn.Conv2d(3 * channels, channels, 1)
        self.upsample1 = nn.Conv2d(channels, 4 * channels, 3, padding=1)
        self.upsample2 = nn.Conv2d(channels, 4 * 64, 3, padding=1)
        self.conv_hr = nn.Conv2d(64, 64, 3, padding=1)
        self.conv_last = nn.Conv2d(64, 3, 3, padding=1)

    def forward(self, clip: Tensor) -> Tensor:
        """Gives the SR frames (n, t, 3, 4h, 4w) of a clip (n, t, 3, h, w).

        Both are RGB in [0, 1], the result not clamped. Raises ValueError where they are not RGB
        frames or smaller than `minimum_size`.
        """
        return torch.stack(tuple(self.frames(clip)), dim=1)

    def frames(self, clip: Tensor) -> Iterator[Tensor]:
        """Gives the SR frames (n, 3, 4h, 4w) of a clip (n, t, 3, h, w) one by one, in time order.

        The first takes more than half of the time: the clip is first read from its end. What is
        kept, at most: the features and the backward state of every frame, and the state of every
        key frame.

        RGB in [0, 1]. Raises ValueError where the clip cannot be read.
        """
        self._check(clip)
        return self._frames([preferred(clip[:, i]) for i in range(clip.shape[1])])

    def _frames(self, clip: list[Tensor]) -> Iterator[Tensor]:
        direction = Direction(len(clip))
        features, backward = [], []
        for frame in reversed(clip):
            features.append(self.feat_extractor(frame))
            backward.append(self.propagate(frame, features[-1], direction))

        direction = Direction(len(clip))
        for frame in clip:
            own = features.pop()
            forward = self.propagate(frame, own, direction)
            yield self.reconstruct(frame, backward.pop(), own, forward)

    def propagate(self, frame: Tensor, features: Tensor, direction: Direction) -> Tensor:
        """Gives the state (n, c, h, w) at the next frame of a direction.

        frame: (n, 3, h, w). features: the frame's, (n, c, h, w). direction: how far the pass has
        come; led on to this frame. Source: ttvsrnet.py:131-165 and :230-252.
        """
        if direction.last is None:
            direction.key_frames = KeyFrames(features, direction.capacity)
            state = torch.zeros_like(features)
        else:
            previous, state = direction.last
            flow = self.spynet(frame, previous)
            state = warp(state, flow, padding="border")
            direction.key_frames.move(flow)
            state = self.ltam(features, state, direction.key_frames)
        state = self.resblocks(torch.cat((features, state), dim=1))
        if direction.at_key_frame:
            state = direction.key_frames.add(features, state)
        direction.last = frame, state
        direction.step += 1
        return state

    def reconstruct(
        self, frame: Tensor, backward: Tensor, features: Tensor, forward: Tensor
    ) -> Tensor:
        """Gives the SR frame (n, 3, 4h, 4w) from a frame, its features and both states.

        Source: ttvsrnet.py:298-305.
        """
        x = _leaky(self.fusion(torch.cat((backward, features, forward), dim=1)))
        x = _leaky(functional.pixel_shuffle(self.upsample1(x), 2))
        x = _leaky(functional.pixel_shuffle(self.upsample2(x), 2))
        residual: Tensor = self.conv_last(_leaky(self.conv_hr(x)))
        return residual + bilinear(frame, self.scale)

    def _check(self, clip: Tensor) -> None:
        """Raises ValueError where a clip cannot be read."""
        if clip.dim() != 5 or clip.shape[1] == 0 or clip.shape[2] != 3:
            message = (
                f"TTVSR cannot read a clip of shape {tuple(clip.shape)}; expected (n, t, 3, h, w), "
                "RGB in [0, 1]"
            )
            raise ValueError(message)
        h, w = clip.shape[-2:]
        if min(h, w) < self.minimum_size:
            message = (
                f"TTVSR cannot read frames of {h}x{w}; expected a height and width of at least "
                f"{self.minimum_size}. Pad the frames and crop the result"
            )
            raise ValueError(message)


@dataclass
class Direction:
    """How far the pass through a clip in one direction has come."""

    count: int
    """Frames of the clip."""
    step: int = 0
    """Frames passed."""
    last: tuple[Tensor, Tensor] | None = None
    """The frame passed last, and its state."""
    key_frames: KeyFrames = field(init=False)
    """Made at the first frame, whose size they have."""

    @property
    def at_key_frame(self) -> bool:
        """Whether the next frame is a key frame. The last is none: nothing looks back at it."""
        return self.step % KEY_FRAME_STEP == 0 and self.step < self.count - 1

    @property
    def capacity(self) -> int:
        """How many key frames there are."""
        return -(-(self.count - 1) // KEY_FRAME_STEP)


class ResidualTrunk(nn.Module):
    """Gives features of `inputs` channels: a convolution, then residual blocks.

    (n, inputs, h, w) -> (n, channels, h, w). Source: ttvsrnet.py:447-461.
    """

    def __init__(self, inputs: int, channels: int, blocks: int) -> None:
        super().__init__()
        self.main = nn.Sequential(
            nn.Conv2d(inputs, channels, 3, padding=1),
            nn.LeakyReLU(0.1, inplace=True),
            residual_blocks(channels, blocks),
        )

    def forward(self, x: Tensor) -> Tensor:
        """Gives the features of `x`."""
        features: Tensor = self.main(x)
        return features


class TrajectoryAttention(nn.Module):
    """Gives the moved state with what its trajectories met added (LTAM).

    Of the tokens on a trajectory, one per key frame, the most similar to the token at its end is
    taken (hard attention). Its values at three scales, fused and weighed by the similarity, are
    added. Source: ttvsrnet.py:334-433.
    """

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.fusion = nn.Conv2d(len(MARGINS) * channels, channels, 3, padding=1)

    def forward(self, features: Tensor, state: Tensor, key_frames: KeyFrames) -> Tensor:
        """Gives the new state (n, c, h, w).

        features: of the frame, the queries. state: moved here from the frame before. Both
        (n, c, h, w).
        """
        found = key_frames.most_similar(features)
        attended = self.fusion(key_frames.values_of(found))
        weight = found.similarity.repeat_interleave(TOKEN, 1).repeat_interleave(TOKEN, 2)
        h, w = state.shape[-2:]
        padding = (0, w - weight.shape[2], 0, h - weight.shape[1])
        return state + functional.pad(attended * weight[:, None], padding)


class Match(NamedTuple):
    """The token that a trajectory is led back to, for each of (n, h / 4, w / 4) trajectories."""

    similarity: Tensor
    """Cosine between its key and the query, in [-1, 1]."""
    key_frame: Tensor
    """Which key frame it lies in, from 0 for the oldest."""
    token: Tensor
    """Where in that key frame, row by row."""


class KeyFrames:
    """The key frames met so far in one direction, and where the trajectories passed through them.

    Tokens are not cut out in advance: keys and values of every scale are read from the feature maps
    where a trajectory leads. The official code keeps keys and three sets of values per key frame.
    """

    def __init__(self, like: Tensor, capacity: int) -> None:
        """For at most `capacity` key frames with feature maps like that given, (n, c, h, w)."""
        self.batch, self.channels, self.height, self.width = like.shape
        self.rows, self.columns = self.height // TOKEN, self.width // TOKEN
        self.scales = [
            scale(self.height, self.width, margin, like.dtype, like.device) for margin in MARGINS
        ]
        self.keys: list[Tensor] = []
        self.lengths: list[Tensor] = []
        # One table of pixels, from which values of different key frames come in one reading.
        self.values = like.new_empty(capacity, self.batch, self.height, self.width, self.channels)
        self.locations = torch.empty(
            self.batch, 0, self.rows, self.columns, dtype=torch.int64, device=like.device
        )
        """Location maps: (n, key frames, h / 4, w / 4), which token of the key frame, row by row,
        the trajectory that ends here went through. The oldest key frame first."""
        numbers = torch.arange(self.rows * self.columns, device=like.device)
        self.places = numbers.view(1, 1, self.rows, self.columns).expand(self.batch, -1, -1, -1)

    def add(self, features: Tensor, state: Tensor) -> Tensor:
        """Takes in a key frame: keys from its features, values from its state, (n, c, h, w).

        All trajectories start here anew. Gives the state as it is kept here, so that there need be
        no second copy of it.
        """
        pixels = state.permute(0, 2, 3, 1)
        if pixels.requires_grad:
            # What was read from a table cannot be differentiated once more is written into it.
            self.values = torch.cat((self.values[: len(self.keys)], pixels[None]))
        else:
            state = self.values[len(self.keys)].copy_(pixels).permute(0, 3, 1, 2)
        self.keys.append(features.permute(0, 2, 3, 1).contiguous())
        self.lengths.append(self._lengths(features))
        self.locations = torch.cat((self.locations, self.places), dim=1)
        return state

    def move(self, flow: Tensor) -> None:
        """Leads the trajectories on to the next frame.

        flow: (n, 2, h, w), pixels, from the next frame back to the one before. A token takes the
        trajectory that ends nearest to where it was. Source: ttvsrnet.py:148-152 and :235-239.
        """
        mean = functional.adaptive_avg_pool2d(flow, (self.rows, self.columns)) / TOKEN
        # Token numbers are exact in float32, and moved as any other picture.
        origin = warp(self.places.to(torch.float32), mean, padding="border", mode="nearest")
        origin = origin.to(torch.int64).flatten(2).expand(-1, len(self.keys), -1)
        self.locations = self.locations.flatten(2).gather(2, origin).view_as(self.locations)

    def most_similar(self, features: Tensor) -> Match:
        """Gives each trajectory's token with the key most similar to the query.

        features: (n, c, h, w), the queries. Of equally similar tokens the oldest is taken.
        Source: ttvsrnet.py:334-433.
        """
        query = self._tokens(features.permute(0, 2, 3, 1).contiguous(), self.places.flatten(1))
        query = (query / self._lengths(features)[:, :, None]).to(features.dtype)
        similarities = []
        for i, (key, length) in enumerate(zip(self.keys, self.lengths, strict=True)):
            token = self.locations[:, i].flatten(1)
            product = torch.linalg.vecdot(self._tokens(key, token), query)
            similarities.append(product / length.gather(1, token))
        similarity = torch.stack(similarities, dim=1)
        # argmax promises the first of equal values; the maximum of a GPU does not.
        best = similarity.argmax(dim=1, keepdim=True)
        shape = (self.batch, self.rows, self.columns)
        return Match(
            similarity.gather(1, best).view(shape).to(features.dtype),
            best.view(shape),
            self.locations.flatten(2).gather(1, best).view(shape),
        )

    def values_of(self, found: Match) -> Tensor:
        """Gives the values of tokens at all scales side by side, (n, 3c, 4 * rows, 4 * columns).

        Each lies where its trajectory ends. Source: ttvsrnet.py:334-433.
        """
        width = self.columns * TOKEN
        within = torch.arange(TOKEN, device=found.token.device)

        def pixels(of_tokens: Tensor) -> Tensor:
            """A number for each token as one for each pixel: (n, rows, 4, columns, 4)."""
            return of_tokens[:, :, None, :, None].expand(-1, -1, TOKEN, -1, TOKEN)

        corner = (found.token // self.columns * width + found.token % self.columns) * TOKEN
        source = pixels(corner) + (within[:, None, None] * width + within)
        item = torch.arange(self.batch, device=found.token.device)[:, None, None]
        start = pixels((found.key_frame * self.batch + item) * (self.height * self.width))
        table = self.values.view(-1, self.channels)
        scales = [
            functional.embedding_bag(
                each.pixels[source.flatten()] + start.reshape(-1, 1),
                table,
                per_sample_weights=each.weights[source.flatten()],
                mode="sum",
            )
            for each in self.scales
        ]
        values = torch.cat(scales, dim=1)
        return values.view(self.batch, self.rows * TOKEN, width, -1).permute(0, 3, 1, 2)

    def _tokens(self, pixels: Tensor, tokens: Tensor) -> Tensor:
        """Gives tokens (n, tokens), by number, of a map (n, h, w, c): (n, tokens, 16 * c)."""
        within = torch.arange(TOKEN, device=tokens.device)
        within = (within[:, None] * self.width + within).flatten()
        corner = (tokens // self.columns * self.width + tokens % self.columns) * TOKEN
        item = torch.arange(self.batch, device=tokens.device)[:, None]
        corner = corner + item * (self.height * self.width)
        index = (corner[:, :, None] + within).flatten()
        found = pixels.view(-1, self.channels).index_select(0, index)
        return found.view(self.batch, tokens.shape[1], -1)

    @staticmethod
    def _lengths(features: Tensor) -> Tensor:
        """Gives the Euclidean length of each token of a map (n, c, h, w), (n, tokens)."""
        # Half precision ends at 65504, which the sum of 1024 squares may exceed.
        kind = torch.promote_types(features.dtype, torch.float32)
        square = torch.linalg.vector_norm(features, dim=1, keepdim=True, dtype=kind).square()
        # No length is zero: the cosine with nothing is 0 (torch.nn.functional.normalize).
        total = functional.avg_pool2d(square, TOKEN, divisor_override=1)
        return total.sqrt().clamp_min(1e-12).flatten(1)


class Scale(NamedTuple):
    """How the values of one scale come from a feature map, for each pixel that lies in a token.

    Pixels are numbered row by row, here in the tokens' area (4 * rows x 4 * columns).
    """

    pixels: Tensor
    """The pixels of the map that are averaged, (pixels, count); numbered in the whole map."""
    weights: Tensor
    """Their shares, (pixels, count); 0 for those outside the map, which read as zeros."""


def scale(height: int, width: int, margin: int, dtype: torch.dtype, device: torch.device) -> Scale:
    """Gives the scale whose tokens take in `margin` pixels around them, of a map of that size.

    Source: ttvsrnet.py:171-206. There tokens with their margins are laid side by side, the picture
    is averaged down to the size of the map, and cut into tokens again.
    """
    y, y_share = _averaged(height, margin)
    x, x_share = _averaged(width, margin)
    pixels = y[:, None, :, None] * width + x[None, :, None, :]
    weights = y_share[:, None, :, None] * x_share[None, :, None, :]
    count = y.shape[1] * x.shape[1]
    return Scale(
        pixels.view(-1, count).to(device),
        weights.view(-1, count).to(device=device, dtype=dtype),
    )


def _averaged(side: int, margin: int) -> tuple[Tensor, Tensor]:
    """Gives which rows of a map are averaged for each row of its tokens, and their shares.

    (4 * tokens, count) each. Where 4 does not divide the side, windows of the average may reach
    from one token into the next, and be of different lengths.
    """
    block = TOKEN + 2 * margin
    laid_out = side * block // TOKEN
    windows = []
    for row in range(side // TOKEN * TOKEN):
        # The windows of adaptive average pooling from `laid_out` to `side`.
        window = range(row * laid_out // side, -(-(row + 1) * laid_out // side))
        sources = [i // block * TOKEN + i % block - margin for i in window]
        windows.append([(i, 1 / len(window)) if 0 <= i < side else (0, 0.0) for i in sources])
    count = max(map(len, windows))
    filled = [window + [(0, 0.0)] * (count - len(window)) for window in windows]
    rows = torch.tensor([[row for row, _ in window] for window in filled])
    shares = torch.tensor(
        [[share for _, share in window] for window in filled], dtype=torch.float64
    )
    return rows, shares


def _leaky(x: Tensor) -> Tensor:
    """Gives the leaky ReLU of slope 0.1, written over `x`."""
    return functional.leaky_relu(x, 0.1, inplace=True)
