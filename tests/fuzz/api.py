"""Public functions with arguments of every wrong kind, as users call them, no shapes checked.

Run by test_api.py in a process of its own; prints what was raised raw, as JSON.
"""

from __future__ import annotations

import json
import os
import sys
import tempfile
import warnings
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import torch

import undertow as ut
from undertow.attacks import make
from undertow.data import ImageSet, load_data
from undertow.errors import UndertowError
from undertow.figures import from_flow, lift, save
from undertow.models import evaluate, load_model
from undertow.store import open_run
from undertow.store.export import export, table
from undertow.taps import choose

warnings.simplefilter("ignore")
MODEL = load_model("digits_cnn")
X, Y = load_data("digits")[:2]
NAN = torch.full_like(X, float("nan"))
ANYTHING: tuple[Any, ...] = (
    None, True, -1, 0, 3.5, float("nan"), float("inf"), 2**70, "", "nope", "☃", b"x", [], {}, (),
    object(), lambda: 0, [1, 2, 3], {"a": 1}, Path("nowhere"), torch.zeros(0), torch.zeros(2, 3),
    NAN, X + 2, X[:1], X[:, :, :3], X.numpy(), X.double(), Y.float(), Y + 100,
    torch.zeros(2, 1, 16, 16, 1), np.zeros(3),
)  # fmt: skip


def _named(name: Any) -> Any:
    return make(name)


def cases(
    run: Any, trajectory: Any, flow: Any
) -> dict[str, tuple[Callable[..., Any], dict[str, Any]]]:
    """Each function with arguments that work."""
    attack = ut.attacks.FGSM(epsilon=0.1)
    return {
        "craft": (ut.craft, {"attack": attack, "model": MODEL, "x": X, "y": Y, "seed": 0}),
        "measure": (
            ut.measure, {"model": MODEL, "inputs": X, "y": Y, "null": "shift", "references": None}
        ),
        "measure trajectory": (
            partial(ut.measure, MODEL, null="shift"), {"inputs": trajectory, "taps": None}
        ),
        "carriers": (ut.carriers, {"model": MODEL, "attacked": trajectory}),
        "load_data": (ut.load_data, {"name": "digits", "split": "test", "data_dir": None}),
        "load_model": (
            ut.load_model,
            {"spec": "digits_cnn", "mean": None, "std": None, "weights": None, "device": "cpu"},
        ),
        "open_run": (ut.open_run, {"path": run.path}),
        "make": (make, {"epsilon": 0.1, "targeted": None}),
        "make named": (_named, {"name": "fgsm"}),
        "ImageSet": (ImageSet.from_arrays, {"images": X, "labels": Y, "name": "x"}),
        "choose": (choose, {"model": MODEL, "example": X, "which": None}),
        "evaluate": (evaluate, {"model": MODEL, "data": load_data("digits")}),
        "lift": (lift, {"run": run, "name": "aggregate"}),
        "from_flow": (from_flow, {"flow": flow, "kind": "turning", "sample": 0}),
        "save": (partial(save, lift(run, "aggregate")), {"path": "x.svg"}),
        "table": (table, {"run": run, "group": "profiles"}),
        "export": (export, {"run": run, "format": "csv", "out": Path("out")}),
    }  # fmt: skip


OWN = {"make": ("targeted",)}
"""Arguments that the working call leaves out."""


def main(path: str, every: int) -> None:
    """Try all, or some; print what was raised raw and how many calls there were."""
    run = open_run(path)
    trajectory = ut.craft(ut.attacks.FGSM(epsilon=0.2), MODEL, X, Y)
    flow = ut.measure(MODEL, trajectory, null="shift")
    raw, count = [], 0
    with tempfile.TemporaryDirectory() as folder:
        os.chdir(folder)
        for name, (function, arguments) in cases(run, trajectory, flow).items():
            given = {k: v for k, v in arguments.items() if k not in OWN.get(name, ())}
            call = partial(function, "fgsm") if name == "make" else function
            for number, key in enumerate(arguments):
                for value in ANYTHING[number % every :: every]:
                    count += 1
                    try:
                        call(**{**given, key: value})
                    except UndertowError as error:
                        if len(str(error).splitlines()) > 3:
                            raw.append(
                                [name, key, repr(value)[:60], "many lines", str(error)[:100]]
                            )
                    except Exception as error:
                        told = f"{type(error).__name__}: {' '.join(str(error).split())[:120]}"
                        raw.append([name, key, repr(value)[:60].replace("\n", " "), told])
        os.chdir("/")
    sys.stdout.write(json.dumps({"count": count, "raw": raw}))


if __name__ == "__main__":
    main(sys.argv[1], int(sys.argv[2]))
