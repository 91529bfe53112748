"""Opens the pages of reports/tests/browser.rs in a browser and does what readers do. Usage: drive.py DRIVER CHROMIUM FOLDER PICTURES MOST_MS

Every check ends with a look at the console and at the requests: the page must write nothing into the one and make none of the other.
"""

import json
import pathlib
import statistics
import sys
import urllib.parse
from functools import partial

from webdriver import browser


class Page:
    """One report in the browser."""

    def __init__(self, window, folder, name):
        self.window = window
        self.folder = folder / name
        self.address = (folder / name / "index.html").as_uri()

    def open(self, fragment=""):
        # Another document first: a change of the fragment alone would not load the page again.
        self.window.open("about:blank")
        self.window.log("browser"), self.window.log("performance")
        self.window.open(self.address + fragment)
        self.window.wait_for("window.Report?.isReady", "the page's scripts")

    def quiet(self):
        """No message in the console, no request but for the page itself."""
        messages = [entry["message"] for entry in self.window.log("browser")]
        assert not messages, messages
        sent = [json.loads(entry["message"])["message"] for entry in self.window.log("performance")]
        addresses = {one["params"]["request"]["url"] for one in sent if one["method"] == "Network.requestWillBeSent"}
        strange = [address for address in addresses if urllib.parse.urldefrag(address)[0] != self.address and not address.startswith(("data:", "about:"))]
        assert not strange, strange

    def shown(self):
        return self.window.run("return Report.shown")

    def fragment(self):
        return urllib.parse.parse_qs(self.window.run("return location.hash.slice(1)"))

    def count(self, column, value):
        """Cells with that value, counted without the page's filters."""
        script = "const c = Report.data.cells; let n = 0; for (let r = 0; r < c.rows; r++) n += c.key(arguments[0], r) === arguments[1]; return n"
        return self.window.run(script, column, value)

    def tick(self, facet, word):
        script = "return [...document.querySelectorAll(`[data-facet='${arguments[0]}'] label`)].findIndex((one) => one.querySelector('.word').textContent === arguments[1])"
        place = self.window.run(script, facet, word)
        assert place >= 0, (facet, word)
        self.window.click(f"[data-facet='{facet}'] label:nth-child({place + 1}) input")

    def choose(self, selector, value):
        script = "const s = document.querySelector(arguments[0]); s.value = arguments[1]; s.dispatchEvent(new Event('change'))"
        self.window.run(script, selector, value)


def opens_with_the_answer(page):
    page.open()
    window = page.window
    assert "1,500 cells of 1 run" in window.text("#summary"), window.text("#summary")
    assert window.text("#title") == "Crossover report: attention-quick"
    first = window.text("#answer-body tbody td")
    assert first.startswith("from n = "), first
    assert "1,500" in window.text("#cells-body")
    links = window.run("return [...document.querySelectorAll('#links a')].map((one) => one.getAttribute('href'))")
    assert "summary.md" in links and "cells.csv" in links, links
    # Nothing is wider than the window, so nothing scrolls sideways but tables.
    assert window.run("return document.documentElement.scrollWidth <= innerWidth")


def the_answer_is_the_summarys(page):
    """The same variants in the same order, family by family, as in summary.md."""
    page.open()
    summary = (page.folder / "summary.md").read_text(encoding="utf-8").split("## What pays, and from where on")[1].split("How to read it")[0]
    lines = [line.split("|") for line in summary.splitlines() if line.startswith("| ") and not line.startswith(("| variant", "| ---"))]
    told = [line[1].strip() for line in lines]
    shown = page.window.run("return [...document.querySelectorAll('#answer-body tbody td:nth-child(2) strong')].map((one) => one.textContent)")
    assert told == shown and len(shown) > 5, (told, shown)


def a_narrow_window_has_time_and_error_in_sight(page):
    page.window.size(390, 900)
    page.open()
    script = """
        const within = (one) => { const box = one.getBoundingClientRect(); return box.width > 0 && box.left >= 0 && box.right <= innerWidth; };
        return ['time', 'error', 'variant'].map((name) => [...document.querySelectorAll(`#answer-body td[data-label='${name}']`)]).every((all) => all.length > 0 && all.every(within))"""
    assert page.window.run(script)
    page.window.size(1280, 900)


def the_first_chart_is_of_one_family(page):
    page.open()
    window = page.window
    families = "return [...new Set(Report.chart.placed().map(([, , row]) => Report.data.cells.text('family', row)))]"
    assert window.run(families) == ["attention"] and page.shown() == 1500
    labels = window.run("return Report.chart.instance().getOption().xAxis[0].axisLabel.customValues")
    assert labels == [32, 64, 128, 256, 512, 1024, 2048], labels
    keys = "[...document.querySelectorAll('#key button')]"
    selected = "return Object.values(Report.chart.instance().getOption().legend[0].selected ?? {}).filter((one) => !one).length"
    window.run(f"{keys}[0].click()")
    assert window.run(selected) == 1 and window.run(f"return {keys}[0].getAttribute('aria-pressed')") == "false"
    window.click("#chart-note a")
    assert sorted(window.run(families)) == ["attention", "ffn", "linear"] and page.fragment() == {"view": ["ratio"]}


def what_limits_the_figures_stands_on_top(page):
    page.open()
    told = page.window.text("#warnings")
    assert "noise was not measured, 5.00 % are taken for its floor" in told and "only 20 of 600 planned cells are finished" in told, told


def the_answer_leads_to_its_cells(page):
    page.open()
    line = page.window.text("#answer-body tbody td:nth-child(2)")
    page.window.click("#answer-body tbody td a")
    fragment = page.fragment()
    assert fragment["view"] == ["ratio"] and fragment["x"] == ["axis:n"] and fragment["variant"][0] in line, (fragment, line)
    assert 0 < page.shown() < 1500
    page.open()
    page.window.click("#answer-body tbody td:nth-child(4) a")
    assert page.window.text("#detail-title").startswith("attention/"), page.window.text("#detail-title")


def filters_leave_what_they_say(page):
    page.open()
    window = page.window
    page.tick("engine", "simd")
    assert page.shown() == page.count("engine", "simd") > 0
    page.tick("status", "oom")
    assert 0 < page.shown() < page.count("engine", "simd")
    statuses = window.run("return [...document.querySelectorAll('#cells-body tbody .failed')].map((one) => one.textContent)")
    assert statuses and set(statuses) == {"oom"}, statuses
    assert page.fragment() == {"engine": ["simd"], "status": ["oom"]}, page.fragment()
    page.tick("status", "oom")
    window.type("#filter-text", "low-rank")
    names = window.run("return [...document.querySelectorAll('#cells-body tbody th a')].map((one) => one.textContent)")
    assert names and all("low-rank" in name for name in names), names
    window.type("#filter-text", " nothing has this")
    assert page.shown() == 0 and "no cells" in window.text("#cells-body")
    window.run("document.querySelector('#filters .bar > button').click()")
    assert page.shown() == 1500


def axes_and_views_change_the_chart(page):
    page.open()
    window = page.window
    page.choose("#axis-y", "declared_bytes")
    page.choose("#axis-x", "axis:rank")
    page.choose("#axis-colour", "engine")
    assert window.run("return document.querySelector('#chart').getAttribute('aria-label')").startswith("Chart: declared memory over rank, by engine")
    window.click("#axis-logy")
    assert window.run("return Report.chart.instance().getOption().yAxis[0].type") == "value"
    for view in window.run("return [...document.querySelectorAll('#presets button')].map((one) => one.dataset.view)"):
        window.click(f"[data-view='{view}']")
        assert window.run("return Report.chart.placed().length") > 0, view
        assert page.fragment()["view"] == [view] and "x" not in page.fragment()
    assert view == "heatmap"
    window.click("[data-view='roofline']")
    peaks = window.run("return Report.chart.instance().getOption().series.filter((one) => one.type === 'line').length")
    assert peaks == 4, peaks


def a_link_restores_the_view(page):
    page.open("#engine=simd&engine=naive&family=ffn&view=memory&y=median_ns&sort=-median_ns&page=2&theme=dark&cell=0/00000001")
    window = page.window
    assert page.shown() == window.run("let n = 0; const c = Report.data.cells; for (let r = 0; r < c.rows; r++) n += c.key('family', r) === 'ffn' && ['simd', 'naive'].includes(c.key('engine', r)); return n") > 0
    assert window.run("return document.querySelector('#axis-y').value") == "median_ns"
    assert window.run("return document.documentElement.dataset.theme") == "dark"
    assert window.text("#cells-body .bar span").startswith("51 to 100 of"), window.text("#cells-body .bar span")
    assert window.run("return document.querySelector('[aria-sort=descending]').textContent").startswith("median time")
    assert window.text("#detail-title") == "attention/flash on naive"
    page.open("#engine=none-such&cell=0/none&x=none&page=900&sort=none&view=none")
    assert page.shown() == 0 and window.text("#detail-title") == "No such cell"


def back_and_forward_go_through_the_views(page):
    page.open()
    window = page.window
    page.tick("family", "ffn")
    ffn = page.shown()
    window.click("[data-view='pareto']")
    window.run("document.querySelector('#cells-body tbody a').click()")
    assert not window.run("return document.querySelector('#detail').hidden")
    window.back()
    window.wait_for("document.querySelector('#detail').hidden", "the detail to close")
    assert page.fragment() == {"family": ["ffn"], "view": ["pareto"]}
    window.back()
    window.back()
    window.wait_for("Report.shown === 1500", "all cells")
    window.forward()
    window.wait_for(f"Report.shown === {ffn}", "the filter again")
    assert window.run("return document.querySelector('[data-facet=family] input:checked').parentElement.querySelector('.word').textContent") == "ffn"


def a_point_leads_to_its_row_and_samples(page):
    page.open("#engine=simd&family=ffn&axis:precision=f32&view=pareto")
    window = page.window
    # A point that lies alone, so that the click cannot mean another.
    script = """
        const chart = Report.chart.instance(), all = Report.chart.placed().map(([x, y, row]) => [...chart.convertToPixel({ xAxisIndex: 0, yAxisIndex: 0 }, [x, y]), row]);
        return all.find(([x, y]) => all.filter(([a, b]) => Math.hypot(a - x, b - y) < 14).length === 1)"""
    x, y, row = window.run(script)
    window.run("document.querySelector('#chart').scrollIntoView({ block: 'center' })")
    window.point_at("#chart", x, y)
    window.wait_for("document.querySelector('#chart .tip')?.textContent.includes('[')", "a tooltip with an interval")
    variant = window.run("return Report.data.cells.text('variant', arguments[0])", row)
    assert variant in window.text("#chart .tip"), window.text("#chart .tip")
    window.click_at("#chart", x, y)
    window.wait_for("!document.querySelector('#detail').hidden", "the detail")
    assert window.text("#detail-title") == f"{variant} on simd"
    assert page.fragment()["cell"] == [window.run("return `0/${Report.data.cells.text('id', arguments[0])}`", row)]
    assert "All 12 samples" in window.text("#samples-note") and "1 rejected" in window.text("#samples-note"), window.text("#samples-note")
    command = window.text("#detail-command")
    assert command.startswith(f"crossover cell variant={variant} engine=simd ") and " n=" in command and "precision=f32" in command, command
    assert window.run("return document.activeElement.id") == "detail"
    # The declared baseline is a cell of its own.
    window.run("[...document.querySelectorAll('#detail dd a')].find((one) => one.textContent.includes('dense')).click()")
    assert "ffn/dense" in window.text("#detail-title")
    page.open("#cell=0/00000001")
    assert "60 of 300 samples" in window.text("#samples-note"), window.text("#samples-note")


def the_table_sorts_and_turns_pages(page):
    page.open("#engine=simd&status=ok")
    window = page.window
    place = "[...document.querySelectorAll('#cells-body thead button')].find((one) => one.textContent.startsWith('median time'))"
    window.run(f"{place}.click()")
    rows = "return [...document.querySelectorAll('#cells-body tbody th a')].map((one) => one.dataset.cell)"
    median = "return Report.data.cells.number('median_ns', Report.data.rowOf.get(arguments[0]))"
    times = [window.run(median, cell) for cell in window.run(rows)]
    assert len(times) == 50 and times == sorted(times)
    window.run(f"{place}.click()")
    last = [window.run(median, cell) for cell in window.run(rows)]
    assert last == sorted(last, reverse=True) and last[0] > times[-1]
    window.run("[...document.querySelectorAll('#cells-body button')].find((one) => one.textContent === 'Next').click()")
    assert window.run(median, window.run(rows)[0]) <= last[-1] and page.fragment()["page"] == ["2"]
    headings = window.run("return [...document.querySelectorAll('#cells-body thead th')].map((one) => one.textContent)")
    assert all(any(word in heading for heading in headings) for word in ("median", "declared memory", "error of the method")), headings


def all_can_be_done_by_keyboard(page):
    page.open()
    window = page.window
    window.press("Tab")
    assert window.run("return document.activeElement.className") == "skip"
    window.press("Enter")
    assert window.run("return document.activeElement.id") == "filters"
    window.press("Tab", "Space")
    assert page.shown() == page.count("family", "attention") and page.fragment() == {"family": ["attention"]}
    window.run("document.querySelector('#chart').focus()")
    window.press("ArrowRight", "ArrowRight")
    assert window.run("return document.querySelector('#chart-cursor') !== null")
    assert window.text("#live").startswith("2 of "), window.text("#live")
    window.press("Enter")
    assert window.run("return document.activeElement.id") == "detail"
    window.press("Tab")
    assert window.run("return document.activeElement.id") == "detail-close"
    window.press("Escape")
    assert window.run("return document.querySelector('#detail').hidden")
    # Every control has a name that can be read out.
    script = """
        const named = (e) => e.textContent.trim() || e.getAttribute('aria-label') || e.getAttribute('aria-labelledby') || e.labels?.[0]?.textContent.trim();
        return [...document.querySelectorAll('a, button, select, input, [tabindex="0"]')].filter((e) => e.checkVisibility() && !named(e)).map((e) => e.outerHTML)"""
    assert window.run(script) == []


def ten_thousand_cells_stay_fluid(page, most_ms):
    page.open()
    window = page.window
    script = """
        const sets = [{ engine: ["simd"] }, {}, { family: ["ffn"] }, { "axis:precision": ["bf16"] }, {}, { status: ["ok"] }, { "axis:threads": ["1"] }, { engine: ["naive", "faer"] }, {}];
        return sets.map((only) => { const began = performance.now(); Report.state.set({ only }); document.body.offsetHeight; return [Report.shown, performance.now() - began]; })"""
    window.run(script)
    took = window.run(script)
    median = statistics.median(ms for _, ms in took)
    print(f"filters of 10,000 cells: median {median:.0f} ms of {[(cells, round(ms)) for cells, ms in took]}")
    assert max(cells for cells, _ in took) == 10_000
    assert median < most_ms, took


def hostile_names_stay_text(page):
    page.open()
    window = page.window
    assert window.run("return window.hacked ?? null") is None
    assert window.run("return document.querySelectorAll('img, main script, iframe').length") == 0
    assert "<img src=x onerror" in window.text("#cells-body") and "\u202e" not in window.run("return document.body.textContent")
    for view in window.run("return [...document.querySelectorAll('#presets button')].map((one) => one.dataset.view)"):
        window.click(f"[data-view='{view}']")
        window.run("document.querySelector('#chart').focus()")
        window.press("ArrowRight", "Escape")
    for name in ("engine", "variant"):
        page.choose("#axis-colour" if name == "engine" else "#axis-x", name)
    # A name such as `__proto__` must not become a part of all objects.
    assert window.run("const found = []; for (const key in {}) found.push(key); return found") == []
    script = "for (const cell of Report.data.rowOf.keys()) { Report.state.set({ cell }); if (document.querySelectorAll('img, main script').length > 0) return cell; } return null"
    assert window.run(script) is None and window.run("return window.hacked ?? null") is None
    for width in (1280, 390):
        window.size(width, 900)
        assert window.run("return document.documentElement.scrollWidth <= innerWidth"), width
    window.size(1280, 900)
    for word in window.run("return [...document.querySelectorAll('[data-facet=engine] .word')].map((one) => one.textContent)"):
        page.open()
        page.tick("engine", word)
        assert page.shown() == page.count("engine", word) > 0, (word, page.shown())
        shown = page.shown()
        page.open(window.run("return location.hash"))
        assert page.shown() == shown < 54, word
    window.run("Report.state.set({ only: {}, cell: '0/id4-128' })")
    assert "no command should carry" in window.text("#detail-body")


def nothing_one_cell_and_all_failed_are_said(pages):
    for name, told in (("empty", "There are no cells"), ("one", "no variant was measured beside a baseline"), ("failed", "No cell is ok.")):
        page = pages(name)
        page.open()
        assert told in page.window.text("main"), (name, page.window.text("main"))
        page.open("#view=heatmap&cell=0/a&engine=naive&sort=-share&theme=dark")
        page.quiet()


def an_older_layout_says_what_it_lacks(page):
    page.open()
    text = page.window.text("#about-body")
    assert "No cell has a value in the columns:" in text and "error of the method (relative)" in text, text
    assert page.window.run("return [...document.querySelectorAll('#presets button')].map((one) => one.dataset.view)") != []


def machines_are_never_mixed(page):
    page.open()
    window = page.window
    assert window.run("return [...document.querySelector('#machine').options].length") == 2
    assert page.shown() == 20
    ids = "return [...new Set(Report.filters.apply().rows.map((row) => Report.data.cells.text('machine', row)))]"
    assert window.run(ids) == ["machine1"]
    page.choose("#machine", "machine2")
    assert page.shown() == 20 and window.run(ids) == ["machine2"] and page.fragment() == {"machine": ["machine2"]}


def peers_stand_with_their_picture(page, pictures):
    window = page.window
    for scheme, width in (("light", 1280), ("dark", 1280), ("light", 390)):
        window.prefer(scheme)
        window.size(width, 900)
        page.open()
        text = window.text("#peers-body")
        assert "at least as fast as the fastest peer" in text and "torch (peer)" in text, text[:500]
        loaded = "const one = document.querySelector('#peers-body img'); return one.complete && one.naturalWidth > 0 && one.alt.length > 40"
        assert window.run(loaded)
        assert window.run("return document.documentElement.scrollWidth <= innerWidth"), width
        window.run("document.querySelector('#peers').scrollIntoView()")
        window.screenshot(pictures / f"peers-{scheme}-{width}.png")
    window.prefer("light")
    window.size(1280, 900)


def nothing_of_peers_without_any(page):
    page.open()
    assert page.window.run("return document.querySelector('#peers').hidden")
    assert page.window.run("return ![...document.querySelectorAll('#links button')].some((one) => one.textContent === 'Peers')")


def light_dark_narrow_and_paper(page, pictures):
    window = page.window
    ground = "return getComputedStyle(document.body).backgroundColor"
    for scheme, colour in (("light", "rgb(255, 255, 255)"), ("dark", "rgb(20, 24, 29)")):
        window.prefer(scheme)
        for width in (1280, 390):
            window.size(width, 900)
            for view in ("ratio", "pareto", "memory", "share", "roofline", "error", "heatmap"):
                page.open(f"#view={view}&family=attention")
                assert window.run(ground) == colour
                assert window.run("return document.documentElement.scrollWidth <= innerWidth"), (view, width)
                window.run("document.querySelector('#explore').scrollIntoView()")
                window.screenshot(pictures / f"{view}-{scheme}-{width}.png")
            page.open("#cell=0/00000001")
            window.screenshot(pictures / f"detail-{scheme}-{width}.png")
            page.open()
            window.screenshot(pictures / f"top-{scheme}-{width}.png")
    page.choose("#theme", "light")
    assert window.run(ground) == "rgb(255, 255, 255)"
    page.choose("#theme", "dark")
    window.size(1280, 900)
    window.print_to(pictures / "print.pdf")
    assert (pictures / "print.pdf").stat().st_size > 20_000
    # The paper is light, the screen is as it was.
    assert window.run(ground) == "rgb(20, 24, 29)"
    window.prefer("light")


def main():
    driver, chromium, folder, pictures, most_ms = sys.argv[1:]
    folder, pictures = pathlib.Path(folder), pathlib.Path(pictures)
    with browser(driver, chromium) as window:
        window.size(1280, 900)
        pages = lambda name: Page(window, folder, name)
        checks = [
            ("usual", opens_with_the_answer), ("usual", the_answer_is_the_summarys), ("usual", a_narrow_window_has_time_and_error_in_sight),
            ("usual", the_first_chart_is_of_one_family), ("stopped", what_limits_the_figures_stands_on_top), ("usual", the_answer_leads_to_its_cells), ("usual", filters_leave_what_they_say), ("usual", axes_and_views_change_the_chart),
            ("usual", a_link_restores_the_view), ("usual", back_and_forward_go_through_the_views), ("usual", a_point_leads_to_its_row_and_samples),
            ("usual", the_table_sorts_and_turns_pages), ("usual", all_can_be_done_by_keyboard), ("hostile", hostile_names_stay_text),
            ("older", an_older_layout_says_what_it_lacks), ("machines", machines_are_never_mixed),
            ("peers", partial(peers_stand_with_their_picture, pictures=pictures)), ("usual", nothing_of_peers_without_any),
            ("large", partial(ten_thousand_cells_stay_fluid, most_ms=float(most_ms))), ("usual", partial(light_dark_narrow_and_paper, pictures=pictures)),
        ]
        for name, check in checks:
            page = pages(name)
            check(page)
            page.quiet()
            print("ok", name, getattr(check, "func", check).__name__, flush=True)
        nothing_one_cell_and_all_failed_are_said(pages)
        print("ok nothing_one_cell_and_all_failed_are_said")


if __name__ == "__main__":
    main()
