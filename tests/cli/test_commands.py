"""Every command does what its help says, on the built-in digits."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from undertow.cli import run
from undertow.prose import prose
from undertow.store import Cell, open_run


def test_lists_are_tables_and_json(undertow) -> None:
    for group in ("attacks", "models", "data"):
        said = undertow(group, "list")
        assert said.code == 0
        rows = json.loads(undertow(group, "list", "--json").out)
        assert all(row["name"] in said.out for row in rows)
        assert all(row["what"] for row in rows)


def test_taps_names_shapes_and_depths(undertow) -> None:
    rows = json.loads(undertow("taps", "digits_cnn", "--json").out)
    depths = [row["depth"] for row in rows]
    assert depths == sorted(depths)
    assert 0 < depths[0] <= depths[-1] <= 1


def test_check_agrees_with_the_card(undertow) -> None:
    said = undertow("models", "check", "digits_cnn", "--json", "-q")
    assert said.code == 0
    (found,) = json.loads(said.out)
    assert found["as the card says"]
    right = sum(row[i] for i, row in enumerate(found["confusion"]))
    assert right == round(found["accuracy"] * found["images"])


def test_trace_follows_one_input_to_a_report(undertow, tmp_path: Path) -> None:
    out = tmp_path / "trace"
    said = undertow(
        "trace", "--model", "digits_cnn", "--data", "digits", "--index", 3, "--out", out, "-q"
    )
    assert said.code == 0, said.err
    report = Path(said.out.strip().splitlines()[-1])
    assert report.is_file()
    run = open_run(out)
    assert run.answers is not None
    assert said.out.splitlines()[0] == prose(run.answers.explanations[0].sentence)
    found = run.exemplar(Cell("digits_cnn", "jsma"), 3)
    assert found["difference"].values[0] == 0
    assert found["difference"].values[-1] > 0
    assert "http://" not in report.read_text().replace("http://www.w3.org", "")


def test_measure_prints_profiles_tap_by_tap(undertow, tmp_path: Path) -> None:
    said = undertow(
        "measure", "--model", "digits_cnn", "--data", "digits", "--inputs", 6,
        "--out", tmp_path / "m", "--json", "-q",
    )  # fmt: skip
    assert said.code == 0, said.err
    rows = json.loads(said.out)
    for row in rows:
        assert abs(row["IIP raw"] - row["IIP null"] - row["IIP net"]) < 1e-4


def test_export_and_report_of_a_run(undertow, small_run, tmp_path: Path) -> None:
    said = undertow("export", small_run.path, "--format", "csv", "--out", tmp_path / "csv")
    assert said.code == 0, said.err
    files = [Path(line) for line in said.out.split()]
    assert files
    assert all(f.stat().st_size for f in files)
    said = undertow("report", small_run.path, "--out", tmp_path / "page.html")
    assert Path(said.out.strip()) == tmp_path / "page.html"
    assert said.code == 0


def test_study_init_prints_a_study_that_runs(undertow) -> None:
    said = undertow("study", "--init")
    assert said.code == 0
    assert said.out.startswith("#")


def test_calibrate_prints_a_table_and_writes_a_figure(undertow, tmp_path: Path) -> None:
    figure = tmp_path / "calibration.svg"
    said = undertow(
        "calibrate", "--part", "independence", "--estimator", "gaussian_copula",
        "--figure", figure, "--json", "-q",
    )  # fmt: skip
    assert said.code == 0, said.err
    rows = json.loads(said.out)["estimators"]
    assert {16, 64, 256, 1024} <= {row["n"] for row in rows}
    assert all(abs(row["bias"]) <= 0.01 for row in rows)
    assert figure.read_text().lstrip().startswith("<?xml")


def test_your_own_model_and_images_work(undertow, tmp_path: Path) -> None:
    import numpy as np
    from PIL import Image

    rng = np.random.default_rng(0)
    for name, level in (("cat", 60), ("dog", 160)):
        (tmp_path / "images" / name).mkdir(parents=True)
        for i in range(12):
            pixels = np.clip(rng.normal(level, 40, (24, 24, 3)), 0, 255).astype(np.uint8)
            Image.fromarray(pixels).save(tmp_path / "images" / name / f"{i}.png")
    (tmp_path / "net.py").write_text(
        "import torch\nfrom torch import nn\n"
        "def factory():\n"
        "    torch.manual_seed(0)\n"
        "    return nn.Sequential(nn.BatchNorm2d(3), nn.Conv2d(3, 8, 3, padding=1), nn.ReLU(),\n"
        "        nn.MaxPool2d(2), nn.Conv2d(8, 16, 3, padding=1), nn.ReLU(),\n"
        "        nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(16, 2))\n"
        "class Named(nn.Module):\n"
        "    def __init__(self):\n"
        "        super().__init__()\n"
        "        self.network = factory()\n"
        "    def forward(self, x):\n"
        "        return {'logits': self.network(x)}\n"
    )
    # One of the two classes is wrong from the start, so one of these has a single iterate.
    for index, factory in ((0, "factory"), (20, "Named")):
        said = undertow(
            "trace", "--model", f"{tmp_path}/net.py:{factory}", "--data", tmp_path / "images",
            "--attack", "igsm", "--index", index, "--out", tmp_path / f"run{index}", "-q",
        )  # fmt: skip
        assert said.code == 0, said.err
        assert open_run(tmp_path / f"run{index}").missing == ()


def test_explain_says_the_sentence_first_and_the_report_last(undertow, tmp_path: Path) -> None:
    out = tmp_path / "run"
    said = undertow(
        "explain", "digits:7", "--model", "digits_cnn", "--attack", "igsm", "--set",
        "epsilon=60/255", "--target", "easiest", "--out", out, "-q",
    )  # fmt: skip
    assert said.code == 0, said.err
    first, *_, last = said.out.strip().splitlines()
    assert last == str(out / "report.html")
    run = open_run(out)
    assert run.answers is not None
    assert first == prose(run.answers.explanations[0].sentence)
    assert run.spec["attacks"][0]["settings"] == {"epsilon": "60/255"}
    told = json.loads(
        undertow(
            "explain", "digits:7", "--model", "digits_cnn", "--attack", "igsm", "--set",
            "epsilon=60/255", "--target", "easiest", "--out", out, "--json",
        ).out
    )  # fmt: skip
    assert prose(told["explanations"][0]["sentence"]) == first
    assert told["explanations"][0]["kind"] in ("fooled", "held")


def test_pictures_of_several_sizes_are_brought_to_the_one_asked_for(
    undertow, tmp_path: Path
) -> None:
    import numpy as np
    from PIL import Image

    rng = np.random.default_rng(0)
    (tmp_path / "pictures").mkdir()
    for name, side in (("a", 16), ("b", 24)):
        pixels = rng.integers(0, 255, (side, side), dtype=np.uint8)
        Image.fromarray(pixels).save(tmp_path / "pictures" / f"{name}.png")
    own = tmp_path / "net.py"
    own.write_text("import undertow as ut\ndef make(): return ut.load_model('digits_cnn')\n")
    asked = [
        "explain",
        tmp_path / "pictures",
        "--model",
        f"{own}:make",
        "--out",
        tmp_path / "run",
        "-q",
    ]
    said = undertow(*asked)
    assert said.code == 2
    assert "--size 224" in said.err
    said = undertow(*asked, "--size", 16)
    assert said.code == 0, said.err
    assert [line.split(":")[0] for line in said.out.splitlines()[:2]] in (
        ["a.png", "b.png"], ["b.png", "a.png"]
    )  # fmt: skip


def test_taps_that_match_nothing_leave_no_run_behind(undertow, tmp_path: Path) -> None:
    out = tmp_path / "run"
    said = undertow(
        "carriers", "--model", "digits_cnn", "--data", "digits", "--inputs", 4, "--out", out,
        "--taps", "nosuch", "-q",
    )  # fmt: skip
    assert said.code == 2
    assert "no module matches 'nosuch'" in said.err
    assert not out.exists()


TOKENS = """
import pytest
import torch
from torch import nn

class Net(nn.Module):
    def __init__(self):
        super().__init__()
        self.patch, self.token = nn.Conv2d(1, 8, 2, 2), nn.Parameter(torch.ones(1, 1, 8))
        self.blocks = nn.ModuleList(
            nn.TransformerEncoderLayer(8, 2, 8, 0.0, batch_first=True, norm_first=True)
            for _ in range(3)
        )
        self.head = nn.Linear(8, 10)

    def forward(self, x):
        x = torch.cat([self.token.expand(len(x), -1, -1), self.patch(x - 0.5).flatten(2).mT], 1)
        for block in self.blocks:
            x = block(x)
        return self.head(x[:, 0])

def net():
    torch.manual_seed(0)
    return Net().eval()
"""


@pytest.mark.filterwarnings("ignore:model .* inputs of digits right")  # it is not trained
def test_taps_without_evidence_leave_no_run_behind(undertow, tmp_path: Path) -> None:
    (tmp_path / "tokens.py").write_text(TOKENS)
    asked = (
        "carriers", "--model", f"{tmp_path / 'tokens.py'}:net", "--data", "digits", "--inputs", 4,
        "--out", tmp_path / "run", "--taps", "patch", "-q",
    )  # fmt: skip
    for last, why in (("blocks.1", "cancels at every position"), ("blocks.2", "only its class")):
        said = undertow(*asked, "--taps", last)
        assert said.code == 2
        assert why in said.err
        assert f"'{last}'" in said.err
        assert not (tmp_path / "run").exists()


TALKATIVE = """
from torch import nn
from undertow.models import load_model

class Net(nn.Module):
    def __init__(self):
        super().__init__()
        self.network = load_model("digits_cnn")

    def forward(self, x):
        print("forward", tuple(x.shape))
        return self.network(x)

def net():
    print("made")
    return Net()
"""


def test_what_a_model_prints_is_no_part_of_the_answer(tmp_path: Path, capfd) -> None:
    """In this process and in workers, whose standard output is that of the terminal."""
    (tmp_path / "talk.py").write_text(TALKATIVE)
    line = ["measure", "--model", f"{tmp_path}/talk.py:net", "--data", "digits", "--inputs", "4"]
    assert run([*line, "--json", "-q", "--out", str(tmp_path / "m")]) == 0
    out, err = capfd.readouterr()
    assert json.loads(out)
    assert "forward" in err
    study = {
        "name": "talk", "models": [f"{tmp_path}/talk.py:net"], "readers": 0, "questions": [],
        "data": {"name": "digits", "inputs": 4}, "attacks": [{"name": "fgsm"}], "exemplars": 0,
        "reference_pool": 16,
    }  # fmt: skip
    (tmp_path / "talk.yaml").write_text(json.dumps(study))
    line = ["study", f"{tmp_path}/talk.yaml", "--trust", "-q", "--workers", "1"]
    assert run([*line, "--out", str(tmp_path / "s")]) == 0
    out, err = capfd.readouterr()
    assert out == f"{tmp_path}/s/report.html\n"
    assert "forward" in err


def test_more_inputs_than_there_are_is_told_before_anything_is_asked(undertow, tmp_path) -> None:
    said = undertow("study", "carriers-digits", "--inputs", 99_999_999, "--out", tmp_path / "run")
    assert said.code == 2
    assert said.err == ("undertow: 99999999 inputs were asked for, but digits (test) has 359\n")
    assert not (tmp_path / "run").exists()
