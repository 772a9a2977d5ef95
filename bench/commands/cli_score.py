"""The commands that hold SR frames against GT: scores, protocol, faults, steadiness in time."""

from __future__ import annotations

import argparse
import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

from bench.commands import console
from bench.commands.console import CHECK_FAILED, FINE
from bench.errors import BenchError

# Everything else is imported where it is used: `bench --help` must not wait for it.
if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    from bench.catalog import Dataset
    from bench.diagnose import Diagnosis
    from bench.questions.match import Match, Printed

    Clips = Mapping[str, Sequence[NDArray[np.uint8]]]

_NEAREST = 5  # ways that are listed where none fits


def _ground_truth(options: argparse.Namespace) -> tuple[Clips, Dataset | None]:
    """The GT clips, and their data set where one was named."""
    from bench import catalog, locate, score
    from bench.clips import gt_clips

    if options.gt not in catalog.load():  # a folder of that name is meant by ./vid4
        return score.gt_clips(Path(options.gt)), None
    dataset = catalog.get(options.gt)
    found = locate.find(dataset, catalog.data_root(options.data_root), options.clip)
    return gt_clips(found, options.clip), dataset


@contextmanager
def _naming(clip: str) -> Iterator[None]:
    """Puts the clip's name before what is wrong with it, if it has one."""
    try:
        yield
    except BenchError as error:
        raise BenchError(f"clip {clip}: {error}" if clip else str(error)) from error


def _score(options: argparse.Namespace) -> int:
    from bench import plan, protocol, score

    parsed = [protocol.parse(text) for text in options.protocol or ["fixed"]]
    protocols = {protocol.name_of(one): one for one in parsed}
    gt, dataset = _ground_truth(options)
    if dataset:
        protocols = plan.applicable(dataset, protocols)
    pairs = score.pair(options.sr, gt, options.clip)
    results = {}
    with console.progress("scoring", sum(len(sr) for sr, _ in pairs.values())) as bar:
        for clip, (sr, reference) in pairs.items():
            results[clip] = score.score_clip(
                sr,
                reference,
                protocols,
                workers=console.workers(options),
                on_frame=bar.update,
                digests=False,
            ).scores
    rows = []
    for name, wanted in protocols.items():
        for clip, scores in results.items():
            psnr, ssim = score.mean(scores[name].psnr), score.mean(scores[name].ssim)
            rows.append((name, clip or options.sr.name, psnr.text(), ssim.text()))
        if len(results) > 1:
            psnr = score.dataset_mean([r[name].psnr for r in results.values()], wanted)
            ssim = score.dataset_mean([r[name].ssim for r in results.values()], wanted)
            rows.append((name, wanted.mean_name, psnr.text(), ssim.text()))
    print(console.table(rows, ("protocol", "clip", "PSNR (dB)", "SSIM")))
    for name, wanted in protocols.items():
        print(f"{name}: {wanted}")
    score.export(results, protocols, options.json, options.csv)
    return FINE


def _temporal(options: argparse.Namespace) -> int:
    from bench import score, temporal

    gt, _ = _ground_truth(options)
    pairs = score.pair(options.sr, gt, options.clip)
    results = {}
    total = sum(len(sr) - 1 for sr, _ in pairs.values())
    with console.progress("following motion", total) as bar:
        for clip, (sr, reference) in pairs.items():
            with _naming(clip):
                results[clip] = temporal.measure(
                    sr, reference, workers=console.workers(options), on_pair=bar.update
                )
    means = {clip or options.sr.name: found.means() for clip, found in results.items()}
    if len(means) > 1:
        of_clips = list(means.values())
        means["clip mean"] = {
            name: temporal.mean(one[name] for one in of_clips) for name in of_clips[0]
        }
    print(console.table([_temporal_row(*one) for one in means.items()], _TEMPORAL_HEADERS))
    for clip, found in results.items():
        if found.left_out:
            verb = "is" if found.left_out == 1 else "are"
            counted = f"{found.left_out} of {len(found.tof)} pairs of frames {verb} left out"
            print(f"{clip or options.sr.name}: {counted}: too little of GT is seen in both")
    print(_TEMPORAL_NOTE.format(version=temporal.DEFINITION["version"], hash=temporal.HASH))
    temporal.export(results, options.json, options.csv)
    return FINE


_TEMPORAL_NOTE = """\
these are measures of this project, definition {version} ({hash}): compare them only
with numbers of this command under the same hash, for papers estimate flow by other means.
Blur lowers the warping error: read it beside that of GT."""
_TEMPORAL_HEADERS = (
    "clip",
    "warping error\n(levels^2)",
    "the same\nof GT",
    "flow difference\n(px)",
    "flicker\n(levels)",
    "seen in both\n(%)",
)


def _temporal_row(clip: str, means: Mapping[str, float]) -> tuple[str, ...]:
    shown = [
        (means["warping_error"], ".3f"),
        (means["gt_warping_error"], ".3f"),
        (means["tof"], ".4f"),
        (means["flicker"], ".4f"),
        (100 * means["visible"], ".1f"),
    ]
    return (clip, *("-" if math.isnan(value) else format(value, form) for value, form in shown))


def _match(options: argparse.Namespace) -> int:
    from bench import score
    from bench.questions import match

    printed = match.parse(options.printed)
    gt, _ = _ground_truth(options)
    pairs = score.pair(options.sr, gt, options.clip)
    measured = {}
    with console.progress("measuring", sum(len(sr) for sr, _ in pairs.values())) as bar:
        for clip, (sr, reference) in pairs.items():
            with _naming(clip):
                measured[clip] = match.measure(
                    sr,
                    reference,
                    with_ssim=printed.ssim is not None,
                    workers=console.workers(options),
                    on_frame=bar.update,
                )
    found = match.search(measured, printed)
    fitting = [one for one in found if one.fits]
    counted = f"of {len(found)} ways to compute it"
    if fitting:
        gives = "1 gives" if len(fitting) == 1 else f"{len(fitting)} give"
        print(f"{counted}, {gives} {options.printed} for these frames:\n")
    else:
        print(f"{counted}, none gives {options.printed} for these frames; the nearest:\n")
    shown = fitting or found[:_NEAREST]
    headers = ("way", "--protocol", "PSNR (dB)", "SSIM", "difference")
    print(console.table([_match_row(one, printed) for one in shown], headers))
    print(
        "\nA way that gives the number is a hypothesis, not proof: one that was not tried may give "
        "it too."
    )
    return FINE if fitting else CHECK_FAILED


def _match_row(one: Match, printed: Printed) -> tuple[str, ...]:
    from bench.questions import match

    wanted = [(one.psnr, printed.psnr, 4), (one.ssim, printed.ssim, 5)]
    differences = [
        f"{got - value:+.{digits}f}"
        for got, value, digits in wanted
        if value is not None and got is not None
    ]
    ssim = "-" if one.ssim is None else f"{one.ssim:.5f}"
    return (str(one.way), match.name_of(one.way), f"{one.psnr:.4f}", ssim, " / ".join(differences))


def _diagnose(options: argparse.Namespace) -> int:
    from bench import diagnose, frames
    from bench.frames import FrameFiles

    gt, _ = _ground_truth(options)
    sr = {
        clip: FrameFiles(frames.frame_files(folder))
        for clip, folder in frames.clip_folders(options.sr).items()
    }
    failed = False
    for clip, name in _paired(list(sr), list(gt), options).items():
        with _naming(clip):
            found = diagnose.examine(
                sr[clip],
                gt[name],
                name=name,
                others={other: frames_ for other, frames_ in gt.items() if other != name},
                workers=console.workers(options),
            )
        failed |= bool(found.findings)
        _print_diagnosis(name or clip or options.sr.name, found)
    return CHECK_FAILED if failed else FINE


def _paired(sr: Sequence[str], gt: Sequence[str], options: argparse.Namespace) -> dict[str, str]:
    """For each SR clip the GT clip of its name; the only one where there is one of each."""
    if len(sr) == 1 and len(gt) == 1:
        return {sr[0]: gt[0]}
    if len(sr) == 1 and sr[0] not in gt and (options.sr.name in gt or not sr[0]):
        # A clip by itself against a whole data set: its folder's name may tell which it is.
        return {sr[0]: options.sr.name if options.sr.name in gt else gt[0]}
    wanted = [clip for clip in sr if clip in (options.clip or gt)]
    lacking = [clip for clip in options.clip or sr if clip not in wanted or clip not in gt]
    if lacking or not wanted:
        raise BenchError(
            "SR and GT are not of the same clips",
            expected=", ".join((options.clip or gt)[:8]) or "frames",
            found=", ".join(one or "frames, no clips" for one in sr[:8]),
            todo="name the folders of clips alike, or choose some with --clip",
        )
    return {clip: clip for clip in wanted}


def _print_diagnosis(clip: str, found: Diagnosis) -> None:
    if not found.findings:
        print(f"{clip}: nothing wrong was found (RGB PSNR {found.before:.2f} dB)")
        return
    known = not math.isnan(found.after)
    told = f": RGB PSNR {found.before:.2f} dB, mended {found.after:.2f} dB" if known else ""
    print(f"{clip}: {len(found.findings)} found{told}")
    for one in found.findings:
        gained = "" if one.gain is None else f" [{one.gain:+.2f} dB]"
        print(f"  {one.kind}{gained}: {one.evidence}; {one.mend}")


COMMANDS: dict[str, Callable[[argparse.Namespace], int]] = {
    "score": _score,
    "temporal": _temporal,
    "match": _match,
    "diagnose": _diagnose,
}
