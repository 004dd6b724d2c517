"""An agent reports its work to a receiver in the same program: ``python examples/quickstart.py``."""

from claude_monitoring import AgentMonitor
from claude_monitoring.receiver import OtlpReceiver

with OtlpReceiver() as receiver:
    monitor = AgentMonitor("backend", project_name="books", export_to_grafana=True, endpoint=receiver.http_endpoint)

    @monitor.track_task(task_type="feature", complexity=5)
    def add_rate_limiting() -> None:
        monitor.record_usage("claude-sonnet-4-5", input_tokens=1200, output_tokens=77, cache_read_tokens=4500)
        monitor.record_lines(added=42, removed=7, file_path="api/limits.py")

    add_rate_limiting()
    print("delivered:", monitor.close())
    for metric in ("claude.tasks", "claude_code.token.usage", "claude_code.cost.usage", "claude.lines_added"):
        print(f"{metric:24} {receiver.total(metric):g}")
