"""The documentation's page of models, written from their cards."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from undertow.errors import Unavailable
from undertow.models.cards import WEIGHTS, Card, read_card
from undertow.models.registry import MODELS

__all__ = ["page"]

_HEAD = """# Models

This page is written from the model cards; `undertow models check NAME` measures a model again on
the full test set. Accuracy is on the full test set, with the weights as they are shipped. Training
used nine tenths of the training images, every choice was made on the held-out rest, and the test
set was used once.
"""


def page(folder: Path = WEIGHTS) -> str:
    """The page, in Markdown.

    Args:
        folder: where the cards lie; a model without a card is left out.
    """
    cards = []
    for name in MODELS:
        try:
            cards.append(read_card(name, folder))
        except Unavailable:
            continue
    parts = [_HEAD, _overview(cards), *(_section(c) for c in cards)]
    return "\n".join(parts)


def _table(head: Sequence[str], rows: Sequence[Sequence[object]]) -> str:
    lines = [head, ["---"] * len(head), *rows]
    return "\n".join("| " + " | ".join(str(c) for c in line) + " |" for line in lines) + "\n"


def _overview(cards: Sequence[Card]) -> str:
    return _table(
        (
            "name", "what", "data", "accuracy", "held out", "robust", "parameters",
            "multiply-adds", "bytes",
        ),
        [
            (
                f"`{c.name}`", c.summary, c.data, f"{c.accuracy:.2%}", f"{c.held_out_accuracy:.2%}",
                f"{c.robust['accuracy']:.1%}",
                f"{c.parameters:,}", f"{c.multiply_adds / 1e6:.1f} M", f"{c.bytes:,}",
            )
            for c in cards
        ],
    )  # fmt: skip


def _section(card: Card) -> str:
    made = card.made_on
    recipe = ", ".join(f"{k} {v}" for k, v in card.recipe.items())
    lines = [
        f"\n## `{card.name}`\n",
        f"{card.summary[0].upper()}{card.summary[1:]}. Made with `undertow models "
        f"{card.method} {card.name}`, seed {card.seed}, in {made['seconds'] / 60:.0f} minutes on "
        f"{made['processor']} ({made['threads']} thread(s), {made['precision']}, torch "
        f"{made['torch']}).\n",
        f"Recipe: {recipe}.\n",
        f"Expected calibration error {card.ece:.3f} (15 bins). Weights SHA-256 `{card.sha256}`; "
        f"network fingerprint `{card.fingerprint}`.\n",
        *_trimming(card),
        *_distillation(card),
        *_hardening(card),
        *_shielding(card),
        "Confusion matrix (rows: true class; columns: answer):\n",
        _table(
            ["", *card.classes],
            [(f"**{c}**", *row) for c, row in zip(card.classes, card.confusion, strict=True)],
        ),
    ]
    return "\n".join(lines)


def _trimming(card: Card) -> list[str]:
    if card.method != "trim":
        return []
    details = card.details
    share = (
        card.parameters / details["parameters_before"],
        card.multiply_adds / details["multiply_adds_before"],
    )
    head = ["layer", "maps before", "maps", "APoZ before", "APoZ"]
    keys = ("layer", "maps_before", "maps", "apoz_before", "apoz")
    return [
        f"Network Trimming of `{details['parent']}` in {len(details['rounds'])} rounds: "
        f"{share[0]:.1%} of the parameters and {share[1]:.1%} of the multiply-adds remain.\n",
        _table(head, [[layer[k] for k in keys] for layer in details["layers"]]),
    ]


def _hardening(card: Card) -> list[str]:
    if card.method != "harden":
        return []
    how = card.details["hardening"]
    log = card.details["log"]
    again = sum(bool(line.get("taken_back")) for line in log)
    return [
        f"Adversarial training in the L∞ ball of {how['epsilon'] * 255:g}/255, "
        f"{log[0]['steps']} gradient step(s) a batch; epochs taken back because robust accuracy "
        f"collapsed: {again}. Robust accuracy of {how['watched']} held-out images "
        f"({how['watch_steps']} steps, before averaging) by epoch: "
        + ", ".join(f"{line['robust']:.2f}" for line in log)
        + ".\n"
    ]


def _shielding(card: Card) -> list[str]:
    if card.method != "shield":
        return []
    details, log = card.details, card.details["log"]
    how = details["shielding"]
    learnt = (
        f"An autoencoder of {card.parameters - read_card(details['parent']).parameters:,} numbers "
        f"learnt the images in {how['epochs']} epochs (mean squared error {log[0]['loss']:.5f} "
        f"after the first, {log[-1]['loss']:.5f} after the last). "
        if log
        else ""
    )
    return [
        f"Stands before `{details['parent']}`, which stays as it is. {learnt}Each detector may "
        f"reject {how['false_alarms']:.1%} of the held-out images; all together reject "
        f"{details['held_out_rejected']:.1%} of them and "
        f"{details['test_rejected']:.1%} of the test images. Accuracy counts those as wrong; "
        "robust accuracy is that of images that are right as they are and, under an attack that "
        "knows of the defence, never make it give a wrong answer that it does not reject.\n"
    ]


def _distillation(card: Card) -> list[str]:
    if card.method != "distill":
        return []
    details = card.details
    parts = [
        f"Defensive distillation at temperature {details['temperature']:g}, served at 1. The "
        "softmax has no gradient left in float32 for this share of held-out inputs, by "
        "temperature: "
        + ", ".join(f"{t}: {share:.1%}" for t, share in details["vanished_share"].items())
        + f". Teacher: {details['teacher_held_out_accuracy']:.2%} on held-out images.\n"
    ]
    if "jsma" in details:
        rows = details["jsma"]["rows"]
        parts += [
            f"JSMA on {details['jsma']['inputs']} test images that both classify correctly:\n",
            _table(list(rows[0]), [list(row.values()) for row in rows]),
        ]
    return parts
