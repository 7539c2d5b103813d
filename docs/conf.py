"""The site: Sphinx with MyST.

Chosen because it is kept well, checks every cross-reference, turns warnings into errors, needs no
network, and takes Markdown and notebooks as they are.
"""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

from docutils import nodes
from docutils.utils.math.latex2mathml import tex2mathml

import undertow

sys.path.insert(0, str(Path(__file__).resolve().parent))

project = "Undertow"
author = "The Undertow developers"
project_copyright = "2026, the Undertow developers"
version = release = undertow.__version__

extensions = [
    "myst_nb",
    "sphinx.ext.autodoc",
    "sphinx.ext.napoleon",
    "sphinx.ext.viewcode",
    "sphinx_copybutton",
]
exclude_patterns = ["_build", "pages", "**.ipynb_checkpoints"]

# Markdown and notebooks.
myst_enable_extensions = ["dollarmath", "deflist"]
myst_heading_anchors = 3
nb_execution_mode = "off"  # notebooks are stored with what they put out; tests run them
nb_mime_priority_overrides = [("html", "image/svg+xml", 0)]
suppress_warnings = ["mystnb.unknown_mime_type"]

# Docstrings.
napoleon_google_docstring = True
napoleon_use_rtype = False
autodoc_typehints = "signature"
autodoc_member_order = "bysource"
autodoc_preserve_defaults = True
python_use_unqualified_type_names = True
python_maximum_signature_line_length = 88
maximum_signature_line_length = 88

# Pages. No font, script or style comes from elsewhere; browsers draw the mathematics themselves.
html_math_renderer = "mathml"
html_theme = "furo"
html_title = f"Undertow {release}"
html_copy_source = False
html_show_sourcelink = False
html_theme_options = {
    "source_repository": "",
    "light_css_variables": {"color-brand-primary": "#005f87", "color-brand-content": "#005f87"},
    "dark_css_variables": {"color-brand-primary": "#7cc7e8", "color-brand-content": "#7cc7e8"},
}
copybutton_prompt_text = r"\$ |>>> "
copybutton_prompt_is_regexp = True


def _inline(self: Any, node: nodes.Element) -> None:
    self.body.append(tex2mathml(node.astext(), as_block=False))
    raise nodes.SkipNode


def _block(self: Any, node: nodes.Element) -> None:
    self.body.append(f'<div class="math">{tex2mathml(node.astext(), as_block=True)}</div>\n')
    raise nodes.SkipNode


def setup(app: Any) -> dict[str, bool]:
    """Mathematics as MathML, which needs no script."""
    app.add_html_math_renderer("mathml", (_inline, None), (_block, None))
    return {"parallel_read_safe": True, "parallel_write_safe": True}
