"""The parts of the benchmark beside peers that need no peer; what it measures is printed by ``tox -e bench-peers``."""

from __future__ import annotations

import json
import socket
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

BENCH = Path(__file__).parents[1] / "bench"
sys.path.append(str(BENCH))  # its modules are run as a script, not as a package

import peer_child  # noqa: E402
import peers  # noqa: E402
import plots  # noqa: E402
import report  # noqa: E402
from harness import FAST, Effort, Figure, Reading, Result, Row, Sample, Side, measure  # noqa: E402
from peer_sides import SIDES  # noqa: E402
from peers import PEERS, Installed, Peer, install, peer_rows  # noqa: E402

pytestmark = pytest.mark.any_python

PEER = Peer("openlit", ("openlit",), "@trace", "start_trace()")
NOT_AWAITED = f"openlit: {report.NOT_AWAITED}, the result is no coroutine function"


def always(value: float, note: str = "") -> Side:
    @contextmanager
    def side(effort: Effort) -> Iterator[Sample]:
        yield lambda: Reading(value, note)

    return side


def result(id_: str, ours: float, theirs: float, note: str = "", **given: object) -> Result:
    return measure(Row(id_, "a", "b", always(ours), always(theirs, note), **given), FAST)  # type: ignore[arg-type]


def child(*arguments: str) -> dict[str, Any]:
    command = [sys.executable, str(BENCH / "peer_child.py"), *arguments]
    done = subprocess.run(command, capture_output=True, text=True, timeout=50, check=True)
    found: dict[str, Any] = json.loads(done.stdout.splitlines()[-1])
    return found


def test_every_peer_of_the_issue_is_there_and_has_its_side() -> None:
    named = {"agentops", "langfuse", "logfire", "openlit", "opentelemetry-sdk", "prometheus_client", "traceloop-sdk"}
    assert {peer.name for peer in PEERS} == named
    assert set(SIDES) == named | {"ours", "ours-spans"}


def test_the_target_binds_both_decorated_rows_of_every_peer_for_agents() -> None:
    rows = [row for peer in PEERS for row in peer_rows(peer, Installed("python"))]
    agents = {"agentops", "langfuse", "logfire", "openlit", "traceloop-sdk"}
    bound = {row.id: row.target for row in rows if row.target is not None}
    assert bound == {f"{kind}/{peer}": 0.1 for kind in ("sync", "async") for peer in agents}
    assert len({row.id for row in rows}) == len(rows)


def test_exit_rows_have_the_bound_of_the_design_and_only_peers_that_can_be_sent_to_loopback() -> None:
    rows = [row for peer in PEERS for row in peer_rows(peer, Installed("python")) if row.id.startswith("exit-")]
    assert {row.limit for row in rows} == {2.5}
    assert {row.id.rpartition("/")[2] for row in rows} == {peer.name for peer in PEERS} - {
        "agentops",
        "prometheus_client",
    }


def test_a_peer_that_cannot_be_installed_is_one_line_that_says_why(tmp_path: Path) -> None:
    missing = tmp_path / "nothing.whl"
    found = install(Peer("openlit", (str(missing),), "@trace", "start_trace()"), tmp_path)
    assert found.python == ""
    assert found.problem.startswith("can't be installed: ")
    (row,) = peer_rows(PEER, found)
    results = [measure(row, FAST), result("sync/logfire", 1.0, 4.0)]
    assert results[0].verdict == "unmeasured"
    assert found.problem in report.line(results[0])
    assert f"| openlit | {found.problem} |" in report.peers_table(results)
    assert "| logfire | 4 s (0.25x) |" in report.peers_table(results)


def test_a_child_is_given_no_keys_and_no_settings_of_a_peer(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("LANGFUSE_SECRET", "OPENLIT_URL", "TRACELOOP_BASE_URL", "LOGFIRE_TOKEN", "SOME_API_KEY"):
        monkeypatch.setenv(name, "x")
    monkeypatch.setenv("KEPT", "x")
    given = peers._environment()
    assert given["KEPT"] == "x"
    assert not {"LANGFUSE_SECRET", "OPENLIT_URL", "TRACELOOP_BASE_URL", "LOGFIRE_TOKEN", "SOME_API_KEY"} & set(given)
    assert given["HTTPS_PROXY"] == "http://127.0.0.1:9"


def test_a_child_reaches_this_machine_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(socket.socket, "connect", socket.socket.connect)  # both are put back at the end
    monkeypatch.setattr(socket, "getaddrinfo", socket.getaddrinfo)
    refused: list[str] = []
    peer_child._stay_here(refused)
    with pytest.raises(OSError, match="nothing leaves this machine"):
        socket.create_connection(("example.invalid", 443))
    with socket.socket() as bare, pytest.raises(OSError, match="nothing leaves this machine"):
        bare.connect(("192.0.2.1", 443))
    assert refused == ["example.invalid", "192.0.2.1"]
    with socket.socket() as server:
        server.bind(("127.0.0.1", 0))
        server.listen()
        socket.create_connection(server.getsockname()).close()


@pytest.mark.parametrize("name", ["ours", "ours-spans", "prometheus_client", "opentelemetry-sdk"])
def test_a_child_measures_each_operation_and_says_what_is_not_awaited(name: str) -> None:
    found = child(name, "calls", "0.001") | child(name, "start", "")
    assert list(found) == ["sync", "async", "scope", "start"]
    assert all(0 < one["value"] < 30 for one in found.values())
    noted = {operation for operation, one in found.items() if report.NOT_AWAITED in one["note"]}
    assert noted == ({"async"} if name == "prometheus_client" else set())


def test_a_process_of_one_row_serves_the_others_as_well(monkeypatch: pytest.MonkeyPatch) -> None:
    made: list[str] = []

    def fake(python: str, which: str, operation: str, argument: str) -> tuple[dict[str, Reading], float]:
        made.append(which)
        value = float(len(made))
        return {name: Reading(value) for name in ("sync", "async", "scope")}, 0.0

    monkeypatch.setattr(peers, "_child", fake)
    rows = {row.id: row for row in peer_rows(PEER, Installed("python"))}
    effort = replace(FAST, rounds=3)
    first, second = (measure(rows[f"{kind}/openlit"], effort) for kind in ("sync", "async"))
    assert made == ["openlit", "ours", "ours", "openlit", "openlit", "ours"]  # in turns, once for both rows
    assert first.ours == second.ours == Figure((2.0, 3.0, 6.0))
    measure(rows["sync-span/openlit"], effort)
    assert made[6:].count("ours-spans") == 3


def test_a_row_without_a_target_has_no_verdict_to_fail_by() -> None:
    found = result("scope/openlit", 9.0, 1.0)
    assert found.verdict == "no target"
    assert report.line(found).split()[-3:] == ["-", "no", "target"]


def test_what_is_read_back_from_json_is_what_was_written() -> None:
    results = [
        result("sync/openlit", 1.0, 20.0, target=0.1),
        result("async/openlit", 3.0, 20.0, NOT_AWAITED, target=0.1),
        measure(Row("all/agentops", "everything", "agentops", unmeasured="can't be installed"), FAST),
    ]
    document = json.loads(json.dumps(report.as_json(results, {"python": "3"})))
    read, machine = report.read(document)
    assert report.as_json(read, machine) == document
    assert [report.line(one) for one in read] == [report.line(one) for one in results]
    assert report.peers_table(read) == report.peers_table(results)
    assert report.table(read) == report.table(results)


def test_the_tables_of_the_page_show_the_ratio_and_what_is_not_awaited() -> None:
    results = [result("sync/openlit", 1.0, 20.0, target=0.1), result("async/openlit", 3.0, 20.0, NOT_AWAITED)]
    assert report.peers_table(results).splitlines() == [
        "| | decorated call | async call |",
        "|---|---:|---:|",
        "| openlit | 20 s (0.05x) | 20 s* (0.15x) |",
    ]
    assert "| a | 1 s | 20 s  b | 0.050x | <=0.1x | met |" in report.table(results).replace(" ±0%", "")


def test_bars_are_multiples_of_ours_and_the_least_first() -> None:
    results = [
        result("sync/openlit", 2.0, 20.0),
        result("sync/logfire", 4.0, 60.0),
        result("sync/langfuse", 3.0, 90.0),
        result("sync-span/logfire", 21.0, 60.0),
        result("async/openlit", 2.0, 30.0, NOT_AWAITED),
    ]
    bars = plots.bars_of(results, "sync")
    assert list(bars.items()) == [
        (plots.OURS, (1.0, "1x = 3 s")),
        (plots.WITH_SPAN, (5.25, "5.25x")),  # beside logfire at both times
        ("openlit", (10.0, "10x")),
        ("logfire", (15.0, "15x")),
        ("langfuse", (30.0, "30x")),
    ]
    assert list(plots.bars_of(results, "async")) == [plots.OURS, "openlit, await not timed"]


def test_a_share_is_the_ratio_to_its_target_or_the_worst_sample_to_its_limit() -> None:
    exit_ = Row("exit", "a", "b", always(2.0), limit=2.5)
    shares = plots.shares_of([result("handle", 1.0, 4.0, target=0.5), measure(exit_, FAST), result("x", 1.0, 1.0)])
    assert shares == {"handle": 0.5, "exit": 0.8}
