"""The same numbers, whoever computes them: here, in local processes, on a Dask cluster."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from undertow.errors import BadInput, Unavailable
from undertow.models.devices import out_of_memory
from undertow.store import Run
from undertow.studies.asked.plan import Unit
from undertow.studies.asked.spec import StudySpec
from undertow.studies.done.executors import EXECUTORS, Executor, work
from undertow.studies.done.executors.dask import Dask
from undertow.studies.done.executors.processes import Processes
from undertow.studies.done.executors.work import InProcess
from undertow.studies.done.workshop import Workshop
from undertow.studies.run import study
from undertow.testing.executors import CONTRACT, job, tasks_of
from undertow.testing.runs import same_results


@pytest.fixture(scope="module")
def cluster() -> Iterator[Any]:
    from distributed import LocalCluster

    with LocalCluster(
        n_workers=2, threads_per_worker=1, processes=True, dashboard_address=None, silence_logs=50
    ) as started:
        yield started


@pytest.fixture
def make(request: pytest.FixtureRequest) -> Callable[[str], Executor]:
    makers: dict[str, Callable[[], Executor]] = {
        "in_process": InProcess,
        "processes": lambda: Processes(2),
        "dask": lambda: Dask(request.getfixturevalue("cluster").scheduler_address),
    }
    return lambda name: makers[name]()


@pytest.mark.parametrize("check", CONTRACT, ids=lambda c: c.__name__)
@pytest.mark.parametrize("name", list(EXECUTORS))
def test_contract(
    name: str, check: Callable[[Executor], None], make: Callable[[str], Executor]
) -> None:
    executor = make(name)
    assert isinstance(executor, Executor)
    assert executor.name == name
    check(executor)


def test_a_study_is_the_same_with_workers(
    small_run: Run, small_spec: StudySpec, fresh_out: Path
) -> None:
    run = study(small_spec, out=fresh_out, workers=2)
    same_results(small_run, run)
    assert len({record.worker for record in run.records.values()}) == 2


def test_a_study_is_the_same_on_a_dask_cluster(
    small_run: Run, small_spec: StudySpec, fresh_out: Path, cluster: Any
) -> None:
    run = study(small_spec, out=fresh_out, cluster=cluster.scheduler_address)
    same_results(small_run, run)
    assert run.manifest["sessions"][-1]["executor"] == "dask"


def _short_of_memory(monkeypatch: pytest.MonkeyPatch, room: int, error: Exception) -> list[int]:
    """Every model call that belongs to a part of more than ``room`` inputs fails."""
    real, sizes = Workshop.fill, []

    def fill(shop: Workshop, unit: Unit) -> Any:
        for name in shop.models:
            shop.probe(name)  # getting ready is not what is short of memory here
        sizes.append(unit.stop - unit.start)

        def allocate(module: Any, args: Any) -> None:
            if sizes[-1] > room:
                raise error

        hooks = [m.register_forward_pre_hook(allocate) for m in shop.models.values()]
        try:
            return real(shop, unit)
        finally:
            for hook in hooks:
                hook.remove()

    monkeypatch.setattr(Workshop, "fill", fill)
    return sizes


@pytest.mark.slow
def test_a_shard_that_does_not_fit_in_memory_is_halved(
    small_run: Run, small_spec: StudySpec, fresh_out: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    error = torch.OutOfMemoryError("CUDA out of memory")
    sizes = _short_of_memory(monkeypatch, 2, error)
    run = study(small_spec, out=fresh_out)
    same_results(small_run, run)
    assert sizes.count(4) == 3, "each kind of shard runs into the wall once"
    facts = [r.facts.get("inputs_at_once") for (_, s), r in run.records.items() if s == 0]
    assert facts == [2] * len(facts)


@pytest.mark.parametrize(
    "error",
    [MemoryError(), RuntimeError("DefaultCPUAllocator: can't allocate memory")],
    ids=lambda e: type(e).__name__,
)
def test_halving_goes_down_to_one_input(error: Exception, monkeypatch: pytest.MonkeyPatch) -> None:
    """Alone, an input is computed by other kernels: equal to rounding, no longer to the bit."""
    with job("halved") as given:
        task = tasks_of(given)[0]
        wanted = work.attempt(given, task).results
        sizes = _short_of_memory(monkeypatch, 1, error)
        outcome = work.attempt(given, task)
    assert sizes == [2, 1, 1]
    assert outcome.facts == {"inputs_at_once": 1}
    for key, rows in wanted.items():
        for name, values in rows.items():
            found = outcome.results[key][name]
            np.testing.assert_allclose(values, found, rtol=1e-4, atol=1e-5, err_msg=name)


@pytest.mark.parametrize("most", [1, 2, 3, 4])
@pytest.mark.parametrize("size", [1, 2, 3, 5, 7, 25])
def test_parts_cover_a_shard_once_and_none_is_alone_as_long_as_two_fit(
    size: int, most: int
) -> None:
    parts = work._parts(10, 10 + size, most)
    rows = [row for a, b, kept in parts for row in list(range(a, b))[kept]]
    assert rows == list(range(10, 10 + size))
    sizes = {b - a for a, b, _ in parts}
    assert max(sizes) <= most
    if most > 1:
        assert all(a % 2 == 0 or kept != slice(None) for a, _, kept in parts), "pairs are parted"
    assert 1 not in sizes or most == 1 or size == 1


def test_one_input_that_does_not_fit_is_a_failed_shard(monkeypatch: pytest.MonkeyPatch) -> None:
    asked = []

    def never(shop: Workshop, unit: Unit) -> Any:
        asked.append(unit.stop - unit.start)
        raise MemoryError

    with job("never-fits") as given:
        monkeypatch.setattr(Workshop, "fill", never)
        outcome = work.attempt(given, tasks_of(given)[0])
    assert outcome.traceback is not None
    assert "MemoryError" in outcome.traceback
    assert asked == [2, 1]


def test_other_errors_are_not_taken_for_a_lack_of_memory() -> None:
    assert not out_of_memory(RuntimeError("shapes cannot be multiplied"))
    assert not out_of_memory(OSError(2, "no such file"))
    assert out_of_memory(OSError(12, "Cannot allocate memory"))


def test_bad_engines_are_refused_before_anything_is_done(
    small_spec: StudySpec, fresh_out: Path
) -> None:
    with pytest.raises(BadInput, match="not both"):
        study(small_spec, out=fresh_out, workers=2, cluster="tcp://127.0.0.1:1")
    with pytest.raises(BadInput, match="tcp://HOST:8786"):
        study(small_spec, out=fresh_out, cluster="localhost")
    with pytest.raises(BadInput, match="at least 1"):
        study(small_spec, out=fresh_out, workers=0)
    assert not fresh_out.exists()


def test_a_scheduler_that_does_not_answer_is_named(
    small_spec: StudySpec, fresh_out: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("undertow.studies.done.executors.dask.CONNECTING", 1)
    with pytest.raises(Unavailable, match=r"no Dask scheduler answers at 'tcp://127\.0\.0\.1:9'"):
        study(small_spec, out=fresh_out, cluster="tcp://127.0.0.1:9")
