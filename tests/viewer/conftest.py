from __future__ import annotations

import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from undertow.store import Run, open_run
from undertow.testing.runs import synthetic_run
from undertow.viewer.source import Source

MODEL = "digits_cnn"


@pytest.fixture(scope="session")
def run(tmp_path_factory: pytest.TempPathFactory) -> Run:
    attacks = ("benign", "igsm", "jsma", "noise:igsm")
    place = tmp_path_factory.mktemp("viewer") / "run"
    models = (MODEL, "deep_conv")
    synthetic_run(place, samples=16, models=models, attacks=attacks)
    for first in (place / "results.zarr/exemplars").glob("*/101"):
        for index in range(102, 113):  # more than a phone has room for
            shutil.copytree(first, first.with_name(str(index)))
    return open_run(place)


@pytest.fixture(scope="session")
def half(tmp_path_factory: pytest.TempPathFactory) -> Run:
    place = tmp_path_factory.mktemp("viewer") / "half"
    return synthetic_run(
        place, samples=16, models=(MODEL,), attacks=("benign", "igsm"), finished=False
    )


@pytest.fixture
def source(run: Run) -> Source:
    return Source(run.path)


@pytest.fixture
def copy(run: Run, tmp_path: Path) -> Path:
    """A run that a test may damage."""
    return Path(shutil.copytree(run.path, tmp_path / "copy"))


@pytest.fixture(scope="session")
def browser(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Any]:
    binary, driver = shutil.which("chromium"), shutil.which("chromedriver")
    if binary is None or driver is None:
        pytest.skip("no browser: chromium and chromedriver are not installed")
    from selenium import webdriver
    from selenium.webdriver.chrome.service import Service

    downloads = tmp_path_factory.mktemp("downloads")
    options = webdriver.ChromeOptions()
    options.binary_location = binary
    for flag in (
        "--headless=new", "--no-sandbox", "--disable-gpu", "--disable-background-networking",
        "--disable-dev-shm-usage", f"--user-data-dir={tmp_path_factory.mktemp('profile')}",
        "--window-size=1440,900",
    ):  # fmt: skip
        options.add_argument(flag)
    options.add_experimental_option("prefs", {"download.default_directory": str(downloads)})
    options.set_capability("goog:loggingPrefs", {"browser": "ALL"})
    driven = webdriver.Chrome(options=options, service=Service(driver))
    driven.execute_cdp_cmd(
        "Browser.setDownloadBehavior", {"behavior": "allow", "downloadPath": str(downloads)}
    )
    driven.downloads = downloads  # type: ignore[attr-defined]
    yield driven
    driven.quit()
