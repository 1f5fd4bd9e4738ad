"""The source of the Grafana dashboards. `python -m observability.dashboards` (make dashboards) writes the JSON from it.

`model.py` says what a panel is, `queries.py` how we ask, one file per dashboard what is asked, `grafana.py` how Grafana
wants it written. Each panel says what a rise means; where an alert stands on the same figure, it links to its runbook.
"""
