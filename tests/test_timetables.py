from __future__ import annotations

import msgspec
import pytest
from measured import device, timed

from bench.cells import Context, Timed
from bench.cost import timetables
from bench.grid import Grid
from bench.latency import Options

COLUMNS = ["system", "seconds", "device", "source"]
THEIRS = ["Net", "11", "V100", "them"]
JOIN = Timed(label="Net", checkpoint="one", time="seconds", device="device", unit="s", frames=100)


def joined(toy, *latencies, **change):
    join = msgspec.structs.replace(JOIN, **change)
    contexts = [Context("Times", COLUMNS, [THEIRS], join), Context("Cost", COLUMNS, [THEIRS])]
    chosen = msgspec.structs.replace(toy, context=contexts)
    grids = [Grid(one.title, "Published only.", COLUMNS, [one.rows], []) for one in contexts]
    first, second = timetables.joined(grids, chosen, latencies)
    assert second == grids[1]
    return first


def toys(median=40.0, **fields):
    return timed(median=median, **{"paper": "toy", "checkpoint": "one"} | fields)


def test_a_row_says_its_device_and_how_it_was_measured(toy):
    found = joined(toy, toys(height=64, width=112, whole_clips=True, frames=7))
    assert found.groups == [
        [THEIRS],
        [["Net, measured here [1]", "4.00", "AMD EPYC, 1 thread", "-"]],
    ]
    ((mark, how),) = found.notes
    assert mark == "[1]"
    begin = "one SR frame in steady state of a clip of 7, LR 64x112, times 100, "
    assert how.startswith(f"{begin}of the published times no size is stated: ")
    assert "`results/latency/amd-epyc-1-thread/toy-one-64x112x7-float32.json`" in how
    assert "do not compare" in found.caption


def test_each_device_has_a_row(toy):
    found = joined(toy, toys(), toys(5.0, device=device("NVIDIA H200", "cuda")))
    assert [(row[1], row[2]) for (row,) in found.groups[1:]] == [
        ("4.00", "AMD EPYC, 1 thread"),
        ("0.500", "NVIDIA H200"),
    ]


@pytest.mark.parametrize(
    "other",
    [
        {"paper": "other"},
        {"checkpoint": "two"},
        {"options": Options(dtype="float16")},
        {"height": 64, "width": 64},
    ],
)
def test_what_is_no_such_time_does_not_join(toy, other):
    fields = {"height": 180, "width": 320} | other
    found = joined(toy, toys(**fields), size="180x320")
    assert found.groups == [[THEIRS]]
    assert found.caption == "Published only."
    assert found.notes == [
        ("Not measured here:", "`bench latency toy --checkpoint one --size 180x320`")
    ]


def test_a_time_of_falling_clocks_says_so(toy):
    ((_, how),) = joined(toy, toys(clocks_fell=True)).notes
    assert "times 100, while clocks fell, of the" in how


def test_of_a_device_the_likest_clip_joins(toy):
    clips = [toys(ms, whole_clips=True, frames=t) for ms, t in ((10, 7), (20, 90), (30, 28))]
    assert joined(toy, *clips).groups[1][0][1] == "2.00"
    sizes = [toys(ms, height=h, width=16) for ms, h in ((10, 16), (20, 64), (30, 32))]
    assert joined(toy, *sizes).groups[1][0][1] == "2.00"


def test_the_unit_is_that_of_the_column(toy):
    assert joined(toy, toys(1234.5), unit="ms", frames=1).groups[1][0][1] == "1234"
    assert joined(toy, toys(12.345), unit="ms", frames=1).groups[1][0][1] == "12.3"
    assert joined(toy, toys(99.96), unit="ms", frames=1).groups[1][0][1] == "100"


def test_columns_must_be_there():
    with pytest.raises(ValueError, match=r"timed: one of device, seconds, found 'ms'"):
        Context("T", ["system", "seconds", "device"], [], msgspec.structs.replace(JOIN, time="ms"))
