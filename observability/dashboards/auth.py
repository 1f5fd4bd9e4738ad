"""Auth: sign-ins and their cost, tokens and tickets, ended sessions, and the age of the keys."""

from observability.dashboards.model import Dashboard, Query, Row, heat, lines, number
from observability.dashboards.queries import CHOSEN, buckets, each, grown, quantile, quantiles, rate, share, total

_REQUESTS = "parley_auth_requests_total"
_ROUTES = 'job="auth", route!~"/health.*|/metrics"'
_MONTH = 30 * 86400

_NOW = Row(
    "Now",
    (
        number("Requests", "Requests to the auth service, per second.", "reqps", rate(_REQUESTS), decimals=1),
        number(
            "Not answered ok",
            "Share of requests in the time on show that were refused or failed. A rise means guessing, or a broken "
            "client.",
            "percentunit",
            share(grown(_REQUESTS, where='result!="ok"'), grown(_REQUESTS)),
            amber=0.2,
            red=0.5,
            decimals=1,
        ),
        number(
            "Unavailable",
            "Requests answered 503 in the time on show. Any means a database away, or too few hashing threads.",
            "short",
            grown(_REQUESTS, where='result="unavailable"'),
            amber=1,
            decimals=0,
        ),
        number(
            "Sessions ended for reuse",
            "Sessions ended in the time on show because a used refresh token came back. A rise means stolen tokens.",
            "short",
            grown("parley_auth_refresh_reuses_total"),
            amber=1,
            decimals=0,
            alerts=("ParleyRefreshReuse",),
        ),
        number(
            "Revocations pending",
            "Ended sessions that gateways have not been told of. Above 0 for more than seconds means that logged-out "
            "sockets stay open.",
            "short",
            f"max(parley_auth_revocations_pending{{{CHOSEN}}})",
            red=1,
            alerts=("ParleyRevocationsPending",),
        ),
        number(
            "Age of the signing key",
            "How long the key has signed. Beyond AUTH_KEY_SECONDS (30 days unless set) rotation does not happen.",
            "s",
            f"max(parley_auth_key_age_seconds{{{CHOSEN}}})",
            red=_MONTH + 86400,
            alerts=("ParleySigningKeyOld",),
        ),
    ),
)

_REQUEST_ROW = Row(
    "Requests",
    (
        lines(
            "By operation",
            "Requests by what they asked. A rise of refresh without more users means clients refresh in a loop.",
            "reqps",
            each(_REQUESTS, "operation"),
        ),
        lines(
            "By result, other than ok",
            "A rise of invalid_credentials means guessing, of unavailable a database away or too few hashing threads.",
            "reqps",
            [Query(rate(_REQUESTS, "result", 'result!="ok"'), "{{result}}")],
        ),
        lines(
            "Time to answer, 99th percentile",
            "By route. A rise of all means a slow database; of login and register alone, that hashing is the limit.",
            "s",
            [Query(quantile(0.99, "parley_http_request_duration_seconds", "route", _ROUTES), "{{route}}")],
        ),
        lines(
            "Guessing",
            "Logins refused because their account backs off, and requests refused by the limit of their address. A "
            "rise means somebody guesses passwords, or that the ingress hides the clients' addresses.",
            "reqps",
            [
                Query(rate("parley_auth_backoffs_total"), "account backs off"),
                Query(rate("parley_auth_address_refusals_total", "kind"), "address: {{kind}}"),
            ],
            alerts=("ParleyPasswordGuessing", "ParleyAddressesRefused"),
        ),
        lines(
            "Connect and refresh commands at gateways",
            "By result. What clients then get with their tokens; a rise of anything but ok means token trouble.",
            "ops",
            [Query("parley:authentications_by_result:rate5m", "{{result}}")],
        ),
        lines(
            "Fetches of signing keys by gateways",
            "failed means the auth service cannot be reached from them; sockets go on until the keys are too old.",
            "ops",
            [Query("sum by (result) (rate(parley_key_fetches_total[$__rate_interval]))", "{{result}}")],
            alerts=("ParleyKeysNotFetched",),
        ),
    ),
)

_PASSWORDS = Row(
    "Passwords (argon2id)",
    (
        lines(
            "Time of one hash",
            "Without its wait. A rise means a busy processor or costlier parameters.",
            "s",
            quantiles("parley_auth_argon2_duration_seconds"),
        ),
        lines(
            "Waiting, and refused",
            "Hashes that wait for a thread, and those refused because the queue was full. A rise means logins come "
            "faster than they can be checked.",
            "short",
            [
                Query(total("parley_auth_argon2_waiting"), "waiting"),
                Query(rate("parley_auth_argon2_overflows_total"), "refused per second"),
            ],
            alerts=("ParleyHashQueueFull",),
        ),
        heat(
            "Time of one hash, as a distribution",
            "A second band means that processes do not get the processor time they need.",
            "s",
            buckets("parley_auth_argon2_duration_seconds"),
        ),
    ),
)

_TOKENS = Row(
    "Tokens, tickets and ended sessions",
    (
        lines(
            "Access tokens",
            "Signed, and refused by the auth service. Signed beyond sign-ins plus a refresh every few minutes means "
            "clients refresh in a loop; refused means forged tokens or clocks that differ.",
            "ops",
            [
                Query(rate("parley_auth_access_tokens_issued_total"), "signed"),
                Query(rate("parley_auth_access_tokens_refused_total"), "refused"),
            ],
        ),
        lines(
            "Refresh tokens that came twice",
            "Races were answered within the grace: a client with several tabs. Reuses ended the session: stolen "
            "tokens, or a client that forgets its newest one.",
            "ops",
            [
                Query(rate("parley_auth_refresh_races_total"), "races"),
                Query(rate("parley_auth_refresh_reuses_total"), "reuses"),
            ],
            alerts=("ParleyRefreshReuse",),
        ),
        lines(
            "Tickets",
            "By result. A rise of refused means replayed or late tickets, of unavailable a slow database.",
            "ops",
            each("parley_auth_tickets_total", "result"),
        ),
        lines(
            "Ended sessions",
            "Revocations that NATS acknowledged, and those that wait. Waiting ones mean NATS is away.",
            "short",
            [
                Query(rate("parley_auth_revocations_published_total"), "published per second"),
                Query(f"max(parley_auth_revocations_pending{{{CHOSEN}}})", "pending"),
            ],
            alerts=("ParleyRevocationsPending",),
        ),
        lines(
            "From logout to closed sockets",
            "Time from the end of a session to the close of its sockets, 99th percentile. A rise means sockets "
            "outlive logout.",
            "s",
            [Query("parley:revocation_to_close_seconds:p99_1h", "p99 of the past hour")],
            red=1,
            alerts=("ParleyRevocationSlow",),
        ),
        lines(
            "Expired rows removed",
            "By table. Flat while sessions are made means the cleaning does not run.",
            "ops",
            each("parley_auth_rows_removed_total", "table"),
        ),
    ),
)

DASHBOARD = Dashboard(
    "parley-auth",
    "Parley: auth",
    "Who signs in, what it costs, and whether ended sessions end.",
    "parley_auth_key_age_seconds",
    (_NOW, _REQUEST_ROW, _PASSWORDS, _TOKENS),
)
