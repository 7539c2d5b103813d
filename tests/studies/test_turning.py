"""Q7: whether adversarial training moves the depth of turning, on planted depths and for real."""

from __future__ import annotations

import zlib
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import torch

from undertow.attacks import match_success
from undertow.attacks.igsm import IGSM
from undertow.data import load_data
from undertow.errors import BadInput
from undertow.models import load_model
from undertow.statistics.simulated import RULES
from undertow.store import Cell
from undertow.studies.answered.questions.q7 import Q7
from undertow.studies.answered.results import Results
from undertow.studies.asked.plan import cells_of
from undertow.studies.asked.spec import StudySpec
from undertow.studies.run import study

N = 1600
SPEC = StudySpec(
    name="planted",
    models=("good_init", "good_init/robust", "deep_conv", "deep_conv/robust"),
    hardened={"good_init": "good_init/robust", "deep_conv": "deep_conv/robust"},
    data={"inputs": N},
    attacks=(
        {"name": "igsm", "label": "equal", "match_success": 0.5},
        {"name": "igsm", "label": "same"},
    ),
    readers=0, questions=("q7",),
)  # type: ignore[arg-type]  # fmt: skip


class Turned(Results):
    """Results whose flow turns at planted depths."""

    def __init__(self, moves: dict[str, float], spec: StudySpec = SPEC) -> None:
        self.spec, self.suffix, self.null = spec, "", None
        self.run = SimpleNamespace(  # type: ignore[assignment]
            cells=cells_of(spec), has=lambda *_: False, manifest={}
        )
        self.moves = moves
        self._read = {}

    def under(self, estimator: str, null: str | None = None) -> Turned:
        return self

    def views(self, *, oip: bool = False) -> dict[str, Results]:
        return {"gaussian_copula": self}

    def success(self, cell: Cell) -> np.ndarray:
        return np.arange(N) % 2 == 0

    def fair(self, *cells: Cell) -> np.ndarray:
        return np.ones(N, dtype=bool)

    def holds(self, cell: Cell, name: str) -> bool:
        return True

    def rival(self, cell: Cell) -> np.ndarray:
        return np.ones(N, dtype=np.int64)

    def attacks(self, cell: Cell) -> Any:
        return {"l2": SimpleNamespace(values=np.ones(N))}

    def planted(self, cell: Cell, *, rival: Any = None) -> np.ndarray:
        rng = np.random.default_rng([7, zlib.crc32(cell.slug.encode())])
        robust = cell.model.endswith("/robust") and not cell.benign and cell.control is None
        shift = self.moves[cell.model.partition("/")[0]] if robust else 0.0
        return np.asarray(0.5 + shift + 0.1 * rng.standard_normal(N))


@pytest.mark.parametrize(
    ("moves", "verdicts"),
    [
        ((0.2, 0.2), ("supported", "supported", "supported")),
        ((0.2, -0.2), ("supported", "supported", "contradicted")),
        ((0.0, 0.0), ("contradicted", "contradicted", "contradicted")),
    ],
)
def test_it_finds_what_moves_and_whether_everywhere(
    moves: tuple[float, float], verdicts: tuple[str, ...], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(Results, "turn_depth", Turned.planted)
    planted = dict(zip(("good_init", "deep_conv"), moves, strict=True))
    claims = Q7.claims(Turned(planted), np.random.default_rng(0))
    assert len(claims) == 3
    assert {c.rule for c in claims} <= set(RULES)
    assert tuple(c.verdict for c in claims) == verdicts, [c.reason + c.sentence for c in claims]
    assert (claims[0].numbers[0].value or 0) * moves[0] >= 0
    assert claims[0].control is not None
    names = [x.name for x in claims[0].control.numbers]
    assert any("transplant" in n for n in names)
    assert any("unattacked" in n for n in names)
    assert any("equal settings" in n for n in names)


def test_a_study_without_equal_success_is_refused() -> None:
    only = SPEC.model_copy(update={"attacks": SPEC.attacks[1:]})
    with pytest.raises(BadInput, match="match_success"):
        Q7.cells(only)
    with pytest.raises(ValueError, match="not both"):
        StudySpec(
            name="x", attacks=({"name": "igsm", "match_l2": 1.0, "match_success": 0.5},)
        )  # type: ignore[arg-type]  # fmt: skip


@pytest.mark.parametrize("share", [0.3, 0.7])
def test_the_strength_of_a_share_of_successes_is_found(share: float) -> None:
    model, (x, y) = load_model("digits_cnn"), load_data("digits")[:100]
    found = match_success(IGSM(steps=5, stop=False), model, x, y, success=share)
    assert found.matched
    assert abs(found.reached["success"] - share) <= 0.02
    shares = [row["success"] for row in found.table]
    assert shares == sorted(shares)
    with pytest.raises(BadInput, match="between 0 and 1"):
        match_success(IGSM(), model, x, y, success=1.0)


def test_it_is_answered_for_real(tmp_path) -> None:
    (tmp_path / "own.py").write_text(
        "import torch\nfrom undertow.models import load_model\n\n"
        "def shaken():\n    model = load_model('digits_cnn')\n    torch.manual_seed(0)\n"
        "    with torch.no_grad():\n        for p in model.parameters():\n"
        "            p += 0.02 * torch.randn(p.shape)\n    return model\n"
    )
    other = f"{tmp_path}/own.py:shaken"
    spec = StudySpec(
        name="turning", models=("digits_cnn", other), hardened={"digits_cnn": other},
        data={"name": "digits", "inputs": 24},
        attacks=({"name": "igsm", "match_success": 0.5, "control": ("transplant",),
                  "settings": {"stop": False, "steps": 5}},),
        readers=200, exemplars=0, shard=12, questions=("q7",),
    )  # type: ignore[arg-type]  # fmt: skip
    run = study(spec, out=tmp_path / "run")
    assert run.answers is not None
    (answer,) = run.answers.questions
    assert answer.missing is None
    assert len(answer.claims) == 2  # turning and takeover
    told = run.manifest["strengths"]
    assert told["digits_cnn"]["igsm"]["settings"] != told[other]["igsm"]["settings"]
    results = Results(run)
    for model in ("digits_cnn", other):
        assert 0.2 < results.success(Cell(model, "igsm")).mean() < 0.8
        depth = results.turn_depth(Cell(model, "igsm"))
        drift = torch.tensor(results.drift(Cell(model, "igsm")))
        taps = results.depth(model)
        slow = [
            next((taps[k] for k in range(len(taps)) if (row[k:] > 0).all()), 1.0) for row in drift
        ]
        assert np.allclose(depth, slow)
