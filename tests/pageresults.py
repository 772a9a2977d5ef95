"""Results that fill every part of the page: records, times and pictures of chosen numbers."""

from __future__ import annotations

from pathlib import Path

import measured
import msgspec
import numpy as np
from measured import clip, device, made, scores, source, timed
from numpy.typing import NDArray

from bench import frames, generated, pictures, record, sample, score
from bench.pictures import Method, Pictures
from bench.record import Record

PROTOCOLS = ("fixed", "rgb-crop0")
WEIGHTS = source(checkpoint_sha256="ab" * 32)
METHODS = {("tdan", "bix4"): 26.5, ("edvr", "m-reds"): 27.4, ("bicubic", "bicubic"): 24.1}
STEP = 12  # by how much the frames of tdan err in a known pixel: (5, 7), in all channels


def write(results: Path) -> None:
    """Three methods on the sample set, times of two devices, pictures of one clip."""
    shown = sr_frames()
    for seed, ((paper, checkpoint), level) in enumerate(METHODS.items()):
        rng = np.random.default_rng(seed)
        clips = []
        for name in sample.names():
            by_protocol = {
                each: scores(
                    (level - lower + rng.normal(0, 0.5, 9)).round(6).tolist(),
                    rng.uniform(0.7, 0.9, 9).round(6).tolist(),
                )
                for lower, each in enumerate(PROTOCOLS)
            }
            digests = {"gt_sha256": f"gt of {name}"}
            if name == "pan":
                digests = {"gt_sha256": score.digest(sample.clip("pan"))}
                digests["sr_sha256"] = score.digest(shown[paper, checkpoint])
            clips.append(clip(name, by_protocol, frames=9, provenance=WEIGHTS.key, **digests))
        one = made(clips, paper=paper, checkpoint=checkpoint, provenance={WEIGHTS.key: WEIGHTS})
        measured.write(results, one)
    gpu = device("NVIDIA H200", "cuda")
    measured.write(
        results,
        timed([410.0], paper="tdan", checkpoint="bix4"),
        timed([900.0], paper="edvr", checkpoint="m-reds"),
        timed([4.0], paper="tdan", checkpoint="bix4", device=gpu),
        timed([9.5], paper="edvr", checkpoint="m-reds", device=gpu),
    )
    _write_pictures(results, shown)


def sr_frames() -> dict[tuple[str, str], list[NDArray[np.uint8]]]:
    """SR frames of `pan`: known errors of tdan, rings for edvr, LR enlarged for bicubic."""
    gt = sample.clip("pan")
    tdan = [frame.copy() for frame in gt]
    for frame in tdan:
        frame[7, 5] = np.where(frame[7, 5] > 127, frame[7, 5] - STEP, frame[7, 5] + STEP)
    rng = np.random.default_rng(0)
    edvr = [np.clip(frame + rng.normal(0, 6, frame.shape), 0, 255).astype(np.uint8) for frame in gt]
    coarse = [frame[::4, ::4].repeat(4, 0).repeat(4, 1) for frame in gt]
    return {("tdan", "bix4"): tdan, ("edvr", "m-reds"): edvr, ("bicubic", "bicubic"): coarse}


def _write_pictures(results: Path, shown: dict[tuple[str, str], list[NDArray[np.uint8]]]) -> None:
    gt = sample.clip("pan")
    one = Pictures(
        dataset="sample",
        degradation="bi",
        clip="pan",
        frame=4,
        row=70,
        frames=9,
        height=gt[0].shape[0],
        width=gt[0].shape[1],
        gt_sha256=score.digest(gt),
        methods=[
            Method(paper=paper, checkpoint=checkpoint, sr_sha256=score.digest(made))
            for (paper, checkpoint), made in shown.items()
        ],
    )
    every = {"gt": gt} | {f"{p}-{c}": made for (p, c), made in shown.items()}
    for name, sequence in every.items():
        frames.write(pictures.frame_file(results, one, name), sequence[4])
        row = np.stack([frame[70] for frame in sequence])
        frames.write(pictures.profile_file(results, one, name), row)
    frames.write(pictures.frame_file(results, one, "lr"), gt[4][::4, ::4])
    file = pictures.folder(results, one) / "clip.json"
    file.write_bytes(msgspec.json.encode(one))


def vimeo(checkpoint: str, level: float, count: int = 7824) -> Record:
    """A record of a set of which one frame of each clip is scored, under two protocols."""
    rng = np.random.default_rng(int(level * 10))
    psnr = rng.normal(level, 4, (count, 2)).round(6).tolist()
    ssim = rng.uniform(0.8, 0.99, (count, 2)).round(6).tolist()
    clips = [
        clip(
            f"{i // 1000:05d}/{i % 1000:04d}",
            {
                "fixed-centre": scores(psnr[i][:1], ssim[i][:1]),
                "y-crop0-centre": scores(psnr[i][1:], ssim[i][1:]),
            },
            frames=7,
        )
        for i in range(count)
    ]
    return made(clips, paper="edvr", checkpoint=checkpoint, dataset="vimeo-90k-t")


def records(results: Path) -> list[Record]:
    """What `write` wrote."""
    return record.read_all(results)


def on_vid4(one: Record) -> Record:
    """The record as if it were of Vid4."""
    return msgspec.structs.replace(one, dataset="vid4")


NAME = "<img src=x onerror=harmed=1>"  # no slash, as it is the name of a folder too
HOSTILE = f"</script><script>harmed=1</script>{NAME}"


def write_hostile(results: Path) -> None:
    """A record whose texts want to be markup wherever they stand."""
    bad = source(device=HOSTILE, packages={HOSTILE: HOSTILE}, commit=HOSTILE)
    clips = [
        clip(name, scores([25.0] * 9), restoring={HOSTILE: HOSTILE}, provenance=bad.key)
        for name in (*sample.names()[1:], HOSTILE)
    ]
    one = made(clips, paper="own", checkpoint=NAME, provenance={bad.key: bad})
    measured.write(results, one)


def written(results: Path) -> Path:
    """The page of the results, written where it belongs."""
    ((file, content),) = generated.the_page(results).items()
    file.parent.mkdir(parents=True, exist_ok=True)
    file.write_bytes(content)
    return file
