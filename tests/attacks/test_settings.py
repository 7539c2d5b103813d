from __future__ import annotations

import json
from dataclasses import fields, is_dataclass

import pytest
import torch

from undertow.attacks import ATTACKS, FGSM, IGSM, Ensemble, Noise, make, settings_of
from undertow.types import Attack


@pytest.mark.parametrize("name", ATTACKS)
def test_every_attack_is_frozen_settings_and_iterates(name: str) -> None:
    attack = make(name)
    assert isinstance(attack, Attack)
    assert is_dataclass(attack)
    assert attack.name == name
    assert attack.norm in ("l0", "l2", "linf")
    assert type(attack).__mro__[1] is Attack, "attacks are final"
    assert type(attack).__dataclass_params__.frozen  # type: ignore[attr-defined]
    text = type(attack).__doc__ or ""
    for f in fields(attack):
        assert f"{f.name}:" in text, f"{name}: '{f.name}' is undocumented"


@pytest.mark.parametrize("name", ATTACKS)
def test_settings_survive_json(name: str) -> None:
    attack = make(name)
    plain = json.loads(json.dumps(settings_of(attack)))
    assert settings_of(make(name, **plain)) == settings_of(attack)


def test_an_inner_attack_by_name() -> None:
    given = {"name": "igsm", "epsilon": 0.1}
    assert make("ensemble", attack=given) == Ensemble(attack=IGSM(epsilon=0.1))
    assert make("ensemble", attack="fgsm") == Ensemble(attack=FGSM())
    assert make("ensemble", weights=[1, 3]) == Ensemble(weights=(1.0, 3.0))


def test_whole_numbers_become_reals() -> None:
    attack = make("fgsm", epsilon=1)  # as a file might say it
    assert settings_of(attack) == {"epsilon": 1.0}
    assert type(settings_of(attack)["epsilon"]) is float


def test_lengths_one_an_input() -> None:
    noise = Noise(l2=torch.tensor([0.5, 1.0]))
    assert settings_of(noise) == {"l2": [0.5, 1.0], "linf": None, "kind": "sign"}
