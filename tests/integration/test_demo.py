"""The demo, as a newcomer runs it."""

from __future__ import annotations

import json

import pytest

from claude_monitoring.cli import main
from claude_monitoring.cli.demo import Row


@pytest.mark.parametrize("protocol", ["grpc", "http/protobuf", "http/json", "prometheus"])
def test_every_row_of_the_demo_is_equal(protocol: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["demo", "--protocol", protocol, "--files", "8", "--json"]) == 0
    result = json.loads(capsys.readouterr().out)
    rows = {row["metric"]: row for row in result["results"][protocol]}
    assert result["equal"]
    assert all(row["equal"] for row in rows.values())
    name = "claude_files_read_total" if protocol == "prometheus" else "claude.files_read"
    assert rows[name]["received"] == 3 * 8
    if protocol != "prometheus":
        assert rows["spans"]["received"] == 3 * (8 + 1)
        assert rows["events"]["received"] == 3


def test_the_table_is_printed_with_its_verdict(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["demo", "--files", "2"]) == 0
    shown = capsys.readouterr().out
    assert "over http/protobuf" in shown
    assert "claude_code.token.usage" in shown
    assert "Everything sent was received." in shown


def test_a_difference_is_a_failed_row() -> None:
    assert Row("m", 1, 0.1 + 0.2, 0.3).equal
    assert not Row("m", 1, 3, 2).equal


def test_a_wrong_call_ends_with_the_usage(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as ended:
        main(["demo", "--protocol", "carrier-pigeon"])
    assert ended.value.code == 2
    assert "http/protobuf" in capsys.readouterr().err


def test_without_rich_the_command_names_the_extra(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(__import__("sys").modules, "rich.console", None)
    assert main(["demo"]) == 2
    assert "claude-monitoring[cli]" in capsys.readouterr().err
