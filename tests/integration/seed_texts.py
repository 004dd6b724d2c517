"""Finds the PromQL in the customer's documents, which lie beside the repository where it is developed."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

__all__ = ["SEEDS", "Found", "expressions", "plain"]

SEEDS = Path(__file__).parents[3] / "shared" / "seeds"

_PATTERNS = (
    r"^```promql\n(?P<x>.*?)^```",  # a block
    r"^ *expr: *(?P<x>(?![| ])[^\n]+)$",  # a rule in one line
    r"^(?P<indent> *)expr: \|\n(?P<x>(?:(?P=indent) +[^\n]*\n)+)",  # one in several
    r'"expr": (?P<x>"(?!"")[^\n]+"),$',  # a panel in JSON
    r'"expr": """(?P<x>.*?)"""',
    r"""^ *(?:query = f?)?'(?P<x>\w[^'\n]*otel_claude[^'\n]*)'""",  # a string in Python
    r"query = '''(?P<x>.*?)'''",
    r"\| `(?P<x>[^`\n]*\([^`\n]*claude_code_[^`\n]*\)[^`\n]*|label_values\([^`\n]*)` \|",  # a cell of a table
    r"\(query `(?P<x>[^`]+)`\)",  # in a sentence
    r"(?<!/loki)/api/v1/query\?query=(?P<x>[^'\s]*claude[^'\s]*)",  # a call by curl
)


class Found(NamedTuple):
    """An expression, where it stands (``004:466``), and of an alert its name and its ``for``."""

    at: str
    expression: str
    alert: str
    wait: str


def plain(expression: str) -> str:
    """Without comments, and with one space where there is any room."""
    return " ".join(re.sub(r"^ *#.*$", "", expression, flags=re.MULTILINE).split())


def expressions(folder: Path = SEEDS) -> Iterator[Found]:
    """Each expression of each document."""
    for document in sorted(folder.glob("*.txt")):
        text = document.read_text(encoding="utf-8", errors="replace")
        for found in (found for pattern in _PATTERNS for found in re.finditer(pattern, text, re.MULTILINE | re.DOTALL)):
            said = found["x"]
            line = text.count("\n", 0, found.start("x") + len(said) - len(said.lstrip())) + 1
            alert = re.search(r"- alert: (\w+)\n *$", text[: found.start()].rstrip(" "))
            wait = re.match(r"\s*for: (\w+)$", text[found.end() :], re.MULTILINE) if alert else None
            yield Found(
                f"{document.name[:3]}:{line}",
                plain(json.loads(said) if said.startswith('"') else said),
                alert[1] if alert else "",
                wait[1] if wait else "",
            )
