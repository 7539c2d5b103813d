"""``answers.json``: what was asked of a run, what it says, and the curves that show it.

A verdict is reached in the studies; this file only holds it, with every number that it rests on.
"""

from __future__ import annotations

from typing import Any, Final, Literal, TypeAlias

from pydantic import ConfigDict, Field, ValidationError

from undertow.errors import BadInput, Foreign
from undertow.notebook import table
from undertow.store.shown import (
    Contrast,
    Curve,
    Effect,
    Frozen,
    MaybeFloat,
    Restoration,
    Table,
    Transfer,
)

__all__ = [
    "ANSWERS_VERSION",
    "RULES_VERSION",
    "Answer",
    "Answers",
    "Claim",
    "Control",
    "Explanation",
    "Kind",
    "Number",
    "Verdict",
]  # fmt: skip

ANSWERS_VERSION: Final = 1
RULES_VERSION: Final = 2
"""By which rules claims are judged; 1: those before smallest effects, transplants and halves."""
Verdict: TypeAlias = Literal["supported", "contradicted", "inconclusive"]
Kind: TypeAlias = Literal["fooled", "held", "error", "right", "unlabelled"]
"""What an explanation is of."""


class Number(Frozen):
    """One number that a verdict rests on."""

    name: str
    value: MaybeFloat
    unit: str = ""
    low: MaybeFloat = Field(None, description="lower end of the 95 % interval")
    high: MaybeFloat = Field(None, description="upper end")
    n: int | None = Field(None, description="inputs")
    d_z: MaybeFloat = Field(None, description="paired effect size")
    p_adjusted: MaybeFloat = Field(None, description="Benjamini–Hochberg over taps")


class Control(Frozen):
    """The same comparison with the attack's controls."""

    sentence: str
    numbers: tuple[Number, ...] = ()


class Claim(Frozen):
    """One thing that the paper says, and what this run says of it."""

    claim: str
    verdict: Verdict
    sentence: str
    numbers: tuple[Number, ...] = ()
    control: Control | None = None
    reason: str = Field("", description="why it is this verdict, in one clause")
    rule: str = Field("", description="the rule, whose error rates `undertow calibrate` simulates")


class Explanation(Frozen):
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


class Answer(Frozen):
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


class Answers(Frozen):
    """Everything that a run says.

    ``aggregates[model][key][profile]`` and ``effects[model][key][profile]`` are found by
    :func:`curve_key`; ``profile`` is ``iip``, ``oip`` or ``ioc``. ``contrasts[model][attack]`` has
    ``drift`` as well, ``restorations[model][attack]`` what maps carry.
    """

    schema_version: Literal[1] = Field(ANSWERS_VERSION, alias="schema")
    rules: int = 1
    questions: tuple[Answer, ...] = ()
    aggregates: dict[str, dict[str, dict[str, Curve]]] = Field(default_factory=dict)
    effects: dict[str, dict[str, dict[str, Effect]]] = Field(default_factory=dict)
    contrasts: dict[str, dict[str, dict[str, Contrast]]] = Field(default_factory=dict)
    restorations: dict[str, dict[str, Restoration]] = Field(default_factory=dict)
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
