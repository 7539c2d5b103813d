"""The logits' slopes at the last spatial tap, through the head alone."""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor, nn

from undertow.errors import BadInput
from undertow.taps.layout import Layout

__all__ = ["cancels", "channelwise_linear", "pooled_linear", "slopes", "weighed"]

PROBES = 3
"""Backward passes that show how a head treats its channels: two to learn it, one to test it."""


CANCELLED = 0.1
"""Share of the root of the number of maps below which a sum over maps is no sum of their terms:
terms of random signs leave about 1 / √maps of their sizes, a tenth of that is less than chance."""


def slopes(
    model: nn.Module,
    leaf: Tensor,
    logits: Tensor,
    found: Layout,
    contract: Callable[[Tensor, Tensor], Tensor] | None,
    *,
    keep: bool,
    tap: str,
    pick: Callable[[Tensor], Tensor | None] | None = None,
) -> tuple[Tensor | None, Tensor | None, Tensor | None]:
    """Gradients of every logit at ``leaf``, kept, contracted, or both.

    Args:
        model: where to look for a linear last layer.
        leaf: the tap's output, from which ``logits`` were computed with a graph.
        logits: (sample, class).
        found: the tap's layout.
        contract: called with maps and gradients of a few classes at a time; it must be linear in
            their product, of which a factor may have been moved from the gradients to the maps.
        keep: whether to return the gradients.
        tap: the tap's name, for messages.
        pick: which logits of each sample, (sample, class) from their values, where a gradient of
            each costs a pass of its own; all of them where it is ``None``.

    Returns:
        gradients (class, sample, map, row, col), contracted (sample, class, ...), and the classes
        that were picked, (sample, class), or ``None`` for all.

    Raises:
        BadInput: if no logit depends on the tap, or what is to be contracted cancels there.
    """
    maps = found.view(leaf.detach()).float()
    weight = pooled_linear(model, maps, logits)
    picked = pick(logits.detach()) if pick is not None and weight is None else None
    seen = maps
    if picked is not None and not keep:
        weight, factor = channelwise_linear(model, leaf, logits, found)
        if weight is not None and factor is not None:
            seen, picked = maps * factor, None
    with torch.enable_grad():
        asked = logits if picked is None else logits.gather(1, picked.to(logits.device))
    classes = asked.shape[1]
    kept, made, any_slope = [], [], weight is not None
    for number in range(classes if weight is None else 1):
        if weight is None:
            part = _slope(leaf, asked, found, number, tap)[None]
            any_slope = any_slope or bool(part.any())
            if contract is not None and not number and cancels(maps, part[0]):
                raise BadInput(
                    f"gradient × maps cancels at every position of tap '{tap}' (a norm over the "
                    "maps comes next); let that norm's output, or an earlier tap, be the last"
                )
        else:
            part = weight[:, None, :, None, None].expand(-1, len(maps), -1, *maps.shape[2:])
        if keep:
            kept.append(part)
        if contract is not None:
            made.append(contract(seen, part))
    if found.prefix and not any_slope:
        raise BadInput(
            f"no logit depends on the positions of tap '{tap}' (only its class token is read); "
            "let an earlier tap be the last"
        )
    return _joined(kept, 0), _joined(made, 1), picked


def _joined(parts: list[Tensor], axis: int) -> Tensor | None:
    if len(parts) == 1:
        return parts[0]
    return torch.cat(parts, axis) if parts else None


def _slope(leaf: Tensor, logits: Tensor, found: Layout, number: int, tap: str) -> Tensor:
    if not logits.requires_grad:
        raise BadInput(f"the logits have no gradient at tap '{tap}'; let another tap be the last")
    with torch.enable_grad():
        (slope,) = torch.autograd.grad(
            logits[:, number].sum(), leaf, retain_graph=True, materialize_grads=True
        )
    return found.view(slope).float()


def weighed(logits: Tensor) -> Tensor:
    """A sum of the logits in which every one counts, each by another weight."""
    weights = torch.linspace(1.0, 2.0, logits.shape[1], dtype=logits.dtype, device=logits.device)
    return (logits * weights).sum()


def cancels(maps: Tensor, slope: Tensor) -> bool:
    """Whether gradient × maps, summed over the maps, is next to nothing at every position.

    That is so where a norm over the maps of each position comes next: the norm does not see by what
    factor they are multiplied, so the slope along the maps themselves is zero (Euler's theorem on
    homogeneous functions, of degree zero), but for the norm's ε and rounding.

    Args:
        maps: (sample, map, row, col).
        slope: of one number with respect to them.
    """
    terms = maps * slope
    whole = terms.abs().sum(1).square().sum()
    chance = CANCELLED**2 / maps.shape[1]
    return bool((whole > 0) & (terms.sum(1).square().sum() < chance * whole))


def channelwise_linear(
    model: nn.Module, leaf: Tensor, logits: Tensor, found: Layout
) -> tuple[Tensor | None, Tensor | None]:
    """∂y_m/∂t_j(u) = w_mj·d_j(u) of a head that treats channels one by one up to a linear layer.

    Normalisation in evaluation mode, activations, pooling, dropout and flattening of single
    positions do; then the gradient of Σ_m c_m y_m is (c·w)_j d_j(u) for every c. Two random c give
    d by least squares, for every linear layer or 1 × 1 convolution of the right shape; a third,
    drawn apart, must agree, or the head is no such one.

    Args:
        model: where to look for the linear layer.
        leaf: the tap's output, from which ``logits`` were computed with a graph.
        logits: (sample, class).
        found: the tap's layout.

    Returns:
        weights (class, map), and factors (sample, map, row, col); ``None`` twice if it is none.
    """
    maps = found.view(leaf.detach()).shape[1]
    weights = [w for w in map(_matrix, model.modules()) if w is not None]
    fitting = [w for w in weights if w.shape == (logits.shape[1], maps)]
    if not fitting or not logits.requires_grad:
        return None, None
    generator = torch.Generator().manual_seed(0)
    shape = (PROBES, 1, logits.shape[1])
    c = torch.randn(shape, generator=generator).to(logits)
    with torch.enable_grad():
        sums = [(logits * one).sum() for one in c]
    slopes = torch.stack([
        found.view(torch.autograd.grad(s, leaf, retain_graph=True, materialize_grads=True)[0])
        for s in sums
    ]).float()  # fmt: skip
    exact = leaf.dtype in (torch.float32, torch.float64)
    for weight in fitting:
        along = (c[:, 0].float() @ weight)[:, None, :, None, None]
        learnt = along[:-1].square().sum(0)
        factor = (slopes[:-1] * along[:-1]).sum(0) / torch.where(learnt > 0, learnt, 1.0)
        error = (factor * along[-1] - slopes[-1]).abs().max()
        if bool(error <= (1e-4 if exact else 2e-2) * slopes[-1].abs().max()):
            return weight, factor
    return None, None


def _matrix(module: nn.Module) -> Tensor | None:
    """The matrix of a linear layer, or of a 1 × 1 convolution."""
    weight = getattr(module, "weight", None)
    if isinstance(module, nn.Linear) and isinstance(weight, Tensor):
        return weight.detach().float()
    if isinstance(module, nn.Conv2d) and module.kernel_size == (1, 1) and module.groups == 1:
        return module.weight.detach().float()[:, :, 0, 0]
    return None


def pooled_linear(model: nn.Module, maps: Tensor, logits: Tensor) -> Tensor | None:
    """∂y_m/∂t_j of a head that is average pooling and one linear layer, (class, map).

    The head is taken for one only if its logits are those of the formula on this very batch, to
    rounding; else ``None``. (A ReLU before the pooling does not change the logits of maps that
    are nowhere negative; there its slope differs only where the map is zero, and so does not
    change gradient times map.)
    """
    positions = maps.shape[2] * maps.shape[3]
    answer = logits.detach().float()
    pooled = maps.mean((2, 3))
    for module in model.modules():
        if not isinstance(module, nn.Linear) or module.weight.shape != (
            answer.shape[1],
            pooled.shape[1],
        ):
            continue
        weight = module.weight.detach().float()
        bias = 0.0 if module.bias is None else module.bias.detach().float()
        close = 1e-5 if logits.dtype in (torch.float32, torch.float64) else 1e-2
        error = (pooled @ weight.T + bias - answer).abs().max()
        if error <= close * (1 + answer.abs().max()):
            return weight / positions
    return None
