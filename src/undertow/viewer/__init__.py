"""A Dash application that explores a run on this machine: ``undertow view RUN``."""

from __future__ import annotations

from undertow.loading import needed

needed("the viewer", "viewer", "dash", "waitress")

from undertow.viewer.serve import Viewer, open_viewer  # noqa: E402

__all__ = ["Viewer", "open_viewer"]
