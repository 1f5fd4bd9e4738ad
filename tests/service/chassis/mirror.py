"""An application that answers with what it takes its client to be, run by both of our servers."""

import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from fastapi import FastAPI, Request

from chassis.settings import Settings, share_metrics


def create() -> FastAPI:
    """Return the application."""

    @asynccontextmanager
    async def lifespan(_: FastAPI) -> AsyncIterator[None]:
        yield

    app = FastAPI(lifespan=lifespan)

    @app.get("/")
    def mirror(request: Request) -> list[str]:
        assert request.client is not None
        return [request.client.host, request.url.scheme]

    return app


def main() -> None:
    """Serve under the server that the first argument names, at the port that the second names."""
    server, port = sys.argv[1], int(sys.argv[2])
    settings = Settings.load_or_exit()
    share_metrics(settings.data_dir)
    from chassis.server import serve, serve_forked  # imports prometheus_client, so not before share_metrics

    if server == "uvicorn":
        serve(create(), settings, port)
    else:
        serve_forked("tests.service.chassis.mirror:create", settings, port, 1, 5)


if __name__ == "__main__":
    main()
