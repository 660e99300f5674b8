"""The report page in headless Chromium: what a reader clicks, types, prints, and what is loaded."""

import base64
import os
import shutil

import numpy as np
import pytest

from benchmarks.records import record as items
from benchmarks.records import samples
from benchmarks.report import page

webdriver = pytest.importorskip("selenium.webdriver", reason="selenium is not installed")
from selenium.webdriver.common.by import By  # noqa: E402
from selenium.webdriver.common.keys import Keys  # noqa: E402
from selenium.webdriver.support.ui import Select  # noqa: E402

CHROMIUM = shutil.which("chromium") or shutil.which("google-chrome")
DRIVER = shutil.which("chromedriver")
pytestmark = pytest.mark.skipif(
    CHROMIUM is None or DRIVER is None, reason="chromium or chromedriver is not installed"
)
HOSTILE = "</script><script>window.hacked = 1</script><img src=x onerror=hacked=1> \"'{{7*7}}"
IDS = ["000", "001", "002"]


@pytest.fixture(scope="module")
def browser():
    options = webdriver.ChromeOptions()
    options.binary_location = CHROMIUM
    for argument in ("--headless=new", "--disable-gpu", "--window-size=1200,900"):
        options.add_argument(argument)
    if os.geteuid() == 0:
        options.add_argument("--no-sandbox")  # Chromium refuses root otherwise
    options.set_capability("goog:loggingPrefs", {"browser": "ALL", "performance": "ALL"})
    driver = webdriver.Chrome(options=options, service=webdriver.ChromeService(DRIVER))
    yield driver
    driver.quit()


def scored(out, record, values):
    path = out / "items" / record.task / f"{record.run_id}.csv"
    items.write_items(path, {"id": IDS, "absrel_object": values, "caption": [HOSTILE] * 3})


def pictured(out, record, row, grey):
    cells = [np.full((8, 8, 3), grey + 10 * number, np.uint8) for number in range(3)]
    samples.write(out, record.task, row, IDS, cells)


@pytest.fixture
def opened(record, tmp_path, browser):
    """The browser on the page of two tasks, two seeds, and a method with a hostile name."""
    records = [record("floor", value=0.9, run_id="r-floor")]
    for number, method in enumerate(("crossflow", "flow_matching", HOSTILE)):
        for seed in (0, 1):
            one = record(
                method,
                seed=seed,
                run_id=f"r-{number}-{seed}",
                value={"absrel_object": 0.2 + 0.1 * number + 0.01 * seed, "delta1": 0.15625},
            )
            volatile = one.volatile.model_copy(update={"command": f"run {seed} {HOSTILE}"})
            records.append(one.model_copy(update={"volatile": volatile}))
            scored(tmp_path, one, [0.1 * number, 0.5, 0.3])
            pictured(tmp_path, one, one.run_id, 40 * number)
    records.append(record(task="sr_tabletop", run_id="r-sr", value=10.0))
    for end in samples.FRAMES:
        pictured(tmp_path, records[0], f"{end}-{records[0].score_key}", 200)
    path = tmp_path / "a page.html"
    path.write_text(page.files(records, tmp_path)["index.html"], "utf-8")
    browser.get_log("performance")
    browser.get_log("browser")
    browser.get(path.as_uri())
    return browser


def errors(browser):
    return [entry["message"] for entry in browser.get_log("browser")]


def column(browser, label, sheet="leaderboard"):
    """Texts of a column as they stand on the page."""
    rows = f'[data-sheet="{sheet}"]'
    heads = [one.text for one in browser.find_elements(By.CSS_SELECTOR, f"{rows} thead th")]
    place = heads.index(label) + 1
    cells = browser.find_elements(By.CSS_SELECTOR, f"{rows} tbody td:nth-child({place})")
    return [cell.text for cell in cells]


def control(browser, label, within="#leaderboard"):
    """The control with this label."""
    path = f'//*[@id="{within[1:]}"]//label[starts-with(normalize-space(.), "{label}")]'
    return browser.find_element(By.XPATH, path).find_element(By.CSS_SELECTOR, "select, input")


def test_nothing_is_loaded_and_nothing_complains(opened):
    assert errors(opened) == []
    sent = [
        entry["message"]
        for entry in opened.get_log("performance")
        if '"Network.requestWillBeSent"' in entry["message"]
    ]
    assert sent, "the page itself is a request"
    assert all('"url":"file:' in one or '"url":"data:' in one for one in sent)


def test_the_policy_forbids_the_network(opened):
    said = opened.execute_async_script(
        "const done = arguments[0];"
        "document.addEventListener('securitypolicyviolation', (e) => done(e.violatedDirective));"
        "new Image().src = 'https://example.invalid/x.png'; setTimeout(() => done('none'), 3000);"
    )
    assert said == "img-src"
    opened.get_log("browser")


def test_hostile_text_is_text(opened):
    assert opened.execute_script("return window.hacked") is None
    assert not opened.find_elements(By.CSS_SELECTOR, "img:not([src^='data:'])")
    assert HOSTILE in column(opened, "method")
    assert f"run 0 {HOSTILE}" in [
        one.text for one in opened.find_elements(By.CSS_SELECTOR, "code.command")
    ]
    assert "49" not in column(opened, "method")[-1]


def test_the_script_shows_the_rows_that_stood_there_without_it(opened):
    served = opened.execute_script(
        "return [...document.querySelectorAll('[data-sheet=leaderboard] tbody td')]"
        ".map((one) => one.textContent)"
    )
    opened.execute_cdp_cmd("Emulation.setScriptExecutionDisabled", {"value": True})
    try:
        opened.refresh()
        cells = opened.find_elements(By.CSS_SELECTOR, "[data-sheet=leaderboard] tbody td")
        assert [one.get_attribute("textContent").strip() for one in cells] == served
        assert not opened.find_element(By.ID, "viewer").is_displayed()
        assert not any(one.is_displayed() for one in opened.find_elements(By.TAG_NAME, "button"))
        assert opened.find_elements(By.CSS_SELECTOR, "#tasks table")
    finally:
        opened.execute_cdp_cmd("Emulation.setScriptExecutionDisabled", {"value": False})


def test_sorting_by_mouse_and_by_keyboard(opened):
    heads = opened.find_elements(By.CSS_SELECTOR, "[data-sheet=leaderboard] thead th")
    mean = next(one for one in heads if one.text == "mean")
    assert mean.get_attribute("aria-sort") == "none"
    mean.find_element(By.TAG_NAME, "button").click()
    assert mean.get_attribute("aria-sort") == "ascending"
    assert column(opened, "mean") == ["0.205", "0.305", "0.405", "10"], "by value, not by text"
    mean.find_element(By.TAG_NAME, "button").send_keys(Keys.ENTER)
    assert mean.get_attribute("aria-sort") == "descending"
    assert column(opened, "mean") == ["10", "0.405", "0.305", "0.205"]


def test_filters_and_search(opened):
    assert len(column(opened, "task")) == 4
    Select(control(opened, "task")).select_by_visible_text("sr_tabletop")
    assert column(opened, "task") == ["sr_tabletop"]
    Select(control(opened, "task")).select_by_visible_text("all")
    Select(control(opened, "Show")).select_by_visible_text("all scores")
    assert "delta1 ↑" in column(opened, "score")
    assert "0.1562" in column(opened, "mean"), "the digits of the tables, rounded as Python rounds"
    control(opened, "Search").send_keys("CROSSfl delta1")  # the reference stands in every row
    assert column(opened, "method") == ["crossflow"]
    control(opened, "Search").send_keys(" nothing")
    assert column(opened, "method") == []


def test_gallery_by_keyboard_and_mouse(opened):
    viewer = opened.find_element(By.ID, "viewer")
    Select(control(opened, "Left arm", "#viewer")).select_by_visible_text("crossflow, seed 0")
    item = viewer.find_element(By.CSS_SELECTOR, ".item-range")
    assert "Item 000, 1 of 3" in viewer.text
    item.send_keys(Keys.ARROW_RIGHT)
    assert "Item 001, 2 of 3" in viewer.text
    assert "crossflow, seed 0: absrel_object 0.5" in viewer.text
    wipe = viewer.find_element(By.CSS_SELECTOR, ".wipe-range")
    upper = "return document.querySelector('.wipe svg + svg').style.clipPath"
    assert opened.execute_script(upper) == "inset(0px 50% 0px 0px)"
    wipe.send_keys(Keys.ARROW_RIGHT * 5)
    assert opened.execute_script(upper) == "inset(0px 45% 0px 0px)"
    box = viewer.find_element(By.CSS_SELECTOR, ".wipe")
    opened.execute_script("arguments[0].scrollIntoView({block: 'center'})", box)
    chain = webdriver.ActionChains(opened)
    chain.move_to_element_with_offset(box, -box.size["width"] // 4, 0).click().perform()
    assert abs(int(wipe.get_attribute("value")) - 25) <= 2
    assert errors(opened) == []


def test_gallery_shows_worst_items_first_when_asked(opened):
    Select(control(opened, "Left arm", "#viewer")).select_by_visible_text("crossflow, seed 0")
    order = Select(control(opened, "Order of items", "#viewer"))
    order.select_by_visible_text("worst of the left arm first")
    viewer = opened.find_element(By.ID, "viewer")
    assert "Item 001, 1 of 3" in viewer.text
    order.select_by_visible_text("best of the left arm first")
    assert "Item 000, 1 of 3" in viewer.text


def test_a_command_is_copied(opened):
    button = opened.find_element(By.CSS_SELECTOR, "[data-sheet=runs] td button")
    command = button.find_element(By.XPATH, "../code").text
    opened.execute_script(
        "Object.defineProperty(navigator, 'clipboard',"
        " {value: {writeText: (text) => { window.copied = text; return Promise.resolve(); }}});"
    )
    button.click()
    assert opened.execute_script("return window.copied") == command
    assert opened.find_element(By.ID, "said").get_attribute("textContent") == "Copied"


# 1032 CSS pixels are the width of A4 across, without margins.
@pytest.mark.parametrize(("width", "media"), [(360, "screen"), (1032, "print")])
def test_the_body_never_scrolls_sideways(opened, width, media):
    opened.execute_cdp_cmd(
        "Emulation.setDeviceMetricsOverride",
        {"width": width, "height": 800, "deviceScaleFactor": 1, "mobile": media == "screen"},
    )
    opened.execute_cdp_cmd("Emulation.setEmulatedMedia", {"media": media})
    try:
        wide = opened.execute_script("return document.documentElement.scrollWidth")
        assert wide <= width
        hidden = not opened.find_element(By.CSS_SELECTOR, "nav").is_displayed()
        assert hidden == (media == "print")
    finally:
        opened.execute_cdp_cmd("Emulation.clearDeviceMetricsOverride", {})
        opened.execute_cdp_cmd("Emulation.setEmulatedMedia", {"media": ""})


def test_it_prints_with_everything_open(opened):
    printed = opened.execute_cdp_cmd("Page.printToPDF", {"preferCSSPageSize": True})
    assert base64.b64decode(printed["data"]).startswith(b"%PDF")
    opened.execute_script("window.dispatchEvent(new Event('beforeprint'))")
    assert not opened.find_elements(By.CSS_SELECTOR, "details:not([open])")
    opened.execute_script("window.dispatchEvent(new Event('afterprint'))")
    assert opened.find_elements(By.CSS_SELECTOR, "details:not([open])")


def test_verdicts_of_five_seeds_fit_into_their_cards(record, tmp_path, browser):
    """The widest rows there are: mean, deviation, interval and a long note, two cards a line."""
    values = {
        "crossflow": [0.8098, 0.7931, 0.927, 0.6514, 0.7616],
        "flow_matching": [0.6503, 0.6773, 0.742, 0.6028, 0.6031],
        "regression": [0.4522, 0.4378, 0.4574, 0.4527, 0.4506],
    }
    records = [
        record(
            method,
            seed,
            value=value,
            fair={"budget_limit": limit},
            run_id=f"{method}-{seed}-{limit}",
        )
        for method, of_seeds in values.items()
        for seed, value in enumerate(of_seeds)
        for limit in (2e13, 5e12)
    ]
    path = tmp_path / "page.html"
    path.write_text(page.files(records, tmp_path)["index.html"], "utf-8")
    browser.set_window_size(1220, 900)  # just wide enough for two cards a line
    browser.get(path.as_uri())
    widths = browser.execute_script(
        "return [...document.querySelectorAll('#overview .card .scroll')]"
        ".map(box => [box.scrollWidth, box.clientWidth])"
    )
    browser.set_window_size(1200, 900)  # as the other tests have it
    assert len(widths) == 2, widths
    assert all(content <= box for content, box in widths)
