"""The population information plane of a model over a data set and its adversarial counterparts."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict
from typing import Any, Literal, TypeAlias, get_args

import numpy as np
import torch
import xarray as xr
from jaxtyping import Int64
from numpy.typing import NDArray
from torch import Tensor, nn

from undertow.errors import BadInput, UnknownName
from undertow.information import plane
from undertow.progress import SILENT, Advance, Progress
from undertow.taps import choose, read
from undertow.types import Images, Tap

__all__ = ["Method", "information_plane"]

Method: TypeAlias = Literal["binned", "kernel"]

_WORDS = {
    "x": "I(X;T), binned: the entropy of the binned layer",
    "y": "I(T;Y)",
    "x_lower": "lower bound of I(X;T) with Gaussian noise added",
    "x_upper": "upper bound of I(X;T) with Gaussian noise added",
    "y_lower": "lower bound of I(T;Y)",
    "y_upper": "upper bound of I(T;Y)",
}


def information_plane(
    model: nn.Module,
    inputs: Mapping[str, Images] | Images,
    y: Int64[Tensor, " _"],
    taps: Sequence[str] | str | None = None,
    *,
    method: Method = "kernel",
    bins: int = 30,
    noise_variance: float = 0.1,
    batch_size: int = 64,
    progress: Progress = SILENT,
) -> xr.Dataset:
    """I(X;T) and I(T;Y) of the layers a user names, over a population of inputs, in bits.

    ``binned`` reads the inputs twice (range, then bins) and keeps 16 bytes an input and tap;
    ``kernel`` reads them once a tap and keeps that tap's units for all inputs.

    Args:
        model: in evaluation mode.
        inputs: cell name to inputs, such as ``{"benign": x, "igsm": x_adversarial}``, row for row
            of the same true classes; or one set of inputs (then the cell is ``"benign"``).
        y: their true classes.
        taps: patterns for :func:`undertow.taps.choose`; ``None`` for every block.
        method: :func:`undertow.information.plane.binned`, whose bins span the range of all cells,
            or :func:`undertow.information.plane.kernel`.
        bins: for ``binned``.
        noise_variance: for ``kernel``; in squared units of the activations.
        batch_size: inputs read at once.
        progress: told how far it is.

    Returns:
        A dataset over (cell, tap) with ``x`` and ``y`` for ``binned``, or ``x_lower``, ``x_upper``,
        ``y``, ``y_lower``, ``y_upper`` for ``kernel``; the published caveats are in its
        attributes.

    Raises:
        BadInput: if inputs and labels differ in number, or taps match nothing.
        UnknownName: for an unknown method.
    """
    cells = inputs if isinstance(inputs, Mapping) else {"benign": inputs}
    if method not in get_args(Method):
        raise UnknownName("method", method, get_args(Method))
    wrong = {name: len(x) for name, x in cells.items() if len(x) != len(y)}
    if wrong or not cells or len(y) < 2:
        raise BadInput(f"{len(y)} labels with inputs {wrong or list(cells)}; as many are needed")
    chosen = choose(model, next(iter(cells.values())), taps)
    passes = 2 if method == "binned" else len(chosen)
    with progress("Reading layers", passes * len(cells) * len(y), "inputs") as advance:
        layers = _Layers(model, chosen, cells, batch_size, advance)
        if method == "binned":
            found = _binned(layers, y, bins)
        else:
            found = _kernel(layers, y, noise_variance)
    return _labelled(found, list(cells), chosen).assign_attrs(
        method=method, bins=bins, noise_variance=noise_variance, inputs=len(y),
        most=float(np.log2(len(y))), caveats="\n".join(plane.CAVEATS),
    )  # fmt: skip


class _Layers:
    """Reads cells batch by batch; a layer is (sample, unit)."""

    def __init__(
        self,
        model: nn.Module,
        taps: tuple[Tap, ...],
        cells: Mapping[str, Images],
        batch: int,
        advance: Advance,
    ) -> None:
        self.model, self.taps, self.cells = model, taps, cells
        self.batch, self.advance = batch, advance

    def batches(self, cell: str, taps: Sequence[Tap]) -> Iterator[dict[str, Tensor]]:
        x = self.cells[cell]
        for start in range(0, len(x), self.batch):
            some = x[start : start + self.batch]
            maps = read(self.model, some, taps).maps
            yield {name: values.flatten(1).cpu() for name, values in maps.items()}
            self.advance(len(some))


def _binned(layers: _Layers, y: Tensor, bins: int) -> dict[tuple[str, str], dict[str, float]]:
    low = {tap.name: np.inf for tap in layers.taps}
    high = {tap.name: -np.inf for tap in layers.taps}
    for cell in layers.cells:
        for batch in layers.batches(cell, layers.taps):
            for tap, units in batch.items():
                low[tap] = min(low[tap], float(units.min()))
                high[tap] = max(high[tap], float(units.max()))
    found = {}
    for cell in layers.cells:
        digests: dict[str, list[NDArray[Any]]] = {tap.name: [] for tap in layers.taps}
        for batch in layers.batches(cell, layers.taps):
            for tap, units in batch.items():
                digests[tap].append(plane.patterns(units, low[tap], high[tap], bins))
        for tap, parts in digests.items():
            found[cell, tap] = asdict(plane.binned(np.concatenate(parts), y))
    return found


def _kernel(layers: _Layers, y: Tensor, variance: float) -> dict[tuple[str, str], dict[str, float]]:
    found = {}
    for tap in layers.taps:
        for cell in layers.cells:
            parts = [batch[tap.name] for batch in layers.batches(cell, [tap])]
            layer = plane.kernel(torch.cat(parts), y, noise_variance=variance)
            found[cell, tap.name] = asdict(layer)
    return found


def _labelled(
    found: Mapping[tuple[str, str], Mapping[str, float]], cells: Sequence[str], taps: Sequence[Tap]
) -> xr.Dataset:
    names = list(next(iter(found.values())))
    values = {
        name: np.array([[found[cell, tap.name][name] for tap in taps] for cell in cells])
        for name in names
    }
    dataset = xr.Dataset(
        {name: (("cell", "tap"), array) for name, array in values.items()},
        coords={
            "cell": list(cells),
            "tap": [tap.name for tap in taps],
            "depth": ("tap", np.array([tap.depth for tap in taps])),
        },
    )
    for name in names:
        dataset[name].attrs.update(units="bit", long_name=_WORDS[name])
    return dataset
