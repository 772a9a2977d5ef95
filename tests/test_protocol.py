from __future__ import annotations

import msgspec
import pytest

from bench import protocol
from bench.errors import BenchError
from bench.protocol import PROTOCOLS, Protocol


def test_names_are_distinct_protocols():
    hashes = {p.hash for p in PROTOCOLS.values()}
    assert len(hashes) == len(PROTOCOLS)
    assert PROTOCOLS["fixed"] == Protocol(
        channel="y", border=8, skip=0, frames="all", averaging="clips"
    )


def test_hashes_never_change():
    """Records carry them: a change would make every earlier record incomparable."""
    assert {name: p.hash for name, p in PROTOCOLS.items()} == {
        "fixed": "44136fa355b3678a",
        "fixed-centre": "933cedfb61c1b4e0",
        "y-crop0": "ccef0d21bb562eb8",
        "rgb-crop0": "ad93defb5ec4d0ba",
        "rgb-crop8": "167fb3f16d1cba37",
        "y-crop8-skip2": "247ffd24636cb5e8",
        "y-crop0-centre": "ac1ce87f07e4f797",
        "rgb-crop0-centre": "e3559d5a5a6d52b1",
        "y-crop0-framemean": "667bf335d204bb51",
    }


@pytest.mark.parametrize(
    "change",
    [{"channel": "rgb"}, {"border": 4}, {"skip": 2}, {"frames": "centre"}, {"averaging": "frames"}],
)
def test_every_field_moves_the_hash(change):
    assert msgspec.structs.replace(Protocol(), **change).hash != Protocol().hash


def test_scored_frames():
    assert list(Protocol().scored(5)) == [0, 1, 2, 3, 4]
    assert list(Protocol(skip=2).scored(7)) == [2, 3, 4]
    assert list(Protocol(frames="centre").scored(7)) == [3]
    with pytest.raises(BenchError, match="more than 4 frames, found 4"):
        Protocol(skip=2).scored(4)


def test_parse_reads_names_fields_and_its_own_output():
    for name, named in PROTOCOLS.items():
        assert protocol.parse(name) == named
        assert protocol.name_of(named) == name
    written = protocol.parse("channel=rgb, border=4,skip=1")
    assert written == Protocol(channel="rgb", border=4, skip=1)
    assert protocol.parse(protocol.name_of(written)) == written


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("fix", "unknown protocol: expected one of fixed, fixed-centre, rgb-crop0"),
        ("channel=luma", "Invalid enum value 'luma'"),
        ("border=wide", "Expected `int`"),
        ("bordr=3", "unknown field `bordr`"),
        ("border=-1", "0 or more"),
        ("border=4,border=8", "a field given twice"),
    ],
)
def test_bad_protocols_are_told_in_one_line(text, words):
    with pytest.raises(BenchError, match=words) as caught:
        protocol.parse(text)
    assert "\n" not in str(caught.value)


def test_a_protocol_says_itself():
    assert str(PROTOCOLS["fixed"]) == "Y, crop 8, clip mean"
    assert str(PROTOCOLS["y-crop8-skip2"]) == (
        "Y, crop 8, 2 frames left out at each end, clip mean"
    )
    assert str(PROTOCOLS["y-crop0-centre"]) == "Y, crop 0, centre frame, clip mean"
    assert str(PROTOCOLS["y-crop0-framemean"]) == "Y, crop 0, frame mean"
