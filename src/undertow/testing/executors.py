"""What every executor must do. Run each of :data:`CONTRACT` on every name in the registry."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from multiprocessing import active_children

import numpy as np

from undertow.data import load_data
from undertow.errors import UndertowError
from undertow.models import fingerprint, load_model
from undertow.store import Cell
from undertow.studies.asked.plan import Unit, units
from undertow.studies.asked.spec import StudySpec
from undertow.studies.done.executors import Executor, Job, Outcome, Results, Task
from undertow.studies.done.executors.work import attempt, forget, job_of
from undertow.studies.done.workshop import Workshop

__all__ = ["CONTRACT", "job", "tasks_of"]


@contextmanager
def job(key: str) -> Iterator[Job]:
    """A small study of digits, as executors get it.

    Args:
        key: tells it apart from others in the same process.
    """
    spec = StudySpec.model_validate(
        {
            "name": "contract",
            "models": ["digits_cnn"],
            "data": {"name": "digits", "inputs": 6},
            "attacks": [{"name": "fgsm"}],
            "cross_check": None,
            "readers": 200,
            "references": 2,
            "exemplars": 1,
            "shard": 2,
        }
    )
    data, train = load_data("digits", "test"), load_data("digits", "fit")
    model = load_model("digits_cnn")
    shop = Workshop(
        spec=spec, train=train, data=data, index=np.arange(6), models={"digits_cnn": model}
    )
    shop.strengths = {"digits_cnn": {"fgsm": {"settings": {"epsilon": 0.1}}}}
    hashes = {"weights": {"digits_cnn": fingerprint(model)}, "data": {"test": data.fingerprint}}
    try:
        yield job_of(shop, key, hashes)
    finally:
        forget(key)


def tasks_of(job: Job) -> list[Task]:
    """Every shard of the job."""
    return [Task(unit=unit) for unit in units(StudySpec(**job.spec))]


def agrees_with_this_process(executor: Executor) -> None:
    """Every task has one outcome, bit for bit what this process gives; a bad one has a traceback.

    Tasks are taken only as they can be done, so that memory does not grow with their number.
    """
    before = set(active_children())
    with job("contract-agrees") as given:
        good = tasks_of(given)
        bad = Task(unit=Unit("no such model", "fgsm", 0, 0, 2, (Cell("no such model", "fgsm"),)))
        tasks = [*good[:2], bad, *good[2:]] * 3
        taken = 0

        def handed() -> Iterator[Task]:
            nonlocal taken
            for task in tasks:
                taken += 1
                yield task

        counted: dict[Unit, list[Outcome]] = {}
        with executor.at_work(given) as do:
            for number, outcome in enumerate(do(handed())):
                assert taken - number <= 12, "too many tasks taken before their turn"
                counted.setdefault(outcome.unit, []).append(outcome)
            assert list(do([])) == [], "no tasks, no outcomes"
        assert {len(outcomes) for outcomes in counted.values()} == {3}
        assert all(o.traceback and "no such model" in o.traceback for o in counted[bad.unit])
        for task in good:
            wanted = attempt(given, task).results
            for outcome in counted[task.unit]:
                assert outcome.traceback is None, outcome.traceback
                _same(wanted, outcome.results)
        assert set(active_children()) <= before, "processes are left behind"


def _same(wanted: Results, found: Results) -> None:
    assert wanted.keys() == found.keys()
    for key, rows in wanted.items():
        assert rows.keys() == found[key].keys()
        for name, values in rows.items():
            np.testing.assert_array_equal(values, found[key][name], err_msg=f"{key} {name}")


def refuses_other_weights(executor: Executor) -> None:
    """A worker whose model is not that of the run says so, and ends the work."""
    before = set(active_children())
    with job("contract-refuses") as given:
        other = replace(given, hashes={"weights": {"digits_cnn": "0" * 64}})
        refusal = ""
        try:
            with executor.at_work(other) as do:
                list(do(tasks_of(other)))
        except UndertowError as error:
            refusal = str(error)
        assert "digits_cnn" in refusal, refusal or "accepted"
        assert set(active_children()) <= before, "processes are left behind"


CONTRACT: tuple[Callable[[Executor], None], ...] = (
    agrees_with_this_process,
    refuses_other_weights,
)
"""Each takes an executor and raises ``AssertionError`` where it breaks the contract."""
