"""Figures are data, then ink: :data:`FIGURES` build them, plotly and matplotlib draw them.

``figure = lift(run, "aggregate")`` shows itself in a notebook; ``draw(figure)`` is a plotly figure,
``save(figure, "a.pdf")`` a file for print.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from undertow.figures.data import Axis, Figure, FigureData, Heat, Mark, Panel, Picture, Series
from undertow.figures.registry import FIGURES

if TYPE_CHECKING:
    from undertow.figures.lifting import from_flow as from_flow
    from undertow.figures.lifting import lift as lift
    from undertow.figures.plotly_ink import draw as draw
    from undertow.figures.population import population_plane as population_plane
    from undertow.figures.print_ink import save as save

__all__ = [
    "FIGURES", "Axis", "Figure", "FigureData", "Heat", "Mark", "Panel", "Picture", "Series",
    "draw", "from_flow", "lift", "population_plane", "save",
]  # fmt: skip

_LATER = {
    "draw": "plotly_ink", "from_flow": "lifting", "lift": "lifting",
    "population_plane": "population", "save": "print_ink",
}  # fmt: skip


def __getattr__(name: str) -> Any:
    """Imported on first use: the inks are heavy."""
    if name not in _LATER:
        raise AttributeError(f"module 'undertow.figures' has no attribute '{name}'")
    from importlib import import_module

    return getattr(import_module(f"undertow.figures.{_LATER[name]}"), name)
