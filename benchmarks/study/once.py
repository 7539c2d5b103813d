"""One run of a study in a process of its own; what it took, as a line of JSON."""

from __future__ import annotations

import json
import resource
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch

from undertow.store import Ledger, Run, RunWriter
from undertow.studies import run as running
from undertow.studies.asked.spec import StudySpec

ATTACKS = {
    "fgsm": {"name": "fgsm", "settings": {"epsilon": 0.03}},
    "igsm": {"name": "igsm", "settings": {"epsilon": 0.03}},
    "jsma": {"name": "jsma", "target": "easiest"},
}
STORE = ((RunWriter, "prepare"), (RunWriter, "write"), (RunWriter, "exemplar"),
         (RunWriter, "update_manifest"), (Ledger, "record_all"), (Ledger, "plan_all"))  # fmt: skip


def spec_of(model: str, data: str, attacks: list[str], inputs: int, shard: int = 50) -> StudySpec:
    return StudySpec.model_validate(
        {
            "name": "benchmark",
            "models": [model],
            "data": {"name": data, "inputs": inputs},
            "attacks": [ATTACKS[name] for name in attacks],
            "exemplars": 2,
            "shard": shard,
            "questions": ["q1", "q2"] if len(attacks) > 1 else ["q1"],
        }
    )


def main(told: dict[str, Any]) -> dict[str, Any]:
    """Run the study that ``told`` describes.

    Parts are told in processor seconds: on a busy machine, their wall time is that of others.
    """
    torch.set_num_threads(1)
    spent: Counter[str] = Counter()
    for owner, name in STORE:
        setattr(owner, name, _timed(getattr(owner, name), "store", spent))
    running.conclude = _timed(running.conclude, "statistics", spent)  # type: ignore[assignment]
    spec: StudySpec | str = told["preset"] or spec_of(
        told["model"], told["data"], told["attacks"], told["inputs"], told["shard"]
    )
    with tempfile.TemporaryDirectory(dir=told["folder"]) as folder:
        if told["warm"]:  # class readers and compiled kernels are made once, not by every study
            running.study(spec, out=Path(folder) / "warm", inputs=2)
            spent.clear()
        wall, cpu = time.perf_counter(), _cpu()
        run = running.study(spec, out=Path(folder) / "run", workers=told["workers"])
        whole = time.perf_counter() - wall
        used = _cpu() - cpu
        shards = len({(r.at, s) for (_, s), r in run.records.items()})
        rate, inputs = _rate(run), len(run.manifest["inputs"])
        failed = sum(r.state != "done" for r in run.records.values())
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
    return {
        **{k: told[k] for k in ("model", "workers")}, "inputs": inputs, "seconds": whole,
        "cpu": used,
        "store cpu": spent["store"], "statistics cpu": spent["statistics"],
        "inputs a second": rate, "shards": shards, "failed": failed, "MiB": peak,
    }  # fmt: skip


def _timed(work: Callable[..., Any], part: str, spent: Counter[str]) -> Callable[..., Any]:
    depth = 0

    def timed(*args: Any, **kwargs: Any) -> Any:
        nonlocal depth
        started, depth = time.process_time(), depth + 1
        try:
            return work(*args, **kwargs)
        finally:
            depth -= 1
            if not depth:
                spent[part] += time.process_time() - started

    return timed


def _cpu() -> float:
    own, children = (resource.getrusage(who) for who in (resource.RUSAGE_SELF,
                                                         resource.RUSAGE_CHILDREN))  # fmt: skip
    return own.ru_utime + own.ru_stime + children.ru_utime + children.ru_stime


def _rate(run: Run) -> float:
    """Inputs a second from the first unit's end to the last one's: without starting workers."""
    ends = {(r.at, r.worker, s) for (_, s), r in run.records.items() if isinstance(s, int)}
    times = sorted(at for at, *_ in ends)
    size = len(run.manifest["inputs"]) / (1 + max(s for _, _, s in ends))
    return (len(times) - 1) * size / (times[-1] - times[0]) if times[-1] > times[0] else 0.0


if __name__ == "__main__":
    print(json.dumps(main(json.loads(sys.argv[1]))))
