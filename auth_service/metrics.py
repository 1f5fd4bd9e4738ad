"""The metrics of the auth service. No label carries an id, a name or an address."""

from prometheus_client import Counter, Gauge, Histogram

from chassis.metrics import FAST_BUCKETS, start_at_zero

requests = Counter(
    "parley_auth_requests",
    "Requests by operation and result (ok or the problem code); a rise of invalid_credentials means guessing, "
    "of unavailable a database away or too few hashing threads.",
    ["operation", "result"],
)
hash_waiting = Gauge(
    "parley_auth_argon2_waiting",
    "Password hashes that wait for a thread; a rise means logins come faster than they can be checked.",
    multiprocess_mode="livesum",
)
hash_duration = Histogram(
    "parley_auth_argon2_duration_seconds",
    "Time of one password hash without its wait; a rise means a busy processor or costlier parameters.",
    buckets=FAST_BUCKETS,
)
hash_overflows = Counter(
    "parley_auth_argon2_overflows",
    "Password hashes refused with 503 because the queue was full; a rise means a flood of logins.",
)
backoffs = Counter(
    "parley_auth_backoffs",
    "Logins refused because their account backs off after failures; a rise means somebody guesses passwords.",
)
address_refusals = Counter(
    "parley_auth_address_refusals",
    "Requests refused by the limit of their address, by kind; a rise means one address asks a great deal, or that "
    "the ingress hides the clients' addresses.",
    ["kind"],
)
tokens_issued = Counter(
    "parley_auth_access_tokens_issued",
    "Access tokens signed; a rise beyond sign-ins plus refreshes every few minutes means clients refresh in a loop.",
)
tokens_refused = Counter(
    "parley_auth_access_tokens_refused",
    "Access tokens refused here; a rise means forged tokens, or clocks that differ.",
)
refresh_races = Counter(
    "parley_auth_refresh_races",
    "Used refresh tokens answered within the grace; a rise means clients that refresh in several places at once.",
)
refresh_reuses = Counter(
    "parley_auth_refresh_reuses",
    "Sessions ended because a used refresh token came back after the grace; a rise means stolen tokens or a client "
    "that forgets its newest one.",
)
revocations_published = Counter(
    "parley_auth_revocations_published",
    "Revocations that NATS acknowledged; follows logouts, refresh reuses, bans and withdrawn keys.",
)
revocations_pending = Gauge(
    "parley_auth_revocations_pending",
    "Revocations that NATS has not acknowledged; above 0 for more than seconds means logged-out sockets stay open.",
    multiprocess_mode="livemax",
)
tickets = Counter(
    "parley_auth_tickets",
    "Tickets by result (issued, redeemed, refused, unavailable); a rise of refused means replayed or late tickets.",
    ["result"],
)
key_age = Gauge(
    "parley_auth_key_age_seconds",
    "How long the signing key has signed; beyond AUTH_KEY_SECONDS means rotation does not happen.",
    multiprocess_mode="livemax",
)
rows_removed = Counter(
    "parley_auth_rows_removed",
    "Expired rows removed, by table; flat while sessions are made means the cleaning does not run.",
    ["table"],
)

start_at_zero(address_refusals, "password", "guest", "session")
start_at_zero(
    rows_removed, "tickets", "refresh_tokens", "sessions", "revocations", "announcements", "failures", "guests"
)
start_at_zero(tickets, "issued", "redeemed", "refused", "unavailable")
