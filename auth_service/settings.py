"""Every setting of the auth service, and every number it uses."""

from pydantic import Field, SecretStr, ValidationInfo, field_validator

from chassis import settings as chassis_settings
from chassis.settings import Seconds

DAY = 86400.0


class Settings(chassis_settings.Settings):
    """What the auth service needs besides what every service needs."""

    auth_database_url: SecretStr = Field(
        default=SecretStr(""),
        description="The auth service's database (postgresql:// or sqlite:///); default DATABASE_URL.",
    )
    database_url: SecretStr = Field(
        default=SecretStr(""),
        description="Database of every service without its own; default a file in DATA_DIR.",
    )

    # Tokens and keys.
    auth_issuer: str = Field(default="parley", min_length=1, description="Issuer (`iss`) of access tokens.")
    auth_audience: str = Field(default="parley", min_length=1, description="Audience (`aud`) of access tokens.")
    auth_access_seconds: int = Field(default=600, ge=10, le=900, description="Life of an access token.")
    auth_clock_skew_seconds: float = Field(
        default=5.0,
        ge=0,
        le=60,
        description="How far the clocks of replicas may differ when a token is checked.",
    )
    auth_token_bytes: int = Field(default=4096, ge=512, description="Longest access token that is looked at.")
    auth_key_seconds: Seconds = Field(default=30 * DAY, description="How long a key signs before the next takes over.")
    auth_key_reload_seconds: Seconds = Field(
        default=30.0, description="How often a replica reads the key ring that all share."
    )
    auth_jwks_cache_seconds: int = Field(
        default=120,
        ge=0,
        description="How long others may cache the published keys (Cache-Control: max-age).",
    )
    auth_key_prepublish_seconds: Seconds = Field(
        default=300.0,
        description="How long a new key is published before it signs; at least the reload plus the cache time.",
    )

    # Sessions.
    auth_session_seconds: Seconds = Field(
        default=30 * DAY,
        description="Life of a session from sign-in to its end, however often it is refreshed.",
    )
    auth_refresh_grace_seconds: float = Field(
        default=10.0,
        ge=0,
        le=60,
        description="How long a used refresh token still answers, for honest races.",
    )
    auth_refresh_memory_seconds: Seconds = Field(
        default=30 * DAY,
        description="How long a used refresh token is remembered, so that its reuse ends the session.",
    )
    auth_ticket_seconds: int = Field(default=30, ge=1, le=300, description="Life of a one-use ticket.")
    auth_ticket_redeem_seconds: Seconds = Field(
        default=1.5, description="How long redeeming a ticket may take; its asker waits no longer."
    )
    auth_ticket_redeeming: int = Field(default=200, ge=1, description="Tickets being redeemed at once, per process.")
    auth_revocation_margin_seconds: int = Field(
        default=300, ge=60, description="How much longer than an access token lives a revocation is kept."
    )
    auth_revocation_batch: int = Field(default=100, ge=1, description="Revocations published per step.")
    auth_revocation_poll_seconds: Seconds = Field(
        default=5.0,
        description="How often to look for revocations that a replica left unpublished when it ended.",
    )
    auth_revocation_retry_seconds: Seconds = Field(
        default=1.0, description="Wait between attempts to publish revocations while NATS is away."
    )

    # Passwords.
    auth_password_min: int = Field(default=8, ge=8, description="Fewest characters of a password.")
    auth_password_max: int = Field(default=128, ge=64, description="Most characters of a password.")
    auth_password_bytes: int = Field(default=1024, ge=256, description="Most bytes of a password in UTF-8.")
    auth_argon2_memory_kib: int = Field(
        default=19456, ge=8, description="argon2id memory of one hash in KiB (OWASP minimum 19456)."
    )
    auth_argon2_passes: int = Field(default=2, ge=1, description="argon2id passes over the memory (OWASP minimum 2).")
    auth_argon2_lanes: int = Field(default=1, ge=1, description="argon2id lanes.")
    auth_argon2_running: int = Field(default=2, ge=1, description="Password hashes computed at once, per process.")
    auth_argon2_queue: int = Field(
        default=50,
        ge=0,
        description="Password hashes that may wait for a free thread; more are answered 503.",
    )

    # Limits.
    auth_body_bytes: int = Field(default=16384, ge=4096, description="Largest request body; more is answered 413.")
    auth_body_seconds: Seconds = Field(default=10.0, description="How long a request body may take to arrive.")
    auth_busy_retry_seconds: int = Field(default=2, ge=1, description="Retry-After of a 503 answer.")
    auth_failures_free: int = Field(default=5, ge=1, description="Failed logins of one account before it backs off.")
    auth_failure_delay_seconds: Seconds = Field(
        default=1.0, description="First back-off of an account; each further failure doubles it."
    )
    auth_failure_delay_max_seconds: Seconds = Field(default=900.0, description="Longest back-off of an account.")
    auth_failure_memory_seconds: Seconds = Field(
        default=DAY, description="How long after the last failed login an account's failures are forgotten."
    )
    auth_attempts_waiting: int = Field(
        default=20, ge=1, description="Logins of one account that may wait for each other, per process."
    )
    auth_address_password_burst: int = Field(
        default=30, ge=0, description="Logins and registrations one address may make at once; 0: no limit."
    )
    auth_address_password_per_second: Seconds = Field(
        default=0.5, description="Logins and registrations one address regains per second."
    )
    auth_address_guest_burst: int = Field(
        default=300, ge=0, description="Guests one address may make at once; 0: no limit."
    )
    auth_address_guest_per_second: Seconds = Field(default=5.0, description="Guests one address regains per second.")
    auth_address_session_burst: int = Field(
        default=2000,
        ge=0,
        description="Refreshes, tickets and logouts one address may ask at once; 0: no limit.",
    )
    auth_address_session_per_second: Seconds = Field(
        default=200.0, description="Refreshes, tickets and logouts one address regains per second."
    )
    auth_addresses: int = Field(
        default=10000,
        ge=1,
        description="Addresses remembered for these limits; the longest unseen is forgotten.",
    )

    # Cleaning.
    auth_clean_seconds: Seconds = Field(default=60.0, description="Wait between removals of expired rows.")
    auth_clean_batch: int = Field(default=1000, ge=1, description="Most rows of one kind removed per step.")
    auth_guest_memory_seconds: Seconds = Field(
        default=3600.0, description="How long a guest account without a session is kept."
    )

    @field_validator("auth_key_prepublish_seconds")
    @classmethod
    def _published_before_it_signs(cls, seconds: float, info: ValidationInfo) -> float:
        needed = info.data.get("auth_key_reload_seconds", 0) + info.data.get("auth_jwks_cache_seconds", 0)
        if seconds < needed:
            raise ValueError(f"at least {needed:g}, so that every replica and cache has the key when it first signs")
        return seconds

    @property
    def auth_database(self) -> str:
        """The configured database URL, or "" for the embedded one."""
        return self.auth_database_url.get_secret_value() or self.database_url.get_secret_value()

    @property
    def auth_revocation_seconds(self) -> int:
        """How long a revocation matters: no access token of its session can outlive it."""
        return self.auth_access_seconds + self.auth_revocation_margin_seconds
