"""Carriers against truths: networks whose carriers are known, runs by hand, exhaustive search."""

from __future__ import annotations

from itertools import combinations, pairwise
from pathlib import Path

import numpy as np
import pytest
import torch
import xarray as xr
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor, nn

import undertow as ut
from undertow.errors import BadInput, UnknownName
from undertow.measuring.carriers import CONTROLS, DEFAULT_RANKINGS, RANKINGS
from undertow.measuring.carriers.carry import carry
from undertow.measuring.carriers.compared import Compared, lead
from undertow.measuring.carriers.integrated import MIDPOINT, RADAU
from undertow.measuring.carriers.putting import Sides, counts_of, first, matched, quarter
from undertow.measuring.carriers.smallest import smallest
from undertow.measuring.meter import by_row
from undertow.models.defended import Defended
from undertow.taps import choose
from undertow.testing.rankings import CARRY, CHECKS, compared_by, few_carry


@pytest.mark.parametrize("check", CHECKS)
@pytest.mark.parametrize("name", RANKINGS)
def test_contract(name: str, check: str) -> None:
    CHECKS[check](RANKINGS[name])


@pytest.fixture(scope="module")
def digits() -> tuple[nn.Module, Tensor, Tensor, Tensor]:
    """A shipped network of few maps, inputs, and what an attack made of them."""
    model = ut.load_model("digits_cnn")
    x, y = ut.load_data("digits", split="test")[:40]
    with torch.no_grad():
        right = model(x).argmax(1) == y
    x, y = x[right][:16], y[right][:16]
    found = ut.craft(ut.attacks.IGSM(epsilon=0.3, stop=False), model, x, y)
    assert bool(found.success.all())
    return model, x, found.end, y


@pytest.fixture(scope="module")
def told(digits: tuple[nn.Module, Tensor, Tensor, Tensor]) -> xr.Dataset:
    model, x, worse, y = digits
    return ut.carriers(model, (x, worse), y)


# Rankings -----------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", ["attribution", "integrated"])
def test_maps_that_no_logit_reads_carry_nothing(name: str) -> None:
    pair = compared_by(*few_carry(), "0")
    scores = RANKINGS[name](pair, pair.taps[0])
    others = [j for j in range(6) if j not in CARRY]
    assert float(scores[:, others].abs().max()) == 0
    assert float(scores[:, list(CARRY)].abs().min()) > 0


def test_behind_a_linear_rest_scores_are_what_each_map_did_to_the_lead() -> None:
    """There first order is exact, so both attributions add up to the change of the lead."""
    pair = compared_by(*few_carry(), "1")
    grown = pair._lead(pair.at_adversarial.logits) - pair._lead(pair.at_benign.logits)
    for name in ("attribution", "integrated"):
        scores = RANKINGS[name](pair, pair.taps[0])
        torch.testing.assert_close(scores.sum(1), grown, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize(("nodes", "degree"), [(MIDPOINT, 1), (RADAU, 2)])
def test_rules_of_integration_are_exact_for_their_degree(
    nodes: tuple[tuple[float, float], ...], degree: int
) -> None:
    for power in range(degree + 1):
        found = sum(weight * place**power for place, weight in nodes)
        assert found == pytest.approx(1 / (power + 1))


def test_slopes_on_the_way_are_those_of_a_pass_by_hand() -> None:
    model, x = few_carry()
    pair = compared_by(model, x, "0")
    middle = (x + pair.adversarial) / 2
    maps = model[0](middle).detach().requires_grad_()
    logits = model[4](maps.relu().mean((2, 3)))
    (slope,) = torch.autograd.grad(lead(logits, pair.label, pair.rival).sum(), maps)
    torch.testing.assert_close(pair.slopes(0.5)["0"], slope, rtol=1e-4, atol=1e-6)


def test_drift_ranks_by_the_information_that_is_measured() -> None:
    model, x = few_carry()
    pair = compared_by(model, x, "1")
    found = RANKINGS["drift"](pair, pair.taps[0])
    measured = ut.measure(
        model, pair.adversarial, taps="1", null="shift", keep_matrices=range(len(x))
    )["T_raw"][:, 0]
    rows = np.arange(len(x))
    wanted = (
        measured.values[rows, :, pair.rival.numpy()] - measured.values[rows, :, pair.label.numpy()]
    )
    np.testing.assert_allclose(found.numpy(), wanted, atol=2e-5)


# Sets of maps -------------------------------------------------------------------------------------


@given(st.integers(1, 3000))
def test_numbers_of_maps_run_from_one_to_all_and_hold_a_quarter(maps: int) -> None:
    counts = counts_of(maps)
    assert counts[0] == 1
    assert counts[-1] == maps
    assert quarter(maps) in counts
    assert list(counts) == sorted(set(counts))
    assert all(b <= 2 * a for a, b in pairwise(counts))


def test_first_maps_are_those_with_the_largest_scores_and_ties_go_to_the_first() -> None:
    found = first(torch.tensor([[0.5, 2.0, -1.0, 2.0]]), (1, 2, 3, 4))[0]
    assert found.int().tolist() == [[0, 1, 0, 0], [0, 1, 0, 1], [1, 1, 0, 1], [1, 1, 1, 1]]


@settings(max_examples=60, deadline=None)
@given(st.integers(0, 10**6), st.integers(1, 12))
def test_matched_sets_come_as_near_as_a_prefix_can(seed: int, maps: int) -> None:
    generator = torch.Generator().manual_seed(seed)
    change = torch.rand(2, maps, generator=generator)
    order = torch.rand(3, 2, maps, generator=generator)
    chosen = first(torch.rand(2, maps, generator=generator), counts_of(maps))
    found = matched(chosen, change, order)
    for draw in range(3):
        for i in range(2):
            prefixes = [order[draw, i].argsort(descending=True)[:n] for n in range(maps + 1)]
            for place in range(chosen.shape[1]):
                wanted = float(change[i][chosen[i, place]].square().sum())
                gaps = [abs(float(change[i][p].square().sum()) - wanted) for p in prefixes]
                got = abs(float(change[i][found[draw, i, place]].square().sum()) - wanted)
                assert got == pytest.approx(min(gaps), abs=1e-5)
    assert bool(found[:, :, -1].all())  # all maps change as much as all maps


def test_a_map_that_hardly_changed_is_one_map_more() -> None:
    """In single precision 1 + 1e-9 is 1, and all maps would seem to be all but one."""
    change = torch.tensor([[1.0, 3e-5]])
    chosen = torch.tensor([[[True, True]]])
    found = matched(chosen, change, torch.tensor([[[0.9, 0.1]]]))
    assert found.tolist() == [[[[True, True]]]]


# Curves -------------------------------------------------------------------------------------------


def test_curves_are_those_of_runs_by_hand(
    told: xr.Dataset, digits: tuple[nn.Module, Tensor, Tensor, Tensor]
) -> None:
    """Every input, tap, deterministic ranking and number, rebuilt layer by layer."""
    model, x, worse, y = digits
    taps = choose(model, x)
    checked = 0
    for k, tap in enumerate(taps):
        caught: list[Tensor] = []
        module = dict(model.named_modules())[tap.name]
        hook = module.register_forward_hook(lambda m, a, o, caught=caught: caught.append(o.clone()))
        with torch.no_grad():
            model(x), model(worse)
        hook.remove()
        before, after = caught
        for r, name in enumerate(DEFAULT_RANKINGS):
            scores = told["score"].values[:, k, r, : tap.shape[0]]
            for place, n in enumerate(told["count"].values[k]):
                for i in range(0, len(x), 5) if n > 0 else ():
                    if np.isnan(scores[i]).any():
                        continue
                    maps = np.argsort(-scores[i], kind="stable")[:n].copy()
                    for own, other, wanted, kind in (
                        (after, before, y[i], "restored"),
                        (before, after, int(told["rival"][i]), "implanted"),
                    ):
                        mixed = own[i : i + 1].clone()
                        mixed[:, maps] = other[i : i + 1, maps]
                        put = module.register_forward_hook(lambda m, a, o, mixed=mixed: mixed)
                        with torch.no_grad():
                            answer = model(x[i : i + 1]).argmax()
                        put.remove()
                        assert bool(answer == wanted) == bool(told[kind].values[i, k, r, place])
                        checked += 1
                    assert name in told.ranking.values
    assert checked > 200


def test_all_maps_put_back_at_a_cut_return_every_label(told: xr.Dataset) -> None:
    assert bool(told["cut"].all())
    for k in range(told.sizes["tap"]):
        last = int((told["count"].values[k] > 0).sum()) - 1
        for kind in ("restored", "implanted"):
            values = told[kind].values[:, k, :, last]
            assert np.nanmin(values) == 1, kind


def test_controls_are_there_and_average_their_orders(told: xr.Dataset) -> None:
    assert list(told.ranking.values) == [*DEFAULT_RANKINGS, *CONTROLS]
    shares = told["restored"].sel(ranking="random").values
    assert set(np.unique(shares[np.isfinite(shares)]).tolist()) <= {0.0, 0.25, 0.5, 0.75, 1.0}
    assert np.isnan(told["score"].sel(ranking="random").values).all()


def test_inputs_do_not_depend_on_each_other(
    told: xr.Dataset, digits: tuple[nn.Module, Tensor, Tensor, Tensor]
) -> None:
    model, x, worse, y = digits
    some = ut.carriers(model, (x[:5], worse[:5]), y[:5])
    for name in ("restored", "implanted", "smallest", "smallest_random"):
        np.testing.assert_array_equal(some[name].values, told[name].values[:5])


# The smallest set ---------------------------------------------------------------------------------


def test_smallest_sets_suffice_and_an_exhaustive_search_finds_few_smaller(
    digits: tuple[nn.Module, Tensor, Tensor, Tensor],
) -> None:
    """At the tap with the fewest maps, all sets are tried."""
    model, x, worse, y = (part[:3] if isinstance(part, Tensor) else part for part in digits)
    tap = min(choose(model, x), key=lambda t: t.shape[0])
    maps = tap.shape[0]
    with torch.no_grad():
        rival = model(worse).argmax(1)
    pair = Compared(model, [tap], x, worse, y, rival)
    sides = Sides.of(pair, tap)
    found = smallest(sides, RANKINGS["integrated"](pair, tap).cpu())
    rows = torch.arange(len(x))
    assert bool(sides.restored(found, rows).all())
    least = torch.zeros(len(x), dtype=torch.int64)
    for size in range(1, maps + 1):
        sets = torch.zeros(len(list(combinations(range(maps), size))), maps, dtype=torch.bool)
        for place, chosen in enumerate(combinations(range(maps), size)):
            sets[place, list(chosen)] = True
        for i in rows[least == 0].tolist():
            if bool(sides.restored(sets, torch.full((len(sets),), i)).any()):
                least[i] = size
        if bool((least > 0).all()):
            break
    sizes = found.sum(dim=1)
    assert bool((sizes >= least).all())
    assert float((sizes - least).float().mean()) <= 1.0


# Bad input ----------------------------------------------------------------------------------------


def test_nothing_to_restore_is_said() -> None:
    model, x = few_carry()
    with torch.no_grad():
        y = model(x).argmax(1)
    with pytest.raises(BadInput, match=r"nothing to restore: of 7 inputs .* 0 wrong .* other 7"):
        ut.carriers(model, (x, x), y)
    with pytest.raises(BadInput, match=r"7 wrong unattacked"):
        ut.carriers(model, (x, x), (y + 1) % 3)


def test_inputs_on_which_the_attack_failed_are_left_out(
    digits: tuple[nn.Module, Tensor, Tensor, Tensor],
) -> None:
    model, x, worse, y = digits
    mixed = worse[:6].clone()
    mixed[[1, 4]] = x[[1, 4]]
    found = ut.carriers(model, (x[:6], mixed), y[:6])
    assert found["sample"].values.tolist() == [0, 2, 3, 5]
    assert (found.attrs["inputs"], found.attrs["left_out"]) == (6, 2)


class OfBatch(nn.Module):
    """Subtracts the mean of the batch."""

    def __init__(self) -> None:
        super().__init__()
        self.conv, self.head = nn.Conv2d(2, 4, 3), nn.Linear(4, 3)

    def forward(self, x: Tensor) -> Tensor:
        y = self.conv(x).relu()
        return self.head((y - y.mean(0, keepdim=True)).mean((2, 3)))


def test_a_model_whose_answer_depends_on_the_batch_is_refused() -> None:
    torch.manual_seed(1)
    model, x, worse = OfBatch().eval(), torch.rand(6, 2, 8, 8), torch.rand(6, 2, 8, 8)
    with torch.no_grad():
        model.head.weight.mul_(50)
        y = model(x).argmax(1)
    for rows in (slice(None), slice(1)):  # a single input has others as soon as maps are put back
        with pytest.raises(
            BadInput, match=r"depends on the others in its batch|nothing to restore"
        ):
            ut.carriers(model, (x[rows], worse[rows]), y[rows])
    label, rival = torch.tensor([0]), torch.tensor([1])
    taps = choose(model, x)
    with pytest.raises(BadInput, match="depends on the others in its batch"):
        carry(model, taps, x[:1], worse[:1], label, rival, rankings=["change"], draws=by_row(0, 1))


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"y": None}, "need as many true classes, got none"),
        ({"rankings": ()}, "name at least one"),
        ({"rankings": ("drift", "drift")}, "each once"),
        ({"taps": "4.weight"}, "no module matches"),
    ],
)
def test_bad_input(change: dict[str, object], said: str) -> None:
    model, x = few_carry()
    given = {"attacked": (x, 1 - x), "y": torch.zeros(7, dtype=torch.int64), **change}
    with pytest.raises(BadInput, match=said):
        ut.carriers(model, **given)  # type: ignore[arg-type]
    with pytest.raises(UnknownName, match="unknown ranking 'size'"):
        ut.carriers(model, (x, 1 - x), torch.zeros(7, dtype=torch.int64), rankings=["size"])


def test_a_ranking_of_ones_own(
    tmp_path: Path, digits: tuple[nn.Module, Tensor, Tensor, Tensor]
) -> None:
    file = tmp_path / "mine.py"
    file.write_text(
        "def backwards(pair, tap):\n"
        "    '''The last map first.'''\n"
        "    import torch\n"
        "    return torch.arange(tap.shape[0]).float().expand(len(pair.label), -1)\n"
        "def odd(pair, tap):\n"
        "    '''Wrong shape.'''\n"
        "    return pair.label\n"
    )
    model, x, worse, y = digits
    found = ut.carriers(model, (x[:3], worse[:3]), y[:3], rankings=[f"{file}:backwards"])
    assert found.ranking.values.tolist() == ["backwards", *CONTROLS]
    own = found["score"].values[0, 0, 0]
    assert int(np.nanargmax(own)) == int(found["maps"][0]) - 1
    with pytest.raises(BadInput, match=r"ranking 'odd' gives \(3,\) at tap"):
        ut.carriers(model, (x[:3], worse[:3]), y[:3], rankings=[f"{file}:odd"])


class Watchful(Defended):
    """Rejects inputs whose first value is above a half."""

    def suspicion(self, x: Tensor, logits: Tensor) -> Tensor:
        return x[:, :1, 0, 0] - 0.5


def test_what_a_defence_rejects_is_neither_right_nor_fooled(
    digits: tuple[nn.Module, Tensor, Tensor, Tensor],
) -> None:
    plain, x, worse, y = digits
    x, worse = x.clone(), worse.clone()
    x[:, :, 0, 0] = worse[:, :, 0, 0] = 0.0
    with torch.no_grad():
        kept = (plain(x).argmax(1) == y) & (plain(worse).argmax(1) != y)
    x[0, :, 0, 0] = worse[1, :, 0, 0] = 1.0
    kept[:2] = False
    model = Watchful(plain).eval()
    found = ut.carriers(model, (x, worse), y, rankings=["attribution"], repeats=1)
    assert found["sample"].values.tolist() == torch.nonzero(kept).flatten().tolist()
    measured = ut.measure(model, torch.cat([x[:2], worse[:2]]), references=x[2:10])
    assert measured["rejected"].values.tolist() == [True, False, False, True]
    assert "refuses" in measured["rejected"].attrs["long_name"]
    assert "rejected" not in ut.measure(plain, x[:2])
    worse[:, :, 0, 0] = 1.0
    caught = int(((plain(x).argmax(1) == y) & (x[:, 0, 0, 0] < 0.5)).sum())
    with pytest.raises(BadInput, match=rf"its defence rejects {caught} of them, attacked"):
        ut.carriers(model, (x, worse), y)
