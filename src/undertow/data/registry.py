"""The data sets there are."""

from __future__ import annotations

from pathlib import Path
from typing import Protocol

from undertow.data.images import ImageSet
from undertow.progress import Progress
from undertow.registry import Registry

__all__ = ["DATASETS", "DataSource"]


class DataSource(Protocol):
    """Gives one split (:data:`undertow.data.images.SPLITS`) of a data set."""

    def __call__(self, split: str, data_dir: Path | None, progress: Progress) -> ImageSet:
        """The split, from the cache, from ``data_dir`` or fetched."""
        ...


DATASETS: Registry[DataSource] = Registry("data set")
DATASETS.add(
    "cifar10", "undertow.data.cifar10:cifar10", "60,000 colour images of 32 x 32, ten classes"
)
DATASETS.add(
    "digits", "undertow.data.digits:digits", "1,797 handwritten digits of 16 x 16, built in"
)
