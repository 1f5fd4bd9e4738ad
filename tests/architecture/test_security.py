"""What the pages say of security tests is so."""

import re

import pytest

from tests.architecture.source import ROOT, modules

PAGES = ("docs/security-tests.md", "SECURITY.md")
_NAMED = re.compile(r"`(tests/[\w/]+\.py)::(\w+)`")


def defined() -> set[tuple[str, str]]:
    """Return file and name of every function of the tests."""
    return {
        (module.path, name)
        for module in modules("tests")
        for name in re.findall(r"^(?:async )?def (\w+)", module.text, re.MULTILINE)
    }


@pytest.mark.parametrize("page", PAGES)
def test_every_named_test_exists(page: str) -> None:
    """A test that a page names as its proof is there."""
    named = set(_NAMED.findall((ROOT / page).read_text()))
    assert named
    assert sorted(named - defined()) == []


def test_every_row_names_its_tests() -> None:
    """No row of the table is a mere claim."""
    rows = [line for line in (ROOT / PAGES[0]).read_text().splitlines() if re.match(r"\| (?!what must)", line)]
    assert len(rows) >= 35
    assert [row for row in rows if not _NAMED.search(row)] == []


def test_every_security_test_is_named() -> None:
    """What is in tests/security, and every fuzzer, stands in the table."""
    text = (ROOT / PAGES[0]).read_text()
    own = {one for one in defined() if one[0].startswith("tests/security/") and one[1].startswith("test_")}
    assert own
    assert sorted(own - set(_NAMED.findall(text))) == []
