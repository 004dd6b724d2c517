"""Each scenario beyond the 54 is a test; plain ``tox`` leaves them out."""

from __future__ import annotations

from typing import Any

import pytest

from matrix.scenarios import EXTENDED, Scenario
from matrix.test_matrix import check


@pytest.mark.parametrize("scenario", [pytest.param(one, id=one.id) for one in EXTENDED])
def test_extended(scenario: Scenario, row: dict[str, Any]) -> None:
    check(row)
