"""Results to draw from: records and pictures of the sample's name; what stands in a figure."""

from __future__ import annotations

import io
from pathlib import Path

import measured
import msgspec
import numpy as np
from PIL import Image

from bench import frames, pictures
from bench.drawing import charts, crops, style
from bench.pictures import Method, Pictures

ODD = "x$y_<z>&^{"
METHODS = [*(f"method-{number}" for number in range(7)), "edvr openmmlab-l-wotsa-reds", "_u", ODD]
SHEETS = [  # sizes of GT and numbers of methods
    *((size, count) for size in ((40, 56), (144, 192)) for count in (1, 10)),
    *(((480, 720), count) for count in (1, 3)),
    ((360, 720), 10),
    ((720, 1280), 2),
]
CLIPS = ("occlusion", "pan", "rotation", "zoom")


def record(checkpoint="good", level=25.0, clips=CLIPS, count=9, **fields):
    """A record of clips whose frames differ in PSNR."""
    made = [
        measured.clip(
            name,
            measured.scores([round(level + 0.1 * t + number, 6) for t in range(count)]),
            sr_sha256=f"sr of {checkpoint} {name}",
        )
        for number, name in enumerate(clips)
    ]
    return measured.made(made, checkpoint=checkpoint, **fields)


def gt_frame(height=48, width=64, seed=0):
    """A frame of noise."""
    rng = np.random.default_rng(seed)
    return rng.integers(0, 256, (height, width, 3), dtype=np.uint8)


def off(frame, levels):
    """The frame with every value moved towards the middle by so many levels."""
    return np.where(frame < 128, frame + levels, frame - levels).astype(np.uint8)


def take(results: Path, checkpoints=("good", "other"), clip="pan", size=(48, 64), count=5):
    """Pictures of a clip, written; each method errs by a level more than the one before."""
    height, width = size
    gt, profile = gt_frame(height, width), gt_frame(count, width, seed=1)
    one = Pictures(
        dataset="sample",
        degradation="bi",
        clip=clip,
        frame=2,
        row=height // 3,
        frames=count,
        height=height,
        width=width,
        gt_sha256=f"gt of {clip}",
        methods=[
            Method(paper="toy", checkpoint=name, sr_sha256=f"sr of {name} {clip}")
            for name in checkpoints
        ],
    )
    frames.write(pictures.frame_file(results, one, "gt"), gt)
    frames.write(pictures.frame_file(results, one, "lr"), gt[::4, ::4])
    frames.write(pictures.profile_file(results, one, "gt"), profile)
    for number, method in enumerate(one.methods, 1):
        frames.write(pictures.frame_file(results, one, method.name), off(gt, number))
        frames.write(pictures.profile_file(results, one, method.name), off(profile, number))
    text = msgspec.json.encode(one)
    (pictures.folder(results, one) / "clip.json").write_bytes(text)
    return one


def shown(results: Path, one: Pictures, head="Sample, bi"):
    """What the sheets of these pictures are drawn from."""

    def files(name, label, place):
        profile = pictures.profile_file(results, one, name)
        frame = pictures.frame_file(results, one, name)
        return crops.Shown(charts.Method(label, place), str(frame), "", str(profile), "")

    methods = [files(m.name, m.checkpoint, place) for place, m in enumerate(one.methods)]
    gt, lr = files("gt", "gt", -1), files("lr", "lr", -1)
    return crops.Pictured(head, gt, lr, methods, one.height, one.width, one.row)


def pixels(data: bytes):
    """The RGB pixels of a PNG file."""
    return np.asarray(Image.open(io.BytesIO(data)).convert("RGB"))


def looked_at(draw):
    """The figure in the house's look, laid out; its texts that are not empty."""
    from matplotlib.backends.backend_agg import FigureCanvasAgg

    with style.house():
        figure = draw()
        FigureCanvasAgg(figure).draw()
        unseen = set(_unseen(figure))
        found = [
            text
            for text in figure.findobj(_is_text)
            if text.get_text().strip() and text not in unseen
        ]
    return figure, found


def _unseen(figure):
    """Labels of hidden axes and of ticks outside the limits, which are made and not drawn."""
    for axes in figure.axes:
        if not axes.get_visible():
            yield from axes.findobj(_is_text)
        for axis in (axes.xaxis, axes.yaxis):
            low, high = sorted(axis.get_view_interval())
            for tick in [*axis.get_major_ticks(), *axis.get_minor_ticks()]:
                if not low <= tick.get_loc() <= high:
                    yield from (tick.label1, tick.label2)


def _is_text(artist):
    from matplotlib.text import Text

    return isinstance(artist, Text) and artist.get_visible()


def cut_off(figure, texts):
    """The texts that are drawn, but not whole inside the figure."""
    width, height = figure.canvas.get_width_height()
    found = []
    for text in texts:
        box = text.get_window_extent()
        if box.x0 < -1 or box.y0 < -1 or box.x1 > width + 1 or box.y1 > height + 1:
            found.append(text.get_text())
    return found


def overlapping(texts):
    """Pairs of texts of which one is drawn over the other."""
    boxes = [(text.get_text(), text.get_window_extent().padded(-1)) for text in texts]
    return [
        (one, two)
        for i, (one, first) in enumerate(boxes)
        for two, second in boxes[:i]
        if first.overlaps(second)
    ]
