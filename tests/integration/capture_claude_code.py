"""Makes ``tests/data/claude-code-<version>.<variant>.json`` anew: what the installed Claude Code tells of one session.

    python -m tests.integration.capture_claude_code             writes the files of the installed version
    python -m tests.integration.capture_claude_code --check     exits with 1 if a new run tells anything else

Run it at the top of the repository; it needs the dependency group ``claude``, and git. The program runs against the
fake API and the embedded receiver (http/json), without a network where the system allows, once for each variant:
``defaults``, and ``all-on``, with prompts, tool details and all ``OTEL_METRICS_INCLUDE_*``. The session is that of
``test_real_claude_code``. Two runs of one version give the same bytes: the form is steady (see
``tests.contract.claude_code_snapshot``), the commit has a fixed time, and paths have a fixed length, as sizes are told.
"""

from __future__ import annotations

import argparse
import difflib
import json
import re
import shutil
import sys
import tempfile
from pathlib import Path

from claude_monitoring.receiver import OtlpReceiver
from claude_monitoring.testing.fake_anthropic import FakeAnthropic
from tests.contract.claude_code_snapshot import VARIANTS, Snapshot, as_text, snapshot_path, told
from tests.integration.claude_code import ClaudeCode, claude_version, no_network, otlp_environment
from tests.integration.test_real_claude_code import MODEL, script

__all__ = ["COMMAND", "FOLDER", "PROMPT", "capture", "difference", "main"]

COMMAND = "python -m tests.integration.capture_claude_code"
PROMPT = "make hello.py"
FOLDER = "/tmp/claude-code-00000000"
"""Stands for the folder of a run, and is as long."""

_GH = "#!/bin/sh\necho https://github.com/acme/books/pull/1\n"
_THEN = "2026-01-01T00:00:00Z"


def capture(variant: str) -> Snapshot:
    """What the installed program tells of the session, in the form of the snapshots."""
    folder = Path(tempfile.mkdtemp(prefix="claude-code-", dir="/tmp"))
    try:
        with no_network(), FakeAnthropic() as api, OtlpReceiver(grpc=False) as receiver:
            switches = otlp_environment(receiver.http_endpoint, **VARIANTS[variant])
            claude = ClaudeCode(
                folder, api.base_url, **switches, GIT_AUTHOR_DATE=_THEN, GIT_COMMITTER_DATE=_THEN
            )  # fmt: skip
            (claude.stand_ins / "gh").write_text(_GH, encoding="utf-8")
            claude.git("remote", "add", "origin", "https://github.com/acme/books.git")
            script(api, claude.work)
            finished = claude.run(PROMPT, model=MODEL)
            if finished.code != 0 or api.answers_left:
                raise RuntimeError(f"the session broke off: {finished}, {api.answers_left} answers are left")
            opened = sum(one.method == "HEAD" for one in api.requests)  # older versions open the connection with one
            return _settled(told(receiver), str(folder), opened)
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def _settled(snapshot: Snapshot, folder: str, opened: int) -> Snapshot:
    """With the placeholder for the folder of the run; ids begin with 1, whatever opened the connection."""

    def number(found: re.Match[str]) -> str:
        return f"{found[1]}_fake_{int(found[2]) - opened:04}"

    text = re.sub(r"\b(req|toolu)_fake_(\d{4})", number, as_text(snapshot).replace(folder, FOLDER))
    settled: Snapshot = json.loads(text)
    return settled


def difference(snapshot: Snapshot, path: Path) -> str:
    """What a new run told that the file has otherwise, as a diff; empty if they are equal."""
    old = path.read_text(encoding="utf-8").splitlines(keepends=True)
    new = as_text(snapshot).splitlines(keepends=True)
    return "".join(difflib.unified_diff(old, new, str(path), "a new run"))


def main(arguments: list[str] | None = None) -> int:
    """The exit status of the command."""
    parser = argparse.ArgumentParser(
        prog=COMMAND, description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--check", action="store_true", help="write nothing; compare a new run with the files")
    check = parser.parse_args(arguments).check
    status = 0
    for variant in VARIANTS:
        path = snapshot_path(claude_version(), variant)
        if check and not path.exists():
            print(f"{path}: there is none; make it with: {COMMAND}", file=sys.stderr)
            status = 1
            continue
        snapshot = capture(variant)
        if not check:
            path.write_text(as_text(snapshot), encoding="utf-8")
            print(path)
        elif found := difference(snapshot, path):
            print(found, file=sys.stderr)
            status = 1
        else:
            print(f"{path}: a new run is equal")
    return status


if __name__ == "__main__":
    sys.exit(main())
