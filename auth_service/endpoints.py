"""The HTTP API."""

from collections.abc import Callable, Coroutine
from dataclasses import dataclass
from http import HTTPStatus
from typing import Annotated, Any

from fastapi import APIRouter, Depends, Request, Response
from fastapi.exceptions import RequestValidationError
from fastapi.routing import APIRoute
from fastapi.security import HTTPAuthorizationCredentials, HTTPBearer
from starlette.exceptions import HTTPException

from auth_service import bodies, metrics, refusals
from auth_service.keyring import Keyring
from auth_service.limits import AddressLimits
from auth_service.login import Login, SignedIn
from auth_service.sessions import Session
from auth_service.settings import Settings
from auth_service.tickets import Tickets
from auth_service.tokens import Claims
from chassis.app import PROBLEM_TYPE, Problem
from chassis.database import DatabaseUnavailable
from chassis.metrics import start_at_zero


@dataclass(frozen=True, slots=True)
class Parts:
    """What the endpoints work with; `app.state.parts`."""

    settings: Settings
    keyring: Keyring
    login: Login
    tickets: Tickets
    limits: AddressLimits


class Counted(APIRoute):
    """A route whose answers are counted by operation and result, whichever way they come about."""

    def get_route_handler(self) -> Callable[[Request], Coroutine[Any, Any, Response]]:
        """Return FastAPI's own, wrapped."""
        serve = super().get_route_handler()
        start_at_zero(metrics.requests, (self.name, "ok"), (self.name, "unavailable"))

        async def counted(request: Request) -> Response:
            result = "internal"
            try:
                response = await serve(request)
                result = "ok"
                return response
            except DatabaseUnavailable:
                result = "unavailable"
                raise refusals.unavailable(_parts(request).settings.auth_busy_retry_seconds) from None
            except Problem as problem:
                result = problem.code
                raise
            except RequestValidationError:
                result = "invalid_request"
                raise
            except HTTPException:  # a body that is no JSON at all, or too deep
                result = "invalid_request"
                raise refusals.invalid_request("body: not acceptable JSON") from None
            finally:
                metrics.requests.labels(self.name, result).inc()

        return counted


def _parts(request: Request) -> Parts:
    parts: Parts = request.app.state.parts
    return parts


Service = Annotated[Parts, Depends(_parts)]
_bearer_scheme = HTTPBearer(auto_error=False, description="The access token of a sign-in.")
Authorization = Annotated[HTTPAuthorizationCredentials | None, Depends(_bearer_scheme)]


async def _prepared(parts: Service, response: Response) -> None:
    """Refuse until the schema and the keys are there; keep answers with secrets out of caches."""
    if await parts.keyring.ready() is not None:
        raise refusals.unavailable(parts.settings.auth_busy_retry_seconds)
    response.headers["Cache-Control"] = "no-store"


def _address(request: Request) -> str:
    return request.client.host if request.client is not None else "unknown"


def _password_limit(request: Request, parts: Service) -> None:
    parts.limits.password.take(_address(request))


def _guest_limit(request: Request, parts: Service) -> None:
    parts.limits.guest.take(_address(request))


def _session_limit(request: Request, parts: Service) -> None:
    parts.limits.session.take(_address(request))


async def _bearer(parts: Service, credentials: Authorization) -> tuple[Claims, Session]:
    if credentials is None:
        raise refusals.invalid_token()
    return await parts.login.bearer(credentials.credentials)


Bearer = Annotated[tuple[Claims, Session], Depends(_bearer)]


def _answers(*statuses: int) -> dict[int | str, dict[str, Any]]:
    content = {PROBLEM_TYPE: {"schema": bodies.ProblemBody.model_json_schema()}}  # FastAPI's `model` says plain JSON
    return {
        status: {"description": HTTPStatus(status).phrase, "content": content}
        for status in (*statuses, 413, 422, 429, 503)
    }


router = APIRouter(prefix="/auth", tags=["auth"], route_class=Counted, dependencies=[Depends(_prepared)])
keys_router = APIRouter(tags=["keys"], route_class=Counted)


@router.post("/register", dependencies=[Depends(_password_limit)], responses=_answers(409))
async def register(body: bodies.Credentials, parts: Service) -> bodies.Tokens:
    """Make an account and sign it in."""
    return _tokens(await parts.login.register(body.username, body.password))


@router.post("/login", dependencies=[Depends(_password_limit)], responses=_answers(401))
async def login(body: bodies.Credentials, parts: Service) -> bodies.Tokens:
    """Sign in with username and password."""
    return _tokens(await parts.login.login(body.username, body.password))


@router.post("/password", dependencies=[Depends(_password_limit)], responses=_answers(401))
async def password(body: bodies.PasswordChange, parts: Service) -> bodies.Tokens:
    """Change the password; every session of before ends, and the answer begins a new one."""
    return _tokens(await parts.login.change_password(body.username, body.password, body.new_password))


@router.post("/guest", dependencies=[Depends(_guest_limit)], responses=_answers())
async def guest(body: bodies.Guest, parts: Service) -> bodies.Tokens:
    """Sign in with a name only."""
    return _tokens(await parts.login.guest(body.name))


@router.post("/refresh", dependencies=[Depends(_session_limit)], responses=_answers(401))
async def refresh(body: bodies.Refresh, parts: Service) -> bodies.Tokens:
    """Exchange a refresh token, once, for the next one and a new access token."""
    return _tokens(await parts.login.refresh(body.refresh_token))


@router.post("/logout", status_code=204, dependencies=[Depends(_session_limit)], responses=_answers(401))
async def logout(parts: Service, credentials: Authorization, body: bodies.Logout | None = None) -> None:
    """End the session of the refresh token in the body, or else of the access token in Authorization."""
    if body is not None and body.refresh_token is not None:
        await parts.login.logout(body.refresh_token)
        return
    claims, _ = await _bearer(parts, credentials)
    await parts.login.logout_bearer(claims)


@router.get("/me", dependencies=[Depends(_session_limit)], responses=_answers(401))
async def me(bearer: Bearer) -> bodies.Me:
    """Say whose access token it is."""
    _, session = bearer
    user = bodies.MeUser(id=session.user, name=session.name, guest=session.guest)
    return bodies.Me(user=user, session=bodies.MeSession(id=session.id))


@router.post("/tickets", dependencies=[Depends(_session_limit)], responses=_answers(401))
async def tickets(bearer: Bearer, parts: Service) -> bodies.Ticket:
    """Make a one-use ticket for a connection whose client can only set a URL."""
    claims, _ = bearer
    return bodies.Ticket(ticket=await parts.tickets.issue(claims), expires_in=parts.settings.auth_ticket_seconds)


@keys_router.get("/.well-known/jwks.json", responses=_answers())
async def jwks(parts: Service, response: Response) -> bodies.KeySet:
    """Publish the keys that access tokens are signed with, the next one included."""
    keys = parts.keyring.published()
    if not keys:
        raise refusals.unavailable(parts.settings.auth_busy_retry_seconds)
    response.headers["Cache-Control"] = f"public, max-age={parts.settings.auth_jwks_cache_seconds}"
    return bodies.KeySet(keys=[key.jwk() for key in keys])


def _tokens(signed_in: SignedIn) -> bodies.Tokens:
    return bodies.Tokens(
        access_token=signed_in.access_token,
        expires_in=signed_in.expires_in,
        refresh_token=signed_in.refresh_token,
        user=bodies.User(id=signed_in.user, name=signed_in.name),
    )
