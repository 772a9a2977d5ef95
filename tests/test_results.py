"""The committed results: every record is whole and says where it came from, every table fresh."""

from __future__ import annotations

import os
import shutil
import subprocess
from pathlib import Path

import pytest

from bench import catalog, generated, paper, pictures, record
from bench.drawing import figures

RESULTS = Path(__file__).parent.parent / "results"
RECORDS = sorted((RESULTS / "records").rglob("*.json"))


@pytest.mark.parametrize("file", RECORDS, ids=lambda file: str(file.relative_to(RESULTS)))
def test_records(file):
    read = record.read(file)
    assert file == record.path(RESULTS, read.paper, read.checkpoint, read.dataset, read.degradation)
    assert {"fixed", "fixed-centre"} & set(read.protocols)
    assert all(read.complete(name) for name in read.protocols)
    assert not read.untrained
    assert not read.failures
    dataset = catalog.get(read.dataset)
    loaded = paper.load(read.paper)
    assert read.checkpoint in loaded.checkpoints
    for clip in read.clips:
        assert clip.frames == dataset.size(clip.clip).frames
        for name, scores in clip.scores.items():
            assert len(scores.psnr) == len(scores.ssim)
            assert len(scores.psnr) == len(read.protocols[name].scored(clip.frames))
        made = read.provenance[clip.provenance]
        assert made.commit
        assert made.dirty is False


def test_there_are_records():
    assert RECORDS


@pytest.mark.parametrize("name", paper.names())
def test_tables_are_fresh(name):
    for file, text in generated.of_paper(RESULTS, paper.load(name)).items():
        assert file.read_bytes() == text


def test_what_papers_share_is_fresh():
    for file, content in generated.shared(RESULTS).items():
        assert file.read_bytes() == content


def test_a_checkout_has_the_committed_bytes(tmp_path, monkeypatch):
    """Else every generated file is stale where git is told to give text files other line ends."""
    for name in [name for name in os.environ if name.startswith("GIT_")]:
        monkeypatch.delenv(name)  # set by hooks of another repository
    shutil.copy(RESULTS.parent / ".gitattributes", tmp_path)
    table = tmp_path / "table.md"
    table.write_bytes(b"a\nb\n")
    for words in ("init -q", "config core.autocrlf true", "add table.md"):
        subprocess.run(["git", *words.split()], cwd=tmp_path, check=True)
    table.unlink()
    subprocess.run(["git", "checkout", "-q", "--", "table.md"], cwd=tmp_path, check=True)
    assert table.read_bytes() == b"a\nb\n"


def test_figures_are_current_and_none_has_lost_its_data():
    found = generated.drawn(RESULTS)
    assert [file for file, one in found.items() if not figures.current(file, one)] == []
    assert figures.orphans(RESULTS, found) == []


def test_no_picture_is_of_frames_that_may_not_be_copied():
    """Only the sample clips are free of copyright."""
    shown = pictures.read_all(RESULTS, record.read_all(RESULTS))
    assert {one.dataset for one in shown} == {"sample"}
    assert {file.name for file in (RESULTS / "pictures").iterdir()} == {"sample-bi"}


def test_every_generated_file_belongs_to_a_paper():
    assert {file.stem for file in (RESULTS / "tables").iterdir()} == set(paper.names())
