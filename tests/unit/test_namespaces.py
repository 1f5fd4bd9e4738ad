"""Channel namespaces: the file that declares them, and what they allow."""

from itertools import product
from pathlib import Path

import pytest

from chassis.settings import BadSetting
from gateway.namespaces import (
    Namespaces,
    Rules,
    may_publish,
    may_read_history,
    may_read_presence,
    may_subscribe,
    personal_channel,
)
from gateway.settings import GatewaySettings

FILE = """
[namespace.""]
history_size = 100
history_seconds = 300
presence = true
join_leave = true
force_join_leave = true
recovery = "forced"
delta = true
publish = "subscriber"
history = "subscriber"
presence_for = "subscriber"
subscribe = "token"

[namespace.smallhistory]
history_size = 2
recovery = "allowed"
subscribe = "anyone"
anonymous = true

[namespace.bare]
"""
LIMIT = 300


def declared(text: str = FILE) -> Namespaces:
    """The namespaces of a file called channels.toml."""
    return Namespaces.from_text(text, "channels.toml", LIMIT)


def test_a_file_declares_namespaces() -> None:
    """Each key has its place in the rules; what is left out is off or forbidden."""
    namespaces = declared()
    assert namespaces.rules("news") == Rules(
        history_size=100,
        history_seconds=300,
        presence=True,
        join_leave=True,
        force_join_leave=True,
        recovery="forced",
        delta=True,
        publish="subscriber",
        history="subscriber",
        presence_for="subscriber",
        subscribe="token",
        anonymous=False,
    )
    small = namespaces.rules("smallhistory:x")
    assert small == Rules(history_size=2, recovery="allowed", subscribe="anyone", anonymous=True)
    assert namespaces.rules("bare:x") == Rules()
    assert (namespaces.largest_history, namespaces.anonymous) == (100, True)


def test_rooms_and_users_are_always_there() -> None:
    """Without a file these two exist and no other, both recovered always, with as much history as one answer has."""
    namespaces = Namespaces({}, LIMIT)
    room, user = namespaces.rules("room:general"), namespaces.rules("user:ann1")
    assert room is not None
    assert user is not None
    assert (room.recovery, room.presence, room.history_size, room.subscribe) == ("forced", True, LIMIT, "chat")
    assert (user.recovery, user.presence, user.history_size, user.subscribe) == ("forced", False, LIMIT, "server")
    assert namespaces.rules("news") is None
    assert (namespaces.largest_history, namespaces.anonymous) == (0, False)
    assert Namespaces({"room": Rules(subscribe="anyone")}, LIMIT).rules("room:general") == room


@pytest.mark.parametrize(
    ("channel", "namespace"),
    [
        ("news", ""),
        ("#42", ""),
        ("$private", ""),
        (":x", ""),
        ("smallhistory", ""),
        ("smallhistory:x", "smallhistory"),
        ("smallhistory:x:y", "smallhistory"),
        ("$smallhistory:x", "smallhistory"),
        ("smallhistory:", "smallhistory"),
        ("x" * 255, ""),
    ],
)
def test_the_namespace_stands_before_the_first_colon(channel: str, namespace: str) -> None:
    """A leading dollar belongs to neither, so that a private channel has the rules of its namespace."""
    namespaces = declared()
    example = {"": "news", "smallhistory": "smallhistory:x"}[namespace]
    assert namespaces.rules(channel) == namespaces.rules(example)


@pytest.mark.parametrize(
    "channel",
    [
        "",
        "x" * 256,
        "a b",
        "a\nb",
        "a\0",
        "é",
        "unknown:x",
        "$unknown:x",
        "Smallhistory:x",
        "$$smallhistory:x",
        "room:",
        "room:A",
        "room:a.b",
        "room:a:b",
        "room:*",
        "$room:general",
        "user:",
        "user:Ann",
        "user:a\n",
        "$user:ann1",
    ],
)
def test_what_is_no_channel_has_no_rules(channel: str) -> None:
    """Names beyond the grammar, unknown namespaces, and ids no room or user can have."""
    assert declared().rules(channel) is None


BAD = {
    "[namespace.news": "not TOML",
    "a = " + "[" * 2000: "not TOML",
    "history_size = 1": "unknown key 'history_size'",
    "[namespaces.news]\npresence = true": "unknown key 'namespaces'",
    "namespace = 1": "namespace must be a table",
    "[[namespace]]": "namespace must be a table",
    "[namespace]\nnews = 1": "namespace 'news' must be a table",
    "[[namespace.news]]": "namespace 'news' must be a table",
    "[namespace.room]": "namespace 'room' is built in",
    "[namespace.user]\npublish = 'anyone'": "namespace 'user' is built in",
    "[namespace.'a.b']": "namespace 'a.b': a name is",
    "[namespace.'a:b']": "namespace 'a:b': a name is",
    "[namespace.'$a']": "namespace '$a': a name is",
    '[namespace."a\\nb"]': "namespace 'a\\nb': a name is",
    "[namespace.news]\nhistory = 'subscribers'": "namespace 'news': history = 'subscribers' must be one of nobody",
    "[namespace.news]\nhistory_ttl = 1": "namespace 'news': unknown key 'history_ttl'",
    "[namespace.news]\nhistory_size = -1": "namespace 'news': history_size = -1 must be a whole number",
    "[namespace.news]\nhistory_size = 1.5": "namespace 'news': history_size = 1.5 must be a whole number",
    "[namespace.news]\nhistory_size = true": "namespace 'news': history_size = True must be a whole number",
    "[namespace.news]\nhistory_size = 9999999999": "must be a whole number from 0 to",
    "[namespace.news]\nhistory_seconds = '300s'": "namespace 'news': history_seconds = '300s' must be a whole number",
    "[namespace.news]\npresence = 1": "namespace 'news': presence = 1 must be true or false",
    "[namespace.news]\nrecovery = true": "namespace 'news': recovery = True must be one of off, allowed, forced",
    "[namespace.news]\nrecovery = []": "namespace 'news': recovery = [] must be one of",
    "[namespace.news]\nrecovery = 'forced'": "namespace 'news': recovery = 'forced' needs a history_size",
    "[namespace.news]\nforce_join_leave = true": "namespace 'news': force_join_leave needs join_leave",
    "[namespace.news]\nsubscribe = 'chat'": "namespace 'news': subscribe = 'chat' must be one of anyone, token, nobody",
    "[namespace.news]\nsubscribe = 'server'": "subscribe = 'server' must be one of",
    "[namespace.news]\npublish = 'chat'": "publish = 'chat' must be one of nobody, subscriber, anyone",
    "[namespace.news]\nanonymous = 'yes'": "namespace 'news': anonymous = 'yes' must be true or false",
    "[namespace.'']\ndelta = 'fossil'": "namespace '': delta = 'fossil' must be true or false",
    "[namespace.news]\npublish = '" + "p" * 500 + "'": "publish = 'ppp",
    '[namespace.news]\npublish = "a\\nb"': "publish = 'a\\nb' must be",
}


@pytest.mark.parametrize(("text", "message"), BAD.items(), ids=range(len(BAD)))
def test_a_bad_file_is_named_in_one_line(text: str, message: str) -> None:
    """The line says file, namespace and key, and what would be right."""
    with pytest.raises(BadSetting) as error:
        declared(text)
    line = str(error.value)
    assert line.startswith("channels.toml: ")
    assert message in line
    assert "\n" not in line
    assert len(line) < 300


def test_the_file_is_a_setting(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """CHANNELS_FILE is read if it is set; one that cannot be read is a bad setting too."""
    assert Namespaces.load(GatewaySettings.load()).rules("news") is None
    file = tmp_path / "channels.toml"
    monkeypatch.setenv("CHANNELS_FILE", str(file))
    settings = GatewaySettings.load()
    with pytest.raises(BadSetting, match=r"channels\.toml: No such file"):
        Namespaces.load(settings)
    file.write_bytes(b"\xff")
    with pytest.raises(BadSetting, match=r"channels\.toml: not UTF-8"):
        Namespaces.load(settings)
    file.write_text(FILE)
    assert Namespaces.load(settings).rules("news") == declared().rules("news")


ANYONE, TOKEN, NOBODY = (Rules(subscribe=one) for one in ("anyone", "token", "nobody"))
OPEN = Rules(subscribe="anyone", anonymous=True)


@pytest.mark.parametrize(
    ("channel", "user", "allowed"),
    [
        ("news", "1", "anyone open"),
        ("news", "", "open"),
        ("$news", "1", ""),
        ("$news#1", "1", ""),
        ("#1", "1", "anyone open token"),
        ("dialog#1,2", "1", "anyone open token"),
        ("dialog#1,2", "2", "anyone open token"),
        ("dialog#1,2", "3", ""),
        ("dialog#1,2", "12", ""),
        ("dialog#1,2", "1,2", ""),
        ("dialog#1,2", "", ""),
        ("dialog#", "", ""),
        ("dialog#1,", "", ""),
        ("#1#2", "1", ""),
        ("#1#2", "2", "anyone open token"),
    ],
)
def test_who_may_subscribe(channel: str, user: str, allowed: str) -> None:
    """`$` demands a token, `#` names its users, else the namespace says; a token decides alone, whatever else holds."""
    for name, rules in {"anyone": ANYONE, "token": TOKEN, "nobody": NOBODY, "open": OPEN}.items():
        assert may_subscribe(rules, channel, user, has_token=False) is (name in allowed.split())
        assert may_subscribe(rules, channel, user, has_token=True)


@pytest.mark.parametrize("channel", ["room:general", "user:ann1"])
def test_rooms_and_users_open_to_no_token(channel: str) -> None:
    """Membership is for the chat service to judge, and nobody subscribes to a user but the server."""
    rules = Namespaces({}, LIMIT).rules(channel)
    assert rules is not None
    for user, has_token in product(("ann1", ""), (True, False)):
        assert not may_subscribe(rules, channel, user, has_token)
    assert not may_publish(rules, "ann1", True)
    assert not may_read_history(rules, "ann1", False)
    assert may_read_history(rules, "ann1", True)
    assert may_read_presence(rules, "ann1", True) is rules.presence


@pytest.mark.parametrize(
    ("access", "allowed"),
    [("nobody", []), ("subscriber", [("1", True)]), ("anyone", [("1", True), ("1", False)])],
)
@pytest.mark.parametrize("anonymous", [False, True])
def test_who_may_publish_and_read(access: str, allowed: list[tuple[str, bool]], anonymous: bool) -> None:
    """Nobody, those who are subscribed, or anyone; a user without an id only where the namespace is open to them."""
    for user, subscribed in product(("1", ""), (True, False)):
        expected = ("1", subscribed) in allowed and (bool(user) or anonymous)
        for key, may in (("publish", may_publish), ("history", may_read_history), ("presence_for", may_read_presence)):
            rules = Rules(**{key: access, "anonymous": anonymous})  # type: ignore[arg-type]
            assert may(rules, user, subscribed) is expected
            others = {may_publish, may_read_history, may_read_presence} - {may}
            assert not any(other(rules, user, subscribed) for other in others)


@pytest.mark.parametrize(
    ("user", "channel"),
    [("42", "#42"), ("a@b", "#a@b"), ("", None), ("1,2", None), ("a#1", None), ("é", None), ("u" * 255, None)],
)
def test_a_personal_channel_is_for_one(user: str, channel: str | None) -> None:
    """An id that would name other users, or make no channel, has none."""
    assert personal_channel(user) == channel
