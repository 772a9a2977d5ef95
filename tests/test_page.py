"""The page as text: the same for the same results, nothing missing, nothing that could do harm."""

from __future__ import annotations

import base64
import hashlib
import json
import re
from collections import Counter
from pathlib import Path
from urllib.parse import unquote

import htmlelements
import msgspec
import pageresults
import pytest
from measured import clip, made, scores, write

from bench import generated, leaderboard, paper, record, tables
from bench.site import page, panel

ASSETS = Path(page.__file__).parent / "assets"
COMMITTED = Path(__file__).parent.parent / "results"


def html(results: Path) -> str:
    (content,) = generated.the_page(results).values()
    return content.decode()


@pytest.fixture
def results(tmp_path) -> Path:
    pageresults.write(tmp_path / "results")
    return tmp_path / "results"


def blocks(text: str) -> dict[str, object]:
    """The JSON of the data blocks by their ids."""
    return {
        one.attributes["id"]: json.loads(one.text)
        for one in htmlelements.parse(text)
        if one.attributes.get("type") == "application/json"
    }


def rows(text: str, **of: str) -> list[list[str]]:
    """The entries of the table rows inside elements with these attributes."""
    found: dict[int, list[str]] = {}
    for one in htmlelements.parse(text):
        line = next((p for p in reversed(one.parents) if p.tag == "tr"), None)
        if one.tag in {"td", "th"} and line is not None and one.inside(**of):
            found.setdefault(id(line), []).append(one.words)
    return list(found.values())


def test_the_same_results_give_the_same_bytes(results, tmp_path):
    pageresults.write(tmp_path / "elsewhere" / "results")
    first, second = html(results), html(tmp_path / "elsewhere" / "results")
    assert first == second
    assert str(tmp_path) not in first
    assert str(Path(__file__).parent.parent) not in first


def test_no_moment_stands_in_it(results):
    """Neither of writing nor of measuring; records have theirs."""
    assert not re.search(r"20\d\d-\d\d-\d\d", html(results))


def test_the_order_in_which_results_are_read_does_not_matter(results):
    papers = [paper.load(name) for name in paper.names()]
    records = record.read_all(results)

    def document(records):
        return page.document(papers, records, [], leaderboard.standings(papers, records, []), [])

    assert document(records) == document(records[::-1])


def test_leaderboards_are_those_of_the_markdown(results):
    text = generated.shared(results)[leaderboard.path(results)].decode()
    wanted = [
        [re.sub(r"\[(\w+)\]\(.*\)", r"\1", entry.strip()) for entry in line.strip("|").split("|")]
        for line in text.splitlines()
        if line.startswith("| ")
    ]
    assert len(wanted) == 4
    assert rows(html(results), id="boards") == wanted


def test_published_numbers_stand_apart(results):
    write(results, *(pageresults.on_vid4(one) for one in record.read_all(results)))
    text = html(results)
    published = rows(text, **{"class": "sortable published"})
    markdown = generated.shared(results)[leaderboard.path(results)].decode()
    notes = re.findall(
        r"^Published only: (\w+), (.*): (\S+) / (\S+), not measured.*source (\S+)",
        markdown,
        re.MULTILINE,
    )
    assert len(notes) > 0
    assert [tuple(row) for row in published[1:]] == notes


def test_marks_lead_to_footnotes(tmp_path):
    other = [clip("pan", scores([50.0] * 9), gt_sha256="other")]
    usual = [clip("pan", scores([25.0] * 9))]
    write(
        tmp_path,
        made(usual, checkpoint="a"),
        made(usual, checkpoint="b"),
        made(other, checkpoint="c"),
    )
    text = html(tmp_path)
    elements = htmlelements.parse(text)
    ids = {one.attributes.get("id"): one for one in elements}
    marks = [one for one in elements if one.tag == "a" and one.words.startswith("[")]
    targets = [ids[one.attributes["href"].removeprefix("#")].words for one in marks]
    assert any("other GT frames" in target for target in targets)
    assert any("not separable" in target for target in targets)


def test_every_cell_of_every_paper_is_there():
    papers = [paper.load(name) for name in paper.names()]
    judged = [
        (chosen.name, one)
        for chosen in papers
        for one in tables.judge_all(chosen, record.read_all(COMMITTED, chosen.name))
    ]
    header, *found = rows(html(COMMITTED), id="cells")
    assert len(found) == len(judged) > 100
    for row, (name, one) in zip(found, judged, strict=True):
        entries = dict(zip(header[:5], row[:5], strict=True))
        assert entries["paper"] == name
        assert entries["row"] == " ".join(one.cell.row.split())
        assert entries["verdict"].startswith(one.verdict)
        assert row[5].rstrip("†") == (one.cell.psnr or "-")
        assert row[6].startswith(tables.measured(one)[0] or "-")
        assert row[7] == (tables.difference(one)[0] or "-")
        assert row[10] == (tables.difference(one)[1] or "-")
        assert row[11].startswith(one.cell.protocol or "not stated")
        assert row[12].startswith(one.cell.source)
    assert Counter(row[4].split()[0] for row in found)["reproduced"] > 0


def test_numbers_from_memory_are_marked(toy, tmp_path):
    found = [row for row in rows(html(tmp_path), id="cells") if "†" in row[5]]
    assert len(found) == sum(1 for cell in toy.cells if not cell.verified and cell.psnr) > 0


@pytest.mark.parametrize("committed", [True, False])
def test_every_measured_number_is_there(results, committed):
    """Of every frame of every clip under every protocol, and every mean, with its record."""
    where = COMMITTED if committed else results
    found = blocks(html(where))
    curves = [one for name, one in found.items() if name.startswith("data-curves-")]
    methods = {method["file"]: (one, method) for one in curves for method in one["methods"]}
    records = record.read_all(where)
    assert records
    for one in records:
        shown, method = methods[panel.record_file(one)]
        told = found["data-panels"][panel.record_file(one)]
        for name, protocol in one.protocols.items():
            psnr, ssim = one.mean(name)
            (line,) = [line for line in told["scores"] if line["name"] == name]
            assert line["hash"] == protocol.hash
            assert (line["psnr"], line["ssim"]) == (psnr.text(), ssim.text())
            for each in one.clips:
                place = shown["clips"].index(each.clip)
                scored = each.scores[name]
                assert method["psnr"][name][place] == units(scored.numbers())
                assert method["ssim"][name][place] == units(scored.ssim)
                means = [mean.value for mean in one.mean(name, each.clip)]
                assert method["means"][name][place] == units(means)


def units(values):
    return [int(f"{value:.4f}".replace(".", "")) for value in values]


def test_every_link_leads_to_a_file(results):
    for name in paper.names():
        for file, content in generated.of_paper(results, paper.load(name)).items():
            file.parent.mkdir(parents=True, exist_ok=True)
            file.write_bytes(content)
    for where in (results, COMMITTED):
        elements = htmlelements.parse(html(where))
        ids = {one.attributes.get("id") for one in elements}
        links = [one.attributes["href"] for one in elements if "href" in one.attributes]
        assert len(links) > 50
        for link in links:
            if link.startswith("#"):
                assert link[1:] in ids, link
            elif link != "data:,":  # the icon that is none
                assert (where / unquote(link)).is_file(), link


def test_nothing_is_loaded_from_anywhere(results):
    for one in htmlelements.parse(html(results)):
        assert not {"src", "srcset", "action", "data"} & set(one.attributes)
        assert one.tag not in {"iframe", "object", "embed", "base"}
        assert "://" not in one.attributes.get("href", "")
        assert not any(name.startswith("on") for name in one.attributes)
    for file in ASSETS.glob("page*.css"):
        assert not re.search(r"url\(|@import", file.read_text(encoding="utf-8"))


def test_the_policy_lets_its_own_scripts_run_and_no_other(results):
    elements = htmlelements.parse(html(results))
    (policy,) = [one.attributes["content"] for one in elements if "http-equiv" in one.attributes]
    scripts = [
        one.text
        for one in elements
        if one.tag == "script" and one.attributes.get("type") != "application/json"
    ]
    digests = [
        base64.b64encode(hashlib.sha256(text.encode()).digest()).decode() for text in scripts
    ]
    assert len(scripts) == 2
    assert re.findall(r"'sha256-([^']+)'", policy) == digests
    assert policy.startswith("default-src 'none'; img-src data: blob:;")
    assert "unsafe" not in policy.partition("script-src")[2]


@pytest.mark.parametrize("file", sorted(ASSETS.glob("*.js")), ids=lambda file: file.name)
def test_scripts_take_text_for_text(file):
    text = file.read_text(encoding="utf-8")
    banned = r"innerHTML|outerHTML|insertAdjacentHTML|document\.write|\beval\b|new Function|fetch\("
    assert not re.search(banned, text)
    assert "</script" not in text.lower()
    assert text in html(COMMITTED)  # every file is used
    assert len(text.splitlines()) < 350


def test_markup_in_records_stays_text(tmp_path):
    pageresults.write_hostile(tmp_path)
    text = html(tmp_path)
    elements = htmlelements.parse(text)
    assert not [one for one in elements if one.tag == "img"]
    assert not [one for one in elements if "onerror" in one.attributes]
    scripts = [one for one in elements if one.tag == "script"]
    kinds = Counter(one.attributes.get("type", "") for one in scripts)
    assert kinds["module"] == kinds[""] == 1
    assert "harmed=1</script" not in text
    for one in scripts:
        if one.attributes.get("type") == "application/json":
            assert not set("<>&\u2028\u2029") & set(one.text)
    found = blocks(text)
    assert found["data-curves-0"]["methods"][0]["name"] == f"own {pageresults.NAME}"
    assert pageresults.HOSTILE in found["data-curves-0"]["clips"]
    board = [one for one in elements if one.tag == "td" and one.inside(id="boards")]
    assert pageresults.NAME in [one.words for one in board]


def test_markup_in_papers_stays_text(toy, tmp_path):
    """Wherever a paper may say something, with code between backticks."""
    said = "`a<b` & " + pageresults.HOSTILE
    first, *others = toy.cells
    cell = msgspec.structs.replace(first, row=said, note=said)
    toy.cells[:] = [cell, *others]
    for name, source in toy.sources.items():
        toy.sources[name] = msgspec.structs.replace(source, where=said, note=said)
    changed = msgspec.structs.replace(toy, title=said)
    text = page.document([changed], [], [], [], []).decode()
    elements = htmlelements.parse(text)
    assert not [one for one in elements if one.tag == "img"]
    assert "a<b" in [one.text for one in elements if one.tag == "code"]
    assert [one.words for one in elements if one.tag == "h3"] == [said]
    assert pageresults.HOSTILE in next(one.text for one in elements if one.tag == "dd")
    row = rows(text, id="cells")[1]
    assert row[1] == said
    assert "a<b & </script>" in row[-1]


def test_incomplete_sets_have_no_number_to_sort_by(tmp_path):
    part = made([clip("pan", scores([25.0] * 9))], clip_count=4)
    write(tmp_path, part)
    text = html(tmp_path)
    cells = [one for one in htmlelements.parse(text) if one.tag == "td" and one.inside(id="boards")]
    (told,) = [one for one in cells if one.words == "1 of 4 clips"]
    assert told.attributes["data-sort"] == ""
    assert blocks(text)["data-costs"][0]["points"] == []


def test_what_has_other_gt_is_marked_in_curves_and_no_part_of_costs(tmp_path):
    """What was scored against other GT frames has a mean, but none that compares."""
    clips = [clip("pan", scores([25.0] * 9))]
    others = [clip("pan", scores([40.0] * 9), gt_sha256="others")]
    for checkpoint, shown in (("a", clips), ("b", clips), ("c", others)):
        write(tmp_path, made(shown, checkpoint=checkpoint))
    text = html(tmp_path)
    assert any("40.00" in row for row in rows(text, id="boards"))
    points = blocks(text)["data-costs"][0]["points"]
    assert [one["name"] for one in points] == ["toy a", "toy b"]
    methods = blocks(text)["data-curves-0"]["methods"]
    assert [one["name"] for one in methods] == ["toy a", "toy b", "toy c (other GT)"]


def test_pictures_are_those_of_the_results(results):
    gallery = blocks(html(results))["data-album-0"]
    labels = [image["label"] for image in gallery["images"]]
    assert labels == ["GT", "LR (nearest)", "tdan bix4", "edvr m-reds", "bicubic bicubic"]
    folder = results / "pictures/sample-bi/pan"
    for image, name in zip(gallery["images"], ("gt", "lr", "tdan-bix4"), strict=False):
        content = base64.b64decode(image["frame"].removeprefix("data:image/png;base64,"))
        assert content == (folder / f"{name}.png").read_bytes()
    assert gallery["images"][2]["file"] == "records/tdan/bix4/sample-bi.json"
    assert gallery["images"][1]["profile"] == ""
    assert (gallery["frame"], gallery["row"], gallery["frames"]) == (4, 70, 9)


def test_pictures_of_untrained_weights_say_so(results):
    (one,) = [each for each in pageresults.records(results) if each.paper == "tdan"]
    clips = [msgspec.structs.replace(c, restoring=dict([record.UNTRAINED])) for c in one.clips]
    write(results, msgspec.structs.replace(one, clips=clips))
    images = blocks(html(results))["data-album-0"]["images"]
    assert [image["label"] for image in images[2:4]] == ["tdan bix4 (untrained)", "edvr m-reds"]


def contrast(one: str, two: str) -> float:
    """WCAG's ratio of two colours of three or six hexadecimal digits."""

    def luminance(colour: str) -> float:
        digits = colour if len(colour) == 6 else "".join(2 * digit for digit in colour)
        parts = [int(digits[i : i + 2], 16) / 255 for i in (0, 2, 4)]
        linear = [p / 12.92 if p <= 0.04045 else ((p + 0.055) / 1.055) ** 2.4 for p in parts]
        return 0.2126 * linear[0] + 0.7152 * linear[1] + 0.0722 * linear[2]

    low, high = sorted((luminance(one), luminance(two)))
    return (high + 0.05) / (low + 0.05)


@pytest.mark.parametrize("theme", [0, 1], ids=["light", "dark"])
def test_colours_keep_their_contrast(theme):
    style = (ASSETS / "page.css").read_text(encoding="utf-8")
    pairs = re.findall(r"--([\w-]+): light-dark\(#(\w+), #(\w+)\)", style)
    colours = {name: both[theme] for name, *both in pairs}
    assert contrast("fff", "000000") == pytest.approx(21)
    for ground in ("back", "raised"):
        for name in ("text", "quiet", "link", "good", "bad"):
            assert contrast(colours[name], colours[ground]) >= 4.5, (name, ground)
    lines = [name for name in colours if name.startswith("colour-")]
    assert len(lines) == 8
    for name in ("edge", *lines):
        assert contrast(colours[name], colours["back"]) >= 3, name


def test_the_committed_page_is_fresh():
    assert (COMMITTED / "index.html").read_text(encoding="utf-8") == html(COMMITTED)
