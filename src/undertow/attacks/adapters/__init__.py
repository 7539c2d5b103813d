"""Attacks of other libraries: give their object, get a trajectory of what it asked the model.

Other libraries do not expose the iterates of their attacks, but every one of them has to ask the
model. :func:`listen` runs their attack and writes down the inputs it asked about; where the
attack ended is what the attack itself says. A library is one file and one line in ``libraries.py``.
"""

from __future__ import annotations

from undertow.attacks.adapters.hearing import owners
from undertow.attacks.adapters.libraries import LIBRARIES, library_of
from undertow.attacks.adapters.listen import listen

__all__ = ["LIBRARIES", "library_of", "listen", "owners"]
