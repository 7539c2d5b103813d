"""What detectors are told of an input: simple scores, distances of activations, and flow."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

import undertow as ut
from undertow.data import ImageSet
from undertow.information.readers import Readers
from undertow.models.squeezed import Squeezed
from undertow.taps import read
from undertow.types import Images, Tap

__all__ = ["GROUPS", "Describer"]

Array = NDArray[np.float64]
NEIGHBOURS = 20
"""Of local intrinsic dimensionality, as its authors have it for CIFAR-10."""
REFERENCES = 500
BATCH = 100

GROUPS: dict[str, tuple[str, ...]] = {
    "maximum softmax": ("softmax",),
    "Mahalanobis": ("mahalanobis",),
    "LID": ("lid",),
    "MultiLID": ("multilid",),
    "feature squeezing": ("squeezing",),
    "baselines": ("softmax", "mahalanobis", "lid", "squeezing"),
    "IPs": ("ips",),
    "class information": ("classes",),
    "drift": ("drift",),
    "baselines, IPs": ("softmax", "mahalanobis", "lid", "squeezing", "ips"),
    "baselines, class information": ("softmax", "mahalanobis", "lid", "squeezing", "classes"),
    "baselines, drift": ("softmax", "mahalanobis", "lid", "squeezing", "drift"),
}
"""Detectors by what they are told."""


class Describer:
    """Everything that is told of an input; whatever is fitted is fitted on training images.

    Args:
        model: under attack.
        taps: where it is read.
        train: benign training images.
        readers: of these taps.
        references: of the mismatch null.
    """

    def __init__(
        self,
        model: nn.Module,
        taps: Sequence[Tap],
        train: ImageSet,
        readers: Readers,
        references: Images,
    ) -> None:
        self.model, self.taps, self.readers, self.references = model, taps, readers, references
        self.squeezed = Squeezed(model).eval()
        x, y = train[:5000]
        self.means, self.whiten, self.near = [], [], []
        for features in self._features(x):
            means = torch.stack([features[y == k].mean(0) for k in range(10)])
            rest = features - means[y]
            covariance = rest.T @ rest / len(rest)
            self.means.append(means)
            # The tied covariance (Lee et al. 2018, equation 1); a ridge keeps dead maps out.
            ridge = 1e-6 * covariance.diagonal().mean() * torch.eye(len(covariance))
            self.whiten.append(torch.linalg.inv(covariance + ridge))
            self.near.append(features[:REFERENCES])

    def _features(self, x: Images) -> list[Tensor]:
        """The mean of every map, tap by tap, (sample, map): as Lee et al. 2018, section 2."""
        parts: list[list[Tensor]] = [[] for _ in self.taps]
        for batch in torch.split(x, BATCH):
            maps = read(self.model, batch, self.taps).maps
            for part, tap in zip(parts, self.taps, strict=True):
                found = maps[tap.name].double()
                part.append(found.flatten(2).mean(2) if found.ndim > 2 else found)
        return [torch.cat(part) for part in parts]

    def describe(self, x: Images) -> dict[str, Array]:
        """Columns by name of group, (sample, column) each."""
        with torch.no_grad():
            logits = torch.cat([self.model(part) for part in torch.split(x, BATCH)])
            squeezing = torch.cat(
                [self.squeezed.score(part, self.model(part)) for part in torch.split(x, BATCH)]
            )
        told = {
            "softmax": logits.softmax(1).amax(1, keepdim=True).double().logit(eps=1e-9),
            "squeezing": squeezing.double(),
        }
        ratios = []
        mahalanobis = []
        for k, features in enumerate(self._features(x)):
            gap = features[:, None] - self.means[k][None]
            square = torch.einsum("ncf,fg,ncg->nc", gap, self.whiten[k], gap)
            mahalanobis.append(square.amin(1))
            far = torch.cdist(features, self.near[k]).sort(1).values[:, :NEIGHBOURS]
            far = far.clamp_min(1e-9)
            ratios.append((far / far[:, -1:]).log())
        told["mahalanobis"] = torch.stack(mahalanobis, 1)
        # Maximum likelihood of the dimension (Ma et al. 2018, equation 4).
        told["lid"] = torch.stack([-1 / r.mean(1).clamp_max(-1e-9) for r in ratios], 1)
        # Its parts, one a neighbour (Lorenz et al. 2022, 2212.06776); the last is always 0.
        told["multilid"] = torch.cat([r[:, :-1] for r in ratios], 1)
        return {k: v.numpy().astype(np.float64) for k, v in told.items()} | self._flow(x)

    def _flow(self, x: Images) -> dict[str, Array]:
        """IPs, and what layers say of the answer and of the runner-up: nobody knows the label."""
        found = ut.measure(
            self.model, x, taps=self.taps, readers=self.readers, references=self.references
        )
        spatial = np.isfinite(found["iip"].values).any(0)
        ips = [found[p].values[:, spatial] for p in ("iip", "oip", "ioc")]
        order = np.argsort(-found["logits"].values, axis=1, kind="stable")[:, None, :2]
        flow = np.take_along_axis(found["flow"].values[:, spatial], order, axis=2)
        bits = np.take_along_axis(found["class_information"].values, order, axis=2)
        return {
            "ips": np.concatenate(ips, 1).astype(np.float64),
            "drift": (flow[:, :, 0] - flow[:, :, 1]).astype(np.float64),
            "classes": bits.reshape(len(x), -1).astype(np.float64),
        }
