"""What a run holds: groups, variables, dimensions, units. Checked on write, printed in the docs.

A group of ``results.zarr`` has one subgroup a :class:`Cell`. A variable named ``iip@binned`` is
``iip`` as another estimator sees it and follows the schema of ``iip``; in an exemplar,
``S_raw.3`` belongs to tap number 3 (taps differ in their number of maps).
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

import numpy as np
import xarray as xr

from undertow.axes import OUTCOMES
from undertow.errors import BadInput, UnknownName

__all__ = [
    "GROUPS", "SCHEMA_VERSION", "Group", "Variable", "describe", "order", "template", "validate",
]  # fmt: skip

SCHEMA_VERSION: Final = 1
"""Raised by one whenever an older reader could misread a run."""


@dataclass(frozen=True, slots=True)
class Variable:
    """One stored array: its axes, the kinds of numbers it may hold, unit and meaning."""

    name: str
    dims: tuple[str, ...]
    kinds: str
    unit: str
    doc: str
    required: bool = True

    @property
    def ragged(self) -> bool:
        """Whether there is one array a tap, ``name.<tap number>``."""
        return any(dim.endswith(".k") for dim in self.dims)


@dataclass(frozen=True, slots=True)
class Group:
    """One kind of results."""

    name: str
    doc: str
    variables: Mapping[str, Variable]


def _group(name: str, doc: str, *variables: Variable) -> Group:
    return Group(name, doc, {v.name: v for v in variables})


def _profiles(lead: tuple[str, ...]) -> tuple[Variable, ...]:
    words = {
        "iip": ("bit", "input information profile: mean over maps of source MI"),
        "oip": ("bit", "output information profile: mean over maps of target MI"),
        "ioc": (
            "correlation",
            "input-output coupling: correlation over maps of source and target MI",
        ),
    }
    kinds = {"": "net of the null", "_raw": "as estimated", "_null": "the null"}
    known = [
        Variable(f"{p}{k}", (*lead, "tap"), "f", unit, f"{doc}; {kinds[k]}", required=k == "")
        for p, (unit, doc) in words.items()
        for k in kinds
    ]
    known.append(
        Variable(
            "oip_shift", (*lead, "tap"), "f", "bit",
            f"{words['oip'][1]}; net of the shift null", required=False,
        )
    )  # fmt: skip
    for k, kind in kinds.items():
        toward = "flow towards each class: mean over maps of target MI"
        known += [
            Variable(
                f"flow{k}", (*lead, "tap", "class"), "f", "bit", f"{toward}; {kind}", required=False
            ),
            Variable(
                f"drift{k}", (*lead, "tap"), "f", "bit",
                f"flow towards the rival less that towards the true class; {kind}", required=False,
            ),
        ]  # fmt: skip
    return tuple(known)


_DEPTH = Variable(
    "depth", ("tap",), "f", "1", "the tap's place, 0 at the input and 1 at the output"
)
_RESTORED = (
    "whether the true label returns when the first maps of a ranking are put back; of controls the "
    "share of their random orders"
)
_IMPLANTED = "whether the rival's label comes when they are put into the benign run"
_COUNT = "how many maps are put back at each place of a curve; -1 beyond the last"
_SMALLEST = "the maps of the smallest set that was found to return the true label"
_SMALLEST_RANDOM = "how many maps the same search leaves in a random order"
_INDEX = Variable(
    "index", ("sample",), "i", "1", "the input's index in the data set", required=False
)

GROUPS: Final[Mapping[str, Group]] = {
    g.name: g
    for g in (
        _group(
            "profiles",
            "Information profiles of every input of a cell.",
            *_profiles(("sample",)),
            _DEPTH,
            _INDEX,
        ),
        _group(
            "attacks",
            "Where the attack on every input ended. In a cell with another source model: what the "
            "inferring model makes of that end.",
            Variable("index", ("sample",), "i", "1", "the input's index in the data set"),
            Variable("label", ("sample",), "i", "class", "true class"),
            Variable("target", ("sample",), "i", "class", "class aimed at; -1 where untargeted"),
            Variable(
                "predicted", ("sample",), "i", "class", "the inferring model's answer at the end"
            ),
            Variable(
                "rival",
                ("sample",),
                "i",
                "class",
                "the wrong class that drift goes towards: the answer where it is wrong, else the "
                "runner-up; a control has its attack's",
                required=False,
            ),
            Variable(
                "success",
                ("sample",),
                "b",
                "1",
                "whether the inferring model is fooled: it gives another class than the true one, "
                "and does not reject the input",
            ),
            Variable(
                "rejected",
                ("sample",),
                "b",
                "1",
                "whether the inferring model's defence rejects the input",
                required=False,
            ),
            Variable(
                "stalled", ("sample",), "b", "1", "whether gradients vanished", required=False
            ),
            Variable(
                "outcome",
                ("sample",),
                "i",
                "1",
                "how the attack ended: "
                + ", ".join(f"{i} {w}" for i, w in enumerate(OUTCOMES))
                + "; -1 where the model reads what another was attacked with, or a control",
                required=False,
            ),
            Variable("steps", ("sample",), "i", "step", "the step at which the end was reached"),
            Variable("l0", ("sample",), "i", "component", "changed components"),
            Variable("l2", ("sample",), "f", "1", "Euclidean distance from the benign input"),
            Variable("linf", ("sample",), "f", "1", "largest change of a component"),
            Variable("forwards", ("sample",), "i", "call", "forward calls", required=False),
            Variable("backwards", ("sample",), "i", "call", "gradient calls", required=False),
            Variable(
                "logits", ("sample", "class"), "f", "1", "the inferring model's logits at the end"
            ),
        ),
        _group(
            "class_information",
            "Which class the information at each tap is about.",
            Variable(
                "bits",
                ("sample", "tap", "class"),
                "f",
                "bit",
                "pointwise V-information about the class",
            ),
            Variable(
                "takeover", ("sample",), "i", "1", "number of the takeover tap; -1 where none"
            ),
            Variable(
                "takeover_depth", ("sample",), "f", "1", "its depth; NaN where none", required=False
            ),
            _DEPTH,
            _INDEX,
        ),
        _group(
            "carriers",
            "Which maps of each tap carry the attack: put back to their benign values, they return "
            "the true label. Inputs that the model gets wrong unattacked, or on which the attack "
            "failed, have rival -1.",
            Variable(
                "rival",
                ("sample",),
                "i",
                "class",
                "the class that the model gives the adversarial input; -1: nothing to restore",
            ),
            *(
                Variable(name, ("sample", "tap", "ranking", "place"), "f", "share", doc)
                for name, doc in (("restored", _RESTORED), ("implanted", _IMPLANTED))
            ),
            Variable("smallest", ("sample", "tap", "map"), "b", "1", _SMALLEST),
            Variable(
                "smallest_random",
                ("sample", "tap"),
                "i",
                "map",
                f"{_SMALLEST_RANDOM}; -1: nothing to restore",
            ),
            Variable(
                "cut",
                ("sample", "tap"),
                "b",
                "1",
                "whether all that the logits know of the input passes through the tap",
            ),
            Variable("count", ("tap", "place"), "i", "map", _COUNT),
            _DEPTH,
        ),
        _group(
            "exemplars",
            "One recorded input: its iterates and everything measured on them.",
            Variable(
                "images",
                ("step", "channel", "row", "col"),
                "uf",
                "1",
                "the iterates, 0…255 or in [0, 1]",
            ),
            Variable("logits", ("step", "class"), "f", "1", "the model's logits"),
            Variable(
                "rejected",
                ("step",),
                "b",
                "1",
                "whether the model's defence rejects it",
                required=False,
            ),
            *_profiles(("step",)),
            Variable(
                "class_information",
                ("step", "tap", "class"),
                "f",
                "bit",
                "pointwise V-information about the class",
                required=False,
            ),
            Variable(
                "difference",
                ("step",),
                "f",
                "benign s.d.",
                "overall difference of the IPs from step 0",
            ),
            *(
                Variable(
                    f"difference_{p}",
                    ("step",),
                    "f",
                    "benign s.d.",
                    f"its share in {p.upper()}",
                    required=False,
                )
                for p in ("iip", "oip", "ioc")
            ),
            _DEPTH,
            *(
                Variable(f"{m}_{k}", dims, "f", "bit", f"{doc}; {word}", required=False)
                for m, dims, doc in (
                    ("S", ("chosen", "channel", "map.k"), "source MI at chosen steps"),
                    ("T", ("chosen", "map.k", "class"), "target MI at chosen steps"),
                )
                for k, word in (("raw", "as estimated"), ("null", "the null"))
            ),
            Variable(
                "maps",
                ("chosen", "map.k", "row.k", "col.k"),
                "f",
                "1",
                "feature maps at chosen steps",
                required=False,
            ),
            Variable(
                "evidence",
                ("chosen", "class", "evidence_row", "evidence_col"),
                "f",
                "1",
                "evidence maps at chosen steps",
                required=False,
            ),
            *(
                Variable(name, dims, kinds, unit, f"{doc}, at the attack's end", required=False)
                for name, dims, kinds, unit, doc in (
                    ("restored", ("tap", "ranking", "place"), "f", "share", _RESTORED),
                    ("implanted", ("tap", "ranking", "place"), "f", "share", _IMPLANTED),
                    ("count", ("tap", "place"), "i", "map", _COUNT),
                    (
                        "score",
                        ("tap", "ranking", "map"),
                        "f",
                        "1",
                        "what a ranking says of each map; NaN of controls and beyond a tap's maps",
                    ),
                    ("smallest", ("tap", "map"), "b", "1", _SMALLEST),
                    ("smallest_random", ("tap",), "i", "map", _SMALLEST_RANDOM),
                )
            ),
        ),
    )
}
"""Every group. Coordinates: ``tap`` holds names, ``step`` and ``chosen`` the attack's step numbers.
Names of classes are the attribute ``classes`` where they are known; free variables
``note_NAME (step)`` of an exemplar hold what the attack says of its steps."""

_NAME = re.compile(r"(?P<base>[A-Za-z_0-9]+?)(@(?P<estimator>[\w-]+))?(\.(?P<tap>\d+))?")


def describe(group: str, name: str) -> Variable:
    """The schema of one variable, estimator and tap suffixes understood.

    Raises:
        UnknownName: if the group has no such variable.
    """
    if group not in GROUPS:
        raise UnknownName("group", group, GROUPS)
    found = _NAME.fullmatch(name)
    variables = GROUPS[group].variables
    if group == "exemplars" and re.fullmatch(r"note_\w+", name):
        return Variable(name, ("step",), "ifub", "1", "the attack's own note", required=False)
    if found is None or found["base"] not in variables:
        raise UnknownName(f"variable of {group}", name, variables)
    variable, k = variables[found["base"]], found["tap"]
    if variable.ragged != (k is not None):
        raise UnknownName(f"variable of {group}", name, variables)
    dims = tuple(d.removesuffix("k") + k if k and d.endswith(".k") else d for d in variable.dims)
    return Variable(name, dims, variable.kinds, variable.unit, variable.doc, variable.required)


def order(group: str, names: Sequence[str]) -> list[str]:
    """``names`` in the order of the schema, others last."""
    known = list(GROUPS[group].variables) if group in GROUPS else []
    place = {name: i for i, name in enumerate(known)}
    keys = []
    for name in names:
        base = re.split(r"[@.]", name)[0]
        keys.append((place.get(base, len(place)), name != base, name))
    return [key[-1] for key in sorted(keys)]


_COORDINATES: Final = frozenset(
    ("tap", "ranking", "step", "chosen", "sample", "class", "channel", "row", "col")
)


def validate(group: str, dataset: xr.Dataset) -> None:
    """Refuse a dataset that is not what the schema says.

    Raises:
        BadInput: a variable is missing, or has other axes or another kind of numbers.
        UnknownName: a variable that the group does not know.
    """
    for name, array in {**dataset.data_vars, **dataset.coords}.items():
        if name in _COORDINATES:
            continue
        variable = describe(group, str(name))
        if array.dims != variable.dims:
            raise BadInput(f"{group}/{name}: axes {array.dims}, allowed {variable.dims}")
        if array.dtype.kind not in variable.kinds:
            raise BadInput(f"{group}/{name}: {array.dtype}, allowed kinds '{variable.kinds}'")
    missing = [
        v.name
        for v in GROUPS[group].variables.values()
        if v.required and v.name not in dataset.variables
    ]
    if missing:
        raise BadInput(f"{group}: {', '.join(missing)} missing")
    named = [d for d in ("tap", "ranking", "step", "chosen") if d in dataset.dims]
    absent = [d for d in named if d not in dataset.coords]
    if absent:
        raise BadInput(f"{group}: coordinate {', '.join(absent)} missing")


_KINDS: Final = {
    "f": (np.float32, np.nan),
    "i": (np.int64, -1),
    "b": (np.bool_, False),
    "u": (np.uint8, 0),
}


def template(
    group: str,
    *,
    samples: int,
    taps: Sequence[str] = (),
    depth: Sequence[float | int] | np.ndarray = (),
    classes: int = 0,
    estimators: Sequence[str] = (),
    without: Sequence[str] = (),
    rankings: Sequence[str] = (),
    count: np.ndarray | None = None,
) -> xr.Dataset:
    """An unfilled dataset of one group; it takes no memory, whatever its size.

    Args:
        group: ``profiles``, ``attacks``, ``class_information`` or ``carriers``.
        samples: inputs of the cell.
        taps: their names.
        depth: their depths.
        classes: the number of classes.
        estimators: further estimators, whose profiles are ``iip@NAME`` and so on.
        without: optional variables to leave out.
        rankings: names of rankings and their controls.
        count: how many maps are put back at each place of a curve, (tap, place).
    """
    count = np.zeros((len(taps), 0), dtype=np.int64) if count is None else count
    sizes = {
        "sample": samples, "tap": len(taps), "class": classes, "ranking": len(rankings),
        "place": count.shape[1], "map": int(count.max(initial=0)),
    }  # fmt: skip
    arrays: dict[str, tuple[tuple[str, ...], np.ndarray]] = {}
    for variable in GROUPS[group].variables.values():
        if variable.name in without or variable.name == "depth":
            continue
        if variable.name == "count":
            arrays["count"] = (variable.dims, count)
            continue
        dtype, fill = _KINDS[variable.kinds[0]]
        values: np.ndarray = np.broadcast_to(
            np.array(fill, dtype), tuple(sizes[d] for d in variable.dims)
        )
        arrays[variable.name] = (variable.dims, values)
        if group == "profiles" and variable.dims[:2] == ("sample", "tap"):
            arrays.update({f"{variable.name}@{e}": (variable.dims, values) for e in estimators})
    coords: dict[str, Any] = (
        {"tap": list(taps), "depth": ("tap", np.asarray(depth, float))} if len(taps) else {}
    )
    if rankings:
        coords["ranking"] = list(rankings)
    dataset = xr.Dataset(arrays, coords=coords)
    validate(group, dataset)
    return dataset
