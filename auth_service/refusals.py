"""Every way in which the auth service answers no over HTTP: status, stable code, sentence."""

from chassis.app import Problem


def invalid_request(detail: str) -> Problem:
    """A field does not follow its rule; `detail` names it and never repeats its value."""
    return Problem(422, "invalid_request", detail)


def username_taken() -> Problem:
    """Registration of a name that somebody has."""
    return Problem(409, "username_taken", "that username is taken")


def invalid_credentials() -> Problem:
    """One answer for an unknown name and for a wrong password."""
    return Problem(401, "invalid_credentials", "username or password is wrong")


def invalid_token() -> Problem:
    """One answer for every token, of whichever kind, that is not acceptable."""
    return Problem(401, "invalid_token", "the token is missing, expired, revoked or not ours")


def refresh_reused() -> Problem:
    """A refresh token came back long after its use: somebody else may have it, so the session has ended."""
    return Problem(401, "refresh_reused", "the refresh token was used before; the session has ended, sign in again")


def account_banned() -> Problem:
    """An operator has banned the account; told only to who has proved to own it."""
    return Problem(403, "account_banned", "the account is banned")


def too_many_requests(retry_after: int) -> Problem:
    """A limit was reached; `retry_after` in seconds."""
    return Problem(429, "too_many_requests", "too many attempts; wait and try again", retry_after)


def unavailable(retry_after: int) -> Problem:
    """The database is away, the keys are not there yet, or too many hashes wait; `retry_after` in seconds."""
    return Problem(503, "unavailable", "not possible just now; try again", retry_after)
