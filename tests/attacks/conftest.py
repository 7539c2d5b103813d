from __future__ import annotations

import pytest
import torch
from sklearn.datasets import load_digits
from torch import Tensor, nn


def _net() -> nn.Sequential:
    return nn.Sequential(
        nn.Conv2d(1, 8, 3, padding=1),
        nn.ReLU(),
        nn.Conv2d(8, 16, 3, padding=1, stride=2),
        nn.ReLU(),
        nn.AdaptiveAvgPool2d(2),
        nn.Flatten(),
        nn.Linear(64, 10),
    )


def _trained(seed: int, images: Tensor, labels: Tensor) -> nn.Module:
    generator = torch.Generator().manual_seed(seed)
    with torch.random.fork_rng():
        torch.manual_seed(seed)
        model = _net()
    optimiser = torch.optim.Adam(model.parameters(), 5e-3)
    for _ in range(8):
        for batch in torch.randperm(len(images), generator=generator).split(64):
            loss = nn.functional.cross_entropy(model(images[batch]), labels[batch])
            optimiser.zero_grad()
            loss.backward()
            optimiser.step()
    optimiser.zero_grad()
    return model.eval()


@pytest.fixture(scope="session")
def digits() -> tuple[Tensor, Tensor]:
    """Images, a little greyer than they are: no pixel starts at a side of the box; labels."""
    data = load_digits()
    images = torch.tensor(data.images, dtype=torch.float32)[:, None] / 16
    return 0.05 + 0.9 * images, torch.tensor(data.target, dtype=torch.int64)


@pytest.fixture(scope="session")
def model(digits: tuple[Tensor, Tensor]) -> nn.Module:
    return _trained(0, digits[0][:1200], digits[1][:1200])


@pytest.fixture(scope="session")
def other_model(digits: tuple[Tensor, Tensor]) -> nn.Module:
    return _trained(1, digits[0][:1200], digits[1][:1200])


@pytest.fixture(scope="session")
def batch(digits: tuple[Tensor, Tensor]) -> tuple[Tensor, Tensor]:
    """Eight test inputs."""
    return digits[0][1200:1208], digits[1][1200:1208]
