"""What is compared: per contest our attack first, then the peers at the same settings."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field

import torch
from torch import Tensor
from torch.nn.functional import cross_entropy

import undertow as ut
from benchmarks.attacks import peers
from benchmarks.attacks.measuring import Run, Task
from undertow.attacks.driver.oracle import frozen
from undertow.types import Attack, Precision

__all__ = ["CONTESTS", "Contest"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Contest:
    """One comparison.

    Args:
        about: one line.
        targeted: whether each input has a wrong class to reach.
        inputs: how many.
        runs: contestants by name, ours first.
        reach: contestant -> how many times slower than ours it has to be.
    """

    about: str
    targeted: bool
    inputs: int
    runs: dict[str, Run]
    reach: dict[str, float] = field(default_factory=dict)


def ours(attack: Callable[[], Attack], precision: Precision = "float32") -> Run:
    """Undertow, with all iterates recorded."""

    def run(task: Task) -> Tensor:
        goal = task.goal
        target = "untargeted" if goal.target is None else goal.target
        return ut.craft(
            attack(), task.model, task.x, goal.label, target=target, precision=precision
        ).end

    return run


def bare(steps: int, epsilon: float, alpha: float) -> Run:
    """The shortest loop that makes IGSM's model calls: what a driver's overhead is against.

    Images go to the model as the driver hands them over, with their channels innermost.
    """

    def run(task: Task) -> Tensor:
        with frozen([task.model]):
            return walk(task)

    def walk(task: Task) -> Tensor:
        x = task.x
        for _ in range(steps):
            leaf = x.detach().requires_grad_()
            given = leaf.contiguous(memory_format=torch.channels_last)
            loss = cross_entropy(task.model(given), task.goal.label, reduction="sum")
            (g,) = torch.autograd.grad(loss, leaf)
            x = (task.x + (x + alpha * g.sign() - task.x).clamp(-epsilon, epsilon)).clamp(0, 1)
        with torch.no_grad():
            task.model(x.contiguous(memory_format=torch.channels_last))
        return x

    return run


EPS, ALPHA, STEPS = 8 / 255, 1 / 255, 40
CW = {"confidence": 0.0, "learning_rate": 0.01}
ROUNDS, TURNS, CONSTANT = 5, 100, 0.01


def _igsm() -> Attack:
    return ut.attacks.IGSM(epsilon=2 / 255, steps=20)


def _cw() -> Attack:
    return ut.attacks.CW(rounds=ROUNDS, steps=TURNS, constant=CONSTANT, **CW)


CONTESTS = {
    "jsma": Contest(
        about="JSMA, θ 1, γ 0.145, one wrong class an input; ART picks by the gradient rule",
        targeted=True,
        inputs=32,
        runs={
            "undertow gradient": ours(lambda: ut.attacks.JSMA(rule="gradient")),
            "undertow pair": ours(ut.attacks.JSMA),
            "undertow softmax": ours(lambda: ut.attacks.JSMA(outputs="softmax")),
            "art": peers.art("SaliencyMapMethod", theta=1.0, gamma=0.145),
        },
        reach={"art": 8},
    ),
    "jsma-torchattacks": Contest(
        about="JSMA again, on as few inputs as torchattacks can be waited for",
        targeted=True,
        inputs=4,
        runs={
            "undertow pair": ours(ut.attacks.JSMA),
            "torchattacks": peers.torchattacks("JSMA", theta=1.0, gamma=0.145),
        },
        reach={"torchattacks": 100},
    ),
    "deepfool": Contest(
        about="DeepFool, L2, at most 50 steps, overshoot 0.02",
        targeted=False,
        inputs=32,
        runs={
            "undertow": ours(ut.attacks.DeepFool),
            "adv-lib": peers.adv_lib("df", steps=50, overshoot=0.02),
            "foolbox": peers.foolbox("L2DeepFoolAttack", steps=50, overshoot=0.02),
            "art": peers.art("DeepFool", max_iter=50, epsilon=0.02),
            "torchattacks": peers.torchattacks("DeepFool", steps=50, overshoot=0.02),
        },
        reach={"adv-lib": 1.3},
    ),
    "cw": Contest(
        about=f"C&W, L2, {ROUNDS} rounds of {TURNS} steps, first constant {CONSTANT}",
        targeted=False,
        inputs=8,
        runs={
            "undertow": ours(
                lambda: ut.attacks.CW(rounds=ROUNDS, steps=TURNS, constant=CONSTANT, **CW)
            ),
            "adv-lib": peers.adv_lib(
                "carlini_wagner_l2",
                binary_search_steps=ROUNDS,
                max_iterations=TURNS,
                initial_const=CONSTANT,
                **CW,
            ),
            "foolbox": peers.foolbox(
                "L2CarliniWagnerAttack",
                binary_search_steps=ROUNDS,
                steps=TURNS,
                stepsize=0.01,
                initial_const=CONSTANT,
            ),
            "art": peers.art(
                "CarliniL2Method",
                binary_search_steps=ROUNDS,
                max_iter=TURNS,
                initial_const=CONSTANT,
                **CW,
            ),
            "torchattacks": peers.torchattacks("CW", c=1, kappa=0, steps=ROUNDS * TURNS, lr=0.01),
        },
        reach={"adv-lib": 1.1},
    ),
    "cw_linf": Contest(
        about="C&W, L∞, at most 100 steps for one threshold and one constant",
        targeted=False,
        inputs=2,
        runs={
            "undertow": ours(lambda: ut.attacks.CWLinf(constant=0.01, largest=20, steps=100)),
            "adv-lib": peers.adv_lib(
                "carlini_wagner_linf", max_iterations=100, initial_const=0.01, learning_rate=0.005
            ),
            "art": peers.art(
                "CarliniLInfMethod", max_iter=100, initial_const=0.01, learning_rate=0.005
            ),
        },
    ),
    "cw_l0": Contest(
        about="C&W, L0, at most 100 steps for one set of components",
        targeted=False,
        inputs=2,
        runs={
            "undertow": ours(ut.attacks.CWL0),
            "art": peers.art("CarliniL0Method", binary_search_steps=1, max_iter=100),
        },
    ),
    "igsm": Contest(
        about="IGSM, ε 8/255, α 1/255, at most 40 steps",
        targeted=False,
        inputs=32,
        runs={
            "undertow": ours(lambda: ut.attacks.IGSM(epsilon=EPS, alpha=ALPHA, steps=STEPS)),
            "torchattacks": peers.torchattacks("BIM", eps=EPS, alpha=ALPHA, steps=STEPS),
            "foolbox": peers.foolbox(
                "LinfBasicIterativeAttack", EPS, abs_stepsize=ALPHA, steps=STEPS, random_start=False
            ),
            "art": peers.art("BasicIterativeMethod", eps=EPS, eps_step=ALPHA, max_iter=STEPS),
            "adv-lib": peers.adv_lib(
                "pgd_linf", ε=EPS, steps=STEPS, absolute_step_size=ALPHA, random_init=False
            ),
        },
        reach={"torchattacks": 3},
    ),
    "pgd": Contest(
        about="PGD, L∞, ε 8/255, α 1/255, at most 40 steps from a random start",
        targeted=False,
        inputs=32,
        runs={
            "undertow": ours(lambda: ut.attacks.PGD(epsilon=EPS, alpha=ALPHA, steps=STEPS)),
            "torchattacks": peers.torchattacks("PGD", eps=EPS, alpha=ALPHA, steps=STEPS),
            "foolbox": peers.foolbox("LinfPGD", EPS, abs_stepsize=ALPHA, steps=STEPS),
            "art": peers.art(
                "ProjectedGradientDescentPyTorch",
                eps=EPS,
                eps_step=ALPHA,
                max_iter=STEPS,
                num_random_init=1,
            ),
            "adv-lib": peers.adv_lib("pgd_linf", ε=EPS, steps=STEPS, absolute_step_size=ALPHA),
        },
        reach={"torchattacks": 3},
    ),
    **{
        f"bf16-{name}": Contest(
            about=f"{title}: gradients in bfloat16, each success verified, beside float32",
            targeted=targeted,
            inputs=inputs,
            runs={"undertow bf16": ours(make, "bf16"), "undertow": ours(make)},
            reach={"undertow": 1.6},
        )
        for name, title, targeted, inputs, make in (
            ("igsm", "IGSM, ε 2/255, at most 20 steps", False, 128, _igsm),
            ("jsma", "JSMA, θ 1, γ 0.145, one wrong class an input", True, 32, ut.attacks.JSMA),
            ("deepfool", "DeepFool", False, 64, ut.attacks.DeepFool),
            ("cw", f"C&W, L2, {ROUNDS} rounds of {TURNS} steps", False, 8, _cw),
        )
    },
    "driver": Contest(
        about="what the driver adds to IGSM's 40 steps, none of them spared, all recorded",
        targeted=False,
        inputs=32,
        runs={
            "undertow": ours(
                lambda: ut.attacks.IGSM(epsilon=EPS, alpha=ALPHA, steps=STEPS, stop=False)
            ),
            "bare loop": bare(STEPS, EPS, ALPHA),
        },
        reach={"bare loop": 0.97},
    ),
}
