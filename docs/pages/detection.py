"""The page on detection, from what ``python -m benchmarks.detection --keep`` kept."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

KEPT = Path(__file__).resolve().parents[1] / "results" / "detection.json"
TEXT = """# Does information flow help to detect adversarial inputs?

{answer} So Undertow explains an attack that is known to be one; it sells no detector.

Made by `python -m benchmarks.detection --keep` on {processor}, torch {torch}, in {minutes}
minutes: {inputs} test images of CIFAR-10 that `{model}` classifies correctly, each benign, with
noise of L2 {noise:g} and under {count} attacks. Detectors are fitted on benign and successful
adversarial inputs of *one* attack among the first half of the images, the best of three logistic
regressions and boosted trees by cross-validation there, and told of the other half. What counts
is the attack that a detector was *not* fitted on: who defends does not choose the attack.

{attacks}

## Detectors

{table}

- *Unseen*: the mean AUROC over all pairs of an attack fitted on and another one tried on, with
  its 95 % interval over images. *Seen*: fitted on and tried on the same attack.
- *Beyond the baselines*: the difference from the detector that is told the maximum softmax,
  Mahalanobis distances, LID and the score of feature squeezing; images drawn anew are the same
  ones for both.
- *Detected*: the share of successful inputs of unseen attacks beyond the score that 5 % of benign
  images exceed; *noise alarms*: the share of merely noisy images beyond it, which fool hardly
  anything.

What they are told: maximum softmax (Hendrycks and Gimpel 2017, 1610.02136); Mahalanobis distances
of every layer's mean activations from the nearest class, covariance tied, without the authors'
disturbed inputs (Lee et al. 2018, 1807.03888); LID of every layer, 20 neighbours among 500
training images (Ma et al. 2018, 1801.02613) and its parts one by one (MultiLID, Lorenz et al.
2022, 2212.06776); feature squeezing (Xu et al. 2018, 1704.01155); IIP, OIP and IOC of every
layer, net of the null; class information about the answer and the runner-up at every layer; drift
from the answer to the runner-up at every layer. Nobody knows the true class, so nothing here uses
it. None of these attacks knows of a detector either: one that does gets around feature squeezing
([results](defences.md)).

## From one attack to another

AUROC of the baselines together (rows: fitted on; columns: tried on):

{baselines}

The same of drift alone:

{drift}

The same of IPs alone:

{ips}

"""


def page() -> str:
    """The page, in Markdown."""
    kept = json.loads(KEPT.read_text())
    rows = {row["detector"]: row for row in kept["rows"]}
    names = list(kept["attacks"])
    return TEXT.format(
        answer=_answer(rows),
        processor=kept["processor"],
        torch=kept["torch"],
        minutes=max(1, round(kept["seconds"] / 60)),
        inputs=f"{kept['inputs']:,}",
        model=kept["model"],
        noise=kept["noise_l2"],
        count=len(names),
        attacks=_table(
            ["attack", "settings", "fooled"],
            [
                [n, ", ".join(f"{k} {_plain(v)}" for k, v in kept["attacks"][n].items()) or "–",
                 f"{100 * kept['fooled'][n]:.0f} %"]
                for n in names
            ],
        ),
        table=_table(
            ["told of", "unseen", "95 % interval", "beyond the baselines", "95 % interval", "seen",
             "detected", "noise alarms"],
            [
                [row["detector"], f"{row['auroc']:.3f}", _interval(row["interval"]),
                 "–" if row["detector"] == "baselines" else f"{row['gain']:+.3f}",
                 "–" if row["detector"] == "baselines" else _interval(row["gain interval"]),
                 f"{row['seen']:.3f}", f"{100 * row['detected']:.0f} %",
                 f"{100 * row['noise alarms']:.0f} %"]
                for row in kept["rows"]
            ],
        ),
        baselines=_matrix(rows["baselines"], names),
        drift=_matrix(rows["drift"], names),
        ips=_matrix(rows["IPs"], names),
    )  # fmt: skip


def _answer(rows: dict[str, Any]) -> str:
    """What the numbers say, in two sentences."""
    added = {k: rows[f"baselines, {k}"] for k in ("IPs", "class information", "drift")}
    helps = [k for k, row in added.items() if row["gain interval"][0] > 0]
    said = "; ".join(
        f"{k} {row['gain']:+.3f} [{row['gain interval'][0]:.3f}, {row['gain interval'][1]:.3f}]"
        for k, row in added.items()
    )
    alone = ", ".join(f"{k} {rows[k]['auroc']:.2f}" for k in added)
    first = (
        f"**Hardly: only {' and '.join(helps)} add anything to what simple baselines see.**"
        if helps
        else "**No: not beyond what simple baselines see.**"
    )
    return (
        f"{first} On attacks that a detector was not fitted on, the baselines together reach an "
        f"AUROC of {rows['baselines']['auroc']:.2f}; alone, {alone}. Told as well, they change the "
        f"baselines' by: {said}."
    )


def _plain(value: Any) -> str:
    return f"{value * 255:.0f}/255" if isinstance(value, float) and value < 0.04 else str(value)


def _interval(ends: list[float]) -> str:
    return f"{ends[0]:.3f} to {ends[1]:.3f}"


def _matrix(row: dict[str, Any], names: list[str]) -> str:
    return _table(
        ["", *names],
        [[f"**{a}**", *(f"{row['matrix'][f'{a} {b}']:.2f}" for b in names)] for a in names],
    )


def _table(head: list[str], rows: list[list[str]]) -> str:
    lines = [head, ["---"] * len(head), *rows]
    return "\n".join("| " + " | ".join(line) + " |" for line in lines)
