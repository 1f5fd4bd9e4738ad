"""The canary's settings: addresses that follow from one, and what cannot be used."""

import pytest

from canary.settings import Settings
from chassis.settings import BadSetting


@pytest.mark.parametrize(
    ("url", "auth", "websocket", "sign_in"),
    [
        ("http://chat.local:8080", "", "ws://chat.local:8080/connection/websocket", "http://chat.local:8080/auth"),
        ("https://chat.local/", "", "wss://chat.local/connection/websocket", "https://chat.local/auth"),
        ("http://a:1", "http://a:2/auth/", "ws://a:1/connection/websocket", "http://a:2/auth"),
    ],
)
def test_addresses_follow_from_one(
    monkeypatch: pytest.MonkeyPatch, url: str, auth: str, websocket: str, sign_in: str
) -> None:
    """The public address tells the others, unless sign-in has one of its own."""
    monkeypatch.setenv("CANARY_URL", url)
    monkeypatch.setenv("CANARY_AUTH_URL", auth)
    settings = Settings.load()
    assert (settings.websocket_url, settings.auth_url) == (websocket, sign_in)


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("CANARY_URL", "chat.example.com"),
        ("CANARY_URL", "ws://chat.example.com"),
        ("CANARY_URL", "http://"),
        ("CANARY_URL", "http://a:port"),
        ("CANARY_URL", "http://a/?b=c"),
        ("CANARY_AUTH_URL", "nowhere"),
        ("CANARY_RECEIVERS", "0"),
        ("CANARY_INTERVAL_SECONDS", "0"),
        ("CANARY_LOST_AFTER_SECONDS", "-1"),
        ("CANARY_USERNAME", "canary"),
    ],
)
def test_a_bad_setting_is_named(monkeypatch: pytest.MonkeyPatch, name: str, value: str) -> None:
    """One line names the setting that cannot be used."""
    monkeypatch.setenv(name, value)
    with pytest.raises(BadSetting, match=name):
        Settings.load()


def test_a_password_without_a_name_is_not_shown(monkeypatch: pytest.MonkeyPatch) -> None:
    """The complaint about half an account does not repeat the password."""
    monkeypatch.setenv("CANARY_PASSWORD", "a secret of somebody")
    with pytest.raises(BadSetting, match="CANARY_USERNAME") as refused:
        Settings.load()
    assert "a secret" not in str(refused.value)
