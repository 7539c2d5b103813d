"""The report in a real browser: drawn, quiet, on a phone, dark, printed, without scripts."""

from __future__ import annotations

import base64
import shutil
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from undertow.report import write_report
from undertow.store import Run

webdriver = pytest.importorskip("selenium.webdriver")
BROWSER, DRIVER = shutil.which("chromium"), shutil.which("chromedriver")
pytestmark = [
    pytest.mark.browser,
    pytest.mark.skipif(not (BROWSER and DRIVER), reason="no chromium with chromedriver was found"),
]


@pytest.fixture(scope="module")
def browser() -> Iterator[Any]:
    options = webdriver.ChromeOptions()
    options.binary_location = BROWSER
    with tempfile.TemporaryDirectory(ignore_cleanup_errors=True) as profile:
        for word in (
            "headless=new",
            "no-sandbox",
            "disable-gpu",
            "disable-background-networking",
            f"user-data-dir={profile}",
        ):
            options.add_argument(f"--{word}")
        options.set_capability("goog:loggingPrefs", {"browser": "ALL"})
        driver = webdriver.Chrome(options=options, service=webdriver.ChromeService(DRIVER))
        driver.set_script_timeout(120)
        yield driver
        driver.quit()


def _open(browser: Any, page: Path, width: int, theme: str = "light") -> None:
    browser.execute_cdp_cmd(
        "Emulation.setEmulatedMedia",
        {"features": [{"name": "prefers-color-scheme", "value": theme}]},
    )
    metrics = {"width": width, "height": 900, "deviceScaleFactor": 1, "mobile": width < 500}
    browser.execute_cdp_cmd("Emulation.setDeviceMetricsOverride", metrics)
    browser.get(page.as_uri())


_DRAW = """
const done = arguments[arguments.length - 1];
const wait = (ms) => new Promise((r) => setTimeout(r, ms));
const go = async () => {
  for (let i = 0; i < 300 && !document.documentElement.dataset.ready; i++) await wait(100);
  document.querySelectorAll("#figures details").forEach((d) => { d.open = true; });
  for (const plot of document.querySelectorAll(".plot")) {
    plot.scrollIntoView({ behavior: "instant" });
    for (let i = 0; i < 200 && !plot.querySelector(".main-svg"); i++) await wait(50);
  }
  done([...document.querySelectorAll(".plot")].filter((p) => !p.querySelector(".main-svg")).length);
};
go();
"""


@pytest.mark.parametrize(("width", "theme"), [(1440, "dark"), (390, "light")])
def test_every_figure_is_drawn_without_a_word_on_the_console(
    browser: Any, page: Path, width: int, theme: str
) -> None:
    _open(browser, page, width, theme)
    assert browser.execute_async_script(_DRAW) == 0
    assert browser.execute_script("return document.documentElement.scrollWidth") <= width
    ink = browser.execute_script("return getComputedStyle(document.body).backgroundColor")
    assert (sum(map(int, ink.removeprefix("rgb(").rstrip(")").split(","))) < 200) == (
        theme == "dark"
    )
    assert browser.get_log("browser") == []


def test_numbers_can_be_downloaded_as_csv(browser: Any, page: Path) -> None:
    _open(browser, page, 1200)
    assert browser.execute_async_script(_DRAW) == 0
    browser.execute_script(
        "URL.createObjectURL = (blob) => { blob.text().then((t) => { window.got = t; }); return "
        "'#'; };"
        "document.querySelector('#figure-2 .tools button:last-child').click();"
    )
    text = browser.execute_async_script(
        "const d = arguments[0]; setTimeout(() => d(window.got), 300);"
    )
    assert text.startswith("panel,series,kind,x,y,value\n")
    assert "JSMA" in text
    words = (
        "return [...document.querySelectorAll('#figure-1 .tools button')].map((b) => b.innerText)"
    )
    assert browser.execute_script(words) == ["SVG", "PNG"], "pictures hold no numbers"


def test_print_has_every_figure_as_a_picture(browser: Any, page: Path) -> None:
    _open(browser, page, 1200)
    assert browser.execute_async_script(_DRAW) == 0
    browser.execute_cdp_cmd("Emulation.setEmulatedMedia", {"media": "print"})
    pictures = "[...document.querySelectorAll('.plot > img')]"
    count = f"return {pictures}.filter((i) => i.offsetHeight > 50).length"
    assert browser.execute_script(count) == browser.execute_script(
        "return document.querySelectorAll('.plot').length"
    )
    assert browser.execute_script(
        "return [...document.querySelectorAll('.live-plot')].every((p) => !p.offsetHeight)"
    )
    pdf = browser.execute_cdp_cmd("Page.printToPDF", {})
    assert base64.b64decode(pdf["data"]).startswith(b"%PDF")


def test_without_scripts_the_pictures_stay(browser: Any, page: Path) -> None:
    browser.execute_cdp_cmd("Emulation.setScriptExecutionDisabled", {"value": True})
    try:
        _open(browser, page, 1200)
        root = browser.execute_cdp_cmd("DOM.getDocument", {"depth": 1})["root"]["nodeId"]
        image = browser.execute_cdp_cmd(
            "DOM.querySelector", {"nodeId": root, "selector": ".plot > img"}
        )["nodeId"]
        box = browser.execute_cdp_cmd("DOM.getBoxModel", {"nodeId": image})["model"]
        assert box["width"] > 600
        assert box["height"] > 100
    finally:
        browser.execute_cdp_cmd("Emulation.setScriptExecutionDisabled", {"value": False})


def test_names_with_markup_run_nothing(browser: Any, evil: Run) -> None:
    _open(browser, write_report(evil), 1000)
    assert browser.execute_async_script(_DRAW) == 0
    assert (
        browser.execute_script("return document.querySelectorAll('img[src=x], [onerror]').length")
        == 0
    )
    assert browser.get_log("browser") == []


@pytest.mark.parametrize("theme", ["dark", pytest.param("light", marks=pytest.mark.slow)])
def test_axe_finds_nothing_serious(
    browser: Any, page: Path, barriers: Callable[[Any], list[str]], theme: str
) -> None:
    _open(browser, page, 1440, theme)
    assert browser.execute_async_script(_DRAW) == 0
    assert barriers(browser) == []


def test_axe_would_find_what_is_planted(
    browser: Any, tmp_path: Path, barriers: Callable[[Any], list[str]]
) -> None:
    bad = tmp_path / "bad.html"
    bad.write_text("<html><body><img src='x.png'><a href='#'></a></body></html>")
    browser.get(bad.as_uri())
    kinds = {line.split(":")[0] for line in barriers(browser)}
    assert {"image-alt", "link-name", "html-has-lang"} <= kinds
