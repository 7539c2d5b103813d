"""The form of a live attack, and what is made of it."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import MISSING, fields
from functools import lru_cache
from typing import Any, Final

import numpy as np
from dash import dcc, html

from undertow.errors import BadInput
from undertow.viewer.compute import Known, known_models, load
from undertow.viewer.jobs import LiveAttack
from undertow.viewer.parts import attack_words, field, pick
from undertow.viewer.source import Source
from undertow.viewer.uploads import BYTES, read_upload

__all__ = [
    "UPLOAD",
    "attacks",
    "chosen_input",
    "chosen_settings",
    "controls",
    "declared",
    "setting",
    "work_of",
]

TARGETS: Final = {
    "own": "the attack's own rule",
    "untargeted": "any wrong class",
    "easiest": "the easiest wrong class",
    "second": "the second likeliest",
    "least_likely": "the least likely",
}
UPLOAD: Final = "upload"


def attacks() -> dict[str, str]:
    """Attacks that need nothing beside them, with what they do."""
    from undertow.attacks import ATTACKS

    return {e.name: e.summary for e in ATTACKS.entries() if not e.needs}


def _data_sets() -> list[str]:
    from undertow.data import DATASETS

    return list(DATASETS)


@lru_cache(maxsize=4)
def _images(name: str) -> Any:
    from undertow.data import load_data

    return load_data(name, split="test")


def _whole(text: Any, fallback: int = 0) -> int:
    return int(text) if str(text).isdigit() and len(str(text)) < 9 else fallback


def controls(source: Source, asked: Mapping[str, Any]) -> list[Any]:
    """The whole form; what the address asks for is filled in."""
    models = known_models(source.models_allowed)
    model = (
        asked["model"]
        if asked.get("model") in models
        else next((m for m in source.models if m in models), next(iter(models)))
    )
    sets, there = _data_sets(), attacks()
    data = asked["data"] if asked.get("data") in (*sets, UPLOAD) else models[model].data or sets[0]
    attack = asked["attack"] if asked.get("attack") in there else "igsm"
    target = asked["target"] if asked.get("target") in TARGETS else "own"
    return [
        pick("li-model", [{"label": m, "value": m} for m in models], model, "Model"),
        pick(
            "li-data-set",
            [
                *({"label": s, "value": s} for s in sets),
                {"label": "an image of your own", "value": UPLOAD},
            ],
            data,
            "Input from",
        ),
        *_inputs(asked),
        html.Div(id="li-preview", className="live-source"),
        pick(
            "li-attack",
            [{"label": f"{a}: {words}", "value": a} for a, words in there.items()],
            attack,
            "Attack",
        ),
        pick(
            "li-target", [{"label": w, "value": v} for v, w in TARGETS.items()], target, "Aimed at"
        ),
        html.Div(id="li-settings", className="live-settings"),
        html.Div(
            [
                html.Button("Run the attack", id="li-run", n_clicks=0, className="button primary"),
                html.Button(
                    "Stop", id="li-stop", n_clicks=0, className="button danger", disabled=True
                ),
                html.Span(id="li-words", className="hint", role="status"),
            ],
            className="live-run",
        ),
    ]


def _inputs(asked: Mapping[str, Any]) -> tuple[html.Div, html.Div]:
    """Where the input comes from: a number in a data set, or a file."""
    index = dcc.Input(
        id="li-index", type="number", min=0, step=1, value=_whole(asked.get("index")), debounce=True
    )
    upload = dcc.Upload(
        id="li-upload",
        children="Drop an image here, or choose one",
        max_size=BYTES,
        accept="image/png,image/jpeg,image/webp,image/bmp",
        className="upload",
        className_active="upload active",
    )
    kinds = f"PNG, JPEG, WebP or BMP, at most {BYTES // 2**20} MiB; it stays on this machine."
    return (
        html.Div(field("Number in the test split", index), id="li-index-field"),
        html.Div(field("Upload", upload, kinds), id="li-upload-field"),
    )


# Settings of an attack ----------------------------------------------------------------------------


def declared(attack: str) -> list[Any]:
    """The settings that a form can ask for: numbers with a range, words, flags."""
    from undertow.attacks import ATTACKS

    declared: list[Any] = [f for f in fields(ATTACKS[attack]) if f.default is not MISSING]  # type: ignore[arg-type]
    return [f for f in declared if "range" in f.metadata or _words(f)]


def _words(f: Any) -> tuple[Any, ...]:
    """What a setting may be, where that is one of a few; nothing for numbers."""
    given = f.metadata.get("words", ())
    return tuple(given) or ((True, False) if isinstance(f.default, bool) else ())


def setting(f: Any, asked: Mapping[str, Any]) -> html.Div:
    """The control of one setting."""
    given, words = asked.get(f.name), [str(w) for w in _words(f)]
    id_ = {"type": "li-setting", "name": f.name}
    label = f.name.replace("_", " ")
    if words:
        return pick(id_, words, given if given in words else str(f.default), label)
    low, high, _ = f.metadata["range"]
    whole = bool(f.metadata.get("whole"))
    more = {"step": 1} if whole else {"step": "any"}
    bound = {"max": high} if np.isfinite(high) else {}
    value = _number(given, whole) if given not in (None, "") else f.default
    shown = float(f"{value:.4g}") if isinstance(value, float) else value
    return field(
        label,
        dcc.Input(id=id_, type="number", min=low, value=shown, placeholder="own", **more, **bound),
    )


def _number(value: Any, whole: bool) -> Any:
    try:
        number = float(value)
    except (TypeError, ValueError):
        return None
    return int(number) if whole and np.isfinite(number) and number == int(number) else number


def chosen_settings(attack: str, given: Mapping[str, Any]) -> dict[str, Any]:
    """Settings as the attack's constructor takes them; what is left empty keeps its default.

    Args:
        attack: a name in the registry.
        given: values from the form, by setting.

    Raises:
        BadInput: for a value that is no number, or none of the words.
    """
    found: dict[str, Any] = {}
    for f in declared(attack):
        value, words = given.get(f.name), {str(w): w for w in _words(f)}
        if value in (None, ""):
            continue
        if words:
            if str(value) not in words:
                raise BadInput(f"{attack}: {f.name} is '{value}' (allowed: {', '.join(words)})")
            found[f.name] = words[str(value)]
            continue
        number = _number(value, bool(f.metadata.get("whole")))
        if number is None:
            raise BadInput(f"{attack}: {f.name} is '{value}'; it must be a number")
        default = f.default
        if isinstance(default, float) and f"{number:.4g}" == f"{default:.4g}":
            continue  # as shown, to four digits
        found[f.name] = number
    return found


# Inputs -------------------------------------------------------------------------------------------


def _shape(known: Known) -> tuple[int, int, int]:
    return known.shape or (3, 32, 32)


def chosen_input(
    known: Known, data: Any, index: Any, upload: Any
) -> tuple[np.ndarray, int | None, tuple[str, ...], str]:
    """The image, its class where that is known, the names of the classes, and what to call it.

    Raises:
        BadInput: where there is no such input.
    """
    if data == UPLOAD:
        if not isinstance(upload, str) or not upload:
            raise BadInput("choose an image first")
        return read_upload(upload, _shape(known)), None, known.classes, "uploaded image"
    if data not in _data_sets():
        raise BadInput(f"there is no data set '{data}'")
    images = _images(data)
    if not isinstance(index, int) or not 0 <= index < len(images):
        raise BadInput(f"the number lies between 0 and {len(images) - 1}")
    x, y = images[[index]]
    if known.shape is not None and tuple(x.shape[1:]) != known.shape:
        raise BadInput(
            f"{known.name} takes inputs of {known.shape}, {data} has {tuple(x.shape[1:])}"
        )
    return x[0].numpy(), int(y[0]), images.classes, f"input {index} of {data}"


def work_of(source: Source, known: Known, form: Mapping[str, Any]) -> Callable[[LiveAttack], None]:
    """What a job is to do; everything that can be wrong in the form is found here."""
    attack = form["attack"]
    if attack not in attacks():
        raise BadInput(f"there is no attack '{attack}'")
    settings = chosen_settings(attack, form["settings"])
    from undertow.attacks import make

    make(attack, **settings)
    image, label, classes, words = chosen_input(known, form["data"], form["index"], form["upload"])
    target = form["target"] if form["target"] in TARGETS and form["target"] != "own" else None
    data = known.data or (form["data"] if form["data"] != UPLOAD else None)

    def work(job: LiveAttack) -> None:
        from undertow.viewer.attacking import attack_live

        attack_live(
            job,
            source,
            model=lambda: load(source, known.name),
            model_name=known.name,
            data=data,
            image=image,
            label=label,
            classes=known.classes or classes,
            index=form["index"] if isinstance(form["index"], int) else 0,
            attack=attack,
            settings=settings,
            target=target,
            name=f"{words}, {attack_words(attack)} on {known.name}",
        )

    return work
