"""``answers.json``: what was asked of a run, what it says, and the curves that show it.

A verdict is reached in the studies; this file only holds it, with every number that it rests on.
"""

from __future__ import annotations

import math
import re
from typing import Annotated, Any, Final, Literal, TypeAlias

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, ValidationError, model_validator

from undertow.errors import BadInput, Foreign
from undertow.notebook import table

__all__ = [
    "ANSWERS_VERSION",
    "RULES_VERSION",
    "Answer",
    "Answers",
    "Claim",
    "Contrast",
    "Control",
    "Curve",
    "Effect",
    "Explanation",
    "Kind",
    "Number",
    "Points",
    "Table",
    "Transfer",
    "Verdict",
    "curve_key",
    "split_key",
]  # fmt: skip

ANSWERS_VERSION: Final = 1
RULES_VERSION: Final = 2
"""By which rules claims are judged; 1: those before smallest effects, transplants and halves."""
Verdict: TypeAlias = Literal["supported", "contradicted", "inconclusive"]
Kind: TypeAlias = Literal["fooled", "held", "error", "right", "unlabelled"]
"""What an explanation is of."""


def _none(value: object) -> object:
    return None if isinstance(value, float) and not math.isfinite(value) else value


MaybeFloat: TypeAlias = Annotated[float | None, BeforeValidator(_none)]
"""A number, or ``None`` where there is none; NaN and infinities become ``None``."""
Floats: TypeAlias = tuple[MaybeFloat, ...]


class _Record(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")


class Number(_Record):
    """One number that a verdict rests on."""

    name: str
    value: MaybeFloat
    unit: str = ""
    low: MaybeFloat = Field(None, description="lower end of the 95 % interval")
    high: MaybeFloat = Field(None, description="upper end")
    n: int | None = Field(None, description="inputs")
    d_z: MaybeFloat = Field(None, description="paired effect size")
    p_adjusted: MaybeFloat = Field(None, description="Benjamini–Hochberg over taps")


class Control(_Record):
    """The same comparison with the attack's controls."""

    sentence: str
    numbers: tuple[Number, ...] = ()


class Claim(_Record):
    """One thing that the paper says, and what this run says of it."""

    claim: str
    verdict: Verdict
    sentence: str
    numbers: tuple[Number, ...] = ()
    control: Control | None = None
    reason: str = Field("", description="why it is this verdict, in one clause")
    rule: str = Field("", description="the rule, whose error rates `undertow calibrate` simulates")


class Explanation(_Record):
    """Why a model says of one input what it says, in plain words and in numbers.

    Args:
        input: what the input is called.
        index: its place in the run's data.
        model: who answers.
        attack: what attacked it; ``None``: it is as it came.
        kind: whether it was ``fooled`` by the attack or ``held``, is a natural ``error`` or
            ``right``, or nobody told what it is (``unlabelled``).
        sentences: what the model says; where the flow turns; what the controls do; how rare it is.
        classes: true class (the answer where nobody told it), answer, rival.
        numbers: what the sentences rest on.
        interest: larger where it deserves a look sooner.
    """

    input: str
    index: int
    model: str
    attack: str | None = None
    kind: Kind
    sentences: tuple[str, ...]
    classes: tuple[str, str, str]
    numbers: tuple[Number, ...] = ()
    interest: MaybeFloat = 0.0

    @property
    def sentence(self) -> str:
        """All of it as one line of text."""
        return " ".join(self.sentences)

    def __str__(self) -> str:
        return self.sentence

    def _repr_html_(self) -> str:
        rows = [(n.name, n.value, n.unit) for n in self.numbers]
        return table(self.sentence, ("number", "value", "unit"), rows)


class Answer(_Record):
    """One question with its claims; ``missing`` says what kept it from being answered."""

    id: str
    question: str
    claims: tuple[Claim, ...] = ()
    missing: str | None = None

    def _repr_html_(self) -> str:
        rows = [(c.verdict, c.claim, c.sentence) for c in self.claims]
        said = f"Not answered: {self.missing}" if self.missing else ""
        heads = ("verdict", "claim", "what this run says")
        return table(f"{self.id.upper()} {self.question}", heads, rows, note=said)

    @property
    def verdict(self) -> Verdict | None:
        """What all claims agree on, else inconclusive; ``None`` where there are none."""
        found = {claim.verdict for claim in self.claims}
        if not found:
            return None
        return found.pop() if len(found) == 1 else "inconclusive"


class _Columns(_Record):
    @model_validator(mode="after")
    def _even(self) -> _Columns:
        for group in self._groups():
            lengths = {name: len(getattr(self, name)) for name in group if getattr(self, name)}
            if len(set(lengths.values())) > 1:
                raise ValueError(f"columns of different lengths: {lengths}")
        return self

    def _groups(self) -> tuple[tuple[str, ...], ...]:
        return ()


class Curve(_Columns):
    """An aggregated IP over depth, with the band around it and the per-tap means beneath."""

    depth: Floats
    mean: Floats
    low: Floats
    high: Floats
    tap_depth: Floats = ()
    tap_mean: Floats = ()
    tap_sem: Floats = ()
    n: int | None = None

    def _groups(self) -> tuple[tuple[str, ...], ...]:
        return ("depth", "mean", "low", "high"), ("tap_depth", "tap_mean", "tap_sem")


class Effect(_Columns):
    """The paired effect size against benign inputs, tap by tap."""

    tap: tuple[str, ...]
    depth: Floats
    d_z: Floats
    low: Floats = ()
    high: Floats = ()
    p_adjusted: Floats = ()
    n: int | None = None

    def _groups(self) -> tuple[tuple[str, ...], ...]:
        return (("tap", "depth", "d_z", "low", "high", "p_adjusted"),)


class Points(_Columns):
    """Means at each tap, with their 95 % intervals."""

    mean: Floats
    low: Floats
    high: Floats

    def _groups(self) -> tuple[tuple[str, ...], ...]:
        return (("mean", "low", "high"),)


class Contrast(_Record):
    """One quantity of the inputs that an attack succeeds on: ``benign``, ``attack``, each control.

    Args:
        tap: names of the taps.
        depth: theirs.
        n: inputs.
        level: the quantity itself, by who.
        change: its paired difference from the same inputs left benign, by who.
    """

    tap: tuple[str, ...]
    depth: Floats
    n: int
    level: dict[str, Points]
    change: dict[str, Points]

    @model_validator(mode="after")
    def _fits(self) -> Contrast:
        sizes = {len(p.mean) for by in (self.level, self.change) for p in by.values()}
        if sizes - {len(self.tap)} or len(self.depth) != len(self.tap):
            raise ValueError(f"{len(self.tap)} taps, columns of {sorted(sizes)}")
        return self


class Transfer(_Record):
    """How often inputs made on one model (row) fool another (column), as shares with intervals."""

    attack: str
    source: tuple[str, ...]
    model: tuple[str, ...]
    rate: tuple[Floats, ...]
    low: tuple[Floats, ...] = ()
    high: tuple[Floats, ...] = ()
    n: tuple[tuple[int | None, ...], ...] = ()

    @model_validator(mode="after")
    def _matrix(self) -> Transfer:
        for name in ("rate", "low", "high", "n"):
            rows = getattr(self, name)
            if rows and [len(r) for r in rows] != [len(self.model)] * len(self.source):
                raise ValueError(f"{name} is not {len(self.source)} × {len(self.model)}")
        return self


class Table(_Record):
    """A table of the report."""

    title: str
    columns: tuple[str, ...]
    rows: tuple[tuple[str | int | MaybeFloat, ...], ...]
    caption: str = ""

    @model_validator(mode="after")
    def _even(self) -> Table:
        if any(len(row) != len(self.columns) for row in self.rows):
            raise ValueError(f"a row of '{self.title}' has not {len(self.columns)} cells")
        return self

    def _repr_html_(self) -> str:
        return table(self.title, self.columns, self.rows, note=self.caption)


class Answers(_Record):
    """Everything that a run says.

    ``aggregates[model][key][profile]`` and ``effects[model][key][profile]`` are found by
    :func:`curve_key`; ``profile`` is ``iip``, ``oip`` or ``ioc``. ``contrasts[model][attack]`` has
    ``drift`` as well.
    """

    schema_version: Literal[1] = Field(ANSWERS_VERSION, alias="schema")
    rules: int = 1
    questions: tuple[Answer, ...] = ()
    aggregates: dict[str, dict[str, dict[str, Curve]]] = {}
    effects: dict[str, dict[str, dict[str, Effect]]] = {}
    contrasts: dict[str, dict[str, dict[str, Contrast]]] = {}
    transfers: tuple[Transfer, ...] = ()
    tables: tuple[Table, ...] = ()
    explanations: tuple[Explanation, ...] = ()
    headline: str = ""
    caveats: tuple[str, ...] = ()

    model_config = ConfigDict(frozen=True, extra="forbid", populate_by_name=True)

    def __repr__(self) -> str:
        asked = ", ".join(f"{q.id}: {q.verdict or 'not answered'}" for q in self.questions)
        return f"Answers({asked})"

    def _repr_html_(self) -> str:
        """Every claim with its verdict and its sentence."""
        rows: list[tuple[str, ...]] = [
            (question.id.upper(), question.question, claim.verdict, claim.sentence)
            for question in self.questions
            for claim in question.claims
        ]
        rows += [
            (q.id.upper(), q.question, "not answered", q.missing)
            for q in self.questions
            if q.missing
        ]
        heads = ("", "question", "verdict", "what this run says")
        rows.sort(key=lambda row: row[0])
        return table("Answers", heads, rows)

    @property
    def outdated(self) -> str:
        """What to know of answers by older rules; empty where they are by today's."""
        if self.rules >= RULES_VERSION or not self.questions:
            return ""
        return (
            "These answers were made by older rules, which took what is not significant for "
            "contradicted and noise for the only control. undertow runs answer RUN answers anew, "
            "where the run holds what is needed"
        )

    def dump(self) -> str:
        """The text of ``answers.json``; loading it gives an equal object."""
        return self.model_dump_json(indent=1, by_alias=True) + "\n"

    @classmethod
    def load(cls, text: str | bytes) -> Answers:
        """Read ``answers.json``.

        Raises:
            Foreign: it is damaged, or written by a newer undertow.
        """
        try:
            return cls.model_validate_json(text)
        except ValidationError as error:
            first = error.errors()[0]
            where = ".".join(str(part) for part in first["loc"])
            if where == "schema":
                raise Foreign(
                    f"answers.json has schema {first['input']}; this undertow reads "
                    f"{ANSWERS_VERSION}: upgrade it"
                ) from error
            raise Foreign(
                f"answers.json cannot be read: {where or 'file'}: {first['msg']}"
            ) from error

    @classmethod
    def of(cls, **entries: Any) -> Answers:
        """Build one from plain lists and dictionaries.

        Raises:
            BadInput: something is missing, unknown or of the wrong kind.
        """
        try:
            return cls.model_validate(entries)
        except ValidationError as error:
            first = error.errors()[0]
            where = ".".join(str(part) for part in first["loc"])
            raise BadInput(f"answers: {where}: {first['msg']}") from error


_KEY = re.compile(r"(?P<attack>[^@\[\]]+)(@(?P<source>[^\[\]]+))?(\[(?P<subset>[^\[\]]+)\])?")


def curve_key(attack: str, source: str | None = None, subset: str | None = None) -> str:
    """The key of a curve: ``jsma``, ``jsma@deep_conv``, ``jsma@deep_conv[transferable]``.

    Args:
        attack: the cell's attack (``"benign"``, ``"noise:igsm"``, …).
        source: the model aimed at, where it is another than the one that infers.
        subset: which of the cell's inputs, where not all: ``successful``, ``failed``,
            ``transferable``, ``non-transferable``.
    """
    return attack + (f"@{source}" if source else "") + (f"[{subset}]" if subset else "")


def split_key(key: str) -> tuple[str, str | None, str | None]:
    """Attack, source and subset of a curve's key."""
    found = _KEY.fullmatch(key)
    return (found["attack"], found["source"], found["subset"]) if found else (key, None, None)
