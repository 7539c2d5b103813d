from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any, ClassVar

import pytest
import torch
from torch import Tensor, nn

import undertow
from undertow import craft
from undertow.attacks import CW, FGSM, IGSM, JSMA, PGD, DeepFool, draws_for
from undertow.attacks.driver.craft import Record
from undertow.attacks.driver.open import open_oracle
from undertow.data import load_data
from undertow.models import load_model
from undertow.models.steady import TRIED
from undertow.seeds import derive
from undertow.testing.attacks import Counting
from undertow.types import Attack, Draws, Goal, Images, Iterate, Iterates, Norm, Oracle

Batch = tuple[Tensor, Tensor]


def _right(model: nn.Module, batch: Batch, most: int = 8) -> Batch:
    with torch.no_grad():
        right = model(batch[0]).argmax(1) == batch[1]
    return batch[0][right][:most], batch[1][right][:most]


def test_easiest_is_the_exhaustive_answer_where_steps_are_pixels(
    model: nn.Module, batch: Batch
) -> None:
    """Every wrong class on its own: none needs fewer steps, and the winner is as it is alone."""
    x, y = _right(model, batch, 3)
    attack = JSMA(gamma=0.4)
    easiest = craft(attack, model, x, y, target="easiest")
    for i in range(len(x)):
        alone = {
            k: craft(attack, model, x[i : i + 1], y[i : i + 1], target=k)
            for k in range(10)
            if k != int(y[i])
        }
        fewest = min(int(t.steps) for t in alone.values() if t.success)
        winner = alone[int(easiest.target[i])]
        assert bool(easiest.success[i])
        assert int(easiest.steps[i]) == fewest == int(winner.steps)
        assert torch.equal(easiest.end[i], winner.end[0])
        rivals = [t for t in alone.values() if t.success and int(t.steps) == fewest]
        assert int(easiest.l0[i]) == min(int(t.l0) for t in rivals)


@pytest.mark.parametrize("attack", [IGSM(epsilon=0.3), PGD(epsilon=0.3)])
def test_easiest_retires_siblings_at_the_first_success(
    attack: Any, model: nn.Module, batch: Batch
) -> None:
    x, y = _right(model, batch, 2)
    draws = draws_for(0, range(len(x)))
    t = craft(attack, model, x, y, target="easiest", seed=draws)
    for i in range(len(x)):
        one = draws[torch.tensor([i])]
        alone = {
            k: craft(attack, model, x[i : i + 1], y[i : i + 1], target=k, seed=one)
            for k in range(10)
            if k != int(y[i])
        }
        fewest = min(int(a.steps) for a in alone.values() if a.success)
        assert int(t.steps[i]) == fewest
        # One look at the benign input, then all nine move together until the first success; the
        # start of IGSM is shared with nobody.
        start = 9
        assert int(t.forwards[i]) == 1 + start + 9 * fewest
        assert int(t.backwards[i]) == 9 * fewest
        assert len(t.records(i)) == fewest + 1


def test_easiest_takes_the_nearest_of_an_attack_that_goes_on(
    model: nn.Module, batch: Batch
) -> None:
    x, y = _right(model, batch, 1)
    attack = CW(rounds=2, steps=15, constant=1.0, learning_rate=0.05)
    t = craft(attack, model, x, y, target="easiest", record=Record(every=None))
    for i in range(len(x)):
        alone = [
            craft(attack, model, x[i : i + 1], y[i : i + 1], target=k) for k in range(10)
            if k != int(y[i])
        ]  # fmt: skip
        best = min(float(a.l2) for a in alone if a.success)
        assert float(t.l2[i]) == pytest.approx(best, rel=1e-4)
        # Alone, the look at the benign input serves C&W's first step, which is made there.
        assert int(t.forwards[i]) == 1 + sum(int(a.forwards) for a in alone)


def test_targets_by_rule(model: nn.Module, batch: Batch) -> None:
    x, y = batch
    with torch.no_grad():
        logits = model(x)
    wrong = logits.scatter(1, y[:, None], -torch.inf)
    second = craft(FGSM(), model, x, y, target="second")
    assert torch.equal(second.target, wrong.argmax(1))
    least = craft(FGSM(), model, x, y, target="least_likely")
    assert torch.equal(least.target, wrong.masked_fill(wrong.isinf(), torch.inf).argmin(1))
    fixed = craft(FGSM(), model, x, y, target=(y + 1) % 10)
    assert torch.equal(fixed.target, (y + 1) % 10)
    assert (craft(FGSM(), model, x, y).target == -1).all()
    absent = next(k for k in range(10) if k not in y.tolist())
    assert (craft(FGSM(), model, x, y, target=absent).target == absent).all()


def test_easiest_of_very_many_classes_tries_the_likeliest(batch: Batch) -> None:
    """What it finds is the best of the eight targets that the benign logits name."""
    torch.manual_seed(5)
    x = batch[0][:2]
    model = nn.Sequential(nn.Flatten(), nn.Linear(x[0].numel(), 200)).eval()
    answer = model(x)
    y = answer.argmax(1)
    found = craft(IGSM(epsilon=0.3), model, x, y, target="easiest")
    for i in range(2):
        likeliest = answer[i].topk(9).indices.tolist()[1:]
        alone = [
            craft(IGSM(epsilon=0.3), model, x[i : i + 1], y[i : i + 1], target=k) for k in likeliest
        ]
        fewest = min(int(a.steps) for a in alone if a.success)
        assert int(found.target[i]) in likeliest
        assert int(found.steps[i]) == fewest
        assert int(found.backwards[i]) == 8 * fewest


def test_jsma_takes_the_easiest_target_by_itself(model: nn.Module, batch: Batch) -> None:
    x, y = _right(model, batch, 2)
    own, asked = craft(JSMA(), model, x, y), craft(JSMA(), model, x, y, target="easiest")
    assert torch.equal(own.end, asked.end)
    assert (own.target >= 0).all()


def test_one_forward_a_step_serves_judge_and_gradient(model: nn.Module, batch: Batch) -> None:
    """k steps cost k + 1 forward rows and k backward rows, the start included."""
    x, y = _right(model, batch)
    t = craft(IGSM(epsilon=0.3, steps=10), model, x, y)
    assert torch.equal(t.forwards, t.steps + 1)
    assert torch.equal(t.backwards, t.steps)
    assert (craft(FGSM(), model, x, y).forwards == 2).all()


def test_finished_samples_cost_nothing_more(model: nn.Module, batch: Batch) -> None:
    x, y = _right(model, batch)
    counting = Counting(model).eval()
    t = craft(IGSM(epsilon=0.3, steps=40), counting, x, y)
    assert int(t.steps.min()) < int(t.steps.max()), "all end together: nothing is tested"
    probes = 3 + TRIED  # one to see the classes, two to see the layout
    assert counting.forwards - probes == int(t.forwards.sum())


def test_the_overshooting_gradient_is_zero_and_says_so(batch: Batch) -> None:
    """A saturated softmax: gradients vanish, and the trajectory says it stalled."""

    class Saturated(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.inner = nn.Sequential(nn.Flatten(), nn.Linear(64, 3))
            with torch.random.fork_rng():
                torch.manual_seed(0)
                nn.init.normal_(self.inner[1].weight)

        def forward(self, images: Tensor) -> Tensor:
            z: Tensor = self.inner(images)
            return 1e5 * z

    saturated = Saturated().eval()
    x = batch[0]
    with torch.no_grad():
        y = saturated(x).argmax(1)
    t = craft(IGSM(epsilon=0.01), saturated, x, y)
    assert t.stalled.all()
    assert not t.success.any()
    assert (t.backwards == 1).all(), "it went on although nothing could move"
    reached = craft(DeepFool(), saturated, x, y)  # logits have gradients: no stall there
    assert not reached.stalled.any()
    assert reached.success.all()


def test_no_success_is_not_a_stall(model: nn.Module, batch: Batch) -> None:
    t = craft(IGSM(epsilon=0.001, steps=3), model, *_right(model, batch))
    assert not t.success.any()
    assert not t.stalled.any()
    assert (t.steps == 3).all(), "the end is the last iterate"


def test_draws_belong_to_the_sample(model: nn.Module, batch: Batch) -> None:
    x, y = _right(model, batch)
    t = craft(PGD(epsilon=0.3), model, x, y, seed=7)
    turned = craft(
        PGD(epsilon=0.3), model, x.flip(0), y.flip(0), seed=draws_for(7, range(len(x))[::-1])
    )
    assert torch.allclose(t.end, turned.end.flip(0), atol=1e-5)
    other = craft(PGD(epsilon=0.3), model, x, y, seed=8)
    assert not torch.allclose(t.end, other.end, atol=1e-3)
    assert draws_for(7, [3]).seeds.tolist() == [derive(7, "craft", 3)]


@contextmanager
def _heard(log: list[Any], title: str, total: float, unit: str = "") -> Iterator[Any]:
    log.append((title, total, unit))
    yield lambda amount=1, note="": log.append(amount)


def test_progress_counts_inputs(model: nn.Module, batch: Batch) -> None:
    log: list[Any] = []
    craft(FGSM(), model, *batch, batch_size=3, progress=lambda *a: _heard(log, *a))
    assert log[0] == ("craft fgsm", 8, "inputs")
    assert log[1:] == [2, 3, 3]


def test_at_most_thins_evenly(model: nn.Module, batch: Batch) -> None:
    x, y = _right(model, batch, 3)
    cw = CW(rounds=2, steps=40, abort_early=False)
    t = craft(cw, model, x, y, record=Record(at_most=10, success=True))
    for i in range(len(x)):
        steps = t.step[t.records(i)]
        assert len(steps) <= 10
        regular = steps[(steps % 16) == 0]
        assert regular.tolist() == list(range(0, 81, 16))


@dataclass(frozen=True, kw_only=True)
class _Restless(Attack):
    """Changes its own tensor in place after it was yielded, and goes on after success."""

    name: ClassVar[str] = "restless"
    norm: ClassVar[Norm] = "l2"
    stops_at_success: ClassVar[bool] = False

    def iterates(self, model: Oracle, x0: Images, goal: Goal, *, draws: Draws) -> Iterates:
        x = x0.clone()
        for step in range(1, 5):
            x.add_(0.01).clamp_(0, 1)
            keep = yield Iterate(step=step, x=x, notes={"step": torch.full((len(x),), step)})
            x = x[keep]


def test_records_are_copies(model: nn.Module, batch: Batch) -> None:
    x, y = _right(model, batch, 2)
    t = craft(_Restless(), model, x, y)
    for i in range(len(x)):
        own = t.records(i)
        for k, image in zip(t.step[own], t.images[own], strict=True):
            assert torch.allclose(image, (x[i] + 0.01 * int(k)).clamp(0, 1), atol=1e-6)
    assert t.notes["step"][t.step > 0].tolist() == t.step[t.step > 0].tolist()
    assert (t.notes["step"][t.step == 0] == -1).all()


def test_models_that_dislike_channels_last(model: nn.Module, batch: Batch) -> None:
    class Views(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.conv = nn.Conv2d(3, 4, 3, padding=1)
            self.last = nn.Linear(256, 10)

        def forward(self, images: Tensor) -> Tensor:
            z: Tensor = self.last(self.conv(images).view(len(images), -1))
            return z

    views, coloured = Views().eval(), batch[0].repeat(1, 3, 1, 1)
    assert not open_oracle(FGSM(), (views,), coloured).channels_last  # type: ignore[union-attr]
    assert open_oracle(FGSM(), (model,), batch[0]).channels_last  # type: ignore[union-attr]
    assert len(craft(FGSM(), views, coloured, batch[1])) == 8


def test_a_model_without_parameters(batch: Batch) -> None:
    class Means(nn.Module):
        def forward(self, images: Tensor) -> Tensor:
            return torch.stack([images.flatten(1).mean(1), 0.3 + 0 * images.flatten(1).mean(1)], 1)

    x, y = batch[0], (batch[0].flatten(1).mean(1) < 0.3).long()
    t = craft(IGSM(epsilon=0.3), Means().eval(), x, y)
    assert t.success.all()


def test_the_interrupted_driver_thaws_the_model(model: nn.Module, batch: Batch) -> None:
    class Stops(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.inner, self.calls = model, 0

        def forward(self, images: Tensor) -> Tensor:
            self.calls += 1
            if self.calls > 5:
                raise KeyboardInterrupt
            z: Tensor = self.inner(images)
            return z

    with pytest.raises(KeyboardInterrupt):
        craft(IGSM(epsilon=0.001), Stops().eval(), *batch)
    assert all(p.requires_grad for p in model.parameters())


def test_sparse_attacks_keep_changes(model: nn.Module, batch: Batch) -> None:
    x, y = _right(model, batch, 3)
    t = craft(JSMA(gamma=0.4), model, x, y)
    kept = t.__dict__["images"]
    assert int(kept.counts.sum()) <= 2 * int(t.step.sum())
    some = torch.tensor([4, 0, 2])
    assert torch.equal(t.images_of(some), t.images[some])
    dense = craft(IGSM(), model, x, y)
    assert torch.equal(dense.images_of(some), dense.images[some])


def test_public_names() -> None:
    assert isinstance(undertow.attacks.JSMA(), JSMA)
    for name in undertow.attacks.__all__:
        assert getattr(undertow.attacks, name) is not None
    with pytest.raises(AttributeError, match="Igsm"):
        _ = undertow.attacks.Igsm


def test_more_restarts_of_pgd_never_do_less_and_begin_elsewhere():
    model, (x, y) = load_model("digits_cnn"), load_data("digits")[:60]
    shares = []
    for restarts in (1, 2, 4):
        attack = PGD(epsilon=0.08, steps=8, restarts=restarts, loss="both")
        t = craft(attack, model, x, y)
        shares.append(float(t.success.float().mean()))
        assert int(t.steps.max()) <= 8 * restarts
    assert shares == sorted(shares)
    assert shares[0] < shares[-1]
    draws = draws_for(0, range(3))
    assert torch.equal(draws.again(0).seeds, draws.seeds)
    assert len({int(s) for n in range(4) for s in draws.again(n).seeds}) == 12


def test_a_margin_has_a_gradient_where_the_softmax_has_none():
    """A saturated softmax: cross-entropy stalls, the margin of the logits does not."""
    inner = load_model("digits_cnn")

    class Hot(torch.nn.Module):
        def forward(self, x):
            return 1e4 * inner(x)

    x, y = load_data("digits")[:40]
    right = inner(x).argmax(1) == y
    x, y = x[right], y[right]
    entropy, margin = (
        craft(PGD(epsilon=0.2, loss=loss), Hot().eval(), x, y).success.float().mean()
        for loss in ("entropy", "margin")
    )
    assert margin > entropy + 0.3
