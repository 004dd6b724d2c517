"""The exceptions that claude_monitoring raises on purpose.

::

    ClaudeMonitoringError
    ├── CardinalityError     (also a ValueError)   labels without bound, with strict=True or the policy "raise"
    ├── ConfigurationError   (also a ValueError)   a setting that can't be used, with strict=True
    ├── QualityGateError     (also a RuntimeError) a gate with enforce=True that failed or is unknown
    └── MissingExtraError    (also an ImportError) an optional part that is not installed

Recording misuse with ``strict=True`` raises the built-in ``ValueError`` or ``TypeError``.
"""

from __future__ import annotations

__all__ = ["CardinalityError", "ClaudeMonitoringError", "ConfigurationError", "MissingExtraError", "QualityGateError"]


class ClaudeMonitoringError(Exception):
    """Base of every exception that this package defines."""


class CardinalityError(ClaudeMonitoringError, ValueError):
    """A label that would make series without bound, or a private value in one; the text names metric and label."""


class ConfigurationError(ClaudeMonitoringError, ValueError):
    """A setting has a value that can't be used; the text names where it came from and what is accepted."""


class QualityGateError(ClaudeMonitoringError, RuntimeError):
    """A quality gate with ``enforce=True`` did not pass: it failed, or its result is unknown."""


class MissingExtraError(ClaudeMonitoringError, ImportError):
    """An optional dependency is not installed; the text has the install command."""
