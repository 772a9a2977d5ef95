from __future__ import annotations

import msgspec
import pytest
import toynetworks

from bench.cost import growth, timing
from bench.latency import Options


@pytest.fixture(scope="module")
def measured():
    """Sizes at 7 frames, lengths at the first size, in the order of a sweep."""
    settings = timing.Settings(device="cpu", repeats=1)
    made = timing.measure(toynetworks.paper(), "clip", timing.Shape(16, 20, 7), Options(), settings)
    shapes = [(16, 20, 7), (8, 10, 7), (16, 20, 28), (16, 20, 14)]
    return [msgspec.structs.replace(made, height=h, width=w, frames=t) for h, w, t in shapes]


def test_each_axis_lets_one_thing_grow(measured):
    sizes, lengths = growth.along(measured)
    assert [(one.height, one.frames) for one in sizes.measured] == [(8, 7), (16, 7)]
    assert [sizes.place(one) for one in sizes.measured] == [0.08, 0.32]
    assert [(one.height, one.frames) for one in lengths.measured] == [(16, 7), (16, 14), (16, 28)]
    windows = [msgspec.structs.replace(one, whole_clips=False) for one in measured]
    assert len(growth.along(windows)) == 1


def test_plots_are_written_and_repeat(tmp_path, measured):
    files = growth.draw(tmp_path, measured)
    slug = measured[0].device.slug
    assert [file.relative_to(tmp_path / "latency" / slug).as_posix() for file in files] == [
        "nets-clip-float32-growth.svg",
        "nets-clip-float32-growth.png",
    ]
    before = [file.read_bytes() for file in files]
    assert before[0].startswith(b"<?xml")
    assert before[1].startswith(b"\x89PNG")
    assert [file.read_bytes() for file in growth.draw(tmp_path, measured)] == before


def test_memory_that_is_unknown_leaves_a_panel_empty(tmp_path, measured):
    unknown = [msgspec.structs.replace(one, peak_memory_bytes=None) for one in measured]
    assert all(file.stat().st_size for file in growth.draw(tmp_path, unknown))
