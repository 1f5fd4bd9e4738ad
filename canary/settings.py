"""Every setting of the canary, and every number it uses."""

from typing import Annotated
from urllib.parse import urlsplit

from pydantic import AfterValidator, Field, SecretStr, ValidationInfo, field_validator

from chassis import settings
from chassis.settings import Port, Seconds


def _base_address(text: str) -> str:
    if not text:
        return text
    parts = urlsplit(text)
    _ = parts.port  # raises for one that is none
    if parts.scheme not in ("http", "https") or not parts.hostname or parts.query or parts.fragment:
        raise ValueError("an address such as https://chat.example.com")
    return text.rstrip("/")


Address = Annotated[str, AfterValidator(_base_address)]


class Settings(settings.Settings):
    """What the canary needs besides what every service needs; it has no use for those about NATS."""

    canary_port: Port = Field(default=8003, description="Port of the canary's HTTP side (health, metrics).")
    canary_url: Address = Field(
        default="http://localhost:8080",
        min_length=1,
        description="Public address that clients use; the WebSocket is at /connection/websocket below it.",
    )
    canary_auth_url: Address = Field(
        default="", description="Address of sign-in, when it is another; default $CANARY_URL/auth."
    )
    # Before the name: its check looks at both, and is the one that may repeat what was set.
    canary_password: SecretStr = Field(default=SecretStr(""), description="Password of CANARY_USERNAME.")
    canary_username: str = Field(
        default="",
        validate_default=True,
        description="Account to chat as, registered at the first start; empty: a new guest at every start, "
        "which leaves a member in the room when it is killed.",
    )
    canary_room: str = Field(
        default="canary", min_length=1, max_length=64, description="Name of its room; made when there is none."
    )
    canary_receivers: int = Field(
        default=2, ge=1, le=16, description="Connections that receive; each may reach another gateway."
    )
    canary_protobuf: bool = Field(default=True, description="Let the last receiver speak Protobuf, the others JSON.")
    canary_interval_seconds: Seconds = Field(
        default=1.0, ge=0.01, description="Time between messages; each stays in the room's log for good."
    )
    canary_lost_after_seconds: Seconds = Field(
        default=30.0,
        description="Time after which an acknowledged message counts as lost to a receiver that is connected.",
    )
    canary_reconnect_seconds: Seconds = Field(
        default=300.0, description="How often each receiver goes away for a moment, so that recovery is tried."
    )
    canary_answer_seconds: Seconds = Field(default=5.0, description="Deadline of a connection, a request, a send.")
    canary_retry_seconds: Seconds = Field(
        default=1.0, description="Pause before a send that failed is repeated, with the same id."
    )

    @field_validator("canary_username")
    @classmethod
    def _has_a_password(cls, name: str, info: ValidationInfo) -> str:
        password = info.data.get("canary_password")
        if bool(name) != bool(password and password.get_secret_value()):
            raise ValueError("CANARY_USERNAME and CANARY_PASSWORD are set together, or neither")
        return name

    @property
    def websocket_url(self) -> str:
        """Where to connect."""
        return f"ws{self.canary_url.removeprefix('http')}/connection/websocket"

    @property
    def auth_url(self) -> str:
        """Where to sign in: the address before `/login`, `/guest` and so on."""
        return self.canary_auth_url or f"{self.canary_url}/auth"

    @property
    def away_seconds(self) -> float:
        """How long a receiver that goes away stays away: long enough to miss something."""
        return 3 * self.canary_interval_seconds

    @property
    def silence_seconds(self) -> float:
        """How long nothing may be received until the canary is not ready."""
        return self.canary_lost_after_seconds + self.canary_interval_seconds
