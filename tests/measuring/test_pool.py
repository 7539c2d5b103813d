"""References drawn per input, the shift null beside them, and nulls that centre on zero."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from scipy import stats
from torch import Tensor, nn
from torch.nn.functional import avg_pool2d

from undertow import taps
from undertow.information.coded import Coded, References
from undertow.information.estimators.gaussian_copula import GaussianCopula
from undertow.information.grids import exact, pooled
from undertow.information.matrices import source, target
from undertow.information.nulls import mismatch
from undertow.information.profiles import all_profiles
from undertow.measuring.meter import Meter, Pool, by_row
from undertow.types import Draws


class Small(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.first = nn.Sequential(nn.Conv2d(3, 8, 3, padding=1), nn.ReLU())
        self.second = nn.Sequential(nn.MaxPool2d(2), nn.Conv2d(8, 12, 3, padding=1), nn.ReLU())
        self.fc = nn.Linear(12, 5)

    def forward(self, x: Tensor) -> Tensor:
        return self.fc(self.second(self.first(x)).mean((2, 3)))


def smooth(n: int, seed: int) -> Tensor:
    noise = torch.rand(n, 3, 24, 24, generator=torch.Generator().manual_seed(seed))
    return avg_pool2d(noise, 9, stride=1)


@pytest.fixture(scope="module", name="model")
def small_model() -> nn.Module:
    torch.manual_seed(0)
    return Small().eval()


@pytest.fixture(scope="module", name="meter")
def pooled_meter(model: nn.Module) -> Meter:
    chosen = taps.choose(model, smooth(1, 0))
    return Meter(model, chosen, references=smooth(40, 1), count=3)


def test_each_input_is_held_against_its_own_draw(model: nn.Module, meter: Meter) -> None:
    """Row by row what a meter gives whose only references are those that the row drew."""
    x, draws = smooth(4, 2), by_row(0, 4)
    assert meter.pool is not None
    chosen = meter.pool.drawn(draws, 3)
    assert chosen is not None
    assert len({tuple(sorted(row.tolist())) for row in chosen}) == 4
    assert all(len(set(row.tolist())) == 3 for row in chosen)
    found = meter(x, draws=draws)
    for i, row in enumerate(chosen):
        own = Meter(model, meter.taps, references=smooth(40, 1)[row])
        alone = own(x[i : i + 1], draws=draws[torch.tensor([i])])
        for name, values in alone.profiles.items():
            np.testing.assert_allclose(found.profiles[name][i], values[0], atol=1e-5, err_msg=name)


def test_draws_belong_to_inputs_not_to_batches(meter: Meter) -> None:
    x, draws = smooth(6, 3), by_row(0, 6)
    order = torch.tensor([4, 1, 5])
    whole, some = meter(x, draws=draws), meter(x[order], draws=draws[order])
    for name, values in whole.profiles.items():
        np.testing.assert_array_equal(values[order], some.profiles[name], err_msg=name)


def test_more_inputs_take_the_error_of_the_draw_away(model: nn.Module, meter: Meter) -> None:
    """The mean null over inputs nears that of the whole pool; of one draw for all it does not."""
    x = smooth(1, 4).expand(60, -1, -1, -1)
    everything = Meter(model, meter.taps, references=smooth(40, 1), count=40)(x[:1])
    own = meter(x, draws=by_row(0, 60)).profiles["iip_null"]
    error = abs(own.mean(0) - everything.profiles["iip_null"][0])
    assert (error < 4 * own.std(0) / 60**0.5 + 1e-6).all()
    assert (own.std(0) > 0).all()


def test_oip_net_of_the_shift_null(meter: Meter) -> None:
    """Evidence moved around the torus in plain loops, by the offsets that the null drew."""
    x, draws = smooth(2, 5), by_row(0, 2)
    seen = meter.see(x)
    found = meter.found(seen, draws=draws)
    estimator = GaussianCopula()
    for number, tap in enumerate(meter.taps):
        if not tap.spatial:
            continue
        evidence = seen.evidence
        rows, cols = evidence.shape[-2:]
        maps = pooled(seen.maps[tap.name], (rows, cols)).flatten(2)
        offsets = 1 + (draws.uniform((4,)).double() * (rows * cols - 1)).long()
        for i in range(2):
            nulls = []
            for offset in offsets[i]:
                moved = evidence[i].roll((int(offset) // cols, int(offset) % cols), (1, 2))
                codes = estimator.encode(maps[i]), estimator.encode(moved.flatten(1))
                nulls.append(estimator.pairwise(*codes).mean())
            truth = found.profiles["oip_raw"][i, number] - float(torch.stack(nulls).mean())
            assert found.profiles["oip_shift"][i, number] == pytest.approx(truth, abs=1e-5)


def test_nulls_centre_on_zero_where_maps_have_nothing_to_do_with_the_input() -> None:
    """Maps unrelated to input and evidence: every net within 2.5 standard errors of 0.

    An image's evidence resembles its pixels, so IOC raw is well above 0 all the same.
    """
    n, rng = 300, np.random.default_rng(0)

    def fields(*shape: int) -> Tensor:
        noise = torch.from_numpy(rng.normal(size=(*shape, 20, 20)).astype(np.float32))
        return avg_pool2d(noise.flatten(0, -3), 5, stride=1).unflatten(0, shape)

    chosen = torch.from_numpy(rng.integers(0, 2000, (n, 8)))
    maps, own, others = Coded(fields(n, 12)), fields(n, 2), fields(2000, 2)
    estimator, how = GaussianCopula(), {"null": mismatch, "chosen": chosen}
    S = source(estimator, own, maps, References(others), **how)  # type: ignore[arg-type]
    alike = (own + fields(n, 2), others + fields(2000, 2))
    T = target(estimator, maps, Coded(alike[0]), References(alike[1]), **how)  # type: ignore[arg-type]
    found = all_profiles(S, T)
    for name in ("ioc", "iip", "oip"):
        values = found[name].double()
        assert abs(values.mean()) < 2.5 * values.std() / n**0.5, name
    drift = (found["flow"][:, 1] - found["flow"][:, 0]).double()
    assert abs(drift.mean()) < 2.5 * drift.std() / n**0.5
    assert found["ioc_raw"].mean() > 0.1


def test_a_pool_no_larger_than_the_count_is_shared(model: nn.Module) -> None:
    chosen = taps.choose(model, smooth(1, 0))
    pool = Pool(model, chosen, smooth(5, 1))
    assert pool.drawn(by_row(0, 3), 8) is None
    assert pool.drawn(Draws(torch.arange(3)), 4) is not None


def test_a_large_pool_is_drawn_from_evenly(model: nn.Module) -> None:
    pool = Pool(model, taps.choose(model, smooth(1, 0)), smooth(130, 1))
    drawn = pool.drawn(by_row(0, 40_000), 2)
    assert drawn is not None
    counts = np.bincount(drawn.flatten(), minlength=130)
    assert stats.chisquare(counts).pvalue > 1e-3


def test_equal_means_of_bytes_stay_equal() -> None:
    """Blocks of bytes with one sum have one mean, whatever they are made of."""
    rng = np.random.default_rng(1)
    images = torch.from_numpy(rng.integers(0, 256, (3, 3, 32, 32)).astype(np.float32)) / 255
    coarse = pooled(exact(images), (16, 16))
    sums = (images * 255).round().long().unfold(2, 2, 2).unfold(3, 2, 2).sum((-1, -2))
    for row, truth in zip(
        coarse.flatten(0, 1).flatten(1), sums.flatten(0, 1).flatten(1), strict=True
    ):
        assert len(row.unique()) == len(truth.unique())
        np.testing.assert_allclose(row, truth / 4)
    moved = exact(images + 0.3 / 255)
    assert torch.equal(moved, (images + 0.3 / 255) * 255), "what is no byte stays as it is"
