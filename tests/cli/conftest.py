"""Commands run in this process: exit code, standard output, standard error."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import pytest

from undertow.cli import run


@dataclass(frozen=True)
class Said:
    code: int
    out: str
    err: str


Command = Callable[..., Said]


@pytest.fixture
def undertow(capsys: pytest.CaptureFixture[str]) -> Command:
    def command(*arguments: object) -> Said:
        code = run([str(a) for a in arguments])
        said = capsys.readouterr()
        return Said(code, said.out, said.err)

    return command
