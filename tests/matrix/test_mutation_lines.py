"""A mutation has to follow the code; told here in a second, before the mutations are run."""

from __future__ import annotations

from pathlib import Path

import pytest

from matrix.mutations import MUTATIONS, Mutation, mutate

pytestmark = pytest.mark.any_python


@pytest.mark.parametrize("mutation", MUTATIONS, ids=lambda one: one.name.replace(" ", "_"))
def test_a_mutation_finds_the_line_that_it_changes(mutation: Mutation, tmp_path: Path) -> None:
    assert mutation.new in (mutate(mutation, tmp_path) / "claude_monitoring" / mutation.module).read_text()
