"""The matrix: 54 telemetry configurations, each proven against a real receiver. See README.md."""
