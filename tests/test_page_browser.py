"""The page as a whole in a real browser, from disk: safe, readable and reachable for everyone."""

from __future__ import annotations

from pathlib import Path
from urllib.parse import unquote, urlsplit

import pageresults
import pytest
from browser import NARROW, WIDE
from measured import write
from pageresults import written

pytestmark = pytest.mark.browser

LOAD = """url => new Promise(done => {
    const image = new Image();
    image.onload = image.onerror = done;
    image.src = url;
})"""

BACK = "() => getComputedStyle(document.body).backgroundColor"


def test_a_request_would_be_seen_and_is_refused(visit, site, tmp_path, server):
    """The watch of the other tests sees something, and the page's own policy stops it."""
    address = server.put("/x.png", b"")
    page = visit(site)
    page.evaluate(f"({LOAD})({address!r})")
    assert page.foreign == [address]
    assert any("Content Security Policy" in problem for problem in page.problems)
    assert server.count("/x.png") == 0
    free = tmp_path / "free.html"
    free.write_text("<!doctype html><title>no policy</title>")
    other = visit(free)
    other.evaluate(f"({LOAD})({address!r})")
    assert server.count("/x.png") == 1
    for seen in (page, other):
        seen.requests.clear()
        seen.problems.clear()


def test_places_inside_the_page_exist(visit, site):
    page = visit(site)
    missing = page.evaluate(
        "[...document.querySelectorAll('a[href^=\"#\"]')].map(a => a.getAttribute('href').slice(1))"
        ".filter(id => !document.getElementById(id))"
    )
    assert missing == []
    source = page.locator("#cells tbody a[href^='#source-']").first
    source.click()
    target = page.locator(source.get_attribute("href"))
    assert target.is_visible()  # though its list was closed


def test_an_address_that_ends_in_anything_harms_nothing(visit, site):
    page = visit(site)
    page.goto(f"{site.as_uri()}#50%")
    page.reload()
    assert page.locator("#curve-chart svg[role=img]").count() == 1


def test_the_theme_follows_the_system_and_the_switch(visit, site, chromium):
    page = visit(site, color_scheme="light")
    light = page.evaluate(BACK)
    assert light == "rgb(255, 255, 255)"
    page.emulate_media(color_scheme="dark")
    dark = page.evaluate(BACK)
    assert dark != light
    page.get_by_label("Colours").select_option("light")
    assert page.evaluate(BACK) == light
    page.reload()
    assert page.evaluate(BACK) == light  # it is remembered
    assert page.get_by_label("Colours").input_value() == "light"
    page.get_by_label("Colours").select_option("system")
    assert page.evaluate(BACK) == dark
    page.reload()
    assert page.evaluate(BACK) == dark


def test_paper_is_light_whatever_the_screen_is(visit, site):
    text = "getComputedStyle(document.body).color"
    page = visit(site, color_scheme="light")
    dark = page.evaluate(text)
    for scheme, theme in (("light", "dark"), ("dark", "dark"), ("dark", "system")):
        page.emulate_media(media="screen", color_scheme=scheme)
        page.get_by_label("Colours").select_option(theme)
        assert page.evaluate(text) != dark
        page.emulate_media(media="print", color_scheme=scheme)
        assert page.evaluate(text) == dark


def test_it_works_where_nothing_can_be_remembered(visit, site, chromium):
    context = chromium.new_context(color_scheme="light")
    context.add_init_script(
        "Object.defineProperty(window, 'localStorage', {get() { throw new Error('none here') }})"
    )
    page = visit(site, context=context)
    before = page.evaluate(BACK)
    page.get_by_label("Colours").select_option("dark")
    assert page.evaluate(BACK) != before
    context.close()


def test_it_moves_nothing_where_that_is_not_wanted(visit, site):
    page = visit(site, reduced_motion="reduce")
    how = "getComputedStyle(document.documentElement).scrollBehavior"
    assert page.evaluate(how) == "auto"
    page.emulate_media(reduced_motion="no-preference")
    assert page.evaluate(how) == "smooth"


@pytest.mark.parametrize("width", [NARROW, WIDE])
def test_the_page_never_scrolls_sideways(visit, site, width):
    page = visit(site, width=width)
    page.open_all()
    assert page.overflow() <= 0
    page.locator("#boards a.number").first.click()
    assert page.overflow() <= 0
    wide = page.locator("dialog").evaluate("d => d.scrollWidth - d.clientWidth")
    assert wide <= 0


def test_the_keyboard_reaches_the_results_first(visit, site):
    page = visit(site)
    page.keyboard.press("Tab")
    focused = "document.activeElement.textContent.trim()"
    assert page.evaluate(focused) == "Skip to the results"
    page.keyboard.press("Enter")
    assert page.evaluate("document.activeElement.id") == "main"
    page.keyboard.press("Tab")
    assert page.evaluate("document.activeElement.name") == "text"
    outline = "getComputedStyle(document.activeElement).outlineStyle"
    assert page.evaluate(outline) == "solid"


def test_everything_has_a_name(visit, site):
    """Controls have labels, pictures texts, tables captions and heads with a scope."""
    page = visit(site)
    page.open_all()
    lacking = page.evaluate(
        """() => [
            ...[...document.querySelectorAll("input, select")].filter(e => !e.labels.length),
            ...[...document.querySelectorAll("img")].filter(e => !e.alt),
            ...[...document.querySelectorAll("canvas, svg[role=img], [role=region], [role=group]")]
                .filter(e => !e.hasAttribute("aria-label") && !e.hasAttribute("aria-labelledby")),
            ...[...document.querySelectorAll("table")].filter(e => !e.caption),
            ...[...document.querySelectorAll("th")].filter(e => !e.scope),
            ...[...document.querySelectorAll("button")].filter(e => !e.textContent.trim()),
        ].map(e => e.outerHTML.slice(0, 120))"""
    )
    assert lacking == []
    assert page.get_by_role("main").count() == 1
    assert page.get_by_role("navigation").count() == 1
    assert page.locator("h1").count() == 1


def test_without_scripts_all_tables_are_there(visit, site, chromium):
    context = chromium.new_context(java_script_enabled=False)
    page = context.new_page()
    page.goto(site.as_uri())
    assert page.locator("#boards tbody tr").count() == 3
    assert page.locator("noscript p").is_visible()
    assert page.locator("#boards a.number").first.get_attribute("href").startswith("records/")
    context.close()


def test_without_pictures_and_without_anything(visit, tmp_path):
    results = tmp_path / "results"
    write(results, pageresults.vimeo("a", 30.0, 3))
    page = visit(written(results))
    assert "bench run PAPER --save-frames DIR" in page.locator("#pictures").inner_text()
    assert "bench latency" in page.locator("#costs").inner_text()
    page = visit(written(tmp_path / "empty"))
    assert "Nothing was measured yet" in page.locator("#boards").inner_text()
    assert "bench run" in page.locator("#curves").inner_text()
    assert page.overflow() <= 0


def test_text_of_records_and_papers_is_only_text(visit, tmp_path):
    results = tmp_path / "results"
    pageresults.write_hostile(results)
    page = visit(written(results))
    assert page.evaluate("window.harmed") is None
    assert pageresults.NAME in page.locator("#boards").inner_text()
    assert pageresults.NAME in page.locator("#curve-chart .legend").inner_text()
    page.locator("#boards a.number").first.click()
    assert pageresults.HOSTILE in page.get_by_role("dialog").inner_text()
    page.keyboard.press("Escape")
    link = page.locator("#boards a.number").first.evaluate("link => link.href")
    assert Path(unquote(urlsplit(link).path)).is_file()
    page.locator("#curve-controls [name=clip]").select_option("")
    page.open_all()
    assert pageresults.HOSTILE in page.locator("#curve-chart table").inner_text()
    assert page.evaluate("window.harmed") is None


def test_the_committed_page(visit):
    page = visit(Path(__file__).parent.parent / "results/index.html")
    assert page.locator("#boards tbody tr").count() > 0
    assert page.locator("#curve-chart svg[role=img]").count() == 1
