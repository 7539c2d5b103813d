"""What is measured of one attack on one batch: seconds, calls, memory, success, distances."""

from __future__ import annotations

import ctypes
import gc
import re
import statistics
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from undertow.types import Goal

__all__ = ["Result", "Run", "Task", "count", "race"]


@dataclass(frozen=True, slots=True)
class Task:
    """The model and the inputs that everybody gets."""

    model: nn.Module
    x: Tensor
    goal: Goal

    def first(self, n: int) -> Task:
        """The first ``n`` inputs."""
        rows = torch.arange(len(self.x)) < n
        return Task(self.model, self.x[rows], self.goal[rows])


Run = Callable[[Task], Tensor]


@dataclass(slots=True)
class Result:
    """What came out for one contestant.

    ``outside`` is the share of CPU seconds not spent in model calls; it can be told of ``ours``
    only, since others may have bound ``torch.autograd.grad`` before it was watched.
    """

    name: str
    end: Tensor | None = None
    success: Tensor | None = None
    forwards: int = 0
    backwards: int = 0
    peak: float | None = None
    outside: float = float("nan")
    ours: bool = False
    cpu: list[float] = field(default_factory=list)
    wall: list[float] = field(default_factory=list)
    fault: str | None = None

    def row(self, task: Task, common: Tensor, ours: Result) -> dict[str, Any]:
        """As numbers; distances over its own successes, and over those that all share."""
        if self.fault is not None or self.end is None or self.success is None:
            return {"contestant": self.name, "fault": self.fault}
        d = (self.end - task.x).flatten(1)
        norms = {
            "l0": (d.abs() > 1e-6).sum(1).float(),
            "l2": d.norm(dim=1),
            "linf": d.abs().amax(1),
        }
        ratios = [a / b for a, b in zip(self.cpu, ours.cpu, strict=False)] or [float("nan")]
        return {
            "contestant": self.name,
            "cpu_seconds": statistics.median(self.cpu),
            "wall_seconds": statistics.median(self.wall),
            "slower_than_ours": statistics.median(ratios),
            "slower_least": min(ratios),
            "slower_most": max(ratios),
            "forwards": self.forwards,
            "backwards": self.backwards,
            "outside_model": self.outside if self.ours else None,
            "peak_mib": self.peak,
            "success": float(self.success.float().mean()),
            **{k: _mean(v[self.success]) for k, v in norms.items()},
            **{f"{k}_common": _mean(v[common]) for k, v in norms.items()},
        }


def _mean(values: Tensor) -> float | None:
    return float(values.mean()) if len(values) else None


@contextmanager
def _watching(model: nn.Module, result: Result) -> Iterator[None]:
    """Count rows and the CPU seconds spent inside the model, forwards and backwards."""
    inside, begun = 0.0, 0.0
    grad, backward = torch.autograd.grad, torch.autograd.backward

    def before(module: nn.Module, args: Any) -> None:
        nonlocal begun
        begun = time.process_time()

    def after(module: nn.Module, args: Any, output: Any) -> None:
        nonlocal inside
        inside += time.process_time() - begun
        rows = len(args[0])
        result.forwards += rows
        if args[0].requires_grad:
            args[0].register_hook(lambda g: _back(rows))

    def _back(rows: int) -> None:
        result.backwards += rows

    def timed(function: Any) -> Any:
        def call(*args: Any, **kwargs: Any) -> Any:
            nonlocal inside
            start = time.process_time()
            try:
                return function(*args, **kwargs)
            finally:
                inside += time.process_time() - start

        return call

    hooks = [model.register_forward_pre_hook(before), model.register_forward_hook(after)]
    torch.autograd.grad, torch.autograd.backward = timed(grad), timed(backward)
    start = time.process_time()
    try:
        yield
    finally:
        spent = time.process_time() - start
        torch.autograd.grad, torch.autograd.backward = grad, backward
        for hook in hooks:
            hook.remove()
        result.outside = 1 - inside / spent if spent else float("nan")


def _resident() -> tuple[float, float] | None:
    """Resident memory now and at its peak, MiB; Linux only."""
    try:
        status = Path("/proc/self/status").read_text()
    except OSError:
        return None
    now, peak = (re.search(rf"{k}:\s+(\d+)", status) for k in ("VmRSS", "VmHWM"))
    return (int(now[1]) / 1024, int(peak[1]) / 1024) if now and peak else None


def _reset_peak() -> None:
    gc.collect()
    try:
        ctypes.CDLL("libc.so.6").malloc_trim(0)
        Path("/proc/self/clear_refs").write_text("5")
    except OSError:
        pass


def count(name: str, run: Run, task: Task) -> Result:
    """One run that is not timed: it counts calls and memory, and keeps the answer."""
    result = Result(name, ours=name.startswith(("undertow", "bare")))
    try:
        if len(task.x) > 1:
            run(task.first(1))  # imports, compilation, caches
    except Exception as error:
        result.fault = f"{type(error).__name__}: {error}"
        return result
    _reset_peak()
    before = _resident()
    with _watching(task.model, result):
        end = run(task)
    after = _resident()
    result.peak = after[1] - before[0] if before and after else None
    result.end = end.detach().cpu()
    with torch.no_grad():
        result.success = task.goal.reached(task.model(result.end))
    return result


def race(results: list[Result], runs: list[Run], task: Task, repeats: int) -> None:
    """Time all contestants, one after the other, ``repeats`` times round."""
    for _ in range(repeats):
        for result, run in zip(results, runs, strict=True):
            if result.fault is None:
                wall, cpu = time.perf_counter(), time.process_time()
                run(task)
                result.cpu.append(time.process_time() - cpu)
                result.wall.append(time.perf_counter() - wall)
