"""Q5: how are transferable adversarial inputs different from non-transferable ones?"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Final

import numpy as np

from undertow.statistics.association import Pair, Scored, auc, gain, partial_correlation, scored
from undertow.statistics.effects import Interval
from undertow.statistics.verdicts import (
    ASSOCIATION,
    GAIN,
    Ruled,
    beyond,
    more_often,
    pseudo_values,
    share_beyond,
)
from undertow.store import Cell, Claim, Control
from undertow.studies.answered.questions.claims import (
    agree,
    apart,
    controlled,
    lacking,
    number,
    percent,
    rate,
    ruled,
    show,
    together,
)
from undertow.studies.answered.questions.crossing import Crossing, crossing
from undertow.studies.answered.results import DECIDES, Results
from undertow.studies.asked.plan import TOGETHER, cells_of, named
from undertow.studies.asked.spec import AttackSpec, StudySpec

__all__ = ["Q5"]

NEGLIGIBLE: Final = 0.05
"""Transfer that exceeds the control by less than this share is called none."""
NAMED: Final = "deep_conv"
"""The model on which the paper's JSMA makes no transferable inputs."""


def _case(spec: StudySpec) -> Crossing:
    """The models that an ensemble attack is aimed at; without one, all that are no compression."""
    combined = [spec.aims(attack)[0] for attack in spec.attacks if attack.ensemble]
    original = tuple(m for m in spec.models if m not in spec.compressed.values())
    case = crossing(spec, max(combined, key=len, default=original))
    if case is None:
        raise lacking(
            "Q5 needs two models or more, and an attack on all of them, read_by all of them"
        )
    return case


def _ensembles(spec: StudySpec, case: Crossing) -> tuple[AttackSpec, ...]:
    """The attacks on several of these models at once that have their control."""
    return tuple(
        attack
        for attack in spec.attacks
        if attack.ensemble and controlled(attack) and set(spec.aims(attack)[0]) <= set(case.models)
    )


def _alone(spec: StudySpec, ensemble: AttackSpec, readers: Sequence[str]) -> dict[str, AttackSpec]:
    """By member: the ensemble's own attack on that member alone, at the same L2, read by all."""
    inner = dict(ensemble.settings.get("attack") or {})
    name = inner.pop("name", None)
    return {
        member: attack
        for member in spec.aims(ensemble)[0]
        for attack in spec.attacks_on(member)
        if attack.name == name
        and attack.settings == inner
        and attack.match_l2 == ensemble.match_l2
        and set(readers) <= {member, *attack.read_by}
    }


def _of_single(attack: AttackSpec, member: str, model: str) -> Cell:
    return Cell(model, attack.id, None if model == member else member)


@dataclass(frozen=True, slots=True)
class _Q5:
    id: str = "q5"
    words: str = "How are transferable adversarial inputs different from non-transferable ones?"

    def cells(self, spec: StudySpec) -> tuple[Cell, ...]:
        case = _case(spec)
        names = {name for e in _ensembles(spec, case) for name in named(e)}
        alone = {
            attack.id for e in _ensembles(spec, case) for attack in _alone(spec, e, ()).values()
        }
        others = [c for c in cells_of(spec) if c.attack in names | alone and c.model in case.models]
        return (*case.cells, *others)

    def claims(self, results: Results, rng: np.random.Generator) -> tuple[Claim, ...]:
        spec, case = results.spec, _case(results.spec)
        out = [
            _aimed_further(results, case),
            _transferable_further(results, case),
            _beyond_margin(results, case),
        ]
        if NAMED in case.models and len(case.models) > 2:
            out += [_none_from(results, case, NAMED), _less_from(results, case, NAMED)]
        for ensemble in _ensembles(spec, case):
            members = spec.aims(ensemble)[0]
            unseen = [m for m in ensemble.read_by if m not in members and m in case.models]
            if set(members) == set(case.models):
                out.append(_together(results, ensemble, case.models, seen=True))
            out += [_together(results, ensemble, (m,), seen=False) for m in unseen]
        return tuple(out)


Q5 = _Q5()


def _oip(seen: Results, cell: Cell) -> np.ndarray:
    return seen.difference(cell, ("oip",))


def _aimed_further(results: Results, case: Crossing) -> Claim:
    aims = [case.cell(m, m) for m in case.models]
    rows = np.logical_and.reduce([results.success(cell) for cell in aims]) & results.fair(*aims)

    def gap(seen: Results, model: str) -> np.ndarray:
        here, *others = (
            apart(seen, case.cell(model, source), _oip, rows)
            for source in (model, *(s for s in case.models if s != model))
        )
        return np.asarray(here - np.mean(others, axis=0))

    found = {
        model: ruled(
            results, f"{model}: aimed at it − at another", beyond, partial(gap, model=model),
            oip=True,
        )
        for model in case.models
    }  # fmt: skip
    verdict, reason = together(found)
    said = ", ".join(f"{told.shown} d_z on {m}" for m, told in found.items())
    return Claim(
        claim="The OIPs of adversarial inputs deviate further from benign on the model that they "
        "are aimed at than on another one.",
        verdict=verdict, reason=reason, rule="beyond",
        sentence=f"{case.attack} inputs aimed at the model that infers against those aimed at "
        f"another, each beyond its {DECIDES}: {said} (n = {int(rows.sum())}).",
        numbers=tuple(x for told in found.values() for x in told.numbers),
    )  # fmt: skip


def _read(
    results: Results, case: Crossing, added: Callable[[str, str], np.ndarray]
) -> tuple[Pair, ...]:
    """The inputs made on one model and read by another, with the benign margin on the latter."""
    return tuple(
        Pair(
            hit=results.fooled(case.cell(model, source)),
            known=results.margin(model),
            added=np.column_stack([added(model, source)]),
            used=results.success(case.cell(model, source)) & results.fair(case.cell(model, source)),
        )
        for model, source in case.pairs
    )


def _transferable_further(results: Results, case: Crossing) -> Claim:
    n = results.spec.data.inputs
    everything = np.ones(n, dtype=bool)

    def groups(seen: Results, kind: str = DECIDES) -> np.ndarray:
        pairs = _read(
            results, case, lambda m, s: apart(seen, case.cell(m, s), _oip, everything, kind)
        )
        return pseudo_values(partial(partial_correlation, pairs), n)

    told = ruled(
        results, "partial correlation of shift and transfer",
        partial(share_beyond, size=ASSOCIATION), groups, unit="r", oip=True,
    )  # fmt: skip
    pairs = _read(results, case, lambda m, s: everything.astype(float))
    yes = sum(int((p.hit & p.used).sum()) for p in pairs)
    no = sum(int((~p.hit & p.used).sum()) for p in pairs)
    controls = tuple(
        number(f"beyond {kind}", share_beyond(groups(results, kind), ASSOCIATION), unit="r", n=n)
        for kind in case.spec.controls
    )
    return Claim(
        claim="The OIPs of transferable inputs deviate further from benign than those of "
        "non-transferable ones.",
        verdict=told.verdict, reason=told.reason, rule="association",
        sentence=f"Among inputs of the same benign margin on the model that reads them, the OIP "
        f"shift of {case.attack} beyond its {DECIDES} goes with transfer by r = {told.shown} "
        f"({yes} that transfer, {no} that do not, over {len(pairs)} pairs of models).",
        numbers=told.numbers,
        control=Control(
            sentence="The same "
            + ", ".join(f"{x.name} {show(x)}" for x in controls) + ".",
            numbers=controls,
        ),
    )  # fmt: skip


def _beyond_margin(results: Results, case: Crossing) -> Claim:
    """What the flow on the model aimed at tells of transfer beyond the benign margin."""
    n = results.spec.data.inputs

    def features(seen: Results, model: str, source: str) -> np.ndarray:
        cell = case.cell(source, source)
        found = [seen.turn_depth(cell), seen.drift(cell)[:, -1]]
        if results.spec.readers:
            found.append(np.nan_to_num(seen.takeover_depth(cell), nan=1.0))
        return np.column_stack(found)

    def halves(seen: Results) -> tuple[Scored, ...]:
        return scored(_read(results, case, partial(features, seen)), n)

    told = ruled(
        results, "AUC with the flow − AUC of the margin", partial(share_beyond, size=GAIN),
        lambda seen: pseudo_values(partial(gain, halves(seen)), n), unit="AUC",
    )  # fmt: skip
    rated = halves(results)
    alone, both = (
        float(np.mean([auc(half.hit, getattr(half, name)) for half in rated])) if rated else np.nan
        for name in ("alone", "both")
    )
    return Claim(
        claim="The flow on the model aimed at tells which inputs transfer, beyond what their "
        "benign margin tells (ours).",
        verdict=told.verdict, reason=told.reason, rule="gain",
        sentence=f"The benign margin on the model that reads ranks {case.attack} inputs by whether "
        f"they transfer with an AUC of {alone:.2f}; with the depths at which flow and class "
        f"information turn, and the drift at the last tap, {both:.2f}: {told.shown} more.",
        numbers=(
            *told.numbers,
            number("AUC of the margin", Interval(alone, np.nan, np.nan), unit="AUC", n=n),
            number("AUC with the flow", Interval(both, np.nan, np.nan), unit="AUC", n=n),
        ),
    )  # fmt: skip


def _excess(results: Results, case: Crossing, source: str, model: str) -> np.ndarray:
    """Whether each input fools the model, minus whether its control does, (sample,)."""
    cell = case.cell(model, source)
    return results.fooled(cell).astype(float) - results.fooled(results.control(cell))


def _none_from(results: Results, case: Crossing, source: str) -> Claim:
    aim = case.cell(source, source)
    made = results.success(aim) & results.fair(aim)
    readers = [m for m in case.models if m != source]
    rates = {
        m: rate(f"{source} to {m}", results.fooled(case.cell(m, source))[made]) for m in readers
    }
    found = {m: share_beyond(_excess(results, case, source, m)[made], NEGLIGIBLE) for m in readers}
    controls = tuple(
        rate(f"{c.attack}: {source} to {m}", results.fooled(c)[made])
        for m in readers
        for c in results.controls(case.cell(m, source))
    )
    return Claim(
        claim=f"JSMA yields no transferable inputs from {source}.",
        verdict="contradicted" if any(x.verdict == "supported" for x in found.values())
        else "supported" if all(x.high < NEGLIGIBLE for x in found.values())
        else "inconclusive",
        reason=f"none is less than {100 * NEGLIGIBLE:.0f} points beyond the {DECIDES}",
        rule="excess",
        sentence=f"Of the {case.attack} inputs made on {source}, "
        + " and ".join(f"{percent(rates[m])} fool {m}" for m in readers)
        + f"; more than their {DECIDES}s by "
        + " and ".join(
            f"{100 * x.value:.0f} [{100 * x.low:.0f}, {100 * x.high:.0f}]" for x in found.values()
        )
        + " points.",
        numbers=(
            *rates.values(),
            *(number(f"{source} to {m}, beyond {DECIDES}", x, unit="share", n=x.n)
              for m, x in found.items()),
        ),
        control=Control(
            sentence="The controls: " + ", ".join(f"{x.name} {percent(x)}" for x in controls) + ".",
            numbers=controls,
        ),
    )  # fmt: skip


def _less_from(results: Results, case: Crossing, source: str) -> Claim:
    """A contrast: transfer from one model against that from the others, each beyond its control."""
    aims = [case.cell(m, m) for m in case.models]
    rows = np.logical_and.reduce([results.success(cell) for cell in aims]) & results.fair(*aims)
    per_source = {
        s: np.mean([_excess(results, case, s, m) for m in case.models if m != s], axis=0)[rows]
        for s in case.models
    }
    others = np.mean([x for s, x in per_source.items() if s != source], axis=0)
    told = share_beyond(others - per_source[source], 0.0)
    each = {s: share_beyond(x, 0.0) for s, x in per_source.items()}
    return Claim(
        claim=f"Fewer inputs transfer from {source} than from the other models (ours).",
        verdict=told.verdict, reason=told.reason, rule="excess",
        sentence=f"Of the {told.n} inputs that {case.attack} made on all models, beyond their "
        f"{DECIDES}s "
        + ", ".join(f"{100 * x.value:.0f} % transfer from {s}" for s, x in each.items())
        + f"; the others' mean less {source}'s is {100 * told.value:.0f} points "
        f"[{100 * told.low:.0f}, {100 * told.high:.0f}].",
        numbers=(
            number(f"others − {source}, beyond {DECIDES}", told, unit="share", n=told.n),
            *(number(f"from {s}, beyond {DECIDES}", x, unit="share", n=x.n)
              for s, x in each.items()),
        ),
    )  # fmt: skip


def _together(
    results: Results, ensemble: AttackSpec, models: Sequence[str], *, seen: bool
) -> Claim:
    """The ensemble against the same attack on one member, by the share that fools ``models``."""
    members = results.spec.aims(ensemble)[0]
    alone = _alone(results.spec, ensemble, models)
    source = None if seen else TOGETHER.join(members)
    ours = np.logical_and.reduce([results.fooled(Cell(m, ensemble.id, source)) for m in models])
    hits = {
        s: np.logical_and.reduce([results.fooled(_of_single(a, s, m)) for m in models])
        for s, a in alone.items()
    }
    found: dict[str, Ruled] = {s: more_often(ours, h) for s, h in hits.items()}
    names = {s: f"{alone[s].id} on {s}" for s in alone}
    rates = (
        rate(ensemble.id, ours), *(rate(names[s], h) for s, h in hits.items()),
    )  # fmt: skip
    controls = tuple(
        rate(name, np.logical_and.reduce([results.fooled(Cell(m, name, source)) for m in models]))
        for name in named(ensemble)[1:]
    )
    whom = "all of " + ", ".join(models) if len(models) > 1 else models[0]
    return Claim(
        claim="Attacking the models together yields inputs that fool all of them more often than "
        "the same attack on one of them." if seen
        else "An ensemble's inputs fool a model that was not among its members more often than "
        "those of the same attack on one member (ours).",
        verdict=agree(x.verdict for x in found.values()),
        reason="; ".join(f"{names[s]}: {x.reason}" for s, x in found.items())
        or "the study has no such attack on one member, read by all, at the same L2",
        rule="more often",
        sentence=f"{ensemble.id} on {' and '.join(members)} fools {whom} on {percent(rates[0])} of "
        "the inputs" + "".join(f"; {x.name} on {percent(x)}" for x in rates[1:]) + ".",
        numbers=(
            *(number(f"{ensemble.id} − {names[s]}", x, unit="share", n=x.n)
              for s, x in found.items()),
            *rates,
        ),
        control=Control(
            sentence="The ensemble's "
            + ", ".join(f"{x.name.partition(':')[0]} {percent(x)}" for x in controls) + ".",
            numbers=controls,
        ) if controls else None,
    )  # fmt: skip
