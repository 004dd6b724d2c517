"""``claude-monitoring spool``: what programs could not deliver before they ended; list, send or drop it."""

from __future__ import annotations

import argparse
import sys
import time
from collections import Counter
from typing import Any, cast

from claude_monitoring._health import ITEMS
from claude_monitoring._settings import Settings
from claude_monitoring._spool import Spool, Spooled
from claude_monitoring.types import Signal

__all__ = ["add_parser"]


def add_parser(commands: Any) -> None:
    """Add the sub-command."""
    parser = commands.add_parser("spool", help="list, send or drop what could not be delivered")
    parser.add_argument("action", choices=("list", "send", "drop"), help="send uses the OTLP variables")
    parser.add_argument("--dir", metavar="FOLDER", help="default: CLAUDE_MONITORING_SPOOL_DIR")
    parser.add_argument("--service", metavar="NAME", help="of this service alone")
    parser.set_defaults(run=run)


def run(arguments: argparse.Namespace) -> int:
    """Do what was asked; 1 if something could not be sent."""
    settings = Settings.load(**({"spool": arguments.dir} if arguments.dir else {}))
    if settings.spool is None:
        problem = next((line for line in settings.problems if "spool" in line.lower()), "")
        print(problem or "no folder: use --dir FOLDER or set CLAUDE_MONITORING_SPOOL_DIR", file=sys.stderr)
        return 2
    spool = Spool(settings.spool, settings.spool_max_bytes)
    entries = spool.entries(arguments.service)
    if not entries:
        print(f"nothing waits in {spool.folder}")
        return 0
    if arguments.action == "list":
        _list(entries)
        return 0
    with spool.alone() as alone:
        if not alone:
            print(f"another process sends from {spool.folder} at this moment; try again", file=sys.stderr)
            return 1
        return _send(entries, settings) if arguments.action == "send" else _drop(entries)


def _list(entries: list[Spooled]) -> None:
    for one in entries:
        when = time.strftime("%Y-%m-%d %H:%M:%S", time.localtime(one.unix_nano / 1e9))
        print(f"{when}  {one.items:>6} {ITEMS[one.signal]:<11} {one.body_bytes:>9} bytes  {one.service}")
    print(f"{_summary(entries)} in {sum(one.body_bytes for one in entries)} bytes")


def _drop(entries: list[Spooled]) -> int:
    for one in entries:
        one.remove()
    print(f"dropped: {_summary(entries)}")
    return 0


def _send(entries: list[Spooled], settings: Settings) -> int:
    from claude_monitoring.exporters import make_exporter
    from claude_monitoring.exporters._otlp import OtlpExporter
    from claude_monitoring.exporters.encoding import from_json

    exporters: dict[Signal, OtlpExporter] = {}
    sent, told = [], set()
    for one in entries:
        if one.signal not in exporters:
            exporters[one.signal] = cast("OtlpExporter", make_exporter("otlp", one.signal, settings))
        try:
            result = exporters[one.signal].send(from_json(one.signal, one.path.read_bytes()), float("inf"))
        except (OSError, ValueError) as exc:
            error = f"{one.path}: {exc}"
        else:
            error = result.error
            if result.ok:
                one.remove()
                sent.append(one)
        if error and error not in told:
            told.add(error)
            print(error, file=sys.stderr)
    for exporter in exporters.values():
        exporter.close()
    left = [one for one in entries if one not in sent]
    print(f"sent: {_summary(sent)}" + (f"; still there: {_summary(left)}" if left else ""))
    return 1 if left else 0


def _summary(entries: list[Spooled]) -> str:
    counts: Counter[str] = Counter()
    for one in entries:
        counts[ITEMS[one.signal]] += one.items
    return ", ".join(f"{count} {what}" for what, count in counts.items()) or "nothing"
