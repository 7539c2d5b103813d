from __future__ import annotations

import base64
import gzip
import json
import re
from html.parser import HTMLParser
from pathlib import Path

import numpy as np
import pytest

from undertow.errors import Unavailable
from undertow.figures import FIGURES, FigureData
from undertow.figures.plotly_ink import plotly_script
from undertow.prose import prose
from undertow.report import write_report
from undertow.report.asked import attack_lines, flat, pretty
from undertow.report.embed import Plot
from undertow.report.explained import KINDS
from undertow.report.page import chosen_figures
from undertow.report.tables import OPEN, attack_table, gallery, profile_tables
from undertow.report.terms import glossed
from undertow.report.words import CAVEATS, DEFINITIONS, caveats, interval, say, settings
from undertow.store import Cell, Number, Run

from .conftest import EVIL


class _Page(HTMLParser):
    """Elements, text, and scripts of a page."""

    VOID = frozenset({"meta", "img", "path", "br", "link", "input"})

    def __init__(self, text: str) -> None:
        super().__init__()
        self.elements: list[tuple[str, dict[str, str | None]]] = []
        self.text, self.scripts, self.stack = "", [], []
        self.feed(text)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.elements.append((tag, dict(attrs)))
        if tag not in self.VOID:
            self.stack.append(tag)

    def handle_startendtag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.elements.append((tag, dict(attrs)))

    def handle_endtag(self, tag: str) -> None:
        assert self.stack.pop() == tag, f"</{tag}> closes nothing"

    def handle_data(self, data: str) -> None:
        if self.stack and self.stack[-1] in ("script", "style"):
            self.scripts.append(data)
        else:
            self.text += data


def _printed(words: str) -> str:
    """A sentence as the text of the page holds it."""
    return prose(words).replace("d_z", "dz")


def _drawn(text: str) -> list[str]:
    packed = re.search(r'id="plots">([^<]+)<', text)
    assert packed
    found: list[str] = json.loads(gzip.decompress(base64.b64decode(packed[1])))
    return found


@pytest.fixture(scope="module")
def parsed(page: Path) -> _Page:
    return _Page(page.read_text())


def test_the_page_is_one_small_file_that_asks_for_nothing(page: Path, parsed: _Page) -> None:
    assert page.name == "report.html"
    assert page.stat().st_size < 5_000_000
    assert parsed.stack == []
    for tag, attrs in parsed.elements:
        assert tag not in ("link", "iframe", "object", "base"), tag
        for name in ("src", "href"):
            assert (attrs.get(name) or "#").startswith(("data:", "#")), attrs
    policy = next(a["content"] for t, a in parsed.elements if t == "meta" and a.get("http-equiv"))
    assert policy is not None
    assert policy.startswith("default-src 'none'")
    assert not re.search(r"url\(\s*['\"]?http|@import", page.read_text().split("</style>")[0])


def test_the_summary_comes_first_with_verdicts_and_sentences(run: Run, parsed: _Page) -> None:
    assert run.answers is not None
    order = [a["id"] for t, a in parsed.elements if t == "section"]
    assert order == [
        "summary", "figures", "numbers", "method", "caveats", "glossary", "manifest",
    ]  # fmt: skip
    for question in run.answers.questions:
        assert question.question in parsed.text
        for claim in question.claims:
            assert _printed(claim.sentence) in parsed.text
            assert claim.control is not None
            assert _printed(claim.control.sentence) in parsed.text
            assert claim.verdict in parsed.text
        if question.missing:
            assert f"Not answered: {question.missing}" in parsed.text


def test_every_figure_kind_is_shown_with_picture_data_and_caption(
    run: Run, page: Path, parsed: _Page
) -> None:
    shown = [a for t, a in parsed.elements if t == "img" and "webp" in (a["src"] or "")]
    titles = {a["alt"] for a in shown}
    for name in (n for n in FIGURES if n != "perturbation"):  # evidence shows its pictures
        assert FIGURES[name].from_run(run).title in titles, name
        assert _printed(FIGURES[name].from_run(run).caption) in parsed.text, name
    assert all((a["src"] or "").startswith("data:image/webp;base64,") for a in shown)
    drawn = [json.loads(s) for s in _drawn(page.read_text())]
    assert len(drawn) == len(shown)
    assert {"wide", "narrow", "panels", "traces"} == set(drawn[0])


def test_plotly_is_packed_whole(page: Path) -> None:
    packed = re.search(r'id="plotly">([^<]+)<', page.read_text())
    assert packed
    assert gzip.decompress(base64.b64decode(packed[1])) == plotly_script().read_bytes()


def test_method_caveats_and_manifest_are_there(run: Run, parsed: _Page) -> None:
    for words in (*(d for _, d in DEFINITIONS), *CAVEATS, '"seed": 1', "0" * 64):
        assert _printed(words) in parsed.text
    assert "It is not Shannon's I(X; T) over a population" in parsed.text
    assert dict(settings(run.spec, run.manifest))["Reference inputs of the null"] == "8"


def test_a_half_finished_run_shows_what_is_there_and_names_what_is_missing(evil: Run) -> None:
    page = _Page(write_report(evil).read_text())
    assert page.stack == []
    assert "This run is not complete" in page.text
    for words in evil.missing:
        assert words in page.text
    assert "MemoryError: no room" in page.text
    assert "Input-output curves in" in page.text
    assert "No question has been answered yet." in page.text


def test_markup_in_names_stays_words(evil: Run) -> None:
    text = write_report(evil).read_text()
    page = _Page(text)
    assert EVIL in page.text
    assert not [a for t, a in page.elements if t == "img" and a.get("src") == "x"]
    assert not [t for t, _ in page.elements if t == "b"]
    assert not any(name.startswith("on") for _, attrs in page.elements for name in attrs)
    assert "<" not in "".join(_drawn(text)), "nothing in the data can end the script element"
    for trace in (t for s in _drawn(text) for t in json.loads(s)["traces"]):
        assert "<img" not in json.dumps(trace), "plotly reads markup in labels"


def test_the_same_run_gives_the_same_page(evil: Run, tmp_path: Path) -> None:
    assert (
        write_report(evil, tmp_path / "again.html").read_bytes() == write_report(evil).read_bytes()
    )


def test_a_place_that_cannot_hold_it_is_named(run: Run, tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(Unavailable, match=r"r\.html"):
        write_report(run, tmp_path / "file" / "r.html")


def test_tables_hold_the_stored_means(run: Run) -> None:
    table = attack_table(run)
    assert table is not None
    rows = {row[:2]: dict(zip(table.columns, row, strict=True)) for row in table.rows}
    ends = run.attacks(Cell("good_init", "jsma")).load()
    row = rows["good_init", "JSMA"]
    assert row["n"] == 8
    assert row["fooled (%)"] == pytest.approx(100 * ends["success"].mean().item())
    assert row["L2"] == pytest.approx(ends["l2"].values[ends["success"].values].mean())
    profile = profile_tables(run)[0]
    wanted = run.profiles(Cell("good_init", "benign"))["oip_null"].mean("sample")
    found = [r[profile.columns.index("OIP null")] for r in profile.rows if r[0] == "benign"]
    np.testing.assert_allclose(np.array(found, dtype=float), wanted, rtol=1e-5)


@pytest.mark.parametrize(
    ("value", "words"),
    [
        (None, "–"),
        (float("nan"), "–"),
        (0.12345, "0.123"),
        (-2.0, "−2.00"),
        (1234.6, "1235"),
        (0.00001, "1.0e−5"),
        (12_345, "12,345"),
        (7, "7"),
        (True, "yes"),
        ("a", "a"),
        (100.0, "100"),
        (0.0, "0.00"),
        (-0.00042, "−4.2e−4"),
    ],
)
def test_numbers_read_well(value: object, words: str) -> None:
    assert say(value) == words


def test_intervals_read_well() -> None:
    assert interval(Number(name="x", value=1, low=-0.5, high=2)) == "−0.500 … 2.00"
    assert interval(Number(name="x", value=1)) == "–"


def test_the_spec_is_told_in_few_lines() -> None:
    spec = {
        "attacks": [{"name": "fgsm", "match": 2.0, "target": None}, {"name": "jsma"}],
        "a": {"b": [1, 2]},
        "c": None,
    }
    assert flat(spec) == [("attacks", "fgsm (match 2.0)"), ("", "jsma"), ("a.b", "1, 2")]
    assert (
        pretty({"a": [1, 2], "b": {"c": []}}) == '{\n  "a": [1, 2],\n  "b": {\n    "c": []\n  }\n}'
    )


def test_each_attack_is_told_by_its_name_with_what_it_was_aimed_at() -> None:
    jsma = {"name": "jsma", "label": "jsma(softmax)", "target": "easiest", "models": ["a", "b"]}
    spec = {"attacks": [{**jsma, "match_l2": 2.0, "control": True, "settings": {}}, {"x": 1}]}
    words = "target easiest; mean L2 matched to 2.0; aimed at a, b; controls yes"
    assert attack_lines(spec) == [("JSMA, softmax", words)]
    assert attack_lines({"attacks": ["jsma"]}) == attack_lines({}) == []


def test_at_most_six_figures_stand_open_the_first_of_each_kind(run: Run, parsed: _Page) -> None:
    figures = [f for f in chosen_figures(run) if isinstance(f, FigureData)]
    found = [Plot(f, "", (1, 1), "{}") for f in figures]
    hung = gallery(found)
    assert len(hung.open) == OPEN
    assert len({p.data.name for p in hung.open}) == OPEN
    assert [p.number for p in (*hung.open, *hung.more)] == list(range(1, len(found) + 1))
    assert [p.data.name for p in hung.open][:3] == ["evidence", "leaning", "drift"]
    assert all(p.data.title in hung.words for p in hung.more)


def test_terms_and_layers_explain_themselves_once() -> None:
    words = glossed("drift at abbr and drift at abbr, JSMA <b>", {"abbr": "18 % in"})
    assert words.count("<abbr ") == 2
    assert words.count('<span class="unit">(18 % in)</span>') == 1
    assert words.endswith("&lt;b&gt;")
    assert "(18 % in)" not in glossed("from abbr, two thirds of the way", {"abbr": "18 % in"})
    assert "<abbr" not in glossed("runs/drift/a.drift"), "names of files stay as they are"
    assert "<sub>z</sub></abbr>" in glossed("0.4 d_z")


def test_an_explanation_comes_first_with_its_pictures(run: Run, parsed: _Page) -> None:
    assert run.answers is not None
    (told,) = run.answers.explanations
    assert run.answers.headline in parsed.text
    plain = re.sub(r" \(\d+.% in\)", "", parsed.text)  # where the layers lie
    for sentence in told.sentences:
        assert _printed(sentence) in plain
    pictures = [a for t, a in parsed.elements if t == "img" and "image/png" in (a["src"] or "")]
    assert [a["alt"] for a in pictures] == ["the input", "attacked"]
    assert KINDS["fooled"][0] in parsed.text


def test_every_table_has_a_caption_and_the_page_a_way_past_its_head(parsed: _Page) -> None:
    tags = [t for t, _ in parsed.elements]
    assert tags.count("caption") == tags.count("table") > 0
    assert next(a["href"] for t, a in parsed.elements if t == "a") == "#summary"


def test_a_warning_that_the_answers_bring_along_is_not_said_twice() -> None:
    theirs = ["They are not Shannon's I(X;T).", "Something of this run alone."]
    told = caveats(theirs)
    assert sum("Shannon" in sentence for sentence in told) == 1
    assert set(theirs) < set(told)
    assert caveats([]) == list(CAVEATS)


def test_questions_with_models_that_cross_get_their_figures(run: Run, parsed: _Page) -> None:
    titles = [a["alt"] or "" for t, a in parsed.elements if t == "img"]
    crossed = [t for t in titles if "aimed at the inferring model and at others" in t]
    assert [t.endswith(", by transfer") for t in crossed] == [False, True]
    assert "Transfer of JSMA inputs" in titles
    assert run.answers is not None
    assert len({q.id for q in run.answers.questions}) == len(run.answers.questions)


def test_the_place_of_a_report_can_be_told_as_text(run: Run, tmp_path: Path) -> None:
    place = tmp_path / "deep" / "page.html"
    assert write_report(run, str(place)) == place
    assert place.read_text(encoding="utf-8").lower().startswith("<!doctype html>")
