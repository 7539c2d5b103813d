from __future__ import annotations

import os
import warnings
from collections import OrderedDict
from collections.abc import Callable

import pytest
import torch
from torch import Tensor, nn


def unit(i: int, o: int, *, stride: int = 1, inplace: bool = True) -> list[nn.Module]:
    return [
        nn.Conv2d(i, o, 3, stride, 1, bias=False),
        nn.BatchNorm2d(o),
        nn.ReLU(inplace=inplace),
    ]


def plain(inplace: bool = True) -> nn.Module:
    return nn.Sequential(
        *unit(3, 6, inplace=inplace),
        nn.MaxPool2d(2),
        *unit(6, 8, inplace=inplace),
        nn.MaxPool2d(2),
        *unit(8, 10, inplace=inplace),
        nn.AdaptiveAvgPool2d(1),
        nn.Flatten(),
        nn.Linear(10, 5),
    )


class VGG(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        pool = nn.MaxPool2d(2)
        self.features = nn.Sequential(
            *unit(3, 6), *unit(6, 6), pool, *unit(6, 8), *unit(8, 8), pool
        )
        self.classifier = nn.Sequential(
            nn.Flatten(),
            nn.Linear(8 * 16, 12),
            nn.ReLU(inplace=True),
            nn.Dropout(),
            nn.Linear(12, 5),
        )

    def forward(self, x: Tensor) -> Tensor:
        return self.classifier(self.features(x))


class BasicBlock(nn.Module):
    def __init__(self, i: int, o: int, stride: int) -> None:
        super().__init__()
        self.conv1, self.bn1, self.relu = unit(i, o, stride=stride)
        self.conv2, self.bn2, _ = unit(o, o)
        self.downsample = None
        if stride != 1 or i != o:
            self.downsample = nn.Sequential(nn.Conv2d(i, o, 1, stride), nn.BatchNorm2d(o))

    def forward(self, x: Tensor) -> Tensor:
        out = self.bn2(self.conv2(self.relu(self.bn1(self.conv1(x)))))
        out += x if self.downsample is None else self.downsample(x)
        return self.relu(out)


class ResNet(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.conv1, self.bn1, self.relu = unit(3, 6)
        self.layer1 = nn.Sequential(BasicBlock(6, 6, 1), BasicBlock(6, 6, 1))
        self.layer2 = nn.Sequential(BasicBlock(6, 8, 2), BasicBlock(8, 8, 1))
        self.fc = nn.Linear(8, 5)

    def forward(self, x: Tensor) -> Tensor:
        x = self.relu(self.bn1(self.conv1(x)))
        return self.fc(self.layer2(self.layer1(x)).mean((2, 3)))


class DenseLayer(nn.Module):
    def __init__(self, i: int, growth: int) -> None:
        super().__init__()
        self.norm, self.relu, self.conv = (
            nn.BatchNorm2d(i),
            nn.ReLU(inplace=True),
            nn.Conv2d(i, growth, 3, 1, 1),
        )

    def forward(self, parts: list[Tensor]) -> Tensor:
        return self.conv(self.relu(self.norm(torch.cat(parts, 1))))


class DenseBlock(nn.ModuleDict):
    def __init__(self, i: int, layers: int, growth: int = 4) -> None:
        super().__init__()
        for n in range(layers):
            self.add_module(f"denselayer{n + 1}", DenseLayer(i + n * growth, growth))

    def forward(self, x: Tensor) -> Tensor:
        parts = [x]
        for layer in self.values():
            parts.append(layer(parts))
        return torch.cat(parts, 1)


class Transition(nn.Sequential):
    def __init__(self, i: int, o: int) -> None:
        super().__init__(
            OrderedDict(
                norm=nn.BatchNorm2d(i),
                relu=nn.ReLU(inplace=True),
                conv=nn.Conv2d(i, o, 1),
                pool=nn.AvgPool2d(2),
            )
        )


class DenseNet(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        conv, norm, relu = unit(3, 6)
        self.features = nn.Sequential(
            OrderedDict(
                conv0=conv,
                norm0=norm,
                relu0=relu,
                denseblock1=DenseBlock(6, 3),
                transition1=Transition(18, 8),
                denseblock2=DenseBlock(8, 2),
                norm5=nn.BatchNorm2d(16),
            )
        )
        self.classifier = nn.Linear(16, 5)

    def forward(self, x: Tensor) -> Tensor:
        return self.classifier(torch.relu(self.features(x)).mean((2, 3)))


class ChannelsLast(nn.Module):
    """Maps travel as (sample, row, col, map), as in torchvision's Swin."""

    def __init__(self) -> None:
        super().__init__()
        self.stem = nn.Conv2d(3, 6, 4, 4)
        self.mix = nn.Linear(6, 7)
        self.head = nn.Linear(7, 5)

    def forward(self, x: Tensor) -> Tensor:
        return self.head(torch.tanh(self.mix(self.stem(x).permute(0, 2, 3, 1))).mean((1, 2)))


NETS: dict[str, Callable[[], nn.Module]] = {
    "plain": plain,
    "vgg": VGG,
    "resnet": ResNet,
    "densenet": DenseNet,
    "channels_last": ChannelsLast,
}


def _settled(model: nn.Module) -> nn.Module:
    """Batch norms with real statistics, so that no map is dead or constant."""
    model.train()
    with torch.no_grad():
        for _ in range(5):
            model(torch.rand(16, 3, 16, 16))
    return model.eval()


@pytest.fixture
def net() -> Callable[[str], nn.Module]:
    def build(name: str) -> nn.Module:
        torch.manual_seed(1)
        return _settled(NETS[name]())

    return build


@pytest.fixture(params=sorted(NETS))
def any_net(request: pytest.FixtureRequest, net: Callable[[str], nn.Module]) -> nn.Module:
    return net(request.param)


@pytest.fixture
def images() -> Tensor:
    return torch.rand(4, 3, 16, 16, generator=torch.Generator().manual_seed(0))


@pytest.fixture(scope="session")
def transformer() -> Callable[..., nn.Module]:
    """Builds a Hugging Face classifier with random weights from its kind and configuration."""
    os.environ["HF_HUB_OFFLINE"] = "1"
    hf = pytest.importorskip("transformers")

    def build(kind: str, **settings: object) -> nn.Module:
        torch.manual_seed(0)
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            config = getattr(hf, f"{kind}Config")(**{"num_labels": 5, **settings})
            return getattr(hf, f"{kind}ForImageClassification")(config).eval()

    return build
