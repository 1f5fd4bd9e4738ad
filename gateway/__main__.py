"""`python -m gateway`: run the gateway under gunicorn until SIGTERM."""

import argparse

from chassis import logs
from chassis.settings import share_metrics
from gateway.settings import GatewaySettings


def main() -> None:
    """Read the settings, prepare what the workers share, serve."""
    argparse.ArgumentParser(
        prog="python -m gateway", description="Run the gateway. Settings come from the environment: docs/operations.md."
    ).parse_args()
    settings = GatewaySettings.load_or_exit()
    logs.configure("gateway", settings.log_level, settings.log_format)
    share_metrics(settings.data_dir / "gateway" / f"metrics-{settings.gateway_port}")
    from chassis.server import serve_forked  # imports prometheus_client, so not before share_metrics

    serve_forked(
        "gateway.app:create_from_environment",
        settings,
        settings.port,
        settings.gateway_workers,
        settings.gateway_grace_seconds,
    )


if __name__ == "__main__":
    main()
