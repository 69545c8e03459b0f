"""Certificates that are ordered when the first client asks for their name."""

import asyncio
import os
import ssl
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest

from headgate.acme.storage import Storage

from .kit import Serve, eventually, free_port
from .kit.acme import Pebble, is_here, names_of, pebble, shown
from .kit.gateway import RunningGateway

pytestmark = pytest.mark.skipif(
    not is_here(), reason="no pebble here; hint: `make services` builds it with Go"
)

GATE = """
import logging
from headgate import Gateway, Response, fetch

gate = Gateway()
gate.listen(LISTEN)
gate.listen(SECURE, tls="auto")
gate.acme(folder=FOLDER, on_demand=ON_DEMAND, **ACME)


@gate.acme_ask
async def allowed(name):
    logging.warning("asked for %s", name)
    if name == "raises.test":
        raise RuntimeError("no database")
    return name.endswith((".customer.test", "nowhere.invalid"))


@gate.route("/")
def shop(request):
    return Response(200, request.host)
"""


@pytest.fixture(scope="module")
def ports() -> tuple[int, int]:
    return free_port(), free_port()


@pytest.fixture(scope="module")
def authority(tmp_path_factory: pytest.TempPathFactory, ports: tuple[int, int]) -> Iterator[Pebble]:
    settings = {"domainBlocklist": ["blocked.customer.test"]}
    with pebble(tmp_path_factory.mktemp("pebble"), *ports, settings=settings) as running:
        yield running


def started(
    serve: Serve, authority: Pebble, ports: tuple[int, int], folder: Path, **on_demand: Any
) -> RunningGateway:
    acme = {"email": "ops@shop.test", "directory": authority.directory, "ca": authority.ca}
    names = {"SECURE": f"127.0.0.1:{ports[1]}", "FOLDER": str(folder), "ACME": acme, "ON_DEMAND": on_demand}
    gateway = serve(GATE, names=names, listen=f"127.0.0.1:{ports[0]}")
    eventually((folder / "wanted").is_dir, gateway.log, within=60)
    return gateway


def told(gateway: RunningGateway, name: str) -> int:
    return gateway.log().count(f"asked for {name}")


def test_first_client_of_an_allowed_name_gets_a_certificate_in_its_handshake(
    serve: Serve, authority: Pebble, ports: tuple[int, int], tmp_path: Path
) -> None:
    gateway = started(serve, authority, ports, tmp_path / "acme")
    with ThreadPoolExecutor(8) as pool:
        found = list(pool.map(lambda _: shown(ports[1], "a.customer.test"), range(8)))
    assert [names_of(one) for one in found] == [["a.customer.test"]] * 8, gateway.log()
    assert len({one.serial_number for one in found if one}) == 1, "all wait for one order"
    asked = told(gateway, "a.customer.test")
    assert names_of(shown(ports[1], "a.customer.test")) == ["a.customer.test"]
    assert told(gateway, "a.customer.test") == asked, "nobody is asked again"
    assert list((tmp_path / "acme" / "wanted").iterdir()) == []


def test_names_that_are_not_allowed_fail_at_once_and_are_not_ordered(
    serve: Serve, authority: Pebble, ports: tuple[int, int], tmp_path: Path
) -> None:
    gateway = started(serve, authority, ports, tmp_path / "acme")
    for name in ("other.test", "raises.test"):
        for _ in range(3):
            assert shown(ports[1], name) is None
    workers = len(gateway.ask()["workers"])
    assert 1 <= told(gateway, "other.test") <= workers, "refusals are remembered"
    for name in ("localhost", "nolabel", "a.internal"):
        assert shown(ports[1], name) is None
        assert told(gateway, name) == 0
    assert "whether `raises.test` may have a certificate is not known: no database" in gateway.log()
    assert list((tmp_path / "acme" / "on_demand").iterdir()) == []


def test_order_that_fails_ends_the_handshake_and_is_not_tried_at_once(
    serve: Serve, authority: Pebble, ports: tuple[int, int], tmp_path: Path
) -> None:
    gateway = started(serve, authority, ports, tmp_path / "acme", wait="1h")
    assert shown(ports[1], "blocked.customer.test") is None, "nobody waits for what has failed already"
    eventually(lambda: "no certificate on demand for blocked.customer.test" in gateway.log(), gateway.log)
    assert shown(ports[1], "blocked.customer.test") is None
    assert "attempt 2" not in gateway.log()


def test_orders_are_bounded_in_rate(
    serve: Serve, authority: Pebble, ports: tuple[int, int], tmp_path: Path
) -> None:
    gateway = started(serve, authority, ports, tmp_path / "acme", max_orders=1, period="1h")
    assert names_of(shown(ports[1], "one.customer.test")) == ["one.customer.test"], gateway.log()
    assert shown(ports[1], "two.customer.test") is None
    assert "1 were ordered within 3600 s; hint: `acme.on_demand.max_orders`" in gateway.log()


def test_certificate_that_is_due_is_renewed_while_the_old_one_serves(
    serve: Serve, authority: Pebble, ports: tuple[int, int], tmp_path: Path
) -> None:
    gateway = started(serve, authority, ports, tmp_path / "acme")
    first = shown(ports[1], "due.customer.test")
    assert first, gateway.log()
    path = tmp_path / "acme" / "on_demand" / "due.customer.test.pem"
    head, _, rest = path.read_text().partition("\n")
    assert int(head.removeprefix("Renew-After: ")) > time.time() + 86400
    (path.parent / ".new").write_text(f"Renew-After: 1\n{rest}")
    os.replace(path.parent / ".new", path)
    second = shown(ports[1], "due.customer.test")
    assert second and second.serial_number == first.serial_number

    def is_new() -> bool:
        found = shown(ports[1], "due.customer.test")
        return found is not None and found.serial_number != first.serial_number

    eventually(is_new, gateway.log, within=60)


def test_validation_on_the_same_port_does_not_wait_for_the_order_that_it_proves(
    serve: Serve, authority: Pebble, ports: tuple[int, int], tmp_path: Path
) -> None:
    gateway = started(serve, authority, ports, tmp_path / "acme")
    context = ssl.create_default_context()
    context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
    context.set_alpn_protocols(["acme-tls/1"])

    async def validate() -> None:
        _, writer = await asyncio.open_connection(
            "127.0.0.1", ports[1], ssl=context, server_hostname="x.customer.test"
        )
        writer.close()

    with pytest.raises((ssl.SSLError, ConnectionError)):
        asyncio.run(validate())
    assert told(gateway, "x.customer.test") == 0


def test_url_decides_where_no_function_does(
    serve: Serve, authority: Pebble, ports: tuple[int, int], tmp_path: Path
) -> None:
    config = {
        "listeners": [
            f"127.0.0.1:{ports[0]}",
            {"address": f"127.0.0.1:{ports[1]}", "tls": "auto"},
        ],
        "acme": {
            "directory": authority.directory,
            "ca": authority.ca,
            "folder": str(tmp_path / "acme"),
            "on_demand": f"http://127.0.0.1:{ports[0]}/ask",
        },
        "routes": [
            {"path": "/ask", "query": {"domain": "yes.customer.test"}, "respond": "fine"},
            {"path": "/ask", "respond": 404},
            {"path": "/", "respond": "shop"},
        ],
    }
    gateway = serve(config, listen=f"127.0.0.1:{ports[0]}")
    eventually((tmp_path / "acme" / "wanted").is_dir, gateway.log, within=60)
    assert names_of(shown(ports[1], "yes.customer.test")) == ["yes.customer.test"], gateway.log()
    assert shown(ports[1], "no.customer.test") is None
    assert os.listdir(tmp_path / "acme" / "on_demand") == ["yes.customer.test.pem"]


def test_wishes_of_workers_that_are_gone_are_dropped(tmp_path: Path) -> None:
    storage = Storage(tmp_path)
    storage.prepare()
    (tmp_path / "wanted" / "a.test").touch()
    assert list(storage.wanted()) == ["a.test"]
    storage.drop_wanted("a.test")
    storage.drop_wanted("a.test")
    assert storage.wanted() == {}
