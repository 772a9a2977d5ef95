from __future__ import annotations

from pathlib import Path

import pytest
import toyweb

from bench import catalog, checkpoint, paper
from bench.errors import BenchError
from bench.fetching import wanted
from bench.fetching.wanted import Selection

DRIVE = "https://drive.google.com/"


def told(items) -> list[tuple[str, str, str]]:
    return [(item.name, item.kind, item.state) for item in items]


def put(part, content: bytes) -> None:
    part.target.parent.mkdir(parents=True, exist_ok=True)
    part.target.write_bytes(content)


@pytest.mark.parametrize("name", paper.names())
def test_every_network_has_addresses_and_a_place_where_it_is_looked_for(name, tmp_path):
    chosen = paper.load(name)
    items = wanted.wanted([name], tmp_path, Selection(data=False))
    assert [item.name for item in items if item.kind == "checkpoint"] == [
        f"{name}/{key}" for key, one in chosen.checkpoints.items() if one.network
    ]
    for item in items:
        if item.kind == "checkpoint":
            key, (part,) = item.name.partition("/")[2], item.parts
            assert part.addresses
            assert part.target == checkpoint.place_of(chosen, key)
            assert part.expected[:2] == (
                chosen.checkpoint(key).sha256,
                chosen.checkpoint(key).git_blob,
            )
            with pytest.raises(BenchError, match=f"run bench fetch {item.name}, or get it"):
                checkpoint.find(chosen, key)


def test_a_paper_brings_its_released_frames_and_small_data_sets(tmp_path):
    items = wanted.wanted(["duf"], tmp_path)
    # GT only: its frames are scored as they are, so no LR frames are needed.
    assert [(item.name, item.what) for item in items] == [
        ("duf/52l", "frames of DUF-52L (DUF repository)"),
        ("vid4", "GT frames (DUF repository)"),
    ]
    assert [item.bytes for item in items] == [98155692, 119158078]
    assert items[0].parts[0].target == tmp_path / "vid4/DUF-52L/calendar/Frame001.png"
    (alone,) = wanted.wanted(["duf"], tmp_path, Selection(data=False))
    assert alone.name == "duf/52l"
    assert [item.name for item in wanted.wanted(["duf/52l"], tmp_path)] == ["duf/52l"]


def test_a_paper_brings_the_examples_of_its_authors(tmp_path):
    example = wanted.wanted(["stdan"], tmp_path)[1]
    assert (example.name, example.what) == ("stdan", "the authors' example, 4 frames to 7")
    assert (len(example.parts), example.bytes, example.unlicensed) == (11, 596434, True)
    places = {str(part.target.parent.relative_to(tmp_path)) for part in example.parts}
    assert places == {"test_example/0625", "results/Custom/0625"}
    for part in example.parts:
        put(part, bytes(part.expected.size))
    assert wanted.wanted(["stdan"], tmp_path)[1].state == "here"
    stranger = tmp_path / "results/Custom/0625/00000008.png"
    stranger.write_bytes(b"")
    example.parts[0].target.unlink()
    with pytest.raises(BenchError, match="0625 holds frames that are none of stdan, the authors"):
        raise wanted.wanted(["stdan"], tmp_path)[1].problem
    alone = wanted.wanted(["stdan"], tmp_path, Selection(data=False))
    assert [item.name for item in alone] == ["stdan/stdan"]


def test_large_data_sets_are_left_out_and_say_how_they_come(tmp_path):
    items = wanted.wanted(["bicubic"], tmp_path)
    assert {item.name for item in items if not item.optional} == {"vid4"}
    (vimeo,) = [item for item in items if item.name == "vimeo-90k-t"]
    assert (vimeo.state, vimeo.bytes, vimeo.missing) == ("left out", 15 * 10**9, [])
    words = r"vimeo-90k-t, .*: 15 GB, fetched with --large only; run bench fetch vimeo-90k-t --lar"
    with pytest.raises(BenchError, match=words + "ge; it comes from http://data.csail"):
        raise vimeo.problem
    (reds,) = wanted.wanted(["reds4"], tmp_path)
    assert "size unknown" in str(reds.problem)
    (reds,) = wanted.wanted(["reds4"], tmp_path, Selection(large=True))
    assert (reds.state, reds.problem) == ("missing", None)
    assert reds.parts[0].target == catalog.cache_folder() / "archives/testset_REDS4.tar.gz"


def test_the_lists_of_vimeo_come_without_the_frames(tmp_path):
    for name in ("vimeo-fast", "vimeo-medium", "vimeo-slow", "vimeo-medium-stdan", "vimeo-90k-t"):
        items = wanted.wanted([name], tmp_path)
        assert told(items) == [(name, "list", "missing"), (name, "archive", "left out")]
    both = wanted.wanted(["vimeo-medium", "vimeo-medium-stdan"], tmp_path, Selection(large=True))
    # One archive for both, and two lists of one file name.
    assert [item.kind for item in both] == ["list", "archive", "list"]
    assert both[0].parts[0].target != both[2].parts[0].target


def test_names(toy, tmp_path):
    assert wanted.wanted(["sample"], tmp_path) == []
    assert wanted.wanted(["toy/good"], tmp_path) == []
    for name, words in (
        ("vid5", "nothing is called 'vid5': expected paper, paper/checkpoint or data set: one of"),
        ("toy/best", "toy has no checkpoint 'best'"),
        ("toy/absent", "toy/absent cannot be fetched: found its address is dead; see bench list"),
    ):
        with pytest.raises(BenchError, match=words):
            wanted.wanted([name], tmp_path)
    with pytest.raises(BenchError, match="toy has no checkpoint 'best'"):
        wanted.wanted(["toy"], tmp_path, Selection(checkpoints=["best"]))


def test_checkpoints_without_an_address(monkeypatch, toy, tmp_path):
    toyweb.with_weights(monkeypatch, toy, hidden={"by_hand": ["Baidu 1x (code y)"]})
    (item,) = wanted.wanted(["toy/hidden"], tmp_path)
    assert not item.optional
    words = r"by hand only: found Baidu 1x \(code y\); save it and run bench add FILE --as toy/hi"
    with pytest.raises(BenchError, match=words):
        raise item.problem


def test_what_is_here(monkeypatch, server, toy, tmp_path):
    toyweb.with_weights(monkeypatch, toy, net={"sources": ["https://example.org/net.pth"]})
    toyweb.with_data_set(monkeypatch, server, tmp_path / "manifests")
    names = ["toy/net", "small"]
    items = wanted.wanted(names, tmp_path)
    assert [item.state for item in items] == ["missing"] * 3
    assert [len(item.missing) for item in items] == [1, 5, 5]
    for item in items:
        for part in item.parts[:2]:
            put(part, bytes(part.expected.size or 1))
    assert [len(item.missing) for item in wanted.wanted(names, tmp_path)] == [0, 3, 3]
    for item in items:
        for part in item.parts:
            put(part, bytes(part.expected.size or 1))
    assert [item.state for item in wanted.wanted(names, tmp_path)] == ["here"] * 3


@pytest.fixture
def frames_of(monkeypatch, server, tmp_path, put):
    """Writes the frames of `small` into folders of these names, GT and LR."""

    def write(gt: str, lr: str) -> Path:
        toyweb.with_data_set(monkeypatch, server, tmp_path / "manifests")
        root = tmp_path / "data"
        for clip, count in toyweb.CLIPS.items():
            put(root / "Small" / gt / clip, count)
            put(root / "Small" / lr / clip, count)
        return root

    return write


def test_frames_in_another_layout_are_here_and_stay_as_they_are(frames_of):
    root = frames_of("hr", "lr")
    items = wanted.wanted(["small"], root)
    assert [(item.state, item.parts) for item in items] == [("here", ())] * 2


def test_whole_clips_under_other_names_are_here(frames_of):
    root = frames_of("GT", "LR-BI")
    assert [(i.state, i.parts) for i in wanted.wanted(["small"], root)] == [("here", ())] * 2


def test_lr_frames_come_beside_the_gt_frames_that_are_here(frames_of):
    root = frames_of("GT", "elsewhere")
    gt, lr = wanted.wanted(["small"], root)
    assert (gt.state, lr.state) == ("here", "missing")
    assert lr.parts[0].target == root / "Small/LR-BI/left/0000.png"


def test_frames_are_never_mixed_with_others(frames_of):
    root = frames_of("GT", "lr")
    (root / "Small").rename(root / "small")
    (root / "small/GT/right/00000002.png").unlink()
    item = wanted.wanted(["small"], root)[0]
    with pytest.raises(BenchError, match=r"left holds frames that are none of small, GT fr.*move"):
        raise item.problem


@pytest.mark.data
def test_the_addresses_are_the_collected_ones(facts, tmp_path):
    import yaml

    loader = getattr(yaml, "CSafeLoader", yaml.SafeLoader)
    known = yaml.load((facts / "published.yaml").read_text(), Loader=loader)["checkpoints"]  # noqa: S506
    by_file = {}
    for name in ("tdan", "edvr", "psrt", "ttvsr"):
        chosen = paper.load(name)
        by_file |= {one.file: one for one in chosen.checkpoints.values() if one.network}
    checked = 0
    for entry in known:
        if entry["system"] not in {"TDAN", "EDVR", "PSRT", "TTVSR"}:
            continue
        for file, one in by_file.items():
            if file not in entry["file"] and file != entry["file"].rpartition("/")[2]:
                continue
            checked += 1
            assert one.sha256 == entry["sha256_prefix"]
            assert one.git_blob == entry.get("git_blob")
            licence = None if entry["licence"].startswith("none") else entry["licence"]
            assert one.licence == licence
            if "url" in entry:
                assert one.sources == [entry["url"]]
            elif entry["origin"].endswith("folder"):
                assert one.sources[0] == f"{DRIVE}drive/folders/{entry['drive_id']}#{file}"
            else:
                assert one.sources == [f"{DRIVE}file/d/{entry['drive_id']}/view"]
            for key in ("onedrive", "baidu"):
                assert key not in entry or any(entry[key] in place for place in one.by_hand)
            assert not file.endswith(".pth") or not one.sha256 or file[-12:-4] == one.sha256
    # All but PSRT_Vimeo.pth, whose name the collected table does not state.
    assert checked == len(by_file) - 1 == 18
