"""What the pages of the site show works as it stands there."""

from __future__ import annotations

import re
import shlex
from pathlib import Path

import pytest
from typer.main import get_command

from undertow.cli.app import app

DOCS = Path(__file__).parents[2] / "docs"
PAGES = sorted(
    path.relative_to(DOCS).as_posix()
    for folder in ("", "concepts", "how-to")
    for path in (DOCS / folder).glob("*.md")
)
NEEDS_OTHERS = {"how-to/clusters.md"}
"""Pages whose Python starts clusters that are not here."""


def _blocks(page: str, language: str) -> list[str]:
    text = (DOCS / page).read_text(encoding="utf-8")
    return re.findall(rf"^```{language}\n(.*?)^```", text, re.DOTALL | re.MULTILINE)


def _commands() -> list[tuple[str, str]]:
    """Every ``undertow …`` line in a block, with its page; continued lines are put together."""
    found = []
    for page in PAGES:
        text = (DOCS / page).read_text(encoding="utf-8")
        for block in re.findall(r"^```[a-z]*\n(.*?)^```", text, re.DOTALL | re.MULTILINE):
            joined = block.replace("\\\n", " ")
            found += [(page, m) for m in re.findall(r"^(?:\$ )?(undertow .*)$", joined, re.M)]
    return found


@pytest.mark.parametrize(
    "page", [p for p in PAGES if _blocks(p, "python") and p not in NEEDS_OTHERS]
)
@pytest.mark.filterwarnings("default")
def test_python_on_a_page_runs(
    page: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    if page == "how-to/libraries.md":
        pytest.importorskip("torchattacks")
    monkeypatch.chdir(tmp_path)
    names: dict[str, object] = {"__name__": "__main__"}
    for block in _blocks(page, "python"):
        exec(compile(block, page, "exec"), names)


@pytest.mark.parametrize(("page", "line"), _commands())
def test_commands_on_a_page_are_understood(page: str, line: str) -> None:
    """Each names commands, options and values that there are."""
    words = shlex.split(line.replace("…", ""), comments=True)[1:]
    if words == ["--install-completion"]:  # it would do so; that it is there says --help
        assert words[0] in {o for p in get_command(app).params for o in p.opts}
        return
    command = get_command(app)
    context = None
    while True:
        context = command.make_context(command.name, list(words), parent=context)
        rest = [*context._protected_args, *context.args]
        if not hasattr(command, "commands") or not rest:
            return
        name, words = rest[0], rest[1:]
        if name == "COMMAND":
            return
        assert name in command.commands, line
        command = command.commands[name]


def _shown() -> list[str]:
    return [
        line[2:]
        for page in PAGES
        for block in _blocks(page, "console")
        for line in block.splitlines()
        if line.startswith("$ ")
    ]


@pytest.mark.slow
@pytest.mark.parametrize("line", _shown())
def test_commands_that_show_something_end_well(
    line: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    from undertow.cli import run

    monkeypatch.chdir(tmp_path)
    assert run(shlex.split(line)[1:]) == 0
    assert capsys.readouterr().out


def test_every_page_says_something() -> None:
    assert len(PAGES) >= 15
    assert len(_commands()) >= 25
    assert len(_shown()) >= 5
