"""Writes the generated pages of the reference: ``python docs/render_reference.py``."""

from __future__ import annotations

from pathlib import Path

from claude_monitoring import _settings
from claude_monitoring._catalog import CATALOG, render_markdown
from claude_monitoring._names import prometheus_name

__all__ = ["pages"]

REFERENCE = Path(__file__).parent / "reference"


def pages() -> dict[Path, str]:
    """Each generated page with its text."""
    exposed = {spec.name: prometheus_name(spec.name, spec.unit, spec.kind) for spec in CATALOG.values()}
    return {
        REFERENCE / "metrics.md": render_markdown(exposed),
        REFERENCE / "environment.md": _settings.render_markdown(),
    }


if __name__ == "__main__":
    for path, text in pages().items():
        path.write_text(text, encoding="utf-8")
