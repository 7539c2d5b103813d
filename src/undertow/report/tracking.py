"""A run's numbers for those who keep books: MLflow and Weights & Biases, as far as installed.

Both get the same: what was asked as parameters, one number a metric, the report as a file.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Final

import numpy as np

from undertow.errors import Foreign, Unavailable, UnknownName
from undertow.loading import needed
from undertow.report.asked import flat
from undertow.store import Run

__all__ = ["METRICS", "TRACKERS", "metrics_of", "track"]

TRACKERS: Final = ("mlflow", "wandb")
METRICS: Final = {
    "MODEL/ATTACK/fooled": "share of the inputs that end in a wrong answer",
    "MODEL/ATTACK/l2": "their mean L2 distance",
    "MODEL/ATTACK/drift/TAP": "mean drift at a tap in bits, of the inputs that it succeeds on",
    "MODEL/ATTACK/change/TAP": "its mean change from the same inputs left benign; of controls too",
    "claims/VERDICT": "how many claims have each verdict",
}
"""What is logged, for the documentation."""


def metrics_of(run: Run) -> dict[str, float]:
    """The numbers of a run by name; names hold what both services allow."""
    found = _ends(run) | _drifts(run)
    for question in run.answers.questions if run.answers else ():
        for claim in question.claims:
            found[f"claims/{claim.verdict}"] = found.get(f"claims/{claim.verdict}", 0.0) + 1.0
    return {_name(name): value for name, value in found.items()}


def _ends(run: Run) -> dict[str, float]:
    found: dict[str, float] = {}
    for cell in (c for c in run.cells if not c.benign and run.has("attacks", c)):
        data = run.attacks(cell)
        kept = data["finished"].values
        if not kept.any():
            continue
        wrong = data["success"].values[kept]
        where = f"{cell.model}/{cell.attack}" + (f"@{cell.source}" if cell.source else "")
        found[f"{where}/fooled"] = float(np.mean(wrong))
        if wrong.any():
            found[f"{where}/l2"] = float(np.mean(data["l2"].values[kept][wrong]))
    return found


def _drifts(run: Run) -> dict[str, float]:
    """Drift of every attack and control, and its change, tap by tap."""
    contrasts = run.answers.contrasts if run.answers else {}
    return {
        f"{model}/{attack if who == 'attack' else f'{who}:{attack}'}/{kind}/{tap}": float(mean)
        for model, by in contrasts.items()
        for attack, quantities in by.items()
        if "drift" in quantities
        for drift in (quantities["drift"],)
        for who in drift.change
        for kind, points in (("drift", drift.level[who]), ("change", drift.change[who]))
        for tap, mean in zip(drift.tap, points.mean, strict=True)
        if mean is not None
    }


def _name(name: str) -> str:
    """Letters, digits and what both services take: ``noise:igsm`` is ``noise-igsm``."""
    return re.sub(r"[^\w./\- ]", "-", name)


def _parameters(run: Run) -> dict[str, str]:
    found: dict[str, str] = {}
    for key, value in flat(run.spec):
        name = _name(key) or "attacks"
        while name in found:
            name += "+"
        found[name] = str(value)[:480]
    return found


def track(run: Run, service: str, *, project: str = "undertow") -> str:
    """Log a run; the service's own settings (its address, its mode) are its environment's.

    Args:
        run: the run.
        service: ``mlflow`` or ``wandb``.
        project: the experiment or project it goes to.

    Returns:
        What the service calls the logged run.

    Raises:
        UnknownName: for another service.
        Unavailable: if it is not installed, or does not answer.
        Foreign: if the run has no numbers yet.
    """
    if service not in TRACKERS:
        raise UnknownName("tracking service", service, TRACKERS)
    needed("logging there", service, service)
    metrics = metrics_of(run)
    if not metrics:
        raise Foreign(f"'{run.path}' has no finished inputs to log")
    report = run.path / "report.html"
    files = [path for path in (report, run.path / "answers.json") if path.is_file()]
    write = _mlflow if service == "mlflow" else _wandb
    try:
        return write(run, project, metrics, files)
    except Exception as error:
        told = str(error).strip().splitlines()
        raise Unavailable(
            f"{service}: {told[0][:200] if told else type(error).__name__}"
            + (" (MLFLOW_TRACKING_URI names a server)" if service == "mlflow" else "")
        ) from None


def _mlflow(run: Run, project: str, metrics: Mapping[str, float], files: list[Path]) -> str:
    import mlflow

    mlflow.set_experiment(project)
    with mlflow.start_run(run_name=run.path.name) as logged:
        mlflow.log_params(_parameters(run))
        mlflow.log_metrics(dict(metrics))
        mlflow.set_tag("undertow.run", str(run.path))
        for path in files:
            mlflow.log_artifact(str(path))
        return str(logged.info.run_id)


def _wandb(run: Run, project: str, metrics: Mapping[str, float], files: list[Path]) -> str:
    import wandb

    logged: Any = wandb.init(
        project=project, name=run.path.name, config=_parameters(run), dir=str(run.path.parent)
    )
    try:
        logged.summary.update(dict(metrics))
        if files:
            artifact = wandb.Artifact(f"{_name(run.path.name)}-report", type="report")
            for path in files:
                artifact.add_file(str(path))
            logged.log_artifact(artifact)
        return str(logged.id)
    finally:
        logged.finish()
