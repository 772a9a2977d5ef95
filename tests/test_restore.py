from __future__ import annotations

import itertools

import numpy as np
import pytest
import torch

from bench import restore
from bench.errors import BenchError
from bench.restore import Recurrent, SlidingWindow, SpaceTime, WholeClip


class Toy(torch.nn.Module):
    """A window network that says what it saw: the mean of its window, enlarged; counts features."""

    def __init__(self, window: int = 5, scale: int = 4, size_multiple: int = 1) -> None:
        super().__init__()
        self.window, self.scale, self.size_multiple = window, scale, size_multiple
        self.weight = torch.nn.Parameter(torch.ones(1))
        self.seen: list[torch.Size] = []

    def features(self, frames):
        self.seen.append(frames.shape)
        return list((frames * self.weight).unbind(1))

    def reconstruct(self, window):
        assert len(window) == self.window
        mean = torch.stack(window).mean(0)
        return mean.repeat_interleave(self.scale, 2).repeat_interleave(self.scale, 3)


@pytest.mark.parametrize(
    ("edge", "first", "last"),
    [
        ("replicate", [0, 0, 0, 1, 2], [97, 98, 99, 99, 99]),
        ("reflection", [2, 1, 0, 1, 2], [97, 98, 99, 98, 97]),
        ("reflection-circle", [4, 3, 0, 1, 2], [97, 98, 99, 96, 95]),
        ("circle", [3, 4, 0, 1, 2], [97, 98, 99, 95, 96]),
        ("author", [2, 1, 0, 1, 2], [97, 98, 99, 97, 97]),
    ],
)
def test_edge_rules(edge, first, last):
    assert restore.window_indices(0, 100, 5, edge) == first
    assert restore.window_indices(99, 100, 5, edge) == last
    assert restore.window_indices(50, 100, 5, edge) == [48, 49, 50, 51, 52]


def test_edge_rules_of_the_second_to_last_frame_and_of_seven():
    assert restore.window_indices(98, 100, 5, "author") == [96, 97, 98, 99, 97]
    assert restore.window_indices(98, 100, 5, "reflection") == [96, 97, 98, 99, 98]
    assert restore.window_indices(0, 100, 7, "reflection-circle") == [6, 5, 4, 0, 1, 2, 3]
    assert restore.window_indices(3, 7, 7, "reflection-circle") == [0, 1, 2, 3, 4, 5, 6]
    with pytest.raises(BenchError, match="a clip of 3 frames is too short for a window of 7"):
        restore.window_indices(0, 3, 7, "reflection-circle")


def direct(network, lr, edge):
    """Window by window, nothing kept."""
    for t in range(len(lr)):
        window = [lr[i] for i in restore.window_indices(t, len(lr), network.window, edge)]
        mean = np.mean([frame / 255 for frame in window], axis=0).astype(np.float32)
        whole = mean.repeat(network.scale, 0).repeat(network.scale, 1)
        yield np.round(np.clip(whole, 0, 1) * 255).astype(np.uint8)


@pytest.mark.parametrize("edge", ["replicate", "reflection", "reflection-circle", "author"])
def test_a_clip_window_by_window(noise, edge):
    network, lr = Toy(), list(noise(9, 12, 16))
    sr = list(SlidingWindow(edge=edge).restore(network, lr, range(9)))
    for ours, expected in zip(sr, direct(network, lr, edge), strict=True):
        assert np.abs(ours.astype(int) - expected).max() <= 1  # a half may round either way
    assert network.seen == [(1, 1, 3, 12, 16)] * 9  # each frame's features once


def test_only_wanted_frames_are_made(noise):
    network, lr = Toy(window=3), list(noise(9, 12, 16))
    whole = list(SlidingWindow(edge="reflection").restore(network, lr, range(9)))
    network.seen.clear()
    wanted = [4, 7]
    sr = list(SlidingWindow(edge="reflection").restore(network, lr, wanted))
    assert all(np.array_equal(a, whole[t]) for a, t in zip(sr, wanted, strict=True))
    assert len(network.seen) == 6


def test_features_are_dropped_when_no_window_needs_them(noise, monkeypatch):
    class Counted(Toy):
        alive = most = 0

        def features(self, frames):
            counted = self

            class Feature(torch.Tensor):
                def __del__(self):
                    counted.alive -= 1

            self.alive += 1
            self.most = max(self.most, self.alive)
            return [super().features(frames)[0].as_subclass(Feature)]

        def reconstruct(self, window):
            return super().reconstruct([f.as_subclass(torch.Tensor) for f in window])

    network = Counted()
    for _ in SlidingWindow(edge="reflection").restore(network, list(noise(30, 8, 8)), range(30)):
        pass
    assert network.most <= 7


def test_sizes_are_padded_and_cropped_and_said(noise):
    network, lr = Toy(size_multiple=16), list(noise(5, 21, 30))
    restorer = SlidingWindow(edge="reflection")
    sr = list(restorer.restore(network, lr, range(5)))
    assert {frame.shape for frame in sr} == {(84, 120, 3)}
    assert network.seen[0] == (1, 1, 3, 32, 32)
    plain = list(restorer.restore(Toy(), lr, range(5)))
    assert all(np.array_equal(a, b) for a, b in zip(sr, plain, strict=True))
    assert restorer.settings(network, 21, 30) == {
        "window": 5,
        "edge": "reflection",
        "padded_rows": 11,
        "padded_columns": 2,
    }
    assert restorer.settings(network, 32, 16) == {"window": 5, "edge": "reflection"}
    tiny = list(
        restorer.restore(network, list(noise(5, 5, 8)), range(5))
    )  # reflected more than once
    assert {frame.shape for frame in tiny} == {(20, 32, 3)}
    network.minimum_size = 40
    assert restorer.settings(network, 21, 30)["padded_rows"] == 27


def test_output_is_clipped_and_rounded_and_nan_is_a_failure(noise):
    network, lr = Toy(), list(noise(5, 8, 8))
    for weight, level in ((100.0, 255), (-1.0, 0)):
        network.weight.data.fill_(weight)
        lr = [np.full((8, 8, 3), 200, np.uint8)] * 5
        sr = next(iter(SlidingWindow(edge="replicate").restore(network, lr, [2])))
        assert np.all(sr == level)
    network.weight.data.fill_(float("nan"))
    with pytest.raises(BenchError, match="output for frame 2 is not finite"):
        list(SlidingWindow(edge="replicate").restore(network, lr, [2]))


class Memory(torch.nn.Module):
    """A network of whole clips: each frame plus a little of the mean of all that it was given."""

    def __init__(self, minimum_size: int = 0) -> None:
        super().__init__()
        self.scale, self.size_multiple, self.minimum_size = 4, 1, minimum_size
        self.weight = torch.nn.Parameter(torch.tensor(0.25))
        self.seen: list[int] = []
        self.made = 0

    def frames(self, clip):
        self.seen.append(clip.shape[1])
        everything = clip.mean(1)
        for t in range(clip.shape[1]):
            self.made += 1
            sr = (1 - self.weight) * clip[:, t] + self.weight * everything
            yield sr.repeat_interleave(4, 2).repeat_interleave(4, 3)


def test_a_clip_in_one_pass(noise):
    network, lr = Memory(), list(noise(9, 12, 16))
    restored = Recurrent().on("vid4", None).restore(network, lr, range(9))
    first = next(restored)
    assert network.made == 1  # frames leave as they are made
    sr = [first, *restored]
    everything = np.mean([frame / 255 for frame in lr], axis=0)
    for ours, frame in zip(sr, lr, strict=True):
        expected = (0.75 * frame / 255 + 0.25 * everything).repeat(4, 0).repeat(4, 1)
        assert np.abs(ours / 255 - expected).max() < 0.51 / 255
    assert network.seen == [9]
    assert WholeClip().settings(network, 12, 16) == {}


@pytest.mark.parametrize("chunk", [9, 12])
def test_the_whole_clip_as_one_chunk_is_the_same_to_the_bit(noise, chunk):
    lr = list(noise(9, 12, 16))
    whole = list(WholeClip().restore(Memory(), lr, range(9)))
    chunked = list(WholeClip(chunk=chunk).restore(Memory(), lr, range(9)))
    assert all(np.array_equal(a, b) for a, b in zip(whole, chunked, strict=True))


@pytest.mark.parametrize(("count", "size"), [(9, 4), (10, 4), (11, 5), (50, 12), (23, 22)])
def test_chunks_cover_every_frame_once(noise, count, size):
    kept = []
    for start, stop, first, last in restore.chunks(count, size):
        assert stop - start == size
        assert start <= first < last <= stop
        assert start == 0 or first - start >= size // 4
        assert stop == count or stop - last == size // 4
        kept += range(first, last)
    assert kept == list(range(count))
    network = Memory()
    assert (
        len(list(WholeClip(chunk=size).restore(network, list(noise(count, 4, 4)), range(count))))
        == count
    )
    assert max(network.seen) == size
    assert WholeClip(chunk=size).settings(network, 4, 4) == {"chunk": size, "context": size // 4}


def test_chunks_move_the_number_and_too_short_ones_are_refused(noise):
    lr = list(noise(12, 4, 4))
    whole = list(WholeClip().restore(Memory(), lr, range(12)))
    chunked = list(WholeClip(chunk=6).restore(Memory(), lr, range(12)))
    assert not np.array_equal(whole[3], chunked[3])
    with pytest.raises(BenchError, match="chunks are too short: expected at least 4 frames"):
        list(WholeClip(chunk=3).restore(Memory(), lr, range(12)))
    with pytest.raises(BenchError, match="a network that sees windows takes no chunks"):
        SlidingWindow(edge="circle").on("vid4", 10)


@pytest.mark.parametrize(("times", "count"), [(1, 14), (2, 28)])
def test_mirrored_septuplets(noise, times, count):
    """The centre frame is the mean of the outputs at all of its places (3, 10, 17, 24 of 28)."""
    network, lr = Memory(), list(noise(7, 12, 16))
    restorer = Recurrent(mirrored={"vimeo-90k-t": times})
    sr = list(restorer.on("vimeo-90k-t", None).restore(network, lr, [3]))
    assert network.seen == [count]
    plain = list(restorer.on("vid4", None).restore(Memory(), lr, [3]))
    assert len(sr) == len(plain) == 1
    assert np.array_equal(sr[0], plain[0])  # the mean of a mirrored clip is that of the clip
    assert restorer.on("vimeo-90k-t", None).settings(network, 12, 16) == {"mirrored": times}


def test_clips_below_the_minimum_size(noise):
    network, lr = Memory(minimum_size=64), list(noise(5, 20, 70))
    sr = list(WholeClip().restore(network, lr, range(5)))
    assert {frame.shape for frame in sr} == {(80, 280, 3)}
    assert WholeClip().settings(network, 20, 70) == {"padded_rows": 44, "padded_columns": 0}


class Between(torch.nn.Module):
    """Doubles the frame rate: LR frames as they are, between two their mean; keeps what it saw."""

    scale, size_multiple = 4, 8

    def __init__(self) -> None:
        super().__init__()
        self.weight = torch.nn.Parameter(torch.ones(1))
        self.read: list[torch.Tensor] = []
        self.made: list[list[int]] = []

    def features(self, frames):
        self.read.append(frames)
        return list(frames.unbind(1))

    def moments(self, features, wanted):
        self.made.append(wanted)
        out = [features[0]]
        for before, after in itertools.pairwise(features):
            out += [(before + after) / 2, after]
        sr = torch.stack([out[i] for i in wanted], 1) * self.weight
        return sr.repeat_interleave(4, 3).repeat_interleave(4, 4)


@pytest.mark.parametrize(
    ("count", "windows"),
    [
        (41, [0, 6, 12, 18, 24, 30, 34]),
        (34, [0, 6, 12, 18, 24, 27]),
        (49, [0, 6, 12, 18, 24, 30, 36, 42, 42]),
        (47, [0, 6, 12, 18, 24, 30, 36, 40]),
        (7, [0, 0]),
    ],
)
def test_windows_of_space_time_are_those_of_the_official_log(count, windows):
    """Vid4's clips take 7, 6, 9 and 8 windows (facts of the STDAN log)."""
    assert SpaceTime(4).windows(count) == windows


def test_which_frames_are_interpolated():
    way = SpaceTime(4)
    assert way.interpolated(7) == [1, 3, 5]
    # city: the last window begins at frame 27, and its first new frame is 31, an input
    assert [t for t in range(27, 34) if t not in way.interpolated(34)] == [28, 30, 31, 33]
    assert SlidingWindow("reflection").interpolated(9) == []
    assert WholeClip().interpolated(9) == []


def test_space_time_takes_the_first_window_over_a_frame(rng):
    lr = list(rng.integers(0, 256, (12, 8, 8, 3), dtype=np.uint8))
    network, way = Between(), SpaceTime(4)
    sr = list(way.restore(network, lr, range(12)))
    assert len(sr) == 12
    # The second window begins at frame 5 and shares no LR frame with the first.
    assert [frames.shape[1] for frames in network.read] == [4, 4]
    assert network.made == [[*range(7)], [2, 3, 4, 5, 6]]
    for t, frame in enumerate(sr):
        assert frame.shape == (32, 32, 3)
        if t not in way.interpolated(12):
            np.testing.assert_array_equal(frame[::4, ::4], lr[t])
    assert way.interpolated(12) == [1, 3, 5, 8, 10]
    np.testing.assert_array_equal(list(way.restore(Between(), lr, [8])), sr[8:9])


def test_space_time_runs_no_window_that_gives_nothing(rng):
    lr = list(rng.integers(0, 256, (13, 8, 8, 3), dtype=np.uint8))
    network = Between()
    assert len(list(SpaceTime(4).restore(network, lr, range(13)))) == 13
    assert SpaceTime(4).windows(13) == [0, 6, 6]
    assert network.made == [[*range(7)], [*range(1, 7)]]
    list(SpaceTime(4).restore(network, lr, [3]))
    assert network.made[2:] == [[3]]


def test_space_time_reads_an_lr_frame_once_for_both_windows(rng):
    lr = list(rng.integers(0, 256, (19, 8, 8, 3), dtype=np.uint8))
    network, way = Between(), SpaceTime(4)
    sr = list(way.restore(network, lr, range(19)))
    assert [frames.shape[1] for frames in network.read] == [4, 3, 3]
    assert [one for made in network.made for one in made] == [*range(7), *range(1, 7), *range(1, 7)]
    for t in range(0, 19, 2):
        np.testing.assert_array_equal(sr[t][::4, ::4], lr[t])


def test_space_time_pads_with_zeros(rng):
    lr = list(rng.integers(1, 256, (7, 12, 10, 3), dtype=np.uint8))
    network, way = Between(), SpaceTime(4)
    assert [frame.shape for frame in way.restore(network, lr, range(7))] == [(48, 40, 3)] * 7
    (seen,) = network.read
    assert seen.shape == (1, 4, 3, 16, 16)
    assert not seen[..., 12:, :].any()
    assert not seen[..., 10:].any()
    assert seen[..., :12, :10].all()
    padded = {"padded_rows": 4, "padded_columns": 6, "padding": "zeros"}
    assert way.settings(network, 12, 10) == {"inputs": 4, **padded}
    assert way.settings(network, 16, 8) == {"inputs": 4}


def test_space_time_refuses_short_clips_and_chunks(rng):
    lr = list(rng.integers(0, 256, (6, 8, 8, 3), dtype=np.uint8))
    with pytest.raises(BenchError, match="a clip of 6 frames is too short for 4 inputs"):
        list(SpaceTime(4).restore(Between(), lr, range(6)))
    with pytest.raises(BenchError, match="takes no chunks: found --chunk 4 on vid4"):
        SpaceTime(4).on("vid4", 4)
    assert SpaceTime(4).on("vid4", None) == SpaceTime(4)
