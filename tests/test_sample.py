from __future__ import annotations

import hashlib

import numpy as np
import pytest

from bench import catalog, metrics, sample
from bench.errors import BenchError

# The bytes of every clip, on any machine.
DIGESTS = {
    "pan": "15a661fdacde23e8f7579c52b51ef03d044035246d1af43bba6f28d036806692",
    "zoom": "5250a14a84c9f6a621e2fe95c32afc1722feae1ecb4ff1b728db0c2e75878bf2",
    "rotation": "cf476a97417583ef84b2895eb8412227b567e8802b2d1988cfdece41aa7439b3",
    "occlusion": "401eb1a0f52b7d20d33a45370ff08b8988c45c07bb577c1337d948fb4bda4bdd",
}


@pytest.mark.parametrize("name", DIGESTS)
def test_clips_are_the_same_to_the_byte(name):
    clip = sample.clip(name)
    assert clip.shape == (sample.FRAMES, sample.HEIGHT, sample.WIDTH, 3)
    assert hashlib.sha256(clip.tobytes()).hexdigest() == DIGESTS[name]


@pytest.mark.parametrize("name", DIGESTS)
def test_every_clip_moves(name):
    clip = sample.clip(name)
    between = metrics.psnr(clip[1:], clip[:-1])
    assert np.all(between > 15)
    assert np.all(between < 32)


def test_pan_moves_by_its_velocity():
    """23/10 photograph pixels a frame at 3/2 per frame pixel: 15 frame pixels in 10 frames' time,
    so frame 8 is frame 0 moved by 8 * 23/15 columns and 8 * 7/15 rows, to the nearest pixel."""
    clip = sample.clip("pan")
    rows, columns = round(8 * 7 / 15), round(8 * 23 / 15)
    moved = clip[0, rows:, columns:]
    stayed = clip[8, : sample.HEIGHT - rows, : sample.WIDTH - columns]
    assert metrics.psnr(moved, stayed) > metrics.psnr(clip[0], clip[8]) + 5


def test_the_catalog_describes_the_sample_set():
    dataset = catalog.get("sample")
    assert sorted(dataset.clips) == sorted(sample.names()) == sorted(DIGESTS)
    assert (dataset.frames, dataset.height, dataset.width) == (9, 144, 192)


def test_unknown_clip():
    with pytest.raises(BenchError, match="expected one of occlusion, pan, rotation, zoom"):
        sample.clip("tilt")
