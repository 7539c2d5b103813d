"""The questions of a run with their verdicts and the numbers beneath them."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Final

from dash import html

from undertow.prose import prose
from undertow.store import Answer, Claim, Number
from undertow.viewer.parts import badge
from undertow.viewer.source import Source

__all__ = ["questions", "said"]


MOST: Final = 40
"""Explained inputs that are listed."""


def _value(number: Number) -> str:
    if number.value is None:
        return "–"
    reach = (
        ""
        if number.low is None or number.high is None
        else f" [{number.low:.3g}, {number.high:.3g}]"
    )
    return prose(f"{number.value:.3g}{reach}{' ' + number.unit if number.unit else ''}")


def _typeset(sentence: str) -> list[Any]:
    """A sentence as it is printed: see :func:`undertow.prose.prose`; d_z with its index."""
    first, *rest = prose(sentence).split("d_z")
    found: list[Any] = [first]
    for words in rest:
        found += [html.I("d"), html.Sub("z"), words]
    return found


def _numbers(numbers: Sequence[Number]) -> html.Div:
    def row(n: Number) -> html.Tr:
        d_z = "–" if n.d_z is None else prose(f"{n.d_z:.2f}")
        p = "–" if n.p_adjusted is None else f"{n.p_adjusted:.2g}"
        cells = (_value(n), "–" if n.n is None else str(n.n), d_z, p)
        return html.Tr([html.Th(prose(n.name), scope="row"), *(html.Td(c) for c in cells)])

    head = html.Tr(
        [html.Th(h, scope="col") for h in ("", "value [95 %]", "n", "d_z", "adjusted p")]
    )
    return html.Div(
        html.Table([html.Thead(head), html.Tbody([row(n) for n in numbers])]), className="scroll"
    )


def _claim(claim: Claim) -> html.Div:
    body: list[Any] = [
        html.Div(
            [
                badge(claim.verdict),
                html.Span(prose(claim.claim), className="claim"),
            ],
            className="claim-head",
        ),
        html.P(_typeset(claim.sentence)),
        *(
            [
                html.P(
                    _typeset(f"{claim.verdict.capitalize()}: {claim.reason}."), className="control"
                )
            ]
            if claim.reason
            else []
        ),
    ]
    if claim.control is not None:
        body.append(
            html.P([html.B("Controls. "), *_typeset(claim.control.sentence)], className="control")
        )
    numbers = [*claim.numbers, *(claim.control.numbers if claim.control else ())]
    if numbers:
        body.append(html.Details([html.Summary("Numbers"), _numbers(numbers)]))
    return html.Div(body, className="claim-body")


def _counted(question: Answer) -> list[tuple[Any, int]]:
    """How many claims have each verdict, as the report has it; ``None`` where there are none."""
    found = [claim.verdict for claim in question.claims]
    order: tuple[Any, ...] = ("supported", "contradicted", "inconclusive")
    return [(v, found.count(v)) for v in order if v in found] or [(None, 1)]


def said(source: Source) -> list[Any]:
    """What the run says first: its headline, and its explained inputs in plain words."""
    answers = source.answers
    if answers is None or not (answers.headline or answers.explanations):
        return []
    told = sorted(answers.explanations, key=lambda e: -(e.interest or 0.0))[:MOST]
    items = [
        html.Li([html.B(f"{e.input}: "), *_typeset(e.sentence)], className="explained")
        for e in told
    ]
    more = len(answers.explanations) - len(told)
    rest = [html.P(f"… and {more} more in the report.", className="quiet")] if more else []
    headline = (
        [html.P(_typeset(answers.headline), className="headline")] if answers.headline else []
    )
    opened = not answers.questions
    inputs = (
        [html.Details([html.Summary(_inputs(len(answers.explanations))),
                       html.Ul(items), *rest], open=opened, className="card explained-inputs")]
        if items else []
    )  # fmt: skip
    return [html.Section([*headline, *inputs], id="said")]


def _inputs(n: int) -> str:
    return "One input in plain words" if n == 1 else f"{n} inputs in plain words"


def _question(question: Answer) -> html.Article:
    head = html.Header(
        [
            html.Span(question.id.upper(), className="question-id"),
            html.H3(question.question),
            html.Span([badge(v, n) for v, n in _counted(question)], className="badges"),
        ]
    )
    body: list[Any] = [_claim(c) for c in question.claims]
    if question.missing:
        body.append(html.P(prose(f"Not answered: {question.missing}"), className="control"))
    return html.Article([head, *body], className="question card")


def questions(source: Source) -> html.Section:
    """Every question that the run answers, or why it does not."""
    answers = source.answers
    if answers is None or not answers.questions:
        words = (
            "No question has been answered yet."
            if answers is None
            else "This run asked no questions."
        )
        body: Any = html.P(words, className="quiet")
    else:
        old = [html.P(f"{answers.outdated}.", className="quiet")] if answers.outdated else []
        articles = [_question(q) for q in answers.questions]
        body = html.Div([*old, *articles], className="questions")
    return html.Section([html.H2("What the run says"), body], id="questions")
