"""The viewer in a real browser: views, slider, keyboard, filters, downloads, a live attack."""

from __future__ import annotations

import csv
import io
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from undertow.store import BENIGN, Cell, Run
from undertow.testing.runs import synthetic_run
from undertow.viewer import Viewer, open_viewer

from .conftest import MODEL

pytestmark = pytest.mark.browser

EVIL = "<img src=x onerror=\"document.title='owned'\">"


@pytest.fixture(scope="module")
def viewer(run: Run, browser: Any) -> Iterator[Viewer]:
    with open_viewer(run.path, port=0) as found:
        yield found


def wait(browser: Any, script: str, seconds: float = 30.0) -> Any:
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        found = browser.execute_script(f"return {script}")
        if found:
            return found
        time.sleep(0.03)
    raise AssertionError(f"never true: {script}")


def open_view(browser: Any, url: str, ready: str) -> None:
    browser.get_log("browser")
    browser.get(url)
    wait(browser, ready)


def quiet(browser: Any) -> None:
    """Nothing in the console: no error, no refused script, no failed request."""
    assert [e["message"] for e in browser.get_log("browser") if e["level"] == "SEVERE"] == []


def drawn(name: str) -> str:
    return f"Number(document.querySelector('[id*=\"{name}\"].figure')?.dataset.drawn || 0)"


STAGE = "document.querySelectorAll('#tr-stage .figure[data-drawn]').length === 2"


def download(browser: Any, selector: str, ending: str) -> bytes:
    for old in browser.downloads.iterdir():
        old.unlink()
    browser.execute_script(f"document.querySelector({selector!r}).click()")
    end = time.monotonic() + 15
    while time.monotonic() < end:
        found: list[Path] = [p for p in browser.downloads.iterdir() if p.suffix == ending]
        if found and found[0].stat().st_size:
            return found[0].read_bytes()
        time.sleep(0.05)
    raise AssertionError(f"nothing ending in {ending} arrived")


def test_overview_filters_and_keeps_its_state_in_the_address(
    browser: Any, viewer: Viewer, run: Run
) -> None:
    open_view(browser, viewer.url, drawn("aggregate"))
    assert len(browser.find_elements("css selector", ".question")) == 4
    assert "supported" in browser.find_element("css selector", ".badge").text
    before = wait(browser, drawn("aggregate"))
    for box in browser.find_elements("css selector", "#ov-success label"):
        if box.text == "Successful":
            box.click()
    wait(browser, f"{drawn('aggregate')} > {before}")
    n = int(run.attacks(Cell(MODEL, "igsm"))["success"].sum())
    wait(browser, f"document.querySelector('#ov-counts').textContent.includes('igsm: {n} of 16')")
    wait(browser, "location.search.includes('success=successful')")
    wait(browser, "document.querySelectorAll('#ov-cells tbody tr').length === 10")
    wait(browser, drawn("also"))
    quiet(browser)
    open_view(browser, browser.current_url, drawn("aggregate"))
    assert (
        browser.execute_script("return document.querySelector('#ov-success :checked').value")
        == "successful"
    )


def test_a_figure_downloads_as_svg_png_and_csv(browser: Any, viewer: Viewer, run: Run) -> None:
    open_view(browser, viewer.url, drawn("aggregate"))
    tool = '[id*="aggregate"].figure .tool[data-kind={}]'
    text = download(browser, tool.format("csv"), ".csv").decode()
    rows = list(csv.DictReader(io.StringIO(text)))
    assert run.answers is not None
    curve = run.answers.aggregates[MODEL][BENIGN]["oip"]
    told = [
        r
        for r in rows
        if r["series"].startswith("benign (n") and r["panel"] == "Output information profile"
    ]
    band = [r for r in told if r["low"]]
    np.testing.assert_allclose([float(r["y"]) for r in band], curve.mean, rtol=1e-4)
    np.testing.assert_allclose([float(r["low"]) for r in band], curve.low, rtol=1e-4)
    np.testing.assert_allclose([float(r["high"]) for r in band], curve.high, rtol=1e-4)
    marks = [float(r["y"]) for r in told if not r["low"]]
    np.testing.assert_allclose(marks, curve.tap_mean, rtol=1e-4)
    svg = download(browser, tool.format("svg"), ".svg")
    assert svg.startswith(b"<svg")
    assert b"<script" not in svg
    assert download(browser, tool.format("png"), ".png").startswith(b"\x89PNG")
    quiet(browser)


def test_slider_keyboard_and_play_move_everything(browser: Any, viewer: Viewer, run: Run) -> None:
    from selenium.webdriver.common.keys import Keys

    open_view(browser, viewer.at("trajectory?step=2"), STAGE)
    step = "document.querySelector('#tr-stage').dataset.step"
    wait(browser, f"{step} === '2'")
    cell = Cell(MODEL, "igsm")
    data = run.exemplar(cell, 101)
    browser.find_element("tag name", "body").send_keys(Keys.ARROW_RIGHT)
    wait(browser, f"{step} === '3'")
    shown = "u = window.undertow.stage(), i = u.data.lines.now[2], u.lines._parts.plot.data[i].y"
    time.sleep(1.0)  # plotly hears of the step when nothing has moved for a while
    seen = browser.execute_script(f"const {shown.replace('u.lines', 'y = u.lines')}; return y")
    np.testing.assert_allclose(seen, data["oip"].values[3], rtol=1e-3)
    stage = "window.undertow.stage()"
    path = f"{stage}.lines._parts.plot._nodes.get({stage}.data.lines.now[2]).line.getAttribute('d')"
    browser.find_element("tag name", "body").send_keys(Keys.ARROW_RIGHT)
    wait(browser, f"{step} === '4'")
    fast = browser.execute_script(f"return {path}")
    time.sleep(1.2)
    browser.execute_script("window.undertow.stage().moveFigures()")
    assert (
        browser.execute_script(f"return {path}") == fast
    )  # moved by hand is where plotly draws it
    browser.find_element("tag name", "body").send_keys(Keys.END)
    wait(browser, f"{step} === '12'")
    answer = browser.find_element("css selector", ".bar.predicted .bar-name").text
    assert answer.startswith("dog")
    assert "takes over" in browser.find_element("css selector", ".takeover").text
    browser.find_element("tag name", "body").send_keys(Keys.HOME)
    wait(browser, f"{step} === '0'")
    browser.execute_script("document.querySelector('.transport-button.play').click()")
    wait(browser, f"{step} === '12'")
    wait(browser, "location.search.includes('step=12')")
    text = download(browser, ".stage-head .tool[data-kind=csv]", ".csv").decode()
    rows = list(csv.DictReader(io.StringIO(text)))
    assert len(rows) == 13 * data.sizes["tap"]
    np.testing.assert_allclose(float(rows[-1]["ioc"]), data["ioc"].values[-1, -1], rtol=1e-3)
    assert download(browser, ".stage-head .tool[data-kind=png]", ".png").startswith(b"\x89PNG")
    quiet(browser)


def test_layers_order_and_tint(browser: Any, viewer: Viewer) -> None:
    open_view(browser, viewer.at("layer"), "document.querySelectorAll('.tile').length")
    first = browser.find_element("css selector", ".tile b").text
    for box in browser.find_elements("css selector", "#la-order label"):
        if box.text == "Number":
            box.click()
    wait(browser, "document.querySelector('.tile b').textContent === 'map 0'")
    wait(browser, drawn("matrices"))
    wait(browser, "location.search.includes('order=number')")
    assert first.startswith("map ")
    text = download(browser, "#la-maps .tool[data-kind=csv]", ".csv").decode()
    assert len(text.splitlines()) == 1 + 32
    quiet(browser)


def test_compare_and_the_way_back(browser: Any, viewer: Viewer) -> None:
    open_view(browser, viewer.at("compare"), drawn("compare"))
    browser.find_element("id", "nav-layer").click()
    wait(browser, "document.querySelectorAll('.tile').length")
    browser.back()
    wait(browser, drawn("compare"))
    assert "current" in browser.find_element("id", "nav-compare").get_attribute("class")
    quiet(browser)


@pytest.mark.parametrize("view", ["", "trajectory", "layer", "compare", "live"])
def test_nothing_is_wider_than_a_phone(browser: Any, viewer: Viewer, view: str) -> None:
    size = {"width": 390, "height": 844, "deviceScaleFactor": 1, "mobile": True}
    browser.execute_cdp_cmd("Emulation.setDeviceMetricsOverride", size)
    try:
        ready = "document.querySelector('.figure[data-drawn], .tile, #li-settings .field')"
        open_view(browser, viewer.at(view), ready)
        assert browser.execute_script("return document.documentElement.scrollWidth") <= 390
        quiet(browser)
    finally:
        browser.execute_cdp_cmd("Emulation.clearDeviceMetricsOverride", {})


def test_light_and_dark(browser: Any, viewer: Viewer) -> None:
    open_view(browser, viewer.url, drawn("aggregate"))
    paper = "getComputedStyle(document.body).backgroundColor"
    line = "document.querySelector('.xtick text').style.fill"
    before = browser.execute_script(f"return [{paper}, {line}]")
    count = browser.execute_script(f"return {drawn('aggregate')}")
    browser.find_element("id", "theme").click()
    wait(browser, f"{drawn('aggregate')} > {count}")
    after = browser.execute_script(f"return [{paper}, {line}]")
    assert before[0] != after[0]
    assert before[1] != after[1]
    browser.find_element("id", "theme").click()
    quiet(browser)


def test_a_half_finished_run_says_what_is_missing(browser: Any, half: Run) -> None:
    with open_viewer(half.path, port=0) as viewer:
        open_view(browser, viewer.url, drawn("aggregate"))
        assert "Half-finished" in browser.find_element("css selector", ".notice.missing").text
        open_view(browser, viewer.at("trajectory"), "document.querySelector('.empty')")
        quiet(browser)


def test_names_with_markup_do_nothing(browser: Any, tmp_path: Path) -> None:
    run = synthetic_run(tmp_path / "evil", samples=8, models=(EVIL,), attacks=("benign", "igsm"))
    with open_viewer(run.path, port=0) as viewer:
        for view, ready in (
            ("", drawn("aggregate")),
            ("trajectory", STAGE),
            ("compare", drawn("compare")),
        ):
            open_view(browser, viewer.at(view), ready)
            assert (
                browser.execute_script("return document.querySelectorAll('img[onerror]').length")
                == 0
            )
            assert "owned" not in browser.title.partition("·")[0]
            assert EVIL in browser.find_element("id", "view").get_attribute("textContent")
            quiet(browser)


def test_a_token_opens_the_door_once(browser: Any, run: Run) -> None:
    with open_viewer(run.path, port=0, token="a-token-for-the-test") as viewer:
        bare = viewer.url.partition("?")[0]
        browser.get(bare)
        assert "token is needed" in browser.title
        open_view(browser, viewer.url, drawn("aggregate"))
        assert "token" not in browser.current_url
        browser.get_log("browser")
        browser.get(bare + "compare")
        wait(browser, drawn("compare"))


def test_a_live_attack_runs_and_stops(browser: Any, viewer: Viewer) -> None:
    where = (
        f"live?model={MODEL}&data=digits&index=3&attack=igsm&s.steps=4&s.stop=False&s.epsilon=0.3"
    )
    open_view(
        browser, viewer.at(where), "document.querySelectorAll('#li-settings .field').length >= 4"
    )
    wait(browser, "document.querySelector('#li-preview img')")
    browser.find_element("id", "li-run").click()
    wait(browser, "document.querySelector('#li-stage')?.dataset.step === '4'", 60)
    wait(browser, "document.querySelector('#li-stage .figure[data-drawn]')", 90)
    browser.execute_script("document.getElementById('li-stop').click()")
    wait(browser, "!document.getElementById('li-run').disabled", 60)
    # Whether the stop or the end came first, the words say so, and every step is there.
    words = browser.find_element("id", "li-words").text
    assert "step 4" in words or words.startswith("Stopped"), words
    quiet(browser)


@pytest.mark.parametrize(
    ("view", "theme"),
    [
        *((view, "light") for view in ("", "trajectory", "layer", "compare", "live")),
        *((view, "dark") for view in ("", "trajectory")),
    ],
)
def test_axe_finds_nothing_serious(
    browser: Any, viewer: Viewer, barriers: Callable[[Any], list[str]], view: str, theme: str
) -> None:
    asked = {"features": [{"name": "prefers-color-scheme", "value": theme}]}
    browser.execute_cdp_cmd("Emulation.setEmulatedMedia", asked)
    try:
        ready = "document.querySelector('.figure[data-drawn], .tile, #li-settings .field')"
        open_view(browser, viewer.at(view), ready)
        found = barriers(browser)
        assert not found, "\n".join(found)
    finally:
        browser.execute_cdp_cmd("Emulation.setEmulatedMedia", {"features": []})
