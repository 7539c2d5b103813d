"""How each attack changes each profile, paired, with its controls behind it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from undertow.axes import PROFILES, UNITS
from undertow.figures.contrasts import INTERVAL, attack_series, band_told, of_run
from undertow.figures.data import Axis, FigureData, Panel
from undertow.figures.from_run import of_model
from undertow.figures.palette import markers, paints
from undertow.figures.wording import DEPTH, ZERO, attack_name, count
from undertow.store import Contrast, Run

__all__ = ["FIGURE", "build"]


def build(
    contrasts: Mapping[str, Mapping[str, Contrast]],
    *,
    model: str,
    profiles: Sequence[str] = PROFILES,
) -> FigureData:
    """A row an attack, a column a profile; 0 is benign.

    Args:
        contrasts: ``contrasts[profile][attack]``.
        model: the model that infers.
        profiles: which, in which order.
    """
    attacks = list(dict.fromkeys(a for by in contrasts.values() for a in by))
    color, marker = paints(attacks), markers(attacks)
    panels, n = [], []
    for row, attack in enumerate(attacks):
        for column, profile in enumerate(profiles):
            found = contrasts.get(profile, {}).get(attack)
            if found is None:
                continue
            n.append(found.n)
            panels.append(
                Panel(
                    title=f"{attack_name(attack)}: {profile.upper()} (n = {found.n})",
                    x=DEPTH,
                    y=Axis(label=f"change of {profile.upper()}", unit=UNITS[profile]),
                    marks=(ZERO,),
                    row=row,
                    column=column,
                    height=0.85,
                    series=attack_series(
                        found, found.change, label=attack_name(attack), color=color[attack],
                        marker=marker[attack],
                    ),
                )
            )  # fmt: skip
    every = {f"{p}/{a}": c for p, by in contrasts.items() for a, c in by.items()}
    return FigureData(
        name="change",
        title=f"The attack, or any such change? Profiles in {model}, less benign",
        caption=(
            "Paired difference of each profile, net of the null, from the same inputs left benign; "
            f"{count(max(n))} in the largest panel, each says its own; bars: {INTERVAL}."
            f"{band_told(every)} A change that lies inside the band is not the attack's."
        ),
        n=max(n),
        interval=INTERVAL,
        panels=tuple(panels),
    )


def _draw(run: Run, model: str, *, attacks: Sequence[str] | None = None) -> FigureData | None:
    """Of ``attacks``; of all on this model, if not said."""
    found = {p: of_run(run, model, p) for p in PROFILES}
    if attacks is not None:
        found = {p: {a: c for a, c in by.items() if a in attacks} for p, by in found.items()}
    return build(found, model=model) if any(found.values()) else None


def _models(run: Run) -> list[str]:
    return [m for m in run.models if of_run(run, m, PROFILES[0])]


FIGURE = of_model("change", build, _draw, _models, "changes of profiles")
