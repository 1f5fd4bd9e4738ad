"""What is allowed in which channel (pure): the text of a settings file in, rules per namespace out.

The namespace of a channel is the part before its first colon, `""` without one; a leading `$` belongs to neither. The
namespaces `room` and `user` are ours and always there; a TOML file may declare others:

    [namespace.news]
    history_size = 100
    recovery = "forced"
    subscribe = "anyone"
"""

import re
import tomllib
from collections.abc import Mapping
from dataclasses import dataclass, fields
from pathlib import Path
from typing import Any, Literal, Self, get_args

from chassis.settings import BadSetting
from gateway.settings import GatewaySettings
from protocol import names

Recovery = Literal["off", "allowed", "forced"]
Access = Literal["nobody", "subscriber", "anyone"]
Subscribe = Literal["anyone", "token", "nobody"]

CHANNELS_KNOWN = 10_000
"""Channels whose rules are remembered: each command and each event asks for those of its channel."""
MOST_HISTORY = 1_000_000
MOST_SECONDS = 10 * 366 * 86400
_NAME = re.compile(r"[A-Za-z0-9_-]{0,64}\Z")


@dataclass(frozen=True, slots=True)
class Rules:
    """What a namespace offers, and to whom. What is not declared is off or forbidden.

    `chat` as `subscribe` or `publish`: the chat service decides, these rules never say yes. `server` as `subscribe`:
    the gateway itself subscribes the user, no client ever may.
    """

    history_size: int = 0
    """Publications kept of each channel; 0: none, and publications have no offset."""
    history_seconds: int = 0
    """Age beyond which publications are not given out; 0: no limit."""
    presence: bool = False
    join_leave: bool = False
    force_join_leave: bool = False
    """Push join and leave also to clients that did not ask for them."""
    recovery: Recovery = "off"
    delta: bool = False
    subscribe: Subscribe | Literal["chat", "server"] = "nobody"
    publish: Access | Literal["chat"] = "nobody"
    history: Access = "nobody"
    presence_for: Access = "nobody"
    anonymous: bool = False
    """Whether users without an id may do what `subscribe`, `publish`, `history` and `presence_for` allow."""


class Namespaces:
    """The rules of every namespace of this deployment."""

    def __init__(self, declared: Mapping[str, Rules], history_limit: int) -> None:
        """`history_limit`: most publications of one answer, and so what rooms and users have."""
        own = {
            "room": Rules(
                history_size=history_limit,
                presence=True,
                join_leave=True,
                recovery="forced",
                subscribe="chat",
                publish="chat",
                history="subscriber",
                presence_for="subscriber",
            ),
            "user": Rules(history_size=history_limit, recovery="forced", subscribe="server", history="subscriber"),
        }
        self._rules = {**declared, **own}
        self._known: dict[str, Rules] = {}
        self._declared = dict(declared)

    @classmethod
    def load(cls, settings: GatewaySettings) -> Self:
        """Read CHANNELS_FILE, if there is one; raise `BadSetting`."""
        if settings.channels_file is None:
            return cls({}, settings.history_limit)
        return cls.from_file(settings.channels_file, settings.history_limit)

    @classmethod
    def from_file(cls, path: Path, history_limit: int) -> Self:
        """Read a TOML file; raise `BadSetting` with one line that names the file, the namespace and the key."""
        try:
            text = path.read_text("utf-8")
        except OSError as error:
            raise BadSetting(f"{path}: {error.strerror}") from None
        except UnicodeDecodeError:
            raise BadSetting(f"{path}: not UTF-8") from None
        return cls.from_text(text, str(path), history_limit)

    @classmethod
    def from_text(cls, text: str, name: str, history_limit: int) -> Self:
        """Read the text of a TOML file called `name`; raise `BadSetting` with one line."""
        try:
            document = tomllib.loads(text)
        except (tomllib.TOMLDecodeError, RecursionError) as error:
            raise BadSetting(f"{name}: not TOML: {' '.join(str(error).split())}") from None
        for key in document.keys() - {"namespace"}:
            raise BadSetting(f"{name}: unknown key {_shown(key)}, there is only [namespace.<name>]")
        tables = document.get("namespace", {})
        if not isinstance(tables, dict):
            raise BadSetting(f"{name}: namespace must be a table of tables, as in [namespace.news]")
        return cls({space: _declared(name, space, table) for space, table in tables.items()}, history_limit)

    def rules(self, channel: str) -> Rules | None:
        """Return the rules of `channel`; None when it is no channel, or of a namespace that does not exist."""
        if channel in self._known:
            return self._known[channel]
        rules = self._found(channel)
        if rules is not None:
            if len(self._known) >= CHANNELS_KNOWN:
                self._known.clear()
            self._known[channel] = rules
        return rules

    def _found(self, channel: str) -> Rules | None:
        if not names.is_channel(channel):
            return None
        namespace = names.namespace_of(channel.removeprefix("$"))
        if namespace == "room" and names.room_of_channel(channel) is None:
            return None  # also $room:..., which names no room
        if namespace == "user" and names.user_of_channel(channel) is None:
            return None
        return self._rules.get(namespace)

    @property
    def largest_history(self) -> int:
        """The largest `history_size` that the file declares."""
        return max((rules.history_size for rules in self._declared.values()), default=0)

    @property
    def anonymous(self) -> bool:
        """Whether any namespace is open to users without an id."""
        return any(rules.anonymous for rules in self._declared.values())


def may_subscribe(rules: Rules, channel: str, user: str, has_token: bool) -> bool:
    """Tell whether `user` may subscribe; `has_token`: with a subscription token, verified for this very channel.

    The order is the reference's (1.3): `$` demands a token; a token decides alone; a channel with `#` is for the users
    named after its last `#`, by comma, unless `subscribe` is `nobody`; else `subscribe` decides.
    """
    if rules.subscribe in ("chat", "server"):
        return False
    if has_token:
        return True
    if channel.startswith("$"):
        return False
    if "#" in channel:
        return rules.subscribe != "nobody" and user in _named(channel)
    return rules.subscribe == "anyone" and _known(rules, user)


def may_publish(rules: Rules, user: str, subscribed: bool) -> bool:
    """Tell whether `user` may publish. `anyone` means it: also into `$` and `#` channels of that namespace."""
    return rules.publish != "chat" and _may(rules.publish, rules, user, subscribed)


def may_read_history(rules: Rules, user: str, subscribed: bool) -> bool:
    """Tell whether `user` may read history; whether there is any is another question (error 108)."""
    return _may(rules.history, rules, user, subscribed)


def may_read_presence(rules: Rules, user: str, subscribed: bool) -> bool:
    """Tell whether `user` may see who is subscribed, and be told of joins and leaves."""
    return _may(rules.presence_for, rules, user, subscribed)


def personal_channel(user: str) -> str | None:
    """Return `#<user>`, or None for a user whose id would name others, or makes no channel."""
    channel = f"#{user}"
    return channel if user and _named(channel) == {user} and names.is_channel(channel) else None


def _may(access: Access, rules: Rules, user: str, subscribed: bool) -> bool:
    return (access == "anyone" or (access == "subscriber" and subscribed)) and _known(rules, user)


def _known(rules: Rules, user: str) -> bool:
    return bool(user) or rules.anonymous


def _named(channel: str) -> set[str]:
    """The users a `#` channel is for; never the user without an id."""
    return set(channel.rpartition("#")[2].split(",")) - {""}


_CHOICES: dict[str, tuple[str, ...]] = {
    "recovery": get_args(Recovery),
    "subscribe": get_args(Subscribe),
    "publish": get_args(Access),
    "history": get_args(Access),
    "presence_for": get_args(Access),
}
_NUMBERS = {"history_size": MOST_HISTORY, "history_seconds": MOST_SECONDS}
_KEYS = [field.name for field in fields(Rules)]


def _declared(name: str, space: str, table: Any) -> Rules:
    """Return the rules of one table of the file."""
    where = f"{name}: namespace {_shown(space)}"
    if space in ("room", "user"):
        raise BadSetting(f"{where} is built in and cannot be declared")
    if not _NAME.match(space):
        raise BadSetting(f"{where}: a name is up to 64 of A-Z, a-z, 0-9, _ and -")
    if not isinstance(table, dict):
        raise BadSetting(f"{where} must be a table, as in [namespace.news]")
    for key, value in table.items():
        if key not in _KEYS:
            raise BadSetting(f"{where}: unknown key {_shown(key)}, known are {', '.join(_KEYS)}")
        wanted = _wanted(key, value)
        if wanted:
            raise BadSetting(f"{where}: {key} = {_shown(value)} must be {wanted}")
    rules = Rules(**table)
    if rules.recovery != "off" and not rules.history_size:
        raise BadSetting(f"{where}: recovery = {_shown(rules.recovery)} needs a history_size")
    if rules.force_join_leave and not rules.join_leave:
        raise BadSetting(f"{where}: force_join_leave needs join_leave = true")
    return rules


def _wanted(key: str, value: Any) -> str:
    """Say what `key` must be; empty when `value` is that."""
    if key in _CHOICES:
        choices = _CHOICES[key]
        return "" if isinstance(value, str) and value in choices else "one of " + ", ".join(choices)
    if key in _NUMBERS:
        fits = isinstance(value, int) and not isinstance(value, bool) and 0 <= value <= _NUMBERS[key]
        return "" if fits else f"a whole number from 0 to {_NUMBERS[key]}"
    return "" if isinstance(value, bool) else "true or false"


def _shown(value: Any) -> str:
    """A value of the file as it may stand in one line."""
    text = repr(value)
    return text if len(text) <= 60 else text[:57] + "..."
