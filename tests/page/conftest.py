"""Browsers for tests: Debian's Chromium, and people in front of it."""

import os
import re
from collections.abc import AsyncIterator, Iterator
from pathlib import Path

import pytest
import pytest_asyncio
from playwright.async_api import Browser, BrowserContext, Locator, Page, async_playwright, expect

from tests.bench.ring import Ring

CHROMIUM = "/usr/bin/chromium"
FLAGS = (
    "--no-sandbox --disable-gpu --disable-quic --no-first-run --disable-background-networking "
    "--disable-component-update --disable-sync"
)
WIDE = {"width": 1200, "height": 760}
PHONE = {"width": 390, "height": 844}
MILLISECONDS = 15_000


class Visitor:
    """One person with a browser profile of their own. Whatever the page complains about is remembered."""

    def __init__(self, context: BrowserContext, page: Page, address: str) -> None:
        self.context = context
        self.page = page
        self.address = address
        self.complaints: list[str] = []
        page.set_default_timeout(MILLISECONDS)
        page.on("dialog", lambda dialog: self.complaints.append(f"dialog: {dialog.message}"))
        page.on("pageerror", lambda error: self.complaints.append(f"error: {error}"))
        page.on("console", self._said)

    def _said(self, message: object) -> None:
        text = str(getattr(message, "text", ""))
        # Lost connections are reported by the browser itself; they are what some tests are about.
        if getattr(message, "type", "") == "error" and not re.search(r"WebSocket|Failed to load resource", text):
            self.complaints.append(f"console: {text}")

    def mark(self, name: str) -> Locator:
        """Return the element that carries the mark `name`."""
        return self.page.get_by_test_id(name)

    async def open(self) -> None:
        """Go to the page."""
        await self.page.goto(self.address)

    async def come_as_guest(self, name: str) -> None:
        """Enter with a name; return when one can write."""
        await self.open()
        await self.mark("entry-name").fill(name)
        await self.mark("entry-guest").click()
        await self.can_write()

    async def can_write(self) -> None:
        """Return when the page is online with a room in front."""
        await expect(self.mark("connection-state")).to_have_attribute("data-state", "online", timeout=MILLISECONDS)
        await expect(self.mark("composer-input")).to_be_visible(timeout=MILLISECONDS)

    async def say(self, text: str) -> None:
        """Write a message and press Enter."""
        await self.mark("composer-input").fill(text)
        await self.mark("composer-input").press("Enter")

    def message(self, text: str) -> Locator:
        """Return the messages with exactly that text."""
        exact = self.page.get_by_test_id("message-text").get_by_text(text, exact=True)
        return self.page.get_by_test_id("message").filter(has=exact)

    async def sees(self, text: str, state: str = "sent") -> None:
        """Return when the message is there, once, in that state."""
        await expect(self.message(text)).to_have_count(1, timeout=MILLISECONDS)
        await expect(self.message(text)).to_have_attribute("data-state", state, timeout=MILLISECONDS)

    async def sees_notice(self, text: str) -> None:
        """Return when a line such as "Ann left the room" is there."""
        await expect(self.mark("notice").filter(has_text=text).last).to_be_visible(timeout=MILLISECONDS)


class Visitors:
    """Makes visitors, and looks after each test whether a page complained."""

    def __init__(self, browser: Browser, ring: Ring) -> None:
        self._browser = browser
        self._ring = ring
        self.made: list[Visitor] = []

    async def __call__(self, width: int = WIDE["width"], height: int = WIDE["height"]) -> Visitor:
        """Return somebody new, with an empty browser."""
        context = await self._browser.new_context(viewport={"width": width, "height": height})
        visitor = Visitor(context, await context.new_page(), self._ring.page_url)
        self.made.append(visitor)
        return visitor


@pytest.fixture(scope="module")
def page_ring(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Ring]:
    """One running system for the page."""
    ring = Ring(tmp_path_factory.mktemp("page") / "data", {})
    try:
        yield ring.start()
    finally:
        ring.end()


@pytest_asyncio.fixture
async def visitors(page_ring: Ring) -> AsyncIterator[Visitors]:
    """Make visitors: `await visitors()`. None of their pages may have complained in the end."""
    assert Path(CHROMIUM).exists(), "the page's tests need Debian's chromium: apt-get install chromium"
    async with async_playwright() as playwright:
        browser = await playwright.chromium.launch(executable_path=CHROMIUM, args=FLAGS.split())
        try:
            people = Visitors(browser, page_ring)
            yield people
            assert [one.complaints for one in people.made if one.complaints] == []
        finally:
            await browser.close()


@pytest.fixture
def pictures() -> Path | None:
    """Return where screenshots for the docs go, when PARLEY_SCREENSHOT names a directory."""
    wanted = os.environ.get("PARLEY_SCREENSHOT")
    return Path(wanted) if wanted else None
