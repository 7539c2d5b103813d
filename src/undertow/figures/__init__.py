"""Figures are data, then ink: :data:`FIGURES` build them, plotly and matplotlib draw them."""

from __future__ import annotations

from undertow.figures.data import Axis, Figure, FigureData, Heat, Mark, Panel, Picture, Series
from undertow.figures.registry import FIGURES

__all__ = ["FIGURES", "Axis", "Figure", "FigureData", "Heat", "Mark", "Panel", "Picture", "Series"]
