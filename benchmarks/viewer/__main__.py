"""First view and slider of the viewer in a real browser: ``python -m benchmarks.viewer [--json]``.

The run is synthetic (invented numbers), with as many inputs as asked for; the browser has an
empty cache each time, so the first view holds everything that a first visitor loads.
"""

from __future__ import annotations

import argparse
import json
import os
import statistics
import tempfile
import time
from pathlib import Path
from typing import Any

from benchmarks.viewer.chromium import chromium, wait

SEEN = """
(() => {
  const look = () => {
    const figure = document.querySelector('.figure[data-drawn]');
    if (figure && document.querySelector('.question')) {
      requestAnimationFrame(() => { window.firstView = performance.now(); });
    } else requestAnimationFrame(look);
  };
  requestAnimationFrame(look);
})();
"""
"""Notes when questions and the drawn figure of the overview have been painted."""

SLIDE = """
const [count, done] = [arguments[0], arguments[1]];
const stage = window.undertow.stage(), found = [];
let k = 0;
const next = () => {
  if (found.length >= count) { done(found); return; }
  k = (k + 1) % (stage.last + 1);
  const begun = performance.now();
  stage.range.value = k;
  stage.range.dispatchEvent(new Event('input'));
  const look = () => {
    if (stage.host.dataset.step !== String(stage.data.steps[k])) {
      requestAnimationFrame(look);
      return;
    }
    const channel = new MessageChannel();  // a task after the frame has been produced
    channel.port1.onmessage = () => { found.push(performance.now() - begun); setTimeout(next, 5); };
    channel.port2.postMessage(0);
  };
  requestAnimationFrame(look);
};
next();
"""
"""Moves the slider step by step; the time from the event to the end of the frame that shows it."""


def first_view(url: str, times: int, folder: Path) -> list[float]:
    """Milliseconds from the navigation to the painted overview, each with an empty cache."""
    found = []
    for k in range(times):
        with chromium(folder / f"first{k}") as browser:
            browser.get("about:blank")
            browser.execute_cdp_cmd("Page.addScriptToEvaluateOnNewDocument", {"source": SEEN})
            browser.get(url)
            found.append(float(wait(browser, "window.firstView")))
    return found


def slider(url: str, count: int, folder: Path) -> list[float]:
    """Milliseconds of single steps."""
    with chromium(folder / "slider") as browser:
        browser.get(url)
        wait(browser, "document.querySelectorAll('#tr-stage .figure[data-drawn]').length === 2")
        time.sleep(1)
        browser.set_script_timeout(120)
        steps: list[float] = browser.execute_async_script(SLIDE, count)
        return steps


def _quantile(values: list[float], share: float) -> float:
    ordered = sorted(values)
    return ordered[min(len(ordered) - 1, int(share * len(ordered)))]


def measure(inputs: int, times: int, steps: int, run: Path | None) -> dict[str, Any]:
    """All numbers of the table."""
    from undertow.testing.runs import synthetic_run
    from undertow.viewer import open_viewer

    with tempfile.TemporaryDirectory() as temporary:
        folder = Path(temporary)
        if run is None:
            run = folder / "run"
            attacks = ("benign", "fgsm", "igsm", "deepfool", "jsma", "noise:igsm", "noise:jsma")
            synthetic_run(
                run,
                samples=inputs,
                shard=max(1, inputs // 40),
                models=("good_init",),
                attacks=attacks,
            )
        begun = time.perf_counter()
        with open_viewer(run, port=0) as viewer:
            start = time.perf_counter() - begun
            first = first_view(viewer.url, times, folder)
            slid = slider(viewer.at("trajectory"), steps, folder)
    return {
        "inputs": inputs, "load": os.getloadavg()[0], "start_ms": 1000 * start,
        "first_view_ms": statistics.median(first), "first_view_all_ms": first,
        "slider_p50_ms": statistics.median(slid), "slider_p95_ms": _quantile(slid, 0.95),
        "slider_max_ms": max(slid), "slider_steps": len(slid),
        "reached": statistics.median(first) <= 1500 and _quantile(slid, 0.95) <= 100,
    }  # fmt: skip


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.viewer", description=__doc__)
    parser.add_argument("--inputs", type=int, default=10_000)
    parser.add_argument("--times", type=int, default=5, help="first views")
    parser.add_argument("--steps", type=int, default=100, help="steps of the slider")
    parser.add_argument("--run", type=Path, help="a run instead of a synthetic one")
    parser.add_argument("--json", action="store_true")
    given = parser.parse_args()
    found = measure(given.inputs, given.times, given.steps, given.run)
    if given.json:
        print(json.dumps(found, indent=2))
        return
    rows = (
        ("first view, median", found["first_view_ms"], 1500),
        ("slider step, median", found["slider_p50_ms"], None),
        ("slider step, 95th percentile", found["slider_p95_ms"], 100),
    )
    print(
        f"{'what':32}{'ms':>9}{'reach':>9}   ({found['inputs']} inputs, load {found['load']:.1f})"
    )
    for what, value, reach in rows:
        print(f"{what:32}{value:9.0f}{'' if reach is None else f'≤ {reach}':>9}")


if __name__ == "__main__":
    main()
