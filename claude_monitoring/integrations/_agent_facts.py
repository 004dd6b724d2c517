"""What a tool's input and answer say of the work that it did (reference section 4.2)."""

from __future__ import annotations

import json
import re
from collections.abc import Sequence

from claude_monitoring._labels import as_text
from claude_monitoring.integrations._anthropic_bodies import as_mapping

__all__ = ["BUILT_IN_AGENTS", "changed_lines", "error_of", "makes_commit", "makes_pull_request", "size_of"]

BUILT_IN_AGENTS = frozenset({"general-purpose", "Explore", "Plan", "claude", "statusline-setup", "output-style-setup"})
"""Subagents that come with Claude Code, whose names are reported; all others are ``custom``."""

# The program looks at the command's text alone: `echo 'git commit'` counts (seen with 2.1.332).
_COMMIT = re.compile(r"\bgit(?:\s+-[cC]\s+\S+|\s+--?\S+)*\s+commit\b")
_PULL_REQUEST = re.compile(r"\b(?:gh\s+pr|glab\s+mr)\s+create\b")
_NO_OUTPUT = "(Bash completed with no output)"  # what the model is told; the output itself is empty
_API_ERROR = re.compile(r".*?API Error: (?:\d{3} )?(.*?)(?:\.? This is a server-side issue.*)?", re.DOTALL)


def makes_commit(command: object) -> bool:
    """Whether a Bash command that succeeded counts as a commit."""
    return _COMMIT.search(as_text(command, 100_000)) is not None


def makes_pull_request(command: object) -> bool:
    """Whether a Bash command that succeeded counts as a pull request."""
    return _PULL_REQUEST.search(as_text(command, 100_000)) is not None


def changed_lines(tool_name: str, answer: object) -> tuple[int, int] | None:
    """Lines that a ``Write`` or ``Edit`` added and removed; ``None`` for a tool that changes no lines."""
    said = as_mapping(answer)
    if tool_name not in {"Edit", "Write", "MultiEdit"}:
        return None
    patch = said.get("structuredPatch")
    if said.get("type") == "create" or (not patch and said.get("originalFile") is None and "content" in said):
        return len(as_text(said.get("content"), 10**9).split("\n")), 0
    hunks = [as_mapping(hunk).get("lines") for hunk in patch] if isinstance(patch, list) else []
    lines = [line for hunk in hunks if isinstance(hunk, list) for line in hunk if isinstance(line, str)]
    return sum(line.startswith("+") for line in lines), sum(line.startswith("-") for line in lines)


def size_of(result: object) -> int | None:
    """``tool_result_size_bytes``: the length of what the model is given, a list of blocks as JSON."""
    if isinstance(result, str):
        return 0 if result == _NO_OUTPUT else len(result)
    if isinstance(result, Sequence):
        return len(json.dumps(result, ensure_ascii=False, separators=(",", ":"), default=as_text))
    return None


def error_of(text: str) -> str:
    """What the API said, out of the sentence that the program makes of it."""
    found = _API_ERROR.fullmatch(text)
    return found.group(1) if found is not None else text
