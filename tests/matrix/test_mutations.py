"""The matrix sees faults: the package is broken on purpose, and the scenarios that should turn red do."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from matrix.mutations import MUTATIONS, Mutation, mutate
from matrix.scenarios import SCENARIOS
from matrix.session import run_all

pytestmark = [pytest.mark.slow, pytest.mark.alone, pytest.mark.timeout(300)]

TIME_SCALE = 0.3
BY_ID = {scenario.id: scenario for scenario in SCENARIOS}


@pytest.fixture(scope="module")
def rows(tmp_path_factory: pytest.TempPathFactory) -> dict[tuple[str, str], dict[str, Any]]:
    """All mutations with all their scenarios, side by side."""
    folder = tmp_path_factory.mktemp("mutations")
    scenarios, packages, keys = [], {}, {}
    for number, mutation in enumerate(MUTATIONS):
        package = mutate(mutation, folder)
        for name in (*mutation.red, *mutation.green):
            key = f"{name}~{number}"
            scenarios.append(replace(BY_ID[name], id=key))
            packages[key], keys[key] = package, (mutation.name, name)
    results = run_all(scenarios, lambda _: None, time_scale=TIME_SCALE, packages=packages)
    return {keys[row["id"]]: row for row in results["rows"]}


@pytest.mark.parametrize("mutation", MUTATIONS, ids=lambda one: one.name.replace(" ", "_"))
def test_a_fault_turns_red_what_it_should(mutation: Mutation, rows: dict[tuple[str, str], dict[str, Any]]) -> None:
    for name, check in mutation.red.items():
        row = rows[mutation.name, name]
        failed = [one["name"] for one in row["checks"] if not one["ok"]]
        assert row["outcome"] == "failed", f"{name} is {row['outcome']}: {row['why']}"
        assert any(one.startswith(check) for one in failed), f"{name} failed of {failed}"
    for name in mutation.green:
        row = rows[mutation.name, name]
        assert row["outcome"] == "passed", f"{name}: {row['why']}"
