"""The scenarios whose far side is local, against a real OpenTelemetry Collector; run this file alone."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from matrix.scenarios import SCENARIOS, Scenario
from matrix.test_matrix import check

LOCAL = [
    replace(one, group="collector", expects="collected" if one.expects == "delivered" else one.expects)
    for one in SCENARIOS
    if one.group == "otlp" and one.endpoint.startswith("local")
]


@pytest.mark.parametrize("scenario", [pytest.param(one, id=one.id) for one in LOCAL])
def test_collector(scenario: Scenario, row: dict[str, Any]) -> None:
    check(row)
