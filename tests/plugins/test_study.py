"""A stranger's attack, estimator, null and question, from a study file to report and viewer."""

from __future__ import annotations

import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import yaml

from undertow.axes import CONTROLS
from undertow.errors import BadInput, UndertowError
from undertow.figures.palette import markers, paints
from undertow.prose import attack_name
from undertow.registry import Look, Registry, plugin_hashes, registry, remember
from undertow.report import write_report
from undertow.store import Run, open_run
from undertow.studies.asked.spec import StudySpec
from undertow.studies.names import settled
from undertow.studies.run import study

SPEC: dict[str, Any] = {
    "name": "strange",
    "models": ["digits_cnn"],
    "data": {"name": "digits", "inputs": 6},
    "attacks": [{"name": "fgsm"}, {"name": "mine_attack.py:Fade", "settings": {"steps": 4}}],
    "estimator": "mine_estimator.py:Spearman",
    "null": "mine_null.py:mirror",
    "questions": ["mine_question.py:QUIET"],
    "exemplars": 1,
    "exemplar_attack": "mine_attack.py:Fade",
    "matrices": 1,
    "readers": 200,
    "reference_pool": 16,
    "shard": 3,
}


KINDS = tuple(f"{kind}:" for kind in CONTROLS)


def undertow(*arguments: str, cwd: Path) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-c", "from undertow.cli import main; main()", *arguments],
        cwd=cwd,
        capture_output=True,
        text=True,
        check=False,
    )


@pytest.fixture(scope="module")
def place(recipes: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The study run by the command line with two workers, in a folder of its own."""
    folder = tmp_path_factory.mktemp("study")
    for file in recipes.glob("mine_*.py"):
        shutil.copy(file, folder)
    (folder / "study.yaml").write_text(yaml.safe_dump(SPEC), encoding="utf-8")
    done = undertow("study", "study.yaml", "--workers", "2", "--quiet", cwd=folder)
    assert done.returncode == 0, done.stderr
    assert "quiet: supported" in done.stdout
    return folder


def test_report_shows_them_with_their_own_label_and_colour(place: Path) -> None:
    page = (place / "runs" / "strange" / "report.html").read_text(encoding="utf-8")
    for words in ("fade to grey", "#117733", "rank correlation", "mirrored", "ours: quiet"):
        assert words in page, words
    assert "not loaded here" not in page


def test_viewer_and_report_without_the_files(place: Path, tmp_path: Path) -> None:
    """A fresh process, the files gone: the run opens, keeps its looks, says what is missing."""
    shutil.copytree(place / "runs" / "strange", tmp_path / "run")
    script = (
        "from undertow.cli import main\n"
        "for command in (['runs', 'show', 'run'], ['export', 'run'], ['report', 'run']):\n"
        "    try:\n        main(command)\n"
        "    except SystemExit as left:\n        assert not left.code, (command, left.code)\n"
        "from undertow.store import open_run\nrun = open_run('run')\n"
        "from undertow.viewer.parts import attack_words\n"
        "from undertow.figures import FIGURES\n"
        "figure = FIGURES['change'].from_run(run)\n"
        "drawn = {s.label: s.color for panel in figure.panels for s in panel.series}\n"
        "print(attack_words('fade'), drawn['fade to grey'])\n"
    )
    said = subprocess.run(
        [sys.executable, "-c", script], cwd=tmp_path, capture_output=True, text=True, check=False
    )
    assert said.stdout.splitlines()[-1:] == ["fade to grey #117733"], said.stderr
    assert "attack 'fade' of mine_attack.py:Fade" in said.stderr
    page = (tmp_path / "run" / "report.html").read_text(encoding="utf-8")
    for words in ("fade to grey", "#117733", "rank correlation", "not loaded here"):
        assert words in page, words


def test_the_run_tells_what_it_was_made_with(place: Path) -> None:
    run = open_run(place / "runs" / "strange")
    assert {p["kind"]: p["name"] for p in run.plugins} == {
        "attack": "fade", "estimator": "spearman", "null": "mirror", "question": "quiet",
    }  # fmt: skip
    assert set(run.manifest["hashes"]["plugins"]) == {
        "mine_attack.py:Fade", "mine_estimator.py:Spearman", "mine_null.py:mirror",
        "mine_question.py:QUIET",
    }  # fmt: skip
    names = {f"{kind}{name}" for name in ("fgsm", "fade") for kind in ("", *KINDS)}
    assert {c.attack for c in run.cells} == {"benign", *names}


def test_a_changed_file_does_not_go_on_with_the_run(place: Path, tmp_path: Path) -> None:
    again = tmp_path / "again"
    shutil.copytree(place, again)
    with (again / "mine_attack.py").open("a", encoding="utf-8") as file:
        file.write("\n# changed\n")
    done = undertow("study", "study.yaml", "--quiet", cwd=again)
    assert done.returncode == 2
    assert "plugins" in done.stderr
    assert len(done.stderr.strip().splitlines()) <= 2


BAD = {
    "raises.py": ("1 / 0\n", "A", "cannot be imported: ZeroDivisionError: division by zero"),
    "leaves.py": ("import sys\nsys.exit(0)\n", "A", "cannot be imported: SystemExit"),
    "broken.py": ("class (:\n", "A", "cannot be imported: SyntaxError"),
    "empty.py": ("def other(): pass\n", "Other", "did you mean 'other'"),
    "number.py": ("A = 3\n", "A", "is no attack"),
    "nothing.py": ("class A: pass\n", "A", "is no attack"),
    "taken.py": (
        "from dataclasses import dataclass\nfrom undertow.types import Attack\n"
        "@dataclass(frozen=True)\nclass A(Attack):\n    name = 'fgsm'\n    norm = 'l2'\n"
        "    def iterates(self, model, x0, goal, *, draws): yield\n",
        "A",
        "'fgsm' is registered already; give yours another name",
    ),
    "colour.py": (
        "from dataclasses import dataclass\nfrom undertow.types import Attack\n"
        "@dataclass(frozen=True)\nclass A(Attack):\n    name = 'hue'\n    norm = 'l2'\n"
        "    color = 'red'\n    def iterates(self, model, x0, goal, *, draws): yield\n",
        "A",
        "color 'red' (allowed: #rrggbb",
    ),
}


@pytest.mark.parametrize("name", BAD)
def test_a_plugin_that_cannot_be_used_gets_one_line(name: str, tmp_path: Path) -> None:
    code, attribute, words = BAD[name]
    (tmp_path / name).write_text(code, encoding="utf-8")
    spec = StudySpec(name="x", attacks=({"name": f"{tmp_path / name}:{attribute}"},))  # type: ignore[arg-type]
    with pytest.raises(UndertowError) as told:
        settled(spec)
    assert words in str(told.value)
    assert "\n" not in str(told.value)
    assert name in str(told.value)
    assert "fgsm" in registry("attack")
    assert registry("attack").entry("fgsm").shipped


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"plugins": ["no.such.module"]}, "no.such.module cannot be imported"),
        ({"plugins": ["nowhere.py"]}, "there is no file nowhere.py"),
        ({"plugins": [{"attak": "a.py:B"}]}, "did you mean 'attack'"),
        ({"null": "nowhere.py:null"}, "there is no file nowhere.py"),
        ({"questions": ["json:dumps"]}, "json:dumps is no question: it has no id"),
        ({"estimator": "json:dumps"}, "json:dumps is no estimator: it has no encode"),
    ],
)
def test_names_of_plugins_that_lead_nowhere(change: dict[str, Any], words: str) -> None:
    with pytest.raises(UndertowError, match=words.replace("(", r"\(")):
        settled(StudySpec(**{"name": "x", "attacks": ({"name": "fgsm"},), **change}))


def test_on_the_command_line_it_is_one_line_and_nothing_is_left(tmp_path: Path) -> None:
    (tmp_path / "bad.py").write_text("1 / 0\n", encoding="utf-8")
    done = undertow("trace", "--attack", "bad.py:A", "--model", "digits_cnn", cwd=tmp_path)
    assert done.returncode == 2
    assert done.stderr.count("\n") == 1
    assert not (tmp_path / "runs").exists()


def test_a_module_of_plugins_and_an_entry_point(recipes: Path, tmp_path: Path) -> None:
    """Files under ``plugins:`` register themselves; installed packages by their entry point."""
    (tmp_path / "lines.py").write_text(
        "from undertow.attacks import ATTACKS\n"
        f"ATTACKS.add('faded', '{recipes}/mine_attack.py:Fade', 'again', label='Faded')\n"
    )
    found = settled(
        StudySpec(name="x", plugins=(str(tmp_path / "lines.py"),), attacks=({"name": "faded"},))  # type: ignore[arg-type]
    )
    assert attack_name("faded") == "Faded"
    assert set(plugin_hashes(found.plugins)) == {str(tmp_path / "lines.py")}
    site = tmp_path / "site"
    (site / "wavy-1.0.dist-info").mkdir(parents=True)
    (site / "wavy-1.0.dist-info" / "METADATA").write_text("Name: wavy\nVersion: 1.0\n")
    (site / "wavy-1.0.dist-info" / "entry_points.txt").write_text("[undertow]\nwavy = wavy\n")
    shutil.copy(recipes / "mine_attack.py", site / "wavy_attack.py")
    (site / "wavy.py").write_text(
        "from undertow.attacks import ATTACKS\n"
        "ATTACKS.add('wavy', 'wavy_attack:Fade', 'by an entry point', label='Wavy')\n"
    )
    code = (
        "from undertow.attacks import ATTACKS, make\n"
        "print(make('wavy').steps, ATTACKS.entry('wavy').label)"
    )
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=False,
        env={"PYTHONPATH": f"{site}:{Path(__file__).parents[2] / 'src'}", "PATH": "/usr/bin:/bin"},
    )  # fmt: skip
    assert done.stdout == "8 Wavy\n", done.stderr


def test_a_stored_look_is_data_and_never_takes_a_shipped_name(tmp_path: Path) -> None:
    remember("attack", "fgsm", Look("Evil", "#123456", "star"))
    remember("attack", "far", Look("Far away", "#123456", "star"))
    assert attack_name("fgsm") == "FGSM"
    assert paints(["far"]) == {"far": "#123456"}
    assert markers(["far"]) == {"far": "star"}
    told = {"kind": "attack", "name": "odd", "label": "x" * 500, "color": "url(x)", "source": "s"}
    run = Run(tmp_path, {"plugins": [told, 3, {"kind": "no such"}]})
    assert [p["name"] for p in run.plugins] == ["odd"]


def test_shipped_looks_are_their_own() -> None:
    """No two attacks, nor variants, share a colour; every attack has a label."""
    entries = [e for e in registry("attack").entries() if e.shipped]
    colors = [e.look.color for e in entries]
    colors += [v.color for e in entries for v in e.variants.values()]
    assert len(set(colors)) == len(colors)
    assert all(colors)


def test_a_registry_refuses_names_that_are_none() -> None:
    numbers: Registry[int] = Registry("number")
    for name in ("", "a b", "a:b", "benign", "<i>"):
        with pytest.raises(BadInput, match="cannot be called so"):
            numbers.add(name, 1, "one")


def test_public_names_follow_the_registry() -> None:
    import undertow as ut

    kinds = {type(ut.attacks.make(e.name)).__name__ for e in registry("attack").entries()
             if e.shipped and e.name != "noise"}  # fmt: skip
    assert kinds <= set(dir(ut.attacks))
    assert {"measure", "craft", "study", "attacks"} <= set(dir(ut))
    for name in dir(ut.attacks):
        assert getattr(ut.attacks, name) is not None


def test_running_it_in_python(recipes: Path, tmp_path: Path) -> None:
    spec = StudySpec(**{**SPEC, "attacks": ({"name": f"{recipes}/mine_attack.py:Fade"},),
                        "exemplar_attack": None, "estimator": "gaussian_copula",
                        "null": "mismatch", "questions": (), "exemplars": 0, "readers": 0,
                        "data": {"name": f"{recipes}/mine_data.py:stripes", "inputs": 4,
                                 "select": "all"},
                        "models": (f"{recipes}/mine_model.py:halves",)})  # fmt: skip
    run = study(spec, out=tmp_path / "run")
    write_report(run, tmp_path / "report.html")
    assert {c.attack for c in run.cells} == {"benign", "fade", *(f"{kind}fade" for kind in KINDS)}
