"""The other libraries' attacks, each as a function from a task to where it ended."""

from __future__ import annotations

import warnings
from importlib.metadata import PackageNotFoundError, version
from typing import Any

import torch
from torch import Tensor, nn

from benchmarks.attacks import stand_ins
from benchmarks.attacks.measuring import Run, Task

__all__ = ["adv_lib", "art", "foolbox", "torchattacks", "versions"]

PACKAGES = ("torch", "foolbox", "adversarial-robustness-toolbox", "torchattacks", "adv-lib")


def versions() -> dict[str, str]:
    """The versions of those that are installed."""
    found = {}
    for name in PACKAGES:
        try:
            found[name] = version(name)
        except PackageNotFoundError:
            found[name] = "not installed"
    return found


def adv_lib(name: str, **options: Any) -> Run:
    """A function of adv-lib."""

    def run(task: Task) -> Tensor:
        stand_ins.install()
        import adv_lib.attacks as library

        targeted = task.goal.target is not None
        classes = task.goal.target if targeted else task.goal.label
        end: Tensor = getattr(library, name)(
            task.model, task.x, classes, targeted=targeted, **options
        )
        return end

    return run


def foolbox(name: str, epsilon: float | None = None, **options: Any) -> Run:
    """An attack of Foolbox."""

    def run(task: Task) -> Tensor:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            import foolbox as library

            model = library.PyTorchModel(task.model, bounds=(0, 1), device="cpu")
        goal = task.goal
        if goal.target is None:
            criterion = library.criteria.Misclassification(goal.label)
        else:
            criterion = library.criteria.TargetedMisclassification(goal.target)
        attack = getattr(library.attacks, name)(**options)
        if epsilon is None:
            end: Tensor = attack.run(model, task.x, criterion)
        else:
            end = attack.run(model, task.x, criterion, epsilon=epsilon)
        return end

    return run


def torchattacks(name: str, **options: Any) -> Run:
    """An attack of torchattacks."""

    def run(task: Task) -> Tensor:
        import torchattacks as library

        attack = getattr(library, name)(task.model, **options)
        classes = task.goal.label
        if task.goal.target is not None:
            attack.set_mode_targeted_by_label(quiet=True)
            classes = task.goal.target
        end: Tensor = attack(task.x, classes)
        return end

    return run


def art(name: str, **options: Any) -> Run:
    """An evasion attack of ART, the batch as large as the task."""

    def run(task: Task) -> Tensor:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            from art.attacks import evasion as library
            from art.estimators.classification import PyTorchClassifier

            classifier = PyTorchClassifier(
                task.model,
                nn.CrossEntropyLoss(),
                tuple(task.x.shape[1:]),
                task.model(task.x[:1]).shape[1],
                clip_values=(0.0, 1.0),
                device_type="cpu",
            )
            settings = dict(options, batch_size=len(task.x), verbose=False)
            goal = task.goal
            if goal.target is not None and name != "SaliencyMapMethod":
                settings["targeted"] = True
            attack = getattr(library, name)(classifier, **settings)
            classes = goal.label if goal.target is None else goal.target
            return torch.from_numpy(attack.generate(task.x.numpy(), classes.numpy()))

    return run
