"""From stored results to answers: questions, aggregated IPs, effects and tables."""

from __future__ import annotations

import numpy as np

from undertow.axes import PROFILES
from undertow.errors import BadInput
from undertow.seeds import derive, portable
from undertow.statistics.bands import aggregate
from undertow.statistics.effects import compare, proportion
from undertow.statistics.verdicts import standardised
from undertow.store import (
    BENIGN,
    Answer,
    Answers,
    Cell,
    Curve,
    Effect,
    Run,
    Table,
    Transfer,
    curve_key,
)
from undertow.store.answers import RULES_VERSION
from undertow.studies.answered import questions
from undertow.studies.answered.contrasts import contrasts, known
from undertow.studies.answered.defended import defence_tables
from undertow.studies.answered.explained import explanations
from undertow.studies.answered.headline import headline
from undertow.studies.answered.restorations import restoration_tables, restorations
from undertow.studies.answered.results import DECIDES, Results
from undertow.studies.asked.plan import TOGETHER, named

__all__ = ["CAVEATS", "conclude"]

CAVEATS = (
    "IPs here are statements about one input: how far, across the positions of this image, a map's "
    "activation is told by the input's intensity or by a class's evidence. They are not Shannon's "
    "I(X;T) over a population.",
    "Where the strongest tap is named, it was chosen on one half of the inputs and its effect is "
    "told of the other; how often each rule errs is simulated by `undertow calibrate --part "
    "verdicts`.",
    "The Gaussian copula sees monotone dependence only, and is no lower bound where maps share "
    "zeros: two maps that are zero at the same 90 % of positions and independent elsewhere hold "
    "0.47 bit and read 1.14 (`undertow calibrate`). So a verdict must hold under the binned "
    "estimator too, or it is called inconclusive.",
)


def conclude(run: Run) -> Answers:
    """Answer every question of a run from what it stores; says what is missing otherwise."""
    results = Results(run)
    asked = tuple(_ask(name, results) for name in results.spec.questions)
    compared, restored = contrasts(results), restorations(results)
    return Answers.of(
        rules=RULES_VERSION,
        questions=asked,
        aggregates={model: _curves(results, model) for model in results.spec.models},
        effects={model: _effects(results, model) for model in results.spec.models},
        contrasts=compared,
        restorations=restored,
        transfers=_transfers(results),
        tables=(
            *defence_tables(results),
            *_drift_tables(results),
            *restoration_tables(restored),
            *_attack_tables(results),
            *_tap_tables(results),
        ),
        explanations=explanations(results),
        headline=headline(compared, asked),
        caveats=CAVEATS,
    )


def _rng(results: Results, *words: str) -> np.random.Generator:
    return np.random.default_rng(derive(results.spec.seed, "answers", *map(portable, words)))


def _ask(name: str, results: Results) -> Answer:
    question = questions.QUESTIONS[name]
    needed = question.cells(results.spec)
    there = set(results.run.cells)
    if never := [cell.name for cell in needed if cell not in there]:
        more = f" and {len(never) - 3} more" if len(never) > 3 else ""
        text = f"this run was made without these cells: {', '.join(never[:3])}{more}"
        return Answer(id=question.id, question=question.words, missing=text)
    lacking = [cell.name for cell in needed if not results.complete(cell)]
    if lacking:
        text = f"these cells are not finished: {', '.join(lacking)}"
        return Answer(id=question.id, question=question.words, missing=text)
    try:
        claims = question.claims(results, _rng(results, name))
    except BadInput as problem:
        return Answer(id=question.id, question=question.words, missing=str(problem))
    return Answer(id=question.id, question=question.words, claims=claims)


def _shown(results: Results, model: str) -> list[tuple[str, Cell, np.ndarray]]:
    """Key, cell and inputs of every curve of a model.

    Adversarial inputs are those that succeed on what they were aimed at, then those that do not,
    and by whether they fool a model that they were not aimed at.
    """
    out = []
    for cell in results.run.cells:
        if cell.model != model or not _readable(results, cell):
            continue
        everything = np.ones(results.spec.data.inputs, dtype=bool)
        made = everything if cell.benign else results.success(cell)
        subsets: dict[str | None, np.ndarray] = {None: made}
        if cell.source is not None and cell.control_of is None:
            fooled = results.fooled(cell)
            subsets |= {"transferable": made & fooled, "non-transferable": made & ~fooled}
        elif cell.control_of is None and not made.all():
            subsets |= {"failed": ~made, "all": everything}
        for subset, rows in subsets.items():
            if rows.sum() >= 2:
                out.append((curve_key(cell.attack, cell.source, subset), cell, rows))
    return out


def _readable(results: Results, cell: Cell) -> bool:
    """Whether a cell is finished, its benign inputs, and where its attack's success is told."""
    benign = Cell(cell.model, BENIGN)
    if cell.benign or not results.complete(benign):
        return cell.benign and results.complete(cell)
    attack = cell.control_of or cell.attack
    return results.complete(cell, *(Cell(model, attack) for model in results.aimed(cell)))


def _curves(results: Results, model: str) -> dict[str, dict[str, Curve]]:
    curves: dict[str, dict[str, Curve]] = {}
    if len(results.taps(model)) < 2:
        return curves  # nothing lies between one tap and itself
    for key, cell, rows in _shown(results, model):
        depth = results.depth(model)
        bands = {p: aggregate(results.profile(cell, p)[rows], depth) for p in PROFILES}
        curves[key] = {
            profile: Curve(
                **{
                    name: tuple(getattr(band, name).tolist())
                    for name in ("depth", "mean", "low", "high", "tap_depth", "tap_mean", "tap_sem")
                },
                n=band.n,
            )
            for profile, band in bands.items()
        }
    return curves


def _effects(results: Results, model: str) -> dict[str, dict[str, Effect]]:
    effects = {}
    benign = Cell(model, BENIGN)
    for key, cell, rows in _shown(results, model):
        if cell.benign:
            continue
        effects[key] = {
            p: _effect(
                results,
                model,
                results.profile(cell, p)[rows],
                results.profile(benign, p)[rows],
                key,
            )
            for p in PROFILES
        }
    return effects


def _effect(results: Results, model: str, a: np.ndarray, b: np.ndarray, key: str) -> Effect:
    found = compare(a, b, rng=_rng(results, "effect", model, key))
    return Effect(
        tap=results.taps(model),
        depth=tuple(results.depth(model).tolist()),
        d_z=tuple(found.d_z.tolist()),
        low=tuple(found.d_low.tolist()),
        high=tuple(found.d_high.tolist()),
        p_adjusted=tuple(found.p.tolist()),
        n=found.n,
    )


def _transfers(results: Results) -> tuple[Transfer, ...]:
    """How often inputs made on one model fool another, an attack or its control a matrix."""
    out = []
    for attack in results.spec.attacks:
        if not attack.read_by:
            continue
        for name in named(attack):
            cells = [c for c in results.run.cells if c.attack == name and _readable(results, c)]
            source = tuple(dict.fromkeys(TOGETHER.join(results.aimed(c)) for c in cells))
            models = tuple(m for m in results.spec.models if any(c.model == m for c in cells))
            found = {(TOGETHER.join(results.aimed(c)), c.model): _rate(results, c) for c in cells}
            nothing = (None, None, None, None)
            columns = [
                tuple(tuple(found.get((s, m), nothing)[k] for m in models) for s in source)
                for k in range(4)
            ]
            if cells:
                rate, low, high, n = columns
                out.append(
                    Transfer.model_validate(
                        {"attack": name, "source": source, "model": models, "rate": rate,
                         "low": low, "high": high, "n": n}
                    )
                )  # fmt: skip
    return tuple(out)


def _rate(results: Results, cell: Cell) -> tuple[float, float, float, int]:
    """The share of inputs that fool the cell's model, of those that fooled their target.

    On the model aimed at, and for controls, of all inputs.
    """
    hits = results.fooled(cell)
    if cell.source is not None and cell.control_of is None:
        hits = hits[results.success(cell)]
    found = proportion(int(hits.sum()), len(hits))
    return found.value, found.low, found.high, len(hits)


def _attack_tables(results: Results) -> tuple[Table, ...]:
    rows: list[tuple[str | int | float | None, ...]] = []
    for cell in results.run.cells:
        if cell.benign or not _readable(results, cell):
            continue
        found = results.attacks(cell)
        fooled = found["success"].values.astype(bool)
        rate = proportion(int(fooled.sum()), len(fooled))
        chosen = results.success(cell)
        means = [
            float(found[name].values[chosen].mean()) if chosen.any() else None
            for name in ("l0", "l2", "linf", "steps", "forwards")
        ]
        refused = float(results.rejected(cell).mean())
        rows.append(
            (cell.model, cell.label, len(fooled), rate.value, rate.low, rate.high, refused, *means)
        )
    table = Table(
        title="Attacks and their controls",
        columns=(
            "model", "attack", "inputs", "success rate", "low", "high", "rejected",
            "mean L0", "mean L2", "mean L∞", "mean steps", "mean forward calls",
        ),
        rows=tuple(rows),
        caption="Success: the model's answer is not the true class, and its defence, where it has "
        "one, does not reject the input (Wilson's 95 % interval). "
        "Distances are means over the inputs that the attack succeeded on; L0 counts changed "
        "components (of 3,072 on CIFAR-10). Controls have the attack's L2 norm on each input.",
    )  # fmt: skip
    return (table,) if rows else ()


def _drift_tables(results: Results) -> tuple[Table, ...]:
    """The drift of every attack on a model beside its controls, tap by tap."""
    tables = []
    for model in results.spec.models:
        benign, rows = Cell(model, BENIGN), []
        for attack in results.spec.attacks:
            cell = Cell(model, attack.id)
            if cell not in results.run.cells or not _readable(results, cell):
                continue
            kept = results.success(cell)
            if results.control(cell) in results.run.cells:
                kept = kept & results.fair(cell)
            if kept.sum() < 2 or not results.holds(cell, "flow"):
                continue
            rival = results.rival(cell)
            base = results.drift(benign, rival=rival)[kept]
            shown = {c.control or "attack": results.drift(c)[kept]
                     for c in (cell, *results.controls(cell))}  # fmt: skip
            there = known(base, *shown.values())
            if there.sum() < 2:
                continue
            base, shown = base[there], {name: x[there] for name, x in shown.items()}
            effects = {name: standardised(x - base) for name, x in shown.items()}
            beyond = standardised(shown["attack"] - shown[DECIDES]) if DECIDES in shown else None
            for k, tap in enumerate(results.taps(model)):
                told = [float(effects[n][k]) if n in effects else None for n in _COLUMNS]
                rows.append(
                    (attack.id, tap, float(base[:, k].mean()), float(shown["attack"][:, k].mean()),
                     *told, None if beyond is None else float(beyond[k]))
                )  # fmt: skip
        if rows:
            tables.append(
                Table(
                    title=f"Drift of every attack on {model} beside its controls",
                    columns=("attack", "tap", "benign, bits", "attack, bits", *_COLUMNS,
                             f"beyond {DECIDES}"),
                    rows=tuple(rows),
                    caption="Drift: flow towards the adversarial class less flow towards the true "
                    "one, on the inputs that the attack succeeds on and whose transplant has its "
                    "norm; then its change against the "
                    "same inputs left benign, d_z, under the attack and each of its controls of "
                    "the same L2 norm, and of the attack against its transplant.",
                )
            )  # fmt: skip
    return tuple(tables)


_COLUMNS = ("attack", "noise", "spectrum", "transplant")


def _tap_tables(results: Results) -> tuple[Table, ...]:
    tables = []
    for model in results.spec.models:
        cell = Cell(model, BENIGN)
        if not results.complete(cell):
            continue
        kinds = ("_raw", "_null", "")
        columns = [results.profile(cell, p, k).mean(axis=0) for p in ("iip", "oip") for k in kinds]
        columns.append(results.profile(cell, "ioc").mean(axis=0))
        rows: tuple[tuple[str | int | float | None, ...], ...] = tuple(
            (tap, float(depth), *(float(c[i]) for c in columns))
            for i, (tap, depth) in enumerate(
                zip(results.taps(model), results.depth(model), strict=True)
            )
        )
        tables.append(
            Table(
                title=f"Benign IPs of {model}, tap by tap",
                columns=(
                    "tap", "depth", "IIP raw", "IIP null", "IIP net",
                    "OIP raw", "OIP null", "OIP net", "IOC net",
                ),
                rows=rows,
                caption=f"Means over {results.spec.data.inputs} benign inputs, in bits (IOC: a "
                f"correlation); {results.spec.estimator}, {results.spec.null} null.",
            )
        )  # fmt: skip
    return tuple(tables)
