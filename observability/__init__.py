"""How a running Parley is watched: rules, alerts, dashboards, runbooks, and the exporter of NATS's own figures."""
