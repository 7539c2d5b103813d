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


def test_steps_over_rows_are_positions_and_none_is_set_aside() -> None:
    """32 steps on 32 × 32 are no 25 patches behind 7 class tokens."""
    for side in (20, 28, 32, 224):
        found = layout((2, side, 7), (side, side))
        assert (found.rows, found.cols, found.prefix) == (side, 1, 0)
    assert layout((2, 40, 7), (20, 40)).shape == (7, 1, 40)
    assert layout((2, 16, 7), (16, 16)).shape == (7, 4, 4)  # as many as patches of 4 x 4 ...
    assert layout((2, 16, 7), (16, 16), sequence=True).shape == (7, 16, 1)  # ... known better


def test_only_a_class_token_is_set_aside_by_a_guess() -> None:
    assert layout((2, 25 + 7, 8), (31, 33)) is None
    assert layout((2, 25 + 1, 8), (31, 31)).prefix == 1
    assert layout((2, 16 + 5, 8), (32, 32)).prefix == 5  # such patches divide the input


def test_maps_along_time() -> None:
    found = layout((2, 12, 50), (1, 100))
    assert (found.kind, found.shape, found.axis) == ("line", (12, 1, 50), 1)
    output = torch.rand(2, 12, 50)
    assert torch.equal(found.view(output)[:, :, 0], output)
    assert found.view(output).data_ptr() == output.data_ptr()
    assert layout((2, 100, 12), (1, 100)).shape == (12, 1, 100)  # steps first, as recurrent ones
    assert layout((2, 12, 40), (20, 40)).shape == (12, 1, 40)
    assert layout((2, 100, 12), (100, 1)).shape == (12, 100, 1)
