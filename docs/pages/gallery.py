"""The gallery: every figure, drawn from a small run that is stored beside it.

Usage: python docs/pages/gallery.py [RUN]

RUN, one of ``undertow study docs/gallery/study.yaml``, is stored in ``docs/gallery/run.tar.xz``
first; then every figure is drawn from what is stored. The script that a section shows is the one
that drew its picture.
"""

from __future__ import annotations

import io
import sys
import tarfile
from pathlib import Path
from tempfile import TemporaryDirectory

HERE = Path(__file__).resolve().parents[1] / "gallery"
STORED = HERE / "run.tar.xz"
CHOICE = {
    "aggregate": 'model="good_init"', "change": 'model="good_init"', "drift": 'model="good_init"',
    "takeover": 'model="good_init"', "plane": 'model="good_init"',
}  # fmt: skip
"""Which of a run's pictures a section shows, where the first one is not the best to begin with."""


def script(name: str) -> str:
    """What draws a figure, as the page shows it."""
    choice = f", {CHOICE[name]}" if name in CHOICE else ""
    return (
        "import undertow as ut\n\n"
        'run = ut.open_run("run")\n'
        f'figure = ut.figures.lift(run, "{name}"{choice})\n'
        f'ut.figures.save(figure, "{name}.svg")  # or .png, .pdf; draw(figure) is a plotly figure\n'
    )


def page() -> str:
    """The page of figures."""
    from undertow.figures import FIGURES

    lines = ["# Gallery", "", *_HEAD.splitlines(), ""]
    for entry in FIGURES.entries():
        lines += [f"## {entry.name}", "", f"{entry.summary[0].upper()}{entry.summary[1:]}.", ""]
        lines += [f"![{entry.summary}](./{entry.name}.png)", ""]
        lines += ["```python", script(entry.name).rstrip(), "```", ""]
    return "\n".join(lines)


_HEAD = """Every figure that a report holds, the viewer moves and `lift` draws;
`undertow.figures.FIGURES` lists them. All are drawn by the lines beneath them from one
small run, [run.tar.xz](run.tar.xz), unpacked as `run`: 24 inputs of CIFAR-10 under
three attacks, made by `undertow study docs/gallery/study.yaml` from
[study.yaml](study.yaml). Where a run holds several of a kind, further arguments choose
one: `FIGURES["aggregate"].choices(run)`."""


def store(run: Path) -> None:
    """Keep a run as one file; the same run gives the same bytes."""
    with tarfile.open(STORED, "w:xz", preset=9) as archive:
        for file in sorted(run.rglob("*")):
            name = str(file.relative_to(run))
            if file.is_file() and name not in (".lock", "report.html"):
                member, content = tarfile.TarInfo(name), file.read_bytes()
                member.size = len(content)
                archive.addfile(member, io.BytesIO(content))


def draw() -> None:
    """Run every script in a folder that holds the stored run, and keep its picture."""
    import os

    from pages.results import small
    from undertow.figures import FIGURES

    with TemporaryDirectory() as folder:
        with tarfile.open(STORED) as archive:
            archive.extractall(Path(folder) / "run", filter="data")
        before = Path.cwd()
        os.chdir(folder)
        try:
            for name in FIGURES:
                told = script(name).replace(f"{name}.svg", f"{name}.png")
                exec(compile(told, f"{name}.py", "exec"), {})
                (HERE / f"{name}.png").write_bytes(small(Path(f"{name}.png").read_bytes()))
                print(f"drew docs/gallery/{name}.png")
        finally:
            os.chdir(before)


if __name__ == "__main__":
    sys.path.insert(0, str(HERE.parent))
    if len(sys.argv) > 2:
        sys.exit(__doc__)
    if len(sys.argv) == 2:
        store(Path(sys.argv[1]))
    draw()
