"""The contract of an attack, as checks that any attack can be put through.

``for check in CONTRACT: check(case)`` with a :class:`Case`; each check raises ``AssertionError``
that says what was broken. Every entry of the attack registry is put through all of them in this
project's tests.
"""

from __future__ import annotations

import warnings
from collections.abc import Callable
from dataclasses import dataclass, fields, replace
from functools import cached_property
from typing import Any, Final

import torch
from torch import Tensor, nn

from undertow.attacks import ATTACKS, draws_for
from undertow.attacks.driver.craft import Record, Target, craft
from undertow.attacks.parts.balls import distance
from undertow.models.steady import TRIED
from undertow.types import (
    Attack,
    Draws,
    Goal,
    Images,
    Iterate,
    Iterates,
    Labels,
    Norm,
    Oracle,
    Trajectory,
)

__all__ = ["CONTRACT", "Case", "Counting", "quick"]

SHORT: Final = {"steps": 8, "rounds": 3, "largest": 0.1}


def quick(name: str) -> Attack:
    """An attack of the registry with its defaults, but few steps and rounds."""
    kind: Any = ATTACKS[name]
    attack = kind()
    short = {f.name: SHORT[f.name] for f in fields(attack) if f.name in SHORT}
    made: Attack = replace(attack, **short)
    return made


@dataclass(frozen=True, kw_only=True, eq=False)
class Case:
    """An attack, and what to put it on.

    Args:
        attack: the attack; with few steps, since it runs many times.
        model: in evaluation mode; deterministic; some inputs right and, best, some wrong.
        x: at least four benign images.
        y: their labels.
        target: as for ``craft``.
    """

    attack: Attack
    model: nn.Module
    x: Images
    y: Labels
    target: Target = None

    @cached_property
    def plain(self) -> Trajectory:
        """The attack as it is, everything recorded; run once."""
        return self.craft()

    def craft(self, **changes: Any) -> Trajectory:
        """Run the attack, with other arguments of ``craft`` where given."""
        given: dict[str, Any] = {"target": self.target, "record": Record(), **changes}
        attack, model = given.pop("attack", self.attack), given.pop("model", self.model)
        x, y = given.pop("x", self.x), given.pop("y", self.y)
        return craft(attack, model, x, y, **given)


class Counting(nn.Module):
    """A model that counts the rows sent through it, forward and backward.

    A row counts as differentiated each time a backward pass reaches the input with it. It listens
    to itself, so that no copy with folded normalisation takes its place.
    """

    def __init__(self, model: nn.Module) -> None:
        super().__init__()
        self.model = model
        self.forwards = 0
        self.backwards = 0
        self.train(model.training)
        self.register_forward_hook(lambda *_: None)

    def forward(self, x: Images) -> Tensor:
        """The model's own answer."""
        self.forwards += len(x)
        if x.requires_grad:
            passing: Any = x.view_as(x)
            passing.register_hook(self._back)
            x = passing
        logits: Tensor = self.model(x)
        return logits

    def _back(self, g: Tensor) -> None:
        self.backwards += len(g)


def inside_the_box(case: Case) -> None:
    """Every iterate and every end lies in [0, 1]."""
    t = case.plain
    for what, images in (("iterate", t.images), ("end", t.end)):
        assert images.min() >= 0, f"{case.attack.name}: an {what} is below 0"
        assert images.max() <= 1, f"{case.attack.name}: an {what} is above 1"
        assert torch.isfinite(images).all(), f"{case.attack.name}: an {what} is not finite"


def records_are_in_order(case: Case) -> None:
    """Records go by sample, then step; the first of each is benign, and its end is among them."""
    t = case.plain
    assert torch.equal(t.sample, t.sample.sort(stable=True).values), "samples out of order"
    for i in range(len(t)):
        own = t.records(i)
        steps = t.step[own]
        assert steps[0] == 0, f"sample {i}: no record of step 0"
        assert (steps[1:] > steps[:-1]).all(), f"sample {i}: steps {steps.tolist()}"
        assert torch.equal(t.images[own[0]], t.benign[i]), f"sample {i}: step 0 is not benign"
        at = own[steps == t.steps[i]]
        assert len(at) == 1, f"sample {i}: the end is not recorded"
        assert torch.equal(t.images[at[0]], t.end[i]), f"sample {i}: the end is another image"


def distances_match(case: Case) -> None:
    """Stored distances are those of the stored images."""
    t = case.plain
    stored: dict[Norm, Tensor] = {"l0": t.l0, "l2": t.l2, "linf": t.linf}
    for norm, value in stored.items():
        found = distance(t.end, t.benign, norm)
        assert torch.allclose(value.to(found), found), f"{case.attack.name}: {norm} does not match"


def success_agrees_with_the_model(case: Case) -> None:
    """Success is what the model says at the end; logits are those of the images."""
    t = case.plain
    confidence = float(case.attack.confidence)
    aimed = t.target >= 0
    goal = Goal(t.label, t.target.clamp(min=0) if aimed.all() else None, confidence)
    with torch.no_grad():
        logits, recorded = case.model(t.end), case.model(t.images)
    assert torch.allclose(logits, t.end_logits, rtol=1e-3, atol=1e-4), "end_logits differ"
    assert torch.allclose(recorded, t.logits, rtol=1e-3, atol=1e-4), "logits differ"
    assert torch.equal(goal.reached(t.end_logits), t.success), "success is not what the logits say"
    assert torch.equal(goal.reached(logits), t.success), "success is not what the model says"


def the_end_is_the_nearest_success(case: Case) -> None:
    """No recorded success is nearer than the end; without a success the end is the last iterate."""
    t = case.plain
    goal = Goal(t.label, t.target if (t.target >= 0).all() else None)
    for i in range(len(t)):
        own = t.records(i)
        one = torch.full((len(own),), i)
        reached = goal[one].reached(t.logits[own])
        far = distance(t.images[own], t.benign[one], case.attack.norm)
        end = distance(t.end[i : i + 1], t.benign[i : i + 1], case.attack.norm)
        if t.success[i] and not case.attack.confidence:
            assert end <= far[reached].min() + 1e-6, f"sample {i}: a nearer success was recorded"
        elif not t.success[i]:
            assert t.steps[i] == t.step[own[-1]], f"sample {i}: the end is not the last iterate"


def the_batch_does_not_matter(case: Case) -> None:
    """One seed gives each input one result, whatever shares its batch."""
    whole = case.craft(seed=3)
    parts = case.craft(seed=3, batch_size=2)
    for name in ("success", "steps", "forwards", "backwards", "sample", "step", "target"):
        same = torch.equal(getattr(whole, name), getattr(parts, name))
        assert same, f"{case.attack.name}: {name} differs with batch_size=2"
    assert torch.allclose(whole.images, parts.images, atol=1e-4), "images differ"
    draws: Draws = draws_for(3, range(len(case.x)))
    again = case.craft(seed=draws)
    assert torch.equal(again.images, whole.images), "the same seed gave other images"
    alone = case.craft(seed=draws[torch.tensor([2])], x=case.x[2:3], y=case.y[2:3])
    assert torch.allclose(alone.end, whole.end[2:3], atol=1e-4), "an input alone ends elsewhere"


def calls_are_counted(case: Case) -> None:
    """The counts are those of the rows that went through the model, one at a time."""
    for i in range(2):
        model = Counting(case.model).eval()
        t = case.craft(model=model, x=case.x[i : i + 1], y=case.y[i : i + 1])
        probe = 2 if any(p.ndim == 4 for p in model.parameters()) else 0
        tried = 1 + probe + TRIED
        gone, counted = model.forwards - tried, int(t.forwards)
        assert gone == counted, f"{gone} rows went forward, {counted} were counted"
        gone, counted = model.backwards, int(t.backwards)
        assert gone == counted, f"{gone} rows went backward, {counted} were counted"


def what_is_reached_already_costs_one_call(case: Case) -> None:
    """An untargeted goal that the benign input reaches: success at step 0, distance 0, one call."""
    if case.attack.default_target != "untargeted":
        return
    with torch.no_grad():
        answer = case.model(case.x).argmax(dim=1)
    wrong = (answer + 1) % (int(answer.max()) + 1)
    t = case.craft(y=wrong, target="untargeted")
    assert t.success.all(), "not a success"
    for name, value in (("steps", 0), ("l0", 0), ("l2", 0), ("linf", 0), ("forwards", 1)):
        assert (getattr(t, name) == value).all(), f"{name} is not {value}"
    assert (t.backwards == 0).all(), "a gradient was asked for"
    assert len(t.step) == len(t), "something was recorded after step 0"


def nothing_leaks(case: Case) -> None:
    """Gradient mode, parameters and the benign inputs are afterwards as they were before."""
    x = case.x.clone()
    flags = [p.requires_grad for p in case.model.parameters()]
    t = case.craft(x=x)
    assert torch.is_grad_enabled(), "gradients were left disabled"
    assert [p.requires_grad for p in case.model.parameters()] == flags, (
        "parameters were left frozen"
    )
    assert all(p.grad is None for p in case.model.parameters()), "parameters were given gradients"
    assert torch.equal(x, case.x), "the benign inputs were changed"
    assert not t.images.requires_grad, "images carry a graph"
    with torch.no_grad():
        case.craft()
        assert not torch.is_grad_enabled(), "gradients were left enabled"


def records_follow_the_policy(case: Case) -> None:
    """Every n-th step, the endpoints, at most so many; and each as it is when all are recorded."""
    whole = case.plain
    key = {
        (int(s), int(k)): i for i, (s, k) in enumerate(zip(whole.sample, whole.step, strict=True))
    }
    for policy in (
        Record(every=3),
        Record(at_most=4),
        Record(every=None, endpoints=False, success=True),
    ):
        t = case.craft(record=policy)
        assert torch.equal(t.end, whole.end), "what is recorded changed the attack"
        places = zip(t.sample, t.step, strict=True)
        at = torch.tensor([key[int(s), int(k)] for s, k in places])
        assert torch.equal(t.images, whole.images[at]), f"{policy}: other images"
        for i in range(len(t)):
            steps = t.step[t.records(i)].tolist()
            assert steps[0] == 0, f"{policy}: no benign record"
            assert not policy.endpoints or int(t.steps[i]) in steps, f"{policy}: no end"
            assert policy.at_most is None or len(steps) <= policy.at_most, f"{policy}: {steps}"
            if policy.every and policy.at_most is None:
                last = int(whole.step[whole.records(i)].max())
                wanted = set(range(0, last + 1, policy.every))
                assert wanted <= set(steps), f"{policy}: sample {i} has {steps}"


def notes_are_a_row_each(case: Case) -> None:
    """Every note has one entry a record."""
    t = case.plain
    for name, note in t.notes.items():
        assert len(note) == len(t.step), f"note '{name}' has {len(note)} rows"


class _Dropping:
    """An attack that watches another and drops rows at random, as a driver might."""

    def __init__(self, attack: Attack, drop: Callable[[int], Tensor]) -> None:
        self.attack, self.drop = attack, drop

    def run(self, oracle: Oracle, x0: Images, goal: Goal, draws: Draws) -> list[Iterate]:
        """The iterates, with rows dropped after each."""
        steps: Iterates = self.attack.iterates(oracle, x0, goal, draws=draws)
        seen: list[Iterate] = []
        try:
            it = next(steps)
            while True:
                seen.append(it)
                keep = self.drop(len(it.x))
                if it.finished is not None:
                    keep = keep & ~it.finished
                if not keep.any():
                    break
                oracle.keep(keep)  # type: ignore[attr-defined]
                it = steps.send(keep)
                assert len(it.x) == int(keep.sum()), "a dropped row came back, or one more left"
        except StopIteration:
            pass
        finally:
            steps.close()
        return seen


def dropped_rows_stay_away(case: Case) -> None:
    """An attack goes on with exactly the rows that it is told to keep, goals and all."""
    from undertow.attacks.driver.inputs import as_images, targets
    from undertow.attacks.driver.open import open_oracle

    x = as_images(case.x)
    oracle = open_oracle(case.attack, (case.model,), x)
    oracle.open(len(x), 0)
    logits = oracle.judge(x)
    needs = case.attack.default_target != "untargeted"
    aim = targets("second", logits, case.y) if needs else None
    generator = torch.Generator().manual_seed(0)

    def drop(rows: int) -> Tensor:
        return torch.rand(rows, generator=generator) < 0.8

    draws = draws_for(0, range(len(x)))
    seen = _Dropping(case.attack, drop).run(oracle, x, Goal(case.y, aim), draws)
    steps = [it.step for it in seen]
    assert steps == sorted(set(steps)), f"steps {steps}"
    assert steps, "no iterate at all"
    assert steps[0] == 1, f"the first step is {steps[0]}"


def double_precision_works(case: Case) -> None:
    """A float64 model on float64 images: the same successes, iterates in float64."""
    single = case.plain
    double = _copy(case.model).double()
    t = case.craft(model=double, x=case.x.double())
    assert t.images.dtype == torch.float64, f"images are {t.images.dtype}"
    agree = (t.success == single.success).double().mean()
    assert agree >= 0.75, f"success agrees with float32 for {agree:.0%} only"


def half_precision_models_work(case: Case) -> None:
    """A bfloat16 model is attacked in float32; success is what it says itself."""
    half = _copy(case.model).bfloat16()
    t = case.craft(model=half)
    assert t.images.dtype == torch.float32, f"images are {t.images.dtype}"
    assert torch.isfinite(t.images).all(), "iterates are not finite"
    assert t.images.min() >= 0, "an iterate is below 0"
    assert t.images.max() <= 1, "an iterate is above 1"


def bfloat16_gradients_are_verified(case: Case) -> None:
    """Gradients in bfloat16: every success is one of the model as it is, and most are kept."""
    with warnings.catch_warnings():  # where it does not pay, it says so and computes as ever
        warnings.simplefilter("ignore")
        t = case.craft(precision="bf16")
    aimed = t.target if (t.target >= 0).all() else None
    goal = Goal(t.label, aimed, float(case.attack.confidence))
    with torch.no_grad():
        said = goal.reached(case.model(t.end))
    assert torch.equal(said, t.success), "success is not what the model says"
    assert torch.equal(t.linf, distance(t.end, case.x, "linf")), "distances are not those of ends"
    kept = (t.success | ~case.plain.success).double().mean()
    assert kept >= 0.75, f"{kept:.0%} of the successes are kept"


def _copy(model: nn.Module) -> nn.Module:
    from copy import deepcopy

    return deepcopy(model)


CONTRACT: Final[tuple[Callable[[Case], None], ...]] = (
    inside_the_box,
    records_are_in_order,
    distances_match,
    success_agrees_with_the_model,
    the_end_is_the_nearest_success,
    the_batch_does_not_matter,
    calls_are_counted,
    what_is_reached_already_costs_one_call,
    nothing_leaks,
    records_follow_the_policy,
    notes_are_a_row_each,
    dropped_rows_stay_away,
    double_precision_works,
    half_precision_models_work,
    bfloat16_gradients_are_verified,
)
"""Every check; each takes a :class:`Case`."""
