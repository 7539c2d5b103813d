"""A cell: which model reads the inputs of which attack. Its name is a file name, too."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final
from urllib.parse import quote, unquote

from undertow.axes import split_control
from undertow.errors import BadInput

__all__ = ["BENIGN", "Cell"]

BENIGN: Final = "benign"
"""The attack of a cell whose inputs were left alone."""

_LONGEST: Final = 200  # bytes of a file name that every common file system can hold


@dataclass(frozen=True, slots=True, order=True)
class Cell:
    """Inputs of one attack, read by one model.

    Args:
        model: the model that infers.
        attack: ``"benign"``, an attack's name, or a control of it, ``"noise:ATTACK"``,
            ``"spectrum:ATTACK"`` or ``"transplant:ATTACK"``: it has that attack's norm, input by
            input.
        source: the model that the attack was aimed at, where that is another one.

    Raises:
        BadInput: if a name is empty or too long for a file name.
    """

    model: str
    attack: str
    source: str | None = None

    def __post_init__(self) -> None:
        if not self.model or not self.attack or self.source == "":
            raise BadInput(
                f"a cell needs names, got {self.model!r}, {self.attack!r}, {self.source!r}"
            )
        if self.source == self.model:
            object.__setattr__(self, "source", None)
        if len(self.slug) > _LONGEST:
            raise BadInput(
                f"the names of cell '{self.name[:60]}…' are too long ({len(self.slug)} bytes)"
            )

    @property
    def label(self) -> str:
        """The attack, and the model that it was aimed at where that is another one."""
        return self.attack if self.source is None else f"{self.attack} from {self.source}"

    @property
    def name(self) -> str:
        """The cell in words: ``good_init · jsma from deep_conv``."""
        return f"{self.model} · {self.label}"

    @property
    def slug(self) -> str:
        """A file name that holds the cell, and from which it can be read back."""
        parts = (self.model, self.attack, *((self.source,) if self.source else ()))
        return "+".join(quote(part, safe="") for part in parts)

    @classmethod
    def from_slug(cls, slug: str) -> Cell:
        """The cell whose :attr:`slug` this is.

        Raises:
            BadInput: if it is none.
        """
        parts = [unquote(part) for part in slug.split("+")]
        if len(parts) not in (2, 3):
            raise BadInput(f"'{slug}' is not the name of a cell")
        cell = cls(*parts)
        if cell.slug != slug:
            raise BadInput(f"'{slug}' is not the name of a cell")
        return cell

    @property
    def benign(self) -> bool:
        """Whether its inputs were left alone."""
        return self.attack == BENIGN

    @property
    def control(self) -> str | None:
        """Which control it is; ``None`` where it is none."""
        return split_control(self.attack)[0]

    @property
    def control_of(self) -> str | None:
        """The attack whose norm this control has; ``None`` where the cell is no control."""
        kind, of = split_control(self.attack)
        return of if kind else None
