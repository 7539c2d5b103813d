"""The questions that a study answers from its stored results alone.

A question of your own is one file and one line: ``QUESTIONS.add("mine", "my_package:MINE", "…")``,
or ``path/to/mine.py:MINE`` in a study.
"""

from __future__ import annotations

from typing import Protocol

import numpy as np

from undertow import store
from undertow.registry import Registry
from undertow.studies.answered.results import Results
from undertow.studies.asked.spec import StudySpec

__all__ = ["QUESTIONS", "Question"]


class Question(Protocol):
    """A question: its words, the cells it needs, and how it is answered."""

    id: str
    words: str

    def cells(self, spec: StudySpec) -> tuple[store.Cell, ...]:
        """The cells that must be finished before it can be answered.

        Raises:
            BadInput: if a study like this cannot answer it; says what it needs.
        """
        ...

    def claims(self, results: Results, rng: np.random.Generator) -> tuple[store.Claim, ...]:
        """What the paper claims, each with numbers, control and verdict."""
        ...


QUESTIONS: Registry[Question] = Registry("question", members=("id", "words", "cells", "claims"))
QUESTIONS.add(
    "q1",
    "undertow.studies.answered.questions.q1:Q1",
    "How does an attack shift the flow, step by step?",
)
QUESTIONS.add(
    "q2", "undertow.studies.answered.questions.q2:Q2", "How do attacks differ in their flows?"
)
QUESTIONS.add(
    "q3",
    "undertow.studies.answered.questions.q3:Q3",
    "How does an adaptive attack get around a defence?",
)
QUESTIONS.add(
    "q4",
    "undertow.studies.answered.questions.q4:Q4",
    "Is a model more vulnerable than its compression?",
)
QUESTIONS.add(
    "q5",
    "undertow.studies.answered.questions.q5:Q5",
    "How do transferable inputs differ from others?",
)
QUESTIONS.add(
    "q7",
    "undertow.studies.answered.questions.q7:Q7",
    "Does adversarial training move where the flow turns?",
)
QUESTIONS.add("q6", "undertow.studies.answered.questions.q6:Q6", "Do few maps carry the attack?")
