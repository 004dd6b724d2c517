"""What the unit tests share: a place to see what was recorded."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from claude_monitoring.testing import Captured, capture


@pytest.fixture
def seen() -> Iterator[Captured]:
    """Everything recorded during the test; ``seen.monitor`` is agent ``backend``."""
    with capture("backend") as captured:
        yield captured
