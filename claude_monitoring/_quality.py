"""The quality gate on test coverage: passed, failed, or unknown, and unknown is never taken for passed."""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any

from claude_monitoring._extras import require
from claude_monitoring._scopes import MonitorFrame
from claude_monitoring._sealed import warn_once
from claude_monitoring.errors import QualityGateError

if TYPE_CHECKING:
    from pathlib import Path

    from claude_monitoring._core import MonitorCore

__all__ = ["CoverageFrom", "QualityGate", "QualityScope", "read_coverage"]

CoverageFrom = str | os.PathLike[str] | Callable[[], Any] | None
"""A file, a callable that returns the share, or ``None`` to look for it."""

_USUAL_FILES = ("coverage.json", "coverage.xml", ".coverage")


def read_coverage(path: str | os.PathLike[str]) -> float:
    """The covered share, 0 to 1, from a coverage data file, ``coverage.json`` or ``coverage.xml``.

    Raises:
        OSError: The file can't be read.
        ValueError: It is none of the three.
        MissingExtraError: It is a data file, and the package ``coverage`` is not installed.
    """
    import json
    from pathlib import Path
    from xml.etree import ElementTree as ET  # the file is the user's own, written by their own test run

    file = Path(path)
    with file.open("rb") as opened:
        head = opened.read(16)
    try:
        if head.startswith(b"SQLite format 3"):
            return _from_data_file(file)
        if file.suffix == ".xml" or head.lstrip().startswith(b"<"):
            return float(ET.parse(file).getroot().attrib["line-rate"])  # noqa: S314
        return float(json.loads(file.read_text(encoding="utf-8"))["totals"]["percent_covered"]) / 100
    except (KeyError, TypeError, ET.ParseError) as exc:
        raise ValueError(f"{file} is no coverage data file, coverage.json or coverage.xml: {exc!r}") from exc


def _from_data_file(file: Path) -> float:
    import io

    coverage = require("coverage", extra="coverage", needed_by="reading a .coverage data file")
    data = coverage.Coverage(data_file=str(file))
    data.load()
    return float(data.report(file=io.StringIO())) / 100


class QualityGate:
    """What one ``track_quality`` asks for."""

    __slots__ = ("enforce", "name", "required", "source")

    def __init__(self, name: str, required: float, source: CoverageFrom, *, enforce: bool) -> None:
        if isinstance(required, bool) or not isinstance(required, int | float) or not 0 <= required <= 1:
            raise ValueError(f"test_coverage_required is a share from 0 to 1, such as 0.9; got {required!r}")
        self.name = name
        self.required = required
        self.source = source
        self.enforce = enforce

    def measure(self, result: object, started_unix_s: float) -> tuple[float | None, str]:
        """The covered share, and why it is ``None`` if it is."""
        try:
            found = self._look(result, started_unix_s)
        except Exception as exc:  # noqa: BLE001 - a file or a callable of the host's
            return None, f"{type(exc).__name__}: {exc}"
        if found is None:
            return None, "no coverage was reported, and no coverage file was written during the call"
        if isinstance(found, bool) or not isinstance(found, int | float) or not 0 <= found <= 1:
            return None, f"a coverage is a share from 0 to 1, got {found!r}"
        return float(found), ""

    def _look(self, result: object, started_unix_s: float) -> Any:
        if callable(self.source):
            return self.source()
        if self.source is not None:
            return read_coverage(self.source)
        if isinstance(result, Mapping) and "coverage" in result:
            return result["coverage"]
        for name in _USUAL_FILES:
            # An older file says nothing about this call. File systems keep coarser times than the clock.
            if os.path.isfile(name) and os.stat(name).st_mtime >= started_unix_s - 0.05:  # noqa: PTH113, PTH116
                return read_coverage(name)
        return None


class QualityScope(MonitorFrame):
    """One call under ``track_quality``."""

    __slots__ = ("_gate", "_name", "_started_unix_s")

    def __init__(self, monitor: MonitorCore, name: str, gate: QualityGate) -> None:
        super().__init__(monitor)
        self._name = name
        self._gate = gate
        self._started_unix_s = 0.0

    def _begin(self) -> None:
        self._started_unix_s = time.time()

    def shut(self, exc: BaseException | None, result: object = None) -> None:
        """``suspend`` and ``finish``, which may raise, unlike the end of other scopes."""
        self.suspend()
        self.finish(exc, result)

    def finish(self, exc: BaseException | None, result: object = None) -> None:
        """Check the gate and record the result.

        Raises:
            QualityGateError: With ``enforce``, unless the gate passed; never in place of the call's own exception.
        """
        gate = self._gate
        share, why = gate.measure(result, self._started_unix_s) if exc is None else (None, "the function raised")
        verdict = "unknown" if share is None else "passed" if share >= gate.required else "failed"
        self.monitor._count("claude.quality_gate", "track_quality", 1, gate=gate.name, result=verdict)
        if exc is not None or verdict == "passed":
            return
        found = why if share is None else f"coverage is {share:.1%}"
        text = f"quality gate {gate.name!r} of {self._name} {verdict}: {found}; {gate.required:.1%} is required"
        if gate.enforce:
            raise QualityGateError(text)
        if share is None:
            warn_once(("gate", gate.name, self._name), f"claude_monitoring: {text}")
