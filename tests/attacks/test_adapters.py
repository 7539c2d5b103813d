"""Attacks of other libraries, heard through their forward calls."""

from __future__ import annotations

import functools
import importlib.util
import sys
from types import ModuleType

import pytest
import torch
from torch import nn

from undertow import attacks
from undertow.attacks.adapters import library_of, listen, owners
from undertow.attacks.driver.record import Record
from undertow.errors import BadInput

REASON = "{} is not installed: it comes with the extra [attacks]"


def library(name):
    return pytest.importorskip(name, reason=REASON.format(name))


@pytest.fixture
def adv_lib(monkeypatch):
    """adv-lib imports torchvision and visdom for things that its attacks do without."""
    for name in ("torchvision", "visdom"):
        if name not in sys.modules and importlib.util.find_spec(name) is None:
            module = ModuleType(name)
            module.models = ModuleType("models")
            monkeypatch.setitem(sys.modules, name, module)
    return library("adv_lib.attacks")


class Planes(nn.Module):
    """Linear logits of the first four components: borders are planes, at known distances."""

    def __init__(self):
        super().__init__()
        self.linear = nn.Linear(4, 3)
        with torch.no_grad():
            self.linear.weight.copy_(
                torch.tensor([[2.0, 0, 0, 0], [0, 2.0, 0, 0], [0, 0, 2.0, 0.5]])
            )
            self.linear.bias.zero_()

    def forward(self, x):
        return self.linear(x.flatten(1)[:, :4])


@pytest.fixture
def model():
    return Planes().eval()


@pytest.fixture
def data():
    x = torch.tensor(
        [[0.8, 0.2, 0.3, 0.5], [0.1, 0.7, 0.5, 0.4], [0.3, 0.2, 0.9, 0.6], [0.6, 0.5, 0.1, 0.2]]
    )
    # The model does not look at the rest, which keeps images as far apart as images are.
    rest = 0.1 + 0.8 * torch.eye(4).repeat_interleave(8, dim=1)
    return torch.cat([x, rest], dim=1).view(4, 1, 6, 6), torch.tensor([0, 1, 2, 0])


def check(t, model, x, y):
    """What must hold of every trajectory, whoever made it."""
    assert t.origin == "forward calls"
    assert torch.equal(t.benign, x)
    assert len(t) == len(x)
    for i in range(len(x)):
        records = t.records(i)
        assert records.tolist() == list(range(records[0], records[-1] + 1))
        assert t.step[records[0]] == 0
        assert torch.equal(t.images[records[0]], x[i])
        assert (t.step[records].diff() > 0).all()
        assert len(t.images[records].flatten(1).unique(dim=0)) == len(records)  # repeats merged
        last = records[t.step[records] == t.steps[i]]
        assert torch.equal(t.images[last[0]], t.end[i])
        # Nobody else's inputs: all are nearer to one's own benign input than to another's.
        gap = torch.cdist(t.images[records].flatten(1), x.flatten(1))
        assert (gap.argmin(dim=1) == i).all()
    assert torch.allclose(t.logits, model(t.images), atol=1e-5)
    assert torch.allclose(t.end_logits, model(t.end), atol=1e-5)
    assert t.images.min() >= 0
    assert t.images.max() <= 1
    assert torch.allclose(t.l2, (t.end - x).flatten(1).norm(dim=1))
    aim = t.end_logits.argmax(1)
    assert torch.equal(t.success, torch.where(t.target < 0, aim != y, aim == t.target))
    assert not any(p.grad is not None for p in model.parameters())
    assert not model._forward_hooks


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("batch_size", [None, 1, 3])
def test_foolbox(model, data, batch_size):
    fb = library("foolbox")
    attack = fb.attacks.LinfPGD(steps=6, abs_stepsize=0.1, random_start=False)
    t = listen(attack, model, *data, epsilons=0.4, batch_size=batch_size)
    check(t, model, *data)
    assert t.attack == "foolbox:LinfProjectedGradientDescentAttack"
    assert t.settings["epsilons"] == 0.4
    assert t.settings["steps"] == 6
    assert (t.linf <= 0.4 + 1e-6).all()
    assert t.success.all()
    assert (t.forwards >= 6).all()
    assert (t.backwards == 6).all()


@pytest.mark.filterwarnings("ignore")
def test_foolbox_minimal_attacks_and_targets(model, data):
    fb = library("foolbox")
    t = listen(fb.attacks.L2DeepFoolAttack(steps=10), model, *data)
    check(t, model, *data)
    assert t.success.all()
    # Input 0: the border to class 2 is at |z0 - z2| / |w0 - w2| = (1.6 - 0.85) / sqrt(8.25).
    assert t.l2[0] == pytest.approx(0.75 / 8.25**0.5, rel=0.05)
    t = listen(fb.attacks.L2CarliniWagnerAttack(steps=20), model, *data, target="second")
    check(t, model, *data)
    assert t.target.tolist() == [2, 2, 0, 1]


@pytest.mark.filterwarnings("ignore")
def test_foolbox_sizes(model, data):
    fb = library("foolbox")
    with pytest.raises(BadInput, match="give epsilons=NUMBER"):
        listen(fb.attacks.LinfPGD(), model, *data)
    with pytest.raises(BadInput, match="give one number, or None"):
        listen(fb.attacks.LinfPGD(), model, *data, epsilons=[0.1, 0.2])


def arts_classifier(model):
    classification = library("art.estimators.classification")
    return classification.PyTorchClassifier(
        model, nn.CrossEntropyLoss(), (1, 6, 6), 3, clip_values=(0.0, 1.0), device_type="cpu"
    )


@pytest.mark.filterwarnings("ignore")
def test_art(model, data):
    evasion = library("art.attacks.evasion")
    attack = evasion.DeepFool(arts_classifier(model), max_iter=20, verbose=False, batch_size=3)
    t = listen(attack, model, *data)  # ART splits the four inputs into three and one
    check(t, model, *data)
    assert t.success.all()
    assert t.attack == "art:DeepFool"
    assert t.settings["max_iter"] == 20


@pytest.mark.filterwarnings("ignore")
def test_art_targets_must_agree(model, data):
    evasion = library("art.attacks.evasion")
    jsma = evasion.SaliencyMapMethod(arts_classifier(model), theta=0.3, gamma=1.0, verbose=False)
    t = listen(jsma, model, *data, target="second")
    check(t, model, *data)
    assert t.success.any()
    with pytest.raises(BadInput, match="SaliencyMapMethod is targeted, but no target class"):
        listen(jsma, model, *data)
    with pytest.raises(BadInput, match="DeepFool is untargeted, but a target class is given"):
        listen(evasion.DeepFool(arts_classifier(model)), model, *data, target="second")


@pytest.mark.filterwarnings("ignore")
def test_torchattacks(model, data):
    ta = library("torchattacks")
    attack = ta.PGD(model, eps=0.4, alpha=0.1, steps=5, random_start=False)
    t = listen(attack, model, *data)
    check(t, model, *data)
    assert t.success.all()
    assert (t.forwards == 5).all()  # the end is never asked about by this attack
    assert t.settings["eps"] == 0.4
    with pytest.raises(BadInput, match=r"call its set_mode_targeted_by_label\(\) first"):
        listen(attack, model, *data, target="second")
    attack.set_mode_targeted_by_label(quiet=True)
    t = listen(attack, model, *data, target="second")
    check(t, model, *data)
    with pytest.raises(BadInput, match=r"call its set_mode_default\(\) first"):
        listen(attack, model, *data)


@pytest.mark.filterwarnings("ignore")
def test_torchattacks_one_image_at_a_time(model, data):
    ta = library("torchattacks")
    attack = ta.DeepFool(model, steps=10)
    t = listen(attack, model, *data)  # asks about one image a call
    check(t, model, *data)
    assert t.success.all()


@pytest.mark.filterwarnings("ignore")
def test_adv_lib(adv_lib, model, data):
    t = listen(adv_lib.ddn, model, *data, steps=30)
    check(t, model, *data)
    assert t.success.all()
    assert t.attack == "adv_lib:ddn"
    t = listen(functools.partial(adv_lib.df, steps=20), model, *data)  # drops finished rows
    check(t, model, *data)
    assert t.settings == {"steps": 20}
    assert t.l2[0] == pytest.approx(0.75 / 8.25**0.5, rel=0.05)
    t = listen(adv_lib.pgd_linf, model, *data, target="least_likely", ε=0.4, steps=8)
    check(t, model, *data)


class Mine:
    """Stands for a user's own subclass of a library's attack."""


Mine.__module__ = "torchattacks.attacks.mine"


class Scripted(Mine):
    """Asks what it is told to, and gives back what it is told to."""

    attack_mode, targeted = "default", False

    def __init__(self, asks, end):
        self.asks, self.end = asks, end

    def __call__(self, x, labels):
        for ask in self.asks:
            ask(x)
        return self.end(x)


def test_a_subclass_is_its_librarys(model):
    assert library_of(Scripted([], None)) == "torchattacks"
    assert library_of(functools.partial(importlib.import_module)) is None
    assert library_of(model) is None


def test_repeats_are_merged_and_counted(model, data):
    x, y = data
    up = (x + 0.1).clamp(0, 1)
    script = Scripted([model, lambda x: model(up), lambda x: model(up), model], lambda x: up)
    t = listen(script, model, x, y)
    check(t, model, x, y)
    assert t.step.tolist() == [0, 1] * 4
    assert t.forwards.tolist() == [4] * 4
    assert t.steps.tolist() == [1] * 4


def test_the_true_end_is_a_record_even_if_never_asked_about(model, data):
    x, y = data
    t = listen(Scripted([model], lambda x: 1 - x), model, x, y)
    assert t.step.tolist() == [0, 1] * 4
    assert torch.equal(t.end, 1 - x)


def test_rows_in_any_order(model, data):
    x, y = data

    def shuffled(x):
        model(x[[2, 0]] * 0.9)
        model(x[[3, 1, 0, 2]] * 0.8)
        model(x[[1, 1, 1]] * 0.7)

    t = listen(Scripted([shuffled], lambda x: x), model, x, y)
    check(t, model, x, y)
    assert t.forwards.tolist() == [2, 4, 2, 1]
    assert t.step.bincount().tolist() == [4, 4, 3]


def test_what_to_keep(model, data):
    x, y = data

    def fade(x):
        for k in range(1, 21):
            model(x * (1 - k / 40))

    for policy, steps in (
        (Record(every=8), [0, 8, 16, 20]),
        (Record(every=None), [0, 20]),
        (Record(every=None, endpoints=False), [0]),
    ):
        t = listen(Scripted([fade], lambda x: x * 0.5), model, x, y, record=policy)
        assert t.step[t.records(1)].tolist() == steps
    t = listen(Scripted([fade], lambda x: x * 0.5), model, x, y, record=Record(at_most=6))
    assert len(t.records(0)) <= 6
    assert t.step[t.records(0)][-1] == 20


def test_stalled_is_told(model, data):
    x, y = data

    def zero(x):
        leaf = x.clone().requires_grad_()
        (model(leaf) * 0).sum().backward()

    t = listen(Scripted([zero], lambda x: x), model, x, y)
    assert t.stalled.all()
    assert t.backwards.tolist() == [1] * 4


def test_an_attack_made_for_another_model(model, data):
    with pytest.raises(BadInput, match="never asked this model"):
        listen(Scripted([Planes()], lambda x: x), model, *data)


def test_an_attack_that_leaves_the_box(model, data):
    with pytest.raises(BadInput, match=r"from 1.2 to 4.4; it must stay in \[0, 1\]"):
        listen(
            Scripted([lambda x: model(x * 4 + 0.4 + 0 * x)], lambda x: x),
            model,
            data[0] * 0 + 0.1 + data[0],
            data[1],
        )
    with pytest.raises(BadInput, match=r"gave back \(2, 1, 6, 6\)"):
        listen(Scripted([model], lambda x: x[:2]), model, *data)


def test_no_hook_stays_behind_when_the_attack_fails(model, data):
    def fails(x):
        raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        listen(Scripted([fails], None), model, *data)
    assert not model._forward_hooks
    assert all(p.requires_grad for p in model.parameters())


def test_bad_input(model, data):
    with pytest.raises(BadInput, match="of no known library"):
        listen(object(), model, *data)
    with pytest.raises(BadInput, match="give a class, or one an input"):
        listen(Scripted([], None), model, *data, target="easiest")
    with pytest.raises(BadInput, match="batch_size is 0"):
        listen(Scripted([], None), model, *data, batch_size=0)


def test_doubtful_owners():
    x = torch.zeros(2, 1, 1, 2)
    x[1, 0, 0, 0] = 1.0
    between = torch.tensor([[[[0.45, 0.0]]]])
    with pytest.raises(BadInput, match="about input 0 or 1; give batch_size=1"):
        owners(between, x, x)
    assert owners(between, x[:1], x[:1]).tolist() == [0]
    assert owners(torch.cat([between, between]), x, x).tolist() == [0, 1]  # a whole batch
    assert owners(x.flip(0), x, x).tolist() == [1, 0]  # clearly turned round


def test_it_is_public():
    assert attacks.listen is listen
