from __future__ import annotations

import csv
import hashlib
from pathlib import Path

import numpy as np
import pytest
import yaml

from bench import catalog, degrade, frames, locate
from bench.clips import check_lr, gt_clips, open_clip
from bench.errors import BenchError

# What the publishers of the lists and data sets count.
COUNTS = {
    "vid4": 4,
    "vid4-155": 4,
    "spmcs-30": 30,
    "spmcs-11": 11,
    "reds4": 4,
    "udm10": 10,
    "vimeo-90k-t": 7824,
    "vimeo-fast": 1225,
    "vimeo-medium": 4977,
    "vimeo-slow": 1613,
    "vimeo-medium-stdan": 4983,
    "vimeo-slow-stdan": 1616,
    "sample": 4,
}


def test_every_data_set_is_there():
    datasets = catalog.load()
    assert {name: dataset.count for name, dataset in datasets.items()} == COUNTS
    vid4, cut = datasets["vid4"], datasets["vid4-155"]
    assert sum(vid4.size(clip).frames for clip in vid4.clips) == 171
    assert sum(cut.size(clip).frames for clip in cut.clips) == 155
    assert sum(datasets["udm10"].size(clip).frames for clip in datasets["udm10"].clips) == 320


def make_list(dataset: catalog.Dataset) -> list[str]:
    if dataset.clips:
        return list(dataset.clips)
    if dataset.clip_list.among:
        return dataset.clip_list.among[: dataset.count]
    return [f"{i // 1000 + 1:05d}/{i % 1000 + 1:04d}" for i in range(dataset.count)]


LAYOUTS = [
    (name, layout.name)
    for name, dataset in catalog.load().items()
    for layout in dataset.layouts
    if layout.gt and (name == "vimeo-fast" or not name.startswith("vimeo-"))
]


@pytest.mark.parametrize(("name", "layout"), LAYOUTS)
def test_every_layout_is_recognised(name, layout, tmp_path):
    dataset = catalog.get(name)
    described = next(one for one in dataset.layouts if one.name == layout)
    base = tmp_path / dataset.folders[0]
    clips = make_list(dataset)
    for clip in clips:
        for template in (described.gt, *described.lr.values()):
            (base / template.format(clip=clip)).mkdir(parents=True, exist_ok=True)
    if dataset.clip_list:
        (base / dataset.clip_list.files[0]).write_text("\n".join(clips) + "\n\n")
    for root in (tmp_path, base):  # the parent folder, and the data set's own
        found = locate.find(dataset, root)
        assert found.root == base
        assert found.layout.gt == described.gt
        assert sorted(found.clips) == sorted(clips)
        assert set(found.lr) >= set(described.lr) & set(dataset.degradations)


def small(tmp_path: Path, **change: object) -> catalog.Dataset:
    """A data set of two small clips, described in a file of its own."""
    described = {
        "title": "Small",
        "folders": ["small"],
        "scored": "all",
        "degradations": ["bi", "bd", "bd-duf"],
        "frames": 3,
        "height": 48,
        "width": 64,
        "clips": {"a": {}, "b": {}},
        "layouts": [
            {"name": "one", "gt": "GT/{clip}", "lr": {"bi": "BIx4/{clip}", "bd": "BDx4/{clip}"}},
            {"name": "cut", "gt": "{clip}/truth", "skip": 1},
        ],
        "hints": {2: "somebody ships two"},
        "licence": None,
        "sources": [],
    } | change
    file = tmp_path / "datasets.yaml"
    file.write_text(yaml.safe_dump({"schema": 1, "datasets": {"small": described}}))
    catalog.load.cache_clear()
    return catalog.load(file)["small"]


def smooth(count: int = 3, height: int = 48, width: int = 64, seed: int = 0) -> list[np.ndarray]:
    """Frames that a degradation does not turn into noise."""
    rng = np.random.default_rng(seed)
    coarse = rng.integers(0, 256, (count, height // 8, width // 8, 3), dtype=np.uint8)
    return [degrade.upsample(degrade.upsample(frame), 2) for frame in coarse]


def lay(root: Path, template: str, clips: dict[str, list[np.ndarray]]) -> None:
    for clip, stack in clips.items():
        for index, frame in enumerate(stack):
            frames.write(root / template.format(clip=clip) / f"im{index + 1}.png", frame)


@pytest.fixture
def clips() -> dict[str, list[np.ndarray]]:
    return {"a": smooth(seed=1), "b": smooth(seed=2)}


def test_lr_is_made_where_it_is_missing(tmp_path, clips):
    dataset = small(tmp_path)
    lay(tmp_path / "small", "GT/{clip}", clips)
    found = locate.find(dataset, tmp_path)
    for name in degrade.DEGRADATIONS:
        clip = open_clip(found, "a", name)
        assert clip.lr_origin == "made"
        assert [lr.shape for lr in clip.lr] == [(12, 16, 3)] * 3
        assert np.array_equal(clip.lr[1], degrade.degrade(clips["a"][1], name))
        assert np.array_equal(clip.gt[2], clips["a"][2])


def test_lr_is_read_where_it_is_there_and_checked(tmp_path, clips):
    dataset = small(tmp_path)
    lay(tmp_path / "small", "GT/{clip}", clips)
    made = {
        name: {c: [degrade.degrade(f, name) for f in stack] for c, stack in clips.items()}
        for name in degrade.DEGRADATIONS
    }
    lay(tmp_path / "small", "BIx4/{clip}", made["bi"])
    lay(tmp_path / "small", "BDx4/{clip}", made["bd-duf"])  # what KAIR's script does to UDM10
    found = locate.find(dataset, tmp_path)
    right = open_clip(found, "a", "bi")
    assert right.lr_origin == "files"
    check_lr(right, "bi")
    wrong = open_clip(found, "a", "bd")
    with pytest.raises(BenchError, match=r"LR of small/a is not bd: .* inf dB against bd-duf"):
        check_lr(wrong, "bd")
    lay(tmp_path / "small", "BDx4/{clip}", {"a": made["bd"]["b"]})
    with pytest.raises(BenchError, match=r"does not match its GT|is not bd"):
        check_lr(open_clip(found, "a", "bd"), "bd")


def test_layouts_that_cut_clips(tmp_path):
    dataset = small(tmp_path)
    stack = smooth(5)
    lay(tmp_path, "{clip}/truth", {"a": stack, "b": stack})
    clip = open_clip(locate.find(dataset, tmp_path), "a", "bi")
    assert [np.array_equal(x, y) for x, y in zip(clip.gt, stack[1:4], strict=True)] == [True] * 3


def test_faults_are_named_in_one_line(tmp_path, clips):
    dataset, root = small(tmp_path), tmp_path / "small"

    def opened() -> None:
        found = locate.find(dataset, tmp_path)
        for clip in found.clips:
            open_clip(found, clip, "bi")

    def expect(words: str) -> None:
        with pytest.raises(BenchError, match=words) as caught:
            opened()
        assert "\n" not in str(caught.value)

    expect("Small not found: expected one of GT/{clip}, {clip}/truth, found none of them in")
    lay(root, "GT/{clip}", {"a": clips["a"]})
    expect(r"Small in .* \(one layout\) lacks 1 clips: expected 2 clips, found no b")
    lay(root, "GT/{clip}", {"b": clips["b"][:2]})
    expect(r"clip b has too few frames in .*: expected 3, found 2 \(somebody ships two\)")
    lay(root, "GT/{clip}", {"b": [*clips["b"], clips["b"][0]]})
    expect("clip b has too many frames in .*: expected 3, found 4")
    (root / "GT/b/im4.png").unlink()
    opened()
    frames.write(root / "GT/b/im2.png", smooth(1, 48, 56)[0])
    expect(r"im2.png has another size than it should: expected 64x48, found 56x48")
    frames.write(root / "GT/b/im1.png", smooth(1, 48, 56)[0])
    expect(r"im1.png has the wrong size: expected 64x48, found 56x48")
    (root / "GT/b/im1.png").write_bytes((root / "GT/a/im1.png").read_bytes()[:-20])
    expect(r"im1.png is truncated")
    lay(root, "GT/{clip}", clips)
    lay(root, "BIx4/{clip}", {c: smooth(2, 16, 16) for c in clips})
    expect(r"LR of clip a in .* does not match its GT: expected 3 frames, found 2")
    lay(root, "BIx4/{clip}", {c: smooth(3, 16, 16) for c in clips})
    expect(r"im1.png has another size than it should: expected 16x12, found 16x16")


def test_the_whole_gt_wins_over_a_cut_one(tmp_path):
    """vid4/GT beside PFNL's download: frame counts decide, not the number of LR folders."""
    dataset = small(
        tmp_path,
        layouts=[
            {"name": "whole", "gt": "GT/{clip}"},
            {"name": "cut", "gt": "{clip}/truth", "lr": {"bd-duf": "{clip}/blur4"}},
        ],
    )
    stack = smooth(3)
    lay(tmp_path / "small", "GT/{clip}", {"a": stack, "b": stack})
    lay(tmp_path / "small", "{clip}/truth", {"a": stack[1:2], "b": stack[1:2]})
    lay(tmp_path / "small", "{clip}/blur4", {"a": stack[1:2], "b": stack[1:2]})
    assert locate.find(dataset, tmp_path).layout.name == "whole"


def test_lr_is_cut_as_its_own_layout_says(tmp_path):
    dataset = small(
        tmp_path,
        layouts=[
            {"name": "cut", "gt": "{clip}/truth"},
            {"name": "whole", "gt": "GT/{clip}", "lr": {"bi": "BIx4/{clip}"}, "skip": 1},
        ],
    )
    stack = smooth(5)
    for clip in ("a", "b"):
        lay(tmp_path, "{clip}/truth", {clip: stack[1:4]})
        lay(tmp_path, "BIx4/{clip}", {clip: [degrade.degrade(f, "bi") for f in stack]})
    clip = open_clip(locate.find(dataset, tmp_path), "a", "bi")
    assert np.array_equal(clip.lr[0], degrade.degrade(stack[1], "bi"))
    check_lr(clip, "bi")


def test_only_the_wanted_clips_need_to_be_there(tmp_path, clips):
    dataset = small(tmp_path)
    lay(tmp_path / "small", "GT/{clip}", {"a": clips["a"]})
    found = locate.find(dataset, tmp_path, ["a"])
    assert len(open_clip(found, "a", "bi").gt) == 3
    assert list(gt_clips(found, ["a"])) == ["a"]
    with pytest.raises(BenchError, match="lacks 1 clips"):
        locate.find(dataset, tmp_path)


def test_lr_that_can_only_be_read(tmp_path, clips):
    dataset = small(tmp_path, degradations=["bi", "blur"])
    lay(tmp_path / "small", "GT/{clip}", clips)
    found = locate.find(dataset, tmp_path)
    with pytest.raises(BenchError, match="Small has no blur LR frames on disk"):
        open_clip(found, "a", "blur")


def test_unknown_names_list_the_choices(tmp_path, clips):
    dataset = small(tmp_path)
    lay(tmp_path / "small", "GT/{clip}", clips)
    found = locate.find(dataset, tmp_path)
    with pytest.raises(BenchError, match="Small has no clip 'c': expected one of a, b"):
        open_clip(found, "c", "bi")
    with pytest.raises(BenchError, match="no degradation 'bx': expected one of bd, bd-duf, bi"):
        open_clip(found, "a", "bx")
    with pytest.raises(BenchError, match="unknown data set: expected one of reds4, sample, spmcs"):
        catalog.get("vid5")


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"scored": "most"}, r"datasets.yaml: datasets\.small\.scored: Invalid enum value 'most'"),
        ({"frames": "three"}, "frames: expected `int | null`, found `str`"),
        (
            {"downloads": [{"what": "x", "kind": "archive"}]},
            r"downloads\[0\]: x: an archive needs addresses",
        ),
        (
            {"downloads": [{"what": "x", "kind": "files", "role": "GT"}]},
            r"downloads\[0\]: x: files need a manifest and a role",
        ),
        (
            {"downloads": [{"what": "x", "kind": "archive", "addresses": ["Baidu 1"]}]},
            r"downloads\[0\].addresses\[0\]: .*matching regex",
        ),
        ({"sixe": 1}, "datasets.small: .*unknown field `sixe`"),
        ({"clips": {"a": {}, "b": {"width": "x"}}}, r"datasets\.small\.clips\.b\.width: expected"),
        ({"clips": None}, "exactly one of clips and clip_list"),
        ({"frames": -3}, "frames: Expected `int` >= 1|frames: expected `int` >= 1"),
        ({"layouts": [{"name": "x", "gt": "{clap}"}]}, r"layouts\[0\].gt: .*matching regex"),
    ],
)
def test_malformed_datasets_yaml(tmp_path, change, words):
    with pytest.raises(BenchError, match=words):
        small(tmp_path, **change)


def test_lists(tmp_path):
    wanted = catalog.ClipList(files=["l.txt"], count=3, without=["00014/0030"])
    path = tmp_path / "l.txt"
    lines = ["00001/0266", "00014/0030", "00002/0001", "00003/0002"]
    path.write_text("\n".join(lines) + "\n\n")  # STDAN's lists end in an empty line
    assert locate.read_list(path, wanted) == [lines[0], *lines[2:]]
    path.write_text("\r\n".join(lines[:1] + lines[2:]))  # Zooming Slow-Mo's have no final newline
    assert locate.read_list(path, wanted) == [lines[0], *lines[2:]]
    path.write_text("".join(f"{line} 7 (256,448,3)\n" for line in lines))  # BasicSR's
    assert locate.read_list(path, wanted) == [lines[0], *lines[2:]]
    path.write_bytes(b"\xef\xbb\xbf" + "\n".join(lines).replace("/", "\\").encode())  # Windows
    assert locate.read_list(path, wanted) == [lines[0], *lines[2:]]
    path.write_text("\n".join(f"{line}/im4.png" for line in lines))
    assert locate.read_list(path, wanted) == [lines[0], *lines[2:]]
    for text, words in [
        ("00001/0266", "names the wrong number of clips: expected 3, found 1"),
        ("00001/0266\n00001/0266\n", "names 00001/0266 twice"),
        ("../../etc", "l.txt:1: unknown clip"),
    ]:
        path.write_text(text)
        with pytest.raises(BenchError, match=words):
            locate.read_list(path, wanted)


def test_spmcs_without_a_list(tmp_path):
    dataset = catalog.get("spmcs-30")
    names = dataset.clip_list.among
    for clip in names[:30]:
        (tmp_path / clip / "truth").mkdir(parents=True)
    assert locate.find(dataset, tmp_path).clips == names[:30]
    (tmp_path / names[30] / "truth").mkdir(parents=True)
    with pytest.raises(BenchError, match="exactly 30 of the known clips, found 31"):
        locate.find(dataset, tmp_path)


@pytest.mark.data
def test_published_lists(data: Path, tmp_path):
    """The lists as they were published, and their hashes as datasets.yaml names them."""
    for publisher, short in (("zooming-slow-mo", "Zooming-Slow-Mo"), ("stdan", "STDAN")):
        for speed in ("fast", "medium", "slow"):
            path = data / "vimeo90k" / publisher / f"{speed}_testset.txt"
            digest = hashlib.sha256(path.read_bytes()).hexdigest()
            known = catalog.get(f"vimeo-{speed}").clip_list.known
            assert digest in {one.sha256 for one in known if short in one.source}
            read = locate.read_list(path, catalog.get(f"vimeo-{speed}").clip_list)
            if publisher == "stdan" and speed != "fast":
                kept = locate.read_list(path, catalog.get(f"vimeo-{speed}-stdan").clip_list)
                black = set(catalog.get("vimeo-medium").clip_list.without)
                assert set(kept) - set(read) == set(kept) & black


@pytest.mark.data
def test_vid4_is_found_and_is_the_known_one(data: Path, facts: Path):
    """Frames of the real data set have the known SHA-256 of their decoded bytes."""
    manifest = facts / "manifest_vid4.csv"
    found = locate.find(catalog.get("vid4"), data)
    clip = open_clip(found, "city", "bi")
    with manifest.open() as file:
        rows = [row for row in csv.DictReader(file) if row["clip"] == "city"]
    for role, stack in (("GT", clip.gt), ("LR-BI", clip.lr)):
        expected = [row["rgb_sha256"] for row in rows if row["role"] == role]
        assert [hashlib.sha256(f.tobytes()).hexdigest() for f in stack] == expected
