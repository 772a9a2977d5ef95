"""Charts of the page in a real browser: curves over clips and frames, and quality against cost."""

from __future__ import annotations

import pageresults
import pytest
from browser import NARROW, WIDE
from measured import clip, made, scores, write
from pageresults import written

pytestmark = pytest.mark.browser


def test_curves_follow_their_controls(visit, site):
    page = visit(site)
    (one,) = [each for each in pageresults.records(site.parent) if each.paper == "edvr"]
    form = page.locator("#curve-controls")
    form.get_by_role("combobox", name="Clip", exact=True).select_option(label="pan")
    form.get_by_role("combobox", name="Protocol", exact=True).select_option("rgb-crop0")
    plot = page.locator("#curve-chart .plot")
    plot.focus()
    page.keyboard.press("Home")
    page.keyboard.press("ArrowRight")
    pan = one.clip("pan")
    tip = page.locator("#curve-chart .tip")
    assert "frame 1" in tip.inner_text()
    assert f"edvr m-reds: {pan.scores['rgb-crop0'].psnr[1]:.4f}" in tip.inner_text()
    page.keyboard.press("Escape")
    assert tip.is_hidden()
    plot.hover(position={"x": plot.bounding_box()["width"] - 20, "y": 50})
    assert "frame 8" in tip.inner_text()

    form.get_by_role("combobox", name="Measure", exact=True).select_option("ssim")
    page.open_all()
    first = page.locator("#curve-chart tbody tr").first.inner_text().split()
    assert f"{pan.scores['rgb-crop0'].ssim[0]:.4f}" in first

    form.get_by_role("combobox", name="Clip", exact=True).select_option("")
    page.open_all()
    row = page.locator("#curve-chart tbody tr").filter(has_text="pan").inner_text().split()
    assert f"{one.mean('rgb-crop0', 'pan')[1].value:.4f}" in row

    button = page.locator("#curve-chart .legend button").first
    lines = page.locator("#curve-chart .line:not(.legend .line)")
    assert lines.count() == 3
    button.click()
    assert button.get_attribute("aria-pressed") == "false"
    assert lines.count() == 2


def test_identical_frames_are_gaps_that_can_be_read(visit, tmp_path):
    psnr = ["inf", 25.0, "inf", 26.0, "inf"]
    write(tmp_path, made([clip("pan", scores(psnr)), clip("zoom", scores(["inf"] * 5))]))
    page = visit(written(tmp_path))
    plot = page.locator("#curve-chart .plot")
    tip = page.locator("#curve-chart .tip")
    width = plot.bounding_box()["width"]
    page.locator("#curve-controls [name=clip]").select_option(label="pan")
    plot.locator("svg").wait_for()
    for key, said in (("Home", "frame 0"), ("End", "frame 4")):
        plot.focus()
        page.keyboard.press(key)
        assert tip.inner_text().split("\n") == [said, "toy good: identical frames"]
        guide = page.locator("#curve-chart .guide").get_attribute("d")
        assert 0 < float(guide[1:].split()[0]) < width
    page.locator("#curve-controls [name=clip]").select_option("")
    plot.locator("svg").wait_for()
    plot.focus()
    page.keyboard.press("End")
    assert "toy good: identical frames (zoom)" in tip.inner_text()


def test_thousands_of_clips_stay_usable(visit, tmp_path):
    results = tmp_path / "results"
    write(results, *(pageresults.vimeo(name, level) for name, level in (("a", 34.0), ("b", 35.0))))
    file = written(results)
    assert file.stat().st_size < 2_000_000
    page = visit(file)
    assert page.locator("#curve-controls [name=clip] option").count() == 1  # centre frames only
    assert page.locator("#curve-chart path").count() < 200
    longest = page.locator("#curve-chart .line").evaluate_all(
        "all => Math.max(...all.map(p => p.getAttribute('d').split('L').length))"
    )
    assert 200 < longest <= WIDE
    page.open_all()
    rows = page.locator("#curve-chart tbody tr")
    rows.first.wait_for()
    assert rows.count() == 50
    assert "rows 1 to 50 of 7824" in page.locator("#curve-chart .pages").inner_text()
    page.get_by_role("button", name="Next rows").click()
    assert rows.first.locator("th").inner_text() == "00000/0050"
    page.locator("#curve-chart thead button").nth(1).click()
    one = pageresults.vimeo("b", 35.0)
    worst = min(clip.scores["fixed-centre"].psnr[0] for clip in one.clips)
    assert f"{worst:.4f}" in rows.first.inner_text()


def test_costs_are_drawn_by_device(visit, site):
    page = visit(site)
    titles = page.texts("#cost-charts h3")
    assert titles == [
        "Time of a frame at 10x20 on amd-epyc-1-thread",
        "Time of a frame at 10x20 on nvidia-h200",
        "Parameters",
    ]
    page.locator("#cost-charts .plot").nth(1).focus()
    page.keyboard.press("ArrowRight")
    assert page.locator("#cost-charts .tip").nth(1).inner_text() == "tdan bix4: 26.62 dB, 4 ms"
    page.open_all()
    rows = page.texts("#cost-charts article:first-child tbody tr")
    assert rows == ["edvr m-reds 900 27.35", "tdan bix4 410 26.62"]


@pytest.mark.parametrize("width", [NARROW, WIDE])
def test_every_axis_has_a_scale(visit, site, width):
    """One label alone says nothing of how far two points are apart."""
    page = visit(site, width=width)
    charts = page.locator(".plot svg")
    assert charts.count() == 4
    for chart in charts.all():
        anchors = chart.locator("text:not(.title)").evaluate_all(
            "texts => texts.map(text => text.getAttribute('text-anchor'))"
        )
        assert anchors.count("middle") >= 2
        assert anchors.count("end") >= 2


def test_leaderboards_without_ranks_have_nothing_to_draw(visit, tmp_path):
    write(tmp_path, made([clip("pan", scores([25.0] * 9))], clip_count=4))
    page = visit(written(tmp_path))
    said = page.texts("#cost-charts")
    assert said == ["Nothing to draw: no method has a rank on this leaderboard."]
