"""A real browser for tests of pages: Debian's Chromium, led by Playwright."""

from __future__ import annotations

import contextlib
import shutil
from collections.abc import Iterator
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from playwright.sync_api import Browser, Page

PATIENCE_MS = 60_000
"""For a condition of a page, on a busy machine."""
OBSERVE = """
globalThis.violations = [];
addEventListener("securitypolicyviolation", (event) => violations.push([event.violatedDirective, event.blockedURI]));
"""


@contextlib.contextmanager
def chromium(*arguments: str) -> Iterator[Browser]:
    """A browser with these arguments; skips the test where none is installed."""
    program = next(filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome"))), None)
    if program is None:
        pytest.skip("no Chromium here; hint: tools/services.sh installs it")
    from playwright.sync_api import sync_playwright

    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(
            executable_path=program,
            args=["--no-sandbox", "--disable-dev-shm-usage", "--disable-gpu", *arguments],
            timeout=120_000,
        )
        try:
            yield browser
        finally:
            browser.close()


class Seen:
    """What a page has asked for, and what went wrong in it."""

    def __init__(self, page: Page) -> None:
        self.page = page
        self.urls: list[str] = []
        self.errors: list[str] = []
        page.on("request", lambda request: self.urls.append(request.url))
        page.on("pageerror", lambda error: self.errors.append(str(error)))
        page.on("dialog", lambda dialog: (self.errors.append(f"dialog {dialog.message}"), dialog.dismiss()))
        page.on(
            "console",
            lambda message: (
                self.errors.append(message.text)
                if message.type == "error" and "Failed to load resource" not in message.text
                else None
            ),
        )

    def check(self, origin: str) -> None:
        """Nothing came from elsewhere, nothing failed, and the policy had nothing to forbid."""
        assert self.urls, "the page has asked for nothing"
        assert all(url.startswith(f"{origin}/") for url in self.urls), self.urls
        assert self.errors == []
        assert self.page.evaluate("violations") == []


@contextlib.contextmanager
def opened(browser: Browser, **context: object) -> Iterator[Seen]:
    """A page in a session of its own."""
    session = browser.new_context(**context)  # type: ignore[arg-type]
    session.set_default_timeout(PATIENCE_MS)
    session.add_init_script(OBSERVE)
    try:
        yield Seen(session.new_page())
    finally:
        session.close()
