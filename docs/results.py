"""Keep the answers of a run for the page of results.

Usage: python docs/results.py RUN

Copies what the page needs into ``docs/results/`` (answers and machine as JSON, figures as PNG);
``docs/build.py`` makes ``docs/results.md`` of it, so every number there is one that a run printed.
"""

from __future__ import annotations

import json
import sys
from collections.abc import Iterator
from datetime import datetime
from math import inf
from pathlib import Path
from typing import TYPE_CHECKING, Any

from undertow.prose import prose

if TYPE_CHECKING:
    from undertow.store import Run

HERE = Path(__file__).resolve().parent / "results"
ANSWERS = HERE / "answers.json"
FIGURES = {
    "drift": 5, "leaning": 1, "turning": 1, "trajectory": 1, "aggregate": 3, "change": 1,
    "solid_dashed": 2, "takeover": 1, "transfer": 2,
}  # fmt: skip
"""Which figures the page shows, and how many of each at most."""


def _sessions(run: Run) -> list[dict[str, Any]]:
    """How long each start of a run took, and its processes; a killed one, to its last word."""
    sessions = run.manifest["sessions"]
    told = [record.at for record in run.records.values()]
    starts = [datetime.fromisoformat(s["started"]).timestamp() for s in sessions]
    found = []
    for session, start, end in zip(sessions, starts, [*starts[1:], inf], strict=True):
        last = max((at for at in told if start <= at < end), default=start)
        seconds = session.get("seconds", last - start)
        found.append({"seconds": round(seconds), "workers": session.get("workers")})
    return found


def keep(run_path: Path) -> None:
    """Copy a finished run's answers and figures."""
    from undertow.figures import FIGURES as KNOWN
    from undertow.figures.print_ink import render
    from undertow.store import open_run

    run = open_run(run_path)
    if run.answers is None or run.missing:
        sys.exit(f"'{run_path}' is not finished")
    HERE.mkdir(exist_ok=True)
    for old in HERE.glob("*.png"):
        old.unlink()
    pictures = []
    for name, most in FIGURES.items():
        figure = KNOWN[name]
        for number, choice in enumerate(figure.choices(run)[:most]):
            data = figure.from_run(run, **choice)
            file = f"{name}-{number}.png"
            (HERE / file).write_bytes(_small(render(data, "png")))
            pictures.append({"file": file, "title": data.title, "caption": data.caption})
    manifest = run.manifest
    kept = {
        "spec": manifest["spec"],
        "hardware": manifest["hardware"],
        "versions": manifest["versions"],
        "sessions": _sessions(run),
        "strengths": manifest["strengths"],
        "answers": run.answers.model_dump(
            mode="json", include={"headline", "questions", "transfers", "tables", "caveats"}
        ),
        "pictures": pictures,
    }
    ANSWERS.write_text(json.dumps(kept, indent=1, ensure_ascii=False) + "\n", encoding="utf-8")
    print(f"kept {ANSWERS}")


def _small(png: bytes) -> bytes:
    """The picture in 128 colours and 1,400 pixels, so that the repository stays small."""
    from io import BytesIO

    from PIL import Image

    with Image.open(BytesIO(png)) as image:
        width = min(1400, image.width)
        smaller = image.convert("RGB").resize((width, round(image.height * width / image.width)))
        out = BytesIO()
        smaller.quantize(128).save(out, "PNG", optimize=True)
    return out.getvalue()


def page() -> str:
    """The page of results, from what :func:`keep` kept."""
    kept = json.loads(ANSWERS.read_text(encoding="utf-8"))
    return "\n".join(_lines(kept))


def _lines(kept: dict[str, Any]) -> Iterator[str]:
    spec, machine, answers = kept["spec"], kept["hardware"], kept["answers"]
    worked = [session for session in kept["sessions"] if session["seconds"]]
    starts = ", then ".join(_start(session, machine) for session in worked)
    yield f"# Results of `undertow study {spec['name']}`"
    yield ""
    yield (
        f"{spec['data']['inputs']:,} test images of {spec['data']['name']} a cell, classified "
        f"correctly by {', '.join(spec['models'])}; {spec['estimator']}, checked by "
        f"{spec['cross_check']}; {spec['null']} null with {spec['references']} references; seed "
        f"{spec['seed']}. {starts}, on {machine['processor']}. "
        "This page is made from the run by `python docs/results.py RUN`."
    )
    if answers.get("headline"):
        yield from ("", prose(answers["headline"]))
    for question in answers["questions"]:
        yield from ("", f"## {question['id'].upper()}: {question['question']}", "")
        for claim in question["claims"]:
            yield from _claim(claim)
    yield from ("", "## Figures", "")
    for picture in kept["pictures"]:
        yield f"![{picture['title']}](results/{picture['file']})"
        yield from ("", f"*{picture['title']}.* {picture['caption']}", "")
    for table in answers["tables"]:
        yield from _table(table)
    yield from ("## Caveats", "")
    yield from (f"- {text}" for text in answers["caveats"])


def _start(session: dict[str, Any], machine: dict[str, Any]) -> str:
    """How long one start of the run took, and with what."""
    who = f"{session['workers']} worker processes of one thread"
    if not session["workers"]:
        who = f"{machine['threads']} threads"
    elif session["workers"] == 1:
        who = "one worker process of one thread"
    return f"{session['seconds'] / 60:.0f} minutes with {who}"


def _claim(claim: dict[str, Any]) -> Iterator[str]:
    yield f"**{claim['verdict'].capitalize()}**: *{claim['claim']}*"
    yield ""
    yield prose(claim["sentence"])
    if claim.get("reason"):
        yield from ("", f"Why: {prose(claim['reason'])} (rule: {claim['rule']}).")
    if claim["control"] is not None:
        yield from ("", f"Controls: {prose(claim['control']['sentence'])}")
    yield from ("", "| number | value | 95 % interval | unit | n |", "|---|---|---|---|---|")
    for x in claim["numbers"]:
        reach = "–" if x["low"] is None else prose(f"{x['low']:.3f} to {x['high']:.3f}")
        value = "–" if x["value"] is None else prose(f"{x['value']:.3f}")
        yield f"| {_cell(prose(x['name']))} | {value} | {reach} | {x['unit']} | {x['n'] or ''} |"
    yield ""


def _table(table: dict[str, Any]) -> Iterator[str]:
    yield from (f"## {table['title']}", "", f"| {' | '.join(table['columns'])} |")
    yield f"|{'---|' * len(table['columns'])}"
    for row in table["rows"]:
        yield f"| {' | '.join(_cell(v) for v in row)} |"
    yield from ("", table["caption"], "")


def _cell(value: object) -> str:
    if value is None:
        return "–"
    text = f"{value:.3f}" if isinstance(value, float) else str(value)
    return text.replace("|", "\\|")


if __name__ == "__main__":
    if len(sys.argv) != 2:
        sys.exit(__doc__)
    keep(Path(sys.argv[1]))
