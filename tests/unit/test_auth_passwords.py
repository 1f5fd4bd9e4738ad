"""The rule for passwords."""

import pytest

from auth_service.passwords import BadPassword, check_new, fits, normalise
from auth_service.settings import Settings

SETTINGS = Settings()


@pytest.mark.parametrize("password", ["12 chars long", "x" * 128, "🔑" * 8, "        ", "nul\u0000nul\u0000"])
def test_may_be_chosen(password: str) -> None:
    """Length is the only rule of composition."""
    check_new(SETTINGS, normalise(password), "ann")


@pytest.mark.parametrize(
    "password",
    ["", "1234567", "x" * 129, "password", "PassWord1", "qwertyuiop", "annannann", "AnnAnnAnn", "\ud800" * 9],
)
def test_may_not_be_chosen(password: str) -> None:
    """Too short, too long, one of the most used, the username, or no text at all; the reason does not quote it."""
    with pytest.raises(BadPassword) as refused:
        check_new(SETTINGS, normalise(password), "annannann")
    assert not password or password not in str(refused.value) or password == "password"


def test_bytes_are_bounded() -> None:
    """Characters of four bytes do not make a password larger than what is hashed."""
    small = Settings(auth_password_bytes=256)
    assert fits(small, "🔑" * 64)
    assert not fits(small, "🔑" * 65)
    with pytest.raises(BadPassword):
        check_new(small, "🔑" * 65, "ann")
