"""The population information plane of a model's layers; made from a model, not from a run."""

from __future__ import annotations

from dataclasses import replace
from typing import Final

import numpy as np
import xarray as xr

from undertow.errors import BadInput
from undertow.figures.data import Axis, FigureData, Mark, Panel, Series
from undertow.figures.palette import FAINT, markers, paints
from undertow.figures.wording import DEPTH, benign_first, count, curve_name, is_control, tap_marks

__all__ = ["population_plane"]

_Y: Final = Axis(label="I(T;Y)", unit="bit")
_BINNED: Final = {"x": ("x", None, None), "y": ("y", None, None)}
_KERNEL: Final = {"x": ("x_upper", "x_lower", "x_upper"), "y": ("y", "y_lower", "y_upper")}


def population_plane(found: xr.Dataset, *, model: str = "the model") -> FigureData:
    """I(X;T) and I(T;Y) of every layer over a population, in bits, with the published caveats.

    Left: the plane, one point a layer. Middle and right: the same two numbers over depth.

    Args:
        found: what :func:`undertow.measuring.population.information_plane` gives: (cell, tap), by
            ``binned`` or ``kernel``.
        model: its name, for the title.

    Raises:
        BadInput: for a dataset of something else.
    """
    names = _KERNEL if "x_upper" in found else _BINNED
    absent = [n for n in (names["x"][0], names["y"][0]) if n not in found]
    if absent or "caveats" not in found.attrs:
        raise BadInput(
            f"not a population plane: {', '.join(absent) or 'caveats'} missing; "
            "undertow.measuring.population.information_plane makes one"
        )
    keys = benign_first([str(c) for c in found["cell"].values])
    depth, taps = found["depth"].values, tuple(map(str, found["tap"].values))
    hover = tap_marks(taps, depth)
    most, n = float(found.attrs["most"]), int(found.attrs["inputs"])
    lines = {k: [_line(found, k, names[p], depth, keys, hover) for p in "xy"] for k in keys}
    plane = [
        replace(y, x=x.y, low=None, high=None, legend=True)
        for x, y in lines.values()
    ]  # fmt: skip
    about_x = Axis(label="I(X;T)", unit="bit", low=0.0, high=1.08 * most)
    limit = Mark(at=most, along="y", label="log₂ n", color=FAINT)
    panels = (
        Panel(title="Information plane of a population", x=about_x, y=_Y, series=tuple(plane),
              marks=(replace(limit, along="x"),), column=0),
        Panel(title="About the input", x=DEPTH, y=about_x, column=1, marks=(limit,),
              series=tuple(line[0] for line in lines.values())),
        Panel(title="About the class", x=DEPTH, y=_Y, column=2,
              series=tuple(line[1] for line in lines.values())),
    )  # fmt: skip
    return FigureData(
        name="population",
        title=f"Population information plane of {model}",
        caption=_caption(found, n, kernel=names is _KERNEL),
        n=n,
        interval="lower to upper bound" if names is _KERNEL else "none",
        panels=panels,
        notes=tuple(str(found.attrs["caveats"]).splitlines()),
    )


def _line(
    found: xr.Dataset,
    key: str,
    names: tuple[str, str | None, str | None],
    depth: np.ndarray,
    keys: list[str],
    hover: tuple[str, ...],
) -> Series:
    at = found.sel(cell=key)
    middle, low, high = (None if name is None else at[name].values for name in names)
    return Series(
        x=depth, y=np.asarray(middle), low=low, high=high, label=curve_name(key), group=key,
        color=paints(keys)[key], marker=markers(keys)[key], hover=hover, legend=False,
        line="dashed" if is_control(key) else "solid", hollow=is_control(key),
    )  # fmt: skip


def _caption(found: xr.Dataset, n: int, *, kernel: bool) -> str:
    how = (
        f"Kernel bounds with noise of variance {found.attrs['noise_variance']:g} added to every "
        "unit; points: the upper bound of I(X;T), and I(T;Y) as the difference of upper bounds; "
        "band: lower to upper bound"
        if kernel
        else f"Binning into {found.attrs['bins']} bins of equal width; interval: none"
    )
    return (
        f"How much a layer T tells of the input X and of the class Y over a population, "
        f"{count(n)}; another measure than the spatial profiles of single inputs. {how}."
    )
