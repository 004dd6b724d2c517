"""The benchmark: ``python tests/bench/run.py``, or ``tox -e bench``, prints each target with what was measured now.

``tox -e bench-peers`` prints ours beside each peer. Figures are not made by pyperf's runner: it measures one statement
of one interpreter to the end before the next, and here the sides take turns, so that both meet the same machine. What
it knows of the machine is taken from it.
"""

from __future__ import annotations

import argparse
import json
import logging
import os
import platform
import sys
from collections.abc import Sequence
from dataclasses import replace
from fnmatch import fnmatchcase
from importlib import import_module, metadata
from pathlib import Path

import report
from harness import FAST, FULL, Result, Row, measure

__all__ = ["main"]

_VERSIONS = ("claude-monitoring", "opentelemetry-sdk", "prometheus-client", "wrapt")
_FACTS = ("cpu_model_name", "cpu_count", "load_avg_1min")


def main(arguments: Sequence[str] | None = None) -> int:
    """Measure the rows asked for.

    Returns:
        0; with ``--check`` 1 if a row missed its target or could not be measured.
    """
    options = _parser().parse_args(arguments)
    _forget_surroundings()
    machine = _machine()
    rows = _rows_beside_peers(options.peers, machine) if options.peers else _rows_of_targets()
    chosen = _choose(rows, options.rows)
    if not chosen:
        print(f"no row matches {options.rows!r}; there are: {', '.join(row.id for row in rows)}", file=sys.stderr)
        return 2
    asked = {name: getattr(options, name) for name in ("children", "rounds", "sessions") if getattr(options, name)}
    effort = replace(FAST if options.fast else FULL, **asked)
    print(", ".join(f"{key} {value}" for key, value in machine.items()))
    print(report.heading(), flush=True)
    results: list[Result] = []
    for row in chosen:
        results.append(measure(row, effort))
        print(report.line(results[-1]), flush=True)
    bad = [result for result in results if result.verdict in {"missed", "failed"}]
    print(f"{len(results)} rows, {len(bad)} missed or failed: {', '.join(result.row.id for result in bad) or 'none'}")
    if options.markdown:
        options.markdown.write_text(report.markdown(results, machine), encoding="utf-8")
    if options.svg:
        import plots  # matplotlib, which nothing else here needs

        plots.draw(results, options.svg)
    if options.json:
        options.json.write_text(json.dumps(report.as_json(results, machine), indent=1), encoding="utf-8")
    return 1 if bad and options.check else 0


def _rows_of_targets() -> Sequence[Row]:
    from rows import ROWS  # after the environment is clean, which libraries read at import

    return ROWS


def _rows_beside_peers(folder: Path, machine: dict[str, object]) -> list[Row]:
    from peers import PEERS, install, peer_rows

    rows: list[Row] = []
    for peer in PEERS:
        installed = install(peer, folder)
        machine[peer.name] = installed.version or installed.problem
        rows += peer_rows(peer, installed)
    return rows


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(description="Ours beside the other side, in one run on this machine.")
    parser.add_argument("--rows", metavar="PATTERN", default="*", help="ids to measure, such as 'task-*,fork'")
    parser.add_argument("--peers", metavar="FOLDER", type=Path, help="beside each peer, installed below the folder")
    parser.add_argument("--fast", action="store_true", help="a few seconds; shows that it runs, with noisy figures")
    parser.add_argument("--children", metavar="N", type=int, default=0, help="forked children (100)")
    parser.add_argument("--sessions", metavar="N", type=int, default=0, help="sessions one after another (50,000)")
    parser.add_argument("--rounds", metavar="N", type=int, default=0, help="processes a side beside a peer (5)")
    parser.add_argument("--markdown", metavar="FILE", type=_writable, help="write the table as Markdown")
    parser.add_argument("--json", metavar="FILE", type=_writable, help="write everything as JSON, all samples included")
    parser.add_argument("--svg", metavar="FILE", type=_writable, help="draw the ratios, or ours beside the peers")
    parser.add_argument("--check", action="store_true", help="exit with 1 if a target is missed")
    return parser


def _writable(name: str) -> Path:
    """Refuse before the minutes of measuring what could not be written after them."""
    path = Path(name)
    if not path.parent.is_dir():
        raise argparse.ArgumentTypeError(f"there is no folder {path.parent}")
    return path


def _choose(rows: Sequence[Row], patterns: str) -> list[Row]:
    return [row for row in rows if any(fnmatchcase(row.id, pattern.strip()) for pattern in patterns.split(","))]


def _forget_surroundings() -> None:
    """Measure the defaults, whatever telemetry the caller's environment asks for; print the table and no hints."""
    for key in [key for key in os.environ if key.startswith(("OTEL_", "CLAUDE_", "PROMETHEUS_"))]:
        del os.environ[key]
    logging.getLogger("claude_monitoring").setLevel(logging.CRITICAL)


def _machine() -> dict[str, object]:
    """Where the figures come from."""
    facts: dict[str, object] = {"python": platform.python_version(), "system": platform.platform(terse=True)}
    try:
        pyperf = import_module("pyperf")
    except ImportError:  # the table can be made without it
        facts["cpu_count"] = os.cpu_count()
    else:
        known = pyperf.Run([1.0], collect_metadata=True).get_metadata()
        facts |= {key: known[key] for key in _FACTS if key in known}
    for name in _VERSIONS:
        try:
            facts[name] = metadata.version(name)
        except metadata.PackageNotFoundError:  # a checkout that is not installed
            continue
    return facts


if __name__ == "__main__":
    raise SystemExit(main())
