"""Source MI and target MI of one tap, with their nulls."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Protocol, TypeGuard

import torch
from jaxtyping import Float
from torch import Tensor

from undertow.errors import BadInput
from undertow.information.backend import backend_of
from undertow.information.coded import Chosen, Coded, Parts, References
from undertow.information.grids import Grid, coarser
from undertow.information.nulls import Null, mismatch
from undertow.types import Draws, Estimator

__all__ = [
    "Averaging", "Matrices", "Means", "chance", "evidence", "means", "source", "target",
]  # fmt: skip


@dataclass(frozen=True, slots=True, eq=False)
class Matrices:
    """Mutual information in bits, never clipped at zero.

    Args:
        raw: the estimate.
        null: its mean over the null's replacements.
        null_std: its standard deviation over them (of the population, 0 for a single one).
        each: the estimate against each replacement, averaged over channels or classes; ``None``
            stands for a single replacement, of which ``null`` is all that is known.

    The first three have shape (sample, channel, map) for S and (sample, map, class) for T.
    """

    raw: Float[Tensor, "sample left right"]
    null: Float[Tensor, "sample left right"]
    null_std: Float[Tensor, "sample left right"]
    each: Float[Tensor, "sample map repeat"] | None = None

    @property
    def net(self) -> Float[Tensor, "sample left right"]:
        """What is left above the null: raw - null."""
        return self.raw - self.null


@dataclass(frozen=True, slots=True, eq=False)
class Means:
    """What profiles are made of: means of the matrices of a tap, in double precision.

    ``part`` is the input's channel for S, and the class for T.

    Args:
        by_map: of the estimate, and of that against each replacement, over parts.
        by_part: of the estimate, and of those against all replacements, over maps.
    """

    by_map: Float[Tensor, "sample map either"]
    by_part: Float[Tensor, "sample 2 part"]

    @classmethod
    def of(cls, matrices: Matrices, maps: int) -> Means:
        """Those of matrices whose maps lie along this axis."""
        raw, null = (
            {axis: m.mean(dim=axis, dtype=torch.float64) for axis in (1, 2)}
            for m in (matrices.raw, matrices.null)
        )
        parts = 3 - maps
        each = null[parts][..., None] if matrices.each is None else matrices.each.double()
        return cls(
            torch.cat([raw[parts][..., None], each], dim=2),
            torch.stack([raw[maps], null[maps]], dim=1),
        )


def source(
    estimator: Estimator,
    inputs: Float[Tensor, "sample channel height width"] | Coded,
    maps: Float[Tensor, "sample map row col"] | Coded,
    references: Float[Tensor, "reference channel height width"] | References | None,
    *,
    null: Null = mismatch,
    draws: Draws | None = None,
    chosen: Chosen = None,
) -> Matrices:
    """Source MI, S[i, j] = I(X_i ; t_j) over the positions of the tap's grid.

    The input is area-averaged to the tap's grid (the coarser of the two along each axis).

    Args:
        estimator: bits between maps.
        inputs: x.
        maps: the tap's feature maps t.
        references: other, benign inputs (a :class:`References` is encoded only once).
        null: how counterparts are replaced; see :data:`undertow.information.NULLS`.
        draws: random numbers of the samples, for ``shift`` and ``shuffle``.
        chosen: which references each sample is held against; all of them where not said.

    Returns:
        Matrices of shape (sample, channel, map).

    Raises:
        BadInput: if the tap has a single position, or values are not finite.
    """
    found = _between(estimator, maps, inputs, references, null, draws, chosen)
    return Matrices(found.raw.mT, found.null.mT, found.null_std.mT, found.each)


def target(
    estimator: Estimator,
    maps: Float[Tensor, "sample map row col"] | Coded,
    evidence: Float[Tensor, "sample class erow ecol"] | Coded,
    reference_evidence: Float[Tensor, "reference class erow ecol"] | References | None,
    *,
    null: Null = mismatch,
    draws: Draws | None = None,
    chosen: Chosen = None,
    parts: Parts = None,
) -> Matrices:
    """Target MI, T[j, m] = I(t_j ; E_m) on the coarser of the two grids.

    Args:
        estimator: bits between maps.
        maps: the tap's feature maps t.
        evidence: the evidence maps E of the same inputs, on the last spatial tap.
        reference_evidence: those of the reference inputs.
        null: how counterparts are replaced; see :data:`undertow.information.NULLS`.
        draws: random numbers of the samples, for ``shift`` and ``shuffle``.
        chosen: which references each sample is held against; all of them where not said.
        parts: which of the references' classes those of ``evidence`` are, where they are a few,
            other ones for each sample (the mismatch null alone asks for it).

    Returns:
        Matrices of shape (sample, map, class).

    Raises:
        BadInput: if a grid has a single position, or values are not finite.
    """
    return _between(estimator, maps, evidence, reference_evidence, null, draws, chosen, parts)


def means(
    estimator: Estimator,
    maps: Float[Tensor, "sample map row col"] | Coded,
    others: Float[Tensor, "sample part height width"] | Coded,
    references: Float[Tensor, "reference part height width"] | References | None,
    *,
    null: Null = mismatch,
    draws: Draws | None = None,
    chosen: Chosen = None,
    parts: Parts = None,
    once: bool = False,
) -> Means:
    """Means of the matrices that :func:`source` and :func:`target` give, and quicker than they.

    An estimator that has methods ``beside`` and ``means``, as
    :class:`~undertow.information.estimators.gaussian_copula.GaussianCopula` does, is asked for the
    means and keeps no matrix.

    Args:
        estimator: bits between maps.
        maps: the tap's feature maps t.
        others: the inputs, or their evidence maps.
        references: the same of reference inputs.
        null: how counterparts are replaced; see :data:`undertow.information.NULLS`.
        draws: random numbers of the samples, for ``shift`` and ``shuffle``.
        chosen: which references each sample is held against; all of them where not said.
        parts: as for :func:`target`.
        once: whether these maps, on this grid, are met by nothing else; then no code of them is
            kept.

    Raises:
        BadInput: if a grid has a single position, or values are not finite.
    """
    coded, counterpart = _coded(maps), _coded(others)
    if not _averages(estimator):
        given = references, null, draws, chosen, parts
        return Means.of(_between(estimator, coded, counterpart, *given), maps=1)
    grid = _common(counterpart, coded)
    unrelated = _unrelated(estimator, counterpart, references, grid, null, draws, chosen, parts)
    both = counterpart.beside(estimator, grid, null, unrelated)
    here = coded.on(grid).flatten(2) if once else coded.codes(estimator, grid)
    return Means(*estimator.means(here, both, counterpart.values.shape[1]))


class Averaging(Estimator, Protocol):
    """An estimator that gives means of its bits without keeping them."""

    def beside(self, a: Any, b: Any) -> Any:
        """Codes of the maps of ``a`` and behind them those of ``b``, sample by sample."""
        ...

    def means(
        self, a: Any, b: Any, parts: int
    ) -> tuple[Float[Tensor, "sample row group"], Float[Tensor, "sample 2 part"]]:
        """Means of bits over groups of ``parts`` maps of ``b``; and over the maps of ``a``.

        The latter of the first group, and of all others together. ``a`` may be maps that are not
        encoded, (sample, map, position).
        """
        ...


def _averages(estimator: Estimator) -> TypeGuard[Averaging]:
    return hasattr(estimator, "beside") and hasattr(estimator, "means")


def _between(
    estimator: Estimator,
    maps: Tensor | Coded,
    others: Tensor | Coded,
    references: Tensor | References | None,
    null: Null,
    draws: Draws | None,
    chosen: Chosen,
    parts: Parts = None,
) -> Matrices:
    """Bits between maps and their counterparts on the grid they share, (sample, map, part)."""
    coded, counterpart = _coded(maps), _coded(others)
    grid = _common(counterpart, coded)
    codes = coded.codes(estimator, grid)
    raw = estimator.pairwise(codes, counterpart.codes(estimator, grid))
    unrelated = _unrelated(estimator, counterpart, references, grid, null, draws, chosen, parts)
    return _matrices(raw, estimator.pairwise(codes, unrelated))


def _unrelated(
    estimator: Estimator,
    counterpart: Coded,
    references: Tensor | References | None,
    grid: Grid,
    null: Null,
    draws: Draws | None,
    chosen: Chosen,
    parts: Parts,
) -> Any:
    """Codes of the replacements, (sample or 1, repeat times part)."""
    if parts is not None and chosen is None and isinstance(references, References):
        chosen = torch.arange(len(references.values), device=parts.device).expand(len(parts), -1)
    if null is mismatch and chosen is not None and isinstance(references, References):
        return counterpart.drawn(estimator, grid, references, chosen, parts)
    if parts is not None and isinstance(references, References):
        # Only nulls come here that count the references and look at none.
        references = References(references.values[:, parts[0]])
    if isinstance(references, Tensor):
        references = References(references)
    if null is mismatch and references is not None and len(references.values) > 0:
        return references.stacked(estimator, grid)
    given = None if references is None else references.on(grid)
    return counterpart.replaced(estimator, grid, null, given, draws)


def chance(
    estimator: Estimator, maps: Coded, others: Coded, null: Null, draws: Draws
) -> Float[Tensor, " sample"]:
    """Mean bits over all maps, parts and replacements under a null that needs no references."""
    grid = _common(others, maps)
    replaced = others.replaced(estimator, grid, null, None, draws)
    codes = maps.codes(estimator, grid)
    if _averages(estimator):
        by_map, by_part = estimator.means(codes, replaced, others.values.shape[1])
        first, rest = by_part.mean(dim=2).unbind(dim=1)
        return first.lerp(rest, 1 - 1 / by_map.shape[2])
    return estimator.pairwise(codes, replaced).mean(dim=(1, 2), dtype=torch.float64)


def _coded(maps: Tensor | Coded) -> Coded:
    return maps if isinstance(maps, Coded) else Coded(maps)


def _common(counterpart: Coded, maps: Coded) -> Grid:
    """The grid on which both live.

    Raises:
        BadInput: if that is a single position, or the batches differ.
    """
    if len(counterpart.values) != len(maps.values):
        raise BadInput(
            f"{len(maps.values)} samples of maps with {len(counterpart.values)} of their "
            "counterpart; as many are needed"
        )
    grid = coarser(counterpart.grid, maps.grid)
    if grid[0] * grid[1] <= 1:
        raise BadInput(
            f"maps of {maps.grid[0]}x{maps.grid[1]} against {counterpart.grid[0]}x"
            f"{counterpart.grid[1]} share a single position, and positions are the samples; "
            "choose taps with spatial extent, before the pooling"
        )
    return grid


def _matrices(
    raw: Float[Tensor, "sample map part"], replaced: Float[Tensor, "sample map several"]
) -> Matrices:
    """Mean and standard deviation over the replacements of each part."""
    parts = raw.shape[2]
    repeats = replaced.reshape(-1, replaced.shape[2] // parts, parts)
    null, null_std = backend_of(repeats).moments(repeats)
    each = repeats.mean(dim=2).reshape(*raw.shape[:2], -1)
    return Matrices(raw, null.reshape(raw.shape), null_std.reshape(raw.shape), each)


def evidence(
    maps: Float[Tensor, "sample map row col"],
    gradients: Float[Tensor, "class sample map row col"],
) -> Float[Tensor, "sample class row col"]:
    """Gradient times activation, E_m(u) = Σ_j t_j(u)·∂y_m/∂t_j(u).

    For a network that ends in global average pooling and a linear layer with weights w this is
    the class activation map of Zhou et al. (2016), Σ_j w_mj·t_j(u), divided by the number of
    positions.

    Args:
        maps: the last spatial tap, t.
        gradients: of each logit y_m at the maps.
    """
    # The sum over maps is written as a plain elementwise reduction, so that a sample's value
    # does not depend on which others share its batch.
    return torch.stack([(maps * gradient).sum(dim=1) for gradient in gradients], dim=1)
