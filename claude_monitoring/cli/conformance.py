"""``claude-monitoring conformance``: whether OTLP data is what Claude Code would have sent; from files, or live."""

from __future__ import annotations

import argparse
import sys
import time
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from claude_monitoring.conformance.checker import Checker

__all__ = ["add_parser"]

_DEFAULT_ADDRESS = "127.0.0.1:4318"
_POLL_S = 3_600.0
_LAST_ANSWER_S = 0.2  # a request is kept before it is answered, and whoever sent it is to see the answer


def add_parser(commands: Any) -> None:
    """Add the sub-command."""
    parser = commands.add_parser("conformance", help="list what in OTLP data departs from Claude Code's conventions")
    parser.add_argument("files", nargs="*", type=Path, metavar="FILE", help="OTLP/JSON: one request, or one a line")
    parser.add_argument(
        "--listen",
        nargs="?",
        const=_DEFAULT_ADDRESS,
        metavar="HOST:PORT",
        help="check what is sent to this port (HTTP) and the one below it (gRPC), until Ctrl-C; 4318 if left out, "
        "0 takes free ports",
    )
    parser.add_argument("--for", dest="seconds", type=float, metavar="SECONDS", help="with --listen: end after these")
    parser.add_argument("--requests", type=int, metavar="N", help="with --listen: end after that many requests")
    parser.add_argument("--json", action="store_true", help="print every departure as JSON")
    parser.set_defaults(run=run)


def run(arguments: argparse.Namespace) -> int:
    """Check, print; 0 if clean, 1 for departures, 2 for input that can't be used."""
    from claude_monitoring.conformance import Checker, UnusableInputError, as_json, as_text

    checker = Checker()
    try:
        _gather(arguments, checker)
        if not checker.checked and not checker.departures():
            raise UnusableInputError(
                f"nothing to check: {checker.requests} requests, {checker.foreign} metrics, events and spans, none of "
                "them of Claude Code or claude_monitoring; expected scopes that begin with com.anthropic.claude_code"
            )
    except UnusableInputError as exc:
        print(f"claude-monitoring conformance: {exc}", file=sys.stderr)
        return 2
    print(as_json(checker) if arguments.json else as_text(checker))
    return 1 if checker.departures() else 0


def _gather(arguments: argparse.Namespace, checker: Checker) -> None:
    from claude_monitoring.conformance import UnusableInputError, read

    if bool(arguments.files) == bool(arguments.listen):
        raise UnusableInputError("expected either files or --listen")
    if (arguments.seconds is not None or arguments.requests is not None) and not arguments.listen:
        raise UnusableInputError("--for and --requests belong to --listen")
    for path in arguments.files:
        for index, request in enumerate(read(path)):
            checker.add(request, str(path), index)
    if arguments.listen:
        _listen(arguments, checker)


def _listen(arguments: argparse.Namespace, checker: Checker) -> None:
    from claude_monitoring.conformance import UnusableInputError
    from claude_monitoring.receiver import OtlpReceiver

    host, port = _address(arguments.listen)
    wanted = arguments.requests if arguments.requests is not None else float("inf")
    end_s = time.monotonic() + (arguments.seconds if arguments.seconds is not None else float("inf"))
    try:
        receiver = OtlpReceiver(host=host, http_port=port, grpc_port=max(0, port - 1)).start()
    except OSError as exc:
        raise UnusableInputError(f"--listen {arguments.listen}: {exc}") from exc
    try:
        print(f"listening: HTTP {receiver.http_endpoint}, gRPC {receiver.grpc_endpoint}", file=sys.stderr, flush=True)
        with suppress(KeyboardInterrupt):
            while len(receiver.requests) < wanted and (left_s := end_s - time.monotonic()) > 0:
                with suppress(TimeoutError):
                    receiver.wait_until(lambda seen: len(seen.requests) >= wanted, min(left_s, _POLL_S))
            time.sleep(_LAST_ANSWER_S)
    finally:
        receiver.close()
    for request in receiver.requests:
        checker.add(request)


def _address(text: str) -> tuple[str, int]:
    from claude_monitoring.conformance import UnusableInputError

    host, colon, port = text.rpartition(":")
    if not colon:
        host, port = ("127.0.0.1", text) if text.isdigit() else (text, "4318")
    try:
        number = int(port)
    except ValueError:
        number = -1
    if not 0 <= number <= 65_535:  # noqa: PLR2004 - what a port is
        raise UnusableInputError(f"--listen {text}: expected HOST:PORT with a port from 0 to 65535")
    return host.strip("[]") or "127.0.0.1", number
