"""What every model of the zoo must do. Run each of :data:`CONTRACT` on every name there is."""

from __future__ import annotations

from collections.abc import Callable
from hashlib import file_digest

import torch
from torch import nn

from undertow.models import MODELS, check_output, fingerprint, load_model, multiply_adds, read_card
from undertow.models.blocks import Normalise
from undertow.models.cards import WEIGHTS
from undertow.models.defended import defence_in, undefended

__all__ = ["CONTRACT"]

MULTIPLY_ADDS = 60_000_000
"""So that everything runs on a laptop."""


def _example(name: str) -> torch.Tensor:
    generator = torch.Generator().manual_seed(0)
    return torch.rand((3, *read_card(name).shape), generator=generator)


def gives_logits(name: str) -> None:
    """One row of finite logits an input, one column a class of the card."""
    x = _example(name)
    check_output(load_model(name)(x), x, len(read_card(name).classes))


def is_frozen_in_evaluation_mode(name: str) -> None:
    """No module trains, no parameter asks for a gradient, and the input still gets one."""
    model = load_model(name)
    assert not any(m.training for m in model.modules())
    assert not any(p.requires_grad for p in model.parameters())
    x = _example(name).requires_grad_(True)
    model(x).sum().backward()
    assert x.grad is not None
    assert x.grad.abs().sum() > 0


def treats_inputs_alone(name: str) -> None:
    """An input's logits do not depend on what else is in the batch."""
    model, x = load_model(name), _example(name)
    together = model(x)
    alone = torch.cat([model(x[i : i + 1]) for i in range(len(x))])
    assert torch.allclose(together, alone, rtol=1e-4, atol=1e-4 * float(together.abs().max()))


def normalises_inside(name: str) -> None:
    """The first module that runs is the normalisation, and its buffers are not trivial."""
    model = load_model(name)
    ran: list[nn.Module] = []
    leaves = [m for m in model.modules() if not list(m.children())]
    hooks = [m.register_forward_hook(lambda m, _i, _o: ran.append(m)) for m in leaves]
    model(_example(name))
    for hook in hooks:
        hook.remove()
    # An autoencoder before the network takes images as they come.
    first = next(m for m in ran if m in set(undefended(model).modules()))
    assert isinstance(first, Normalise)
    assert float(first.mean.min()) > 0
    assert float(first.std.max()) < 1


def is_small(name: str) -> None:
    """At most 60 million multiply-adds an input behind its defence; in all what the card says."""
    model, x = load_model(name), _example(name)
    assert multiply_adds(model, x) == read_card(name).multiply_adds
    assert multiply_adds(undefended(model), x) <= MULTIPLY_ADDS


def agrees_with_its_card(name: str) -> None:
    """File, network and numbers are those of the card, and the card is consistent."""
    card = read_card(name)
    with (WEIGHTS / f"{card.stem}.safetensors").open("rb") as file:
        assert file_digest(file, "sha256").hexdigest() == card.sha256
    assert fingerprint(load_model(name)) == card.fingerprint
    assert MODELS[name].data == card.data
    assert dict(card.recipe) == MODELS[name].settings
    right = sum(row[i] for i, row in enumerate(card.confusion))
    refused = round(card.details.get("test_rejected", 0) * card.test_images)
    assert sum(map(sum, card.confusion)) == card.test_images - refused
    assert abs(right / card.test_images - card.accuracy) < 1e-9


def has_half_precision_parameters(name: str) -> None:
    """The shipped parameters are float16; loaded, they are float32 and exactly those."""
    from safetensors.torch import load_file

    stored = load_file(WEIGHTS / f"{read_card(name).stem}.safetensors")
    model = load_model(name)
    parents = {id(p) for p in undefended(model).parameters()} if defence_in(model) else set()
    for key, value in model.named_parameters():
        if id(value) in parents:
            continue  # those of another model
        assert stored[key].dtype == torch.float16
        assert value.dtype == torch.float32
        assert torch.equal(stored[key].float(), value)


CONTRACT: tuple[Callable[[str], None], ...] = (
    gives_logits,
    is_frozen_in_evaluation_mode,
    treats_inputs_alone,
    normalises_inside,
    is_small,
    agrees_with_its_card,
    has_half_precision_parameters,
)
"""Each takes a model's name and raises ``AssertionError`` where it breaks the contract."""
