"""The settings of the auth service."""

import pytest
from pydantic import SecretStr

from auth_service.settings import Settings
from chassis.settings import BadSetting


def test_every_setting_is_described() -> None:
    """Each setting says what it is for, in a sentence."""
    for name, field in Settings.model_fields.items():
        assert field.description, name
        assert field.description.endswith("."), name


def test_database() -> None:
    """AUTH_DATABASE_URL goes before DATABASE_URL, and neither shows in the settings' text."""
    both = Settings(auth_database_url=SecretStr("sqlite:///a"), database_url=SecretStr("sqlite:///b"))
    assert both.auth_database == "sqlite:///a"
    assert Settings(database_url=SecretStr("sqlite:///b")).auth_database == "sqlite:///b"
    assert Settings().auth_database == ""
    assert "sqlite" not in repr(both)


@pytest.mark.parametrize(
    ("name", "value"),
    [("AUTH_KEY_PREPUBLISH_SECONDS", "100"), ("AUTH_ACCESS_SECONDS", "901"), ("AUTH_PASSWORD_MIN", "4")],
)
def test_unsafe_values(monkeypatch: pytest.MonkeyPatch, name: str, value: str) -> None:
    """A value that would make tokens or passwords unsafe is refused by name."""
    monkeypatch.setenv(name, value)
    with pytest.raises(BadSetting, match=f"{name}="):
        Settings.load()
