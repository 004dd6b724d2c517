"""The sketch counts different items, about, whatever their number and order."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from claude_monitoring._sketch import Sketch

STANDARD_ERROR = 0.0325
ALLOWED = 5 * STANDARD_ERROR  # Python salts its hashes, so each run is a draw: one in a million goes beyond
SIZES = [1, 10, 200, 1_000, 10_000, 100_000]


def text(number: int) -> str:
    return f"user-{number}"


def value_of_another_type(number: int) -> tuple[type, str]:
    return (int, str(number))


def sketch_of(items: list[object]) -> Sketch:
    sketch = Sketch()
    for item in items:
        sketch.add(item)
    return sketch


def test_an_empty_sketch_is_nothing_and_counts_nothing() -> None:
    sketch = Sketch()
    assert not sketch
    assert sketch.estimate() == 0


def test_one_item_is_counted_as_one() -> None:
    sketch = sketch_of(["a"])
    assert sketch
    assert sketch.estimate() == 1


@pytest.mark.parametrize("size", SIZES)
@pytest.mark.parametrize("make", [text, value_of_another_type])
def test_the_estimate_is_near_the_number_of_different_items(make: Callable[[int], object], size: int) -> None:
    estimate = sketch_of([make(number) for number in range(size)]).estimate()
    # Of a few items, some may share a register, and each that does is one too few.
    assert abs(estimate - size) <= max(4, ALLOWED * size)


@pytest.mark.parametrize("make", [text, value_of_another_type])
def test_the_estimate_is_right_on_average(make: Callable[[int], object]) -> None:
    total = sum(sketch_of([make(100_000 * of + number) for number in range(4_000)]).estimate() for of in range(25))
    assert total == pytest.approx(25 * 4_000, rel=0.05)


@pytest.mark.parametrize("size", SIZES)
def test_an_item_that_comes_again_changes_nothing(size: int) -> None:
    items: list[object] = [text(number) for number in range(size)]
    once = sketch_of(items).estimate()
    assert sketch_of(items + items[::-1]).estimate() == once


@given(st.lists(st.text(max_size=3)), st.randoms())
def test_the_order_of_the_items_means_nothing(items: list[object], chance: Any) -> None:
    shuffled = sorted(items, key=lambda _: chance.random())
    assert sketch_of(shuffled).estimate() == sketch_of(items).estimate()


def test_an_item_and_the_same_text_of_another_type_are_two() -> None:
    assert sketch_of([item for number in range(2_000) for item in (str(number), (int, str(number)))]).estimate() > 3_000
