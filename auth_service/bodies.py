"""The JSON bodies of requests and answers."""

from typing import Annotated

from pydantic import BaseModel, ConfigDict, Field

# Loose upper bounds, against nonsense; the rules themselves are in names.py and passwords.py.
_Name = Annotated[str, Field(max_length=256)]
_Password = Annotated[str, Field(max_length=4096)]
_Token = Annotated[str, Field(min_length=1, max_length=256)]


class _Request(BaseModel):
    model_config = ConfigDict(extra="forbid", strict=True)


class Credentials(_Request):
    """POST /auth/register and /auth/login"""

    username: _Name = Field(description="3 to 32 of a-z, 0-9, underscore, dot and hyphen; case does not matter.")
    password: _Password = Field(description="8 to 128 characters.")


class PasswordChange(Credentials):
    """POST /auth/password"""

    new_password: _Password = Field(description="8 to 128 characters.")


class Guest(_Request):
    """POST /auth/guest"""

    name: _Name = Field(description="1 to 40 characters, shown to others.")


class Refresh(_Request):
    """POST /auth/refresh"""

    refresh_token: _Token


class Logout(_Request):
    """POST /auth/logout; without a refresh token the access token in Authorization says which session ends."""

    refresh_token: _Token | None = None


class User(BaseModel):
    """Who signed in."""

    id: str
    name: str


class Tokens(BaseModel):
    """What a client works with."""

    access_token: str
    token_type: str = "Bearer"  # noqa: S105  # the name of a scheme
    expires_in: int = Field(description="Life of the access token in seconds.")
    refresh_token: str = Field(description="To be used once; each refresh answers with the next.")
    user: User


class MeUser(User):
    """Who asks, and whether as a guest."""

    guest: bool


class MeSession(BaseModel):
    """The session of the access token."""

    id: str


class Me(BaseModel):
    """GET /auth/me"""

    user: MeUser
    session: MeSession


class Ticket(BaseModel):
    """POST /auth/tickets"""

    ticket: str = Field(description="Good once, in the URL of a connection.")
    expires_in: int = Field(description="Life of the ticket in seconds.")


class KeySet(BaseModel):
    """GET /.well-known/jwks.json (RFC 7517)"""

    keys: list[dict[str, str]]


class ProblemBody(BaseModel):
    """Every answer that is no (RFC 9457)."""

    type: str = "about:blank"
    title: str
    status: int
    detail: str
    code: str = Field(description="Stable; decide by this.")
