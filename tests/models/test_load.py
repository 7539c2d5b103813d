from __future__ import annotations

import json
import pickle
import sys
import types
import warnings

import pytest
import torch
from safetensors.torch import save_file
from torch import nn

from undertow.errors import BadInput, Unavailable, UnknownName
from undertow.models import MODELS, Normalised, fingerprint, load_model
from undertow.models.digits_cnn import DigitsCnn
from undertow.models.load import untrained

MEAN, STD = [0.5, 0.4, 0.3], [0.2, 0.2, 0.25]


def _net(classes=10, channels=3):
    return nn.Sequential(
        nn.Conv2d(channels, 4, 3), nn.ReLU(), nn.AdaptiveAvgPool2d(1), nn.Flatten(),
        nn.Linear(4, classes),
    )  # fmt: skip


@pytest.mark.parametrize("spec", ["digits_cnn", "zoo:digits_cnn"])
def test_a_name_of_the_zoo(spec):
    model = load_model(spec, classes=10, channels=1)
    assert isinstance(model, DigitsCnn)
    assert not model.training
    assert fingerprint(model) == fingerprint(load_model("digits_cnn"))


@pytest.mark.parametrize(
    "spec", ["digits_cn", "zoo:digits_cn", "nothing", "", "http://a/b", "path/to/folder", "x:y"]
)
def test_unknown_names(spec):
    with pytest.raises(UnknownName, match="good_init") as caught:
        load_model(spec)
    assert "timm:NAME" in str(caught.value)


def test_the_nearest_name_is_given():
    with pytest.raises(UnknownName, match="did you mean 'digits_cnn'"):
        load_model("digits_cn")


def test_a_module_is_copied_and_left_alone():
    module = _net().train()
    model = load_model(module, mean=MEAN, std=STD)
    assert isinstance(model, Normalised)
    assert not model.training
    assert not any(p.requires_grad for p in model.parameters())
    assert module.training
    assert all(p.requires_grad for p in module.parameters())
    x = torch.rand((2, 3, 8, 8), generator=torch.Generator().manual_seed(0))
    expected = module((x - torch.tensor(MEAN).view(3, 1, 1)) / torch.tensor(STD).view(3, 1, 1))
    assert torch.allclose(model(x), expected, atol=1e-6)


def test_a_ready_module_is_taken_as_it_is():
    module = Normalised(_net(), MEAN, STD).eval().requires_grad_(False)
    assert load_model(module) is module


def test_a_module_that_cannot_be_copied():
    module = _net()
    module.weird = torch.ones(1, requires_grad=True) * 2
    with pytest.raises(BadInput, match="cannot be copied"):
        load_model(module, mean=MEAN, std=STD)


def test_a_warning_where_normalisation_seems_missing():
    with pytest.warns(UserWarning, match="no normalisation"):
        load_model(_net())
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        load_model(_net(), mean=MEAN, std=STD)
        load_model(Normalised(_net(), MEAN, STD))
        load_model(nn.Sequential(nn.BatchNorm2d(3), _net()))

        class Own(nn.Module):
            def __init__(self):
                super().__init__()
                self.net = _net()

            def forward(self, x):
                return self.net((x - 0.5) / 0.2)

        load_model(Own())
    with pytest.warns(UserWarning, match="no normalisation"):
        load_model(nn.Sequential(nn.Conv2d(3, 4, 3), nn.BatchNorm2d(4), nn.Flatten()))


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"classes": 5}, ["classes", "5", "10"]),
        ({"channels": 1}, ["channels", "1", "3"]),
        ({"mean": [0.5], "std": [0.5]}, ["mean and std", "1", "3"]),
        ({"mean": MEAN}, ["both"]),
        ({"mean": MEAN, "std": [0.1, 0.0, 0.1]}, ["above 0"]),
        ({"mean": MEAN, "std": [0.1]}, ["one a channel"]),
    ],
)
@pytest.mark.filterwarnings("ignore:the model")
def test_what_does_not_fit_is_named(options, words):
    with pytest.raises(BadInput) as caught:
        load_model(_net(), **options)
    assert all(w in str(caught.value) for w in words)


@pytest.mark.filterwarnings("ignore:the model")
def test_outputs_that_are_no_logits():
    with pytest.raises(BadInput, match="shape"):
        load_model(nn.Sequential(nn.Conv2d(3, 4, 3)), classes=4)
    with pytest.raises(BadInput, match="takes no"):
        load_model(nn.Sequential(nn.Flatten(), nn.Linear(7, 2)), classes=2)


def test_zoo_models_have_their_normalisation():
    with pytest.raises(BadInput, match="normalisation inside"):
        load_model("digits_cnn", mean=[0.1], std=[0.2])


@pytest.mark.parametrize("ending", ["safetensors", "pt", "pth"])
def test_weights_from_a_file(tmp_path, ending):
    torch.manual_seed(1)
    state = _net().state_dict()
    path = tmp_path / f"w.{ending}"
    if ending == "safetensors":
        save_file(state, path)
    elif ending == "pt":
        torch.save(state, path)
    else:
        torch.save({"state_dict": {f"module.{k}": v for k, v in state.items()}, "epoch": 3}, path)
    model = load_model(_net(), weights=path, mean=MEAN, std=STD)
    assert torch.equal(model.network[0].weight, state["0.weight"])


def test_weights_of_a_zoo_architecture(tmp_path):
    state = MODELS["digits_cnn"].build().state_dict()
    save_file(state, tmp_path / "w.safetensors")
    model = load_model("digits_cnn", weights=tmp_path / "w.safetensors")
    assert torch.equal(model.head.weight, state["head.weight"])


def test_weights_that_do_not_fit(tmp_path):
    path = tmp_path / "w.safetensors"
    state = _net(classes=7).state_dict()
    state["extra"] = torch.zeros(1)
    del state["0.bias"]
    save_file(state, path)
    with pytest.raises(BadInput) as caught:
        load_model(_net(), weights=path)
    for word in (
        "1 missing (0.bias)",
        "1 unknown (extra)",
        "2 of other shape",
        "(7, 4) for (10, 4)",
    ):
        assert word in str(caught.value)


class _Runs:
    def __reduce__(self):
        return (exec, ("raise SystemExit('code of the file ran')",))


@pytest.mark.parametrize("ending", ["pt", "safetensors"])
def test_weights_that_are_not_safe(tmp_path, ending):
    path = tmp_path / f"w.{ending}"
    path.write_bytes(pickle.dumps({"0.weight": _Runs()}))
    with pytest.raises(BadInput, match="safely"):
        load_model(_net(), weights=path)
    torch.save({"0.weight": _Runs()}, path)
    with pytest.raises(BadInput, match="safely"):
        load_model(_net(), weights=path)
    with pytest.raises(BadInput, match="no weights file"):
        load_model(_net(), weights=tmp_path / "none.pt")


def test_weights_that_are_no_state_dictionary(tmp_path):
    torch.save([1, 2], tmp_path / "w.pt")
    with pytest.raises(BadInput, match="state dictionary"):
        load_model(_net(), weights=tmp_path / "w.pt")


@pytest.fixture
def file(tmp_path):
    path = tmp_path / "mine.py"
    path.write_text(
        "import torch\nfrom torch import nn\n"
        "class Net(nn.Module):\n"
        "    def __init__(self):\n"
        "        super().__init__()\n"
        "        self.conv = nn.Conv2d(3, 4, 1)\n"
        "    def forward(self, x):\n"
        "        return self.conv((x - 0.5) / 0.2).mean((2, 3))\n"
        "def make():\n    return Net()\n"
        "def broken():\n    raise RuntimeError('no luck')\n"
        "def number():\n    return 3\n"
        "ready = Net()\n"
    )
    return path


@pytest.mark.parametrize("name", ["make", "Net", "ready"])
def test_a_factory_in_a_file(file, name):
    model = load_model(f"{file}:{name}", classes=4, channels=3)
    assert model(torch.rand(2, 3, 5, 5)).shape == (2, 4)


@pytest.mark.parametrize(
    ("tail", "kind", "word"),
    [
        (":mak", UnknownName, "make"),
        (":broken", BadInput, "no luck"),
        (":number", BadInput, "int"),
    ],
)
def test_factories_that_fail(file, tail, kind, word):
    with pytest.raises(kind, match=word):
        load_model(f"{file}{tail}")


def test_files_that_fail(file, tmp_path):
    with pytest.raises(BadInput, match="no file"):
        load_model(f"{tmp_path / 'none.py'}:make")
    file.write_text("import nothing_of_this_name\n")
    with pytest.raises(BadInput, match="nothing_of_this_name"):
        load_model(f"{file}:make")


def test_untrained_networks_follow_from_seed_and_purpose(file):
    a, b, c = (untrained(f"{file}:make", seed=1, purpose=p) for p in ("x", "x", "y"))
    assert torch.equal(a.conv.weight, b.conv.weight)
    assert not torch.equal(a.conv.weight, c.conv.weight)
    assert a.training
    assert untrained("zoo:digits_cnn", seed=0).head.weight.requires_grad


def test_an_unknown_device():
    with pytest.raises(BadInput, match="device"):
        load_model("digits_cnn", device="nonsense")


@pytest.fixture
def vit(tmp_path):
    transformers = pytest.importorskip("transformers")
    config = transformers.ViTConfig(
        image_size=16, patch_size=4, num_channels=1, hidden_size=16, num_hidden_layers=1,
        num_attention_heads=2, intermediate_size=16, num_labels=7,
    )  # fmt: skip
    torch.manual_seed(0)
    network = transformers.ViTForImageClassification(config).eval()
    network.save_pretrained(tmp_path / "vit")
    return network, tmp_path / "vit"


@pytest.mark.filterwarnings("ignore::DeprecationWarning", "ignore::FutureWarning")
def test_a_folder_of_transformers(vit):
    network, folder = vit
    (folder / "preprocessor_config.json").write_text(
        json.dumps({"do_normalize": True, "image_mean": [0.5], "image_std": [0.25]})
    )
    model = load_model(f"hf:{folder}", classes=7)
    x = torch.rand((3, 1, 16, 16), generator=torch.Generator().manual_seed(0))
    with torch.no_grad():
        expected = network(pixel_values=(x - 0.5) / 0.25).logits
    assert torch.allclose(model(x), expected, atol=1e-5)
    with pytest.raises(BadInput, match="7"):
        load_model(f"hf:{folder}", classes=10)
    (folder / "preprocessor_config.json").unlink()
    with pytest.warns(UserWarning, match="no normalisation"):
        load_model(f"hf:{folder}")


@pytest.mark.filterwarnings("ignore::DeprecationWarning", "ignore::FutureWarning")
def test_folders_that_are_no_classifier(tmp_path, monkeypatch):
    pytest.importorskip("transformers")
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_OFFLINE", True)
    (tmp_path / "config.json").write_text('{"model_type": "gpt2"}')
    with pytest.raises(BadInput, match="no image classifier"):
        load_model(f"hf:{tmp_path}")
    with pytest.raises(Unavailable, match="could not be loaded"):
        load_model("hf:undertow/there-is-no-such-model")


def _fake_timm(monkeypatch, *, mean=MEAN):
    """Stands for timm where it is not installed: the four names that are used of it."""
    timm = types.ModuleType("timm")
    asked = []

    def create_model(name, pretrained, num_classes=1000, in_chans=3):
        asked.append((name, pretrained))
        if pretrained and not name.startswith("local-dir:"):
            raise RuntimeError("no connection")
        model = _net(num_classes, in_chans)
        model.pretrained_cfg = {"mean": tuple(mean), "std": tuple(STD)}
        return model

    timm.create_model = create_model
    timm.is_model = lambda name: name == "tiny"
    timm.list_models = lambda: ["tiny"]
    monkeypatch.setitem(sys.modules, "timm", timm)
    return asked


def test_timm(monkeypatch, tmp_path):
    asked = _fake_timm(monkeypatch)
    torch.save(_net(5).state_dict(), tmp_path / "w.pt")
    model = load_model("timm:tiny", classes=5, weights=tmp_path / "w.pt")
    assert asked == [("tiny", False)]
    assert isinstance(model, Normalised)
    assert model.normalise.mean.flatten().tolist() == pytest.approx(MEAN)
    with pytest.raises(Unavailable, match="no connection"):
        load_model("timm:tiny")
    with pytest.raises(UnknownName, match="did you mean 'tiny'"):
        load_model("timm:tinny")


def test_timm_from_a_local_folder_with_its_own_preprocessing(monkeypatch, tmp_path):
    asked = _fake_timm(monkeypatch)
    with pytest.raises(BadInput, match=r"no config\.json"):
        load_model(f"timm:{tmp_path}")
    (tmp_path / "config.json").write_text('{"architecture": "tiny"}')
    model = load_model(f"timm:{tmp_path}", classes=5)
    assert asked == [(f"local-dir:{tmp_path}", True)]
    assert isinstance(model, Normalised)
    assert model.normalise.mean.flatten().tolist() == pytest.approx(MEAN)


def test_timm_is_an_extra(monkeypatch):
    monkeypatch.setitem(sys.modules, "timm", None)
    with pytest.raises(Unavailable, match=r"undertow\[timm\]"):
        load_model("timm:resnet18")


@pytest.mark.parametrize("kind", [torch.float64, torch.float16, torch.bfloat16], ids=str)
def test_other_precisions_are_computed_in_float32(kind):
    given = _net().to(kind)
    model = load_model(given, probe=False)
    assert {p.dtype for p in model.parameters()} == {torch.float32}
    assert {p.dtype for p in given.parameters()} == {kind}, "the caller's own is as it was"
    wanted = _net()
    wanted.load_state_dict(given.state_dict())
    x = torch.rand(2, 3, 8, 8)
    torch.testing.assert_close(model(x), wanted(x), rtol=0, atol=0)
    frozen = _net().to(kind).eval().requires_grad_(False)
    assert load_model(frozen, probe=False, classes=10)(x).dtype == torch.float32
    assert next(frozen.parameters()).dtype == kind


def test_thresholds_of_a_defence_keep_their_precision():
    torch.set_default_dtype(torch.float64)
    try:
        model = load_model("good_init/magnet")
    finally:
        torch.set_default_dtype(torch.float32)
    assert fingerprint(model) == fingerprint(load_model("good_init/magnet"))
    assert model.threshold.dtype == torch.float64
    halved = load_model(model.half(), probe=False)
    assert halved.threshold.dtype == torch.float16
    assert {p.dtype for p in halved.parameters()} == {torch.float32}
