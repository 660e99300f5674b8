"""The report page in headless Chromium: what is loaded, sorted, scrolled and printed."""

import base64
import os
import shutil

import numpy as np
import pytest

from benchmarks.records import samples
from benchmarks.report import page

webdriver = pytest.importorskip("selenium.webdriver", reason="selenium is not installed")
from selenium.webdriver.common.by import By  # noqa: E402
from selenium.webdriver.common.keys import Keys  # noqa: E402

CHROMIUM = shutil.which("chromium") or shutil.which("google-chrome")
DRIVER = shutil.which("chromedriver")
pytestmark = pytest.mark.skipif(
    CHROMIUM is None or DRIVER is None, reason="chromium or chromedriver is not installed"
)
HOSTILE = "</script><script>window.hacked = 1</script><img src=x onerror=hacked=1> \"'{{7*7}}"


@pytest.fixture(scope="module")
def browser():
    options = webdriver.ChromeOptions()
    options.binary_location = CHROMIUM
    for argument in ("--headless=new", "--disable-gpu", "--window-size=1280,900"):
        options.add_argument(argument)
    if os.geteuid() == 0:
        options.add_argument("--no-sandbox")  # Chromium refuses root otherwise
    options.set_capability("goog:loggingPrefs", {"browser": "ALL", "performance": "ALL"})
    driver = webdriver.Chrome(options=options, service=webdriver.ChromeService(DRIVER))
    yield driver
    driver.quit()


@pytest.fixture
def opened(record, tmp_path, browser):
    """The browser on the page of two tasks, two seeds, pictures, and hostile commands."""
    records = [record("floor", value=0.9), record("oracle", value=0.1)]
    for number, method in enumerate(("crossflow", "flow_matching", "regression")):
        for seed in (0, 1):
            one = record(method, seed, 0.2 + 0.1 * number + 0.01 * seed)
            volatile = one.volatile.model_copy(update={"command": f"run {seed} {HOSTILE}"})
            records.append(one.model_copy(update={"volatile": volatile}))
    records.append(record(task="sr_tabletop", run_id="r-sr", value=10.0))
    rows = [f"{end}-{records[0].score_key}" for end in samples.ENDS]
    for row in [*rows, *(one.run_id for one in records[:-1])]:
        samples.write(tmp_path, "depth_tabletop", row, ["0"], [np.full((8, 8, 3), 90, np.uint8)])
    path = tmp_path / "a page.html"
    path.write_text(page.files(records, tmp_path)["index.html"], "utf-8")
    for log in ("performance", "browser"):
        browser.get_log(log)
    browser.get(path.as_uri())
    return browser


def test_nothing_is_loaded_and_nothing_complains(opened):
    assert [entry["message"] for entry in opened.get_log("browser")] == []
    sent = [one["message"] for one in opened.get_log("performance")]
    sent = [message for message in sent if '"Network.requestWillBeSent"' in message]
    assert sent and all('"url":"file:' in one or '"url":"data:' in one for one in sent)
    said = opened.execute_async_script(
        "const done = arguments[0];"
        "document.addEventListener('securitypolicyviolation', (e) => done(e.violatedDirective));"
        "new Image().src = 'https://example.invalid/x.png'; setTimeout(() => done('none'), 3000);"
    )
    assert said == "img-src"
    assert opened.execute_script("return window.hacked") is None, "hostile text is text"
    assert not opened.find_elements(By.CSS_SELECTOR, "img:not([src^='data:'])")


def test_the_first_screen_holds_the_answer(opened):
    for part in ("#answer p", "#answer img"):
        box = opened.find_element(By.CSS_SELECTOR, part).rect
        assert box["y"] >= 0 and box["y"] + box["height"] < 900, part


def test_sorting_by_mouse_and_by_keyboard(opened):
    table = opened.find_elements(By.CSS_SELECTOR, "#depth_tabletop table")[0]
    score = table.find_elements(By.TAG_NAME, "th")[1]
    order = ["oracle", "crossflow", "flow_matching", "regression", "floor"]
    score.find_element(By.TAG_NAME, "button").click()
    assert score.get_attribute("aria-sort") == "ascending"
    assert [one.text for one in table.find_elements(By.CSS_SELECTOR, "tbody th")] == order
    score.find_element(By.TAG_NAME, "button").send_keys(Keys.ENTER)
    assert score.get_attribute("aria-sort") == "descending"
    assert [one.text for one in table.find_elements(By.CSS_SELECTOR, "tbody th")] == order[::-1]


def test_tables_and_pictures_stand_there_without_javascript(opened):
    served = opened.find_element(By.TAG_NAME, "main").text
    opened.execute_cdp_cmd("Emulation.setScriptExecutionDisabled", {"value": True})
    try:
        opened.refresh()
        assert opened.find_element(By.TAG_NAME, "main").text.split() == served.split()
        assert not opened.find_elements(By.TAG_NAME, "button")
        assert opened.find_elements(By.CSS_SELECTOR, ".samples img")
    finally:
        opened.execute_cdp_cmd("Emulation.setScriptExecutionDisabled", {"value": False})


# 1032 CSS pixels are the width of A4 across, without margins.
@pytest.mark.parametrize(("width", "media"), [(360, "screen"), (1032, "print")])
def test_the_body_never_scrolls_sideways(opened, width, media):
    opened.execute_cdp_cmd(
        "Emulation.setDeviceMetricsOverride",
        {"width": width, "height": 800, "deviceScaleFactor": 1, "mobile": media == "screen"},
    )
    opened.execute_cdp_cmd("Emulation.setEmulatedMedia", {"media": media})
    try:
        assert opened.execute_script("return document.documentElement.scrollWidth") <= width
    finally:
        opened.execute_cdp_cmd("Emulation.clearDeviceMetricsOverride", {})
        opened.execute_cdp_cmd("Emulation.setEmulatedMedia", {"media": ""})


def test_it_prints_with_everything_open(opened):
    opened.execute_script("window.dispatchEvent(new Event('beforeprint'))")
    assert not opened.find_elements(By.CSS_SELECTOR, "details:not([open])")
    printed = opened.execute_cdp_cmd("Page.printToPDF", {"preferCSSPageSize": True})
    assert base64.b64decode(printed["data"]).startswith(b"%PDF")
