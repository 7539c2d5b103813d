"""Numbers as people read them."""

from __future__ import annotations

import math

from undertow.store import Number

__all__ = ["interval", "say"]


def say(value: object) -> str:
    """A value as a table shows it: three significant digits, a dash where there is none."""
    if value is None or (isinstance(value, float) and not math.isfinite(value)):
        return "–"
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, int):
        return f"{value:,}" if abs(value) >= 10_000 else str(value)
    if isinstance(value, float):
        if value and (abs(value) < 1e-3 or abs(value) >= 1e5):
            return f"{value:.1e}".replace("e-0", "e-").replace("e+0", "e").replace("-", "−")
        text = f"{value:.0f}" if abs(value) >= 1000 else f"{value:#.3g}".rstrip(".")
        return text.replace("-", "−")
    return str(value)


def interval(number: Number) -> str:
    """The interval of a number, or a dash."""
    if number.low is None or number.high is None:
        return "–"
    return f"{say(number.low)} … {say(number.high)}"
