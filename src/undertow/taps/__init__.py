"""Taps: choosing and reading the feature maps of any module."""

from __future__ import annotations

from undertow.taps.choose import choose, table
from undertow.taps.read import Contract, Reading, read

__all__ = ["Contract", "Reading", "choose", "read", "table"]
