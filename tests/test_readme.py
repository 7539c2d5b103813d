"""What the README shows works as it stands there."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

import undertow as ut
from undertow.cli.app import app
from undertow.errors import Unavailable

README = Path(__file__).parent.parent / "README.md"


def test_the_python_example_runs(monkeypatch: pytest.MonkeyPatch) -> None:
    try:
        # Nothing is fetched here: without CIFAR-10 in the cache there is nothing to run on.
        monkeypatch.setenv("PATH", "")
        monkeypatch.setattr("socket.socket.connect", lambda *_: (_ for _ in ()).throw(OSError()))
        ut.load_data("cifar10")
    except Unavailable:
        pytest.skip("CIFAR-10 is not in the cache; `make study` fetches it")
    (code,) = re.findall(r"```python\n(.*?)```", README.read_text(encoding="utf-8"), re.DOTALL)
    names: dict[str, object] = {}
    exec(compile(code.replace("[:16]", "[:2]"), "README.md", "exec"), names)
    flow = names["flow"]
    assert {"iip", "oip", "ioc"} <= set(flow.data_vars)  # type: ignore[attr-defined]
    assert set(flow["step"].values) >= {0, 1}  # type: ignore[index]


def test_every_command_named_exists() -> None:
    from typer.main import get_command

    text = README.read_text(encoding="utf-8")
    known = set(get_command(app).commands)  # type: ignore[attr-defined]
    named = set(re.findall(r"\bundertow ([a-z]+)\b", text)) - {"as"}
    assert named
    assert named <= known


def test_every_target_named_exists() -> None:
    text = README.read_text(encoding="utf-8")
    makefile = (README.parent / "Makefile").read_text(encoding="utf-8")
    for target in set(re.findall(r"\bmake ([a-z]+)\b", text)) - {"study"} | {"study"}:
        assert re.search(rf"^{target}:", makefile, re.MULTILINE), target
