"""A page in headless Chromium that notes requests and errors."""

from __future__ import annotations

import shutil
from typing import Any
from urllib.parse import urlsplit

CHROMIUM = next(filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome"))), None)


class Visit:
    """A page that notes every request and every console error."""

    def __init__(self, browser: Any, address: str, **context: Any) -> None:
        self.context = browser.new_context(**{"viewport": {"width": 1280, "height": 900}, **context})
        self.context.set_default_timeout(15_000)
        self.page = self.context.new_page()
        self.requests: list[str] = []
        self.errors: list[str] = []
        self.page.on("request", lambda request: self.requests.append(request.url))
        self.page.on("pageerror", lambda error: self.errors.append(str(error)))
        self.page.on("console", lambda m: self.errors.append(m.text) if m.type in ("error", "warning") else None)
        self.address = address
        self.page.goto(address)

    def close(self) -> None:
        """Nothing was loaded but the page itself, and nothing went wrong."""
        assert not self.errors
        assert {urlsplit(url).path for url in self.requests if not url.startswith("data:")} == {
            urlsplit(self.page.url).path
        }
        self.context.close()
