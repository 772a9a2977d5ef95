from __future__ import annotations

import numpy as np
import pytest
from PIL import Image

from bench import degrade, frames


@pytest.fixture
def file(tmp_path):
    """A 720p frame as PNG, about as hard to compress as a photograph."""
    rng = np.random.default_rng(0)
    frame = degrade.upsample(rng.integers(0, 256, (180, 320, 3), dtype=np.uint8))
    frames.write(tmp_path / "frame.png", frame)
    return tmp_path / "frame.png"


def test_decoding_a_720p_frame(file, ratio):
    """Ours compares the checksums and the format too."""

    def pillow():
        with Image.open(file) as image:
            return np.asarray(image)

    ratio("decoding a 720p PNG", lambda: frames.read(file), pillow, "Pillow alone", 15)
    np.testing.assert_array_equal(frames.read(file), pillow())


def test_encoding_a_720p_frame(benchmark, file, tmp_path):
    benchmark(frames.write, tmp_path / "again.png", frames.read(file))
