"""A run as the views ask for it: read when needed, kept once read, never trusted.

Whatever a damaged file makes the reader raise becomes a sentence in :attr:`Source.problems`, so
that a view can show what is there and say what is not.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from functools import lru_cache, partial
from pathlib import Path
from threading import RLock
from typing import Any, TypeVar

import numpy as np
import xarray as xr
from numpy.typing import NDArray

from undertow.axes import PROFILES
from undertow.errors import Foreign, UndertowError
from undertow.store import Answers, Cell, Curve, Run, curve_key, open_run
from undertow.store.reader import State
from undertow.viewer.selection import Array, EndPoints, Which, curve_of, values

__all__ = ["Source", "open_source"]

T = TypeVar("T")


def _stamp(path: Path) -> tuple[Any, ...]:
    """Changes whenever more of a run is written."""
    found: list[Any] = []
    for name in ("manifest.json", "ledger.jsonl", "answers.json"):
        try:
            at = (path / name).stat()
            found += [at.st_mtime_ns, at.st_size]
        except OSError:
            found.append(None)
    return tuple(found)


class Source:
    """One run, open in the viewer.

    Args:
        path: its directory.
    """

    def __init__(self, path: str | Path) -> None:
        self.run: Run = open_run(path)
        self.path = self.run.path
        self.beside: tuple[Source, ...] = ()
        self.models_allowed: tuple[str, ...] = ()
        self.computes = False
        self._lock = RLock()
        self._begin()

    def _begin(self) -> None:
        self._stamp = _stamp(self.path)
        self._kept: dict[Any, Any] = {}
        self._making: dict[Any, RLock] = {}
        self.problems: dict[str, None] = {}

    def refresh(self) -> None:
        """Look again at a run that has grown since."""
        with self._lock:
            if _stamp(self.path) != self._stamp:
                self.run = open_run(self.path)
                self._begin()

    def once(self, key: Any, make: Callable[[], T]) -> T:
        """What ``make`` gives, made the first time only; other keys are not held up meanwhile."""
        kept = self._kept
        if key not in kept:
            with self._lock:
                making = self._making.setdefault(key, RLock())
            with making:
                if key not in kept:
                    kept[key] = make()
        found: T = kept[key]
        return found

    def _try(self, what: str, read: Callable[[], T]) -> T | None:
        """What ``read`` gives, or ``None`` and a sentence about why there is none."""
        try:
            return read()
        except UndertowError as error:
            self.problems[f"{what}: {error}"] = None
        except Exception as error:  # whatever a damaged file makes the decoder raise
            self.problems[f"{what} cannot be read ({type(error).__name__})"] = None
        return None

    # What there is ----------------------------------------------------------------------------

    @property
    def name(self) -> str:
        """What the run calls itself."""
        return str(self.spec.get("name") or self.path.name)[:80]

    @property
    def spec(self) -> Mapping[str, Any]:
        """What the run was asked; empty where that cannot be read."""
        found = self.once("spec", lambda: self._try("spec.yaml", lambda: self.run.spec) or {})
        return found if isinstance(found, Mapping) else {}

    @property
    def cells(self) -> tuple[Cell, ...]:
        """All cells, planned or stored."""
        return self.once(
            "cells", lambda: self._try("the list of cells", lambda: self.run.cells) or ()
        )

    @property
    def models(self) -> tuple[str, ...]:
        """The models that infer."""
        return tuple(dict.fromkeys(cell.model for cell in self.cells))

    @property
    def answers(self) -> Answers | None:
        """The answers, where they can be read."""
        return self.once("answers", lambda: self._try("answers", lambda: self.run.answers))

    @property
    def missing(self) -> tuple[str, ...]:
        """What the run lacks, a sentence each."""
        return self.once("missing", lambda: self._try("the ledger", lambda: self.run.missing) or ())

    def state(self, cell: Cell) -> State:
        """How far a cell is."""
        return self.once(("state", cell), lambda: self.run.state(cell))

    def cell(self, slug: str | None) -> Cell | None:
        """The cell of this name; names are looked up, never made into paths."""
        return next((c for c in self.cells if c.slug == slug), None)

    @property
    def manifest(self) -> Mapping[str, Any]:
        """What the run says of itself."""
        return self.run.manifest

    @property
    def classes(self) -> tuple[str, ...]:
        """Names of the classes, as far as they are known."""
        given = self.manifest.get("classes")
        return tuple(str(c)[:60] for c in given) if isinstance(given, list) else ()

    @property
    def stamp(self) -> tuple[Any, ...]:
        """Another whenever the run on the disk is another."""
        return self._stamp

    def class_names(self, n: int, given: Sequence[Any] | None = None) -> list[str]:
        """Names of ``n`` classes, or their numbers."""
        for names in (given, self.classes):
            if names is not None and len(names) == n:
                return [str(c)[:60] for c in names]
        return [f"class {i}" for i in range(n)]

    @property
    def estimators(self) -> tuple[str, ...]:
        """Further estimators whose profiles are stored."""

        def look() -> tuple[str, ...]:
            cell = next((c for c in self.cells if self.has("profiles", c)), None)
            if cell is None:
                return ()
            data = self._try(cell.name, lambda: self.run.profiles(cell))
            names = () if data is None else data.data_vars
            return tuple(dict.fromkeys(str(n).partition("@")[2] for n in names if "@" in str(n)))

        return self.once("estimators", look)

    def has(self, group: str, cell: Cell) -> bool:
        """Whether a cell has anything in a group."""
        return self._try(group, lambda: self.run.has(group, cell)) or False

    # Arrays -----------------------------------------------------------------------------------

    def _group(self, group: str, cell: Cell) -> xr.Dataset | None:
        def look() -> xr.Dataset | None:
            if not self.has(group, cell):
                return None
            opened: dict[str, Callable[[Cell], xr.Dataset]] = {
                "profiles": self.run.profiles,
                "attacks": self.run.attacks,
                "class_information": self.run.class_information,
            }
            return self._try(f"{group} of {cell.name}", lambda: opened[group](cell))

        return self.once(("group", group, cell), look)

    def _array(self, group: str, cell: Cell, name: str) -> NDArray[Any] | None:
        def load() -> NDArray[Any] | None:
            data = self._group(group, cell)
            if data is None or name not in data.variables:
                return None
            return self._try(f"{group}/{name} of {cell.name}", lambda: values(data, name))

        return self.once(("array", group, cell, name), load)

    def ends(self, cell: Cell) -> EndPoints | None:
        """Where the finished inputs of a cell ended; a control takes its attack's success."""

        def load() -> EndPoints | None:
            names = ("label", "predicted", "success", "l2")
            found = {n: self._array("attacks", cell, n) for n in ("finished", *names)}
            arrays = {n: v for n, v in found.items() if v is not None}
            if len(arrays) < len(found):
                return None
            arrays["fooled"] = arrays["success"]
            aimed = Cell(cell.model, cell.control_of, cell.source) if cell.control_of else cell
            theirs = self._array("attacks", aimed, "success") if aimed in self.cells else None
            if theirs is not None and len(theirs) == len(arrays["success"]):
                arrays["success"] = theirs
            rows = np.flatnonzero(arrays.pop("finished"))
            kinds = {"success": np.bool_, "fooled": np.bool_, "l2": np.float64}
            typed: dict[str, Any] = {
                n: v[rows].astype(kinds.get(n, np.int64)) for n, v in arrays.items()
            }
            return EndPoints(rows=rows, **typed)

        return self.once(("ends", cell), load)

    def indices(self, cell: Cell, which: Which) -> NDArray[np.int64] | None:
        """Places in the data set of the finished inputs that ``which`` names."""
        ends, index = self.ends(cell), self._array("attacks", cell, "index")
        if ends is None or index is None:
            return None
        return index[ends.rows[self.chosen(cell, which)]].astype(np.int64)

    def warm(self) -> None:
        """Read what every view needs, so that the first one need not wait for it."""
        _ = (self.answers, self.missing, self.estimators, [self.state(c) for c in self.cells])

    def taps(self, cell: Cell) -> tuple[tuple[str, ...], Array]:
        """Names and depths of all taps of a cell, those without IPs among them."""
        data = self._group("profiles", cell)
        depth = self._array("profiles", cell, "depth")
        if data is None or depth is None or "tap" not in data.coords:
            return (), np.array([])
        return tuple(str(t) for t in data["tap"].values), depth.astype(float)

    def profile(self, cell: Cell, profile: str, which: Which) -> Array | None:
        """One IP of every finished input of a cell that ``which`` names, (sample, tap)."""
        part = "" if which.part == "net" else f"_{which.part}"
        name = f"{profile}{part}" + (f"@{which.estimator}" if which.estimator else "")
        found, ends = self._array("profiles", cell, name), self.ends(cell)
        if found is None:
            return None
        if ends is None:
            finished = self._array("profiles", cell, "finished")
            if finished is None or which.outcome != "all" or which.classes:
                return None
            return np.asarray(found[finished], dtype=np.float64)
        return np.asarray(found[ends.rows[self.chosen(cell, which)]], dtype=np.float64)

    def flow(self, cell: Cell, which: Which) -> Array | None:
        """Net flow of the finished inputs that ``which`` names, (sample, tap, class)."""
        name = "flow" + (f"@{which.estimator}" if which.estimator else "")
        found, ends = self._array("profiles", cell, name), self.ends(cell)
        if found is None or ends is None:
            return None
        return np.asarray(found[ends.rows[self.chosen(cell, which)]], dtype=np.float64)

    def rivals(self, cell: Cell) -> NDArray[np.int64] | None:
        """The class that drift goes towards, of every finished input of a cell."""
        found, ends = self._array("attacks", cell, "rival"), self.ends(cell)
        return None if found is None or ends is None else found[ends.rows].astype(np.int64)

    def chosen(self, cell: Cell, which: Which) -> NDArray[np.bool_]:
        """Which of the finished inputs of a cell are meant. Benign inputs have no outcome."""
        ends = self.ends(cell)
        if ends is None:
            return np.zeros(0, bool)
        mask = np.ones(len(ends), bool)
        if which.outcome != "all" and not cell.benign:
            mask &= ends.success == (which.outcome == "successful")
        if which.classes:
            mask &= np.isin(ends.label, which.classes)
        return mask

    # Aggregates -------------------------------------------------------------------------------

    def curves(
        self, model: str, attacks: Sequence[str] | None, which: Which
    ) -> dict[str, dict[str, Curve]]:
        """Aggregated IPs of a model by curve key: stored ones where they fit, else made now."""
        stored = self.answers.aggregates.get(model, {}) if self.answers and which.everything else {}
        found: dict[str, dict[str, Curve]] = {}
        for cell in (c for c in self.cells if c.model == model):
            key = curve_key(cell.attack, cell.source)
            if attacks is not None and key not in attacks and not cell.benign:
                continue
            named = which.outcome if which.outcome != "all" and not cell.benign else None
            curves = stored.get(key) or self.once(
                ("curves", cell, which), partial(self._curves, cell, which)
            )
            if curves:
                found[curve_key(cell.attack, cell.source, named)] = dict(curves)
        return found

    def _curves(self, cell: Cell, which: Which) -> dict[str, Curve]:
        found = {}
        _, depth = self.taps(cell)
        for profile in PROFILES:
            rows = self.profile(cell, profile, which)
            if rows is not None and len(rows) and len(depth) == rows.shape[1]:
                curve = curve_of(rows, depth)
                if curve is not None:
                    found[profile] = curve
        return found

    # Recorded inputs --------------------------------------------------------------------------

    @property
    def recorded(self) -> dict[Cell, tuple[int, ...]]:
        """The recorded inputs of each cell that has any; attacks before controls."""

        def look() -> dict[Cell, tuple[int, ...]]:
            cells = sorted(self.cells, key=lambda c: (c.control_of is not None, c.source or ""))
            found = {
                c: self._try(f"exemplars of {c.name}", partial(self.run.exemplars, c)) or ()
                for c in cells
            }
            return {c: indices for c, indices in found.items() if indices}

        return self.once("recorded", look)

    def exemplar(self, cell: Cell, index: int) -> xr.Dataset | None:
        """One recorded input, opened and not yet read; the last few are kept."""
        if index not in self.recorded.get(cell, ()):
            return None
        return self._try(
            f"recorded input {index} of {cell.name}", lambda: self._opened(cell, index)
        )

    def _opened(self, cell: Cell, index: int) -> xr.Dataset:
        return _open_exemplar(self, self._stamp, cell, index)

    def note(self, problem: str) -> None:
        """Keep a sentence about something that cannot be shown."""
        self.problems[problem] = None


@lru_cache(maxsize=16)
def _open_exemplar(source: Source, stamp: tuple[Any, ...], cell: Cell, index: int) -> xr.Dataset:
    return source.run.exemplar(cell, index)


def open_source(path: str | Path) -> Source:
    """Open a run for viewing.

    Raises:
        BadInput: there is no such directory.
        Foreign: it is not a run.
    """
    try:
        return Source(path)
    except OSError as error:
        raise Foreign(f"'{path}' cannot be read ({error.strerror})") from error
