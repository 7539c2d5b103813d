"""The measurements as text."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

__all__ = ["as_text"]

COLUMNS = {
    "contestant": ("contestant", "{}"),
    "cpu_seconds": ("CPU s", "{:.2f}"),
    "wall_seconds": ("wall s", "{:.2f}"),
    "slower_than_ours": ("× ours", "{:.2f}"),
    "reach": ("to reach", "{}"),
    "forwards": ("forwards", "{}"),
    "backwards": ("backwards", "{}"),
    "outside_model": ("outside", "{:.1%}"),
    "peak_mib": ("peak MiB", "{:.0f}"),
    "success": ("success", "{:.3f}"),
    "l0": ("L0", "{:.1f}"),
    "l2": ("L2", "{:.4f}"),
    "linf": ("L∞", "{:.4f}"),
    "l2_common": ("L2 common", "{:.4f}"),
}


def as_text(about: str, rows: Sequence[Mapping[str, Any]]) -> str:
    """One contest: a line of what it is, and a table."""
    body = [[_cell(row, key) for key in COLUMNS] for row in rows if row.get("fault") is None]
    head = [title for title, _ in COLUMNS.values()]
    widths = [max(map(len, column)) for column in zip(head, *body, strict=True)]
    lines = [about, _line(head, widths), *(_line(cells, widths) for cells in body)]
    lines += [f"{r['contestant']}: {r['fault']}" for r in rows if r.get("fault") is not None]
    return "\n".join(lines)


def _cell(row: Mapping[str, Any], key: str) -> str:
    value = row.get(key)
    return "" if value is None else COLUMNS[key][1].format(value)


def _line(cells: Sequence[str], widths: Sequence[int]) -> str:
    first, *rest = zip(cells, widths, strict=True)
    return "  ".join([first[0].ljust(first[1]), *(cell.rjust(width) for cell, width in rest)])
