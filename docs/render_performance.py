"""Writes the tables and pictures of the page "Performance" from kept runs: ``python docs/render_performance.py``.

The runs are ``tests/bench/results/bench.json`` and ``peers.json``; the page says how they are made.
"""

from __future__ import annotations

import json
import re
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING

REPO = Path(__file__).parents[1]
sys.path.append(str(REPO / "tests" / "bench"))  # its modules are run as a script, not as a package

import report  # noqa: E402

if TYPE_CHECKING:
    from harness import Result

__all__ = ["PAGE", "PICTURES", "RESULTS", "about", "main", "page", "put", "rendered", "runs"]

RESULTS = REPO / "tests" / "bench" / "results"
PAGE = Path(__file__).parent / "explanation" / "performance.md"
PICTURES = {"bench": PAGE.with_name("targets.svg"), "peers": PAGE.with_name("peers.svg")}

_PART = re.compile(r"(?P<begin><!-- made: (?P<name>[\w-]+) -->\n).*?(?P<end><!-- end -->)", re.DOTALL)
_MACHINE = ("python", "system", "cpu_model_name", "cpu_count")
_LOAD = "load_avg_1min"


def runs() -> dict[str, tuple[list[Result], dict[str, object]]]:
    """The results and the machine of each kept run."""
    return {name: report.read(json.loads((RESULTS / f"{name}.json").read_text(encoding="utf-8"))) for name in PICTURES}


def page(text: str) -> str:
    """The page with its made parts as the runs have them; what stands outside the marks is left alone."""
    return put(rendered(), text)


def put(parts: Mapping[str, str], text: str) -> str:
    """``text`` with these parts between their marks."""
    return _PART.sub(lambda found: f"{found['begin']}\n{parts[found['name']]}\n\n{found['end']}", text)


def rendered() -> dict[str, str]:
    """The made parts by the names in their marks."""
    (targets, machine), (peers, other_machine) = runs()["bench"], runs()["peers"]
    return {
        "targets": report.table(targets),
        "targets-machine": about(machine),
        "peers": report.peers_table(peers),
        "peers-machine": about(other_machine),
    }


def about(machine: Mapping[str, object]) -> str:
    """The machine, its load, and the versions that were measured."""
    facts = [f"{name.replace('_', ' ')} {machine[name]}" for name in _MACHINE if name in machine]
    others = {name.replace("_", "-"): value for name, value in machine.items() if name not in {*_MACHINE, _LOAD}}
    versions = ", ".join(f"{name} {value}" for name, value in others.items())
    return f"Measured on {', '.join(facts)}, load {machine.get(_LOAD, 'unknown')} at the start; {versions}."


def main() -> None:
    """Write the page and the pictures."""
    import plots

    PAGE.write_text(page(PAGE.read_text(encoding="utf-8")), encoding="utf-8")
    for name, (results, _) in runs().items():
        plots.draw(results, PICTURES[name])


if __name__ == "__main__":
    main()
