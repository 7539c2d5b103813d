"""Information profiles (IPs): one number a tap, from the matrices S and T of that tap."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Literal, TypeAlias, get_args

import numpy as np
import numpy.typing as npt
import torch
from jaxtyping import Float, Int64
from torch import Tensor

from undertow.errors import UnknownName
from undertow.information.backend import backend_of
from undertow.information.matrices import Matrices, Means

__all__ = [
    "Coupling", "Part", "Reduction", "all_profiles", "benign_spread", "by_name", "differences",
    "drift", "drift_others", "flow", "iip", "input_output_curve", "ioc", "oip",
    "overall_difference", "raw_and_null", "turn",
]  # fmt: skip

Part: TypeAlias = Literal["net", "raw", "null"]
"""Which of the three matrices a profile is built from."""
Reduction: TypeAlias = Literal["mean", "median", "max"]
"""How the maps of a tap become one number; ``mean`` is the definition, the others alternatives."""
Coupling: TypeAlias = Literal["pearson", "spearman"]
"""How s_j and t_j are compared over the maps; ``pearson`` is the definition."""
PerSample: TypeAlias = Float[Tensor, " sample"]


def iip(S: Matrices, *, part: Part = "net", reduction: Reduction = "mean") -> PerSample:
    """Input information profile at one tap, in bits: mean over maps j of s_j.

    s_j is the mean over input channels i of S[i, j].

    Args:
        S: source MI, (sample, channel, map).
        part: build it from net (default), raw or null bits.
        reduction: over maps.
    """
    return _reduced(_means(S, part, 1), reduction)


def oip(T: Matrices, *, part: Part = "net", reduction: Reduction = "mean") -> PerSample:
    """Output information profile at one tap, in bits: mean over maps j of t_j.

    t_j is the mean over classes m of T[j, m].

    Args:
        T: target MI, (sample, map, class).
        part: build it from net (default), raw or null bits.
        reduction: over maps.
    """
    return _reduced(_means(T, part, 2), reduction)


def ioc(
    S: Matrices, T: Matrices, *, part: Part = "net", coupling: Coupling = "pearson"
) -> PerSample:
    """Input-output coupling at one tap: the correlation over maps j of s_j and t_j.

    Do the maps that read the input also feed the output? 0 where s or t is the same for all
    maps (dead taps, a single map): there is no coupling to speak of. Maps that have nothing to do
    with input and evidence still couple, as far as that input resembles that evidence: the null is
    the mean correlation with input and evidence both of one other image, over those images. Net is
    the raw correlation less that.

    Args:
        S: source MI, (sample, channel, map).
        T: target MI, (sample, map, class).
        part: net (default), raw or null.
        coupling: ``"pearson"``, or ``"spearman"`` (average ranks).
    """
    _check_part(part)
    raw, null = _coupled(Means.of(S, maps=2), Means.of(T, maps=1), coupling).unbind(1)
    return {"raw": raw, "null": null, "net": raw - null}[part].float()


def all_profiles(
    S: Matrices | Means, T: Matrices | Means
) -> dict[str, Float[Tensor, "sample *class"]]:
    """:func:`iip`, :func:`oip`, :func:`ioc` and :func:`flow`, net, ``_raw`` and ``_null``.

    As they are defined, each sum taken once: net is the difference of the other two, and OIP the
    mean of the flow over classes.

    Args:
        S: source MI, (sample, channel, map), or its means.
        T: target MI, (sample, map, class), or its means.
    """
    s = Means.of(S, maps=2) if isinstance(S, Matrices) else S
    t = Means.of(T, maps=1) if isinstance(T, Matrices) else T
    return by_name(*raw_and_null(s, t))


def raw_and_null(
    S: Means, T: Means
) -> tuple[Float[Tensor, "sample 2 profile"], Float[Tensor, "sample 2 class"]]:
    """IIP, OIP and IOC of a tap, and the flow: raw, and under the null, in double precision."""
    numbers = [S.by_part.mean(dim=2), T.by_part.mean(dim=2), _coupled(S, T, "pearson")]
    return torch.stack(numbers, dim=2), T.by_part


def by_name(
    numbers: Float[Tensor, "*batch 2 profile"], flow: Float[Tensor, "*batch 2 class"]
) -> dict[str, Float[Tensor, "*batch *class"]]:
    """What :func:`raw_and_null` gives, net, ``_raw`` and ``_null``, by the profiles' names."""
    found: dict[str, Tensor] = {}
    each = dict(zip(("iip", "oip", "ioc"), numbers.unbind(-1), strict=True))
    for name, both in {**each, "flow": flow}.items():
        raw, null = both.unbind(-1 if name != "flow" else -2)
        for suffix, values in {"": raw - null, "_raw": raw, "_null": null}.items():
            found[f"{name}{suffix}"] = values.float()
    return found


def flow(T: Matrices, *, part: Part = "net") -> Float[Tensor, "sample class"]:
    """Flow F[m] at one tap, in bits: mean over maps j of T[j, m], towards each class m.

    OIP is its mean over all classes, which averages away what an attack changes.

    Args:
        T: target MI, (sample, map, class).
        part: build it from net (default), raw or null bits.
    """
    return _means(T, part, 1).float()


def drift(
    flow: Float[Tensor, "sample tap class"],
    true: Int64[Tensor, " sample"],
    rival: Int64[Tensor, " sample"],
) -> Float[Tensor, "sample tap"]:
    """Drift F[rival] - F[true] at every tap, in bits; NaN where there is no flow."""
    rows = torch.arange(len(flow), device=flow.device)
    return flow[rows, :, rival.to(flow.device)] - flow[rows, :, true.to(flow.device)]


def drift_others(
    flow: Float[Tensor, "sample tap class"],
    true: Int64[Tensor, " sample"],
    rival: Int64[Tensor, " sample"],
    among: Int64[Tensor, " part"],
) -> Float[Tensor, "sample tap"]:
    """What drift is towards classes that nobody asked for: its control.

    The mean of F[m] - F[true] over the classes ``among`` other than the true one and the rival, in
    bits. A change that merely takes from the true class raises it as far as the drift.

    Args:
        flow: towards each class.
        true: the true class.
        rival: the class that drift goes towards.
        among: the classes.
    """
    among = among.to(flow.device)
    own = torch.stack([true, rival], dim=1).to(flow.device)
    other = (among[None, :, None] != own[:, None, :]).all(dim=2)[:, None, :]
    gone = flow[:, :, among] - flow.gather(2, own[:, None, :1].expand(-1, flow.shape[1], 1))
    return torch.where(other, gone, torch.nan).nanmean(dim=2)


def turn(drift: Float[Tensor, "sample tap"]) -> Int64[Tensor, " sample"]:
    """The tap at which the flow turns: the first from which drift is positive for good.

    Taps without drift (NaN) are passed over.

    Args:
        drift: over taps.

    Returns:
        the tap's number; -1 where drift is not positive at the last tap that has one.
    """
    there = torch.isfinite(drift)
    held = ((drift > 0) | ~there).flip(1).long().cumprod(1).flip(1).bool() & there
    first = held.long().argmax(1)
    return torch.where(held.any(1), first, -1)


def input_output_curve(
    iip: Float[Tensor, "*batch tap"], oip: Float[Tensor, "*batch tap"]
) -> Float[Tensor, "*batch tap plane"]:
    """The pair (IIP, OIP) over taps: a path through the information plane of one input."""
    return torch.stack([iip, oip], dim=-1)


def overall_difference(
    profile: npt.ArrayLike, benign: npt.ArrayLike, benign_std: npt.ArrayLike
) -> npt.NDArray[np.float64]:
    """Root mean square over taps of two profiles' difference, in benign standard deviations.

    A mean, so that a network is not further away only because it has more taps. Give one profile
    of shape (..., tap), or all of them as (..., profile, tap) with ``benign_std`` of shape
    (profile, tap): the result then has one difference a profile. A tap that is missing (NaN), or
    at which benign inputs do not differ at all, has no such unit and is left out; 0 where none is
    left.

    Args:
        profile: (..., tap).
        benign: the benign profile to compare with; broadcasts against ``profile``.
        benign_std: standard deviation over benign inputs, (..., tap).
    """
    unit = np.asarray(benign_std, dtype=np.float64)
    gap = np.asarray(profile, dtype=np.float64) - np.asarray(benign, dtype=np.float64)
    usable = np.isfinite(unit) & (unit > 0)
    there = usable & np.isfinite(gap)
    scaled = np.where(there, gap / np.where(usable, unit, 1.0), 0.0)
    count = np.maximum(there.sum(axis=-1), 1)
    return np.asarray(np.sqrt(np.square(scaled).sum(axis=-1) / count), dtype=np.float64)


def differences(
    profiles: Mapping[str, npt.ArrayLike],
    benign: Mapping[str, npt.ArrayLike],
    benign_std: Mapping[str, npt.ArrayLike],
) -> tuple[dict[str, npt.NDArray[np.float64]], npt.NDArray[np.float64]]:
    """:func:`overall_difference` of each profile by name, and the root mean square of those.

    Args:
        profiles: by name, (..., tap) each.
        benign: to compare with, under the same names.
        benign_std: as :func:`benign_spread` gives it.
    """
    parts = {p: overall_difference(profiles[p], benign[p], benign_std[p]) for p in profiles}
    together = np.sqrt(np.square(np.stack(list(parts.values()))).mean(axis=0))
    return parts, np.asarray(together, dtype=np.float64)


def benign_spread(benign: Mapping[str, npt.ArrayLike]) -> dict[str, npt.NDArray[Any]]:
    """Standard deviation of each profile over benign inputs, (tap,): the unit of differences.

    Args:
        benign: profiles by name, (sample, tap) each; of a single input there is no spread (NaN).
    """
    found = {p: np.asarray(values) for p, values in benign.items()}
    return {
        p: v.std(axis=0, ddof=1) if len(v) > 1 else np.full(v.shape[1:], np.nan)
        for p, v in found.items()
    }


def _means(matrices: Matrices, part: str, axis: int) -> Float[Tensor, "sample map"]:
    """Means of one of the three matrices in double precision: sums over maps then hardly round."""
    _check_part(part)
    chosen: Tensor = getattr(matrices, part)
    return chosen.mean(dim=axis, dtype=torch.float64)


def _check_part(part: str) -> None:
    if part not in get_args(Part):
        raise UnknownName("part", part, get_args(Part))


def _reduced(values: Float[Tensor, "sample map"], reduction: str) -> PerSample:
    if reduction == "mean":
        return values.mean(dim=1).float()
    if reduction == "median":
        return values.quantile(0.5, dim=1).float()
    if reduction == "max":
        return values.amax(dim=1).float()
    raise UnknownName("reduction", reduction, get_args(Reduction))


def _ranks(values: Float[Tensor, "sample map either"]) -> Float[Tensor, "sample map either"]:
    """Average ranks by counting; the maps of a tap are few."""
    below = (values[:, :, None] > values[:, None]).sum(dim=2)
    same = (values[:, :, None] == values[:, None]).sum(dim=2)
    return below.double() + (same.double() - 1) / 2


def _coupled(S: Means, T: Means, coupling: str) -> Float[Tensor, "sample 2"]:
    """Correlations over maps, and their mean with input and evidence of the same replacement."""
    s, t = S.by_map, T.by_map
    if s.shape != t.shape:  # not replaced as often: of the nulls the means are all there is
        s, t = (torch.stack([m[:, :, 0], m[:, :, 1:].mean(dim=2)], dim=2) for m in (s, t))
    if coupling == "spearman":
        s, t = _ranks(s), _ranks(t)
    elif coupling != "pearson":
        raise UnknownName("coupling", coupling, get_args(Coupling))
    each = backend_of(s).correlations(s, t)
    return torch.stack([each[:, 0], each[:, 1:].mean(dim=1)], dim=1)
