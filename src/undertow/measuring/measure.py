"""``ut.measure``: inputs or a trajectory through a model, as a labelled dataset."""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping, Sequence
from typing import Any, TypeAlias
from weakref import WeakKeyDictionary

import numpy as np
import torch
import xarray as xr
from jaxtyping import Float, Int64
from numpy.typing import NDArray
from torch import Tensor, nn

from undertow.data import ImageSet
from undertow.errors import BadInput, of_kind
from undertow.information import NULLS
from undertow.information.readers import Readers
from undertow.measuring.among import LEADING
from undertow.measuring.blocks import BATCH, Blocks
from undertow.measuring.definitions import attributes, describe
from undertow.measuring.labels import labelled, with_classes, with_difference
from undertow.measuring.meter import Meter, by_row
from undertow.measuring.seen import Pool
from undertow.models.asking import inside_box, plainly
from undertow.models.defended import defence_in, rejected
from undertow.models.devices import even_parts
from undertow.models.steady import announce
from undertow.progress import SILENT, Progress
from undertow.seeds import derive
from undertow.taps import choose
from undertow.types import Draws, Estimator, Images, Tap, Trajectory

__all__ = ["measure", "measure_with", "taps_of"]

POOL = 64
"""Inputs of which each draws its references, where none are given."""


@plainly
def measure(
    model: nn.Module,
    inputs: Images | ImageSet | Trajectory,
    y: Int64[Tensor, " _"] | None = None,
    *,
    taps: Sequence[Tap] | Sequence[str] | str | None = None,
    estimator: str | Estimator = "gaussian_copula",
    null: str = "mismatch",
    references: Float[Tensor, "reference ..."] | None = None,
    readers: Readers | None = None,
    draws: Draws | None = None,
    benign_std: Mapping[str, Any] | xr.Dataset | None = None,
    batch_size: int = BATCH,
    keep_matrices: Collection[int] = (),
    progress: Progress = SILENT,
) -> xr.Dataset:
    """Measure how information flows through a model, input by input.

    Works batch by batch: beyond the result, memory does not grow with the number of inputs.

    Args:
        model: any module from images in [0, 1] to logits, in evaluation mode.
        inputs: (sample, channel, height, width) in [0, 1]; a set of images, read batch by batch;
            or a trajectory, whose recorded iterates are all measured.
        y: true classes, for the takeover tap; image sets and trajectories have their own.
        taps: patterns for :func:`undertow.taps.choose`, taps, or ``None`` for every block.
        estimator: a name in the estimator registry, or an estimator.
        null: ``"mismatch"``, ``"shift"``, ``"shuffle"`` or one of yours, ``"mine.py:null"``.
        references: benign training inputs of the mismatch null, of which each input draws 8 of its
            own; where they are not given, 64 of the data set that a shipped model was trained on.
        readers: class readers of these taps (:func:`undertow.measuring.readers_cache.readers_for`).
        draws: random numbers of the nulls; by default fixed by the number of the row, along a
            trajectory by that of its sample.
        benign_std: standard deviation of ``iip``, ``oip``, ``ioc`` over benign inputs, (tap,) each;
            with a trajectory this gives ``difference``.
        batch_size: inputs measured at once.
        keep_matrices: rows (of ``sample``, or of ``record``) whose S and T are kept.
        progress: told how far it is.

    Returns:
        A dataset with axes ``sample`` (or ``record``, with coordinates ``sample`` and ``step``,
        for a trajectory: its iterates are ragged), ``tap`` and ``class``:

        - ``iip``, ``oip`` (bits) and ``ioc`` net of the null, and the same with ``_raw`` and
          ``_null``; NaN at taps without spatial extent (coordinate ``spatial``), by definition;
        - ``logits``, ``predicted``; ``label`` where known; on a defended network ``rejected``,
          whether its defence refuses to answer;
        - with readers ``class_information`` (bits) at every tap; with labels also ``rival`` (the
          wrong class that the model answers, or holds likeliest; along a trajectory that of its
          end), ``takeover`` (tap number, -1 where none), ``takeover_depth`` (NaN where none) and,
          along a trajectory, ``takeover_step``;
        - with ``benign_std``: ``difference`` from the benign iterate in benign standard
          deviations, and its parts ``difference_iip``, ...;
        - for ``keep_matrices``, along axis ``kept``: ``S_raw``, ``S_null``, ``S_null_std``,
          ``S_net`` (kept, tap, channel, map) and ``T_...`` (kept, tap, map, class), NaN beyond a
          tap's number of ``maps``.

        The attributes say which definitions, estimator and null were used.

    Raises:
        BadInput: for inputs outside [0, 1], labels that do not fit, taps that match nothing,
            maps that are not finite.
        UnknownName: for an unknown estimator or null.
    """
    of_kind(model, nn.Module, "the model", "a torch.nn.Module")
    if y is not None:
        of_kind(y, Tensor, "y", "whole numbers, one an input")
    x = _example(inputs)
    chosen = taps_of(model, x, taps)
    announce(model, x)
    pool: Images | Pool | None = references
    if references is None and "references" in NULLS.entry(null).needs:
        pool = _own_pool(model, x, chosen)
    if references is not None:
        _check_images(references, "references")
        if references.shape[1:] != x.shape[1:]:
            raise BadInput(
                f"references are {tuple(references.shape[1:])}, inputs {tuple(x.shape[1:])}"
            )
    meter = Meter(model, chosen, estimator=estimator, null=null, references=pool, readers=readers)
    return measure_with(
        meter, inputs, y, draws=draws, benign_std=benign_std, batch_size=batch_size,
        keep_matrices=keep_matrices, progress=progress,
    )  # fmt: skip


@plainly
def measure_with(
    meter: Meter,
    inputs: Images | ImageSet | Trajectory,
    y: Int64[Tensor, " _"] | None = None,
    *,
    draws: Draws | None = None,
    benign_std: Mapping[str, Any] | xr.Dataset | None = None,
    batch_size: int = BATCH,
    keep_matrices: Collection[int] = (),
    also: Mapping[str, Meter] | None = None,
    progress: Progress = SILENT,
) -> xr.Dataset:
    """As :func:`measure`, with a meter that was prepared before; saves the references' cost.

    ``also`` names meters beside the first (:meth:`undertow.measuring.meter.Meter.beside`): their
    profiles come from the same forward pass and are called ``iip@NAME``, ...
    """
    _example(inputs)
    trajectory = inputs if isinstance(inputs, Trajectory) else None
    if trajectory is not None and draws is None:  # an input's iterates share its references
        draws = by_row(0, len(trajectory.label))[trajectory.sample.cpu()]
    x = inputs.images if isinstance(inputs, Trajectory) else inputs
    if isinstance(inputs, ImageSet) and y is None:
        y = inputs.labels
    keep = _kept_rows(keep_matrices, len(x))
    towards = _asked_classes(trajectory, y, len(x))
    blocks = Blocks(meter, x, draws=draws, batch=batch_size, keep=keep, also=also, towards=towards)
    found = blocks.run(progress)
    more = {n: found.profiles.pop(n) for n in list(found.profiles) if "@" in n}
    row = "sample" if trajectory is None else "record"
    dataset = labelled(meter, found, row, keep)
    if defence_in(meter.model) is not None:
        dataset = dataset.assign(rejected=(row, _refused(meter.model, x, batch_size)))
    if trajectory is not None:
        dataset = dataset.assign_coords(
            sample=("record", trajectory.sample.cpu().numpy()),
            step=("record", trajectory.step.cpu().numpy()),
        )
    dataset = with_classes(dataset, row, trajectory, y)
    if trajectory is not None and benign_std is not None:
        dataset = with_difference(dataset, benign_std)
    dataset = describe(dataset).assign_attrs(attributes(meter, trajectory, dataset.sizes["class"]))
    return dataset.assign({n: dataset[n.partition("@")[0]].copy(data=v) for n, v in more.items()})


def _refused(model: nn.Module, x: Images | ImageSet, batch: int) -> NDArray[np.bool_]:
    place = next(model.parameters(), torch.zeros(())).device
    parts = [x[a:b] for a, b in even_parts(0, len(x), batch)]
    found = [rejected(model, (p if isinstance(p, Tensor) else p[0]).to(place)) for p in parts]
    return torch.cat(found).cpu().numpy()


# Before -------------------------------------------------------------------------------------------


def _example(inputs: Images | ImageSet | Trajectory) -> Images:
    """Inputs that show their size; all of them are checked, unless they are bytes anyway."""
    if isinstance(inputs, ImageSet) and len(inputs):
        return inputs[:1][0]
    x = inputs.images if isinstance(inputs, Trajectory) else inputs
    _check_images(x, "inputs")
    assert isinstance(x, Tensor)
    return x


def _check_images(x: Any, what: str) -> None:
    if not isinstance(x, Tensor) or x.ndim != 4 or not x.is_floating_point():
        got = f"{tuple(x.shape)} {x.dtype}" if isinstance(x, Tensor) else type(x).__name__
        raise BadInput(f"{what} are (sample, channel, height, width) floats, got {got}")
    if len(x) == 0:
        raise BadInput(f"no {what} to measure; give at least one")
    inside_box(x, what)


def taps_of(
    model: nn.Module, x: Images, taps: Sequence[Tap] | Sequence[str] | str | None
) -> tuple[Tap, ...]:
    """The taps that patterns, names, or nothing at all choose; asked once for a model."""
    if taps is None or isinstance(taps, str):
        key = ("taps", taps, tuple(x.shape[1:]), x.dtype, x.device)
        chosen: tuple[Tap, ...] = _remembered(model, key, lambda: choose(model, x, taps))
        return chosen
    of_kind(taps, (list, tuple), "taps", "names, patterns, or what undertow.taps.choose gives")
    ready = [tap for tap in taps if isinstance(tap, Tap)]
    return tuple(ready) if len(ready) == len(taps) > 0 else choose(model, x, [str(t) for t in taps])


References: TypeAlias = Float[Tensor, "reference channel height width"]
_known: WeakKeyDictionary[nn.Module, tuple[Any, dict[Any, Any]]] = WeakKeyDictionary()
"""What was found for a model before, with the state of the weights for which it was found."""


def _remembered(model: nn.Module, key: Any, find: Callable[[], Any]) -> Any:
    """What ``find`` gives, asked once for a model as long as its weights stay as they are."""
    state = tuple(
        (t.data_ptr(), 0 if t.is_inference() else t._version)
        for t in (*model.parameters(), *model.buffers())
    )
    known = _known.get(model)
    if known is None or known[0] != state:
        known = _known[model] = (state, {})
    if key not in known[1]:
        known[1][key] = find()
    return known[1][key]


def _own_pool(model: nn.Module, x: Images, taps: Sequence[Tap]) -> Pool | None:
    """Training inputs of the data set whose shipped weights these are, if they are."""
    found: Tensor | None = _remembered(model, "references", lambda: _found_references(model))
    if found is None or found.shape[1:] != x.shape[1:]:
        return None
    last = tuple(tap.name for tap in taps if tap.spatial)[-1:]
    pool: Pool = _remembered(
        model, ("pool", last, x.device), lambda: Pool(model, taps, found.to(x.device))
    )
    _ = pool.evidence  # read now: what is remembered of a model must not keep it
    return pool


def _found_references(model: nn.Module) -> References | None:
    from undertow.data import load_data
    from undertow.models.cards import WEIGHTS, read_card, stem
    from undertow.models.evaluation import fingerprint
    from undertow.models.registry import MODELS

    cards = [read_card(name) for name in MODELS if (WEIGHTS / f"{stem(name)}.json").is_file()]
    own = fingerprint(model) if cards else ""
    data = next((card.data for card in cards if card.fingerprint == own), None)
    if data is None:
        return None
    train = load_data(data, "fit")
    rows = np.random.default_rng(derive(0, "references")).choice(len(train), POOL, replace=False)
    return train[np.sort(rows)][0]


def _asked_classes(
    trajectory: Trajectory | None, y: Int64[Tensor, " _"] | None, rows: int
) -> Int64[Tensor, "sample class"] | None:
    """Classes whose flow is told of: the true one, and along a trajectory those of its ends."""
    if trajectory is None:
        return None if y is None or len(y) != rows else y.cpu().long()[:, None]
    end = trajectory.end_logits.cpu().float()
    leading = end.topk(min(LEADING, end.shape[1]), dim=1).indices
    of_sample = torch.cat([trajectory.label.cpu()[:, None], leading], dim=1)
    return of_sample[trajectory.sample.cpu()]


def _kept_rows(keep: Collection[int], rows: int) -> tuple[int, ...]:
    chosen = tuple(sorted({int(row) for row in keep}))
    if chosen and not 0 <= chosen[0] <= chosen[-1] < rows:
        raise BadInput(f"keep_matrices {list(chosen)}: rows run from 0 to {rows - 1}")
    return chosen
