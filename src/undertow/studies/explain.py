"""One input, or a few: why a model says what it says, attacked or not."""

from __future__ import annotations

import tempfile
import warnings
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from hashlib import sha256
from pathlib import Path
from typing import Any, Final

import numpy as np
import torch
from torch import Tensor, nn

from undertow.attacks import ATTACKS
from undertow.data import DATASETS, UNLABELLED, ImageSet, load_data
from undertow.data.folder import numbers_are_classes
from undertow.data.pictures import ENDINGS
from undertow.errors import BadInput, shown
from undertow.loading import is_source, there
from undertow.models import Card, known_card
from undertow.notebook import Html
from undertow.progress import SILENT, Progress
from undertow.store import Explanation, Run
from undertow.studies.asked.inputs import class_number
from undertow.studies.asked.spec import AttackSpec, DataSpec, StudySpec
from undertow.studies.run import study
from undertow.types import Precision

__all__ = ["Why", "explain", "flat_name", "followable", "run_explanation"]

POPULATION: Final = 64
"""Benign inputs beside those that are explained: what they are held against."""
REFERENCES: Final = "mismatch"
ALONE: Final = "shift"
"""The null where there are no other inputs."""
MOST: Final = 200
"""Inputs that are explained at once."""
ITERATES: Final = 48
"""Iterates of an attack that are measured, of those that it makes."""


@dataclass(frozen=True, slots=True)
class Why:
    """Explanations, and the run that holds all that was measured.

    Args:
        explanations: one an input.
        run: open for reading; ``undertow view`` and ``undertow report`` take its path.
    """

    explanations: tuple[Explanation, ...]
    run: Run

    @property
    def sentence(self) -> str:
        """The explanation of the first input."""
        return self.explanations[0].sentence if self.explanations else ""

    def __len__(self) -> int:
        return len(self.explanations)

    def __getitem__(self, place: int) -> Explanation:
        return self.explanations[place]

    def __str__(self) -> str:
        return "\n".join(f"{e.input}: {e.sentence}" for e in self.explanations)

    def _repr_html_(self) -> str:
        return Html("".join(e._repr_html_() for e in self.explanations[:12]))


def explain(
    model: str | nn.Module,
    image: Any,
    *,
    label: int | str | None = None,
    attack: str | None = None,
    settings: Mapping[str, Any] | None = None,
    target: int | str | None = None,
    beside: str | ImageSet | None = None,
    out: str | Path | None = None,
    progress: Progress = SILENT,
    **options: Any,
) -> Why:
    """Why a model says of an input what it says: the layer at which the flow turns, in words.

    Args:
        model: a name as ``load_model`` takes it, or a network of your own.
        image: a file; a folder; ``DATASET:INDEX``; a data set; or an array or tensor
            (channel, row, col) or (sample, channel, row, col), bytes or in [0, 1].
        label: the true class of a single image, by number or name; ``None``: as the data say.
        attack: attack the image by this, and explain what that did.
        settings: of the attack.
        target: of the attack, as ``craft`` takes it, or a class's name.
        beside: a data set to compare with; by default the one the model was trained on, if that is
            known.
        out: the run directory; a temporary one by default.
        progress: told how far it is.
        options: as :func:`run_explanation` takes them: ``mean``, ``std``, ``output``,
            ``classes``, ``size``, ``taps``, ``readers``, ``precision``, ``unaware``, ``data_dir``,
            ``device``, ``seed``.

    Returns:
        Sentences and numbers, and the run behind them.

    Raises:
        UndertowError: for what cannot be read, or does not fit together.
    """
    place = tempfile.mkdtemp(prefix="undertow-") if out is None else out
    target_run = Path(place) / "run" if out is None else Path(place)
    run = run_explanation(
        model, image, label=label, attack=attack, settings=settings, target=target, beside=beside,
        out=target_run, progress=progress, **options,
    )  # fmt: skip
    return Why(run.answers.explanations if run.answers else (), run)


def run_explanation(
    model: str | nn.Module,
    image: Any,
    *,
    label: int | str | None = None,
    attack: str | None = None,
    settings: Mapping[str, Any] | None = None,
    target: int | str | None = None,
    beside: str | ImageSet | None = None,
    mean: Sequence[float] | None = None,
    std: Sequence[float] | None = None,
    output: int | str | None = None,
    classes: str | None = None,
    size: tuple[int, int] | None = None,
    taps: Sequence[str] = (),
    readers: int = 0,
    out: str | Path | None = None,
    data_dir: str | Path | None = None,
    device: str = "cpu",
    seed: int = 0,
    name: str | None = None,
    iterates: int | None = ITERATES,
    precision: Precision = "float32",
    unaware: bool = False,
    progress: Progress = SILENT,
) -> Run:
    """The run of an explanation; see :func:`explain`.

    ``unaware``: of a defended network what is behind the defence is attacked.

    ``iterates`` of the attack are measured at most, or all where it is ``None``.
    """
    if attack is None and (settings or target is not None or unaware or str(precision) == "bf16"):
        raise BadInput("settings, a target, precision and unaware belong to an attack: name one")
    title, card = _titled(model)
    one = _Asked(image, card, beside, data_dir, size, progress)
    label, readers = one.label(label), one.readers(readers)
    parts = filter(None, ("explain", title, Path(one.called).name, attack))
    spec = StudySpec(
        name=flat_name(name or "-".join(parts)),
        **told_of(title, mean, std, output, taps),
        plugins=({"attack": attack},) if attack is not None and is_source(attack) else (),
        attacks=() if attack is None else (followable(attack, settings or {}, target, unaware),),
        data=DataSpec(
            name=one.name, inputs=one.count + one.others, select="all", first=one.first,
            beside=one.beside, size=one.size, references="beside" if readers == 0 else "train",
            labels={} if label is None else {one.first[0]: label}, classes=classes,
        ),
        null=REFERENCES if one.others else ALONE,
        readers=readers,
        exemplars=one.count,
        iterates=iterates,
        follow_only=True,
        explain=True,
        carriers=attack is not None,
        matrices=1 if attack else 0,
        precision=precision,
        questions=(),
        seed=seed,
    )  # fmt: skip
    out = out or Path("runs") / _directory(spec, one)
    given = None if isinstance(model, str) else {title: model}
    return study(
        spec, out=out, data_dir=data_dir, device=device, models=given, data=one.given,
        progress=progress,
    )  # fmt: skip


def told_of(
    model: str,
    mean: Sequence[float] | None,
    std: Sequence[float] | None,
    output: int | str | None,
    taps: Sequence[str],
) -> dict[str, Any]:
    """What a study says of its only model."""
    return {
        "models": (model,),
        "mean": None if mean is None else tuple(mean),
        "std": None if std is None else tuple(std),
        "output": output,
        "taps": tuple(taps),
    }


def _titled(model: str | nn.Module) -> tuple[str, Card | None]:
    """What the run calls a model, and its card; a network of ours is known by its weights."""
    card = known_card(model)
    if isinstance(model, str):
        return model, card
    return (f"object:{type(model).__name__}" if card is None else card.name), card


def _directory(spec: StudySpec, one: _Asked) -> str:
    """A name of its own for everything that is asked, so that no run stands in another's way."""
    what = sha256(repr((spec.plain(), one.stamp)).encode()).hexdigest()[:8]
    parts = ["explain", spec.models[0], Path(one.called).name]
    parts += [attack.id for attack in spec.attacks]
    return f"{flat_name('-'.join(parts))[:80]}-{what}"


def flat_name(words: str) -> str:
    """Words as the name of a study and of its directory."""
    return "".join(c if c.isalnum() or c in "_.-" else "-" for c in words).lstrip(".")[:100]


def followable(
    attack: str, settings: Mapping[str, Any], target: int | str | None, unaware: bool = False
) -> AttackSpec:
    """An attack on one model whose steps can be followed.

    Raises:
        BadInput: for a control, or an attack on several models.
        UnknownName: for a name that no attack has.
    """
    entry = ATTACKS.entry(attack)
    if entry.needs:
        controls = "models" not in entry.needs
        what = "is a control without steps" if controls else "is aimed at several models, too many"
        raise BadInput(f"{entry.name} {what} to follow; choose another attack")
    return AttackSpec(name=entry.name, settings=dict(settings), target=target, unaware=unaware)


class _Asked:
    """What is to be explained, in whatever form it was given, and what stands beside it.

    Args:
        image: see :func:`explain`.
        card: of the model, where it has one.
        beside: a data set to compare with.
        data_dir: where a named set's files lie.
        size: (row, col) that pictures are brought to, where nothing stands beside them.
        progress: told about downloads.
    """

    def __init__(
        self,
        image: Any,
        card: Card | None,
        beside: Any,
        data_dir: Any,
        size: tuple[int, int] | None,
        progress: Progress,
    ) -> None:
        self.beside: str | None = None
        self.size = size
        self.given: ImageSet | None = None
        self.name = self.called = "given"
        self.stamp: Any = None
        usual = card.data if card is not None else None
        if isinstance(image, str | Path) and self._of_a_set(str(image), data_dir, progress):
            return
        if isinstance(beside, ImageSet):
            others: ImageSet | None = beside
        else:
            name = beside if beside is not None else usual
            others = None if name is None else load_data(name, data_dir=data_dir, progress=progress)
        if others is not None:
            self.size = others.shape[1], others.shape[2]
        self.classes = others.classes if others is not None else ()
        own = self._own(image, data_dir, progress)
        self.count, self.first = len(own), tuple(range(len(own)))
        self.others = 0 if others is None else min(POPULATION, len(others))
        if self.count > MOST:
            raise BadInput(f"{self.count} inputs are too many to explain (allowed: {MOST})")
        if others is None:
            return
        if self.given is None and not isinstance(beside, ImageSet):
            self.beside = others.name
        else:
            self.given = own.before(others)

    def label(self, told: int | str | None) -> int | str | None:
        """The label of a single input, as a number where the classes are known.

        Raises:
            BadInput: for one label and several inputs.
            UnknownName: for a class that there is not.
        """
        if told is None:
            return None
        if self.count != 1:
            raise BadInput(f"one label for {self.count} inputs; name the classes by subfolders")
        return class_number(told, self.classes) if self.classes else told

    def readers(self, wanted: int) -> int:
        """How many training inputs class readers are fitted on; a warning where there are none."""
        if wanted and (self.given is not None or not self.others):
            warnings.warn("no training data: class information is left out", stacklevel=3)
            return 0
        return wanted

    def _of_a_set(self, image: str, data_dir: Any, progress: Progress) -> bool:
        """Whether it is ``DATASET:INDEX``; its population is the rest of that set."""
        name, colon, index = image.rpartition(":")
        if not (colon and index.lstrip("-").isdecimal()) or there(image):
            return False
        if not (name in DATASETS or is_source(name) or there(name)):
            return False
        with numbers_are_classes():
            data = load_data(name, data_dir=data_dir, size=self.size, progress=progress)
        if not 0 <= int(index) < len(data):
            raise BadInput(f"there is no input {index} in {name} (allowed: 0 to {len(data) - 1})")
        self.name, self.called, self.classes = name, f"{name}-{index}", data.classes
        self.count, self.first = 1, (int(index),)
        self.others = min(POPULATION, len(data) - 1)
        return True

    def _own(self, image: Any, data_dir: Any, progress: Progress) -> ImageSet:
        if isinstance(image, str | Path):
            ending = Path(image).suffix.lower()
            if not there(image) and (ending in ENDINGS or "/" in str(image)):
                raise BadInput(f"there is no picture or folder {shown(str(image))}")
            self.name = self.called = str(image)
            with numbers_are_classes():
                own = load_data(self.name, data_dir=data_dir, size=self.size, progress=progress)
            self.stamp = own.fingerprint
            return own
        self.given = own = image if isinstance(image, ImageSet) else _as_set(image)
        self.stamp = own.fingerprint
        return own


def _as_set(image: Any) -> ImageSet:
    """Arrays, tensors and pictures as a set without labels."""
    array = image.detach().cpu().numpy() if isinstance(image, Tensor) else np.asarray(image)
    pillow = hasattr(image, "getbands")
    if pillow and array.ndim == 2:
        array = array[..., None]
    if pillow:
        array = np.moveaxis(array, 2, 0)
    if array.ndim == 3:
        array = array[None]
    if array.ndim != 4:
        raise BadInput(
            f"an image of shape {array.shape} (allowed: channel, row, col; several of them; a "
            "file; a folder; or DATASET:INDEX)"
        )
    labels = torch.full((len(array),), UNLABELLED)
    return ImageSet.from_arrays(array, labels.numpy(), classes=(), name="given")
