"""The backend for any device: torch operations."""

from __future__ import annotations

from math import log, log2
from typing import Any

import numpy as np
import torch
from jaxtyping import Float, Int64
from torch import Tensor
from torch.nn.functional import avg_pool2d, one_hot

from undertow.information.backend import FLAT

__all__ = [
    "block_means", "copula_bits", "copula_means", "correlations", "entropies", "equal_widths",
    "histogram_bits", "met", "moments", "packed", "plain", "products", "rank_bins", "ranked_means",
    "ranks", "standardised",
]  # fmt: skip

Table = np.ndarray[Any, np.dtype[Any]]


def plain(maps: Tensor) -> Tensor:
    """As the protocol says."""
    return maps.detach().float().contiguous()


def block_means(maps: Tensor, grid: tuple[int, int]) -> Tensor:
    """As the protocol says."""
    rows, cols = maps.shape[-2:]
    kernel = (rows // grid[0], cols // grid[1])
    flat = avg_pool2d(maps.reshape(-1, 1, rows, cols), kernel)
    return flat.reshape(*maps.shape[:-2], *grid)


def moments(values: Tensor) -> tuple[Tensor, Tensor]:
    """As the protocol says."""
    return values.mean(dim=1), values.std(dim=1, correction=0)


def ranks(rows: Tensor) -> Int64[Tensor, "row position"]:
    """Twice the average rank, counted from 0, of every value in its row."""
    order, first, last = _runs(rows)
    return torch.empty_like(order).scatter_(1, order, first + last)


def entropies(rows: Tensor) -> Float[Tensor, " row"]:
    """Entropy of every row's values over positions, in bits, in double precision."""
    _, first, last = _runs(rows)
    return log2(rows.shape[1]) - (last - first + 1).double().log2().mean(dim=1)


def _runs(rows: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """Positions in ascending order of value, and the first and last place of each one's equals."""
    values, order = rows.sort(dim=1)
    place = torch.arange(rows.shape[1], device=rows.device).expand_as(order)
    new = torch.ones_like(order, dtype=torch.bool)
    new[:, 1:] = values[:, 1:] != values[:, :-1]
    first = place.where(new, 0).cummax(dim=1).values
    ends = new.roll(-1, dims=1)
    ends[:, -1] = True
    last = place.where(ends, rows.shape[1]).flip(1).cummin(dim=1).values.flip(1)
    return order, first, last


def _looked_up(rows: Tensor, table: Table) -> Tensor | None:
    if not bool(torch.isfinite(rows).all()):
        return None
    return torch.tensor(table, device=rows.device)[ranks(rows)]  # a copy: tables are read-only


def standardised(rows: Tensor, table: Table) -> tuple[Tensor, Tensor] | None:
    """As the protocol says."""
    found = _looked_up(rows, table)
    if found is None:
        return None
    scores = found.double()
    live = (scores != scores[:, :1]).any(dim=1)
    gap = scores - scores.mean(dim=1, keepdim=True)
    length = gap.norm(dim=1, keepdim=True).where(live[:, None], 1.0)
    return (gap / length * live[:, None]).float(), (entropies(rows) * live).float()


def copula_bits(
    a: Tensor, b: Tensor, a_entropy: Tensor, b_entropy: Tensor,
    bias: float, factor: float, floor: float,
) -> Tensor:  # fmt: skip
    """As the protocol says."""
    rho = a @ b.transpose(-1, -2)
    bits = -0.5 * torch.log2(((1 - rho) * (1 + rho)).clamp(min=floor)) - bias
    most = torch.minimum(a_entropy[..., :, None], b_entropy[..., None, :])
    return torch.minimum(bits * factor, most).where(most > 0, 0.0)


def met(*scores: Tensor) -> Tensor:
    """As the protocol says: as they are."""
    if len(scores) == 1:
        return scores[0]
    batch = np.broadcast_shapes(*(tuple(family.shape[:-2]) for family in scores))
    return torch.cat([family.expand(*batch, -1, -1) for family in scores], dim=-2)


def copula_means(
    a: Tensor, b: Tensor, a_entropy: Tensor, b_entropy: Tensor, parts: int,
    bias: float, factor: float, floor: float,
) -> tuple[Tensor, Tensor]:  # fmt: skip
    """As the protocol says."""
    bits = copula_bits(a, b, a_entropy, b_entropy, bias, factor, floor).double()
    groups = bits.reshape(*bits.shape[:2], -1, parts)
    by_part = groups.mean(dim=1)
    either = torch.stack([by_part[:, 0], by_part[:, 1:].mean(dim=1)], dim=1)
    return groups.mean(dim=3), either


def ranked_means(
    maps: Tensor, table: Table, b: Tensor, b_entropy: Tensor, parts: int,
    bias: float, factor: float, floor: float,
) -> tuple[Tensor, Tensor] | None:  # fmt: skip
    """As the protocol says."""
    found = standardised(maps.flatten(0, 1), table)
    if found is None:
        return None
    scores, entropy = (values.unflatten(0, maps.shape[:2]) for values in found)  # type: ignore[no-untyped-call]
    return copula_means(scores, b, entropy, b_entropy, parts, bias, factor, floor)


def correlations(s: Tensor, t: Tensor) -> Tensor:
    """As the protocol says."""
    s, t = s - s.mean(dim=1, keepdim=True), t - t.mean(dim=1, keepdim=True)
    spread = (s.square().sum(dim=1) * t.square().sum(dim=1)).sqrt()
    flat = spread <= FLAT
    return torch.where(flat, 0.0, (s * t).sum(dim=1) / spread.where(~flat, 1.0))


def rank_bins(rows: Tensor, table: Table) -> Tensor | None:
    """As the protocol says."""
    return _looked_up(rows, table)


def equal_widths(rows: Tensor, count: int) -> Tensor | None:
    """As the protocol says."""
    if not bool(torch.isfinite(rows).all()):
        return None
    low, high = rows.amin(dim=1, keepdim=True).double(), rows.amax(dim=1, keepdim=True).double()
    scale = count / (high - low).where(high > low, float("inf"))
    return ((rows - low) * scale).clamp(max=count - 1).to(torch.uint8)


def packed(bins: Tensor, count: int) -> None:
    """Nothing: one-hot codes are made where they are met."""


def histogram_bits(a: Tensor, b: Tensor, a_packed: None, b_packed: None, count: int) -> Tensor:
    """As the protocol says, through products of one-hot codes."""
    n = a.shape[-1]
    left, right = (one_hot(x.long(), count).float().transpose(-1, -2) for x in (a, b))
    joint = torch.einsum("...ibn,...jcn->...ijbc", left, right).double()
    first = left.sum(dim=-1).double()[..., :, None, :]
    second = right.sum(dim=-1).double()[..., None, :, :]

    def entropy(counts: Tensor, axes: tuple[int, ...]) -> Tensor:
        plug_in = -torch.xlogy(counts, counts / n).sum(dim=axes) / n
        return plug_in + ((counts > 0).sum(dim=axes) - 1) / (2 * n)

    nats = entropy(first, (-1,)) + entropy(second, (-1,)) - entropy(joint, (-1, -2))
    plug_in = [-torch.xlogy(x, x / n).sum(dim=-1) / n for x in (first, second)]
    live = [(x != x[..., :1]).any(dim=-1) for x in (a, b)]
    bits = (torch.minimum(nats, torch.minimum(*plug_in)) / log(2)).float()
    return bits * (live[0][..., :, None] & live[1][..., None, :])


def products(one: Tensor, two: Tensor) -> Tensor:
    """As the protocol says: a library's matrix product may round as its batch is large."""
    return (one[:, None] * two).sum(2)
