"""What a map tells about an input or about a class: estimators, nulls, matrices, profiles.

Everything here is a pure function of arrays; bits everywhere. The registries below name the
estimators and the nulls; their code is imported on first use.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from undertow.registry import Registry

if TYPE_CHECKING:
    from undertow.information.nulls import Null
    from undertow.types import Estimator

__all__ = ["DEFAULT_ESTIMATOR", "DEFAULT_NULL", "ESTIMATORS", "NULLS"]

ESTIMATORS: Final[Registry[type[Estimator]]] = Registry("estimator", members=("encode", "pairwise"))
"""Estimators of mutual information; an entry is a class, called without arguments for defaults."""

ESTIMATORS.add(
    "gaussian_copula",
    "undertow.information.estimators.gaussian_copula:GaussianCopula",
    "ranks, normal scores, correlation (Ince et al. 2017); sees monotone dependence",
    label="Gaussian copula",
)
ESTIMATORS.add(
    "binned",
    "undertow.information.estimators.binned:Binned",
    "equally populated bins, Miller-Madow correction; sees any dependence",
)
ESTIMATORS.add(
    "binned_width",
    "undertow.information.estimators.binned:BinnedWidth",
    "bins of equal width, Miller-Madow correction",
    label="binned, equal width",
)
ESTIMATORS.add(
    "ksg",
    "undertow.information.estimators.ksg:KSG",
    "nearest neighbours (Kraskov et al. 2004, algorithm 1); the slow reference",
    label="KSG",
)

NULLS: Final[Registry[Null]] = Registry("null")
"""Nulls: how the counterpart is replaced so that nothing is left to find.

``needs`` says of what: ``references``, other inputs, or ``draws``, random numbers.
"""

NULLS.add(
    "mismatch",
    "undertow.information.nulls:mismatch",
    "the counterparts of other, benign inputs; keeps smoothness",
    needs={"references"},
)
NULLS.add(
    "shift",
    "undertow.information.nulls:shift",
    "the same counterpart, moved around the torus; keeps smoothness",
    needs={"draws"},
)
NULLS.add(
    "shuffle",
    "undertow.information.nulls:shuffle",
    "the same counterpart, positions permuted; destroys smoothness",
    needs={"draws"},
)

DEFAULT_ESTIMATOR: Final = "gaussian_copula"
DEFAULT_NULL: Final = "mismatch"
