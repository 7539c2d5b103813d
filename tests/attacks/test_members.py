from __future__ import annotations

from dataclasses import dataclass
from typing import Any, ClassVar

import pytest
import torch
from torch import Tensor, nn

from undertow import craft
from undertow.attacks import ATTACKS, FGSM, IGSM, JSMA, PGD, Record
from undertow.attacks.driver.contract import check_attack, check_kind
from undertow.attacks.driver.record import Sighting
from undertow.axes import OUTCOMES, SPENT, STUCK, SUCCEEDED, VANISHED
from undertow.errors import BadInput
from undertow.types import Attack, Iterate

Batch = tuple[Tensor, Tensor]


@dataclass(frozen=True, kw_only=True)
class Mine(Attack):
    name: ClassVar[str] = "mine"
    norm: ClassVar[Any] = "l2"

    def iterates(self, model: Any, x0: Tensor, goal: Any, *, draws: Any) -> Any:
        yield Iterate(step=1, x=x0)


@pytest.mark.parametrize("name", list(ATTACKS))
def test_every_attack_declares_its_members(name: str) -> None:
    check_attack(ATTACKS[name]())


def broken(**members: Any) -> type:
    return dataclass(frozen=True)(type("Broken", (Mine,), members))


@pytest.mark.parametrize(
    ("members", "words"),
    [
        ({"spend": True}, ["'spend'", "did you mean 'spends'"]),
        ({"default_targets": "easiest"}, ["default_targets", "did you mean 'default_target'"]),
        ({"stop_at_success": True}, ["stop_at_success", "did you mean 'stops_at_success'"]),
        ({"spends": "yes"}, ["spends is 'yes'", "True, False"]),
        ({"norm": "l3"}, ["norm is 'l3'", "l0, l2, linf"]),
        ({"default_target": "any"}, ["default_target is 'any'", "easiest"]),
        ({"strength": "epsilon"}, ["strength is 'epsilon'", "allowed: None"]),
        ({"name": ""}, ["has no name"]),
    ],
)
def test_a_misspelt_or_wrong_member_is_named(members: dict[str, Any], words: list[str]) -> None:
    with pytest.raises(BadInput) as told:
        ended(broken(**members)(), Flat(), 0.4)
    for word in words:
        assert word in str(told.value)
    assert "\n" not in str(told.value)


def test_what_is_no_attack() -> None:
    with pytest.raises(BadInput, match="derive a class from"):
        check_kind(int)
    with pytest.raises(BadInput, match="has no iterates"):
        check_kind(dataclass(type("Empty", (Attack,), {"name": "e", "norm": "l2"})))
    with pytest.raises(BadInput, match="give an object such as"):
        check_attack(FGSM)


@pytest.mark.parametrize("attack", [JSMA(gamma=0.4), IGSM(steps=6, stop=False)])
@pytest.mark.parametrize("size", [1, 64])
def test_a_watcher_sees_every_step_of_every_input(
    model: nn.Module, batch: Batch, attack: Attack, size: int
) -> None:
    x, y = batch[0][:4], batch[1][:4]
    seen: list[Sighting] = []

    def see(now: Sighting) -> None:
        seen.append(now)

    t = craft(attack, model, x, y, batch_size=size, watch=see)
    alone = craft(attack, model, x, y, batch_size=size)
    assert torch.equal(t.end, alone.end)
    assert torch.equal(t.forwards, alone.forwards)
    for i in range(len(x)):
        own = t.records(i)[1:]
        steps = {s.step for s in seen if (s.sample == i).any()}
        assert set(t.step[own].tolist()) <= steps
        if attack.name == "igsm":
            for record in own:
                (now,) = [s for s in seen if s.step == t.step[record] and (s.sample == i).any()]
                assert now.reached[now.sample == i].all() == (
                    t.logits[record].argmax() != t.label[i]
                )


@pytest.mark.parametrize("attack", [JSMA(gamma=0.4), PGD(steps=5)])
def test_a_statistic_is_kept_instead_of_images(
    model: nn.Module, batch: Batch, attack: Attack
) -> None:
    x, y = batch[0][:5], batch[1][:5]

    def lengths(images: Tensor, benign: Tensor) -> Tensor:
        return (images - benign).flatten(1).norm(dim=1)

    whole = craft(attack, model, x, y, batch_size=2)
    t = craft(attack, model, x, y, batch_size=2, record=Record(keep=lengths))
    assert torch.equal(t.step, whole.step)
    assert torch.allclose(t.kept, lengths(whole.images, whole.benign[whole.sample]), atol=1e-6)
    assert torch.equal(t.end, whole.end)
    with pytest.raises(BadInput, match="kept a statistic"):
        _ = t.images
    with pytest.raises(BadInput, match="a row each is due"):
        craft(attack, model, x, y, record=Record(keep=lambda a, b: a.mean()))


def test_a_statistic_is_not_streamed(model: nn.Module, batch: Batch, tmp_path: Any) -> None:
    keep = Record(keep=lambda a, b: a.flatten(1))
    with pytest.raises(BadInput, match="give one of them"):
        craft(IGSM(), model, *batch, record=keep, stream_to=tmp_path / "t")
    assert not (tmp_path / "t").exists()


class Flat(nn.Module):
    """The first class wins until the mean passes a half; no gradient anywhere."""

    def forward(self, x: Tensor) -> Tensor:
        return torch.stack([0.5 + 0 * x.flatten(1).sum(1), (x * 0).flatten(1).mean(1)], dim=1)


class Brightness(nn.Module):
    """Class 1 wins from a mean of ``border`` on."""

    def __init__(self, border: float) -> None:
        super().__init__()
        self.border = border

    def forward(self, x: Tensor) -> Tensor:
        mean = x.flatten(1).mean(1)
        return torch.stack([2 * self.border - mean, mean], dim=1)


def ended(attack: Attack, model: nn.Module, value: float, **more: Any) -> tuple[str, str]:
    x = torch.full((1, 1, 4, 4), value)
    t = craft(attack, model.eval(), x, torch.tensor([0]), **more)
    assert t.stalled.tolist() == [w == VANISHED for w in t.outcomes]
    return t.outcomes[0], t.advice


def test_each_outcome_has_its_word_and_its_advice() -> None:
    assert ended(IGSM(epsilon=0.3), Brightness(0.5), 0.4) == (SUCCEEDED, "1 succeeded")
    word, advice = ended(IGSM(epsilon=0.1), Brightness(0.9), 0.4)
    assert (word, OUTCOMES[SPENT] in advice) == (SPENT, True)
    word, advice = ended(IGSM(), Flat(), 0.4)
    assert (word, "not robustness" in advice) == (VANISHED, True)
    word, _ = ended(JSMA(gamma=0.2), Brightness(2.0), 0.4, target=1)
    assert word == SPENT
    # Half of the pixels are white: four pairs later all are, and no pair can still move.
    half = (torch.arange(16) % 2).view(1, 1, 4, 4).float()
    t = craft(JSMA(gamma=1.0), Brightness(2.0).eval(), half, torch.tensor([0]), target=1)
    assert (t.outcomes, t.step.tolist()) == ([STUCK], [0, 1, 2, 3, 4])


def test_a_trajectory_says_that_gradients_were_lost() -> None:
    x = torch.full((2, 1, 4, 4), 0.4)
    t = craft(IGSM(), Flat().eval(), x, torch.tensor([0, 0]))
    assert "2 lost their gradients" in repr(t)
