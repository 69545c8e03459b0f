"""Takes the screenshots of docs/guide/dashboard.md: a gateway with some traffic, seen in Chromium.

python tests/e2e/dashboard_screenshots.py
"""

import re
import sys
import tempfile
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
sys.path.insert(0, str(ROOT / "tests"))

from e2e.kit import Origin, RawClient, RunningGateway, free_port  # noqa: E402
from e2e.kit.admin import TOKEN, Admin  # noqa: E402
from e2e.kit.browser import chromium, opened  # noqa: E402

IMAGES = ROOT / "docs" / "guide" / "images"
SHOWN = re.compile(r"^([2-9]\d|\d{3,}) s ago")
"""How much traffic the plots show at least."""
TARGETS = ("/", "/shop/cart", "/shop/items", "/shop/items", "/old", "/nothing", "/broken")


@contextmanager
def traffic(gateway: RunningGateway) -> Iterator[None]:
    """Requests without end."""
    ended = threading.Event()

    def ask() -> None:
        number = 0
        while not ended.wait(0.004 + 0.003 * (number % 7)):
            number += 1
            with RawClient(gateway.address) as client:
                client.get(TARGETS[number % len(TARGETS)])

    threads = [threading.Thread(target=ask) for _ in range(3)]
    for one in threads:
        one.start()
    try:
        yield
    finally:
        ended.set()
        for one in threads:
            one.join()


def main() -> None:
    """All of them."""
    IMAGES.mkdir(exist_ok=True)
    port = free_port()
    with (
        tempfile.TemporaryDirectory() as folder,
        Origin() as first,
        Origin() as second,
        chromium() as browser,
    ):
        source = {
            "metrics": True,
            "admin": {"listen": f"127.0.0.1:{port}", "tokens": TOKEN},
            "state_folder": f"{folder}/state",
            "upstreams": {
                "shop": {"servers": [f"{first.address} weight=2", second.address]},
                "gone": {"servers": [f"127.0.0.1:{free_port()}"]},
            },
            "routes": [
                {"name": "home", "path": "/", "respond": "home"},
                {"name": "shop", "path": "/shop/*", "to": "shop"},
                {"name": "broken", "path": "/broken", "to": "gone"},
                {"name": "old", "path": "/old", "redirect": "/"},
            ],
        }
        gateway = RunningGateway(Path(folder), source, workers=2).start()
        try:
            with traffic(gateway):
                api = Admin(f"127.0.0.1:{port}", TOKEN)
                for words in ("Hello", "Good morning"):
                    api.put(
                        "/v1/routes/greeting", {"path": "/greeting", "methods": ["GET"], "respond": words}
                    )
                for scheme in ("light", "dark"):
                    with opened(
                        browser, color_scheme=scheme, viewport={"width": 1100, "height": 900}
                    ) as seen:
                        page = seen.page
                        page.goto(f"http://127.0.0.1:{port}/")
                        page.get_by_label("Token of the Admin API").fill(TOKEN)
                        page.get_by_role("button", name="Sign in").click()
                        page.locator("svg.plot text", has_text=SHOWN).first.wait_for()
                        page.screenshot(path=IMAGES / f"dashboard-live{'-dark' * (scheme == 'dark')}.png")
                        if scheme == "light":
                            page.goto(f"http://127.0.0.1:{port}/#/requests")
                            row = page.get_by_role("row").filter(has_text="/shop/cart").first
                            row.get_by_role("button").click()
                            page.locator("table.waterfall").wait_for()
                            page.get_by_label("Filter").fill("shop")
                            page.get_by_role("button", name="Pause").click()
                            page.locator("table.waterfall").scroll_into_view_if_needed()
                            page.get_by_role("region", name="Requests").evaluate("one => one.scrollTop = 0")
                            page.screenshot(path=IMAGES / "dashboard-requests.png")
                            page.goto(f"http://127.0.0.1:{port}/#/resources/routes/greeting")
                            page.get_by_role("heading", name="routes/greeting").wait_for()
                            text = page.get_by_label("Resource as JSON")
                            text.fill(text.input_value().replace("Good morning", "Good evening"))
                            page.get_by_role("button", name="Validate").click()
                            page.locator("#outcome.good").wait_for()
                            page.get_by_role("button", name="Show differences").click()
                            page.screenshot(path=IMAGES / "dashboard-resources.png")
        finally:
            gateway.stop()


if __name__ == "__main__":
    main()
