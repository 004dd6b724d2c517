"""Finds an OpenTelemetry Collector that has the components of ``builder.yaml``, else builds one.

``python -m matrix.collector.build`` prints its path. A build takes one to two minutes and some 200 MB of downloads.
"""

from __future__ import annotations

import hashlib
import os
import re
import shutil
import signal
import subprocess
import sys
from collections.abc import Mapping, Sequence
from contextlib import suppress
from pathlib import Path

from filelock import FileLock, Timeout

__all__ = ["CollectorError", "NoCollectorError", "cache_folder", "find_or_build", "missing_components"]

CONFIG = Path(__file__).with_name("builder.yaml")
ON_PATH = ("otelcol", "otelcol-contrib")
BUILD_TIMEOUT_S = 900.0
ASK_TIMEOUT_S = 30.0
TAIL_LINES = 20

_NEEDED = {
    "receivers": ("otlp",),
    "processors": ("batch", "memory_limiter"),
    "exporters": ("debug", "file", "prometheus"),
}
_WAYS_OUT = (
    "set OTELCOL to the path of a Collector, put otelcol or otelcol-contrib on PATH, or install Go 1.24 or later "
    "(https://go.dev/dl), with which it is built once"
)


class CollectorError(RuntimeError):
    """There is no usable Collector; the text says why, and the way out."""


class NoCollectorError(CollectorError):
    """Nothing is wrong, but this machine has neither a Collector nor Go to build one."""


def find_or_build() -> Path:
    """The path of a Collector: ``OTELCOL``, else one on ``PATH``, else the cache's, else built into the cache.

    Raises:
        NoCollectorError: There is neither a Collector nor Go.
        CollectorError: ``OTELCOL`` is no Collector that can be used, or the build failed.
    """
    if given := os.environ.get("OTELCOL"):
        return _usable(given)
    for found in map(shutil.which, ON_PATH):
        with suppress(CollectorError):  # what else may have this name is not meant
            if found is not None and not missing_components(found):
                return Path(found)
    target = cache_folder() / "otelcol"
    return target if target.is_file() else _build_once(target)


def cache_folder() -> Path:
    """Where a built Collector is kept: outside the tree, another folder for each ``builder.yaml``."""
    root = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache")
    return root / "claude_monitoring" / f"otelcol-{hashlib.sha256(CONFIG.read_bytes()).hexdigest()[:16]}"


def missing_components(binary: str | Path) -> list[str]:
    """What we need and ``binary`` does not name when it is asked, such as ``exporters/prometheus``.

    Raises:
        CollectorError: It can't be run, or knows no sub-command ``components``.
    """
    try:
        asked = subprocess.run(
            [binary, "components"], capture_output=True, text=True, timeout=ASK_TIMEOUT_S, check=False
        )
    except (OSError, subprocess.TimeoutExpired) as exc:
        raise CollectorError(f"{binary} can't be asked for its components: {exc}; {_WAYS_OUT}") from exc
    if asked.returncode != 0:
        raise CollectorError(
            f"{binary} is no Collector: `{binary} components` ended with {asked.returncode}: "
            f"{_tail(asked.stderr, lines=3)}; {_WAYS_OUT}"
        )
    has: set[str] = set()
    section = ""
    for line in asked.stdout.splitlines():
        if match := re.fullmatch(r"(\w+):.*", line):
            section = match[1]
        elif match := re.fullmatch(r"\s+- name: (\S+)", line):
            has.add(f"{section}/{match[1]}")
    return [part for kind, names in _NEEDED.items() for name in names if (part := f"{kind}/{name}") not in has]


def _usable(given: str) -> Path:
    if not (Path(given).is_file() and os.access(given, os.X_OK)):
        raise CollectorError(f"OTELCOL={given!r} is no executable file; unset it, or: {_WAYS_OUT}")
    if missing := missing_components(given):
        raise CollectorError(f"OTELCOL={given!r} lacks {', '.join(missing)}; otelcol-contrib has them, or: {_WAYS_OUT}")
    return Path(given)


def _build_once(target: Path) -> Path:
    """Build, unless another process does it at this time: then wait for that one."""
    go = shutil.which("go")
    if go is None:
        raise NoCollectorError(f"no OpenTelemetry Collector, and no Go to build one; {_WAYS_OUT}")
    target.parent.mkdir(parents=True, exist_ok=True)
    try:
        with FileLock(target.parent / "lock", timeout=2 * BUILD_TIMEOUT_S):
            if not target.is_file():
                print(f"building an OpenTelemetry Collector in {target.parent}: a minute or two", file=sys.stderr)
                _build(go, target)
    except Timeout as exc:
        raise CollectorError(f"another process holds {exc.lock_file} for {2 * BUILD_TIMEOUT_S:g} s: end it") from exc
    return target


def _build(go: str, target: Path) -> None:
    """Build aside and rename, so that nobody finds half a Collector."""
    aside = target.with_name("build")
    shutil.rmtree(aside, ignore_errors=True)  # of a build that was killed: we hold the lock
    aside.mkdir()
    config = CONFIG.read_text(encoding="utf-8")
    version = re.findall(r"^  version: (\S+)$", config, re.MULTILINE)[0]
    (aside / CONFIG.name).write_text(config, encoding="utf-8")
    # The builder itself would run `go mod tidy`, which fetches what the tests of all these modules need: 900 MB, of
    # which proxies don't have all. With -mod=mod, `go build` resolves what it compiles from the pinned versions alone.
    # Go checks what it fetches against its checksum database, which proxy.golang.org serves too, so there is no go.sum.
    flags = f"{os.environ.get('GOFLAGS', '')} -mod=mod -buildvcs=false".strip()
    # TMPDIR, since the builder leaves a folder there, and a go that was killed too.
    env = {**os.environ, "GOBIN": str(aside), "GOFLAGS": flags, "GOWORK": "off", "TMPDIR": str(aside)}
    env = {key: value for key, value in env.items() if key not in {"GOOS", "GOARCH"}}  # it is to run here
    try:
        _run([go, "install", f"go.opentelemetry.io/collector/cmd/builder@v{version}"], aside, env)
        # The builder adds -trimpath.
        _run([aside / "builder", "--config", CONFIG.name, "--skip-get-modules", "--ldflags=-s -w"], aside, env)
        (aside / "source" / "otelcol").replace(target)
    finally:
        shutil.rmtree(aside, ignore_errors=True)


def _run(command: Sequence[str | Path], folder: Path, env: Mapping[str, str]) -> None:
    log = folder / "log"
    with log.open("wb") as output:
        # A group of its own: the builder starts go, which starts compilers, and none of them may outlive us.
        process = subprocess.Popen(
            command, cwd=folder, env=env, stdin=subprocess.DEVNULL, stdout=output, stderr=output, start_new_session=True
        )
        try:
            code = process.wait(BUILD_TIMEOUT_S)
        except BaseException as exc:
            with suppress(ProcessLookupError):
                os.killpg(process.pid, signal.SIGKILL)
            process.wait()
            if isinstance(exc, subprocess.TimeoutExpired):
                raise CollectorError(f"the build took more than {BUILD_TIMEOUT_S:g} s; {_WAYS_OUT}") from exc
            raise
    if code != 0:
        said = _tail(log.read_text(errors="replace"))
        raise CollectorError(f"{' '.join(map(str, command))} ended with {code}; {_WAYS_OUT}\n{said}")


def _tail(text: str, lines: int = TAIL_LINES) -> str:
    return "\n".join(text.strip().splitlines()[-lines:])


if __name__ == "__main__":
    try:
        print(find_or_build())
    except CollectorError as error:
        sys.exit(str(error))
