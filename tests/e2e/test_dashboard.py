"""The dashboard in a real browser: what it shows, what it changes, and that nothing in it runs what clients send."""

import json
import os
import re
import signal
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
from e2e.kit import RawClient, RunningGateway, Serve, eventually, free_port
from e2e.kit.admin import TOKEN, Admin
from e2e.kit.browser import chromium, opened
from e2e.kit.pki import Authority

if TYPE_CHECKING:
    from playwright.sync_api import Browser, Page

READ = "a-token-that-may-only-read-0123456789"
SCRIPT = '<img src=x onerror="globalThis.hacked=1"><script>globalThis.hacked=1</script>\'"&amp;\u202e'
VIEWS = (
    *("live", "requests", "resources", "history", "configuration", "certificates"),
    *("consumers", "tester", "profile", "breakpoints"),
)

pytestmark = pytest.mark.timeout(300)


@pytest.fixture(scope="module")
def browser() -> Iterator["Browser"]:
    with chromium() as one:
        yield one


@pytest.fixture(scope="module")
def port() -> int:
    return free_port()


@pytest.fixture(scope="module")
def gateway(serve_module: Serve, tmp_path_factory: pytest.TempPathFactory, port: int) -> RunningGateway:
    return serve_module(
        {
            "metrics": True,
            "admin": {
                "listen": f"127.0.0.1:{port}",
                "tokens": [{"token": TOKEN, "name": "root"}, {"token": READ, "role": "read"}],
                "breakpoints": True,
            },
            "state_folder": str(tmp_path_factory.mktemp("state")),
            "consumers": {"of-the-file": {"keys": ["a-key-of-the-file-1"], "groups": ["staff"]}},
            "upstreams": {
                "gone": {"servers": [f"127.0.0.1:{free_port()}"]},
                "jobs": {"balance": "pull", "pull": {"tokens": TOKEN}},
            },
            "routes": [
                {"name": "hello", "path": "/", "respond": "hello"},
                {"name": "broken", "path": "/broken", "to": "gone"},
                {"name": "jobs", "path": "/jobs", "to": "jobs"},
                {"name": SCRIPT, "path": "/hostile", "respond": SCRIPT},
            ],
        }
    )


@pytest.fixture
def api(gateway: RunningGateway, port: int) -> Admin:
    return Admin(f"127.0.0.1:{port}", TOKEN)


@pytest.fixture
def page_url(gateway: RunningGateway, port: int) -> str:
    return f"http://127.0.0.1:{port}"


def ask(gateway: RunningGateway, target: str) -> tuple[int, str]:
    with RawClient(gateway.address) as client:
        response = client.get(target)
        return response.status, response.body.decode()


def sign_in(page: "Page", page_url: str, place: str = "", token: str = TOKEN) -> None:
    page.goto(f"{page_url}/{place}")
    page.get_by_label("Token of the Admin API").fill(token)
    page.get_by_role("button", name="Sign in").click()
    page.get_by_role("navigation").get_by_role("link", name="Live").wait_for()


def row(page: "Page", region: str, text: str) -> Any:
    return page.get_by_role("region", name=region).get_by_role("row").filter(has_text=text)


def test_a_token_is_asked_for_and_kept_in_the_tab_only(browser: "Browser", page_url: str) -> None:
    with opened(browser) as seen:
        page = seen.page
        sign_in(page, page_url, token=TOKEN)
        page.reload()
        page.get_by_role("navigation").get_by_role("link", name="Live").wait_for()
        assert page.evaluate("[localStorage.length, document.cookie]") == [0, ""]
        assert not any(TOKEN in url for url in seen.urls)
        page.get_by_role("button", name="Sign out").click()
        page.get_by_label("Token of the Admin API").fill("this-token-is-not-known")
        page.get_by_role("button", name="Sign in").click()
        page.get_by_role("alert").filter(has_text="the token is not known").wait_for()
        assert page.evaluate("sessionStorage.length") == 0
        seen.check(page_url)


def test_the_live_view_counts_what_happens(
    browser: "Browser", gateway: RunningGateway, page_url: str
) -> None:
    with opened(browser) as seen:
        page = seen.page
        sign_in(page, page_url)
        for _ in range(10):
            assert ask(gateway, "/")[0] == 200
            assert ask(gateway, "/broken")[0] >= 500
        for region, text in (("Routes", "hello"), ("Routes", "broken"), ("Servers", "gone")):
            row(page, region, text).wait_for()
        row(page, "Failures", "connect_failed").wait_for()
        row(page, "Pools", "gone").wait_for()
        row(page, "Pull queues", "jobs").wait_for()
        page.locator('[data-tile="queued"]').filter(has_text="0").wait_for()
        page.get_by_role("button", name="hello", exact=True).click()
        page.get_by_role("heading", name="Route hello").wait_for()
        page.get_by_label("Filter routes and servers").fill("bro")
        row(page, "Routes", "hello").wait_for(state="detached")
        row(page, "Routes", "broken").wait_for()
        seen.check(page_url)


def test_rates_are_drawn_while_requests_come(
    browser: "Browser", gateway: RunningGateway, page_url: str
) -> None:
    with opened(browser) as seen, steady(gateway):
        page = seen.page
        sign_in(page, page_url)
        for tile in ("rate", "p50", "p99"):
            page.locator(f'[data-tile="{tile}"]').filter(has_text=re.compile("[1-9]")).wait_for()
        page.locator('svg.plot path.good[d*="L"]').first.wait_for(state="attached")
        row(page, "Routes", "hello").get_by_role("cell").nth(1).filter(
            has_text=re.compile("[1-9]")
        ).wait_for()
        seen.check(page_url)


@contextmanager
def steady(gateway: RunningGateway) -> Iterator[None]:
    """Requests, one after the other, until the end of the block."""
    is_over = threading.Event()

    def go_on() -> None:
        while not is_over.wait(0.01):
            ask(gateway, "/")

    thread = threading.Thread(target=go_on)
    thread.start()
    try:
        yield
    finally:
        is_over.set()
        thread.join()


def test_nothing_that_is_shown_is_run(
    browser: "Browser", api: Admin, gateway: RunningGateway, page_url: str
) -> None:
    assert ask(gateway, "/hostile")[0] == 200
    resource = {"path": "/stored", "respond": SCRIPT}
    note = {
        "operations": [{"op": "put", "kind": "routes", "name": "stored", "resource": resource}],
        "note": SCRIPT,
    }
    assert api.ask("POST", "/v1/transactions", note).status == 200
    with opened(browser) as seen:
        page = seen.page
        sign_in(page, page_url)
        row(page, "Routes", SCRIPT).get_by_role("button").click()
        page.get_by_role("heading", name=f"Route {SCRIPT}").wait_for()
        page.goto(f"{page_url}/#/resources/routes/stored")
        page.get_by_role("heading", name="routes/stored").wait_for()
        assert json.loads(page.get_by_label("Resource as JSON").input_value()) == resource
        page.get_by_role("button", name="Show differences").click()
        page.goto(f"{page_url}/#/history")
        page.locator("summary").filter(has_text=SCRIPT).first.click()
        page.locator("pre.differences").filter(has_text="onerror").first.wait_for()
        page.goto(f"{page_url}/#/configuration")
        page.locator("pre").filter(has_text="onerror").wait_for()
        page.goto(f"{page_url}/#/{SCRIPT}")
        page.get_by_role("heading", name="Routes").wait_for()
        page.goto(f"{page_url}/#/resources/routes/%3Cscript%3E%ff")
        page.get_by_role("status").filter(has_text="hint").or_(page.locator("#outcome.bad")).first.wait_for()
        assert page.evaluate("globalThis.hacked") is None
        assert page.locator("main img, main script").count() == 0
        seen.check(page_url)


def test_requests_are_shown_as_they_end(
    browser: "Browser", gateway: RunningGateway, page_url: str, port: int
) -> None:
    with opened(browser) as seen:
        page = seen.page
        sign_in(page, page_url, "#/requests")
        page.get_by_role("status").filter(has_text="Waiting for requests").or_(
            page.get_by_role("region", name="Requests").get_by_role("button").first
        ).first.wait_for()
        target = "/?q=%3Cimg%20src=x%20onerror=hacked=1%3E"
        assert ask(gateway, target)[0] == 200
        assert ask(gateway, "/broken")[0] >= 500
        shown = row(page, "Requests", target)
        shown.wait_for()
        row(page, "Requests", "/broken").wait_for()
        page.get_by_label("Status").select_option("5xx")
        shown.wait_for(state="detached")
        page.get_by_label("Status").select_option("all")
        page.get_by_label("Filter").fill("onerror")
        row(page, "Requests", "/broken").wait_for(state="detached")
        shown.get_by_role("button").click()
        page.get_by_role("heading", name=target).wait_for()
        row(page, "Timeline", "in all").wait_for()
        row(page, "Time by step", "body").filter(has_text="%").wait_for()
        page.get_by_label("Filter").fill("")
        row(page, "Requests", "/broken").get_by_role("button").first.click()
        page.get_by_role("heading", name="GET /broken").wait_for()
        row(page, "Timeline", "connecting").wait_for()
        row(page, "Time by step", "connecting").filter(has_text=re.compile(r"[1-9].* %")).wait_for()
        assert page.evaluate("globalThis.hacked") is None
        seen.check(page_url)
    assert Admin(f"127.0.0.1:{port}", READ).get("/v1/requests").status == 403


def test_each_request_that_is_kept_can_be_opened_and_its_details_stay(
    browser: "Browser", gateway: RunningGateway, page_url: str
) -> None:
    def ask_many(count: int, name: str) -> None:
        with RawClient(gateway.address) as client:
            for number in range(count):
                assert client.get(f"/?{name}{number}-").status == 200

    with opened(browser, viewport={"width": 1000, "height": 800}) as seen:
        page = seen.page
        sign_in(page, page_url, "#/requests")
        with page.expect_response(lambda one: "/v1/requests" in one.url and one.ok):
            pass  # from now on requests are kept
        ask_many(200, "early")
        first = row(page, "Requests", "/?early0-")
        first.wait_for(state="attached")
        row(page, "Requests", "/?early199-").wait_for()
        first.get_by_role("button").click()
        heading = page.get_by_role("heading", name="/?early0-")
        heading.wait_for()
        # both the row and its details are in sight, and stay there while others come
        assert is_in_sight(first.get_by_role("button")) and is_in_sight(heading)
        ask_many(20, "later")
        row(page, "Requests", "/?later19-").wait_for(state="attached")
        assert is_in_sight(first.get_by_role("button")) and is_in_sight(heading)
        ask_many(520, "last")
        page.get_by_role("status").filter(has_text="The newest 500 are kept").wait_for()
        first.wait_for(state="detached")
        assert is_in_sight(heading)
        row(page, "Timeline", "in all").wait_for()
        page.get_by_role("button", name="Close").click()
        heading.wait_for(state="hidden")
        seen.check(page_url)


def is_in_sight(element: Any) -> bool:
    """Whether it can be seen without scrolling, neither the page nor a part of it."""
    seen: bool = element.evaluate(
        "one => { const box = one.getBoundingClientRect();"
        " return one.contains(document.elementFromPoint(box.x + box.width / 2, box.y + box.height / 2)); }"
    )
    return seen


def test_consumers_of_file_and_store_are_shown_without_their_credentials(
    browser: "Browser", api: Admin, page_url: str
) -> None:
    assert (
        api.put("/v1/consumers/alice", {"keys": ["a-key-of-alice-1"], "labels": {"tier": SCRIPT}}).status
        == 201
    )
    with opened(browser) as seen:
        page = seen.page
        sign_in(page, page_url, "#/consumers")
        row(page, "Consumers", "alice").filter(has_text="keys: 1").filter(has_text="tier=<img").wait_for()
        row(page, "Consumers", "of-the-file").filter(has_text="staff").wait_for()
        page.get_by_label("Filter consumers").fill("alice")
        row(page, "Consumers", "of-the-file").wait_for(state="detached")
        assert "a-key-of-alice-1" not in page.content()
        assert page.evaluate("globalThis.hacked") is None
        seen.check(page_url)
    assert api.delete("/v1/consumers/alice").status == 204


def test_certificates_are_shown_with_the_one_that_ends_first_on_top(
    browser: "Browser", serve: Serve, tmp_path: Path
) -> None:
    authority, address = Authority(tmp_path), f"127.0.0.1:{free_port()}"
    leaves = [authority.issue(f"{days}.test", days=(-1, days + 0.5)) for days in (60, 3)]
    serve(
        "from headgate import Gateway\ngate = Gateway()\ngate.listen(LISTEN)\ngate.metrics()\n"
        "gate.admin(ADMIN, tokens=TOKEN)\ngate.state_folder(FOLDER + '/state')\ngate.route('/', respond='ok')\n"
        "gate.listen(TLS, tls={'certificates': FILES})\n",
        names={
            "ADMIN": address,
            "TOKEN": TOKEN,
            "TLS": f"127.0.0.1:{free_port()}",
            "FILES": [leaf.files for leaf in leaves],
        },
    )
    with opened(browser) as seen:
        page, url = seen.page, f"http://{address}"
        sign_in(page, url, "#/certificates")
        row(page, "Certificates", "60.test").filter(has_text="60 days").wait_for()
        rows = page.get_by_role("region", name="Certificates").get_by_role("row").all_inner_texts()
        assert [text.split()[0] for text in rows[1:]] == ["3.test", "60.test"]
        assert "3 days" in rows[1]
        seen.check(url)


def test_a_route_test_says_who_takes_a_request_and_why_not_the_others(
    browser: "Browser", gateway: RunningGateway, page_url: str
) -> None:
    with opened(browser) as seen:
        page = seen.page
        sign_in(page, page_url, "#/tester")
        page.get_by_label("URL").fill("https://example.com/broken?x=1")
        page.get_by_role("button", name="Test", exact=True).click()
        page.get_by_role("status").filter(has_text="broken takes /broken").wait_for()
        row(page, "Verdicts", "takes the request").filter(has_text="broken").wait_for()
        row(page, "Verdicts", SCRIPT).filter(has_text="the path does not match").wait_for()
        page.get_by_label("URL").fill("https://example.com/%zz")
        page.get_by_role("button", name="Test", exact=True).click()
        page.get_by_role("status").filter(has_text="The request gets 400").wait_for()
        page.get_by_label("Method").fill("G T")
        page.get_by_role("button", name="Test", exact=True).click()
        page.get_by_role("status").filter(has_text="is not a valid method").wait_for()
        assert page.evaluate("globalThis.hacked") is None
        seen.check(page_url)


HOOKED = """
import time
from headgate import Gateway
gate = Gateway()
gate.listen(LISTEN)
gate.metrics()
gate.admin(f"127.0.0.1:{PORT}", tokens=TOKEN, breakpoints=True)
gate.state_folder(FOLDER + "/state")
gate.route("/", respond="ok", name="all")

@gate.request
def burns(request):
    if request.path == "/held":
        time.sleep(0.4)  # <script>hacked=1</script>
    until = time.process_time() + 0.005
    while time.process_time() < until:
        pass
"""


def test_a_profile_and_traces_are_taken_from_the_page(browser: "Browser", serve: Serve) -> None:
    port = free_port()
    gateway = serve(HOOKED, names={"PORT": port, "TOKEN": TOKEN})
    page_url = f"http://127.0.0.1:{port}"
    with opened(browser) as seen, steady(gateway):
        page = seen.page
        sign_in(page, page_url)
        row(page, "Time in hooks", "request gate.py:burns").filter(
            has_text=re.compile(r"[1-9].* %")
        ).wait_for()
        page.get_by_label("Time by").select_option("phase")
        row(page, "Time in hooks", "request").filter(has_text=re.compile(r"[1-9].* %")).wait_for()
        assert ask(gateway, "/held")[0] == 200
        stack = page.locator("pre", has_text="time.sleep(0.4)  # <script>")
        held = page.locator("details", has=stack).first
        held.locator("summary").click()
        held.locator("pre").wait_for()
        page.get_by_role("link", name="Profile").click()
        page.get_by_label("Seconds", exact=True).fill("2")
        page.get_by_role("button", name="Take a profile").click()
        row(page, "Time by hook", "gate.py:burns").wait_for()
        page.locator("svg.flames g", has_text="gate.py:burns").first.wait_for(state="attached")
        with page.expect_download() as saving:
            page.get_by_role("link", name="Save profile.speedscope.json").click()
        assert json.loads(saving.value.path().read_text())["exporter"] == "headgate"
        page.get_by_label("Target, route or client has").fill("/traced")
        page.get_by_label("How many").fill("1")
        page.get_by_role("button", name="Trace the next requests").click()
        page.get_by_role("status").filter(has_text="Waiting for requests").wait_for()
        assert ask(gateway, "/?q=/traced%3Cscript%3E")[0] == 200
        page.get_by_role("heading", name="/?q=/traced").wait_for()
        page.locator(".traced").get_by_text("request gate.py:burns").wait_for()
        seen.check(page_url)
    refused = Admin(f"127.0.0.1:{port}", TOKEN).ask("POST", "/v1/profile", {"seconds": 1e9})
    assert refused.status == 400 and "is not within" in refused.text


def test_breakpoints_are_set_and_read_on_the_page(browser: "Browser", serve: Serve) -> None:
    port = free_port()
    gateway = serve(HOOKED, names={"PORT": port, "TOKEN": TOKEN})
    page_url = f"http://127.0.0.1:{port}"
    with opened(browser) as seen:
        page = seen.page
        sign_in(page, page_url, "#/breakpoints")
        page.get_by_label("Line or function").fill("gate:brns")
        page.get_by_role("button", name="Set a breakpoint").click()
        page.get_by_role("status").filter(has_text="did you mean").wait_for()
        page.get_by_label("Line or function").fill("gate:burns")
        page.get_by_label("Only if").fill("'looked' in request.target")
        page.get_by_label("Show").fill("request.target; 1 / 0; '<script>globalThis.hacked=' + '1</script>'")
        page.get_by_role("button", name="Set a breakpoint").click()
        row(page, "Breakpoints", "gate.py").filter(has_text="looking").wait_for()
        assert ask(gateway, "/?left-out")[0] == 200
        assert ask(gateway, "/?looked=%3Cscript%3E")[0] == 200
        row(page, "Values of hit 1", "request.target").filter(has_text="%3Cscript%3E").wait_for()
        row(page, "Values of hit 1", "<script>globalThis.hacked=1</script>").wait_for()
        row(page, "Values of hit 1", "1 / 0").filter(has_text="ZeroDivisionError").wait_for()
        assert page.get_by_role("region", name="Values of hit 2").count() == 0
        page.get_by_role("button", name="Remove 1").click()
        page.get_by_role("region", name="Values of hit 1").wait_for(state="hidden")
        assert page.get_by_role("region", name="Breakpoints").get_by_role("row").count() == 1
        assert page.evaluate("globalThis.hacked") is None
        seen.check(page_url)


def test_a_resource_is_tried_applied_changed_and_rolled_back(
    browser: "Browser", api: Admin, gateway: RunningGateway, page_url: str
) -> None:
    with opened(browser) as seen:
        page = seen.page
        sign_in(page, page_url, "#/resources/routes")
        text, outcome = page.get_by_label("Resource as JSON"), page.locator("#outcome")
        page.get_by_role("button", name="New resource").click()
        page.get_by_text("Keys of routes", exact=True).click()
        row(page, "Keys of routes", "respond").first.wait_for()
        page.get_by_label("Name").fill("fresh")
        text.fill('{"pth": "/fresh", "respond": "one"}')
        page.get_by_role("button", name="Validate").click()
        outcome.filter(has_text="did you mean `path`?").wait_for()
        text.fill('{"path": "/fresh", ')
        page.get_by_role("button", name="Apply").click()
        outcome.filter(has_text="This is not JSON").wait_for()
        text.fill('{"path": "/fresh", "respond": "one"}')
        page.get_by_role("button", name="Validate").click()
        outcome.filter(has_text="Valid").wait_for()
        assert api.get("/v1/routes/fresh").status == 404
        page.get_by_role("button", name="Apply").click()
        outcome.filter(has_text="In force in every worker").wait_for()
        assert ask(gateway, "/fresh") == (200, "one")
        first = api.get("/v1/status").json()["revision"]

        page.get_by_label("Search").fill("fresh")
        page.get_by_role("link", name="fresh", exact=True).click()
        page.get_by_role("heading", name="routes/fresh").wait_for()
        text.fill('{"path": "/fresh", "respond": "two"}')
        page.get_by_role("button", name="Show differences").click()
        assert '+   "respond": "two"' in page.locator("pre.differences").inner_text()
        page.get_by_role("button", name="Apply").click()
        outcome.filter(has_text="In force in every worker").wait_for()
        assert ask(gateway, "/fresh") == (200, "two")

        page.get_by_role("link", name="History").click()
        page.locator(f'details[data-revision="{first}"] summary').click()
        page.get_by_role("button", name=f"Roll back to revision {first}").click()
        page.get_by_role("button", name="Apply: make it as it was").click()
        page.get_by_role("status").filter(has_text="In force, as revision").wait_for()
        assert ask(gateway, "/fresh") == (200, "one")

        page.goto(f"{page_url}/#/resources/routes/fresh")
        page.get_by_role("button", name="Delete").click()
        page.get_by_role("button", name="Delete it now").click()
        outcome.filter(has_text="It is deleted").wait_for()
        assert api.get("/v1/routes/fresh").status == 404
        seen.check(page_url)


def test_a_change_of_somebody_else_is_not_overwritten(browser: "Browser", api: Admin, page_url: str) -> None:
    assert api.put("/v1/routes/both", {"path": "/both", "respond": "a"}).status in (200, 201)
    with opened(browser) as seen:
        page = seen.page
        sign_in(page, page_url, "#/resources/routes/both")
        page.get_by_role("heading", name="routes/both").wait_for()
        assert api.put("/v1/routes/both", {"path": "/both", "respond": "theirs"}).status == 200
        page.get_by_label("Resource as JSON").fill('{"path": "/both", "respond": "mine"}')
        page.get_by_role("button", name="Apply").click()
        page.locator("#outcome").filter(has_text="Somebody has changed it meanwhile").wait_for()
        assert api.get("/v1/routes/both").json()["respond"] == "theirs"


def test_masked_secrets_stay_as_they_are(browser: "Browser", api: Admin, page_url: str) -> None:
    consumer = {"hmac": [{"id": "ann", "secret": "the-secret-key-of-ann-0123"}]}
    made = api.put("/v1/consumers/ann", consumer)
    assert made.status in (200, 201), made.body
    with opened(browser) as seen:
        page = seen.page
        sign_in(page, page_url, "#/resources/consumers/ann")
        page.get_by_role("heading", name="consumers/ann").wait_for()
        text = page.get_by_label("Resource as JSON")
        document = json.loads(text.input_value())
        assert "the-secret-key-of-ann" not in page.content()
        text.fill(json.dumps({**document, "labels": {"plan": "gold"}}))
        page.get_by_role("button", name="Apply").click()
        page.locator("#outcome").filter(has_text="In force in every worker").wait_for()
    assert api.get("/v1/consumers/ann").json()["labels"] == {"plan": "gold"}


def test_who_may_only_read_changes_nothing(browser: "Browser", api: Admin, page_url: str) -> None:
    assert api.put("/v1/routes/fixed", {"path": "/fixed", "respond": "a"}).status in (200, 201)
    with opened(browser) as seen:
        page = seen.page
        sign_in(page, page_url, "#/resources/routes/fixed", READ)
        page.get_by_role("heading", name="routes/fixed").wait_for()
        assert page.get_by_role("button", name="Apply").is_disabled()
        assert page.get_by_role("button", name="New resource").is_disabled()
        assert page.get_by_label("Resource as JSON").get_attribute("readonly") is not None


def test_a_tab_open_for_a_week_keeps_no_more_than_one_of_ten_minutes(
    browser: "Browser", page_url: str
) -> None:
    with opened(browser) as seen:
        page = seen.page
        page.goto(f"{page_url}/")
        page.get_by_label("Token of the Admin API").wait_for()
        kept = page.evaluate(
            """async () => {
                const {Samples, MOST_SAMPLES, MOST_KEPT} = await import("/dashboard/samples.js");
                const samples = new Samples();
                for (let look = 1; look <= 3000; look++) {
                    const routes = {};
                    for (let one = 0; one < 300; one++) {
                        routes[`route-${one + look}`] = {classes: {"2xx": look * one}, buckets: [[0, look * one]]};
                    }
                    samples.add({at_s: 2 * look, bounds: [0.1], routes, servers: [], totals: {requests: look}});
                }
                const most = Math.max(...[...samples.kept.values()].map((list) => list.length));
                return [samples.kept.size <= MOST_KEPT + 1, most, MOST_SAMPLES, samples.latest.size];
            }"""
        )
        assert kept == [True, 300, 300, 301]


RELAYED = {
    "total_us": 1000,
    "attempts": 2,
    "steps": [
        {"step": "accept", "attempt": 0, "begin_us": -400, "us": 30},
        {"step": "queue", "attempt": 1, "begin_us": 25, "us": 50},
        {"step": "connect", "attempt": 1, "begin_us": 90, "us": 100},
        {"step": "head", "attempt": 2, "begin_us": 200, "us": 300},
        {"step": "body", "attempt": 0, "begin_us": 540, "us": 460},
    ],
    "hooks": [
        {"phase": "request", "hook": "a", "us": 20, "begin_us": 2, "end_us": 22},
        {"phase": "request_body", "hook": "b", "us": 40, "begin_us": 210, "end_us": 480},
    ],
}
HOSTILE = {
    "total_us": 100,
    "attempts": 1,
    "steps": [{"step": "<script>", "attempt": "1", "begin_us": "x", "us": None}],
    "hooks": [{"phase": "request", "hook": "<img onerror=alert(1)>", "us": 1, "begin_us": 3, "end_us": 4}],
}


@pytest.mark.parametrize(
    ("line", "steps"),
    [
        (
            RELAYED,
            [
                ["accepting", "accept", -400, -370, 30],
                ["request a", "hook", 2, 22, 20],
                ["in the queue, attempt 1", "queue", 25, 75, 50],
                ["connecting, attempt 1", "connect", 90, 190, 100],
                ["until the head, attempt 2", "head", 200, 500, 300],
                ["request_body b", "hook", 210, 480, 40],
                ["body", "body", 540, 1000, 460],
            ],
        ),
        (
            HOSTILE,
            [["<script>", "body", 0, 0, 0], ["request <img onerror=alert(1)>", "hook", 3, 4, 1]],
        ),
        ({"total_us": 100}, []),
        ({}, []),
    ],
)
def test_steps_of_a_request_are_drawn_where_they_were_measured(
    browser: "Browser", page_url: str, line: dict[str, Any], steps: list[Any]
) -> None:
    with opened(browser) as seen:
        page = seen.page
        page.goto(f"{page_url}/")
        page.get_by_label("Token of the Admin API").wait_for()
        found, bars = page.evaluate(
            """async (line) => {
                const {steps, waterfall} = await import("/dashboard/waterfall.js");
                const parts = [...waterfall(line).querySelectorAll("svg rect:not(.ground)")];
                return [
                    steps(line).map(({name, kind, begin, end, took}) => [name, kind, begin, end, took]),
                    parts.map((part) => [Number(part.getAttribute("x")), Number(part.getAttribute("width"))]),
                ];
            }""",
            line,
        )
        assert found == steps
        assert len(bars) == len(steps) + 1  # the whole
        assert all(x >= 0 and width > 0 and x + width <= 100.001 for x, width in bars)


def test_a_waterfall_fits_on_a_phone(browser: "Browser", page_url: str) -> None:
    line = {
        "total_us": 12_345,
        "attempts": 2,
        "steps": [
            {"step": "accept", "attempt": 0, "begin_us": -1234, "us": 1000},
            {"step": "head", "attempt": 2, "begin_us": 1234, "us": 9876},
        ],
    }
    with opened(browser, viewport={"width": 375, "height": 740}) as seen:
        page = seen.page
        page.goto(f"{page_url}/")
        page.get_by_label("Token of the Admin API").wait_for()
        wide, room, bar = page.evaluate(
            """async (line) => {
                const {waterfall} = await import("/dashboard/waterfall.js");
                const section = document.createElement("section"), shown = waterfall(line);
                section.append(shown);
                document.querySelector("main").append(section);
                return [shown.scrollWidth, shown.clientWidth, shown.querySelector("svg").getBoundingClientRect().width];
            }""",
            line,
        )
        assert wide <= room and bar >= 60, (wide, room, bar)


@pytest.mark.parametrize("scheme", ["light", "dark"])
@pytest.mark.parametrize("width", [1280, 375])
def test_axe_finds_no_serious_fault_and_no_page_is_too_wide(
    browser: "Browser", api: Admin, gateway: RunningGateway, page_url: str, scheme: str, width: int
) -> None:
    from axe_playwright_python.sync_playwright import Axe

    ask(gateway, "/")
    ask(gateway, "/broken")
    assert api.put("/v1/routes/judged", {"path": "/judged", "respond": f"{width} {scheme}"}).status in (
        200,
        201,
    )
    with opened(
        browser, color_scheme=scheme, viewport={"width": width, "height": 800}, bypass_csp=True
    ) as seen:
        page = seen.page
        page.goto(f"{page_url}/")
        page.get_by_label("Token of the Admin API").wait_for()
        judge(Axe(), page, "sign-in")
        sign_in(page, page_url)
        for view in VIEWS:
            page.goto(f"{page_url}/#/{view}")
            page.locator(f'nav a[aria-current="page"][href="#/{view}"]').wait_for()
            ready(page, view)
            judge(Axe(), page, view)
            assert page.evaluate("document.documentElement.scrollWidth <= innerWidth"), view
        page.goto(f"{page_url}/#/resources/routes/judged")
        page.get_by_role("heading", name="routes/judged").wait_for()
        page.get_by_role("button", name="Show differences").click()
        page.get_by_text("Keys of routes", exact=True).click()
        row(page, "Keys of routes", "respond").first.wait_for()
        judge(Axe(), page, "editor")
        assert page.evaluate("document.documentElement.scrollWidth <= innerWidth")


def ready(page: "Page", view: str) -> None:
    """Waits until a view has what it asks for."""
    found = {
        "live": row(page, "Routes", "hello"),
        "resources": page.get_by_role("link", name="judged"),
        "history": page.locator("summary").first,
        "configuration": page.locator("pre").filter(has_text="listeners"),
    }
    if view in found:
        found[view].wait_for()


def judge(axe: Any, page: "Page", view: str) -> None:
    found = axe.run(page).response["violations"]
    serious = [
        (one["id"], [node["html"] for node in one["nodes"]][:3])
        for one in found
        if one["impact"] in ("serious", "critical")
    ]
    assert serious == [], (view, serious)


def test_the_page_goes_on_when_the_agent_is_replaced(
    browser: "Browser", gateway: RunningGateway, page_url: str
) -> None:
    with opened(browser) as seen:
        page = seen.page
        sign_in(page, page_url, "#/requests")
        agent = gateway.ask()["agent"]
        os.kill(agent, signal.SIGKILL)
        eventually(lambda: gateway.ask()["agent"] not in (None, agent), "another one works", within=60)
        for path in ("/v1/live", "/v1/requests"):
            with page.expect_response(lambda one, path=path: path in one.url and one.ok):
                pass
        assert ask(gateway, "/?after-the-agent")[0] == 200
        row(page, "Requests", "/?after-the-agent").wait_for()
        page.locator("#state").filter(has_text="serving").wait_for()
        seen.check(page_url)


def test_the_page_comes_without_a_token_and_holds_no_data(gateway: RunningGateway, port: int) -> None:
    stranger = Admin(f"127.0.0.1:{port}")
    page = stranger.get("/")
    assert page.status == 200 and "hello" not in page.body.decode()
    policy = page.get("Content-Security-Policy") or ""
    assert "default-src 'none'" in policy and "unsafe" not in policy and "frame-ancestors 'none'" in policy
    assert stranger.get("/", **{"If-None-Match": page.get("ETag") or ""}).status == 304
    assert stranger.get("/", Host="evil.example").status == 421
    script = stranger.get("/dashboard/main.js")
    assert script.status == 200 and (script.get("Content-Type") or "").startswith("text/javascript")
    for target in ("/dashboard/__init__.py", "/dashboard/../app.py", "/dashboard/", "/v1/live"):
        assert stranger.get(target).status in (400, 401), target
    assert stranger.ask("POST", "/", {}).status in (401, 405)
