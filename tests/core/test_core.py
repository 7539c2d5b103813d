"""Words, errors, registries, seeds and draws."""

from __future__ import annotations

import io
import pickle

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from undertow.errors import BadInput, UndertowError, UnknownName
from undertow.progress import SILENT, terminal
from undertow.registry import Registry
from undertow.seeds import derive, portable
from undertow.types import Draws, Goal


def test_an_unknown_name_names_the_nearest_and_all() -> None:
    registry: Registry[type] = Registry("attack")
    registry.add("jsma", "collections:OrderedDict", "ordered")
    registry.add("fgsm", dict, "plain")
    with pytest.raises(
        UnknownName, match=r"unknown attack 'jsmaa'; did you mean 'jsma'\?"
    ) as found:
        registry["jsmaa"]
    assert "fgsm, jsma" in str(found.value)
    assert registry["jsma"].__name__ == "OrderedDict"
    assert list(registry) == ["jsma", "fgsm"]
    with pytest.raises(BadInput, match="registered already"):
        registry.add("fgsm", dict, "again")


def test_errors_survive_a_process_boundary() -> None:
    problem = UnknownName("model", "x", ["a", "b"])
    again = pickle.loads(pickle.dumps(problem))
    assert str(again) == str(problem)
    assert isinstance(again, UndertowError)
    assert again.exit_code == 2


@given(st.integers(0, 2**63 - 1), st.text(), st.text())
def test_seeds_differ_by_word_and_fit_a_generator(seed: int, a: str, b: str) -> None:
    assert derive(seed, a) == derive(seed, a)
    assert 0 <= derive(seed, a) < 2**63
    if a != b:
        assert derive(seed, a) != derive(seed, b)
    torch.Generator().manual_seed(derive(seed, a))


def test_a_name_is_the_same_wherever_its_file_lies() -> None:
    for name in ("net.py:make", "/a/b/net.py:make", "../net.py:make", r"C:\\a\\net.py:make"):
        assert portable(name) == "net.py:make"
    assert portable("a/net.py:f+good_init+b/c.py:g") == "net.py:f+good_init+c.py:g"


def test_words_do_not_run_together() -> None:
    assert derive(0, "ab", "c") != derive(0, "a", "bc")
    assert derive(0, "1") != derive(0, 1)


def test_a_samples_draws_do_not_depend_on_its_batch() -> None:
    seeds = torch.tensor([3, 1, 2])
    whole = Draws(seeds).normal((2, 4))
    assert torch.equal(whole[1], Draws(seeds[1:2]).normal((2, 4))[0])
    keep = torch.tensor([True, False, True])
    assert torch.equal(whole[keep], Draws(seeds)[keep].normal((2, 4)))
    assert Draws(seeds[:0]).uniform((2,)).shape == (0, 2)


def test_a_goal_is_reached_by_the_answer() -> None:
    logits = torch.tensor([[2.0, 1.0], [0.0, 1.0]])
    label = torch.tensor([0, 0])
    assert Goal(label).reached(logits).tolist() == [False, True]
    assert Goal(label, torch.tensor([1, 1]))[torch.tensor([True, False])].reached(
        logits[:1]
    ).tolist() == [False]


def test_progress_is_silent_or_plain_lines_off_a_terminal() -> None:
    stream = io.StringIO()
    with terminal(stream)("Crafting", 3, "inputs") as advance:
        advance(3, "done")
    assert "Crafting: 3/3 inputs" in stream.getvalue()
    assert "\x1b" not in stream.getvalue()
    with terminal(stream, quiet=True)("x", 1) as advance:
        advance()
    with SILENT("x", 1) as advance:
        advance()
    assert stream.getvalue().count("\n") == 1
