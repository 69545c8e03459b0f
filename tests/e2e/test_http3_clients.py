"""HTTP/3 with a real browser, and with curl."""

import base64
import hashlib
import os

import pytest
from cryptography import x509
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat
from e2e.kit import Origin, Serve
from e2e.kit.behaviours import raw
from e2e.kit.browser import PATIENCE_MS, chromium
from e2e.kit.pki import Authority

PAGE = b"""<!doctype html><title>a page</title><script>
async function all() {
  const texts = await Promise.all([...Array(20).keys()].map(async (n) => (await fetch("/part?" + n)).text()));
  const posted = await (await fetch("/echo", {method: "POST", body: "x".repeat(100000)})).text();
  const hops = performance.getEntries().map((entry) => entry.nextHopProtocol).filter(Boolean);
  return {texts, posted: posted.length, hops: [...new Set(hops)]};
}
</script>"""


def test_a_browser_loads_a_page_and_its_parts(serve: Serve, authority: Authority, origin: Origin) -> None:
    leaf = authority.issue("gate.test")
    gateway = serve(f"""
from headgate import Gateway
gate = Gateway()
gate.listen(LISTEN, tls={{"certificates": [{leaf.files!r}]}}, http3=True)
gate.route("/part", respond="part")
gate.route("/", to={origin.address!r})
""")
    head = f"HTTP/1.1 200 OK\r\nContent-Type: text/html\r\nContent-Length: {len(PAGE)}\r\n\r\n"
    origin.on("/page", raw(head.encode() + PAGE))
    origin.on("/echo", lambda call: call.respond(call.read_body()))
    with open(leaf.chain, "rb") as file:
        key = x509.load_pem_x509_certificate(file.read()).public_key()
    digest = hashlib.sha256(key.public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo)).digest()
    port = gateway.address.rpartition(":")[2]
    arguments = (
        f"--origin-to-force-quic-on=gate.test:{port}",
        f"--ignore-certificate-errors-spki-list={base64.b64encode(digest).decode()}",
        "--host-resolver-rules=MAP gate.test 127.0.0.1",
    )
    with chromium(*arguments) as browser:
        page = browser.new_page()
        page.set_default_timeout(PATIENCE_MS)
        page.goto(f"https://gate.test:{port}/page")
        told = page.evaluate("all()")
    assert told == {"texts": ["part"] * 20, "posted": 100_000, "hops": ["h3"]}


@pytest.mark.filterwarnings("ignore::DeprecationWarning")
def test_curl_sends_and_receives(serve: Serve, authority: Authority, origin: Origin) -> None:
    curl = pytest.importorskip("curl_cffi", reason="no curl with HTTP/3 here; hint: pip install curl_cffi")
    leaf = authority.issue("gate.test")
    gateway = serve(f"""
from headgate import Gateway
gate = Gateway()
gate.listen(LISTEN, tls={{"certificates": [{leaf.files!r}]}}, http3=True)
gate.route("/", to={origin.address!r})
""")
    origin.on("/curl", lambda call: call.respond(call.read_body(), fields=[("X-Method", call.method)]))
    port = gateway.address.rpartition(":")[2]
    body = os.urandom(300_000)
    resolve = {curl.CurlOpt.RESOLVE: [f"gate.test:{port}:127.0.0.1"]}
    with curl.Session(verify=authority.ca, http_version="v3only", curl_options=resolve) as session:
        for _ in range(3):
            response = session.post(f"https://gate.test:{port}/curl", data=body)
            assert (response.status_code, response.http_version) == (200, curl.CurlHttpVersion.V3)
            assert (response.content == body, response.headers["x-method"]) == (True, "POST")
        assert session.head(f"https://gate.test:{port}/curl").status_code == 200
