"""The gateway's settings: every number it keeps to has its home here."""

import math
from pathlib import Path

from pydantic import Field, SecretStr

from chassis.settings import Port, Seconds, Settings

KIB = 1024
GRACE_MARGIN_SECONDS = 10
"""What a process may take to end once it has closed its connections."""


class GatewaySettings(Settings):
    """What the gateway reads from the environment."""

    gateway_workers: int = Field(default=2, ge=1, le=64, description="Gateway processes on this machine.")
    gateway_drain_delay_seconds: float = Field(
        default=0,
        ge=0,
        description="At SIGTERM: how long newcomers are still let in while this gateway says that it is not ready, so "
        "that whoever sends them forgets it first.",
    )
    gateway_drain_seconds: float = Field(
        default=10,
        ge=0,
        description="After that: the time over which the connections that are left are closed, one by one.",
    )
    rebalance_margin: float = Field(
        default=0.2, ge=0, description="How far above the mean of all gateway processes one may be, as a share of it."
    )
    rebalance_per_second: float = Field(
        default=10, ge=0, description="Connections that a process above that sends elsewhere per second; 0: none."
    )
    rebalance_seconds: Seconds = Field(
        default=30, description="How often a process compares its connections with the others'."
    )
    web_dir: Path = Field(default=Path("web/dist"), description="Directory of the built page.")
    public_auth_url: str = Field(
        default="", description="Where clients reach the auth service; default http://localhost:$AUTH_PORT/auth."
    )
    public_websocket_url: str = Field(
        default="", description="Where clients connect; default the gateway's own address, as the page was reached."
    )
    jwks_url: str = Field(
        default="",
        description="Where signing keys are published; default http://127.0.0.1:$AUTH_PORT/.well-known/jwks.json.",
    )
    jwks_refresh_seconds: Seconds = Field(default=120, description="How often signing keys are fetched again.")
    jwks_minimum_seconds: Seconds = Field(default=30, description="Least time between fetches that unknown keys cause.")
    jwks_timeout_seconds: Seconds = Field(default=3, description="Deadline of one fetch of signing keys.")
    auth_issuer: str = Field(default="parley", description="Expected `iss` of access tokens.")
    auth_audience: str = Field(default="parley", description="Expected `aud` of access tokens.")
    token_max_seconds: int = Field(default=900, ge=60, description="Longest life of an access token that is accepted.")
    token_leeway_seconds: int = Field(
        default=5, ge=0, description="Allowed difference between our clock and the issuer's."
    )
    token_hmac_secret: SecretStr = Field(
        default=SecretStr(""),
        description="Secret with which your own backend signs connection and subscription tokens "
        "(HS256, HS384, HS512); at least 32 random bytes. Empty: none are accepted.",
    )
    token_subscription_hmac_secret: SecretStr = Field(
        default=SecretStr(""), description="Secret of subscription tokens, if it is another; default TOKEN_HMAC_SECRET."
    )
    token_hmac_secret_previous: SecretStr = Field(
        default=SecretStr(""),
        description="Secret that tokens of both kinds may still be signed with, while your backend changes.",
    )
    token_issuer: str = Field(default="", description="Expected `iss` of HMAC tokens; empty: not looked at.")
    token_audience: str = Field(default="", description="Expected in `aud` of HMAC tokens; empty: not looked at.")
    anonymous_allowed: bool = Field(
        default=False,
        description="Let in clients without a token, or with an HMAC token whose `sub` is empty: users without an id.",
    )
    channels_file: Path | None = Field(
        default=None, description="TOML file that declares channel namespaces; default only `room` and `user`."
    )
    refresh_grace_seconds: Seconds = Field(
        default=25, description="Time after a token's end in which a refresh may come."
    )
    ping_seconds: int = Field(default=25, ge=1, description="Interval of pings to clients.")
    pong_seconds: Seconds = Field(default=8, description="How long a client may take to answer a ping.")
    connect_seconds: Seconds = Field(default=10, description="How long a socket may stay without a connect command.")
    stall_seconds: Seconds = Field(
        default=5, description="How long a client may leave its socket unread once it is full."
    )
    unacknowledged_seconds: Seconds = Field(
        default=8, description="How long sent bytes may wait for the peer's TCP (TCP_USER_TIMEOUT)."
    )
    send_buffer_bytes: int = Field(default=128 * KIB, ge=4 * KIB, description="Kernel send buffer of one connection.")
    outbox_bytes: int = Field(default=1024 * KIB, ge=64 * KIB, description="Bytes that may wait for one client.")
    flush_seconds: Seconds = Field(
        default=0.025, description="How long events of a busy channel may wait for others, to travel as one frame."
    )
    max_connections: int = Field(default=20_000, ge=1, description="Connections of one gateway process.")
    max_user_connections: int = Field(
        default=10_000,
        ge=0,
        description="Connections of one user in all gateway processes; beyond it the oldest end (4502). Make it far "
        "lower where users are people alone; as it is, no account fills a process. 0: no limit.",
    )
    max_unauthenticated_connections: int = Field(
        default=10_000,
        ge=0,
        description="Connections of one address (of a /64 in IPv6) in one gateway process that have not said yet who "
        "they are; more are answered 503. As it is, no address fills a process. Make it far lower where addresses are "
        "those of people (FORWARDED_ALLOW_IPS). 0: no limit.",
    )
    commands_per_second: float = Field(
        default=10_000, ge=0, description="Commands of one connection per second in the long run. 0: no limit."
    )
    command_burst: int = Field(
        default=20_000,
        ge=1,
        description="Commands of one connection at once; more are refused (111), and twice as many end it (3013).",
    )
    max_subscriptions: int = Field(default=128, ge=1, description="Subscriptions of one client.")
    max_waiting_commands: int = Field(default=256, ge=1, description="Commands of one client that may wait.")
    pause_reading_at: int = Field(
        default=64, ge=1, description="Waiting commands at which a client is read no further."
    )
    history_limit: int = Field(default=300, ge=1, le=4000, description="Most publications of one recovery or history.")
    ring_bytes: int = Field(default=1024 * KIB, ge=64 * KIB, description="Recent publications kept of one channel.")
    repair_seconds: Seconds = Field(
        default=10, description="How long a gap may take to repair before clients are told."
    )
    position_check_seconds: Seconds = Field(
        default=40, description="How often followed channels are compared with the log."
    )
    linger_seconds: Seconds = Field(default=60, description="How long a channel stays followed after its last client.")
    lease_seconds: int = Field(default=10, ge=2, description="Presence of a gateway that dies is gone after this time.")
    max_presence: int = Field(default=5_000, ge=1, description="Most clients that one presence answer lists.")
    channel_idle_days: int = Field(
        default=30, ge=1, description="Days after which an unused general channel begins anew."
    )
    personal_channel: bool = Field(
        default=False, description="Subscribe users of HMAC tokens to their channel `#<user>` by ourselves."
    )
    publish_seconds: Seconds = Field(default=1.7, description="Deadline of a command that needs the chat service.")
    api_key: SecretStr = Field(
        default=SecretStr(""),
        description="Key of the server API (`/api/...`); at least 32 random characters. Empty: there is no such API.",
    )
    api_key_previous: SecretStr = Field(
        default=SecretStr(""), description="Key that is still taken as well, while your backend changes to API_KEY."
    )
    api_body_bytes: int = Field(default=1024 * KIB, ge=KIB, description="Largest body of a server API request.")
    api_channels: int = Field(default=1000, ge=1, description="Most channels of one broadcast.")
    api_publishing: int = Field(
        default=64, ge=1, description="Publications of the server API under way at once, per process."
    )
    api_seconds: Seconds = Field(
        default=8, description="Deadline of a server API request; what is not done by then is answered 503."
    )
    api_gather_seconds: Seconds = Field(
        default=1, description="How long a server API request waits for what every gateway process tells."
    )

    @property
    def port(self) -> Port:
        """The port this service listens on."""
        return self.gateway_port

    @property
    def grace_seconds(self) -> int:
        """How long this gateway may take to end after SIGTERM; whoever started it must not kill it sooner."""
        return math.ceil(self.gateway_drain_delay_seconds + self.gateway_drain_seconds) + GRACE_MARGIN_SECONDS

    @property
    def auth_url(self) -> str:
        """Where clients reach the auth service."""
        return self.public_auth_url or f"http://localhost:{self.auth_port}/auth"

    @property
    def keys_url(self) -> str:
        """Where signing keys are published."""
        return self.jwks_url or f"http://127.0.0.1:{self.auth_port}/.well-known/jwks.json"

    @property
    def hmac_secret(self) -> bytes:
        """The secret of HMAC connection tokens; empty when there is none."""
        return self.token_hmac_secret.get_secret_value().encode()

    @property
    def previous_secret(self) -> bytes:
        """The secret before the one that counts; empty when there is none."""
        return self.token_hmac_secret_previous.get_secret_value().encode()

    @property
    def subscription_secret(self) -> bytes:
        """The secret of subscription tokens; empty when there is none."""
        return self.token_subscription_hmac_secret.get_secret_value().encode() or self.hmac_secret
