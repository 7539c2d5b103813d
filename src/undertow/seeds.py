"""Seeds derived from words, so that one study seed fixes every draw wherever it is made."""

from __future__ import annotations

import re
from hashlib import blake2b

__all__ = ["derive", "portable"]


def derive(seed: int, *words: str | int) -> int:
    """A 63-bit seed for one purpose, independent of all others.

    The same words give the same seed in any process, on any machine; changing one word changes it
    altogether: ``derive(seed, "good_init", "jsma", 17)`` is the seed of input 17 in that cell.

    Args:
        seed: the study's seed.
        words: what the draw is for, from the general to the particular.
    """
    text = "\x1f".join((str(int(seed)), *(f"{type(w).__name__}:{w}" for w in words)))
    return int.from_bytes(blake2b(text.encode(), digest_size=8).digest(), "little") >> 1


def portable(name: str) -> str:
    """A name without folders: ``a/net.py:make+b/c.py:f`` is ``net.py:make+c.py:f``.

    What is drawn for a model or an attack from a file then is the same wherever the file lies.
    """
    return re.sub(r"[^+/\\]*[/\\]", "", name)
