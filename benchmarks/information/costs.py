"""Profiles of an input against its forward pass; scaling; memory."""

from __future__ import annotations

import multiprocessing
import resource
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import torch
from torch import nn

import undertow as ut
from benchmarks.information.timing import interleaved, machine_floor
from undertow.information.coded import Coded, References
from undertow.information.estimators.gaussian_copula import GaussianCopula
from undertow.information.matrices import source, target
from undertow.information.profiles import iip, ioc, oip
from undertow.information.readers import Readers, features, fit
from undertow.measuring.meter import Meter
from undertow.taps import choose, read

__all__ = ["classes", "memory", "profiles", "scaling"]

BATCHES = (1, 16, 64, 256)
REFERENCES = 8
NORMAL: Any = {"mean": (0.485, 0.456, 0.406), "std": (0.229, 0.224, 0.225)}


def _model(name: str) -> tuple[nn.Module, torch.Tensor, torch.Tensor, torch.Tensor]:
    """The model, test images, training images and their labels."""
    model = ut.load_model(name).eval()
    data = "digits" if name == "digits_cnn" else "cifar10"
    test, train = ut.load_data(data, split="test"), ut.load_data(data, split="train")
    x, _ = test[: max(BATCHES)]
    images, labels = train[:512]
    return model, x, images, labels


def _readers(model: nn.Module, taps: Any, x: torch.Tensor, y: torch.Tensor) -> Readers:
    seen = read(model, x, taps).maps
    half = len(x) // 2
    named = {tap.name: features(seen[tap.name]) for tap in taps}
    first = {name: values[:half] for name, values in named.items()}
    second = {name: values[half:] for name, values in named.items()}
    return fit(first, y[:half], second, y[half:], classes=int(y.max()) + 1)


def profiles(rounds: int, name: str) -> list[dict[str, Any]]:
    """Milliseconds an input: forward, everything measured, and their ratio.

    ``over_forward`` is what measuring adds to the forward pass that is made anyway;
    ``with_reading`` counts that pass too.
    """
    model, x, images, labels = _model(name)
    taps = choose(model, x[:1])
    readers = _readers(model, taps, images, labels)
    references = images[:REFERENCES]
    meters = {
        "gaussian_copula": Meter(model, taps, references=references),
        "gaussian_copula + class information": Meter(
            model, taps, references=references, readers=readers
        ),
        "binned": Meter(model, taps, estimator="binned", references=references),
    }
    main = meters["gaussian_copula + class information"]
    check = main.beside("binned")

    def checked(images: torch.Tensor) -> object:
        seen = main.see(images)
        return main.found(seen), check.found(seen)

    found = []
    for batch in BATCHES:
        images = x[:batch]

        def forward(images: torch.Tensor = images) -> object:
            with torch.inference_mode():
                return model(images)

        work: dict[str, Any] = {"forward": forward}
        work["reading (forward with hooks)"] = lambda images=images: read(model, images, taps)
        for title, meter in meters.items():
            work[title] = lambda images=images, meter=meter: meter(images)
        work["all of it, checked by binned"] = lambda images=images: checked(images)
        spent = interleaved(work, rounds)
        for title, seconds in spent.items():
            own = {clock: 1e3 * seconds[clock] / batch for clock in seconds}
            rest = {c: seconds[c] - spent["reading (forward with hooks)"][c] for c in seconds}
            ours = "forward" not in title
            over = {c: rest[c] / spent["forward"][c] if ours else None for c in rest}
            found.append({
                "model": name, "batch": batch, "what": title, "cpu_ms": own["cpu"],
                "wall_ms": own["wall"], "over_forward_cpu": over["cpu"],
                "over_forward_wall": over["wall"],
                "with_reading_cpu": seconds["cpu"] / spent["forward"]["cpu"] if ours else None,
            })  # fmt: skip
    found.append(_floor(name, taps, x.shape[1], int(labels.max()) + 1))
    return found


def classes(rounds: int) -> list[dict[str, Any]]:
    """Networks of 1,000 classes at 224 pixels, batch 8: measuring, passes included, by forward.

    The first is the network of ``docs/how-to/imagenet.md``; the others are those of transformers'
    own configurations with random weights. The inputs are noise, which costs the same.
    """
    return [_classes(name, build(), rounds) for name, build in _networks().items()]


def _networks() -> dict[str, Callable[[], nn.Module]]:
    import transformers as hf

    kinds = {
        "resnet-50": hf.ResNetConfig(num_labels=1000),
        "regnet-y-040": hf.RegNetConfig(num_labels=1000),
        "mobilenet-v2": hf.MobileNetV2Config(num_labels=1000),
        "convnext-tiny": hf.ConvNextConfig(num_labels=1000),
        "swin-tiny": hf.SwinConfig(num_labels=1000),
        "vit-tiny": hf.ViTConfig(
            num_labels=1000, hidden_size=192, num_attention_heads=3, intermediate_size=768
        ),
    }
    factory = Path(__file__).parents[2] / "examples" / "efficientnet.py:lite0"
    made: dict[str, Callable[[], nn.Module]] = {
        "efficientnet-lite0": lambda: ut.load_model(str(factory), **NORMAL)
    }
    for name, config in kinds.items():
        made[name] = lambda config=config: ut.load_model(
            hf.AutoModelForImageClassification.from_config(config), **NORMAL
        )
    return made


def _classes(name: str, model: nn.Module, rounds: int) -> dict[str, Any]:
    generator = torch.Generator().manual_seed(0)
    x, references = (torch.rand(n, 3, 224, 224, generator=generator) for n in (8, 16))
    taps = choose(model, x[:1])
    meter = Meter(model, taps, references=references)
    alone = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss

    def forward() -> object:
        with torch.inference_mode():
            return model(x)

    spent = interleaved({"forward": forward, "measured": lambda: meter(x)}, rounds)
    beyond = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - alone
    return {
        "model": name, "taps": len(taps), "first": taps[0].name, "last": taps[-1].name,
        "batch": len(x), "forward_s": spent["forward"]["wall"],
        "measured_s": spent["measured"]["wall"],
        "by_forward_wall": spent["measured"]["wall"] / spent["forward"]["wall"],
        "by_forward_cpu": spent["measured"]["cpu"] / spent["forward"]["cpu"],
        "memory_beyond_gib": beyond / 2**20,
    }  # fmt: skip


def _floor(name: str, taps: Any, channels: int, classes: int) -> dict[str, Any]:
    """Products and bytes of all taps at the speed of a large product and a large copy."""
    spatial = [tap.shape for tap in taps if tap.spatial]
    last = spatial[-1][1] * spatial[-1][2]
    values = sum(c * h * w for c, h, w in spatial)
    pooled = sum(c * min(h * w, last) for c, h, w in spatial)
    macs = (1 + REFERENCES) * (channels * values + classes * pooled)
    moved = 8 * (values + pooled)
    machine = machine_floor()
    seconds = macs / machine["macs_a_second"] + moved / machine["bytes_a_second"]
    return {"model": name, "batch": None, "what": "floor (products and bytes, no ranking)",
            "cpu_ms": None, "wall_ms": 1e3 * seconds, "over_forward_cpu": None,
            "over_forward_wall": None, "multiply_adds": macs, "bytes": moved,
            "values_ranked": values + pooled}  # fmt: skip


def scaling(rounds: int) -> list[dict[str, Any]]:
    """Milliseconds an input for one tap, one size varied at a time."""
    found = []
    base = {"side": 16, "maps": 64, "references": 8}
    for axis, values in (("side", (7, 8, 16, 32, 56)), ("maps", (16, 64, 256)),
                         ("references", (1, 8, 32))):  # fmt: skip
        for value in values:
            size = base | {axis: value}
            work = {"S": _tap(**size), "T": _tap(**size, last=True)}
            spent = interleaved(work, rounds)
            found.append({"varied": axis, **size} | {
                f"{key}_cpu_ms": 1e3 * seconds["cpu"] / 16 for key, seconds in spent.items()
            } | _tap_floor(**size))  # fmt: skip
    return found


def _tap_floor(*, side: int, maps: int, references: int) -> dict[str, float]:
    """Products and bytes of S and of T (on the evidence's 8 x 8) of one tap, without ranking."""
    machine, found = machine_floor(), {}
    for key, partners, grid in (("S", 3, side), ("T", 10, min(side, 8))):
        values = maps * grid * grid
        macs, moved = (1 + references) * partners * values, 8 * values
        seconds = macs / machine["macs_a_second"] + moved / machine["bytes_a_second"]
        found |= {f"{key}_floor_ms": 1e3 * seconds, f"{key}_multiply_adds": macs,
                  f"{key}_bytes": moved}  # fmt: skip
    return found


def _tap(*, side: int, maps: int, references: int, last: bool = False) -> Any:
    generator = torch.Generator().manual_seed(0)

    def noise(*shape: int) -> torch.Tensor:
        return torch.randn(shape, generator=generator)

    estimator, seen = GaussianCopula(), noise(16, maps, side, side).relu()
    if last:
        evidence, others = noise(16, 10, 8, 8), References(noise(references, 10, 8, 8))
        return lambda: target(estimator, seen, evidence, others)
    inputs, others = noise(16, 3, 64, 64), References(noise(references, 3, 64, 64))
    return lambda: source(estimator, inputs, seen, others)


def memory() -> list[dict[str, Any]]:
    """Peak MiB of a process that measures 100, 1,000 and 10,000 inputs in batches of 64.

    Beside it what the process holds before the first batch, and the floor: that, and of one batch
    each value and its code.
    """
    context = multiprocessing.get_context("spawn")
    found = []
    for inputs in (100, 1_000, 10_000):
        with context.Pool(1) as pool:
            found.append({"inputs": inputs} | pool.apply(_peak, (inputs,)))
    return found


def _peak(inputs: int) -> dict[str, float]:
    torch.set_num_threads(1)
    estimator = GaussianCopula()
    generator = torch.Generator().manual_seed(0)
    references = References(torch.randn((8, 3, 32, 32), generator=generator))
    evidence = References(torch.randn((8, 10, 8, 8), generator=generator))
    before, values = _high_water(), 0
    for batch in _batches(inputs, generator):
        values = max(values, sum(part.numel() for part in batch))
        coded, x, seen = Coded(batch[0]), batch[1], batch[2]
        S = source(estimator, x, coded, references)
        T = target(estimator, coded, seen, evidence)
        iip(S), oip(T), ioc(S, T)
    floor = before + 8 * values / 2**20
    return {"peak_mib": _high_water(), "before_mib": before, "floor_mib": floor}


def _high_water() -> float:
    """Peak resident MiB of this process; getrusage would count what the parent held, too."""
    status = Path("/proc/self/status")
    if not status.is_file():
        return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
    return next(
        int(line.split()[1]) / 1024
        for line in status.read_text().splitlines()
        if line.startswith("VmHWM")
    )


def _batches(inputs: int, generator: torch.Generator) -> Iterator[tuple[torch.Tensor, ...]]:
    for start in range(0, inputs, 64):
        count = min(64, inputs - start)
        yield (
            torch.randn((count, 32, 32, 32), generator=generator).relu(),
            torch.rand((count, 3, 32, 32), generator=generator),
            torch.randn((count, 10, 8, 8), generator=generator),
        )
