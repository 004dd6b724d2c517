"""A real OpenTelemetry Collector: ``build`` has it, ``server`` runs it, ``names`` is what it has to expose."""
