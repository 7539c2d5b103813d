"""``python -m benchmarks.attacks``: a table a contest, and all of it as JSON if asked for."""

from __future__ import annotations

import argparse
import json
import platform
import sys
import time
from pathlib import Path
from typing import Any

import torch
from torch import nn

import undertow as ut
from benchmarks.attacks.contests import CONTESTS, Contest
from benchmarks.attacks.measuring import Run, Task, count, race
from benchmarks.attacks.peers import versions
from benchmarks.attacks.table import as_text
from undertow.errors import UndertowError
from undertow.types import Goal


def main() -> int:
    """Run the contests that were asked for."""
    options = _options()
    torch.set_num_threads(options.threads)
    model, data = _model(options)
    model.requires_grad_(not options.frozen)
    torch.manual_seed(0)  # peers draw from the global generator
    found: dict[str, Any] = {"about": _about(options, model), "contests": {}}
    for name in options.contest or CONTESTS:
        contest = CONTESTS[name]
        began = time.perf_counter()
        task = _task(model, data, options.inputs or contest.inputs, contest)
        runs = _runs(contest, options.against)
        rows = _contest(contest, runs, task, options.repeats)
        found["contests"][name] = {"about": contest.about, "inputs": len(task.x), "rows": rows}
        title = f"{name}: {contest.about}; {len(task.x)} inputs"
        print(
            as_text(title, rows), f"({time.perf_counter() - began:.0f} s)\n", sep="\n", flush=True
        )
    if options.json:
        Path(options.json).write_text(json.dumps(found, indent=1) + "\n")
    return 0


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.attacks", description=__doc__)
    parser.add_argument("contest", nargs="*", help=f"which (default: all): {', '.join(CONTESTS)}")
    parser.add_argument(
        "--model", help="default: good_init if its weights are here, else digits_cnn"
    )
    parser.add_argument("--weights", help="a file of weights for the model")
    parser.add_argument("--data", help="default: the model's own: cifar10 or digits")
    parser.add_argument("--inputs", type=int, help="inputs, instead of each contest's own number")
    parser.add_argument(
        "--against",
        nargs="*",
        metavar="NAME",
        help="only these peers (default: all); none: ours alone",
    )
    parser.add_argument("--repeats", type=int, default=3, help="timed rounds (default 3)")
    parser.add_argument("--threads", type=int, default=1, help="threads of torch (default 1)")
    parser.add_argument(
        "--frozen",
        action="store_true",
        help="freeze the parameters for everybody (Undertow does so itself; a model as it comes "
        "from torch has parameters that require gradients)",
    )
    parser.add_argument("--json", metavar="FILE", help="also write all numbers here")
    options = parser.parse_args()
    peers = sorted({name for c in CONTESTS.values() for name in c.runs})
    strangers = sorted(set(options.against or ()) - set(peers))
    if strangers:
        parser.error(f"unknown peer '{strangers[0]}' (allowed: {', '.join(peers)})")
    unknown = sorted(set(options.contest) - set(CONTESTS))
    if unknown:
        parser.error(f"unknown contest '{unknown[0]}' (allowed: {', '.join(CONTESTS)})")
    return options


def _model(options: argparse.Namespace) -> tuple[nn.Module, Any]:
    if options.model is None:
        try:
            model, name = ut.load_model("good_init", weights=options.weights), "good_init"
        except UndertowError as error:
            print(f"good_init: {error}; digits_cnn instead", file=sys.stderr)
            model, name = ut.load_model("digits_cnn"), "digits_cnn"
    else:
        model, name = ut.load_model(options.model, weights=options.weights), options.model
    options.model = name
    options.data = options.data or ("digits" if "digits" in name else "cifar10")
    return model, ut.load_data(options.data, split="test")


def _task(model: nn.Module, data: Any, inputs: int, contest: Contest) -> Task:
    """The first test images that the model gets right; targets go round the wrong classes."""
    x, y = data[0 : 2 * inputs + 32]
    with torch.no_grad():
        logits = model(x)
    right = torch.nonzero(logits.argmax(1) == y).flatten()[:inputs]
    x, y = x[right].contiguous(), y[right]
    classes = logits.shape[1]
    shift = 1 + torch.arange(len(y)) % (classes - 1)
    return Task(model, x, Goal(y, (y + shift) % classes if contest.targeted else None))


def _runs(contest: Contest, against: list[str] | None) -> dict[str, Run]:
    """Ours, and the peers asked for."""
    return {
        name: run
        for name, run in contest.runs.items()
        if against is None or name in against or name.startswith(("undertow", "bare"))
    }


def _contest(
    contest: Contest, runs: dict[str, Run], task: Task, repeats: int
) -> list[dict[str, Any]]:
    results = [count(name, run, task) for name, run in runs.items()]
    race(results, list(runs.values()), task, repeats)
    ran = [r.success for r in results if r.success is not None]
    common = torch.stack(ran).all(0) if ran else torch.zeros(len(task.x), dtype=torch.bool)
    rows = [r.row(task, common, results[0]) for r in results]
    for row in rows:
        row["reach"] = contest.reach.get(row["contestant"])
    return rows


def _about(options: argparse.Namespace, model: nn.Module) -> dict[str, Any]:
    return {
        "model": options.model,
        "data": options.data,
        "weights": options.weights,
        "repeats": options.repeats,
        "threads": options.threads,
        "frozen": options.frozen,
        "machine": f"{platform.machine()} {platform.processor()}".strip(),
        "python": platform.python_version(),
        "parameters": sum(p.numel() for p in model.parameters()),
        "versions": versions(),
    }


if __name__ == "__main__":
    sys.exit(main())
