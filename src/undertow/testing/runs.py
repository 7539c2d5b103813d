"""A run made of invented numbers, for tests of whatever reads runs."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any, Final

import numpy as np
import xarray as xr

from undertow.axes import PROFILES
from undertow.store import (
    GROUPS,
    Answers,
    Cell,
    Contrast,
    Curve,
    Effect,
    Points,
    Restoration,
    Run,
    RunWriter,
    create_run,
    curve_key,
    open_run,
    template,
)
from undertow.store.answers import RULES_VERSION
from undertow.testing.invented import (
    CLASSES,
    COUNT,
    DEPTH,
    PUSH,
    RANKED,
    SPREAD,
    TAPS,
    class_rows,
    exemplar,
    mean_drift,
    mean_profile,
    profile_rows,
    push_of,
    restored,
    result_rows,
)

__all__ = ["CLASSES", "TAPS", "exemplar", "same_results", "synthetic_run"]

_QUESTIONS: Final = (
    (
        "q1",
        "How are adversarial inputs crafted?",
        "Information flows deviate, further with each step.",
        "supported",
    ),
    (
        "q2",
        "How do attacks differ in their mechanisms?",
        "Different attacks lead to drastically different flows.",
        "inconclusive",
    ),
    (
        "q3",
        "Why do adaptive attacks break distillation?",
        "Adaptive JSMA deviates much further than the regular one.",
        "contradicted",
    ),
)


def _fill(dataset: xr.Dataset, values: dict[str, np.ndarray], rows: slice) -> xr.Dataset:
    part = dataset.isel(sample=rows)
    return part.assign(
        {
            name: (part[name].dims, array[rows].astype(part[name].dtype))
            for name, array in values.items()
            if name in part.variables
        }
    )


def _curve(cell: Cell, profile: str, n: int) -> Curve:
    depth = np.linspace(DEPTH[0], 1, 33)
    taps = mean_profile(profile, push_of(cell))
    mean, sem = np.interp(depth, DEPTH, taps), float(SPREAD[profile] / np.sqrt(n))
    return Curve(
        depth=tuple(depth),
        mean=tuple(mean),
        low=tuple(mean - 1.96 * sem),
        high=tuple(mean + 1.96 * sem),
        tap_depth=tuple(DEPTH),
        tap_mean=tuple(taps),
        tap_sem=(sem,) * len(TAPS),
        n=n,
    )


def _effect(cell: Cell, profile: str, n: int) -> Effect:
    moved = mean_profile(profile, push_of(cell)) - mean_profile(profile, 0.0)
    d = 2 * moved / SPREAD[profile]
    reach = 1.96 * np.sqrt(1 / n + d**2 / (2 * n))
    return Effect(
        tap=TAPS,
        depth=tuple(DEPTH),
        d_z=tuple(d),
        low=tuple(d - reach),
        high=tuple(d + reach),
        p_adjusted=tuple(np.exp(-3 * abs(d))),
        n=n,
    )


def _contrast(cell: Cell, quantity: str, kinds: Sequence[str], n: int) -> Contrast:
    def values(push: float) -> np.ndarray:
        return mean_drift(push) if quantity == "drift" else mean_profile(quantity, push)

    def points(mean: np.ndarray) -> Points:
        half = 1.96 * SPREAD.get(quantity, 0.05) / np.sqrt(n)
        return Points(mean=tuple(mean), low=tuple(mean - half), high=tuple(mean + half))

    pushes = {"benign": 0.0, "attack": push_of(cell)}
    pushes |= {kind: 0.1 * i - 0.1 for i, kind in enumerate(kinds)}
    level = {who: values(push) for who, push in pushes.items()}
    change = {who: v - level["benign"] for who, v in level.items() if who != "benign"}
    return Contrast(
        tap=TAPS, depth=tuple(DEPTH), n=n, level={w: points(v) for w, v in level.items()},
        change={w: points(v) for w, v in change.items()},
    )  # fmt: skip


def _restoration(n: int) -> Restoration:
    taps = len(TAPS)

    def points(curve: np.ndarray) -> Points:
        low, high = np.clip(curve - 0.1, 0, 1), np.clip(curve + 0.1, 0, 1)
        return Points(mean=tuple(curve), low=tuple(low), high=tuple(high))

    curves = {
        name: tuple(points(restored()[k, rank]) for k in range(taps))
        for rank, name in enumerate(RANKED)
    }
    area = {name: points(np.full(taps, 0.9 - 0.1 * rank)) for rank, name in enumerate(RANKED)}
    return Restoration(
        tap=TAPS, depth=tuple(DEPTH), n=n, count=(COUNT,) * taps, restored=curves,
        implanted=curves, area=area, smallest=((0.2,) * taps, (0.5,) * taps),
        carriers=(((3, 0.5), (1, 0.25)),) * taps,
    )  # fmt: skip


def _explanation(model: str) -> dict[str, Any]:
    number = {"name": "drift to dog at stage3.2", "value": 0.12, "unit": "bit"}
    return {
        "input": "invented:101", "index": 101, "model": model, "attack": "jsma", "kind": "fooled",
        "classes": ("cat", "dog", "dog"), "numbers": [number], "interest": 3.2,
        "sentences": (
            "cat 98 % → dog 97 % after 12 steps of JSMA, 40 of 3,072 values changed.",
            "Up to stage3.0 the network still reads cat; from stage3.1, three quarters of the way "
            "through, it reads dog, since step 9 of 12.",
            "The same change made for another picture does not do this.",
        ),
    }  # fmt: skip


def _questions(n: int, models: Sequence[str]) -> list[dict[str, Any]]:
    base = {"name": "overall difference", "unit": "benign s.d.", "n": n}
    number = {**base, "value": 4.9, "low": 4.1, "high": 5.6, "d_z": 1.7, "p_adjusted": 1e-4}
    noise = {**base, "value": 0.6, "low": 0.4, "high": 0.8, "d_z": 0.2}
    claim = {
        "sentence": f"On {models[0]}, the profiles of JSMA inputs end 4.9 [4.1, 5.6] benign "
        f"standard deviations away (n = {n}).",
        "numbers": [number],
        "control": {
            "sentence": "Noise of the same norm moves them by 0.6 [0.4, 0.8].",
            "numbers": [noise],
        },
    }
    asked: list[dict[str, Any]] = [
        {"id": i, "question": q, "claims": [{**claim, "claim": words, "verdict": verdict}]}
        for i, q, words, verdict in _QUESTIONS
    ]
    left = f"needs inputs aimed at {models[-1]}"
    words = "How are transferable inputs different?"
    return [*asked, {"id": "q5", "question": words, "missing": left}]


def _answers(cells: Sequence[Cell], models: Sequence[str], n: int) -> Answers:
    aggregates: dict[str, dict[str, dict[str, Curve]]] = {}
    effects: dict[str, dict[str, dict[str, Effect]]] = {}
    contrasts: dict[str, dict[str, dict[str, Contrast]]] = {}
    for cell in cells:
        curves = aggregates.setdefault(cell.model, {})
        key = curve_key(cell.attack, cell.source)
        curves[key] = {p: _curve(cell, p, n) for p in PROFILES}
        if not cell.benign:
            effect = {p: _effect(cell, p, n) for p in PROFILES}
            effects.setdefault(cell.model, {})[key] = effect
        if not (cell.benign or cell.source or cell.control_of):
            kinds = [c.control for c in cells if c.control_of == cell.attack and not c.source]
            contrasts.setdefault(cell.model, {})[key] = {
                q: _contrast(cell, q, [str(k) for k in dict.fromkeys(kinds)], n)
                for q in ("drift", *PROFILES)
            }
        for word, share in (("transferable", 3), ("non-transferable", 2)) if cell.source else ():
            part = curve_key(cell.attack, cell.source, word)
            curves[part] = {p: _curve(cell, p, max(2, n // share)) for p in PROFILES}
    rate = [[0.97 if s == m else 0.3 for m in models] for s in models]
    transfer = {
        "attack": "jsma",
        "source": models,
        "model": models,
        "rate": rate,
        "low": [[max(0.0, v - 0.1) for v in row] for row in rate],
        "high": [[min(1.0, v + 0.1) for v in row] for row in rate],
        "n": [[n] * len(models) for _ in models],
    }
    table = {
        "title": "Invented numbers",
        "columns": ["attack", "success", "mean L2"],
        "rows": [["jsma", 0.97, 1.1], ["igsm", 1.0, None]],
        "caption": f"n = {n} inputs each.",
    }
    return Answers.of(
        rules=RULES_VERSION,
        questions=_questions(n, models),
        aggregates=aggregates,
        effects=effects,
        contrasts=contrasts,
        restorations={models[0]: {"jsma": _restoration(n)}},
        explanations=[_explanation(models[0])],
        headline=f"On {models[0]}, JSMA turns the flow to the wrong class (invented).",
        transfers=[transfer],
        tables=[table],
    )


def _write(writer: RunWriter, cell: Cell, samples: int, shard: int, stop: int) -> None:
    ends = result_rows(cell, samples)
    at_taps: dict[str, Any] = {"taps": TAPS, "depth": DEPTH}
    index = {"index": ends["index"]}
    groups: dict[str, tuple[dict[str, np.ndarray], dict[str, Any]]] = {
        "attacks": (ends, {}),
        "profiles": (profile_rows(cell, samples) | index, at_taps),
        "class_information": (class_rows(cell, ends) | index, at_taps),
    }
    shards = -(-samples // shard)
    writer.ledger.plan(cell, shards)
    for group, (values, more) in groups.items():
        empty = template(group, samples=samples, classes=len(CLASSES), **more)
        writer.prepare(group, cell, empty.assign_attrs(classes=list(CLASSES)), shard)
        rows = _fill(empty, values, slice(0, min(samples, stop * shard)))
        writer.write({(group, cell): arrays_of(rows)}, 0)
    writer.framed([cell])
    for s in range(min(stop, shards)):
        writer.finish((cell,), s, seconds=1.5, worker="synthetic")


def _manifest() -> dict[str, Any]:
    return {
        "seed": 1,
        "classes": list(CLASSES),
        "versions": {"undertow": "0"},
        "hashes": {"weights": "0" * 64},
        "hardware": {"cpu": "none", "cores": 2},
        "data": {"name": "invented", "split": "test"},
        "estimator": "gaussian_copula",
        "null": "mismatch",
        "references": 8,
    }


def synthetic_run(
    path: Path,
    *,
    samples: int = 24,
    shard: int = 8,
    models: Sequence[str] = ("good_init", "deep_conv"),
    attacks: Sequence[str] = tuple(PUSH),
    finished: bool = True,
    size: int = 32,
) -> Run:
    """Write a run of invented numbers and open it.

    Args:
        path: where; a directory that is empty or absent.
        samples: inputs of every cell.
        shard: inputs in a shard.
        models: names of models; each reads inputs aimed at it, and JSMA inputs aimed at the next.
        attacks: attacks of every model.
        finished: whether all shards are done and there are answers; else only the first shard of
            each cell is done, one has failed, and there is nothing else.
        size: rows and columns of the recorded input.
    """
    cells = [Cell(m, a) for m in models for a in attacks]
    cells += [Cell(m, "jsma", models[i - 1]) for i, m in enumerate(models) if len(models) > 1]
    names = {"models": list(models), "attacks": list(attacks)}
    spec = {"name": "synthetic", "seed": 1, "inputs": samples, **names}
    with create_run(path, spec, _manifest()) as writer:
        for cell in cells:
            _write(writer, cell, samples, shard, stop=10**9 if finished else 1)
        if finished:
            for cell in [c for c in cells if c.attack in ("jsma", "igsm") and not c.source][:2]:
                writer.exemplar(cell, 101, exemplar(cell, size=size))
            writer.answers(_answers(cells, models, samples))
        else:
            failed = "Traceback …\nMemoryError: no room"
            writer.ledger.record(cells[-1], 1, "failed", traceback=failed)
    return open_run(path)


def same_results(one: Run, other: Run) -> None:
    """Fail unless every stored number of two runs is equal, bit for bit, and so are the answers."""
    assert one.cells == other.cells
    for cell in one.cells:
        for group in (g for g in GROUPS if g != "exemplars" and one.has(g, cell)):
            a, b = (getattr(run, group)(cell).load() for run in (one, other))
            assert a.identical(b), f"{group} of {cell.name} differ"
        assert one.exemplars(cell) == other.exemplars(cell)
        for index in one.exemplars(cell):
            a, b = (run.exemplar(cell, index).load() for run in (one, other))
            assert a.identical(b), f"exemplar {index} of {cell.name} differs"
    assert one.answers == other.answers


def arrays_of(dataset: xr.Dataset) -> dict[str, np.ndarray]:
    """The variables along ``sample`` as the writer takes them."""
    found = dataset.variables.items()
    return {str(n): v.values for n, v in found if v.dims[:1] == ("sample",)}
