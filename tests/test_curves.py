from __future__ import annotations

import msgspec
from measured import clip, made, scores

from bench import leaderboard
from bench.protocol import PROTOCOLS
from bench.site import curves, panel


def test_identical_frames_are_gaps():
    clips = [clip("pan", scores(["inf", 25.0])), clip("zoom", scores(["inf", "inf"]))]
    ((one,),) = [each.methods for each in curves.of_records([made(clips)], {})]
    assert one.psnr["fixed"] == [[None, 250000], [None, None]]
    assert one.means["fixed"] == [[250000, 8000], [None, 8000]]


def test_curves_begin_where_the_protocol_does():
    by_protocol = {"y-crop8-skip2": scores([25.0] * 5), "fixed": scores([25.0] * 9)}
    centre = {"fixed-centre": scores([31.0])}
    records = [
        made([clip("pan", by_protocol, frames=9)]),
        made([clip("a", centre, frames=7)], dataset="vimeo-90k-t"),
    ]
    vimeo, sample = sorted(curves.of_records(records, {}), key=lambda one: not one.single)
    assert sample.first == {"fixed": [0], "y-crop8-skip2": [2]}
    assert next(iter(sample.protocols.items())) == ("fixed", str(PROTOCOLS["fixed"]))
    assert vimeo.first == {"fixed-centre": [3]}
    assert vimeo.methods[0].means == {}  # a frame is its own mean


def test_clips_that_a_method_lacks_are_null():
    both = made([clip("pan", scores([25.0])), clip("zoom", scores([26.0]))], checkpoint="both")
    half = made([clip("zoom", scores([27.0]))], checkpoint="half", clip_count=2)
    (one,) = curves.of_records([both, half], {})
    assert one.clips == ["pan", "zoom"]
    assert [method.psnr["fixed"] for method in one.methods] == [
        [[250000], [260000]],
        [None, [270000]],
    ]


def test_methods_are_in_the_order_that_is_given():
    records = [made([clip("pan", scores([25.0]))], checkpoint=name) for name in "abc"]
    order = {panel.record_file(one): -rank for rank, one in enumerate(records[1:])}
    (one,) = curves.of_records(records, order)
    assert [method.name for method in one.methods] == ["toy c", "toy b", "toy a"]


def test_space_time_and_other_degradations_are_sets_of_their_own():
    plain = made([clip("pan", scores([25.0] * 3))])
    other = made([clip("pan", scores([25.0] * 3))], degradation="bd")
    between = made([clip("pan", scores([25.0] * 3), interpolated=[1])])
    found = curves.of_records([plain, other, between], {})
    assert [one.title for one in found] == ["Sample, bi", "Sample, bi, space-time", "Sample, bd"]


def test_sets_are_in_the_order_of_the_leaderboards():
    records = [
        made([clip("pan", scores([25.0]))], dataset=dataset, degradation=degradation)
        for dataset in ("sample", "vid4")
        for degradation in ("bd", "bd-duf", "bi")
    ]
    boards = [leaderboard.Standing(one, [], [], []) for one in leaderboard.boards([], records)]
    titles = [one.title for one in curves.of_records(records, {})]
    assert titles == [one.title for one in boards]
    assert titles[0] == "Vid4, bi"


def test_values_are_the_digits_that_tables_print():
    """Also where the binary number is a hair below what is written."""
    values = [23.00005, 0.00015, 27.12345, 31.999951]
    one = made([clip("pan", scores(values))])
    ((method,),) = [each.methods for each in curves.of_records([one], {})]
    assert [f"{v / curves.UNIT:.4f}" for v in method.psnr["fixed"][0]] == [
        f"{value:.4f}" for value in values
    ]


def test_records_without_clips_are_left_out():
    assert curves.of_records([msgspec.structs.replace(made([]), clip_count=4)], {}) == []
