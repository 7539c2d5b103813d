"""A Dash application that explores a run on this machine: ``undertow view RUN``."""

from __future__ import annotations

from undertow.viewer.serve import Viewer, open_viewer

__all__ = ["Viewer", "open_viewer"]
