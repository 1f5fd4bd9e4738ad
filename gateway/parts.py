"""What a gateway process is made of, as its connections need it; and the shape of an operation."""

from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING

from gateway.alarms import Alarms
from gateway.chat import Chat
from gateway.hub import Hub
from gateway.keys import Keys
from gateway.namespaces import Namespaces
from gateway.postman import Postman
from gateway.presence import Presence
from gateway.publishing import Publisher
from gateway.quota import Quota
from gateway.relay import Relay
from gateway.revocations import Revocations
from gateway.settings import GatewaySettings
from gateway.strangers import Strangers
from gateway.subscription_tokens import Grant, verify_subscription
from gateway.turnstile import Turnstile
from protocol.client import Command, Error, Reply
from protocol.codes import DisconnectCode, ErrorCode

if TYPE_CHECKING:
    from gateway.connection import Connection


@dataclass(frozen=True, slots=True)
class Parts:
    """The parts of one process; `node` is its id."""

    settings: GatewaySettings
    node: str
    hub: Hub
    relay: Relay
    chat: Chat
    presence: Presence
    keys: Keys
    revocations: Revocations
    postman: Postman
    namespaces: Namespaces
    publisher: Publisher
    quota: Quota
    alarms: Alarms
    turnstile: Turnstile
    strangers: Strangers

    def subscription_grant(self, token: str, channel: str, user: str, client: str) -> Grant:
        """Judge a subscription token; raises as `subscription_tokens.verify_subscription`."""
        settings = self.settings
        return verify_subscription(
            token,
            channel,
            user,
            client,
            (settings.subscription_secret, settings.previous_secret),
            settings.token_issuer,
            settings.token_audience,
        )


Outcome = Reply | DisconnectCode | None
"""A reply to send, an ending, or None when the operation has sent its reply itself."""

Operation = Callable[["Connection", Command], Outcome | Awaitable[Outcome]]
"""What is done for a command: at once, or (where somebody has to be asked) once it was awaited."""


def refusal(command: Command, error: ErrorCode, detail: str = "") -> Reply:
    """Return the reply that refuses `command`."""
    message = f"{error.message}: {detail}" if detail else error.message
    return Reply(id=command.id, error=Error(error.code, message, error.temporary))
