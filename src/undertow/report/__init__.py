"""A run as one self-contained HTML file that opens offline."""

from __future__ import annotations

from undertow.report.page import write_report

__all__ = ["write_report"]
