"""`python -m gateway`: run the gateway under gunicorn until SIGTERM."""

import argparse
import sys

from chassis import logs
from chassis.settings import BadSetting, share_metrics
from gateway.namespaces import Namespaces
from gateway.settings import GatewaySettings

SHORT_SECRET = 32


def main() -> None:
    """Read the settings, prepare what the workers share, serve."""
    argparse.ArgumentParser(
        prog="python -m gateway", description="Run the gateway. Settings come from the environment: docs/operations.md."
    ).parse_args()
    settings = GatewaySettings.load_or_exit()
    logs.configure("gateway", settings.log_level, settings.log_format)
    try:
        Namespaces.load(settings)
    except BadSetting as error:
        print(f"parley: bad setting CHANNELS_FILE: {error}", file=sys.stderr)  # noqa: T201  # a command
        raise SystemExit(2) from None
    if 0 < len(settings.hmac_secret) < SHORT_SECRET:
        logs.get(__name__).warning("TOKEN_HMAC_SECRET is short: use at least 32 random bytes")
    share_metrics(settings.data_dir / "gateway" / f"metrics-{settings.gateway_port}")
    from chassis.server import serve_forked  # imports prometheus_client, so not before share_metrics

    serve_forked(
        "gateway.app:create_from_environment",
        settings,
        settings.port,
        settings.gateway_workers,
        settings.grace_seconds,
        settings.gateway_internal_port,
    )


if __name__ == "__main__":
    main()
