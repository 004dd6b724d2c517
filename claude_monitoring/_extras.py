"""Optional parts: imported on use, and where one is missing, the line that installs it."""

from __future__ import annotations

import importlib
from types import ModuleType

from claude_monitoring.errors import MissingExtraError

__all__ = ["require"]


def require(module: str, *, extra: str, needed_by: str) -> ModuleType:
    """Import an optional dependency.

    Raises:
        MissingExtraError: It is not installed. A module that is there but broken raises its own error.
    """
    try:
        return importlib.import_module(module)
    except ModuleNotFoundError as exc:
        if exc.name is None or not f"{module}.".startswith(f"{exc.name}."):
            raise
        raise MissingExtraError(
            f"{needed_by} needs the package {module}: pip install 'claude-monitoring[{extra}]'"
        ) from exc
