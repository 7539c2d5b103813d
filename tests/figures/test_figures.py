"""Each figure shows the numbers it was given, where they belong."""

from __future__ import annotations

import colorsys
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from undertow.errors import BadInput
from undertow.figures import FIGURES, Heat, Picture, Series
from undertow.figures.data import Axis, FigureData, Panel
from undertow.figures.palette import DARK, FAINT, PALETTE, RAMP, markers, paints, ramp
from undertow.figures.perturbation import build as perturbation
from undertow.figures.perturbation import rgb
from undertow.figures.plotly_ink import repaint, traces
from undertow.figures.plotly_layout import layout
from undertow.figures.print_ink import render, save
from undertow.figures.streams import takeover_tap
from undertow.figures.takeover import wilson
from undertow.figures.trajectory import LINES
from undertow.figures.trajectory import build as trajectory
from undertow.figures.wording import benign_first, curve_name
from undertow.store import Cell, Run


def _luminance(color: str) -> float:
    linear = [
        (v / 12.92 if v <= 0.04045 else ((v + 0.055) / 1.055) ** 2.4)
        for v in (int(color[i : i + 2], 16) / 255 for i in (1, 3, 5))
    ]
    return float(np.dot(linear, (0.2126, 0.7152, 0.0722)))


def test_iterates_get_lighter_with_each_step() -> None:
    light = [_luminance(c) for c in RAMP]
    assert light == sorted(light)
    assert ramp(0.0) == RAMP[0]
    assert ramp(1.0) == RAMP[-1]
    assert 1.05 / (light[-1] + 0.05) > 1.5, "the lightest can be seen on white"


def test_colours_are_seen_on_paper_and_on_dark_screens() -> None:
    for color in PALETTE:
        assert 1.05 / (_luminance(color) + 0.05) > 2.0, f"{color} on white"
        assert (_luminance(DARK[color]) + 0.05) / (_luminance("#1b1e23") + 0.05) > 4.5, (
            f"{DARK[color]} on the dark card"
        )


def _dichromat(color: str) -> np.ndarray:
    """A colour as a deuteranope sees it (Viénot, Brettel and Mollon 1999)."""
    rgb_ = np.array([int(color[i : i + 2], 16) / 255 for i in (1, 3, 5)]) ** 2.2
    sees = np.array(
        [[0.29275, 0.70725, -0.02978], [0.29275, 0.70725, 0.02978], [-0.02233, 0.02233, 1.0]]
    )
    seen: np.ndarray = np.clip(sees @ rgb_, 0, 1) ** (1 / 2.2)
    return seen


def test_the_first_colours_differ_for_colour_blind_readers() -> None:
    first = PALETTE[:6]
    apart = [
        np.abs(_dichromat(a) - _dichromat(b)).max() for i, a in enumerate(first) for b in first[:i]
    ]
    assert min(apart) > 0.08
    assert all(0 <= colorsys.rgb_to_hls(*_dichromat(c))[1] <= 1 for c in first)


def test_an_attack_and_its_control_share_a_colour_and_no_two_attacks_do() -> None:
    keys = [
        "benign",
        "fgsm",
        "igsm",
        "jsma",
        "noise:jsma",
        "jsma[failed]",
        "jsma(adaptive)",
        "mine",
        "yours",
    ]
    colors = paints(keys)
    assert colors["benign"] == "#000000"
    assert colors["noise:jsma"] == colors["jsma"] == colors["jsma[failed]"]
    assert len({colors[k] for k in keys if k not in ("noise:jsma", "jsma[failed]")}) == 7
    assert markers(keys)["noise:jsma"] == markers(keys)["jsma"]


def test_curves_are_named_and_ordered_for_people() -> None:
    assert (
        curve_name("jsma@deep_conv[non-transferable]")
        == "JSMA aimed at deep_conv, non-transferable"
    )
    assert curve_name("noise:cw") == "noise, C&W norm"
    assert benign_first(["noise:jsma", "fgsm", "benign", "jsma"]) == [
        "benign",
        "jsma",
        "noise:jsma",
        "fgsm",
    ]


@given(st.lists(st.lists(st.floats(-5, 5), min_size=3, max_size=3), min_size=1, max_size=6))
def test_the_takeover_is_the_first_tap_from_which_the_other_class_leads_for_good(
    rows: list[list[float]],
) -> None:
    bits = np.array(rows)
    found = takeover_tap(bits, 0, 2)
    leads = [row[2] > row[0] for row in rows]
    slow = next((k for k in range(len(rows)) if all(leads[k:])), None)
    assert found == slow
    assert takeover_tap(bits, 1, 1) is None


def test_the_wilson_interval_is_the_published_one() -> None:
    low, high = wilson(np.array([8.0]), 10)  # Newcombe 1998, table I: 8 of 10
    np.testing.assert_allclose([low[0], high[0]], [0.4902, 0.9433], atol=2e-4)


def test_a_long_trajectory_is_thinned_but_keeps_both_ends() -> None:
    steps, taps = np.arange(0, 300, 2), ("a", "b")
    profiles = {p: np.outer(np.arange(150.0), np.ones(2)) for p in ("iip", "oip", "ioc")}
    data = trajectory(
        profiles=profiles,
        difference=np.arange(150.0),
        steps=steps,
        taps=taps,
        depth=np.array([0, 1.0]),
        name="x",
        step=100,
    )
    lines = data.panels[0].series
    assert len(lines) == LINES
    assert list(data.legend()) == ["benign", "step 298"]
    assert {s.y[0] for s in lines} >= {0.0, 149.0}
    assert lines[-1].color == "#000000", "benign lies on top"
    assert f"{LINES} of 150 iterates" in data.caption
    assert [s.x[0] for s in data.panels[3].series if s.marker == "diamond"] == [100.0]


def test_the_difference_is_amplified_about_grey_and_measured() -> None:
    benign = np.zeros((1, 2, 2))
    adversarial = benign.copy()
    adversarial[0, 0, 1] = 0.1
    data = perturbation(benign=benign, adversarial=adversarial, name="x", gain=2.0)
    picture = data.panels[2].picture
    assert picture is not None
    assert picture.pixels[0, 1].tolist() == [178] * 3
    assert picture.pixels[1, 1].tolist() == [128] * 3
    assert "L2 distance 0.1" in data.caption
    assert "1 of 4 components" in data.caption
    assert rgb(np.ones((4, 2, 3))).shape == (2, 3, 3)


def test_net_matrices_are_raw_less_null(run: Run) -> None:
    data = FIGURES["matrices"].from_run(run, model="good_init", attack="jsma", tap="stage1.0")
    stored = run.exemplar(Cell("good_init", "jsma"), 101)
    net = data.panels[2].heat
    assert net is not None
    np.testing.assert_allclose(
        net.z, (stored["S_raw.0"] - stored["S_null.0"]).values[-1], rtol=1e-6
    )
    assert net.limits[0] == -net.limits[1]


def test_the_plane_shows_means_of_finished_inputs_only(half: Run) -> None:
    data = FIGURES["plane"].from_run(half)
    kept = half.profiles(Cell("good_init", "benign")).isel(sample=slice(0, 4))
    np.testing.assert_allclose(
        data.panels[0].series[0].x, kept["iip"].values.mean(axis=0), rtol=1e-5
    )
    assert data.n == 4


def test_change_and_drift_draw_benign_attack_and_a_grey_band_of_controls(run: Run) -> None:
    assert run.answers is not None
    for name, quantity in (("change", "iip"), ("drift", "drift")):
        data = FIGURES[name].from_run(run, model="good_init")
        stored = run.answers.contrasts["good_init"]["jsma"][quantity]
        panel = next(p for p in data.panels if p.title.startswith("JSMA"))
        band, *_, attack = panel.series
        by = stored.change if name == "change" else stored.level
        np.testing.assert_allclose(attack.y, by["attack"].mean)
        assert attack.label == "JSMA"
        assert band.low is not None
        np.testing.assert_allclose(band.low, by["noise"].low)
        assert (band.color, band.bars) == (FAINT, False)
        assert f"n = {stored.n}" in panel.title


def test_the_legend_of_aggregates_tells_each_n(run: Run) -> None:
    assert run.answers is not None
    curves = run.answers.aggregates["good_init"]
    legend = FIGURES["aggregate"].from_run(run, model="good_init").legend()
    assert set(legend) == {
        f"{curve_name(k)} (n = {curves[k]['iip'].n})"
        for k in curves
        if ":" not in k and "@" not in k
    }


def test_the_turning_map_marks_the_step_since_which_the_last_layer_is_turned(run: Run) -> None:
    data = FIGURES["turning"].from_run(run, attack="jsma")
    heat, drift = data.panels[0].heat, run.exemplar(Cell("good_init", "jsma"), 101)["drift"].values
    assert heat is not None
    np.testing.assert_allclose(heat.z, drift)
    first = int(np.flatnonzero(drift[:, -1] <= 0)[-1]) + 1
    assert [m.at for m in data.panels[0].marks] == [first - 0.5]
    assert f"step {first}" in data.caption


def test_solid_is_aimed_here_and_dashed_elsewhere(run: Run) -> None:
    data = FIGURES["solid_dashed"].from_run(run)
    for panel in data.panels:
        model = panel.title.split(":")[0]
        for s in panel.series:
            if s.line != "none" and s.label != "benign":
                assert (s.line == "solid") == (s.label == f"aimed at {model}")
    apart = FIGURES["solid_dashed"].from_run(run, subsets=True)
    assert {s.line for s in apart.legend().values()} == {"solid", "dashed", "dotted"}


def test_names_with_markup_stay_words() -> None:
    line = Series(x=np.array([0, 1]), y=np.array([0, 1]), label="<b>x</b>", hover=("<i>", "&"))
    data = trajectory(
        profiles={"iip": np.zeros((2, 1))},
        difference=np.zeros(2),
        steps=np.arange(2),
        taps=("<img src=x>",),
        depth=np.zeros(1),
        name="x",
    )
    text = str(traces(data)) + str(line)
    assert "<img" not in str(traces(data))
    assert "&lt;img src=x&gt;" in text


def test_dark_colours_replace_bands_too() -> None:
    assert repaint(["rgba(0,114,178,0.14)", "#0072b2", 3, "word"]) == [
        "rgba(74,168,224,0.14)",
        "#4aa8e0",
        3,
        "word",
    ]


def test_files_are_named_by_their_ending(run: Run, tmp_path: Path) -> None:
    data = FIGURES["transfer"].from_run(run)
    assert save(data, tmp_path / "f.pdf").read_bytes() == render(data, "pdf")
    with pytest.raises(BadInput, match="allowed: pdf, svg, png"):
        save(data, tmp_path / "f.gif")


def test_misshapen_pieces_are_refused() -> None:
    with pytest.raises(BadInput, match="shapes"):
        Series(x=np.zeros(3), y=np.zeros(2))
    with pytest.raises(BadInput, match="matrix"):
        Heat(z=np.zeros(3), unit="bit")
    with pytest.raises(BadInput, match="uint8"):
        Picture(pixels=np.zeros((2, 2, 3)))


@pytest.mark.parametrize(("steps", "spacing"), [(1, 1), (6, 1), (7, None), (200, None)])
def test_no_number_stands_twice_along_an_axis_of_whole_numbers(
    steps: int, spacing: int | None
) -> None:
    x = np.arange(steps + 1.0)
    panel = Panel(
        title="", x=Axis(label="iterate", unit="step", integer=True), y=Axis(label="y", unit="1"),
        series=(Series(x=x, y=np.where(x > 0, x, np.nan)),),
    )  # fmt: skip
    data = FigureData(name="any", title="", caption="", n=1, interval="none", panels=(panel,))
    assert layout(data)["xaxis"].get("dtick") == spacing
