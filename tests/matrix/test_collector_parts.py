"""The Collector of the matrix is found or built once, and what goes wrong is told; scripts stand for it and for Go."""

from __future__ import annotations

import shutil
import stat
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest

from matrix.collector.build import CollectorError, NoCollectorError, cache_folder, find_or_build
from matrix.collector.server import Collector

pytestmark = pytest.mark.any_python

IN_THE_TREE: dict[str, Any] = {
    "cwd": Path(__file__).parents[2],
    "capture_output": True,
    "text": True,
    "timeout": 30,
}
COMPONENTS = """\
receivers:
    - name: otlp
      module: go.opentelemetry.io/collector/receiver/otlpreceiver v0.140.0
processors:
    - name: batch
    - name: memory_limiter
exporters:
    - name: debug
    - name: file
    - name: prometheus
connectors: []
"""
WITHOUT_PROMETHEUS = COMPONENTS.replace("    - name: prometheus\n", "    - name: otlp\n")
# `go install` makes a builder, which makes a Collector; each run of it leaves a line.
GO = """\
#!/bin/sh
echo "$@" >> "{runs}"
cat > "$GOBIN/builder" <<'END'
#!/bin/sh
sleep 0.5
mkdir source && echo fake > source/otelcol && {end}
END
chmod +x "$GOBIN/builder"
"""


def script(path: Path, text: str) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text)
    path.chmod(path.stat().st_mode | stat.S_IXUSR)
    return path


def answers(path: Path, components: str) -> Path:
    return script(path, f"#!/bin/sh\ncat <<'END'\n{components}END\n")


@pytest.fixture
def tools(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder that comes first on PATH, on which there is nothing else but a shell's tools; the cache is empty."""
    folder = tmp_path / "tools"
    folder.mkdir()
    for name in ("cat", "chmod", "mkdir", "sh", "sleep"):
        found = shutil.which(name)
        assert found is not None
        (folder / name).symlink_to(found)
    monkeypatch.setenv("PATH", str(folder))
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    monkeypatch.delenv("OTELCOL", raising=False)
    return folder


def test_what_otelcol_names_is_taken(tools: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    answers(tools / "otelcol", COMPONENTS)
    mine = answers(tmp_path / "mine", COMPONENTS)
    monkeypatch.setenv("OTELCOL", str(mine))
    assert find_or_build() == mine


@pytest.mark.parametrize(
    ("text", "says"),
    [
        (None, "is no executable file"),
        (f"#!/bin/sh\ncat <<'END'\n{WITHOUT_PROMETHEUS}END\n", "lacks exporters/prometheus"),
        ("#!/bin/sh\necho unknown command >&2\nexit 3\n", "is no Collector: .* ended with 3: unknown command"),
        ("garbage", "can't be asked for its components"),
    ],
    ids=["absent", "lacking", "other", "garbage"],
)
def test_what_otelcol_names_in_vain_is_an_error_and_nothing_else_is_taken(
    text: str | None, says: str, tools: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    answers(tools / "otelcol", COMPONENTS)
    if text is not None:
        script(tmp_path / "mine", text)
    monkeypatch.setenv("OTELCOL", str(tmp_path / "mine"))
    with pytest.raises(CollectorError, match=f"{tmp_path / 'mine'}.*{says}") as caught:
        find_or_build()
    assert all(way in str(caught.value) for way in ("OTELCOL", "PATH", "Go"))


def test_of_those_on_path_the_first_with_the_components_is_taken(tools: Path) -> None:
    answers(tools / "otelcol", WITHOUT_PROMETHEUS)
    other = answers(tools / "otelcol-contrib", COMPONENTS)
    assert find_or_build() == other
    script(tools / "otelcol-contrib", "#!/bin/sh\nexit 1\n")
    with pytest.raises(NoCollectorError):
        find_or_build()


def test_without_a_collector_and_go_the_error_names_three_ways_out(tools: Path) -> None:
    with pytest.raises(NoCollectorError) as caught:
        find_or_build()
    assert all(way in str(caught.value) for way in ("set OTELCOL", "on PATH", "install Go"))


def test_of_two_that_build_at_once_one_does_and_the_next_finds_it(tools: Path, tmp_path: Path) -> None:
    runs = tmp_path / "runs"
    script(tools / "go", GO.format(runs=runs, end="true"))
    commands = [[sys.executable, "-W", "error", "-m", "matrix.collector.build"]] * 2
    with ThreadPoolExecutor() as pool:
        done = list(pool.map(lambda command: subprocess.run(command, check=False, **IN_THE_TREE), commands))
    built = cache_folder() / "otelcol"
    assert [(one.returncode, one.stdout) for one in done] == [(0, f"{built}\n")] * 2
    assert find_or_build() == built
    assert runs.read_text() == "install go.opentelemetry.io/collector/cmd/builder@v0.140.0\n"
    assert sorted(path.name for path in built.parent.iterdir()) == ["lock", "otelcol"]


def test_a_build_that_fails_is_told_with_its_end_and_leaves_nothing(tools: Path, tmp_path: Path) -> None:
    script(tools / "go", GO.format(runs=tmp_path / "runs", end="echo no such module && exit 1"))
    done = subprocess.run([sys.executable, "-m", "matrix.collector.build"], check=False, **IN_THE_TREE)
    assert done.returncode == 1
    assert "builder --config builder.yaml" in done.stderr
    assert done.stderr.endswith("no such module\n")
    assert [path.name for path in cache_folder().iterdir()] == ["lock"]


def test_a_collector_that_ends_at_once_is_told_with_the_end_of_its_log(tmp_path: Path) -> None:
    broken = script(tmp_path / "otelcol", "#!/bin/sh\necho cannot unmarshal the configuration >&2\nexit 1\n")
    with pytest.raises(RuntimeError, match=r"(?s)ended with 1; .*collector\.log ends with:\ncannot unmarshal"):
        Collector(broken, tmp_path / "files").__enter__()


def test_ports_that_are_taken_every_time_are_given_up(tmp_path: Path) -> None:
    broken = script(tmp_path / "otelcol", "#!/bin/sh\necho bind: address already in use >&2\nexit 1\n")
    with pytest.raises(RuntimeError, match=r"(?s)took free ports in each of 5 attempts; .*address already in use"):
        Collector(broken, tmp_path / "files").__enter__()
