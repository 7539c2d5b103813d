"""From an attack object of another library to a trajectory."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor, nn

from undertow.attacks.adapters.hearing import Listener
from undertow.attacks.adapters.libraries import runner_of
from undertow.attacks.driver.assemble import outcome_of
from undertow.attacks.driver.inputs import (
    Target,
    as_images,
    as_labels,
    as_models,
    check_target,
    targets,
)
from undertow.attacks.driver.oracle import frozen
from undertow.attacks.driver.record import Record
from undertow.attacks.parts.balls import distance
from undertow.errors import BadInput
from undertow.models.asking import ask
from undertow.models.defended import rejected
from undertow.progress import SILENT, Progress
from undertow.types import Goal, Images, Keep, Labels, Logits, Trajectory

__all__ = ["listen"]


def listen(
    attack: Any,
    model: nn.Module,
    x: Images,
    y: Labels,
    *,
    target: Target = None,
    record: Record | None = None,
    batch_size: int | None = None,
    progress: Progress = SILENT,
    **options: Any,
) -> Trajectory:
    """Run an attack of Foolbox, ART, torchattacks or adv-lib, and hear what it asks the model.

    The records of an input are the distinct inputs that the attack asked about it, in order
    (``origin="forward calls"``): they include line searches and the like, and what it never asked
    about is not there. ``end`` is what the attack gave back, whether asked about or not, and
    ``success`` what the model says of it. ``forwards`` and ``backwards`` count every call.

    Whose input a row of a call is, is told by nearness (see :func:`owners`); with ``batch_size=1``
    it is known.

    Args:
        attack: their attack: an object, or for adv-lib a function.
        model: the model that the attack was made for; in evaluation mode.
        x: benign images (sample, channel, height, width) in [0, 1].
        y: their labels.
        target: ``"untargeted"`` (the default), ``"least_likely"``, ``"second"``, a class, or one
            class an input. ART's and torchattacks' objects must be in the mode that fits.
        record: which of the inputs asked about to keep; by default all.
        batch_size: inputs handed to the attack at once; by default all.
        progress: told of inputs done.
        options: given to the attack's call, for example Foolbox's ``epsilons``.

    Raises:
        BadInput: for arguments that do not fit, an attack that was made for another model, or
            one that leaves [0, 1].
    """
    (model,) = as_models(model)
    if batch_size is not None and (type(batch_size) is not int or batch_size < 1):
        raise BadInput(f"batch_size is {batch_size!r}; it must be a whole number of at least 1")
    library, run = runner_of(attack)
    x = as_images(x)
    logits = _ask(model, x)
    y = as_labels(y, len(x), logits.shape[1]).to(x.device)
    if target == "easiest":
        raise BadInput("target 'easiest' is for Undertow's attacks; give a class, or one an input")
    rule = check_target("untargeted" if target is None else target, y, logits.shape[1])
    goal = Goal(y, targets(rule, logits, y))
    ends, listeners = [], []
    title = f"listen to {library} {_name(attack)}"
    with frozen([model]), progress(title, len(x), "inputs") as advance:
        for rows in torch.split(torch.arange(len(x), device=x.device), batch_size or len(x)):
            listener = Listener(x[rows], logits[rows], goal[rows], record or Record())
            with listener.on(model):
                end = run(attack, model, x[rows], goal[rows], **options)
            if not listener.forwards.any():
                raise BadInput(
                    f"{_name(attack)} never asked this model; give the model it was made for"
                )
            ends.append(_inside(end, x[rows]))
            listeners.append(listener)
            advance(len(rows))
    end = torch.cat(ends)
    about = {"attack": f"{library}:{_name(attack)}", "settings": _settings(attack, options)}
    success = goal.reached(answers := _ask(model, end)) & ~rejected(model, end)
    return _trajectory(about, x, goal, end, answers, success & ~goal.void, listeners)


def _ask(model: nn.Module, x: Images) -> Logits:
    weight = next((p for p in model.parameters() if p.is_floating_point()), x)
    with torch.no_grad():
        logits: Logits = ask(model, x.to(weight)).to(x)
    return logits


def _inside(end: Any, x: Images) -> Images:
    if not isinstance(end, Tensor) or end.shape != x.shape:
        got = tuple(end.shape) if isinstance(end, Tensor) else type(end).__name__
        raise BadInput(f"the attack gave back {got}; it must give back images of {tuple(x.shape)}")
    return end.detach().to(x).clamp(0, 1)


def _trajectory(
    about: Mapping[str, Any],
    x: Images,
    goal: Goal,
    end: Images,
    end_logits: Logits,
    success: Keep,
    listeners: list[Listener],
) -> Trajectory:
    heard = [h for listener in listeners for h in listener.heard]
    steps = [
        h.say(end[i], end_logits[i], bool(success[i]), keep=h.policy.endpoints)
        for i, h in enumerate(heard)
    ]
    flat = [(i, step, *r) for i, h in enumerate(heard) for step, r in sorted(h.records.items())]
    vanished = torch.cat([q.vanished for q in listeners]).to(x.device)
    return Trajectory(
        **about,
        origin="forward calls",
        benign=x,
        label=goal.label,
        target=torch.full_like(goal.label, -1) if goal.target is None else goal.target,
        sample=torch.tensor([r[0] for r in flat]),
        step=torch.tensor([r[1] for r in flat]),
        images=torch.stack([r[2] for r in flat]),
        logits=torch.stack([r[3] for r in flat]),
        notes={},
        end=end,
        end_logits=end_logits,
        success=success,
        steps=torch.tensor(steps),
        l0=distance(end, x, "l0").to(torch.int64),
        l2=distance(end, x, "l2"),
        linf=distance(end, x, "linf"),
        forwards=torch.cat([q.forwards for q in listeners]),
        backwards=torch.cat([q.backwards for q in listeners]),
        outcome=outcome_of(success, vanished, torch.zeros_like(success), goal.void),
    )


def _name(attack: Any) -> str:
    inner = getattr(attack, "func", attack)
    return str(getattr(inner, "__name__", type(inner).__name__))


def _settings(attack: Any, options: Mapping[str, Any]) -> dict[str, Any]:
    """What can be said of another library's object, and of the call, in numbers and words."""
    own = getattr(attack, "keywords", None) or getattr(attack, "__dict__", {})
    said = {k.lstrip("_"): v for k, v in own.items()} | dict(options)
    return {k: v for k, v in said.items() if isinstance(v, bool | int | float | str)}
