"""The page of a report in a real browser: it works, asks nothing of the network, and is readable on a phone."""

import pytest
from chromium import chromium, program

from harness.report import write_report

pytestmark = pytest.mark.skipif(program() is None, reason="no Chromium is installed here")

STUDY = "<script>alert(1)</script>"
EVIL = "lab:<img src=x onerror=alert(2)>"
METHODS = [
    ("triplet", "random", "none", None),
    ("triplet", "semihard", "none", None),
    ("margin", "distance_weighted", "none", 1.2),
    ("margin", "distance_weighted", "rho", 1.2),
    ("multi_similarity", "none", "none", None),
    ("n_pair", "none", "none", None),
    ("proxy_nca", "none", "none", None),
    ("normalized_softmax", "none", "none", None),
    (EVIL, "none", "none", None),
    ("soft_triple", "none", "none", None),
    ("angular", "none", "none", None),
    ("histogram", "none", "none", None),
]
HOLES = {(8, 0): ("failed", "exception", "<svg onload=alert(3)>"), (5, 0): ("failed", "diverged", "loss became nan")}
HOLES |= {(5, 1): ("pending", None, None)}

ROWS = """[...document.querySelector("table[data-choose]").tBodies[0].rows].filter((row) => !row.hidden)"""
COLUMN = ROWS + ".map((row) => row.cells[%d].textContent.trim())"
TABLE = 'document.querySelector("table[data-choose]")'
FIGURE = TABLE + '.closest("figure")'


@pytest.fixture(scope="module")
def database(make):
    return make(seeds=2, grid=METHODS, holes=HOLES, study=STUDY, question=STUDY, epochs=4)


@pytest.fixture(scope="module")
def address(database, tmp_path_factory):
    out = tmp_path_factory.mktemp("page")
    some = ["leaderboard", "regularizers", "convergence", "mining"]
    return write_report(database, STUDY, out=out, analyses=some).as_uri()


@pytest.fixture(scope="module")
def browser(tmp_path_factory):
    with chromium(tmp_path_factory.mktemp("profile")) as running:
        yield running


@pytest.fixture
def page(browser, address):
    """The page, freshly loaded."""
    loaded = browser.page(address)
    yield loaded
    loaded.close()


def pick(page, what, text):
    """Choose the option with a text as a reader would."""
    page.run(
        f"""(() => {{
        const select = document.querySelector('select[data-what="{what}"]');
        select.value = [...select.options].find((option) => option.textContent.startsWith("{text}")).value;
        select.dispatchEvent(new Event("change"));
    }})()"""
    )


def click(page, selector):
    """A real click of the mouse into the middle of an element."""
    box = page.run(
        f"""(() => {{ const element = document.querySelector({selector!r}); element.scrollIntoView({{block: "center"}});
        const box = element.getBoundingClientRect(); return [box.x + box.width / 2, box.y + box.height / 2]; }})()"""
    )
    for kind in ("mousePressed", "mouseReleased"):
        page.call("Input.dispatchMouseEvent", type=kind, x=box[0], y=box[1], button="left", clickCount=1)


def numbers(texts):
    return [float(text.split()[0]) for text in texts if text != "\N{EN DASH}"]


def test_it_asks_for_nothing_but_itself_and_complains_of_nothing(page, address):
    pick(page, "rule", "best epoch by test")
    pick(page, "metric", "NMI")
    click(page, "tr[data-cell] td")
    assert [url for url in page.requests() if not url.startswith("data:")] == [address]
    assert page.complaints() == []


def test_hostile_names_options_and_errors_stay_text(page):
    assert page.run("document.querySelector('h1').textContent").strip() == STUDY
    assert page.run("document.querySelectorAll('script').length") == 2
    assert page.run("document.querySelectorAll('img, svg[onload]').length") == 0
    text = page.run("document.body.textContent")
    assert EVIL in text
    assert "<svg onload=alert(3)>" in text
    assert page.dialogs() == []


def test_a_script_that_slipped_in_would_not_run(page):
    page.run("document.body.append(Object.assign(document.createElement('script'), {textContent: 'window.bad = 1'}))")
    assert page.run("window.bad === undefined")


def test_a_click_on_a_head_sorts_and_the_method_without_a_number_stays_last(page):
    place = page.run(f"[...{TABLE}.tHead.rows[0].cells].findIndex((head) => head.textContent === 'R@2')")
    head = f"table[data-choose] thead th:nth-child({place + 1})"
    for reverse in (True, False):
        click(page, f"{head} button")
        column = page.run(COLUMN % place)
        assert column[-1] == "\N{EN DASH}"
        assert numbers(column) == sorted(numbers(column), reverse=reverse)
        told = page.run(f"document.querySelector('{head}').ariaSort")
        assert told == ("descending" if reverse else "ascending")


def test_words_filter_the_rows_and_the_count_is_told(page):
    page.run(f"{FIGURE}.querySelector('input').focus()")
    page.call("Input.insertText", text="margin RHO")
    assert page.run(COLUMN % 0) == ["rho margin (beta=1.2) + distance_weighted"]
    assert page.run(f"{FIGURE}.querySelector('output').textContent") == "1 of 12"
    page.call("Input.insertText", text=" nothing")
    assert page.run(COLUMN % 0) == []


def test_another_selection_rule_shows_its_numbers_and_marks_those_selected_on_test(page):
    shown = ROWS + ".find((row) => row.textContent.includes('multi')).cells[2].textContent"
    last = page.run(shown)
    assert page.run(f"getComputedStyle({FIGURE}.querySelector('.dagger')).display") == "none"
    pick(page, "rule", "best epoch by test")
    best = page.run(shown)
    assert numbers([best])[0] == pytest.approx(numbers([last])[0] + 1.0, abs=0.051)  # the model behind: a bonus of 0.01
    assert "selected on test" in page.run(f"{FIGURE}.querySelector('figcaption').textContent")
    assert page.run(f"getComputedStyle({FIGURE}.querySelector('.dagger')).display") == "block"
    assert "†" in page.run(
        "getComputedStyle(document.querySelector('.on-test thead th:nth-child(3)'), '::after').content"
    )


def test_one_metric_is_shown_with_its_intervals_drawn_and_all_come_back(page):
    before = "".join(page.run(f"{TABLE}.textContent").split())
    pick(page, "metric", "NMI")
    assert page.run(f"[...{TABLE}.tHead.rows[0].cells].map((head) => head.textContent)")[:3] == [
        "Method",
        "Seeds",
        "NMI",
    ]
    values = numbers(page.run(COLUMN % 2))
    assert values == sorted(values, reverse=True)
    dots = page.run(ROWS + ".map((row) => row.querySelector('td.plot b')?.getBoundingClientRect().x).filter(Boolean)")
    assert dots == sorted(dots, reverse=True)
    assert len(dots) == len(values) == 11
    pick(page, "metric", "all of quality")
    assert "".join(page.run(f"{TABLE}.textContent").split()) == before


def test_a_click_on_any_cell_opens_its_runs_with_configuration_and_curves(page):
    click(page, "table[data-choose] tbody tr:nth-child(2) td:nth-child(3)")
    method = page.run("document.querySelector('table[data-choose] tbody tr:nth-child(2) th').textContent").strip()
    assert page.run("document.querySelector('dialog').open")
    text = page.run("document.querySelector('dialog').textContent")
    assert method in text
    assert page.run("document.querySelectorAll('dialog tbody code').length") == 2
    assert "objective" in page.run("document.querySelector('dialog dl').textContent")
    assert page.run("document.querySelectorAll('dialog .curve polyline').length") == 4  # R@1 and loss of two seeds
    click(page, "dialog .close")
    assert not page.run("document.querySelector('dialog').open")


def test_an_address_that_names_a_cell_opens_its_runs(browser, address):
    page = browser.page(f"{address}#cell-3")
    assert page.run("document.getElementById('cell-3').open")
    page.close()


def test_all_figures_are_there_and_all_their_parts_resolve(page):
    assert page.run("document.querySelectorAll('figure > .wide > svg').length") >= 2
    assert (
        page.run(
            "[...document.querySelectorAll('use')].filter((use) => !document.querySelector(use.href.baseVal)).length"
        )
        == 0
    )
    sizes = page.run(
        "[...document.querySelectorAll('main svg')].map((svg) => [svg.getBBox().width, svg.getBBox().height])"
    )
    assert all(width > 50 and height > 20 for width, height in sizes)
    assert page.run(
        "[...document.querySelectorAll('main figure:not(.curve)')].every((f) => f.querySelector('figcaption a'))"
    )


TOO_SMALL = """(() => {
    document.querySelectorAll("details").forEach((details) => { details.open = true; });
    const found = new Set();
    const walk = document.createTreeWalker(document.body, NodeFilter.SHOW_TEXT);
    while (walk.nextNode()) {
        const element = walk.currentNode.parentElement;
        const seen = element.getClientRects().length && !element.closest("title, script");
        if (!walk.currentNode.data.trim() || !seen) continue;
        const ctm = element.getScreenCTM?.();
        const size = parseFloat(getComputedStyle(element).fontSize) * (ctm ? Math.hypot(ctm.a, ctm.b) : 1);
        if (size < 11.95) found.add(`${size.toFixed(1)}: ${walk.currentNode.data.trim().slice(0, 40)}`);
    }
    return [...found];
})()"""

FAINT_TEXT = """(() => {
    const linear = (v) => (v <= 0.04045 ? v / 12.92 : ((v + 0.055) / 1.055) ** 2.4);
    const light = (color) => {
        const [r, g, b] = color.match(/[\\d.]+/g).map((v) => linear(v / 255));
        return 0.2126 * r + 0.7152 * g + 0.0722 * b;
    };
    const paper = light(getComputedStyle(document.body).backgroundColor);
    const found = [];
    for (const name of ["body", "a", "figcaption", "thead th", "nav a", ".facts .bad", "svg text", "dt", "label"]) {
        const style = getComputedStyle(document.querySelector(name));
        const ink = light(name === "svg text" ? style.fill : style.color);
        const contrast = (Math.max(ink, paper) + 0.05) / (Math.min(ink, paper) + 0.05);
        if (contrast < 4.5) found.push(`${name}: ${contrast.toFixed(1)}`);
    }
    return found;
})()"""


@pytest.mark.parametrize("dark", [False, True], ids=["light", "dark"])
def test_a_phone_shows_it_without_sideways_scrolling_and_large_enough(browser, address, dark):
    page = browser.page(address, width=390, height=844, dark=dark)
    for metric in ("NMI", "all of quality"):
        pick(page, "metric", metric)
        assert page.run("document.documentElement.scrollWidth") <= 390
    assert page.run("matchMedia('(prefers-color-scheme: dark)').matches") is dark
    assert page.run(TOO_SMALL) == []
    assert page.run(FAINT_TEXT) == []
    page.close()


def test_without_script_the_table_reads_and_nothing_is_offered_that_would_not_work(browser, address):
    page = browser.page(address, scripts=False)
    text = page.html()
    assert '<a href="#cell-1">' in text
    assert "diverged" in text
    assert "<select" not in text
    assert 'type="search"' not in text
    page.close()


def test_it_prints_on_paper_without_what_only_a_screen_can_use(browser, address):
    page = browser.page(address, width=760, media="print")
    assert page.run(
        "[...document.querySelectorAll('.tools, nav, .downloads')].every((e) => !e.getClientRects().length)"
    )
    assert page.run(
        "[...document.querySelectorAll('figure > .wide > svg')].every((s) => s.getBoundingClientRect().right <= 760)"
    )
    assert page.run("document.documentElement.scrollWidth") <= 760
    page.close()
