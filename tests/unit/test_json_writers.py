"""OTLP/JSON is written by orjson where that is installed, else by the standard library, and says the same."""

from __future__ import annotations

import json
import subprocess
import sys

SCRIPT = """
import sys
if sys.argv[1] == "without":
    sys.modules["orjson"] = None
from claude_monitoring.exporters.encoding import encode_events, to_json
from claude_monitoring.types import EventRecord
attributes = {"a": "\\u00e9 \\U0001f600 \\x00", "b": 1e300, "c": float("inf"), "d": -5}
event = EventRecord("claude_code.x", 7, attributes, "s", 1, 2, 1)
sys.stdout.buffer.write(to_json(encode_events([event], {"service.name": "x"})))
"""


def written(how: str) -> bytes:
    return subprocess.run([sys.executable, "-c", SCRIPT, how], capture_output=True, check=True, timeout=50).stdout


def test_both_writers_say_the_same() -> None:
    fast, standard = written("with"), written("without")
    assert fast != standard  # else this would compare one with itself: only the standard library escapes
    assert json.loads(fast) == json.loads(standard)
