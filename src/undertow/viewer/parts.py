"""Small pieces that the views are built of."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, TypeVar, cast
from urllib.parse import parse_qs

from dash import Dash, dcc, html

from undertow.figures.wording import attack_name, curve_name
from undertow.report.terms import SIGNS, VERDICTS
from undertow.store import Cell, curve_key

__all__ = [
    "Query",
    "attack_words",
    "badge",
    "cell_name",
    "chips",
    "empty",
    "field",
    "figure",
    "on",
    "pick",
    "query",
    "segments",
]

F = TypeVar("F", bound=Callable[..., Any])


def on(app: Dash, *dependencies: Any, **more: Any) -> Callable[[F], F]:
    """Dash's ``app.callback``, which leaves the type of what it decorates alone."""
    return cast(Callable[[F], F], app.callback(*dependencies, **more))


class Query:
    """What the address asks for; unknown values are as good as none."""

    def __init__(self, search: str | None) -> None:
        try:
            self._found = parse_qs((search or "").lstrip("?")[:8000], max_num_fields=60)
        except ValueError:
            self._found = {}

    def one(self, name: str, allowed: Sequence[Any] | None = None, default: Any = None) -> Any:
        """The value of a name, if it is allowed."""
        value = next(iter(self._found.get(name, [])), None)
        if allowed is None:
            return default if value is None else value
        return next((a for a in allowed if str(a) == value), default)

    def many(self, name: str, allowed: Sequence[Any]) -> list[Any] | None:
        """All allowed values of a name; ``None`` where it is not given."""
        if name not in self._found:
            return None
        return [a for a in allowed if str(a) in self._found[name]]

    def start(self, prefix: str) -> dict[str, str]:
        """Names that begin so, without it."""
        return {k[len(prefix) :]: v[0] for k, v in self._found.items() if k.startswith(prefix)}


def query(search: str | None) -> Query:
    """The query of an address."""
    return Query(search)


def cell_name(cell: Cell) -> str:
    """A cell in words: ``JSMA aimed at deep_conv · good_init``."""
    return f"{curve_name(curve_key(cell.attack, cell.source))} · {cell.model}"


def attack_words(attack: str) -> str:
    """An attack in words."""
    return attack_name(attack)


def figure(name: str, data: dict[str, Any] | None = None, **more: Any) -> html.Div:
    """A place for a figure, and the store that the browser draws it from."""
    return html.Div(
        [
            html.Div(id={"type": "figure", "name": name}, className="figure", **more),
            dcc.Store(id={"type": "figure-data", "name": name}, data=data),
        ],
        className="figure-frame",
    )


def field(label: str, control: Any, hint: str | None = None, wide: bool = False) -> html.Div:
    """A control under its name."""
    body: list[Any] = [html.Span(label, className="field-label"), control]
    if hint:
        body.append(html.Span(hint, className="hint"))
    return html.Div(
        body, className="field wide" if wide else "field", role="group", **{"aria-label": label}
    )


def pick(id_: Any, options: Sequence[Any], value: Any, label: str, **more: Any) -> html.Div:
    """A choice from a list."""
    found = dcc.Dropdown(
        id=id_,
        options=list(options),
        value=value,
        clearable=False,
        searchable=len(options) > 12,
        **more,
    )
    return field(label, found)


def segments(id_: Any, options: Sequence[Any], value: Any, label: str) -> html.Div:
    """A choice of a few, side by side."""
    return field(
        label, dcc.RadioItems(id=id_, options=list(options), value=value, className="segments")
    )


def chips(id_: Any, options: Sequence[Any], value: Sequence[Any], label: str) -> html.Div:
    """Several of a few."""
    return field(
        label,
        dcc.Checklist(id=id_, options=list(options), value=list(value), className="chips"),
        wide=True,
    )


def badge(verdict: str | None, count: int = 1) -> html.Span:
    """A verdict as the report shows it: sign, word and colour; its meaning when pointed at.

    Args:
        verdict: ``None`` where a question was not answered.
        count: of how many claims.
    """
    sign = SIGNS.get(verdict or "", "–")
    word = verdict or "not answered"
    told = f" {count} {word}" if count > 1 else f" {word}"
    return html.Span(
        [html.Span(sign, **{"aria-hidden": "true"}), told],
        className=f"badge {verdict or 'unanswered'}",
        title=VERDICTS.get(verdict or "", ""),
    )


def empty(title: str, words: str) -> html.Div:
    """What a view says where it has nothing to show."""
    return html.Div([html.H2(title), html.P(words)], className="empty card")
