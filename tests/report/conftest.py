from __future__ import annotations

from pathlib import Path

import pytest

from undertow.report import write_report
from undertow.store import Run
from undertow.testing.runs import synthetic_run

EVIL = '<img src=x onerror="alert(1)">'


@pytest.fixture(scope="session")
def run(tmp_path_factory: pytest.TempPathFactory) -> Run:
    attacks = ("benign", "igsm", "jsma", "noise:jsma")
    return synthetic_run(
        tmp_path_factory.mktemp("report") / "run", samples=8, shard=4, attacks=attacks, size=12
    )


@pytest.fixture(scope="session")
def page(run: Run) -> Path:
    return write_report(run)


@pytest.fixture(scope="session")
def evil(tmp_path_factory: pytest.TempPathFactory) -> Run:
    """A half-finished run whose names hold markup."""
    return synthetic_run(
        tmp_path_factory.mktemp("report") / "evil",
        samples=4,
        shard=2,
        models=(EVIL,),
        attacks=("benign", "</script><b>"),
        finished=False,
    )
