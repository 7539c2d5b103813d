from __future__ import annotations

import pytest

from undertow.store import Run
from undertow.testing.runs import synthetic_run

ATTACKS = ("benign", "igsm", "deepfool", "jsma", "noise:jsma")


@pytest.fixture(scope="session")
def run(tmp_path_factory: pytest.TempPathFactory) -> Run:
    return synthetic_run(
        tmp_path_factory.mktemp("figures") / "run", samples=8, shard=4, attacks=ATTACKS, size=12
    )


@pytest.fixture(scope="session")
def half(tmp_path_factory: pytest.TempPathFactory) -> Run:
    return synthetic_run(
        tmp_path_factory.mktemp("figures") / "half",
        samples=8,
        shard=4,
        attacks=("benign", "jsma"),
        finished=False,
    )
