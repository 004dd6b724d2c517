"""``python -m matrix validate``: proves a configuration before it goes to production."""

from __future__ import annotations

import argparse
import os
import signal
import sys
from collections.abc import Sequence


def main(argv: Sequence[str] | None = None) -> int:
    """Run a sub-command; 0 if all is proven, 1 if not, 2 for a wrong call."""
    signal.signal(signal.SIGINT, _interrupted)
    from matrix import validate  # takes long enough for a Ctrl-C

    parser = argparse.ArgumentParser(prog="python -m matrix", description="Checks telemetry against real far sides.")
    commands = parser.add_subparsers(required=True, metavar="COMMAND")
    validate.add_parser(commands)
    arguments, unknown = parser.parse_known_args(argv)
    if unknown:  # argparse would repeat all of it, and it may hold a header's value
        options = ", ".join(word.partition("=")[0] for word in unknown if word.startswith("--")) or "a word too many"
        parser.error(f"not understood: {options}; see --help, and put values with spaces in quotes")
    return int(arguments.run(arguments))


def _interrupted(number: int, _: object) -> None:
    """End at once, as a program that knows no better: KeyboardInterrupt gets lost if a finalizer is at work."""
    os.write(2, b"interrupted: nothing is proven\n")
    signal.signal(number, signal.SIG_DFL)
    signal.raise_signal(number)


if __name__ == "__main__":
    sys.exit(main())
