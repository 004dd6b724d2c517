"""An agent that records every metric of the design's tables, an event of each family and a span; argument: rounds.

Each round records the same and is flushed. ``collector_odd_rounds`` is left alone in every second one.
"""

from __future__ import annotations

import sys

from claude_monitoring import AgentMonitor

MODEL = "claude-sonnet-4-5"
TIMEOUT_S = 30.0  # the machine may be busy


def work(monitor: AgentMonitor) -> None:
    with monitor.track_task("Add rate limiting", task_type="feature", complexity=5) as task:
        task.quality = 0.875
        monitor.record_usage(
            MODEL,
            input_tokens=1200,
            output_tokens=80,
            cache_read_tokens=4500,
            cache_creation_tokens=300,
            cost_usd=0.25,
            duration_s=1.5,
        )
        monitor.record_lines(added=42, removed=7, file_path="api/limits.py", model=MODEL)
        monitor.record_edit_decision("accept", tool_name="Edit", source="config", language="Python")
        monitor.record_tool_call("Read", count=3)
        with monitor.span("read the limits"):
            monitor.event("tool_result", {"tool_name": "Read", "success": "true"})
            monitor.event("limit_added", {"limit": 100})
    monitor.record_commit()
    monitor.record_pull_request(2)
    monitor.record_active_time(12.5)
    monitor.record_error(LookupError("no such limit"))
    monitor.increment("files_read", 4)
    monitor.increment("concurrent_requests", 3)
    monitor.increment("concurrent_requests", -2)
    monitor.increment("bugs_introduced", 6)
    monitor.increment("patterns_extracted", 7)
    monitor.increment("pattern_loads", 8, labels={"pattern": "retry"})
    monitor.increment("quality_gate", 9, labels={"gate": "test_coverage", "result": "passed"})
    monitor.gauge("context_usage_percent", 45.5)
    monitor.gauge("task_throughput", 2.5, labels={"task_type": "review"})
    monitor.gauge("agent_collaboration_score", 0.75)
    monitor.histogram("task_duration_seconds", 3600, labels={"task_type": "review", "status": "ok"})
    monitor.increment("collector_rounds", 1, labels={"phase": "all"})
    monitor.gauge("collector_room", 21.5)
    monitor.histogram("collector_size", 4)


def main() -> int:
    monitor = AgentMonitor("backend", agent_level=2, agent_xp=150, project_name="books", sprint="6B")
    for done in range(int(sys.argv[1])):
        work(monitor)
        if done % 2 == 0:
            monitor.increment("collector_odd_rounds", 10)
        if not monitor.flush(TIMEOUT_S):
            return 1
    return 0 if monitor.close(TIMEOUT_S) else 1


if __name__ == "__main__":
    sys.exit(main())
