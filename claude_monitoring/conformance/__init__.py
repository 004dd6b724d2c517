"""Whether OTLP data is what Claude Code would have sent: its names, units, kinds, types, attributes and parents.

::

    with OtlpReceiver() as receiver:
        run_agent(endpoint=receiver.http_endpoint)
    assert check(receiver.requests) == []

The rules are data (``claude_monitoring.conformance.rules``), written from captures of Claude Code 2.1.330. This
package's own ``claude.*`` metrics are held against its catalogue; what belongs to neither family is left alone.
"""

from __future__ import annotations

from claude_monitoring.conformance.checker import Checker, check
from claude_monitoring.conformance.model import Departure
from claude_monitoring.conformance.reading import UnusableInputError, read
from claude_monitoring.conformance.report import as_json, as_text

__all__ = ["Checker", "Departure", "UnusableInputError", "as_json", "as_text", "check", "read"]
