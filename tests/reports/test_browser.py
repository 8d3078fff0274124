"""The page in a real browser, driven as a reader drives it: every control and its effect, no error, no request."""

import json
import re
import shutil
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest

import reports
from reports.report_data import ReportData
from reports.run import load

BROWSER = (
    shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")
)
pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(
        not BROWSER, reason="no Chromium on this machine: install the package chromium"
    ),
]
Opener = Callable[..., Any]


@pytest.fixture(scope="module")
def chromium() -> Iterator[Any]:
    from playwright.sync_api import sync_playwright

    with sync_playwright() as driver:
        browser = driver.chromium.launch(executable_path=BROWSER, args=["--no-sandbox"])
        yield browser
        browser.close()


@pytest.fixture(scope="module", params=["plain", "hostile"])
def folder(
    request: pytest.FixtureRequest,
    run_folder: Path,
    hostile_folder: Path,
    tmp_path_factory: pytest.TempPathFactory,
) -> Path:
    if request.param == "plain":
        return run_folder
    folder = Path(shutil.copytree(hostile_folder, tmp_path_factory.mktemp("hostile") / "run"))
    reports.build(folder)
    return folder


@pytest.fixture
def opened(chromium: Any) -> Iterator[Opener]:
    """Opens the report of a run; at the end nothing may have been logged, thrown or asked of the network."""
    contexts, noise = [], []

    def open_page(
        folder: Path, width: int = 1280, height: int = 900, hash: str = "", **settings: Any
    ) -> Any:
        still = {"viewport": {"width": width, "height": height}, "reduced_motion": "reduce"}
        context = chromium.new_context(**still, **settings)
        contexts.append(context)
        page = context.new_page()
        page.set_default_timeout(60_000)
        page.on("console", lambda message: noise.append(message.text))
        page.on("pageerror", lambda error: noise.append(str(error)))
        page.on("dialog", lambda dialog: noise.append(f"a dialog: {dialog.message}"))
        page.on(
            "request",
            lambda request: noise.append(request.url) if is_foreign(request.url) else None,
        )
        page.goto((folder / "report" / "index.html").as_uri() + hash)
        return page

    yield open_page
    for context in contexts:
        context.close()
    assert noise == []


def is_foreign(url: str) -> bool:
    return not url.startswith(("data:", "blob:")) and "/report/index.html" not in url


def shown(page: Any, chart: str) -> list[dict[str, Any]]:
    """The visible traces of a chart, as Plotly holds them."""
    script = (
        "place => place.data.filter(trace => trace.visible !== false).map(trace => ({meta: trace.meta, x: trace.x, \
y: trace.y, bars: Boolean(trace.error_y && trace.error_y.visible), colour: trace.line.color}))"
    )
    found: list[dict[str, Any]] = page.locator(f'[data-chart="{chart}"]').evaluate(script)
    return found


def slide(page: Any, slider: Any, to: int) -> None:
    """Move a slider by the keyboard alone."""
    slider.focus()
    page.keyboard.press("Home")
    for _ in range(to):
        page.keyboard.press("ArrowRight")


def box(page: Any, selector: str) -> dict[str, float]:
    found: dict[str, float] = page.locator(selector).first.bounding_box()
    return found


def choose(page: Any, field: str, value: str) -> None:
    """Choose by the keyboard alone, as `slide` does."""
    page.locator(f'[{field}] input[value="{value}"]').focus()
    page.keyboard.press("Space")


def test_the_answer_is_on_the_first_screen(opened: Opener, run_folder: Path) -> None:
    page = opened(run_folder, height=800)
    assert box(page, ".answer:not([hidden])")["y"] < 300
    chart, row = box(page, '[data-chart="pareto-0"]'), box(page, ".budgets tbody tr:not([hidden])")
    assert chart["y"] < 300
    assert chart["y"] + chart["height"] < 800
    assert row["y"] < 300
    assert "fewer FLOPs" in page.locator(".answer:not([hidden])").inner_text()


def test_methods_and_families_come_and_go_everywhere(opened: Opener, folder: Path) -> None:
    page = opened(folder)
    before = shown(page, "pareto-0")
    page.locator("[data-methods] summary").click()
    page.locator("[data-label]").nth(1).uncheck(force=True)
    after = shown(page, "pareto-0")
    assert len(after) == len(before) - 1
    assert len(shown(page, "agreement-0")) == len({one["meta"]["label"] for one in after}) - 1
    assert not page.locator('#results-t tr[data-m="1"]').first.is_visible()
    family = page.locator("[data-family]", has_text="plain baselines")
    members = family.locator("xpath=../..").locator("[data-label]").count()
    family.click()
    assert family.get_attribute("aria-pressed") == "false"
    assert len({trace["meta"]["label"] for trace in after}) - members == len(
        {trace["meta"]["label"] for trace in shown(page, "pareto-0")}
    )
    names = page.locator('[data-chart="pareto-0"] .annotation-text').all_inner_texts()
    assert names
    assert not {"Random", "Stride", "Pooling"} & set(names)
    family.press("Enter")
    assert len(shown(page, "pareto-0")) == len(after)
    assert family.get_attribute("aria-pressed") == "true"
    page.keyboard.press("Escape")
    assert page.locator("[data-methods]").get_attribute("open") is None


def test_a_table_without_rows_goes_with_its_head(opened: Opener, folder: Path) -> None:
    page = opened(folder)
    page.locator("[data-methods] summary").click()
    for label in page.locator("[data-label]").all():
        label.uncheck(force=True)
    heads = """tables => tables.filter(table => table.offsetParent && table.tBodies[0].rows.length
        && [...table.tBodies[0].rows].every(row => row.hidden)).length"""
    assert page.locator("table").evaluate_all(heads) == 0
    assert page.locator("table[hidden]").count() > 0


def test_a_view_is_kept_in_the_address_and_shared(opened: Opener, run_folder: Path) -> None:
    page = opened(run_folder)
    assert page.evaluate("location.hash") in ("", "#")
    choose(page, "data-budgets", "0.6")
    page.locator("[data-methods] summary").click()
    page.locator("[data-label]").nth(2).uncheck(force=True)
    address = page.evaluate("location.hash")
    assert "budget=0.6" in address
    answer = page.locator(".answer:not([hidden])").inner_text()
    assert "at 60 % fewer FLOPs" in answer.replace("\u00a0", " ")
    other = opened(run_folder, hash=f"#results&{address[1:]}")
    assert other.locator(".answer:not([hidden])").inner_text() == answer
    assert other.locator('[data-budgets] input[value="0.6"]').is_checked()
    assert not other.locator("[data-label]").nth(2).is_checked()
    assert shown(other, "pareto-0") == shown(page, "pareto-0")
    assert abs(box(other, "#results")["y"]) < 120
    # A section's place joins the view, and the way back leads to where one came from.
    other.locator(".contents summary").click()
    other.locator('.contents a[href="#tokens"]').click()
    assert other.evaluate("location.hash").startswith("#tokens&budget=0.6")
    other.go_back()
    assert other.evaluate("location.hash").startswith("#results&budget=0.6")


def test_links_lead_to_files_that_are_there(opened: Opener, run_folder: Path) -> None:
    page = opened(run_folder)
    links = page.locator(".files a").evaluate_all("all => all.map(one => one.getAttribute('href'))")
    assert {Path(link).suffix for link in links} == {".png", ".svg", ".csv", ".md", ".tex"}
    assert all((run_folder / "report" / link).is_file() for link in links)


def test_a_name_opens_the_card_of_its_method(opened: Opener, run_folder: Path) -> None:
    page = opened(run_folder)
    # the rows of other budgets are hidden, and no reader can reach them
    shown = page.locator("#results-t tbody tr:not([hidden]) button.name", has_text="MTR")
    shown.first.press("Enter")
    card = page.locator("dialog[open]")
    assert "Training-free Token Reduction" in card.inner_text()
    assert "No public code was found." in card.inner_text()
    assert card.locator("table td", has_text="keep-target-source").count() >= 1
    page.keyboard.press("Escape")
    assert page.locator("dialog[open]").count() == 0


def test_a_point_says_its_cell_on_hover(opened: Opener, run_folder: Path) -> None:
    page = opened(run_folder)
    row = ReportData.of(load(run_folder)).frame.query("label == 'mtr' and budget == 0.4").iloc[0]
    place = page.locator('[data-chart="pareto-0"]')
    place.scroll_into_view_if_needed()
    script = (
        "(place, [x, y]) => { const box = place.querySelector('.nsewdrag').getBoundingClientRect(); const axes = \
place._fullLayout; return [box.left + axes.xaxis.d2p(x), box.top + axes.yaxis.d2p(y)]; }"
    )
    x, y = place.evaluate(script, [float(row["total"]), 100 * float(row["top1"])])
    page.mouse.move(x - 30, y)
    page.mouse.move(x, y)
    page.wait_for_selector(".hoverlayer .hovertext")
    words = " ".join(page.locator(".hoverlayer .hovertext").all_text_contents())
    assert "MTR" in words
    assert f"top-1 {100 * row['top1']:.1f} %" in words


def test_results_are_filtered_and_sorted_by_the_keyboard_alone(
    opened: Opener, folder: Path
) -> None:
    page = opened(folder)
    frame = ReportData.of(load(folder)).frame
    following = min(budget for budget in frame["budget"].dropna() if budget > 0.4)
    rows = page.locator("#results-t tbody tr:not([hidden])")
    assert rows.count() == (frame["budget"].isna() | (frame["budget"] == 0.4)).sum()
    head = page.locator("#results-t th", has_text="Top-1").first
    column = head.evaluate("head => head.cellIndex")

    def values() -> list[float]:
        cells = [row.locator("th, td").nth(column) for row in rows.all()]
        return [float(cell.get_attribute("data-sort") or "nan") for cell in cells]

    # As the page opens it is sorted already, and says so.
    assert head.get_attribute("aria-sort") == "descending"
    assert values() == sorted(values(), reverse=True)
    page.locator('[data-budgets] input[value="0.4"]').focus()
    page.keyboard.press("ArrowRight")
    assert {row.get_attribute("data-u") for row in rows.all()} == {f"{following:g}", ""}
    page.locator("[data-every]").check()
    assert rows.count() == len(frame)
    head.locator("button").press("Enter")
    assert head.get_attribute("aria-sort") == "ascending"
    assert values() == sorted(values())
    sign = "head => getComputedStyle(head.querySelector('.arrow'), '::after').content"
    assert head.evaluate(sign) == '"↑"'
    assert page.locator("#results-t th", has_text="KL").first.evaluate(sign) == '"↕"'


def test_every_table_sorts_and_shows_that_it_does(opened: Opener, run_folder: Path) -> None:
    page = opened(run_folder)
    for table in page.locator("table[data-sortable]").all():
        heads = table.locator("thead th")
        assert table.locator("thead button").count() >= heads.count() - 1
        table.locator("thead button").first.evaluate("button => button.click()")
        assert heads.first.get_attribute("aria-sort") in ("ascending", "descending")


def test_the_budget_governs_charts_and_maps(opened: Opener, run_folder: Path) -> None:
    page = opened(run_folder)
    choose(page, "data-budgets", "0.6")
    assert {trace["meta"]["budget"] for trace in shown(page, "lift-0")} == {0.6}
    kept = ReportData.of(load(run_folder)).run.kept_tokens.query("label == 'mtr' and block == 7")
    for budget in (0.2, 0.6):
        choose(page, "data-budgets", str(budget))
        mean = 100 * kept[kept["budget"] == budget]["kept"].mean()
        label = page.locator(".maps canvas").nth(6).get_attribute("aria-label")
        assert label == f"MTR, block 7: {mean:.0f} % of tokens kept"
    canvas = page.locator(".maps canvas").nth(6)
    canvas.focus()
    for key in ("ArrowDown", "ArrowDown", "ArrowRight"):
        page.keyboard.press(key)
    value = kept.query("budget == 0.6 and row == 2 and col == 1")["kept"].iloc[0]
    readout = page.locator("#tokens [data-readout]").inner_text()
    assert readout == f"MTR, block 7, row 2, column 1: kept in {100 * value:.0f} % of images"


def test_the_gallery_turns_pages_and_follows_the_budget(opened: Opener, run_folder: Path) -> None:
    page = opened(run_folder)
    rows = ReportData.of(load(run_folder)).run.gallery.query("label == 'mtr' and image == 102")
    for _ in range(2):
        page.locator("[data-on]").press("Enter")
    assert "truth: Pullover" in page.locator(".gallery").inner_text()
    assert page.locator("[data-where]").inner_text() == "3 of 6"
    for budget in (0.2, 0.3, 0.4, 0.5, 0.6):
        choose(page, "data-budgets", str(budget))
        row = rows[rows["budget"] == budget].iloc[0]
        words = page.locator(
            ".tile", has=page.locator("b", has_text=re.compile("^MTR$"))
        ).inner_text()
        mark = "✓" if row["prediction"] == row["label_true"] else "✗"
        assert words.splitlines()[1].startswith(mark)
        assert words.endswith(f" {100 * row['confidence']:.0f} %")
    for step, block in enumerate((2, 5, 7)):
        slide(page, page.locator("[data-block-at]"), step)
        owner = np.asarray(
            rows[(rows["budget"] == 0.6) & (rows["block"] == block)]["owner"].iloc[0]
        )
        counts = pd.Series(owner[owner >= 0]).value_counts()
        alone, lost = int((counts == 1).sum()), int((owner == -1).sum())
        want = f"{alone} tokens stand for themselves, {len(owner) - alone - lost} merged, {lost} dropped"
        assert page.locator(f'.tile canvas[aria-label="MTR: {want}"]').count() == 1
    pixels = "canvas => [...canvas.getContext('2d').getImageData(0, 0, canvas.width, canvas.height).data].join()"
    canvas = page.locator('.tile canvas[aria-label^="MTR:"]')
    page.wait_for_timeout(300)
    before = canvas.evaluate(pixels)
    page.locator("[data-apart]").check()
    page.wait_for_timeout(300)
    assert page.locator('.tile canvas[aria-label^="MTR:"]').evaluate(pixels) != before


def test_the_gallery_finds_what_one_method_breaks_and_another_does_not(
    opened: Opener, run_folder: Path
) -> None:
    page = opened(run_folder)
    rows = ReportData.of(load(run_folder)).run.gallery.query("budget == 0.4")
    rows = rows.drop_duplicates(["label", "image"], keep="last")
    right = rows.assign(right=rows["prediction"] == rows["label_true"]).pivot(
        index="image", columns="label", values="right"
    )
    pairs = [(one, other) for one in right for other in right if one != other]
    broken, kept = next(
        pair for pair in pairs if 0 < (~right[pair[0]] & right[pair[1]]).sum() < len(right)
    )
    titles = ReportData.of(load(run_folder)).title
    page.locator("[data-wrong]").select_option(label=titles(broken))
    page.locator("[data-right]").select_option(label=titles(kept))
    wanted = right.index[~right[broken] & right[kept]]
    assert page.locator("[data-where]").inner_text() == f"1 of {len(wanted)}"
    assert f"image {wanted[0]}" in page.locator(".gallery").inner_text()


def test_the_slider_over_layers_draws_the_stored_values(opened: Opener, run_folder: Path) -> None:
    page = opened(run_folder)
    found = re.search(
        r'id="data">(.*?)</script>', (run_folder / "report" / "index.html").read_text(), re.DOTALL
    )
    assert found
    data = json.loads(found.group(1))
    names, scale = data["stacks"]["similarity"]["names"], data["diverging"]
    layers = pd.read_parquet(run_folder / "analyses" / "token_overlap.parquet").query(
        "budget == 0.4"
    )
    stack = page.locator('[data-stack="similarity"]')
    for step, block in enumerate((2, 5, 7)):
        slide(page, stack.locator("[data-layer]"), step)
        assert stack.locator("output").inner_text() == str(block)
        titles = ReportData.of(load(run_folder)).title
        pair = layers[
            (layers["block"] == block)
            & layers["one"].map(titles).isin(names[:2])
            & layers["other"].map(titles).isin(names[:2])
        ]
        value = float(pair["correlation"].iloc[0])
        pen = "canvas => [...canvas.getContext('2d').getImageData(1, 0, 1, 1).data]"
        want = scale[min(64, int((value + 1) / 2 * 65))]
        assert (
            "#" + "".join(f"{part:02x}" for part in stack.locator("canvas").evaluate(pen)[:3])
            == want
        )
        stack.locator("canvas").focus()
        page.keyboard.press("ArrowLeft")  # at the edge already, or one back
        page.keyboard.press("ArrowRight")
        told = stack.locator("[data-readout]").inner_text()
        assert f"block {block}, {names[0]} and {names[1]}" in told
        assert float(told.split(": ")[1].split(" (")[0].replace("−", "-")) == pytest.approx(
            value, rel=5e-3
        )


def test_light_dark_and_print(opened: Opener, run_folder: Path) -> None:
    page = opened(run_folder, color_scheme="light")
    background = "() => getComputedStyle(document.body).backgroundColor"
    light, curves = (
        page.evaluate(background),
        {trace["colour"] for trace in shown(page, "pareto-0")},
    )
    page.emulate_media(color_scheme="dark")
    page.wait_for_timeout(200)
    assert page.evaluate(background) != light
    assert not curves & {trace["colour"] for trace in shown(page, "pareto-0") if trace["colour"]}
    page.emulate_media(media="print", color_scheme="light")
    assert not [
        place for place in page.locator(".plot, .controls, .drawn").all() if place.is_visible()
    ]
    assert all(image.is_visible() for image in page.locator(".static").all())


def test_drawings_have_no_slab_of_their_own_in_the_dark(opened: Opener, run_folder: Path) -> None:
    page = opened(run_folder, color_scheme="dark")
    background = page.evaluate("() => getComputedStyle(document.body).backgroundColor")
    # The first path of a drawing of matplotlib is its background.
    fill = "all => all.map(one => getComputedStyle(one.querySelector('path')).fill)"
    fills = page.locator(".plate svg").evaluate_all(fill)
    assert fills
    assert set(fills) == {background}


def test_without_scripts_the_figures_stand_in(opened: Opener, run_folder: Path) -> None:
    page = opened(run_folder, java_script_enabled=False)
    assert page.locator(".static").count() >= 5
    assert all(image.is_visible() for image in page.locator(".static").all())
    assert not [place for place in page.locator(".controls, .drawn").all() if place.is_visible()]


@pytest.mark.parametrize("width", [400, 1280])
def test_nothing_sticks_out_sideways(opened: Opener, folder: Path, width: int) -> None:
    page = opened(folder, width)
    assert page.evaluate("() => document.documentElement.scrollWidth") <= width
    # Method and accuracy are on the first screen.
    row = box(page, '.ranking:not([hidden]) tbody tr[data-m="1"]')
    assert row["y"] + row["height"] < 900
    assert row["x"] + row["width"] <= width


@pytest.fixture(scope="module")
def long_named(
    fabricated: Callable[..., Path], inkless: Callable[[], AbstractContextManager[None]]
) -> Path:
    called = (
        ("mtr", "mtr[score=delta-b,weights=drop]@constant-ratio"),
        ("evit", "mtr[score=delta-b,weights=drop]@adaptive"),
    )
    labels = ("mtr", "evit", "tome", "random")
    folder = fabricated(labels=labels, budgets=(0.2, 0.4, 0.6), called=called)
    with inkless():
        reports.build(folder)
    return folder


@pytest.mark.parametrize("width", [400, 500, 1280])
def test_long_names_fit_in_one_ranking_at_a_time(
    opened: Opener, long_named: Path, width: int
) -> None:
    page = opened(long_named, width)
    for budget in ("0.4", "0.2"):
        choose(page, "data-budgets", budget)
        assert page.locator(".ranking").count() == 3
        (shown,) = (table for table in page.locator(".ranking").all() if table.is_visible())
        assert shown.get_attribute("data-u") == budget
        assert page.evaluate("() => document.documentElement.scrollWidth") <= width
        # Two methods of one beginning are told apart by the end of their names.
        names = shown.locator(".name span").evaluate_all(
            "names => names.filter(name => name.scrollWidth > name.clientWidth + 1).length"
        )
        assert names == 0


@pytest.mark.parametrize("width", [400, 1280])
def test_no_number_is_shown_in_part(opened: Opener, folder: Path, width: int) -> None:
    page = opened(folder, width)
    frames = page.locator(".scroll:has(table)")
    for frame in (frame for frame in frames.all() if frame.is_visible()):
        for scrolled in (0, 37, 10_000):
            frame.evaluate("(frame, to) => { frame.scrollLeft = to; }", scrolled)
            page.evaluate("() => new Promise(requestAnimationFrame)")
            page.evaluate("() => new Promise(requestAnimationFrame)")
            cut = frame.evaluate(
                """frame => {
                  const edge = frame.getBoundingClientRect().right;
                  return [...frame.querySelectorAll("td, thead th")].filter(cell => {
                    const place = cell.getBoundingClientRect();
                    const over = place.left < edge - 1 && place.right > edge + 1;
                    return over && cell.cellIndex > 0 && getComputedStyle(cell).opacity !== "0";
                  }).map(cell => cell.textContent);
                }"""
            )
            assert cut == []


@pytest.mark.parametrize(("width", "scheme"), [(1280, "light"), (1280, "dark"), (400, "light")])
def test_an_accessibility_checker_finds_nothing(
    opened: Opener, folder: Path, width: int, scheme: str
) -> None:
    from axe_playwright_python.sync_playwright import Axe

    page = opened(folder, width, color_scheme=scheme, bypass_csp=True)
    page.evaluate(
        "() => document.querySelectorAll('details').forEach(part => { part.open = true; })"
    )
    found = Axe().run(page).response["violations"]
    assert [
        (entry["id"], [node["html"][:160] for node in entry["nodes"][:3]]) for entry in found
    ] == []


def test_every_control_is_reached_by_tab_and_shows_it(opened: Opener, run_folder: Path) -> None:
    page = opened(run_folder)
    wanted = "() => document.querySelectorAll('button, input:not([type=radio]), summary, [tabindex=\"0\"], nav a').length"
    reached, outlined = set(), 0
    for _ in range(page.evaluate(wanted) + 40):
        page.keyboard.press("Tab")
        script = (
            "() => { const at = document.activeElement; if (at === document.body) return null; \
const hidden = at.matches('input') && at.closest('.chip, .segments label'); \
const style = getComputedStyle(hidden || at); at.dataset.seen = at.dataset.seen || Math.random(); \
return [at.dataset.seen, at.tagName, style.outlineStyle !== 'none']; }"
        )
        at = page.evaluate(script)
        if at is None:
            break
        reached.add(tuple(at[:2]))
        outlined += not at[2]
    kinds = pd.Series([tag for _, tag in reached]).value_counts()
    count = "selector => [...document.querySelectorAll(selector)].filter(at => at.checkVisibility() && !at.disabled).length"
    for tag, selector in (
        ("BUTTON", "button"),
        ("SUMMARY", "summary"),
        ("CANVAS", "canvas[tabindex]"),
    ):
        assert kinds[tag] == page.evaluate(count, selector), tag
    assert kinds["INPUT"] == page.evaluate(
        "() => [...document.querySelectorAll('input:not([type=radio])')].filter(at => "
        "at.checkVisibility()).length + "
        "new Set([...document.querySelectorAll('input[type=radio]')].map(radio => radio.name)).size"
    )
    assert outlined == 0
