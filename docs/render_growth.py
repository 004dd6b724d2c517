"""Writes the tables and the picture of the page "Growth" from a kept run: ``python docs/render_growth.py``.

The run is ``tests/bench/results/growth.json``; the page says how it is made.
"""

from __future__ import annotations

import json
import sys
from importlib import import_module
from pathlib import Path
from typing import TYPE_CHECKING, Any

sys.path.append(str(Path(__file__).parent))

from render_performance import RESULTS, about, put

growth: Any = import_module("growth")

if TYPE_CHECKING:
    from growth import Curve

__all__ = ["PAGE", "PICTURE", "main", "page", "rendered", "run"]

PAGE = Path(__file__).parent / "explanation" / "growth.md"
PICTURE = PAGE.with_suffix(".svg")


def run() -> tuple[list[Curve], dict[str, object]]:
    """The curves and the machine of the kept run."""
    return growth.read(json.loads((RESULTS / "growth.json").read_text(encoding="utf-8")))


def page(text: str) -> str:
    """The page with its made parts as the run has them; what stands outside the marks is left alone."""
    return put(rendered(), text)


def rendered() -> dict[str, str]:
    """The made parts by the names in their marks."""
    curves, machine = run()
    tables = {name.replace(" ", "-"): growth.table(found) for name, found in growth.by_dimension(curves)}
    return {**tables, "machine": about(machine)}


def main() -> None:
    """Write the page and the picture."""
    import growth_plots

    PAGE.write_text(page(PAGE.read_text(encoding="utf-8")), encoding="utf-8")
    growth_plots.draw(run()[0], PICTURE)


if __name__ == "__main__":
    main()
