from __future__ import annotations

import json
import re
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from plotly.utils import PlotlyJSONEncoder

from undertow.store import Answers, Run
from undertow.testing.runs import synthetic_run
from undertow.viewer import compare, layer, overview, trajectory
from undertow.viewer.app import VIEWS, make_app
from undertow.viewer.guard import door_for
from undertow.viewer.maps import maps_payload, stored_maps
from undertow.viewer.parts import Query
from undertow.viewer.questions import questions
from undertow.viewer.rest import clean, more_figures
from undertow.viewer.source import Source

from .conftest import MODEL

EVIL = "<img src=x onerror=alert(1)>"
EVIL_LINK = "<a href='https://evil.example'>x</a>"


def texts(view: list[Any]) -> str:
    return json.dumps(view, cls=PlotlyJSONEncoder, ensure_ascii=False)


@pytest.mark.parametrize("path", VIEWS)
@pytest.mark.parametrize(
    "search", ["", "?cell=..%2Fetc&input=-1&tap=99&model=%00&a=x&b=y&step=zz", "?" + "a=1&" * 500]
)
def test_every_view_opens_whatever_the_address_says(source: Source, path: str, search: str) -> None:
    assert len(texts(VIEWS[path][1](source, Query(search)))) > 200


@pytest.mark.parametrize("path", ["/", "/trajectory", "/layer", "/compare"])
def test_a_half_finished_run_shows_what_is_there(half: Run, path: str) -> None:
    assert texts(VIEWS[path][1](Source(half.path), Query("")))


def test_the_state_of_a_view_comes_from_its_address(source: Source) -> None:
    found = texts(
        overview.view(source, Query("?model=deep_conv&success=failed&part=raw&attack=igsm"))
    )
    assert "deep_conv" in found
    assert "failed attacks" in found
    assert "not net of the null" in found
    chosen = texts(trajectory.view(source, Query("?step=7")))
    assert '"data-start": "7"' in chosen


def test_a_run_that_crossed_models_shows_that_first_and_names_its_figures(
    source: Source, tmp_path: Path
) -> None:
    options, shown = more_figures(source, "")
    labels = re.findall(r'"label": "([^"]+)"', texts([options]))
    crossed = "Aimed here or elsewhere · JSMA"
    assert labels[:2] == [crossed, f"{crossed} · by transfer"]
    assert "Transfer · JSMA" in labels
    assert "aimed at the inferring model and at others" in texts([shown])
    alone = synthetic_run(tmp_path / "run", samples=4, shard=2, models=("m",), size=8)
    assert "Where the flow leaves the true class" in texts(more_figures(Source(alone.path), ""))


def test_sentences_are_printed_as_people_read_them(tmp_path: Path) -> None:
    run = synthetic_run(tmp_path / "run", samples=4, shard=2, models=("m",), size=8)
    assert run.answers is not None
    claim = {"claim": "c", "verdict": "supported", "sentence": "jsma: -1.4 d_z of noise:igsm"}
    told = {"questions": [{"id": "q1", "question": "?", "claims": [claim]}]}
    (run.path / "answers.json").write_text(Answers.of(**told).dump())
    found = texts([questions(Source(run.path))])
    assert "JSMA: \N{MINUS SIGN}1.4 " in found
    assert " of noise (IGSM norm)" in found
    assert "d_z of" not in found


def test_an_address_that_names_no_attack_draws_benign_inputs_alone(source: Source) -> None:
    found = overview.view(source, Query("?attack=none-of-them"))
    assert "benign" in texts(found)


def test_everything_in_a_view_is_text(tmp_path: Path) -> None:
    """Names with markup in them stay names: in the page, and in what plotly draws."""
    run = synthetic_run(
        tmp_path / "evil", samples=8, models=(EVIL, EVIL_LINK), attacks=("benign", "igsm", "jsma")
    )
    for place in ("manifest.json",):
        told = json.loads((run.path / place).read_text())
        told["classes"] = [EVIL] * 10
        told["spec"]["name"] = EVIL
        (run.path / place).write_text(json.dumps(told))
    source = Source(run.path)
    for view in (overview, trajectory, layer, compare):
        body = view.view(source, Query(""))
        drawn = [s for s in stores(body) if "traces" in s]
        for found in [
            *drawn,
            *(s[k] for s in stores(body) for k in ("lines", "streams") if k in s),
        ]:
            ink = json.dumps([found["traces"], found["layouts"]])
            assert "<img" not in ink
            assert "<a href" not in ink
        assert "dangerously_allow_html" not in texts(body)


def stores(view: Any) -> list[dict[str, Any]]:
    """Data of every store in a view."""
    found = []
    for item in view if isinstance(view, list) else [view]:
        if type(item).__name__ == "Store" and isinstance(getattr(item, "data", None), dict):
            found.append(item.data)
        children = getattr(item, "children", None)
        if isinstance(children, list):
            found += stores(children)
        elif children is not None and not isinstance(children, str):
            found += stores([children])
    return found


@pytest.mark.parametrize(
    ("given", "kept"),
    [
        ("<b>bold</b><br>x<extra></extra>", "<b>bold</b><br>x<extra></extra>"),
        (EVIL, "&lt;img src=x onerror=alert(1)>"),
        (EVIL_LINK, "&lt;a href='https://evil.example'>x&lt;/a>"),
        ("<b onclick=x>", "&lt;b onclick=x>"),
        ("<BR/>", "<BR/>"),
        (float("nan"), None),
        ([1.0, float("inf")], [1.0, None]),
    ],
)
def test_only_emphasis_is_left_of_markup(given: Any, kept: Any) -> None:
    assert clean(given) == kept


def test_maps_are_scaled_together_and_their_change_is_relative(source: Source, run: Run) -> None:
    import base64

    import numpy as np

    cell, indices = next(iter(source.recorded.items()))
    data = run.exemplar(cell, indices[0])
    tap = next(k for k in range(20) if f"maps.{k}" in data)
    found = stored_maps(source, cell, indices[0], tap)
    assert found is not None
    sent, maps = maps_payload(found, "k"), data[f"maps.{tap}"].values[[0, -1]].astype(float)
    size = np.sqrt((maps[0] ** 2).sum((1, 2)))
    np.testing.assert_allclose(
        sent["change"], np.sqrt(((maps[1] - maps[0]) ** 2).sum((1, 2))) / size, rtol=1e-2
    )
    pixels = np.frombuffer(base64.b64decode(sent["pixels"]), np.uint8).reshape(maps.shape)
    assert (pixels.min(axis=(0, 2, 3)) == 0).all()
    assert (pixels.max(axis=(0, 2, 3)) == 255).all()
    net = data[f"S_raw.{tap}"].values - data[f"S_null.{tap}"].values
    np.testing.assert_allclose(sent["source"], net.mean(axis=1)[[0, -1]], rtol=1e-2, atol=1e-5)


def test_a_run_cannot_name_a_model_to_load(tmp_path: Path) -> None:
    """Loading file.py:factory runs code, and a run may come from a stranger."""
    from undertow.errors import BadInput
    from undertow.viewer.compute import known_models, live_maps

    bad = tmp_path / "bad.py"
    bad.write_text("raise SystemExit('code of the run was executed')\n")
    name = f"{bad}:model"
    run = synthetic_run(tmp_path / "r", samples=8, models=(name,), attacks=("benign", "igsm"))
    source = Source(run.path)
    cell, indices = next(iter(source.recorded.items()))
    assert name not in known_models()
    with pytest.raises(BadInput, match="not a shipped model"):
        live_maps(source, cell, indices[0], 1)


@pytest.mark.filterwarnings("ignore:model .* gets")
def test_a_network_of_ones_own_is_read_as_the_run_read_it(tmp_path: Path) -> None:
    """With the mean and std of the run: without them it would be another function."""
    import numpy as np
    import torch

    from undertow.errors import BadInput
    from undertow.models import load_model
    from undertow.studies.explain import run_explanation
    from undertow.taps import choose, read
    from undertow.viewer.compute import live_maps, load

    file = tmp_path / "net.py"
    file.write_text(
        "import torch\n"
        "from torch import nn\n"
        "def make():\n"
        "    torch.manual_seed(0)\n"
        "    return nn.Sequential(nn.Conv2d(1, 6, 3, padding=1), nn.ReLU(), nn.Conv2d(6, 6, 3),\n"
        "        nn.ReLU(), nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(6, 10))\n"
    )
    name = f"{file}:make"
    run = run_explanation(name, "digits:3", mean=(0.3,), std=(0.2,), out=tmp_path / "run")
    source = Source(run.path)
    cell, indices = next(iter(source.recorded.items()))
    with pytest.raises(BadInput, match="not a shipped model"):
        live_maps(source, cell, indices[0], 0)
    source.models_allowed = (name,)
    found = live_maps(source, cell, indices[0], 0)
    model = load_model(name, mean=(0.3,), std=(0.2,))
    x = torch.from_numpy(np.asarray(source.exemplar(cell, indices[0])["images"].values[:1]))
    taps = choose(model, x)
    truth = read(model, x.float(), taps).maps[taps[0].name][0].numpy()
    np.testing.assert_allclose(found.maps.maps[0], truth, rtol=1e-3, atol=1e-4)
    assert float(load(source, name).normalise.mean.flatten()[0]) == pytest.approx(0.3)


def test_opening_and_viewing_a_run_needs_no_torch(run: Run) -> None:
    code = (
        "import sys; from undertow.viewer import open_viewer;"
        "from undertow.viewer.app import VIEWS;"
        "from undertow.viewer.parts import Query; from undertow.viewer.source import Source;"
        f"viewer = open_viewer({str(run.path)!r}, port=0); source = Source({str(run.path)!r});"
        "[view(source, Query('?success=failed')) for _, view in VIEWS.values()];"
        "print('torch' in sys.modules)"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "False"


def test_all_views_route(source: Source) -> None:
    client = make_app(source, door_for("127.0.0.1", None)).server.test_client()
    for path in VIEWS:
        assert client.get(path).status_code == 200
    names = {json.dumps(d["output"]) for d in client.get("/_dash-dependencies").get_json()}
    assert any("view.children" in n for n in names)


def test_compare_reads_two_runs(run: Run, half: Run) -> None:
    source, other = Source(run.path), Source(half.path)
    source.beside = (other,)
    found = texts(compare.view(source, Query(f"?a=0:{MODEL}%2Bigsm&b=1:{MODEL}%2Bigsm")))
    assert "against" in found
    assert "· synthetic" in found
