from __future__ import annotations

from collections.abc import Callable

import pytest
from torch import Tensor, nn

from undertow.attacks import ATTACKS
from undertow.testing.attacks import CONTRACT, Case, quick


@pytest.fixture(scope="module", params=ATTACKS)
def case(request: pytest.FixtureRequest, model: nn.Module, batch: tuple[Tensor, Tensor]) -> Case:
    return Case(attack=quick(request.param), model=model, x=batch[0][:5], y=batch[1][:5])


@pytest.mark.parametrize("check", CONTRACT, ids=lambda check: check.__name__)
def test_contract(case: Case, check: Callable[[Case], None]) -> None:
    check(case)
