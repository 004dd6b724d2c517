"""The command ``claude-monitoring``; one file a sub-command."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence

from claude_monitoring._version import __version__
from claude_monitoring.errors import MissingExtraError

__all__ = ["main"]


def main(argv: Sequence[str] | None = None) -> int:
    """Run a sub-command.

    Returns:
        The exit code: 0 for success, 1 if a check did not hold, 2 for a wrong call.
    """
    parser = argparse.ArgumentParser(prog="claude-monitoring", description="Telemetry for AI agents in Python.")
    parser.add_argument("--version", action="version", version=f"claude-monitoring {__version__}")
    commands = parser.add_subparsers(dest="command", required=True, metavar="COMMAND")
    from claude_monitoring.cli import conformance, demo, spool

    conformance.add_parser(commands)
    demo.add_parser(commands)
    spool.add_parser(commands)
    arguments = parser.parse_args(argv)
    try:
        return int(arguments.run(arguments))
    except MissingExtraError as exc:
        print(f"claude-monitoring: {exc}", file=sys.stderr)
        return 2
    except KeyboardInterrupt:
        return 130
