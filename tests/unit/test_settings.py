"""Settings that stand in a file: `<NAME>_FILE` names it."""

from pathlib import Path

import pytest

from auth_service.settings import Settings as AuthSettings
from chassis.settings import BadSetting, Settings
from chat_service.settings import Settings as ChatSettings


def given(monkeypatch: pytest.MonkeyPatch, name: str, file: Path, text: str) -> None:
    """Write `text` to `file`, and name the file in the environment."""
    file.write_text(text)
    monkeypatch.setenv(f"{name}_FILE", str(file))


def test_a_secret_from_a_file(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """A secret is what its file holds, without the line end that editors add."""
    given(monkeypatch, "NATS_PASSWORD", tmp_path / "password", "a b c\n")
    assert Settings.load().nats_password.get_secret_value() == "a b c"


def test_an_address_from_a_file(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """An address can hold a password, so it may come from a file whatever its type."""
    given(monkeypatch, "DATABASE_URL", tmp_path / "url", "postgresql://chat:secret@postgres/chat\n")
    assert ChatSettings.load().database_url == "postgresql://chat:secret@postgres/chat"
    assert AuthSettings.load().auth_database == "postgresql://chat:secret@postgres/chat"


def test_the_file_of_another_setting_is_left_alone(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """What is neither a secret nor an address is read from the environment alone."""
    given(monkeypatch, "LOG_LEVEL", tmp_path / "level", "debug")
    assert Settings.load().log_level == "info"


def test_a_setting_and_its_file_are_one_too_many(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """Nobody has to guess which of two values counts."""
    given(monkeypatch, "NATS_PASSWORD", tmp_path / "password", "in the file")
    monkeypatch.setenv("NATS_PASSWORD", "in the environment")
    with pytest.raises(BadSetting, match="NATS_PASSWORD and NATS_PASSWORD_FILE are both set"):
        Settings.load()
    monkeypatch.setenv("NATS_PASSWORD", "")  # an empty value counts as not set
    assert Settings.load().nats_password.get_secret_value() == "in the file"


@pytest.mark.parametrize("content", [None, b"", b"\n", b"\xff\xfe"])
def test_a_file_without_a_value(monkeypatch: pytest.MonkeyPatch, tmp_path: Path, content: bytes | None) -> None:
    """A file that is missing, empty or not text ends the start with its name, never with a silent default."""
    file = tmp_path / "password"
    if content is not None:
        file.write_bytes(content)
    monkeypatch.setenv("NATS_PASSWORD_FILE", str(file))
    with pytest.raises(BadSetting, match=r"^NATS_PASSWORD_FILE=.*password"):
        Settings.load()
