"""A label explodes, and the report names it: ``python examples/cardinality_report.py``."""

import logging

from claude_monitoring import AgentMonitor
from claude_monitoring.receiver import OtlpReceiver

logging.disable(logging.WARNING)  # the log says the same, once a label

with OtlpReceiver() as receiver:
    monitor = AgentMonitor("shop", export_to_grafana=True, endpoint=receiver.http_endpoint)
    for number in range(5_000):
        monitor.increment("orders", 1, {"plan": ("free", "pro")[number % 2], "customer": f"customer-{number}"})
    monitor.increment("reviews", 1, {"file_path": "/home/bob/shop/cart.py", "reviewer": "bob@shop.example"})
    monitor.increment("answers", 1, {"request": "req_011CSHoEeqs5C35K2UUqR7Fy"})
    monitor.flush()

    print("orders:", receiver.total("claude.orders"), "of plan pro:", receiver.total("claude.orders", plan="pro"))
    print("as a customer of their own:", len(receiver.series("claude.orders")) - 2)
    print(monitor.cardinality_report())
    monitor.close()
