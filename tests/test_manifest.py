from __future__ import annotations

import csv
import hashlib
from collections import Counter

import pytest

from bench import catalog, frames, locate, paper
from bench.errors import BenchError
from bench.fetching import manifest

DOWNLOADS = [
    (dataset, download)
    for dataset in catalog.load().values()
    for download in dataset.downloads
    if download.manifest
]


@pytest.mark.parametrize("role", ["GT", "LR-BI", "DUF-52L"])
def test_vid4_has_every_frame_of_every_clip(role):
    rows, vid4 = manifest.rows("vid4.csv", role), catalog.get("vid4")
    counts = Counter(row.clip for row in rows)
    assert counts == {clip: vid4.size(clip).frames for clip in vid4.clips}
    assert len({(row.clip, row.name) for row in rows}) == len({row.sha256 for row in rows}) == 171
    # In natural order the names count up, so that frames of two folders pair.
    for clip in vid4.clips:
        names = [row.name for row in rows if row.clip == clip]
        assert names == sorted(names, key=frames.natural)


def test_every_download_has_rows_and_a_layout_that_finds_them():
    for dataset, download in DOWNLOADS:
        rows = manifest.rows(download.manifest, download.role)
        assert sum(row.bytes for row in rows) < 10**9
        if download.kind == "list":
            (row,) = rows
            assert row.name in dataset.clip_list.files
            assert row.sha256 in {known.sha256 for known in dataset.clip_list.known}
            continue
        templates = {layout.gt for layout in dataset.layouts}
        for layout in dataset.layouts:
            templates |= set(layout.lr.values())
        assert download.released or download.into in templates
        assert {row.clip for row in rows} == set(dataset.clips)
        assert download.folder in dataset.folders


def test_the_examples_of_papers_are_whole_and_where_they_are_looked_for():
    found = [
        (chosen, reference)
        for chosen in map(paper.load, paper.names())
        for reference in chosen.references.values()
        if reference.manifest
    ]
    assert [chosen.name for chosen, _ in found] == ["stdan"]
    for chosen, reference in found:
        rows = paper.published_files(chosen, reference)
        folders = {
            role: {row.path.rpartition("/")[0] for row in rows if row.role == role}
            for role in ("LR", "SR")
        }
        assert folders == {"LR": {reference.lr[0]}, "SR": {reference.frames[0]}}
        counts = Counter(row.role for row in rows)
        assert counts["SR"] == reference.every * (counts["LR"] - 1) + 1
        assert len({row.sha256 for row in rows}) == len(rows) == sum(counts.values())


@pytest.mark.data
def test_the_example_on_disk_has_the_listed_bytes(data):
    chosen = paper.load("stdan")
    rows = paper.published_files(chosen, chosen.references["example"])
    for row in rows:
        folder = {"LR": "LR", "SR": "STDAN"}[row.role]
        content = (data / "stdan_example" / folder / row.name).read_bytes()
        assert (row.bytes, row.sha256) == (len(content), hashlib.sha256(content).hexdigest())


@pytest.mark.data
def test_manifests_are_the_collected_ones(facts):
    kept = ("role", "clip", "repository", "commit", "path", "bytes", "sha256")
    with (facts / "manifest_vid4.csv").open(newline="") as file:
        wanted = [tuple(row[key] for key in kept) for row in csv.DictReader(file)]
    found = [row for role in ("GT", "DUF-52L", "LR-BI") for row in manifest.rows("vid4.csv", role)]
    assert sorted(tuple(map(str, row)) for row in found) == sorted(wanted)
    with (facts / "manifest_lists.csv").open(newline="") as file:
        known = {row["sha256"]: row for row in csv.DictReader(file)}
    for _, download in DOWNLOADS:
        for row in manifest.rows(download.manifest, download.role):
            if download.kind == "list":
                assert (row.path, str(row.bytes)) == (
                    known[row.sha256]["path"],
                    known[row.sha256]["bytes"],
                )


@pytest.mark.data
def test_the_frames_on_disk_have_the_sizes_that_the_manifest_was_made_for(data):
    found = locate.find(catalog.get("vid4"), data)
    for clip in found.clips:
        folder = locate.folder_of(found.root, found.layout.gt, clip)
        assert frames.count(folder) == sum(r.clip == clip for r in manifest.rows("vid4.csv", "GT"))


GOOD = f"GT,city,a/b,{'0' * 40},G/1.png,5,{'0' * 64}"


@pytest.mark.parametrize(
    ("line", "words"),
    [
        (GOOD.replace("a/b", "a"), r"small.csv:2: repository: expected the form .*, found 'a'"),
        (GOOD.replace("0" * 40, "master"), "small.csv:2: commit: "),
        (GOOD.replace(",5,", ",five,"), "small.csv:2: bytes: "),
        (GOOD.replace("0" * 64, "0" * 8), "small.csv:2: sha256: "),
        (GOOD.replace("G/1.png", "G/../../1.png"), "small.csv:2: path: "),
        (GOOD.replace("G/1.png", "/etc/passwd"), "small.csv:2: path: "),
        (GOOD.replace("G/1.png", "G\\1.png"), "small.csv:2: path: "),
        (GOOD.replace("city", "../city"), "small.csv:2: clip: "),
        ("GT,city", "small.csv:2 is no row of a manifest: expected role,clip,"),
        (GOOD.replace("GT", "SR"), r"small.csv has no role 'GT': expected one of SR; mend"),
    ],
)
def test_malformed_manifests(tmp_path, monkeypatch, line, words):
    monkeypatch.setattr(manifest, "FOLDER", tmp_path)
    header = "role,clip,repository,commit,path,bytes,sha256"
    (tmp_path / "small.csv").write_text(f"{header}\n{GOOD}\n")
    assert manifest.rows("small.csv", "GT")[0].bytes == 5
    manifest.read.cache_clear()  # the file is read once a process
    (tmp_path / "small.csv").write_text(f"{header}\n{line}\n")
    with pytest.raises(BenchError, match=words):
        manifest.rows("small.csv", "GT")
    with pytest.raises(BenchError, match=r"cannot read .*gone.csv: expected a CSV file"):
        manifest.rows("gone.csv", "GT")
