"""What the maps carry of each attack: curves, areas, the maps that are needed most often."""

from __future__ import annotations

from typing import Final

import numpy as np
import xarray as xr
from numpy.typing import NDArray

from undertow.measuring.carriers import label_of
from undertow.prose import attack_name
from undertow.statistics.restoration import area, quarter_place, share
from undertow.store import Points, Restoration, Table
from undertow.studies.answered.contrasts import points
from undertow.studies.answered.results import Results
from undertow.studies.asked.plan import carries

__all__ = ["restoration_tables", "restorations"]

TOLD: Final = 5
"""Maps of a tap that are named."""
FEWEST: Final = 2
"""Inputs below which there are no means."""
_DIGITS: Final = 6


def restorations(results: Results) -> dict[str, dict[str, Restoration]]:
    """``found[model][attack]``, of every finished cell that has carriers."""
    found: dict[str, dict[str, Restoration]] = {}
    for cell in results.run.cells:
        if not (carries(cell) and results.run.has("carriers", cell) and results.complete(cell)):
            continue
        data = results.carried(cell)
        if data.sizes["sample"] >= FEWEST:
            found.setdefault(cell.model, {})[cell.attack] = _of(data)
    return found


def _of(data: xr.Dataset) -> Restoration:
    count = data["count"].values
    names = [str(name) for name in data["ranking"].values]
    restored = data["restored"].values
    maps = count.max(axis=1)
    sizes = data["smallest"].values.sum(axis=2) / maps
    random = data["smallest_random"].values / maps
    return Restoration(
        tap=tuple(str(tap) for tap in data["tap"].values),
        depth=tuple(data["depth"].values.tolist()),
        n=int(data.sizes["sample"]),
        count=tuple(tuple(row[row > 0].tolist()) for row in count),
        restored={name: _curves(restored[:, :, r], count) for r, name in enumerate(names)},
        implanted={
            name: _curves(data["implanted"].values[:, :, r], count) for r, name in enumerate(names)
        },
        area={name: points(area(restored[:, :, r], count)) for r, name in enumerate(names)},
        smallest=(_rounded(sizes.mean(axis=0)), _rounded(random.mean(axis=0))),
        carriers=tuple(_most(data["smallest"].values[:, k]) for k in range(len(count))),
    )


def _rounded(values: NDArray[np.float64]) -> tuple[float | None, ...]:
    return tuple(np.round(values, _DIGITS).tolist())


def _curves(values: NDArray[np.float32], count: NDArray[np.int64]) -> tuple[Points, ...]:
    """The curve at each tap, from (sample, tap, place)."""
    found = []
    for k, numbers in enumerate(count):
        mean, low, high = share(values[:, k, numbers > 0])
        found.append(Points(mean=_rounded(mean), low=_rounded(low), high=_rounded(high)))
    return tuple(found)


def _most(sets: NDArray[np.bool_]) -> tuple[tuple[int, float], ...]:
    """The maps that are most often in the smallest sets, with the share of inputs."""
    often = sets.mean(axis=0)
    order = np.argsort(-often, kind="stable")[:TOLD]
    return tuple((int(j), round(float(often[j]), _DIGITS)) for j in order if often[j] > 0)


def restoration_tables(found: dict[str, dict[str, Restoration]]) -> tuple[Table, ...]:
    """One table a model: a quarter of the maps put back, at every tap, for every attack."""
    tables = []
    for model, attacks in found.items():
        names = list(next(iter(attacks.values())).restored)
        rows = [
            (attack_name(attack), tap, one.n, *_row(one, k, names))
            for attack, one in attacks.items()
            for k, tap in enumerate(one.tap)
        ]
        best = label_of(names[0])
        tables.append(
            Table(
                title=f"What the maps of {model} carry",
                columns=(
                    "attack", "tap", "n", *map(label_of, names), f"{best}, low", f"{best}, high",
                    "implanted", "smallest", "random", "carriers",
                ),
                rows=tuple(rows),
                caption="A quarter of the maps put back to their benign values, those that each "
                "ranking names first: share of inputs whose true label returns, with Wilson's 95 % "
                "interval of the first ranking; implanted: the same maps put into the benign run "
                "bring the rival's label. Smallest: mean share of the maps in the smallest sets "
                "found to return the label, by the first ranking and in a random order. Carriers: "
                "the maps most often in these sets, with the share of inputs.",
            )
        )  # fmt: skip
    return tuple(tables)


def _row(one: Restoration, k: int, names: list[str]) -> tuple[float | str | None, ...]:
    place = quarter_place(one.count[k])
    first = one.restored[names[0]][k]
    told = ", ".join(f"{j} ({100 * (often or 0):.0f} %)" for j, often in one.carriers[k][:3])
    return (
        *(one.restored[name][k].mean[place] for name in names),
        first.low[place], first.high[place], one.implanted[names[0]][k].mean[place],
        one.smallest[0][k], one.smallest[1][k], told or "none",
    )  # fmt: skip
