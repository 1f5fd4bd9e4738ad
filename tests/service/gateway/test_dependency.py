"""The authentication dependency in somebody's own FastAPI application, used as the FastAPI tutorial does.

A real uvicorn serves the application; NATS and the auth service behind it are real, too.
"""

import asyncio
import os
import subprocess
import sys
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from threading import Thread
from typing import Annotated, Any

import httpx
import pytest
import uvicorn
import websockets
from fastapi import Cookie, Depends, FastAPI, Header, Query, Security, WebSocket
from fastapi import Path as InPath

from chassis.bus import Bus
from chassis.lifecycle import Background
from gateway.authentication import Authenticator, optional_identity, require_identity
from gateway.hub import Hub
from gateway.identity import Identity
from gateway.keys import Keys
from gateway.postman import Postman
from gateway.revocations import Revocations
from gateway.settings import GatewaySettings
from tests.bench.nats import ROOT, NatsServer
from tests.bench.ports import free_port, wait_until

Me = Annotated[Identity, Depends(require_identity)]


def application(settings: GatewaySettings) -> FastAPI:
    """Return an application with routes of its own, none of them ours."""

    @asynccontextmanager
    async def lifespan(app: FastAPI) -> AsyncIterator[None]:
        async with Background() as background:
            bus, keys = Bus(settings, "gateway"), Keys(settings)
            await bus.connect()
            revocations = Revocations(bus, settings, Hub(Postman(), 0.0), keys)
            app.state.authenticator = Authenticator(settings, keys, revocations, bus)
            background.loop("keys", keys.keep_fresh)
            background.loop("revocations", revocations.follow)
            while await keys.ready() or await revocations.ready():
                await asyncio.sleep(0.05)
            yield
            await bus.close()

    app = FastAPI(lifespan=lifespan)

    @app.get("/me")
    async def me(identity: Me) -> dict[str, str]:
        return {"id": identity.user, "name": identity.name}

    @app.get("/maybe")
    async def maybe(identity: Annotated[Identity | None, Depends(optional_identity)]) -> dict[str, Any]:
        return {"name": identity.name if identity else None}

    @app.get("/items/{item_id}")
    async def item(
        item_id: Annotated[int, InPath(ge=1)],
        identity: Annotated[Identity, Security(require_identity, scopes=["items"])],
        q: Annotated[str | None, Query(max_length=10)] = None,
        user_agent: Annotated[str | None, Header()] = None,
        theme: Annotated[str | None, Cookie()] = None,
    ) -> dict[str, Any]:
        return {"item": item_id, "name": identity.name, "q": q, "agent": user_agent, "theme": theme}

    @app.websocket("/items/{item_id}/ws")
    async def talk(
        websocket: WebSocket,
        item_id: Annotated[str, InPath()],
        identity: Me,
        q: Annotated[int | None, Query()] = None,
        session: Annotated[str | None, Cookie()] = None,
        x_device: Annotated[str | None, Header()] = None,
    ) -> None:
        await websocket.accept()
        while True:
            text = await websocket.receive_text()
            await websocket.send_json(
                {"text": text, "item": item_id, "name": identity.name, "q": q, "cookie": session, "device": x_device}
            )
            if text == "bye":
                await websocket.close()
                return

    return app


@dataclass(frozen=True)
class Place:
    """Where the application and the auth service are."""

    url: str
    auth: str
    origin: str

    async def account(self, name: str = "Ann") -> dict[str, Any]:
        """Return what the auth service grants a guest."""
        return await self._post("guest", {}, name=name)

    async def ticket(self, account: dict[str, Any]) -> str:
        """Return a one-use ticket."""
        answer = await self._post("tickets", bearer(account))
        ticket: str = answer["ticket"]
        return ticket

    async def logout(self, account: dict[str, Any]) -> None:
        """End the session."""
        async with httpx.AsyncClient(trust_env=False) as client:
            answer = await client.post(f"{self.auth}/logout", headers=bearer(account))
        assert answer.status_code == 204

    async def get(self, path: str, **options: Any) -> httpx.Response:
        """Ask the application."""
        async with httpx.AsyncClient(trust_env=False) as client:
            return await client.get(self.url + path, **options)

    async def _post(self, path: str, headers: dict[str, str], **body: str) -> dict[str, Any]:
        async with httpx.AsyncClient(trust_env=False) as client:
            answer = await client.post(f"{self.auth}/{path}", json=body, headers=headers)
        assert answer.status_code == 200, answer.text
        found: dict[str, Any] = answer.json()
        return found


def bearer(account: dict[str, Any]) -> dict[str, str]:
    """Return the header that proves who asks."""
    return {"Authorization": f"Bearer {account['access_token']}"}


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Place]:
    """The application, served, with what stands behind it."""
    directory: Path = tmp_path_factory.mktemp("dependency")
    nats = NatsServer(directory / "nats").start()
    auth_port, port, page_port = free_port(), free_port(), free_port()
    environment = {"AUTH_PORT": str(auth_port), "GATEWAY_PORT": str(page_port), "DATA_DIR": str(directory)}
    with (directory / "auth.log").open("wb") as log:
        auth = subprocess.Popen(
            [sys.executable, "-m", "auth_service"],
            env={**os.environ, **nats.environment("auth"), **environment},
            cwd=ROOT,
            stdout=log,
            stderr=log,
        )
    settings = GatewaySettings(
        auth_port=auth_port,
        gateway_port=page_port,
        nats_url=nats.url,
        nats_password=nats.passwords["gateway"],  # type: ignore[arg-type]
    )
    server = uvicorn.Server(uvicorn.Config(application(settings), port=port, log_level="warning"))
    thread = Thread(target=server.run)
    thread.start()
    try:
        wait_until(lambda: server.started or not thread.is_alive(), "the application starts", 30)
        assert server.started, (directory / "auth.log").read_text()
        yield Place(f"http://127.0.0.1:{port}", f"http://127.0.0.1:{auth_port}/auth", f"http://localhost:{page_port}")
    finally:
        server.should_exit = True
        thread.join(20)
        auth.terminate()
        auth.wait(20)
        nats.stop()


async def test_a_route_knows_who_asks(place: Place) -> None:
    """A route with the dependency gets the identity that the Authorization header proves."""
    account = await place.account("Ann")
    answer = await place.get("/me", headers=bearer(account))
    assert answer.json() == {"id": account["user"]["id"], "name": "Ann"}


async def test_a_route_takes_every_credential(place: Place) -> None:
    """A cookie with an allowed Origin and a ticket in the query count for routes as well, the ticket once."""
    account = await place.account("Ann")
    headers = {"Cookie": f"parley_token={account['access_token']}", "Origin": place.origin}
    assert (await place.get("/me", headers=headers)).json()["name"] == "Ann"
    ticket = await place.ticket(account)
    answers = [await place.get("/me", params={"ticket": ticket}) for _ in range(2)]
    assert [one.status_code for one in answers] == [200, 401]


@pytest.mark.parametrize(
    ("headers", "status"),
    [
        ({}, 401),
        ({"Authorization": "Bearer nonsense"}, 401),
        ({"Authorization": "Basic YTpi"}, 401),
        ({"Cookie": "parley_token=nonsense"}, 401),
        ({"Origin": "http://evil.example"}, 403),
    ],
)
async def test_a_route_refuses_the_others(place: Place, headers: dict[str, str], status: int) -> None:
    """Without good credentials the route is not run: 401, or 403 for a page of a foreign Origin."""
    assert (await place.get("/me", headers=headers)).status_code == status


async def test_a_cookie_alone_does_not_count(place: Place) -> None:
    """Browsers send cookies for any page, so a cookie without an allowed Origin is nothing."""
    cookie = {"Cookie": f"parley_token={(await place.account())['access_token']}"}
    assert (await place.get("/me", headers=cookie)).status_code == 401
    assert (await place.get("/me", headers=cookie | {"Origin": "http://evil.example"})).status_code == 403


async def test_optional_identity_lets_everybody_in_but_forgers(place: Place) -> None:
    """Without credentials there is no identity; wrong ones are refused all the same."""
    assert (await place.get("/maybe")).json() == {"name": None}
    assert (await place.get("/maybe", headers=bearer(await place.account("Ann")))).json() == {"name": "Ann"}
    assert (await place.get("/maybe", headers={"Authorization": "Bearer x"})).status_code == 401


async def test_it_stands_beside_path_query_header_and_cookie(place: Place) -> None:
    """With Security, Path, Query, Header and Cookie in one route each gets its own, and is checked as ever."""
    account = await place.account("Ann")
    headers = {**bearer(account), "Cookie": "theme=dark", "User-Agent": "tests"}
    answer = await place.get("/items/7", params={"q": "tea"}, headers=headers)
    assert answer.json() == {"item": 7, "name": "Ann", "q": "tea", "agent": "tests", "theme": "dark"}
    assert (await place.get("/items/zero", headers=headers)).status_code == 422
    assert (await place.get("/items/7", params={"q": "x" * 11}, headers=headers)).status_code == 422


async def test_a_websocket_of_ones_own(place: Place) -> None:
    """The tutorial's `/items/{item_id}/ws` knows who speaks, beside its path, query, cookie and header."""
    account = await place.account("Ann")
    url = f"{place.url.replace('http', 'ws')}/items/seven/ws?q=3"
    headers = {**bearer(account), "Cookie": "session=abc", "X-Device": "phone"}
    async with websockets.connect(url, additional_headers=headers, proxy=None) as socket:
        await socket.send("hello")
        assert await socket.recv() == (
            '{"text":"hello","item":"seven","name":"Ann","q":3,"cookie":"abc","device":"phone"}'
        )
        await socket.send("bye")
        await socket.wait_closed()
    ticket = await place.ticket(account)
    async with websockets.connect(f"{url}&ticket={ticket}", proxy=None) as socket:
        await socket.send("hello")
        assert '"name":"Ann"' in str(await socket.recv())


@pytest.mark.parametrize("headers", [{}, {"Authorization": "Bearer x"}, {"Origin": "http://evil.example"}])
async def test_a_websocket_of_ones_own_refuses_before_accept(place: Place, headers: dict[str, str]) -> None:
    """Without good credentials there is no 101 and the endpoint is not run."""
    with pytest.raises(websockets.InvalidStatus) as refusal:
        await websockets.connect(
            f"{place.url.replace('http', 'ws')}/items/seven/ws", additional_headers=headers, proxy=None
        )
    assert refusal.value.response.status_code == 403


async def test_who_logged_out_is_refused(place: Place) -> None:
    """A revocation reaches the application over NATS within a second, long before the token's end."""
    account = await place.account()
    assert (await place.get("/me", headers=bearer(account))).status_code == 200
    await place.logout(account)
    async with asyncio.timeout(1):
        while (await place.get("/me", headers=bearer(account))).status_code != 401:
            await asyncio.sleep(0.02)
