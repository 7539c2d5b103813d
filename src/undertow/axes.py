"""The axis vocabulary: one word for one axis, in shapes, labels, columns and figures."""

from __future__ import annotations

from typing import Final

CELL: Final = "cell"
SAMPLE: Final = "sample"
STEP: Final = "step"
TAP: Final = "tap"
MAP: Final = "map"
CHANNEL: Final = "channel"
CLASS: Final = "class"
ROW: Final = "row"
COL: Final = "col"

AXES: Final = (CELL, SAMPLE, STEP, TAP, MAP, CHANNEL, CLASS, ROW, COL)

PROFILES: Final = ("iip", "oip", "ioc")
"""The three information profiles (IPs), in the order in which they are shown."""

UNITS: Final = {"iip": "bit", "oip": "bit", "ioc": "correlation"}
"""The unit of each profile, as figures and columns print it."""
