#!/usr/bin/env python3
"""Pages that `impresario simulate --report` wrote, opened in Chromium.

Usage: report.py PAGE.html [FOLDER]    with a folder, a screenshot of each view is left there.
Prints a line for each check that holds, and ends with 1 at the first that does not.
"""

import pathlib
import shutil
import sys

from playwright.sync_api import sync_playwright

PAGE = pathlib.Path(sys.argv[1]).resolve()
SHOTS = pathlib.Path(sys.argv[2]) if len(sys.argv) > 2 else None
CHROMIUM = shutil.which("chromium") or shutil.which("chromium-browser")
WIDTHS = {"desktop": 1280, "mobile": 390}

# Words outside every frame that scrolls by itself, beyond the right edge of the window.
BEYOND = """() => [...document.querySelectorAll("body *")]
    .filter((it) => !it.closest(".scroll, svg, .tip") && it.getBoundingClientRect().right > innerWidth + 0.5)
    .map((it) => `${it.tagName}.${it.className}: ${it.textContent.slice(0, 40)}`)"""

# Words of a plot that lie on others of it.
OVERLAPPING = """() => [...document.querySelectorAll(".plot")].flatMap((plot) => {
    const all = [...plot.querySelectorAll("b")].map((it) => [it.textContent, it.getBoundingClientRect()]);
    const meet = (a, b) => a.left < b.right && b.left < a.right && a.top < b.bottom - 1 && b.top < a.bottom - 1;
    return all.flatMap(([one, a], at) => all.slice(at + 1).filter(([, b]) => meet(a, b)).map(([two]) => `${one} ${two}`));
})"""

# Labels of an x axis that lie on others, or are out of sight where there are so few that all have room.
CROWDED = """() => [...document.querySelectorAll(".plot")].flatMap((plot) => {
    const labels = [...plot.querySelectorAll("i.x")];
    const seen = labels.filter((it) => it.getClientRects().length).map((it) => [it.textContent, it.getBoundingClientRect()]);
    const hidden = labels.length <= 4 && seen.length < labels.length ? ["a label is hidden"] : [];
    return hidden.concat(seen.slice(1).filter(([, b], at) => b.left < seen[at][1].right - 0.5).map(([text]) => text));
})"""

# The least contrast of any text with what is behind it; WCAG asks for 4.5.
CONTRAST = """() => {
    const parts = (color) => color.match(/[\\d.]+/g).map(Number);
    const light = ([r, g, b]) => {
        const of = (c) => (c /= 255) <= 0.03928 ? c / 12.92 : ((c + 0.055) / 1.055) ** 2.4;
        return 0.2126 * of(r) + 0.7152 * of(g) + 0.0722 * of(b);
    };
    const behind = (it) => {
        for (; it; it = it.parentElement) {
            const color = getComputedStyle(it).backgroundColor;
            if (color.startsWith("rgb") && (parts(color)[3] ?? 1) === 1) return parts(color);
        }
        return [255, 255, 255];
    };
    let least = [99, ""];
    for (const it of document.querySelectorAll("body *:not(script):not(svg *)")) {
        const own = [...it.childNodes].some((node) => node.nodeType === 3 && node.data.trim());
        if (!own || !it.getClientRects().length) continue;
        const [a, b] = [light(parts(getComputedStyle(it).color)), light(behind(it))];
        const ratio = (Math.max(a, b) + 0.05) / (Math.min(a, b) + 0.05);
        if (ratio < least[0]) least = [ratio, it.textContent.slice(0, 40)];
    }
    return least;
}"""


def opened(browser, width, scheme, script):
    """The page in a window of its own, and what it complained about or asked for."""
    context = browser.new_context(
        viewport={"width": WIDTHS[width], "height": 900}, color_scheme=scheme, java_script_enabled=script
    )
    page = context.new_page()
    told = []
    page.on("console", lambda message: told.append(f"console: {message.text}"))
    page.on("pageerror", lambda error: told.append(f"error: {error}"))
    page.on("request", lambda it: told.append(f"request: {it.url}") if it.url != PAGE.as_uri() else None)
    page.goto(PAGE.as_uri())
    if SHOTS:
        name = f"{width}-{scheme}{'' if script else '-no-script'}.png"
        page.screenshot(path=SHOTS / name, full_page=True)
    return page, told


def each_view_is_quiet_and_fits(browser):
    for width in WIDTHS:
        for scheme in ("light", "dark"):
            page, told = opened(browser, width, scheme, True)
            assert told == [], told
            assert page.evaluate("document.documentElement.scrollWidth") <= WIDTHS[width], page.evaluate(BEYOND)
            hidden = "[...document.querySelectorAll('.pair .scroll, .words .scroll')].some(it => it.scrollWidth > it.clientWidth)"
            assert not page.evaluate(hidden), f"{width}: a column of the limits or of words is out of sight"
            assert page.evaluate(BEYOND) == [], page.evaluate(BEYOND)
            assert page.evaluate(OVERLAPPING) == [], page.evaluate(OVERLAPPING)
            assert page.evaluate(CROWDED) == [], f"{width}: {page.evaluate(CROWDED)}"
            ratio, text = page.evaluate(CONTRAST)
            assert ratio >= 4.5, f"{scheme}: contrast {ratio:.2f} of {text!r}"
            page.context.close()


def without_script_all_words_and_charts_are_there(browser):
    page, told = opened(browser, "desktop", "light", False)
    assert told == [], told
    for selector in ("h1", ".verdict strong", "figure.chart svg .grid", "main table:visible", "footer"):
        assert page.locator(selector).first.is_visible(), selector
    # A chart's figures open without a script, too.
    page.locator("figure.chart summary").first.click()
    assert page.locator("figure.chart td").first.is_visible()
    page.context.close()


def every_chart_has_a_title_and_a_table(browser):
    page, _ = opened(browser, "desktop", "light", True)
    charts = page.locator("figure.chart")
    assert charts.count() >= 4, charts.count()
    for chart in charts.all():
        assert chart.locator("svg[role=img] > title").text_content().strip()
        assert chart.locator("tbody tr").count() > 0
        assert chart.locator("i.x").count() > 1 and chart.locator("i.y").count() > 1
    ids = page.evaluate("[...document.querySelectorAll('[id]')].map((it) => it.id)")
    assert len(ids) == len(set(ids)), ids
    page.context.close()


def the_pointer_shows_the_figures_of_the_table(browser):
    page, told = opened(browser, "desktop", "light", True)
    plot = page.locator("figure.chart .plot").first
    plot.hover()
    tip = plot.locator(".tip")
    assert tip.is_visible() and ":" in tip.inner_text(), tip.inner_text()
    page.mouse.move(1, 1)
    assert not tip.is_visible() and told == [], told
    page.context.close()


def it_prints_with_dark_words_on_white(browser):
    page, _ = opened(browser, "desktop", "dark", True)
    page.emulate_media(media="print", color_scheme="dark")
    assert page.evaluate("getComputedStyle(document.body).backgroundColor") == "rgb(255, 255, 255)"
    assert page.evaluate("getComputedStyle(document.body).color") == "rgb(0, 0, 0)"
    assert page.evaluate(CONTRAST)[0] >= 4.5, page.evaluate(CONTRAST)
    assert len(page.pdf(format="A4")) > 10_000
    page.context.close()


CHECKS = [
    each_view_is_quiet_and_fits,
    without_script_all_words_and_charts_are_there,
    every_chart_has_a_title_and_a_table,
    the_pointer_shows_the_figures_of_the_table,
    it_prints_with_dark_words_on_white,
]

assert PAGE.stat().st_size <= 400_000, PAGE.stat().st_size
with sync_playwright() as playwright:
    # No sandbox: where tests run as root there is none, and the page is our own.
    browser = playwright.chromium.launch(executable_path=CHROMIUM, args=["--no-sandbox"])
    for check in CHECKS:
        check(browser)
        print(f"ok: {check.__name__.replace('_', ' ')}")
    browser.close()
