from __future__ import annotations

import time

import numpy as np
import pytest
import torch
from torch import nn

from undertow.attacks import IGSM, JSMA, make
from undertow.attacks.driver.craft import craft
from undertow.attacks.driver.record import Sighting
from undertow.errors import BadInput
from undertow.viewer.attacking import attack_live
from undertow.viewer.form import attacks, chosen_settings, declared
from undertow.viewer.jobs import Jobs, LiveAttack, Stopped
from undertow.viewer.source import Source


def linear(classes: int = 4) -> nn.Module:
    torch.manual_seed(0)
    model = nn.Sequential(nn.Flatten(), nn.Linear(3 * 8 * 8, classes))
    return model.eval().requires_grad_(False)


@pytest.mark.parametrize(
    "attack", [IGSM(epsilon=0.05, steps=6, stop=False), JSMA(theta=0.5, gamma=0.2)]
)
def test_watching_changes_nothing(attack: IGSM | JSMA) -> None:
    model, x = linear(), torch.rand(3, 3, 8, 8, generator=torch.Generator().manual_seed(1))
    y = model(x).argmax(1)
    seen: list[int] = []
    alone = craft(attack, model, x, y, seed=3)
    both = craft(attack, model, x, y, seed=3, watch=lambda now: seen.append(now.step))
    assert torch.equal(alone.end, both.end)
    assert torch.equal(alone.images, both.images)
    assert torch.equal(alone.forwards, both.forwards)
    assert alone.settings == both.settings
    assert seen == list(range(1, int(alone.step.max()) + 1))


def test_an_attack_can_be_stopped_between_steps() -> None:
    model, x = linear(), torch.rand(1, 3, 8, 8, generator=torch.Generator().manual_seed(1))

    def stop(now: Sighting) -> None:
        if now.step == 3:
            raise Stopped

    with pytest.raises(Stopped):
        craft(IGSM(steps=50, stop=False), model, x, model(x).argmax(1), watch=stop)
    assert all(p.grad is None for p in model.parameters())


def test_one_attack_at_a_time_and_stop_ends_it() -> None:
    jobs = Jobs()

    def work(job: LiveAttack) -> None:
        while True:
            job.check()
            time.sleep(0.005)

    job = jobs.start(work)
    with pytest.raises(BadInput, match="another attack"):
        jobs.start(work)
    job.stop()
    end = time.monotonic() + 5
    while job.state == "running" and time.monotonic() < end:
        time.sleep(0.01)
    assert job.state == "stopped"
    again = jobs.start(lambda job: None)
    assert jobs.get(again.id) is again
    assert jobs.get("no such job") is None


@pytest.mark.parametrize(
    ("error", "words"), [(ValueError("no"), "ValueError: no"), (BadInput("so"), "so")]
)
def test_what_an_attack_raises_is_told(error: Exception, words: str) -> None:
    jobs = Jobs()

    def work(job: LiveAttack) -> None:
        raise error

    job = jobs.start(work)
    end = time.monotonic() + 5
    while job.state == "running" and time.monotonic() < end:
        time.sleep(0.01)
    assert job.state == "failed"
    assert words in job.words


def test_a_live_attack_shows_its_steps_and_then_its_profiles(source: Source) -> None:
    torch.manual_seed(0)
    model = (
        nn.Sequential(
            nn.Conv2d(3, 8, 3, padding=1),
            nn.ReLU(),
            nn.MaxPool2d(2),
            nn.Conv2d(8, 8, 3, padding=1),
            nn.ReLU(),
            nn.AdaptiveAvgPool2d(1),
            nn.Flatten(),
            nn.Linear(8, 5),
        )
        .eval()
        .requires_grad_(False)
    )
    job, shown = LiveAttack(), []
    show = job.show

    def noting(path: object, words: str) -> None:
        shown.append((len(getattr(path, "steps", ())), words))
        show(path, words)  # type: ignore[arg-type]

    job.show = noting  # type: ignore[method-assign, assignment]
    image = np.random.default_rng(0).random((3, 16, 16)).astype(np.float32)
    attack_live(
        job,
        source,
        model=lambda: model,
        model_name="mine",
        data=None,
        image=image,
        label=None,
        classes=(),
        index=0,
        attack="igsm",
        settings={"epsilon": 0.02, "steps": 5, "stop": False},
        target=None,
        name="x",
    )
    assert [n for n, _ in shown[:6]] == [1, 2, 3, 4, 5, 6]
    assert job.path is not None
    assert job.path.images.shape == (6, 3, 16, 16)
    np.testing.assert_array_equal(job.path.steps, np.arange(6))
    assert np.abs(job.path.images - job.path.images[0]).max() <= 0.02 + 1e-6
    assert job.payload()["key"] == job.id


@pytest.mark.parametrize("name", sorted(attacks()))
def test_the_form_of_every_attack_gives_its_defaults(name: str) -> None:
    shown = {
        f.name: float(f"{f.default:.4g}") if isinstance(f.default, float) else f.default
        for f in declared(name)
    }
    assert make(name, **chosen_settings(name, shown)) == make(name)


def test_settings_that_are_none_are_refused() -> None:
    with pytest.raises(BadInput, match="must be a number"):
        chosen_settings("igsm", {"epsilon": "much"})
    with pytest.raises(BadInput, match="allowed: logits, softmax"):
        chosen_settings("jsma", {"outputs": "__import__('os')"})
    with pytest.raises(BadInput, match="epsilon"):
        make("igsm", **chosen_settings("igsm", {"epsilon": 7}))
    assert chosen_settings("igsm", {"steps": 3, "alpha": "", "nothing": 1}) == {"steps": 3}
