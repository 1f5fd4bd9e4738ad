"""Metrics, rules and dashboards against the running system. `make observability-check` asks every query there is."""
