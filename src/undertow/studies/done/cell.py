"""What happens to one unit of work: craft, measure, tabulate. No files, no progress.

This is the one place where attacks, taps and information meet.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, TypeAlias, get_args

import numpy as np
import torch
import xarray as xr
from numpy.typing import NDArray
from torch import Tensor, nn

from undertow.attacks import make
from undertow.attacks.driver.craft import Record, Target, craft
from undertow.attacks.parts.balls import distance
from undertow.axes import PROFILES
from undertow.errors import BadInput
from undertow.information.profiles import differences, drift
from undertow.information.readers import rival_of, takeover, takeover_depth
from undertow.measuring.meter import Measured
from undertow.models.asking import ask
from undertow.models.defended import fooled, rejected, undefended
from undertow.seeds import derive, portable
from undertow.store import Cell
from undertow.studies.asked.plan import Unit, carries
from undertow.studies.done.carried import carried, carried_at_end
from undertow.studies.done.probe import Probe
from undertow.types import Attack, Draws, Images, Labels, Norm, Precision, Trajectory

__all__ = ["Batch", "Filled", "exemplar", "fill", "portrait"]

Filled: TypeAlias = dict[tuple[str, Cell], dict[str, NDArray[Any]]]
"""What a unit fills: arrays by name for each group and cell, one row an input."""


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Batch:
    """The inputs of one unit.

    Args:
        index: their places in the data set, (sample,).
        x: the inputs.
        y: their true classes.
        seed: the study's seed.
    """

    index: NDArray[np.int64]
    x: Images
    y: Labels
    seed: int

    def draws(self, *words: str) -> Draws:
        """Random numbers of these inputs for one purpose."""
        names = [portable(word) for word in words]
        seeds = [derive(self.seed, *names, int(i)) for i in self.index]
        return Draws(torch.tensor(seeds, dtype=torch.int64))


def fill(
    unit: Unit,
    batch: Batch,
    probes: Mapping[str, Probe],
    aimed: Sequence[str],
    attack: Attack | None,
    target: Target,
    rankings: Sequence[str] = (),
    precision: Precision = "float32",
    *,
    unaware: bool = False,
) -> Filled:
    """Compute one shard: every group of every cell of the unit.

    Args:
        unit: what to fill.
        batch: its inputs.
        probes: the models that read or are aimed at, by name.
        aimed: the models that are attacked at once; none for the benign cell.
        attack: the attack at its strength; ``None`` for the benign cell.
        target: what the attack aims at; ``None`` for its own rule.
        rankings: by what maps are ranked on the models that are attacked; none for no carriers.
        precision: of the attack's gradients.
        unaware: whether a defended network is attacked as if it had no defence.
    """
    if attack is None:
        return _tabulate(unit.cells[0], probes[unit.source], batch, batch.x, _benign_facts(batch))
    models = [_attacked(probes[name].model, unaware) for name in aimed]
    trajectory = craft(
        attack, models if len(models) > 1 else models[0], batch.x, batch.y, target=target,
        seed=batch.draws(unit.source, unit.attack), record=Record(every=None), precision=precision,
    )  # fmt: skip
    moved = trajectory.end - batch.x
    donated = moved[_partners(unit.start, len(moved))]
    ends = _controls(unit, batch, models[0], moved, donated)
    filled: Filled = {}
    rivals: dict[str, Tensor] = {}
    for cell in unit.cells:
        control = cell.control is not None
        x = ends[cell.control] if cell.control else trajectory.end
        facts = _control_facts(batch, x) if control else _facts(batch, trajectory)
        # The attack's own cell of a model comes before its controls, which take its rivals.
        filled |= _tabulate(
            cell, probes[cell.model], batch, x, facts, rivals.get(cell.model) if control else None
        )
        rivals.setdefault(cell.model, torch.from_numpy(filled["attacks", cell]["rival"]))
        if rankings and carries(cell):
            filled["carriers", cell] = carried(
                probes[cell.model], batch.x, x, batch.y,
                torch.from_numpy(filled["attacks", cell]["predicted"]), rankings,
                batch.draws("carriers"),
            )  # fmt: skip
    return filled


def _attacked(model: nn.Module, unaware: bool) -> nn.Module:
    """What an attack is made on: the model, or what is behind its defence."""
    return undefended(model) if unaware else model


def _partners(start: int, n: int) -> NDArray[np.int64]:
    """The other row of each one's pair, by place in the study; itself where that is not here."""
    other = (start + np.arange(n) ^ 1) - start
    return np.where((other >= 0) & (other < n), other, np.arange(n))


def _controls(
    unit: Unit, batch: Batch, model: nn.Module, moved: Images, donated: Images
) -> dict[str, Images]:
    """Inputs of every control of the unit's cells, of the norms of ``moved``, input by input.

    ``donated`` are perturbations of others; where one is the input's own or nothing at all, its
    own, turned upside down, takes the place.
    """
    norms = moved.flatten(1).norm(dim=1)
    lacking = (donated == moved).flatten(1).all(dim=1) | (donated == 0).flatten(1).all(dim=1)
    donated = torch.where(lacking[:, None, None, None], moved.flip(-2, -1), donated)
    settings: dict[str, dict[str, Any]] = {
        "noise": {"l2": norms},
        "spectrum": {"perturbation": moved},
        "transplant": {"perturbation": donated, "l2": norms},
    }
    return {
        kind: craft(
            make(kind, **settings[kind]), model, batch.x, batch.y,
            seed=batch.draws(kind, unit.source, unit.attack), record=Record(every=None),
        ).end
        for kind in dict.fromkeys(cell.control for cell in unit.cells) if kind
    }  # fmt: skip


def _distances(batch: Batch, x: Images) -> dict[str, Tensor]:
    far = {norm: distance(x, batch.x, norm) for norm in get_args(Norm)}
    return {**far, "l0": far["l0"].to(torch.int64)}


def _benign_facts(batch: Batch) -> dict[str, Tensor]:
    zero = torch.zeros(len(batch.y), dtype=torch.int64)
    no = torch.zeros(len(batch.y), dtype=torch.bool)
    return {
        "target": zero - 1, "steps": zero, "forwards": zero, "backwards": zero, "stalled": no,
        "outcome": zero - 1, **_distances(batch, batch.x),
    }  # fmt: skip


def _control_facts(batch: Batch, x: Images) -> dict[str, Tensor]:
    return {**_benign_facts(batch), "steps": torch.ones_like(batch.y), **_distances(batch, x)}


def _facts(batch: Batch, t: Trajectory) -> dict[str, Tensor]:
    return {
        "target": t.target, "steps": t.steps, "forwards": t.forwards, "backwards": t.backwards,
        "stalled": t.stalled, "outcome": t.outcome, **_distances(batch, t.end),
    }  # fmt: skip


def _tabulate(
    cell: Cell,
    probe: Probe,
    batch: Batch,
    x: Images,
    facts: Mapping[str, Tensor],
    rival: Tensor | None = None,
) -> Filled:
    """Measure ``x`` on the cell's model and lay the numbers out as the store's groups.

    ``rival`` is given for a control: that of its attack.
    """
    found = probe.measure(x, batch.draws("null"), towards=_asked(batch.y, rival))
    predicted = found.logits.argmax(axis=1).astype(np.int64)
    label = batch.y.cpu().numpy()
    refused = rejected(probe.model, x).cpu().numpy()
    if rival is None:
        rival = rival_of(torch.from_numpy(found.logits), batch.y.cpu())
    filled: Filled = {
        ("profiles", cell): {**found.profiles, **_drifts(found, batch.y.cpu(), rival)},
        ("attacks", cell): {
            **{name: _array(value) for name, value in facts.items()},
            "index": batch.index,
            "label": label,
            "predicted": predicted,
            "rival": rival.numpy(),
            "rejected": refused,
            "success": (predicted != label) & ~refused,
            "logits": found.logits.astype(np.float32),
        },
    }
    if found.class_information is not None:
        filled["class_information", cell] = _classes(probe, batch, found)
    return filled


def _asked(label: Tensor, rival: Tensor | None) -> Tensor:
    """Classes whose flow is told of, (sample, class)."""
    known = [label] if rival is None else [label, rival]
    return torch.stack([each.cpu().long() for each in known], dim=1)


def _drifts(found: Measured, label: Tensor, rival: Tensor) -> dict[str, NDArray[Any]]:
    """Drift under every estimator: ``drift_raw@NAME`` from ``flow_raw@NAME``."""
    return {
        name.replace("flow", "drift", 1): drift(torch.from_numpy(values), label, rival).numpy()
        for name, values in found.profiles.items()
        if name.startswith("flow")
    }


def _classes(probe: Probe, batch: Batch, found: Measured) -> dict[str, NDArray[Any]]:
    """What is known about the classes, and where the rival takes over from the true one."""
    assert found.class_information is not None
    label, logits = batch.y.cpu(), torch.from_numpy(found.logits)
    taken = takeover(torch.from_numpy(found.class_information), label, rival_of(logits, label))
    depth = takeover_depth(taken, torch.tensor([tap.depth for tap in probe.taps]))
    return {
        "bits": found.class_information,
        "takeover": taken.numpy(),
        "takeover_depth": depth.numpy(),
    }


def _array(value: Tensor | NDArray[Any]) -> NDArray[Any]:
    array = value.cpu().numpy() if isinstance(value, Tensor) else np.asarray(value)
    return array.astype(np.float32) if array.dtype.kind == "f" else array


def exemplar(
    unit: Unit,
    batch: Batch,
    other: Batch,
    probe: Probe,
    attack: Attack,
    target: Target,
    benign_std: Mapping[str, NDArray[Any]],
    *,
    matrices: bool,
    most: int | None = None,
    rankings: Sequence[str] = (),
    precision: Precision = "float32",
    unaware: bool = False,
) -> dict[Cell, xr.Dataset]:
    """Follow one input through every iterate, and controls of the same norms beside it.

    Args:
        unit: the exemplar's unit: the attack's cell, then its controls.
        batch: one input.
        other: the other input of its pair, whose perturbation at the same step is transplanted.
        probe: the model.
        attack: the attack at its strength.
        target: what it aims at.
        benign_std: standard deviation of each profile over benign inputs, (tap,) each.
        matrices: whether to keep S and T of the benign input and of the last iterate.
        most: how many iterates are recorded at most; ``None`` for all.
        rankings: by what the maps are ranked that carry the attack; none for no carriers.
        precision: of the attack's gradients.
        unaware: whether a defended network is attacked as if it had no defence.
    """
    attacked = _attacked(probe.model, unaware)
    trajectory, pair = (
        craft(
            attack, attacked, each.x, each.y, target=target,
            seed=each.draws(unit.source, unit.attack), record=Record(every=1, at_most=most),
            precision=precision,
        )
        for each in (batch, other)
    )  # fmt: skip
    images, steps = trajectory.images, trajectory.step.cpu().numpy()
    repeated = Batch(
        index=np.arange(len(images)), x=batch.x.expand_as(images), y=batch.y.expand(len(images)),
        seed=derive(batch.seed, "exemplar", int(batch.index[0])),
    )  # fmt: skip
    reached = np.searchsorted(pair.step.cpu().numpy(), steps, side="right") - 1
    donated = pair.images[reached] - other.x
    ends = _controls(unit, repeated, probe.model, images - batch.x, donated)
    notes = {f"note_{name}": value for name, value in trajectory.notes.items() if value.ndim == 1}
    target_class = int(trajectory.target[0])
    at_end, won = _ended(probe.model, batch, trajectory, unaware)
    rival = rival_of(at_end, batch.y.cpu())
    filled = {}
    for cell in unit.cells:
        control = cell.control is not None
        x = ends[cell.control] if cell.control else images
        null = batch.draws("null")[torch.zeros(len(x), dtype=torch.int64)]
        found = _along_steps(
            probe, replace(repeated, x=x), null, steps, rival, benign_std, matrices=matrices,
            end=int(np.searchsorted(steps, int(trajectory.steps[0]))),
        )  # fmt: skip
        found = found.assign({} if control else {n: ("step", _array(v)) for n, v in notes.items()})
        if carries(cell):
            found = _with_carriers(found, probe, batch, trajectory.end, rankings)
        filled[cell] = found.assign_attrs(
            label=int(batch.y[0]), rival=int(rival[0]), target=-1 if control else target_class,
            success=won and not control, end=int(trajectory.steps[0]),
            outcome=-1 if control else int(trajectory.outcome[0]),
        )  # fmt: skip
    return filled


def _ended(
    model: nn.Module, batch: Batch, trajectory: Trajectory, unaware: bool
) -> tuple[Tensor, bool]:
    """What the whole model makes of one input's end, and whether that fools it."""
    if not unaware:
        return trajectory.end_logits.float().cpu(), bool(trajectory.success[0])
    with torch.no_grad():
        logits = ask(model, trajectory.end).float().cpu()
    refused = rejected(model, trajectory.end).cpu()
    return logits, bool(fooled(logits.argmax(1), batch.y.cpu(), refused))


def _with_carriers(
    found: xr.Dataset, probe: Probe, batch: Batch, end: Images, rankings: Sequence[str]
) -> xr.Dataset:
    """An exemplar with what its maps carry; or with the reason why that cannot be told."""
    try:
        told = carried_at_end(probe, batch.x, end, batch.y, rankings, batch.draws("carriers"))
    except BadInput as problem:
        return found.assign_attrs(no_carriers=str(problem))
    return found.assign(told)


def portrait(
    unit: Unit, batch: Batch, probe: Probe, benign_std: Mapping[str, NDArray[Any]]
) -> dict[Cell, xr.Dataset]:
    """One input as it is, with everything that is measured on it, as an exemplar of one step."""
    with torch.no_grad():
        logits = ask(probe.model, batch.x).float().cpu()
        wrong = bool(fooled(logits.argmax(1), batch.y.cpu(), rejected(probe.model, batch.x).cpu()))
    rival = rival_of(logits, batch.y.cpu())
    found = _along_steps(
        probe, batch, batch.draws("null"), np.zeros(1, dtype=np.int64), rival, benign_std
    )
    label = int(batch.y[0])
    return {
        unit.cells[0]: found.assign_attrs(
            label=label, rival=int(rival[0]), target=-1, success=wrong
        )
    }


def _along_steps(
    probe: Probe,
    batch: Batch,
    null: Draws,
    steps: NDArray[np.int64],
    rival: Tensor,
    benign_std: Mapping[str, NDArray[Any]],
    *,
    matrices: bool = False,
    end: int = 0,
) -> xr.Dataset:
    """One input's iterates as the store's exemplar.

    Evidence maps, and S and T where asked for, of the first iterate and of the one at ``end``.
    """
    # An input that the model gets wrong from the start has its benign iterate only.
    ends = tuple(sorted({0, min(end, len(batch.x) - 1)}))
    found = probe.measure(
        batch.x, null, matrices=ends if matrices else (),
        towards=_asked(batch.y, rival.expand(len(batch.y))),
    )  # fmt: skip
    own = {p: found.profiles[p] for p in PROFILES}
    parts, whole = differences(own, {p: v[:1] for p, v in own.items()}, benign_std)
    label = batch.y.cpu()
    measured = {**found.profiles, **_drifts(found, label, rival.expand(len(label)))}
    dims = ("step", "tap", "class")
    variables: dict[str, Any] = {n: (dims[: v.ndim], v) for n, v in measured.items()}
    if found.class_information is not None:
        variables["class_information"] = (("step", "tap", "class"), found.class_information)
    variables |= {
        "logits": (("step", "class"), found.logits),
        "rejected": ("step", rejected(probe.model, batch.x).cpu().numpy()),
        "images": (("step", "channel", "row", "col"), _array(batch.x)),
        "difference": ("step", whole.astype(np.float32)),
        "depth": ("tap", np.array([tap.depth for tap in probe.taps])),
        **{f"difference_{name}": ("step", part.astype(np.float32)) for name, part in parts.items()},
        **_matrices(found),
    }
    variables["evidence"] = (
        ("chosen", "class", "evidence_row", "evidence_col"),
        _array(probe.evidence(batch.x[list(ends)])),
    )
    coords: dict[str, Any] = {"tap": [tap.name for tap in probe.taps], "step": steps}
    coords["chosen"] = steps[list(ends)]
    return xr.Dataset(variables, coords)


def _matrices(found: Measured) -> dict[str, Any]:
    """S and T of the kept rows, tap by tap, since taps differ in their number of maps."""
    out: dict[str, Any] = {}
    for k, both in found.kept.items():
        for part in ("raw", "null"):
            S, T = (getattr(m, part).cpu().numpy() for m in (both.S, both.T))
            out[f"S_{part}.{k}"] = (("chosen", "channel", f"map.{k}"), S)
            out[f"T_{part}.{k}"] = (("chosen", f"map.{k}", "class"), T)
    return out
