"""Keep the answers of a run for the page of results.

Usage: python docs/pages/results.py RUN

Copies what the page needs into ``docs/results/NAME/`` (answers and machine as JSON, figures as
PNG), NAME being that of the study; ``docs/build.py`` makes ``docs/results/NAME.md`` of
each, so every number there is one that a run printed.
"""

from __future__ import annotations

import json
import sys
from collections.abc import Iterator, Mapping, Sequence
from datetime import datetime
from math import inf
from pathlib import Path
from typing import TYPE_CHECKING, Any

from undertow.measuring.carriers import label_of
from undertow.prose import attack_name, prose

if TYPE_CHECKING:
    from undertow.store import Run

HERE = Path(__file__).resolve().parents[1] / "results"
ORDER = ("paper", "defences", "turning", "carriers", "carriers-digits")
"""Studies that the page tells of, in this order."""
FIGURES = {
    "drift": 5, "leaning": 1, "turning": 1, "trajectory": 1, "aggregate": 3, "change": 1,
    "solid_dashed": 2, "takeover": 1, "transfer": 2,
}  # fmt: skip
"""Which figures the page shows, and how many of each at most."""
OWN = {
    "defences": ({"drift": 4}, ("Defences", "Attacks")),
    "turning": ({"drift": 6}, ("Attacks",)),
    **dict.fromkeys(ORDER[3:], ({"restoration": 5, "carrying": 2}, ("What the maps",))),
}
"""Figures, and how titles of tables begin, of studies of one thing."""
NUMBERS = 20
"""Most numbers of a claim on the page; the run has all."""


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
    here = HERE / str(run.spec["name"])
    here.mkdir(parents=True, exist_ok=True)
    for old in here.glob("*.png"):
        old.unlink()
    pictures = []
    figures, begin = OWN.get(str(run.spec["name"]), (FIGURES, ("",)))
    for name, most in figures.items():
        figure = KNOWN[name]
        for number, choice in enumerate(_choices(name, figure.choices(run), run)[:most]):
            data = figure.from_run(run, **choice)
            file = f"{name}-{number}.png"
            (here / file).write_bytes(small(render(data, "png")))
            pictures.append({"file": file, "title": data.title, "caption": data.caption})
    manifest = run.manifest
    kept = {
        "spec": manifest["spec"],
        "hardware": manifest["hardware"],
        "versions": manifest["versions"],
        "sessions": _sessions(run),
        "strengths": manifest["strengths"],
        "answers": run.answers.model_copy(
            update={"tables": tuple(t for t in run.answers.tables if t.title.startswith(begin))}
        ).model_dump(
            mode="json", include={"headline", "questions", "transfers", "tables", "caveats"}
        ),
        "restorations": _first(run),
        "pictures": pictures,
    }
    file = here / "answers.json"
    file.write_text(json.dumps(kept, indent=1, ensure_ascii=False) + "\n", encoding="utf-8")
    print(f"kept {file}")


def _first(run: Run) -> dict[str, dict[str, Any]]:
    """Restoration curves of each attack on each model, of the first ranking alone."""
    assert run.answers is not None
    return {
        model: {
            attack: {
                "ranking": label_of(next(iter(one.restored))),
                "n": one.n,
                "tap": one.tap,
                "count": one.count,
                **{
                    key: [points.model_dump() for points in next(iter(curves.values()))]
                    for key, curves in (("restored", one.restored), ("implanted", one.implanted))
                },
                "area": next(iter(one.area.values())).model_dump(),
            }
            for attack, one in attacks.items()
        }
        for model, attacks in run.answers.restorations.items()
    }


def _choices(name: str, choices: Sequence[Mapping[str, Any]], run: Run) -> list[Any]:
    """What there is to draw; of restoration curves those of the followed attack, of each model."""
    followed = run.spec.get("exemplar_attack")
    return [c for c in choices if name != "restoration" or c["attack"] == followed]


def small(png: bytes) -> bytes:
    """The picture in 128 colours and 1,400 pixels, so that the repository stays small."""
    from io import BytesIO

    from PIL import Image

    with Image.open(BytesIO(png)) as image:
        width = min(1400, image.width)
        smaller = image.convert("RGB").resize((width, round(image.height * width / image.width)))
        out = BytesIO()
        smaller.quantize(128).save(out, "PNG", optimize=True)
    return out.getvalue()


def kept() -> list[str]:
    """The studies of which something was kept."""
    return [name for name in ORDER if (HERE / name / "answers.json").is_file()]


def _read(name: str) -> dict[str, Any]:
    found: dict[str, Any] = json.loads((HERE / name / "answers.json").read_text(encoding="utf-8"))
    return found


def page(name: str) -> str:
    """The page of one study's results, from what :func:`keep` kept."""
    return "\n".join(_lines(_read(name)))


def index() -> str:
    """Every claim of every study and its verdict, with the way to its page."""
    lines = ["# Results", "", *_INDEX.splitlines(), "", "```{toctree}", ":hidden:", ""]
    lines += [*kept(), "detection", "```", ""]
    for name in kept():
        found = _read(name)
        lines += [f"## [`undertow study {name}`]({name}.md)", ""]
        if found["answers"].get("headline"):
            lines += [prose(found["answers"]["headline"]), ""]
        for question in found["answers"]["questions"]:
            lines += [f"**{question['id'].upper()}: {question['question']}**", ""]
            lines += [f"- *{c['verdict']}*: {c['claim']}" for c in question["claims"]]
            lines.append("")
    return "\n".join(lines)


_INDEX = """Each claim with its effect, its interval, its controls and its verdict, also where the
paper is contradicted: a page a study. What a verdict means and how often its rule errs:
[](../concepts/verdicts.md). That flow does not make a detector has [a page of its
own](detection.md)."""


def _lines(kept: dict[str, Any]) -> Iterator[str]:
    spec, machine, answers = kept["spec"], kept["hardware"], kept["answers"]
    worked = [session for session in kept["sessions"] if session["seconds"]]
    starts = ", then ".join(_start(session, machine) for session in worked)
    yield f"# Results of `undertow study {spec['name']}`"
    yield ""
    yield (
        f"{spec['data']['inputs']:,} test images of {spec['data']['name']} a cell, classified "
        f"correctly by {', '.join(spec['models'])}; {spec['estimator']}, checked by "
        f"{spec['cross_check'] or 'no other'}; {spec['null']} null with {spec['references']} "
        f"references; seed {spec['seed']}. {starts}, on {machine['processor']}. "
        "This page is made from the run by `python docs/pages/results.py RUN`."
    )
    if gained := _gained(spec):
        yield from ("", gained)
    if answers.get("headline"):
        yield from ("", prose(answers["headline"]))
    for question in answers["questions"]:
        yield from ("", f"## {question['id'].upper()}: {question['question']}", "")
        for claim in question["claims"]:
            yield from _claim(claim)
    yield from ("", "## Figures", "")
    for picture in kept["pictures"]:
        yield f"![{picture['title']}](./{spec['name']}/{picture['file']})"
        yield from ("", f"*{picture['title']}.* {picture['caption']}", "")
    for table in answers["tables"]:
        yield from _table(table)
    for model, attacks in kept.get("restorations", {}).items():
        yield from _curves(model, attacks)
    yield from ("## Caveats", "")
    yield from (f"- {text}" for text in answers["caveats"])


def _gained(spec: dict[str, Any]) -> str:
    """What the study of this name measures that this run of it did not."""
    from undertow.studies.asked.spec import load_spec

    new = [m for m in load_spec(str(spec["name"])).models if m not in spec["models"]]
    if not new:
        return ""
    return (
        f"The study has since gained {', '.join(new)}, which this run has not; "
        "[`undertow study defences`](defences.md) tells of them."
    )


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
    for x in claim["numbers"][:NUMBERS]:
        reach = "–" if x["low"] is None else prose(f"{x['low']:.3f} to {x['high']:.3f}")
        value = "–" if x["value"] is None else prose(f"{x['value']:.3f}")
        yield f"| {_cell(prose(x['name']))} | {value} | {reach} | {x['unit']} | {x['n'] or ''} |"
    if len(claim["numbers"]) > NUMBERS:
        yield from ("", f"… and {len(claim['numbers']) - NUMBERS} more numbers in the run.")
    yield ""


def _table(table: dict[str, Any]) -> Iterator[str]:
    yield from (f"## {table['title']}", "", f"| {' | '.join(table['columns'])} |")
    yield f"|{'---|' * len(table['columns'])}"
    for row in table["rows"]:
        yield f"| {' | '.join(_cell(v) for v in row)} |"
    yield from ("", table["caption"], "")


def _curves(model: str, attacks: dict[str, Any]) -> Iterator[str]:
    """Restoration and implanting curves of a model, as their rankings' first one draws them."""
    counts = sorted({n for one in attacks.values() for row in one["count"] for n in row})
    for word, key in (("Restoration", "restored"), ("Implanting", "implanted")):
        numbers = " | ".join(f"{n} map{'s' * (n > 1)}" for n in counts)
        yield from (f"## {word} curves of {model}", "", f"| attack | tap | n | {numbers} | area |")
        yield f"|{'---|' * (len(counts) + 4)}"
        for attack, one in attacks.items():
            for k, tap in enumerate(one["tap"]):
                points = zip(*one[key][k].values(), strict=True)
                at = dict(zip(one["count"][k], points, strict=True))
                cells = [_share(at[n]) if n in at else "" for n in counts]
                cells.append(_share([v[k] for v in one["area"].values()]) * (key == "restored"))
                name = _cell(prose(attack_name(attack)))
                yield f"| {name} | {tap} | {one['n']} | {' | '.join(cells)} |"
        yield ""
        ranking = next(iter(attacks.values()))["ranking"]
        yield f"{_IN_WORDS[key]} {ranking} names first; other rankings and controls are in the run."
        yield ""


_IN_WORDS = {
    "restored": "Share of inputs in percent, with its 95 % interval, whose true label returns when "
    "so many maps are put back, and the area under that curve over doublings; those that",
    "implanted": "The same for the rival's label, the maps being put into the benign run; those "
    "that",
}


def _share(point: Sequence[float | None]) -> str:
    """``42 [33, 52]`` percent."""
    mean, low, high = (100 * (v or 0) for v in point)
    return f"{mean:.0f} [{low:.0f}, {high:.0f}]"


def _cell(value: object) -> str:
    if value is None:
        return "–"
    text = f"{value:.3f}" if isinstance(value, float) else str(value)
    return text.replace("|", "\\|")


if __name__ == "__main__":
    if len(sys.argv) != 2:
        sys.exit(__doc__)
    keep(Path(sys.argv[1]))
