from __future__ import annotations

import torch
from hypothesis import given
from hypothesis import strategies as st

from undertow.taps.layout import layout

sizes = st.integers(2, 16)


@given(rows=sizes, cols=sizes, patch=st.integers(1, 16), prefix=st.sampled_from([0, 1]), maps=sizes)
def test_tokens_of_any_patch_size_find_their_grid(rows, cols, patch, prefix, maps) -> None:
    image = (rows * patch, cols * patch)
    grid = torch.rand(2, maps, rows, cols)
    tokens = torch.cat([torch.ones(2, prefix, maps), grid.flatten(2).mT], 1)
    found = layout(tuple(tokens.shape), image)
    assert found is not None
    if (found.rows, found.cols, found.prefix) == (rows, cols, prefix):
        assert torch.equal(found.view(tokens), grid)
        assert found.shape == (maps, rows, cols)
    else:  # the same number of tokens, read as fewer prefix tokens and another patch size
        assert found.rows * found.cols + found.prefix == rows * cols + prefix
        assert found.prefix <= prefix


@given(maps=sizes, rows=sizes, scale=st.integers(1, 8))
def test_views_share_memory(maps, rows, scale) -> None:
    image = (rows * scale, rows * scale)
    for shape in [(2, maps, rows, rows), (2, rows, rows, maps), (2, rows * rows, maps), (2, maps)]:
        output = torch.rand(shape)
        found = layout(shape, image)
        assert found is not None
        assert found.view(output).data_ptr() == output.data_ptr()


def test_four_axes() -> None:
    assert layout((2, 96, 56, 56), (224, 224)).kind == "first"
    assert layout((2, 56, 56, 96), (224, 224)).kind == "last"
    assert layout((2, 28, 30, 96), (56, 60)).kind == "last"
    assert layout((2, 8, 8, 8), (32, 32)).kind == "first"
    assert layout((2, 5, 26, 26), (32, 32)).kind == "first"


def test_one_position_is_no_extent() -> None:
    for shape in [(2, 7, 1, 1), (2, 1, 7), (2, 7)]:
        found = layout(shape, (32, 32))
        assert found.shape == (7,)
        assert found.view(torch.zeros(shape)).shape == (2, 7)


def test_registers_and_odd_shapes() -> None:
    assert layout((2, 5 + 196, 8), (224, 224)).prefix == 5
    assert layout((2, 2 + 196, 8), (224, 224)).prefix == 2
    assert layout((2, 14 * 10 + 1, 8), (224, 160)).shape == (8, 14, 10)
    assert layout((2, 3, 4, 5, 6), (32, 32)) is None
    assert layout((2,), (32, 32)) is None
