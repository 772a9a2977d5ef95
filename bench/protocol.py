"""How a number is computed from SR and GT frames, as data with a hash."""

from __future__ import annotations

import hashlib
from typing import Literal

import msgspec

from bench.errors import BenchError, choices


class Protocol(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """The fields that move a number, and nothing else.

    channel     `y`: BT.601 studio-range luma, not rounded; `rgb`: the three channels
    border      pixels left out at each side
    skip        frames left out at each end of a clip
    frames      `all`, or `centre`: only the frame in the middle of the clip
    averaging   `clips`: mean of the clips' means; `frames`: mean over all frames of all clips

    SR frames are rounded to 8 bits before the metric, the peak is 255, and SSIM has the 11x11
    Gaussian window of sigma 1.5 on the valid region: no published cell that is listed here needs
    another choice.
    """

    channel: Literal["y", "rgb"] = "y"
    border: int = 8
    skip: int = 0
    frames: Literal["all", "centre"] = "all"
    averaging: Literal["clips", "frames"] = "clips"

    def __post_init__(self) -> None:
        if self.border < 0 or self.skip < 0:
            raise ValueError("border and skip must be 0 or more")

    @property
    def hash(self) -> str:
        """16 hexadecimal digits that two protocols share only if they compute the same number.

        Only fields that differ from those of `fixed` enter, so that a field added later leaves the
        hash of every protocol that does not use it as it was.
        """
        return hashlib.sha256(msgspec.json.encode(self.moved, order="sorted")).hexdigest()[:16]

    @property
    def moved(self) -> dict[str, str | int]:
        """The fields that differ from those of `fixed`."""
        default, fields = Protocol(), msgspec.structs.asdict(self)
        return {name: value for name, value in fields.items() if value != getattr(default, name)}

    def scored(self, count: int) -> range:
        """The indices of the frames of a clip of `count` frames that are scored."""
        if self.skip * 2 >= count:
            raise BenchError(
                f"protocol leaves out {self.skip} frames at each end",
                expected=f"a clip of more than {2 * self.skip} frames",
                found=f"{count}",
                todo="use a longer clip or another protocol",
            )
        if self.frames == "centre":
            return range(count // 2, count // 2 + 1)
        return range(self.skip, count - self.skip)

    @property
    def mean_name(self) -> str:
        """What the mean over a data set is called: `clip mean` or `frame mean`."""
        return "clip mean" if self.averaging == "clips" else "frame mean"

    def __str__(self) -> str:
        """The protocol in words: `Y, crop 8, 2 frames left out at each end, clip mean`."""
        words = [self.channel.upper(), f"crop {self.border}"]
        words += [f"{self.skip} frames left out at each end"] if self.skip else []
        words += ["centre frame"] if self.frames == "centre" else []
        return ", ".join([*words, self.mean_name])


# Who used which: facts of each paper's own evaluation, cited in the papers' paper.yaml.
PROTOCOLS: dict[str, Protocol] = {
    # One comparable leaderboard; also OpenMMLab's TDAN table and DUF as BasicSR re-scored it.
    "fixed": Protocol(),
    # The same for data sets of which only the centre frame is scored.
    "fixed-centre": Protocol(frames="centre"),
    # BasicSR, EDVR, BasicVSR, PSRT, TTVSR, STDAN on Vid4 and UDM10 (BasicSR docs/ModelZoo.md:86).
    "y-crop0": Protocol(border=0),
    # The same authors on REDS4, and their RGB figures on Vid4.
    "rgb-crop0": Protocol(channel="rgb", border=0),
    # DUF's RGB figure.
    "rgb-crop8": Protocol(channel="rgb"),
    # AVG_PSNR of DUF and PFNL (DUF utils.py:90-117).
    "y-crop8-skip2": Protocol(skip=2),
    # Vimeo-90K-T: im4 only (EDVR#189); SPMC's own (SPMC_VideoSR README.md).
    "y-crop0-centre": Protocol(border=0, frames="centre"),
    "rgb-crop0-centre": Protocol(channel="rgb", border=0, frames="centre"),
    # STDAN's log, averaged over its 171 rows.
    "y-crop0-framemean": Protocol(border=0, averaging="frames"),
}


def parse(text: str) -> Protocol:
    """The protocol of that name, or one written out as `channel=rgb,border=4`.

    Fields that are not written out are those of `fixed`.
    """
    if text in PROTOCOLS:
        return PROTOCOLS[text]
    if "=" not in text:
        raise BenchError(
            "unknown protocol",
            expected=choices(PROTOCOLS) + ", or fields such as channel=rgb,border=4",
            found=repr(text),
            todo="choose one of them",
        )
    parts = [part.strip().partition("=")[::2] for part in text.split(",")]
    fields = dict(parts)
    try:
        if len(fields) < len(parts):
            raise msgspec.ValidationError("a field given twice")  # noqa: TRY301
        return msgspec.convert(fields, Protocol, strict=False)
    except msgspec.ValidationError as error:
        raise BenchError(
            f"bad protocol {text!r}",
            expected="fields " + ", ".join(Protocol.__struct_fields__),
            found=str(error),
            todo="write it like channel=rgb,border=4,skip=2,frames=all,averaging=clips",
        ) from error


def name_of(protocol: Protocol) -> str:
    """The name of a protocol, or its fields where it has none; `parse` reads either."""
    for name, named in PROTOCOLS.items():
        if named == protocol:
            return name
    return ",".join(f"{field}={value}" for field, value in protocol.moved.items())
