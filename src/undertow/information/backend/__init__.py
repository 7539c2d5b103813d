"""What estimators compute with: numba for the processor, torch operations for any device.

Estimators keep their formulas; what runs over positions is asked of :func:`backend_of`. Both give
the same numbers to rounding, and the contract of estimators runs over both on the processor.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from importlib import import_module
from typing import Any, Final, Literal, Protocol, TypeAlias, cast, runtime_checkable

import numpy as np
from jaxtyping import Float, UInt8
from torch import Tensor

__all__ = ["FLAT", "Backend", "BackendName", "backend_of", "using"]

BackendName: TypeAlias = Literal["numba", "torch"]
Table: TypeAlias = np.ndarray[Any, np.dtype[Any]]
Rows: TypeAlias = Float[Tensor, "row position"]
Packed: TypeAlias = tuple[Tensor, Tensor, Tensor]
"""Binned maps as the numba kernels meet them: words, own terms, occupied bins."""


@runtime_checkable
class Backend(Protocol):
    """Pure functions on tensors of one device; rows are float32 and contiguous."""

    def plain(self, maps: Float[Tensor, "sample map row col"], /) -> Tensor:
        """The same maps, contiguous and in float32."""
        ...

    def block_means(
        self, maps: Float[Tensor, "*batch row col"], grid: tuple[int, int], /
    ) -> Tensor:
        """Means of equal blocks, where ``grid`` divides the maps' sizes."""
        ...

    def moments(self, values: Float[Tensor, "item repeat width"], /) -> tuple[Tensor, Tensor]:
        """Mean and standard deviation (of the population) over repeats."""
        ...

    def standardised(
        self, rows: Rows, table: Table, /
    ) -> tuple[Float[Tensor, "row position"], Float[Tensor, " row"]] | None:
        """``table`` at twice each value's average rank, at mean 0 and length 1; rows' entropies.

        Constant rows are 0; ``None`` if a value is not finite. Entropies are those of the values
        over positions, in bits: log2 n where all differ, 0 for constant rows.
        """
        ...

    def met(self, *scores: Float[Tensor, "*#batch row position"]) -> Tensor:
        """Standardised rows, one family behind the other, as second argument of what follows.

        The batch axes come first, as they were; they broadcast.
        """
        ...

    def copula_bits(
        self, a: Tensor, b: Tensor, a_entropy: Tensor, b_entropy: Tensor,
        bias: float, factor: float, floor: float, /,
    ) -> Float[Tensor, "*batch row col"]:  # fmt: skip
        """(-½·log2(max(1 - ρ², floor)) - bias)·factor of standardised rows, at most either entropy.

        0 for constant rows. ``b`` is as :meth:`met` made it.
        """
        ...

    def copula_means(
        self, a: Tensor, b: Tensor, a_entropy: Tensor, b_entropy: Tensor, parts: int,
        bias: float, factor: float, floor: float, /,
    ) -> tuple[Float[Tensor, "item row group"], Float[Tensor, "item 2 part"]]:  # fmt: skip
        """Means of :meth:`copula_bits` of items over groups of ``parts`` columns; and over rows.

        The latter of the first group, and of all others together. In double precision.
        """
        ...

    def ranked_means(
        self, maps: Float[Tensor, "item row position"], table: Table, b: Tensor,
        b_entropy: Tensor, parts: int, bias: float, factor: float, floor: float, /,
    ) -> tuple[Float[Tensor, "item row group"], Float[Tensor, "item 2 part"]] | None:  # fmt: skip
        """:meth:`copula_means` of what :meth:`standardised` makes of maps, and does not keep."""
        ...

    def correlations(
        self, s: Float[Tensor, "item row either"], t: Float[Tensor, "item row either"], /
    ) -> Float[Tensor, "item either"]:
        """Of double-precision values over rows; 0 where either hardly differs among them."""
        ...

    def rank_bins(self, rows: Rows, table: Table, /) -> UInt8[Tensor, "row position"] | None:
        """``table`` at twice each value's average rank; ``None`` if a value is not finite."""
        ...

    def equal_widths(self, rows: Rows, count: int, /) -> UInt8[Tensor, "row position"] | None:
        """Bins of equal width between a row's least and largest value; ``None`` as above."""
        ...

    def packed(self, bins: UInt8[Tensor, "row position"], count: int, /) -> Packed | None:
        """The bins made ready to be met, where that pays."""
        ...

    def histogram_bits(
        self, a: Tensor, b: Tensor, a_packed: Packed | None, b_packed: Packed | None,
        count: int, /,
    ) -> Float[Tensor, "*batch row col"]:  # fmt: skip
        """Bits of joint histograms, Miller-Madow correction included, at most either entropy."""
        ...

    def products(
        self, one: Float[Tensor, "row k"], two: Float[Tensor, "col k"], /
    ) -> Float[Tensor, "row col"]:
        """``one @ two.T``, each row of ``one`` as if it were alone."""
        ...


FLAT: Final = 1e-12
"""Root of the product of two sums of squares below which there is nothing to correlate: that is the
rounding of float32 bits, not a difference between maps."""

_CHOSEN: Final[ContextVar[BackendName | None]] = ContextVar("backend", default=None)


def backend_of(values: Tensor) -> Backend:
    """The backend of a tensor's device; where :func:`using` names one, that one."""
    name = _CHOSEN.get() or ("numba" if values.device.type == "cpu" else "torch")
    module = "numba" if name == "numba" else "anywhere"
    return cast(Backend, import_module(f"undertow.information.backend.{module}"))


@contextmanager
def using(name: BackendName) -> Iterator[None]:
    """Compute with one backend, whatever the device: to test the device's path without a device."""
    token = _CHOSEN.set(name)
    try:
        yield
    finally:
        _CHOSEN.reset(token)
