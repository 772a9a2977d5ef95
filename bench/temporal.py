"""How steady SR frames are from one to the next: warping error, flow difference, flicker.

These are the project's own measures. They follow published ideas, but papers estimate flow by other
means and differ in masks, units and colours: compare these numbers only with numbers of this module
under the same `HASH`, never with a paper's.

For frames t and t+1 let u be the flow of GT's frame t to its frame t+1, v the flow back
(`flow`), Y luma in 8-bit levels, and M the pixels that GT shows in both frames, without a
border of 8. Means are over M.

    warping error  mean of (Y_SR[t](x) - Y_SR[t+1](x + u))^2, in squared levels.
    tof            mean of |u_SR - u|, in pixels, u_SR being the flow estimated on SR.
    flicker        with the error e = Y_SR - Y_GT, followed along the motion through frame t:
                   mean of |e[t-1](x + w) - 2 e[t](x) + e[t+1](x + u)| / 4, in levels, where w
                   leads from frame t to frame t-1 and x is seen in all three.

The warping error follows Lai et al. 2018 ("Learning blind video temporal consistency"), who take
RGB in [0, 1], FlowNet2, and leave out motion boundaries too (their evaluate_WarpError.py). Flow
comes from GT, so that all methods are warped alike. It falls where frames are blurred, and GT's own
is far from 0, for flow errs, light changes and cameras add noise: it is given beside SR's, and what
lies below it is no merit.

The difference of flows follows tOF (Chu et al. 2020, TecoGAN), who take Farneback's flow of OpenCV
and all pixels of a cropped frame, and leave out two frames at each end (their metrics.py).

Flicker is 0 for errors that go with what is seen, such as softness of a moving edge, and for those
that grow evenly in time, such as a fade that is too slow; an error of +d and -d in turn gives d. An
error that stands still on the screen before a moving scene does count, and so does noise of GT that
SR lacks.

Where less than half of the pixels are seen in both frames (a cut, or motion that is lost), the pair
says nothing: its values are `nan` and no mean counts them.
"""

from __future__ import annotations

import csv
import hashlib
import io
import math
from collections.abc import Callable, Iterable, Mapping, Sequence
from pathlib import Path
from typing import NamedTuple

import msgspec
import numpy as np
from numpy.typing import NDArray

from bench import frames, metrics, provenance, storage
from bench.errors import BenchError
from bench.questions import flow

Frame = NDArray[np.uint8]
Floats = NDArray[np.float64]

BORDER = 8  # pixels, as in the protocol `fixed`
LEAST_VISIBLE = 0.5  # of the pixels inside the border
_LEAST_FRAMES, _LEAST_SIDE = 3, 32

# What moves these numbers. Whoever changes an equation above counts the version up.
DEFINITION = {
    "version": 1,
    "border": BORDER,
    "least_visible": LEAST_VISIBLE,
    "visible_relative": flow.RELATIVE,
    "visible_absolute": flow.ABSOLUTE,
    "flow": {
        "function": "skimage.registration.optical_flow_tvl1",
        "downscale": flow.DOWNSCALE,
        **flow.TVL1,
    },
}
HASH = hashlib.sha256(msgspec.json.encode(DEFINITION, order="sorted")).hexdigest()[:16]


class Steadiness(NamedTuple):
    """The measures of one clip of n frames, `nan` where too little is seen.

    The first four have n-1 values, one for frames t and t+1 each, counted from 0; `flicker` has
    n-2, from frame 1 on. `warping_error` and `gt_warping_error` in squared 8-bit levels, `tof` in
    pixels, `visible` a share of 1, `flicker` in 8-bit levels.
    """

    warping_error: list[float]
    gt_warping_error: list[float]
    tof: list[float]
    visible: list[float]
    flicker: list[float]

    @property
    def left_out(self) -> int:
        """The number of pairs of frames that say nothing."""
        return sum(map(math.isnan, self.tof))

    def means(self) -> dict[str, float]:
        """The mean of each measure over the clip."""
        return {name: mean(values) for name, values in self._asdict().items()}


def mean(values: Iterable[float]) -> float:
    """The mean of the values that are known; `nan` where none is."""
    known = [value for value in values if not math.isnan(value)]
    return math.fsum(known) / len(known) if known else math.nan


class _Pair(NamedTuple):
    """What frames t and t+1 give.

    `ahead` is how SR's error changes from frame t to t+1 along the motion, (h, w) without the
    border, `nan` where it is not seen; `behind` the same from frame t+1 back to frame t. They are
    float32 because several pairs wait for their turn.
    """

    values: tuple[float, float, float, float]
    ahead: NDArray[np.float32]
    behind: NDArray[np.float32]


def measure(
    sr: Sequence[Frame],
    gt: Sequence[Frame],
    *,
    workers: int = 2,
    on_pair: Callable[[], object] = lambda: None,
) -> Steadiness:
    """The measures of one clip of SR frames, uint8 RGB (h, w, 3), against its GT frames.

    Frames are fetched (decoded) by the workers, a pair at a time; `on_pair` is called after each.
    The number of workers changes no digit. Raises BenchError for fewer than three frames, and
    where counts or sizes differ.
    """
    if len(sr) != len(gt) or len(gt) < _LEAST_FRAMES:
        raise BenchError(
            "the clip cannot be measured in time",
            expected=f"as many SR as GT frames, at least {_LEAST_FRAMES}",
            found=f"{len(sr)} SR, {len(gt)} GT",
            todo="give whole clips",
        )
    values: list[tuple[float, ...]] = []
    flicker: list[float] = []
    behind: NDArray[np.float32] | None = None
    pairs = frames.in_order(lambda t: _measure(sr, gt, t), range(len(gt) - 1), workers)
    for pair in pairs:
        values.append(pair.values)
        if behind is not None:
            flicker.append(_mean_seen(np.abs(behind + pair.ahead) / 4)[0])
        behind = pair.behind
        on_pair()
    error, gt_error, tof, visible = map(list, zip(*values, strict=True))
    return Steadiness(error, gt_error, tof, visible, flicker)


def _measure(sr: Sequence[Frame], gt: Sequence[Frame], t: int) -> _Pair:
    sr_0, sr_1, gt_0, gt_1 = _lumas(sr, gt, t)
    forward, backward = flow.estimate(gt_0, gt_1), flow.estimate(gt_1, gt_0)
    seen = flow.visible(forward, backward)
    difference = np.hypot(*(flow.estimate(sr_0, sr_1) - forward))
    sr_error, visible = _mean_seen(_inside(np.square(flow.warp(sr_1, forward) - sr_0), seen))
    gt_error, _ = _mean_seen(_inside(np.square(flow.warp(gt_1, forward) - gt_0), seen))
    tof, _ = _mean_seen(_inside(difference, seen))
    error_0, error_1 = sr_0 - gt_0, sr_1 - gt_1
    ahead = _inside(flow.warp(error_1, forward) - error_0, seen)
    seen = flow.visible(backward, forward)
    behind = _inside(flow.warp(error_0, backward) - error_1, seen)
    values = sr_error, gt_error, tof, visible
    return _Pair(values, ahead.astype(np.float32), behind.astype(np.float32))


def _lumas(sr: Sequence[Frame], gt: Sequence[Frame], t: int) -> list[Floats]:
    """Luma of SR's frames t and t+1, then of GT's."""
    size = gt[0].shape
    if min(size[:2]) < _LEAST_SIDE:
        raise BenchError(
            "frames are too small to estimate motion",
            expected=f"at least {_LEAST_SIDE} pixels a side",
            found=f"{size[1]}x{size[0]}",
            todo="give whole frames",
        )
    planes = []
    for name, clip in (("SR", sr), ("GT", gt)):
        for index in (t, t + 1):
            frame = clip[index]
            if frame.shape != size:
                raise BenchError(
                    f"{name} frame {index + 1} differs in size from the first GT frame",
                    expected=f"{size[1]}x{size[0]}",
                    found=f"{frame.shape[1]}x{frame.shape[0]}",
                    todo="give frames of one size",
                )
            planes.append(metrics.luma(frame))
    return planes


def _inside(plane: Floats, seen: flow.Mask) -> Floats:
    """The plane without its border, `nan` where it is not seen."""
    inside = np.s_[BORDER:-BORDER, BORDER:-BORDER]
    return np.where(seen[inside], plane[inside], math.nan)


def _mean_seen(plane: Floats | NDArray[np.float32]) -> tuple[float, float]:
    """The mean over what is seen, and its share; the mean is `nan` where that is too small."""
    known = plane[~np.isnan(plane)]
    share = known.size / plane.size
    return (float(known.mean(dtype=np.float64)) if share >= LEAST_VISIBLE else math.nan), share


def export(
    clips: Mapping[str, Steadiness], json_file: Path | None = None, csv_file: Path | None = None
) -> None:
    """Writes every value; frames are counted from 0, and a pair has the number of its first.

    In JSON what is not known is null, in CSV it is empty. JSON also says by which definition, by
    its hash and by which scikit-image the numbers came about.
    """
    if json_file:
        data = {
            "definition": DEFINITION,
            "hash": HASH,
            "scikit_image": provenance.package_version("scikit-image"),
            "clips": {
                clip: {"mean": found.means(), **found._asdict()} for clip, found in clips.items()
            },
        }
        text = msgspec.json.format(msgspec.json.encode(data), indent=2).decode()
        storage.write_text(json_file, text + "\n")
    if csv_file:
        rows = [
            (clip, frame, *("" if math.isnan(value) else value for value in values))
            for clip, found in clips.items()
            for frame, values in enumerate(
                zip(*found._replace(flicker=[math.nan, *found.flicker]), strict=True)
            )
        ]
        table = io.StringIO()
        writer = csv.writer(table, lineterminator="\n")
        writer.writerows([("clip", "frame", *Steadiness._fields), *rows])
        storage.write_text(csv_file, table.getvalue())
