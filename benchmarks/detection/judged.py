"""Detectors fitted on one attack and tried on the others: AUROC, detection rate, noise alarms."""

from __future__ import annotations

import warnings
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy.stats import rankdata
from sklearn.ensemble import HistGradientBoostingClassifier
from sklearn.linear_model import LogisticRegression
from sklearn.model_selection import cross_val_score
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

__all__ = ["Scores", "area", "fitted", "intervals"]

Array = NDArray[np.float64]
ALARMS = 0.05
"""Share of benign inputs that may be called adversarial."""
DRAWS = 500


def fitted(benign: Array, adversarial: Array, seed: int) -> Any:
    """The best of four detectors by cross-validation on what it is fitted on.

    Logistic regressions of three strengths, and boosted trees; the choice sees one attack only.
    """
    x = np.concatenate([benign, adversarial])
    y = np.repeat([0, 1], [len(benign), len(adversarial)])
    kinds = [
        make_pipeline(StandardScaler(), LogisticRegression(C=c, max_iter=500))
        for c in (0.01, 0.1, 1.0)
    ]
    if x.shape[1] > 1:
        kinds.append(HistGradientBoostingClassifier(max_iter=60, random_state=seed))
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        told = [cross_val_score(k, x, y, cv=4, scoring="roc_auc").mean() for k in kinds]
        return kinds[int(np.argmax(told))].fit(x, y)


@dataclass(frozen=True, slots=True)
class Scores:
    """What detectors say of inputs that they have not seen.

    Args:
        benign: by attack that it was fitted on, (input,).
        noise: likewise, of noisy inputs.
        adversarial: by attack that it was fitted on and attack that it is tried on, (input,); NaN
            where that attack failed.
    """

    benign: Mapping[str, Array]
    noise: Mapping[str, Array]
    adversarial: Mapping[tuple[str, str], Array]

    def matrix(self, rows: NDArray[np.int64] | None = None) -> dict[tuple[str, str], float]:
        """AUROC by attack fitted on and attack tried on, over some inputs."""
        rows = np.arange(len(next(iter(self.benign.values())))) if rows is None else rows
        return {
            pair: area(self.benign[pair[0]][rows], _there(found[rows]))
            for pair, found in self.adversarial.items()
        }

    def unseen(self, rows: NDArray[np.int64] | None = None) -> float:
        """The mean AUROC over attacks that a detector was not fitted on."""
        return float(np.mean([v for (a, b), v in self.matrix(rows).items() if a != b]))

    def rates(self) -> tuple[float, float]:
        """Share of unseen attacks' inputs, and of noisy ones, beyond 5 % of benign ones."""
        border = {a: np.quantile(v, 1 - ALARMS) for a, v in self.benign.items()}
        found = [(_there(v) > border[a]).mean() for (a, b), v in self.adversarial.items() if a != b]
        return float(np.mean(found)), float(
            np.mean([(self.noise[a] > border[a]).mean() for a in border])
        )


def _there(values: Array) -> Array:
    return values[np.isfinite(values)]


def area(benign: Array, adversarial: Array) -> float:
    """Area under the ROC curve: the share of pairs in which the adversarial one scores higher."""
    if not len(benign) or not len(adversarial):
        return float("nan")
    ranks = rankdata(np.concatenate([benign, adversarial]))[len(benign) :]
    n, m = len(benign), len(adversarial)
    return float((ranks.sum() - m * (m + 1) / 2) / (n * m))


def intervals(found: Mapping[str, Scores], against: str, seed: int) -> dict[str, dict[str, Any]]:
    """Unseen AUROC of each detector with its 95 % interval, and its difference from one of them.

    Inputs are drawn again, the same ones for every detector and attack.
    """
    n = len(next(iter(found[against].benign.values())))
    rng = np.random.default_rng(seed)
    draws = [rng.integers(n, size=n) for _ in range(DRAWS)]
    told = {name: np.array([s.unseen(rows) for rows in draws]) for name, s in found.items()}
    out: dict[str, dict[str, Any]] = {}
    for name, scores in found.items():
        gap = told[name] - told[against]
        own = scores.unseen()
        out[name] = {
            "auroc": own,
            "interval": np.quantile(told[name], [0.025, 0.975]).tolist(),
            "gain": own - found[against].unseen(),
            "gain interval": np.quantile(gap, [0.025, 0.975]).tolist(),
        }
    return out
