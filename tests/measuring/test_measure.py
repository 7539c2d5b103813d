from __future__ import annotations

import copy
import weakref
from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np
import pytest
import torch
import xarray as xr
from torch import Tensor, nn
from torch.nn.functional import avg_pool2d, interpolate

import undertow as ut
from undertow import taps
from undertow.attacks import CW, IGSM, PGD, Noise, Spectrum
from undertow.data import ImageSet
from undertow.errors import BadInput, UnknownName
from undertow.information import readers as reading
from undertow.information.backend import using
from undertow.information.matrices import evidence
from undertow.measuring.measure import measure, measure_with
from undertow.measuring.meter import Meter
from undertow.measuring.seen import evidence_of
from undertow.types import Trajectory

CLASSES = 4


def smooth(n: int, seed: int) -> Tensor:
    g = torch.Generator().manual_seed(seed)
    return interpolate(torch.rand(n, 3, 6, 6, generator=g), (16, 16), mode="bilinear")


class Net(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.block1 = nn.Sequential(nn.Conv2d(3, 5, 3, padding=1), nn.ReLU())
        self.block2 = nn.Sequential(nn.Conv2d(5, 7, 3, 2, 1), nn.ReLU())
        self.block3 = nn.Sequential(nn.Conv2d(7, 6, 3, padding=1), nn.ReLU())
        self.dense = nn.Sequential(nn.Linear(6 * 16, 9), nn.ReLU())
        self.fc = nn.Linear(9, CLASSES)

    def forward(self, x: Tensor) -> Tensor:
        maps = avg_pool2d(self.block3(self.block2(self.block1(x))), 2)
        return self.fc(self.dense(maps.flatten(1)))


@pytest.fixture(scope="module")
def model() -> nn.Module:
    torch.manual_seed(3)
    return Net().eval()


@pytest.fixture(scope="module")
def readers(model) -> reading.Readers:
    x = smooth(200, 7)
    chosen = taps.choose(model, x)
    y = model(x).argmax(1).roll(1)
    y[:CLASSES] = torch.arange(CLASSES)
    seen = {n: reading.features(m) for n, m in taps.read(model, x, chosen).maps.items()}
    return reading.fit(seen, y, seen, y, classes=CLASSES)


@dataclass(frozen=True)
class Plain:
    """Gaussian mutual information of the values themselves, written as its definition."""

    name: ClassVar[str] = "plain"

    def encode(self, maps: Tensor) -> Tensor:
        return maps.double()

    def pairwise(self, a: Tensor, b: Tensor) -> Any:
        def unit(v: Tensor) -> Tensor:
            v = v - v.mean(-1, keepdim=True)
            return v / v.norm(dim=-1, keepdim=True).clamp(min=1e-12)

        rho = unit(a) @ unit(b).transpose(-1, -2)
        return (-0.5 * (1 - rho.square()).clamp(min=1e-6).log2()).float()


def by_hand(model: Net, x: Tensor, references: Tensor) -> dict[str, np.ndarray]:
    """IIP, OIP and IOC of one input as section 3 of the design writes them, in plain loops."""
    estimator = Plain()

    def bits(a: Tensor, b: Tensor) -> float:
        return float(estimator.pairwise(a.flatten()[None].double(), b.flatten()[None].double()))

    def trunk(images: Tensor) -> list[Tensor]:
        one = model.block1(images)
        two = model.block2(one)
        return [one, two, model.block3(two)]

    def evidence(images: Tensor) -> Tensor:
        last = trunk(images)[-1].detach().requires_grad_()
        logits = model.fc(model.dense(avg_pool2d(last, 2).flatten(1)))
        slopes = [torch.autograd.grad(y.sum(), last, retain_graph=True)[0] for y in logits.T]
        return torch.stack([(last * slope).sum(1) for slope in slopes], 1).detach()

    found: dict[str, list[float]] = {
        name: [] for name in ("iip", "oip", "ioc", "iip_null", "oip_raw", "ioc_raw", "ioc_null")
    }
    flows = []
    mine, theirs = evidence(x[None])[0], evidence(references)
    for maps in (m[0].detach() for m in trunk(x[None])):
        side, coarse = maps.shape[1], min(maps.shape[1], mine.shape[1])
        shrunk = avg_pool2d(maps, side // coarse)
        s, t, each_s, each_t = [], [], [], []
        for j in range(len(maps)):
            s.append([bits(avg_pool2d(x[[i]], 16 // side), maps[j]) for i in range(3)])
            t.append([bits(shrunk[j], mine[m]) for m in range(CLASSES)])
            each_s.append([
                [bits(avg_pool2d(r[[i]], 16 // side), maps[j]) for i in range(3)]
                for r in references
            ])  # fmt: skip
            each_t.append([[bits(shrunk[j], e[m]) for m in range(CLASSES)] for e in theirs])
        found["iip"].append(np.mean(s) - np.mean(each_s))
        found["iip_null"].append(np.mean(each_s))
        found["oip"].append(np.mean(t) - np.mean(each_t))
        found["oip_raw"].append(np.mean(t))
        flows.append(np.mean(t, axis=0) - np.mean(each_t, axis=(0, 1)))
        raw = np.corrcoef(np.mean(s, axis=1), np.mean(t, axis=1))[0, 1]
        null = np.mean([
            np.corrcoef(np.mean(each_s, axis=2)[:, r], np.mean(each_t, axis=2)[:, r])[0, 1]
            for r in range(len(references))
        ])  # fmt: skip
        found["ioc_raw"].append(raw)
        found["ioc_null"].append(null)
        found["ioc"].append(raw - null)
    return {"flow": np.array(flows), **{name: np.array(values) for name, values in found.items()}}


def test_profiles_are_those_of_the_definitions(model) -> None:
    x, references = smooth(3, 0), smooth(2, 1)
    flow = measure(model, x, references=references, estimator=Plain())
    assert flow["tap"].values.tolist() == ["block1.1", "block2.1", "block3.1", "dense.1"]
    for i in range(3):
        for name, truth in by_hand(model, x[i], references).items():
            np.testing.assert_allclose(flow[name].values[i, :3], truth, atol=2e-4, err_msg=name)


def test_taps_without_extent_are_missing_not_zero(model, readers) -> None:
    flow = measure(model, smooth(3, 0), references=smooth(2, 1), readers=readers)
    assert flow["spatial"].values.tolist() == [True, True, True, False]
    for name in ("iip", "oip", "ioc", "iip_raw", "iip_null", "oip_raw", "oip_null", "ioc_raw"):
        missing = np.isnan(flow[name].values)
        assert missing[:, 3].all()
        assert not missing[:, :3].any()
    assert np.isfinite(flow["class_information"].values).all()


def test_net_is_raw_minus_null_and_can_be_negative(model) -> None:
    flow = measure(model, smooth(20, 0), references=smooth(8, 1))
    for name in ("iip", "oip"):
        gap = flow[f"{name}_raw"] - flow[f"{name}_null"]
        np.testing.assert_allclose(flow[name], gap, atol=1e-6)
    assert float(flow["oip"].min()) < 0


@pytest.mark.parametrize(
    ("null", "batch_size"), [("mismatch", 1), ("mismatch", 3), ("shift", 3), ("shuffle", 2)]
)
def test_batches_do_not_change_the_numbers(model, readers, null, batch_size) -> None:
    x, references = smooth(7, 0), smooth(3, 1)
    settings = {"references": references, "null": null, "readers": readers, "keep_matrices": [6, 1]}
    whole = measure(model, x, model(x).argmax(1), batch_size=64, **settings)
    parts = measure(model, x, model(x).argmax(1), batch_size=batch_size, **settings)
    assert set(whole.variables) == set(parts.variables)
    for name in whole.data_vars:
        np.testing.assert_allclose(whole[name], parts[name], atol=2e-3, err_msg=str(name))


def test_kept_matrices_give_the_profiles_back(model) -> None:
    flow = measure(model, smooth(5, 0), references=smooth(3, 1), keep_matrices=(4, 2), batch_size=2)
    assert flow["kept"].values.tolist() == [2, 4]
    assert flow["S_raw"].dims == ("kept", "tap", "channel", "map")
    assert flow["T_raw"].dims == ("kept", "tap", "map", "class")
    assert flow.sizes["map"] == 7
    np.testing.assert_allclose(flow["S_net"], flow["S_raw"] - flow["S_null"], atol=1e-6)
    assert float(flow["T_null_std"].min()) >= 0
    assert float(flow["T_null_std"].max()) > 0
    for k, count in enumerate(flow["maps"].values[:3]):
        S = flow["S_net"].isel(tap=k).values
        assert np.isfinite(S[:, :, :count]).all()
        assert np.isnan(S[:, :, count:]).all()
        np.testing.assert_allclose(
            S[:, :, :count].mean(axis=(1, 2)), flow["iip"].isel(tap=k)[[2, 4]], atol=1e-6
        )
        T = flow["T_net"].isel(tap=k).values
        np.testing.assert_allclose(
            T[:, :count].mean(axis=(1, 2)), flow["oip"].isel(tap=k)[[2, 4]], atol=1e-6
        )
    assert np.isnan(flow["S_raw"].isel(tap=3)).all()
    assert "S_raw" not in measure(model, smooth(2, 0), references=smooth(3, 1))


def test_units_definitions_and_the_caveat_are_with_the_numbers(model, readers) -> None:
    flow = measure(
        model,
        smooth(2, 0),
        torch.tensor([0, 1]),
        references=smooth(3, 1),
        readers=readers,
        keep_matrices=[0],
    )
    for name in flow.data_vars:
        assert flow[name].attrs.get("units"), name
        assert flow[name].attrs.get("long_name"), name
    assert flow["iip_null"].attrs == {
        "units": "bit",
        "long_name": "input information profile, the null",
    }
    assert "not Shannon" in flow.attrs["caveat"]
    assert flow.attrs["estimator"] == "GaussianCopula()"
    assert (flow.attrs["null"], flow.attrs["references"]) == ("mismatch", 3)
    assert flow.attrs["evidence_tap"] == "block3.1"


@pytest.mark.parametrize("samples", [1, 5])
def test_evidence_by_one_product_is_evidence(samples) -> None:
    maps, weight = torch.rand(samples, 6, 4, 3), torch.randn(7, 6)
    whole = weight[:, None, :, None, None].expand(7, samples, 6, 4, 3)
    truth = evidence(maps, whole.contiguous())
    torch.testing.assert_close(evidence_of(maps, whole), truth)
    torch.testing.assert_close(evidence_of(maps, whole.contiguous()), truth)
    one_by_one = [evidence_of(m[None], whole[:, :1]) for m in maps]
    assert torch.equal(torch.cat(one_by_one), evidence_of(maps, whole))


# Trajectories -------------------------------------------------------------------------------------


def trajectory(model: nn.Module) -> Trajectory:
    """Three inputs with 3, 1 and 4 iterates."""
    counts = [3, 1, 4]
    sample = torch.tensor([s for s, n in enumerate(counts) for _ in range(n)])
    step = torch.tensor([2 * i for n in counts for i in range(n)])
    benign, end = smooth(3, 0), smooth(3, 5)
    share = torch.cat([torch.linspace(0, 1, n) for n in counts])[:, None, None, None]
    images = benign[sample] * (1 - share) + end[sample] * share
    with torch.no_grad():
        logits, last = model(images), model(images[[2, 3, 7]])
        label = model(benign).argmax(1)
    whole = torch.zeros(3, dtype=torch.int64)
    return Trajectory(
        attack="morph", settings={"n": 4}, origin="iterates", benign=benign, label=label,
        target=whole - 1, sample=sample, step=step, images=images, logits=logits, notes={},
        end=images[[2, 3, 7]], end_logits=last, success=last.argmax(1) != label,
        steps=step[[2, 3, 7]],
        l0=whole, l2=whole.float(), linf=whole.float(), forwards=whole, backwards=whole,
        outcome=whole,
    )  # fmt: skip


def test_trajectory_is_ragged_over_records(model, readers) -> None:
    path = trajectory(model)
    std = measure(model, smooth(20, 9), references=smooth(3, 1)).std("sample")
    flow = measure(
        model, path, references=smooth(3, 1), readers=readers, benign_std=std, batch_size=3
    )
    assert flow["iip"].dims == ("record", "tap")
    assert flow["sample"].values.tolist() == path.sample.tolist()
    assert flow["step"].values.tolist() == path.step.tolist()
    np.testing.assert_allclose(flow["logits"], path.logits, atol=1e-5)
    single = measure(model, path.images[5:6], references=smooth(3, 1))
    np.testing.assert_allclose(flow["iip"][5], single["iip"][0], atol=1e-5)
    assert flow.attrs["attack"] == "morph"

    first = [0, 0, 0, 3, 4, 4, 4, 4]
    whole = np.zeros(8)
    for name in ("iip", "oip", "ioc"):
        gap = (flow[name].values - flow[name].values[first])[:, :3] / std[name].values[:3]
        square = np.square(gap).mean(1)
        np.testing.assert_allclose(flow[f"difference_{name}"], np.sqrt(square), rtol=1e-4)
        whole += square / 3
    np.testing.assert_allclose(flow["difference"], np.sqrt(whole), rtol=1e-4)
    assert (flow["difference"].values[[0, 3, 4]] == 0).all()


def test_takeover_along_a_trajectory(model, readers) -> None:
    path = trajectory(model)
    flow = measure(model, path, references=smooth(3, 1), readers=readers)
    bits = flow["class_information"].values
    for sample in range(3):
        rows = np.flatnonzero(flow["sample"] == sample)
        true = int(path.label[sample])
        others = path.end_logits[sample].clone()
        others[true] = -torch.inf
        rival = int(others.argmax())
        assert (flow["rival"].values[rows] == rival).all()
        assert (flow["label"].values[rows] == true).all()
        ahead = bits[rows][:, :, rival] > bits[rows][:, :, true]
        taken = [next((k for k in range(4) if lead[k:].all()), -1) for lead in ahead]
        assert flow["takeover"].values[rows].tolist() == taken
        for row, k in zip(rows, taken, strict=True):
            depth = flow["takeover_depth"].values[row]
            assert np.isnan(depth) if k < 0 else depth == pytest.approx(flow["depth"].values[k])
        steps = flow["step"].values[rows]
        when = next((int(s) for i, s in enumerate(steps) if min(taken[i:]) >= 0), -1)
        assert (flow["takeover_step"].values[rows] == when).all()


def test_rival_of_labelled_inputs_is_the_answer_or_the_runner_up(model, readers) -> None:
    x = smooth(6, 0)
    with torch.no_grad():
        best, second = model(x).topk(2, dim=1).indices.T
    y = torch.where(torch.arange(6) % 2 == 0, best, second)
    flow = measure(model, x, y, references=smooth(3, 1), readers=readers)
    expected = torch.where(torch.arange(6) % 2 == 0, second, best)
    assert flow["rival"].values.tolist() == expected.tolist()


# Choices ------------------------------------------------------------------------------------------


def test_a_meter_prepared_once_gives_the_same(model, readers) -> None:
    x, references = smooth(5, 0), smooth(3, 1)
    meter = Meter(model, taps.choose(model, x), references=references, readers=readers)
    for _ in range(2):
        assert measure_with(meter, x).equals(
            measure(model, x, references=references, readers=readers)
        )


def test_image_sets_are_read_batch_by_batch(model, readers) -> None:
    whole = ImageSet.from_arrays((smooth(9, 0) * 255).byte(), torch.arange(9) % CLASSES)
    x, y = whole[:]
    references = smooth(2, 1)
    flow = measure(model, whole, references=references, readers=readers, batch_size=4)
    assert flow.equals(measure(model, x, y, references=references, readers=readers, batch_size=4))
    assert flow["label"].values.tolist() == y.tolist()


def test_taps_by_pattern_and_by_hand(model) -> None:
    x, references = smooth(2, 0), smooth(2, 1)
    flow = measure(model, x, taps="block?", references=references)
    assert flow["tap"].values.tolist() == ["block1", "block2", "block3"]
    same = measure(model, x, taps=taps.choose(model, x, "block?"), references=references)
    assert same.equals(flow)


def test_shipped_models_bring_their_own_references() -> None:
    shipped = ut.load_model("digits_cnn")
    x, y = ut.load_data("digits", "test")[:3]
    flow = measure(shipped, x, y)
    assert flow.attrs["references"] == 8
    assert np.isfinite(flow["iip"].where(flow["spatial"], drop=True)).all()
    again = measure(shipped, x, y)
    assert again.equals(flow)


def test_half_precision_models(model) -> None:
    x, references = smooth(3, 0), smooth(2, 1)
    whole = measure(model, x, references=references)
    half = measure(copy.deepcopy(model).half(), x, references=references)
    np.testing.assert_allclose(half["iip"], whole["iip"], atol=0.02)
    np.testing.assert_allclose(half["oip"], whole["oip"], atol=0.05)


def test_public_name() -> None:
    assert ut.measure is measure


@pytest.mark.parametrize(
    ("change", "error", "message"),
    [
        (
            {"inputs": smooth(2, 0) + 1},
            BadInput,
            r"inputs reach from 1.* lie in \[0, 1\]",
        ),
        ({"inputs": smooth(2, 0) * torch.nan}, BadInput, "inputs reach from nan"),
        ({"inputs": smooth(0, 0)}, BadInput, "no inputs to measure"),
        ({"references": smooth(2, 0)[..., :8]}, BadInput, "references are"),
        ({"references": None}, BadInput, "needs references.*or null='shift'"),
        ({"y": torch.tensor([0, 9])}, BadInput, "labels are 2 numbers from 0 to 3, got"),
        ({"y": torch.tensor([0])}, BadInput, "labels are 2 numbers"),
        ({"keep_matrices": [2]}, BadInput, "rows run from 0 to 1"),
        ({"batch_size": 0}, BadInput, "batch_size is at least 1"),
        ({"estimator": "gausian_copula"}, UnknownName, "did you mean 'gaussian_copula'"),
        ({"null": "mismach"}, UnknownName, "did you mean 'mismatch'"),
        ({"taps": "block9"}, BadInput, "nearest: block"),
        ({"taps": "dense"}, BadInput, "no tap has spatial extent"),
    ],
)
def test_bad_input(model, change, error, message) -> None:
    given = {"inputs": smooth(2, 0), "references": smooth(2, 1), **change}
    with pytest.raises(error, match=message):
        measure(model, given.pop("inputs"), **given)


def test_too_few_positions_for_evidence_maps_name_the_last_tap(model) -> None:
    narrow = nn.Sequential(nn.Conv2d(3, 4, 3, (8, 16), 1), nn.Flatten(), nn.Linear(8, 4)).eval()
    with pytest.raises(BadInput, match=r"tap '0'.*has 2 x 1 positions and 3 are needed"):
        measure(narrow, smooth(2, 0), references=smooth(2, 1))


def test_readers_of_other_taps_are_refused(model, readers) -> None:
    with pytest.raises(BadInput, match="fitted at other taps"):
        measure(model, smooth(2, 0), taps="block?", references=smooth(2, 1), readers=readers)


def test_maps_that_are_not_finite_name_the_tap(model) -> None:
    broken = Net().eval()
    with torch.no_grad():
        broken.block2[0].weight[0] = torch.inf
    with pytest.raises(BadInput, match="NaN or infinite"):
        measure(broken, smooth(2, 0), references=smooth(2, 1))


def test_nothing_of_earlier_batches_is_kept(model, monkeypatch) -> None:
    alive: list[weakref.ref[Any]] = []
    sizes: list[int] = []
    see, found = Meter.see, Meter.found

    def watched_see(meter: Meter, x: Tensor, towards: Any) -> Any:
        sizes.append(len(x))
        assert sum(ref() is not None for ref in alive) <= 2
        seen = see(meter, x, towards)
        alive.append(weakref.ref(seen))
        return seen

    def watched_found(meter: Meter, seen: Any, **settings: Any) -> Any:
        profiles = found(meter, seen, **settings)
        alive.append(weakref.ref(profiles.profiles["iip"]))
        return profiles

    monkeypatch.setattr(Meter, "see", watched_see)
    monkeypatch.setattr(Meter, "found", watched_found)
    measure(model, smooth(50, 0), references=smooth(2, 1), batch_size=8, keep_matrices=[3, 40])
    assert sum(sizes) == 50
    assert set(sizes) <= {7, 8}
    assert len(alive) == 2 * len(sizes)


def test_a_meter_beside_shares_the_forward_pass_and_nothing_else(model, readers) -> None:
    x, references = smooth(10, 0), smooth(2, 1)
    chosen = taps.choose(model, x[:1], list(readers.by_tap))
    main = Meter(model, chosen, references=references, readers=readers)
    passes: list[int] = []
    hook = model.register_forward_hook(lambda module, args, output: passes.append(len(output)))
    try:
        found = measure_with(main, x, also={"binned": main.beside("binned")}, batch_size=4)
    finally:
        hook.remove()
    assert sum(passes) == len(x) + len(references), "references are read once"
    alone = measure(model, x, taps=chosen, estimator="binned", references=references, batch_size=4)
    for profile in ("iip", "oip", "ioc", "iip_raw", "oip_null", "ioc_raw"):
        np.testing.assert_array_equal(found[f"{profile}@binned"], alone[profile])
        assert found[f"{profile}@binned"].attrs == alone[profile].attrs
    first = measure_with(main, x, batch_size=4)
    xr.testing.assert_identical(found[list(first.data_vars)], first)
    assert main.beside("binned").readers is None
    assert main.readers is readers


def test_the_path_of_other_devices_measures_the_same() -> None:
    """Every quantity through the torch backend, on the processor."""
    model = ut.load_model("digits_cnn")
    x, y = ut.load_data("digits")[:6]
    here = measure(model, x, y, keep_matrices=[0, 3])
    with using("torch"):
        there = measure(model, x, y, keep_matrices=[0, 3])
    assert set(here.data_vars) == set(there.data_vars)
    for name, values in here.data_vars.items():
        # A coupling divides by the spread of its maps, so it amplifies the rounding of averages.
        rounding = 3e-3 if str(name).startswith("ioc") else 2e-4
        np.testing.assert_allclose(
            there[name].values, values.values, rtol=2e-3, atol=rounding, err_msg=str(name)
        )


def test_drift_along_a_trajectory() -> None:
    """The rival is the class given at the end; without labels it is the answer's runner-up."""
    model = ut.load_model("digits_cnn")
    x, y = ut.load_data("digits")[:4]
    trajectory = ut.craft(ut.attacks.IGSM(epsilon=0.3), model, x, y)
    found = measure(model, trajectory)
    end = trajectory.end_logits.argmax(1)
    assert trajectory.success.all()
    np.testing.assert_array_equal(found["rival"].values, end[trajectory.sample].numpy())
    rows = np.arange(found.sizes["record"])
    F, label = found["flow"].values, found["label"].values
    wanted = F[rows, :, found["rival"].values] - F[rows, :, label]
    np.testing.assert_array_equal(found["drift"].values, wanted)
    np.testing.assert_allclose(found["oip"], np.nanmean(F, axis=2), atol=1e-6)
    last = found["drift"].values[:, found["spatial"].values][:, -1]
    assert ((found["turn"].values >= 0) == (last > 0)).all()
    for sample in range(4):
        own = trajectory.records(sample).numpy()
        turned, steps = found["turn"].values[own] >= 0, trajectory.step.numpy()[own]
        for_good = [s for k, s in enumerate(steps) if turned[k:].all()]
        first = for_good[0] if for_good else -1
        assert (found["turn_step"].values[own] == first).all()
    plain = measure(model, x)
    assert plain.attrs["drift_from"] == "answer"
    two = plain["logits"].values.argsort(1)[:, ::-1][:, :2]
    rows = np.arange(4)
    F = plain["flow"].values
    np.testing.assert_array_equal(
        plain["drift"].values, F[rows, :, two[:, 1]] - F[rows, :, two[:, 0]]
    )


@pytest.fixture
def double_by_default():
    torch.set_default_dtype(torch.float64)
    yield
    torch.set_default_dtype(torch.float32)


def _everything() -> list[np.ndarray]:
    """A shipped network measured, attacked with random starts and controls, put back."""
    model, (x, y) = ut.load_model("digits_cnn"), ut.load_data("digits")[:2]
    assert {v.dtype for v in model.parameters()} == {torch.float32}
    found = [v.values for v in measure(model, x).data_vars.values()]
    for attack in (PGD(epsilon=0.2, steps=4), CW(rounds=1, steps=9), Noise(), Spectrum()):
        found.append(ut.craft(attack, model, x, y).images.numpy())
    trajectory = ut.craft(IGSM(epsilon=0.2), model, x, y)
    found += [
        v.values for v in ut.carriers(model, trajectory, rankings=["drift"], repeats=1).values()
    ]
    return [v for v in found if v.dtype.kind in "fi"]


def test_torchs_default_type_changes_nothing(request: pytest.FixtureRequest) -> None:
    wanted = _everything()
    request.getfixturevalue("double_by_default")
    for one, two in zip(wanted, _everything(), strict=True):
        assert one.dtype == two.dtype
        np.testing.assert_array_equal(one, two)
