from __future__ import annotations

import re
from pathlib import Path

import pytest
import yaml

import reproductions
from bench import catalog, cells, paper
from bench.errors import BenchError

ROOT = Path(__file__).parent.parent


def test_papers_are_found_by_entry_point():
    folders = sorted(p.parent.name for p in ROOT.glob("reproductions/*/paper.yaml"))
    assert reproductions.names() == folders
    for name in folders:
        assert reproductions.load(name).name == name


@pytest.mark.parametrize("name", paper.names())
def test_papers_name_what_exists(name):
    loaded = paper.load(name)
    for cell in loaded.cells:
        dataset = catalog.get(cell.dataset)
        assert cell.degradation in dataset.degradations
        assert cell.clip is None or dataset.clips is None or cell.clip in dataset.clips
    for checkpoint in loaded.checkpoints.values():
        if checkpoint.method:
            assert callable(paper.method(checkpoint))
    texts = [loaded.note or "", *(table.title for table in loaded.context)]
    named = {word for text in texts for word in re.findall(r"\(([\w-]+)\)", text)}
    rows = {
        row[table.columns.index("source")]
        for table in loaded.context
        if "source" in table.columns
        for row in table.rows
    }
    used = {one.source for one in (*loaded.cells, *loaded.references.values())}
    assert used | rows | (named & set(loaded.sources)) == set(loaded.sources)


@pytest.mark.data
@pytest.mark.parametrize("name", paper.names())
def test_published_numbers_are_those_that_were_collected(name, facts):
    """Every number of the collection that belongs to the paper is a cell, and no other."""
    collected = yaml.safe_load((facts / "published.yaml").read_text())
    systems = {"bicubic": {"Bicubic"}, "duf": {"DUF", "DUF_52L"}}
    known = {
        (row["source"], row.get("clip"), row["psnr"], row["ssim"])
        for row in collected["results"] + collected["per_clip"]
        if row["system"] in systems.get(name, {name.upper()})
    }
    if name == "duf":  # printed beside the figures of BasicSR's port
        outputs = {row.get("official_outputs") for row in collected["results"]} - {None}
        pairs = [text.split("/") for text in outputs if text.startswith(("27.33", "25.79"))]
        known |= {("basicsr-modelzoo", None, float(p), float(s)) for p, s in pairs}
    if name == "edvr":
        psnr, ssim = collected["third_party_vid4"]["rows"]["EDVR"]
        known.add(("third-vid4", None, psnr, ssim))
    ours = {
        (cell.source, cell.clip, float(cell.psnr), float(cell.ssim))
        for cell in paper.load(name).cells
    }
    assert ours == known


@pytest.mark.parametrize(
    ("measured", "published", "expected"),
    [
        (23.7836, "23.78", True),
        (21.7939, "21.80", True),
        (21.7849, "21.80", False),
        (27.3742, "27.38", True),
        (27.34, "27.38", False),
        (0.5428, "0.5246", False),
        (0.63471, "0.6347", True),
        (0.6345, "0.6347", False),
        (31.0, "31.0010", False),
        (100.0, "99.99", True),
    ],
)
def test_agreement_is_within_one_unit_of_the_last_digit(measured, published, expected):
    assert cells.agrees(measured, published) is expected


def broken(tmp_path, **change) -> Path:
    text = (ROOT / "tests/toypaper/paper.yaml").read_text()
    data = yaml.safe_load(text)
    for key, value in change.items():
        place, names = data, key.split("__")
        for name in names[:-1]:
            place = place[int(name) if name.isdigit() else name]
        place[int(names[-1]) if names[-1].isdigit() else names[-1]] = value
    path = tmp_path / "paper.yaml"
    path.write_text(yaml.safe_dump(data))
    return path


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"cells__0__psnr": 28.2}, r"cells\[0\].psnr: expected `str | null`, found `float`"),
        ({"cells__0__psnr": "28"}, r"cells\[0\].psnr: .*matching regex"),
        ({"cells__1__source": "there"}, "one of here, found source 'there'"),
        ({"cells__1__checkpoint": "best"}, "found checkpoint 'best'"),
        ({"cells__1__protocol": "y9"}, "one of fixed, .* found protocol 'y9'"),
        (
            {"checkpoints__released__sources": ["Google Drive 1x"]},
            r"checkpoints.released.sources\[0\]: .*matching regex",
        ),
        ({"cells__1__sourse": "x"}, r"cells\[1\]: .*unknown field `sourse`"),
        (
            {"checkpoints__good__missing": "both"},
            "checkpoints.good: exactly one of method, network",
        ),
        ({"checkpoints__good__sha256": "0" * 7}, r"checkpoints.good.sha256: .*matching regex"),
        ({"checkpoints__good__sha256": "ABCDEF01"}, r"checkpoints.good.sha256: .*matching regex"),
        ({"checkpoints__good__git_blob": "0" * 8}, r"checkpoints.good.git_blob: .*matching regex"),
        ({"schema": 2}, "schema: Invalid enum value 2"),
        ({"scale": 5}, "scale: Invalid enum value 5"),
        ({"cells__1__psnr": None}, r"cells\[1\]: a cell needs psnr or ssim"),
        ({"cells__0__dataset": "vid5"}, "found data set 'vid5'"),
        ({"cells__0__degradation": "bx"}, "one of bd, bd-duf, bi, found degradation 'bx'"),
        (
            {
                "context": [
                    {
                        "title": "Times",
                        "columns": ["system", "s", "device"],
                        "rows": [],
                        "timed": {
                            "label": "Toy",
                            "checkpoint": "best",
                            "time": "s",
                            "device": "device",
                            "unit": "s",
                        },
                    }
                ]
            },
            "Times: timed.checkpoint: expected one of .*, found 'best'",
        ),
        ({"cells__0__clip": "tilt"}, "one of occlusion, pan, rotation, zoom, found clip 'tilt'"),
    ],
)
def test_malformed_paper_yaml(tmp_path, change, words):
    with pytest.raises(BenchError, match=words) as caught:
        paper.read(broken(tmp_path, **change), "toy")
    assert "paper.yaml" in str(caught.value)
    assert "\n" not in str(caught.value)


def test_unknown_names_list_the_choices(toy):
    with pytest.raises(BenchError, match="unknown paper: expected one of toy, found 'tdna'"):
        paper.load("tdna")
    with pytest.raises(BenchError, match="toy has no checkpoint 'best': expected one of absent"):
        toy.checkpoint("best")


@pytest.mark.parametrize("method", ["nowhere:f", "toypaper:nothing", "toypaper"])
def test_methods_that_cannot_be_imported(method):
    with pytest.raises(BenchError, match="cannot import the method"):
        paper.method(paper.Checkpoint(title="t", method=method))
