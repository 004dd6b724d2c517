"""Each scenario is a test."""

from __future__ import annotations

import os
from typing import Any

import pytest

from matrix.scenarios import SCENARIOS, Scenario


@pytest.mark.parametrize("scenario", [pytest.param(one, id=one.id) for one in SCENARIOS])
def test_scenario(scenario: Scenario, row: dict[str, Any]) -> None:
    check(row)


def check(row: dict[str, Any]) -> None:
    if row["outcome"] == "not run" and os.environ.get("CI") != "true":
        pytest.skip(f"not run: {row['why']}")
    assert row["outcome"] == "passed", f"{row['outcome']}: {row['why']}"
