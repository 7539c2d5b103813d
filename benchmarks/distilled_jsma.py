"""Does distillation hinder the regular JSMA, and not the adaptive one? Success rates, as JSON.

    python -m benchmarks.distilled_jsma --inputs 100 [--write]

The regular attack reads the softmax that the model puts out, served at temperature 1; the adaptive
one (Carlini and Wagner 2016, 1607.04311) divides the softmax inputs by the temperature first. Both
take the wrong class that is reached first. ``--write`` adds the table to the model's card.
"""

from __future__ import annotations

import argparse
import dataclasses
import json
import sys
from typing import Any

import torch
from torch import nn

from undertow.attacks.driver.craft import craft
from undertow.attacks.jsma import JSMA
from undertow.data import load_data
from undertow.models import load_model, read_card
from undertow.models.cards import WEIGHTS, write_card
from undertow.models.evaluation import logits_of
from undertow.progress import SILENT, Progress, terminal


def measure(inputs: int, progress: Progress = SILENT) -> dict[str, Any]:
    """Success of each form of the attack on the model and on its distilled form."""
    models = {name: load_model(name) for name in ("good_init", "good_init/distilled")}
    T = float(read_card("good_init/distilled").details["temperature"])
    x, y, index = _correct(list(models.values()), inputs)
    attacks = {
        "regular (softmax)": JSMA(outputs="softmax"),
        "regular (logits)": JSMA(outputs="logits"),
        "adaptive": JSMA(adaptive=True, temperature=T),
    }
    rows = []
    for name, model in models.items():
        for form, attack in attacks.items():
            if form == "adaptive" and name == "good_init":
                continue
            done = craft(attack, model, x, y, progress=progress)
            won = done.success
            rows.append(
                {
                    "model": name,
                    "jsma": form,
                    "success": round(float(won.float().mean()), 4),
                    "stalled": round(float(done.stalled.float().mean()), 4),
                    "mean l0": round(float(done.l0[won].float().mean()), 1) if won.any() else None,
                }
            )
    return {
        "inputs": len(y),
        "index": index,
        "theta": attacks["adaptive"].theta,
        "gamma": attacks["adaptive"].gamma,
        "temperature": T,
        "rows": rows,
    }


def _correct(models: list[nn.Module], count: int) -> tuple[torch.Tensor, torch.Tensor, list[int]]:
    """The first test images that every model classifies correctly."""
    data = load_data("cifar10", "test").subset(slice(0, 2 * count + 20))
    right = torch.stack([logits_of(m, data).argmax(1) == data.labels for m in models]).all(0)
    index = right.nonzero().flatten()[:count]
    x, y = data[index]
    return x, y, index.tolist()


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--inputs", type=int, default=100)
    parser.add_argument("--write", action="store_true")
    options = parser.parse_args()
    found = measure(options.inputs, terminal(sys.stderr))
    print(json.dumps(found, indent=1))
    if options.write:
        card = read_card("good_init/distilled")
        shown = {k: v for k, v in found.items() if k != "index"}
        write_card(dataclasses.replace(card, details={**card.details, "jsma": shown}), WEIGHTS)


if __name__ == "__main__":
    main()
