"""Maps put back live: the answers are those of runs by hand, and ticks reach them in a browser."""

from __future__ import annotations

import time
from typing import Any

import pytest
import torch

from undertow.errors import BadInput
from undertow.figures.from_run import ends_of
from undertow.figures.perturbation import unit_interval
from undertow.models import load_model
from undertow.store import Cell, Run
from undertow.viewer import open_viewer
from undertow.viewer.carrying import answer, carried
from undertow.viewer.source import Source

ATTACKED = Cell("digits_cnn", "jsma")


def fooled(run: Run) -> int:
    """A recorded input whose answer the attack changed."""
    return next(i for i in run.exemplars(ATTACKED) if run.exemplar(ATTACKED, i).attrs["success"])


def by_hand(run: Run, index: int, tap: str, maps: list[int], *, back: bool) -> torch.Tensor:
    """Probabilities of every class, the forward pass cut at the tap."""
    data = run.exemplar(ATTACKED, index)
    images = unit_interval(data["images"].values[list(ends_of(data))])
    x = torch.from_numpy(images).float()
    model = load_model("digits_cnn")
    module = dict(model.named_modules())[tap]
    caught: list[torch.Tensor] = []
    hook = module.register_forward_hook(lambda m, a, o: caught.append(o.clone()))
    with torch.no_grad():
        model(x)
    hook.remove()
    before, after = caught[0][:1], caught[0][1:]
    mixed, other = (after.clone(), before) if back else (before.clone(), after)
    mixed[:, maps] = other[:, maps]
    hook = module.register_forward_hook(lambda m, a, o: mixed)
    with torch.no_grad():
        found = model(x[:1]).softmax(1)[0]
    hook.remove()
    return found


@pytest.mark.parametrize("back", [True, False])
def test_answers_are_those_of_a_pass_by_hand(small_run: Run, back: bool) -> None:
    source, index = Source(small_run.path), fooled(small_run)
    taps = [str(t) for t in small_run.exemplar(ATTACKED, index)["tap"].values]
    for tap in (taps[0], taps[-2]):
        for maps in ([], [0], [3, 1, 5]):
            told = answer(source, ATTACKED, index, tap, maps, back=back)
            wanted = by_hand(small_run, index, tap, maps, back=back)
            names = source.class_names(10)
            assert told["answer"] == names[int(wanted.argmax())]
            for bar in told["bars"]:
                assert bar["chance"] == pytest.approx(
                    float(wanted[names.index(bar["name"])]), abs=1e-3
                )


def test_the_smallest_set_returns_the_label_and_all_maps_do(small_run: Run) -> None:
    source, index = Source(small_run.path), fooled(small_run)
    tap = str(small_run.exemplar(ATTACKED, index)["tap"].values[1])
    told = carried(source, ATTACKED, index, tap)
    assert len(told["scores"]) == told["maps"]
    assert told["answer"] == told["rival"]
    for maps in (told["smallest"], range(told["maps"])):
        assert answer(source, ATTACKED, index, tap, list(maps), back=True)["reached"]


def test_nonsense_is_refused(small_run: Run) -> None:
    source, index = Source(small_run.path), fooled(small_run)
    tap = str(small_run.exemplar(ATTACKED, index)["tap"].values[0])
    with pytest.raises(BadInput, match="has maps 0 to"):
        answer(source, ATTACKED, index, tap, [10**6], back=True)
    with pytest.raises(BadInput, match="no tap 'nowhere'"):
        answer(source, ATTACKED, index, "nowhere", [], back=True)
    with pytest.raises(BadInput, match="on the model that was attacked"):
        answer(source, Cell("digits_cnn", "benign"), index, tap, [], back=True)


def test_another_network_of_that_name_and_nothing_to_put_back_are_told(run: Run) -> None:
    """Invented images are no digits, and their deep_conv is not the shipped one."""
    source = Source(run.path)
    told = carried(source, Cell("digits_cnn", "jsma"), 101, "stage1.0")
    assert "words" in told


@pytest.mark.browser
def test_a_tick_changes_the_answer(browser: Any, small_run: Run) -> None:
    index = fooled(small_run)
    browser.get_log("browser")
    with open_viewer(small_run.path, port=0) as viewer:
        browser.get(viewer.at(f"layer?cell={ATTACKED.slug}&input={index}&tap=1"))
        _until(browser, "document.querySelectorAll('.tick').length")
        _says(browser, "Attacked, nothing put back")
        browser.find_element("css selector", ".tick").click()
        _says(browser, "1 of ")
        _press(browser, "Smallest set found")
        _says(browser, "the true label returns")
        assert browser.find_element("css selector", ".carry-words.reached")
        _press(browser, "Into the benign run")
        _says(browser, "put into the benign run")
        _press(browser, "None")
        _says(browser, "Benign, nothing put in")
        assert not browser.execute_script("return document.querySelector('.tick').checked")
    assert [e for e in browser.get_log("browser") if e["level"] == "SEVERE"] == []


def _says(browser: Any, words: str) -> None:
    _until(browser, f"document.querySelector('.carry-words').textContent.includes({words!r})")


def _press(browser: Any, words: str) -> None:
    buttons = browser.find_elements("css selector", ".carry-tools .button")
    next(b for b in buttons if b.text.startswith(words)).click()


def _until(browser: Any, script: str, seconds: float = 30.0) -> None:
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        if browser.execute_script(f"return Boolean({script})"):
            return
        time.sleep(0.03)
    raise AssertionError(f"never true: {script}")
