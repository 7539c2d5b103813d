"""A small real study on the built-in digits, run once."""

from __future__ import annotations

import signal
from collections.abc import Callable
from importlib.util import find_spec
from pathlib import Path
from typing import Any

# Loaded before undertow, whose import hook would have them compiled anew in every process.
import numba  # noqa: F401
import pytest
import torch  # noqa: F401
import xarray  # noqa: F401
import zarr  # noqa: F401

from undertow.store import Run
from undertow.studies.asked.spec import StudySpec
from undertow.studies.run import study


def pytest_configure() -> None:
    """Commands that tests start hear Ctrl-C, even where the tests run in a background job.

    Such a job ignores it, and what it starts would inherit that.
    """
    signal.signal(signal.SIGINT, signal.default_int_handler)


@pytest.fixture(scope="session")
def small_spec() -> StudySpec:
    return StudySpec(
        name="small",
        models=("digits_cnn",),
        data={"name": "digits", "inputs": 10},
        attacks=(
            {"name": "fgsm", "settings": {"epsilon": 0.2}},
            {"name": "jsma", "target": "easiest", "control": ("transplant",)},
        ),
        exemplar_attack="jsma",
        exemplars=3,
        readers=300,
        reference_pool=16,
        shard=4,
        seed=7,
    )  # type: ignore[arg-type]


@pytest.fixture(scope="session")
def small_run(small_spec: StudySpec, tmp_path_factory: pytest.TempPathFactory) -> Run:
    return study(small_spec, out=tmp_path_factory.mktemp("study") / "run")


@pytest.fixture
def fresh_out(tmp_path: Path) -> Path:
    return tmp_path / "run"


@pytest.fixture(scope="session")
def barriers() -> Callable[[Any], list[str]]:
    """What axe-core finds on the page that a browser shows, and calls serious or critical."""
    found = find_spec("axe_playwright_python")
    if found is None or found.origin is None:
        pytest.skip("axe-core is not installed: requirements/peers.txt")
    script = (Path(found.origin).parent / "axe.min.js").read_text(encoding="utf-8")
    ask = """
    const done = arguments[arguments.length - 1];
    axe.run(document, {resultTypes: ["violations"]}).then(
      (r) => done(r.violations.filter((v) => ["serious", "critical"].includes(v.impact)).flatMap(
        (v) => v.nodes.slice(0, 3).map((n) => `${v.id}: ${n.target.join(" ")}: ${n.html}`))),
      (e) => done(["axe failed: " + e]));
    """

    def look(browser: Any) -> list[str]:
        browser.set_script_timeout(120)
        browser.execute_script(script)
        return list(browser.execute_async_script(ask))

    return look
