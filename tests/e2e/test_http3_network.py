"""HTTP/3 and what networks and systems do to packets: loss in long handshakes, marks, offloading that is refused."""

import shutil
import socket
import subprocess
from pathlib import Path
from typing import Any

import pytest
from e2e.kit import Origin, Serve
from e2e.kit.http3 import Http3Client
from e2e.kit.http3_server import Http3Request, Http3Server
from e2e.kit.lossy import lossy
from e2e.kit.pki import Authority, Leaf
from e2e.kit.quic import frames_seen

ECT0, CE = 2, 3
ACK_WITH_COUNTS = 0x03
IP_RECVTOS = 13
BODY = b"b" * 600_000

GATE = """
from headgate import Gateway
gate = Gateway()
gate.listen(LISTEN, tls={{"certificates": [{files!r}]}}, http3=True)
gate.route("/large", respond="b" * {size})
gate.route("/", to={origin!r})
"""


def text(leaf: Leaf, origin: Origin) -> str:
    return GATE.format(files=leaf.files, size=len(BODY), origin=origin.address)


def test_long_chain_gets_through_a_network_that_loses_a_fifth(
    serve: Serve, authority: Authority, origin: Origin, tmp_path: Path
) -> None:
    leaf = authority.issue("gate.test")
    others = [authority.issue(f"{number}.long-chain.test", rsa_key=True) for number in range(20)]
    chain = tmp_path / "long.pem"
    chain.write_text("".join(Path(one.chain).read_text() for one in (leaf, *others)))
    assert chain.stat().st_size * 3 // 4 > 12_000
    gateway = serve(text(Leaf(leaf.certificate, leaf.private_key, str(chain), leaf.key), origin))
    lost = 0
    for seed in range(8):
        with (
            lossy(gateway.address, loss=0.2, reorder=0.05, seed=seed) as network,
            Http3Client(network.address, authority.ca, timeout=45) as client,
        ):
            assert client.terminated is None
            assert client.get("/seen").status == 200
            lost += network.lost
    assert lost > 20


class Marked:
    """A client's socket that sends with a mark of congestion, and notes with which ones it receives."""

    def __init__(self, plain: socket.socket, mark: int) -> None:
        plain.setsockopt(socket.IPPROTO_IP, socket.IP_TOS, mark)
        plain.setsockopt(socket.IPPROTO_IP, IP_RECVTOS, 1)
        self.plain = plain
        self.seen: list[int] = []

    def recvfrom(self, size: int) -> tuple[bytes, Any]:
        data, told, _, sender = self.plain.recvmsg(size, socket.CMSG_SPACE(4))
        self.seen += [value[0] & 3 for level, kind, value in told if (level, kind) == (0, socket.IP_TOS)]
        return data, sender

    def __getattr__(self, name: str) -> Any:
        return getattr(self.plain, name)


class MarkingClient(Http3Client):
    """Sends its packets with a mark, from the first one on."""

    mark = ECT0

    def flush(self) -> None:
        """See `Http3Client`."""
        if not isinstance(self.socket, Marked):
            self.socket = Marked(self.socket, self.mark)  # type: ignore[assignment]
        super().flush()


@pytest.mark.parametrize("mark", [ECT0, CE])
def test_marks_of_congestion_are_set_and_told(
    serve: Serve, authority: Authority, origin: Origin, mark: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(MarkingClient, "mark", mark)
    gateway = serve(text(authority.issue("gate.test"), origin))
    with MarkingClient(gateway.address, authority.ca) as client:
        seen = frames_seen(client)
        assert client.get("/seen").status == 200
        client.until(lambda: ACK_WITH_COUNTS in seen, "an ACK that counts marks")
        marks = client.socket.seen  # type: ignore[attr-defined]
        # RFC 9000 section 13.4.2.2: no longer to a peer that does not count them
        assert (marks[0], marks[-1]) == (ECT0, 0)


PRELOADED = r"""
#define _GNU_SOURCE
#include <dlfcn.h>
#include <errno.h>
#include <fcntl.h>
#include <netinet/in.h>
#include <netinet/ip.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

/* Refuses datagrams that are to be cut (UDP_SEGMENT) or marked, as interfaces do whatever their kernel has promised. */
ssize_t sendmsg(int fd, const struct msghdr *message, int flags) {
    static ssize_t (*real)(int, const struct msghdr *, int);
    static int calls;
    if (!real) real = dlsym(RTLD_NEXT, "sendmsg");
    const char *what = getenv("REFUSED"), *noted = getenv("REFUSALS");
    struct msghdr *given = (struct msghdr *)message;
    for (struct cmsghdr *one = CMSG_FIRSTHDR(given); what && one; one = CMSG_NXTHDR(given, one)) {
        int cut = one->cmsg_level == 17 && one->cmsg_type == 103;
        int marked = one->cmsg_level == IPPROTO_IP && one->cmsg_type == IP_TOS && *(int *)CMSG_DATA(one);
        int is_meant = strstr(what, "marks") ? marked : cut;
        if (!is_meant) continue;
        calls++;
        if (strstr(what, "once") && calls > 1) continue;
        if (strstr(what, "later") && calls < 20) continue;
        int note = open(noted, O_WRONLY | O_CREAT | O_APPEND, 0600);
        if (note >= 0) { (void)!write(note, "x", 1); close(note); }
        errno = strstr(what, "EINVAL") ? EINVAL : EIO;
        return -1;
    }
    return real(fd, message, flags);
}
"""


@pytest.fixture(scope="module")
def refusing(tmp_path_factory: pytest.TempPathFactory) -> str:
    """A library that stands between the gateway and the system."""
    compiler = shutil.which("cc")
    if compiler is None:
        pytest.skip("no C compiler here; hint: install `cc`")
    folder = tmp_path_factory.mktemp("preloaded")
    (folder / "refusing.c").write_text(PRELOADED)
    made = folder / "refusing.so"
    subprocess.run([compiler, "-shared", "-fPIC", "-o", made, folder / "refusing.c", "-ldl"], check=True)
    return str(made)


REFUSALS = [
    "cut EIO once",
    "cut EIO later",
    "cut EIO",
    "cut EINVAL later",
    "cut EINVAL",
    "marks EIO",
    "marks EINVAL",
]


@pytest.mark.parametrize("refused", REFUSALS)
def test_what_the_system_refuses_to_cut_or_mark_is_sent_plainly(
    serve: Serve, authority: Authority, origin: Origin, refusing: str, tmp_path: Path, refused: str
) -> None:
    noted = tmp_path / "refusals"
    environment = {"LD_PRELOAD": refusing, "REFUSED": refused, "REFUSALS": str(noted)}
    events = tmp_path / "qlog"
    told = text(authority.issue("gate.test"), origin) + f"gate.http3(qlog={str(events)!r})\n"
    gateway = serve(told, environment=environment)
    with Http3Client(gateway.address, authority.ca, window=20_000) as client:
        # so that nothing is lost there
        client.socket.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 8 << 20)
        for _ in range(3):
            assert client.get("/large").body == BODY
    assert noted.stat().st_size > 0
    gateway.stop()
    told = "".join(one.read_text() for one in events.iterdir())
    assert "packet_sent" in told
    assert "packet_lost" not in told, "what was refused was sent again at once"


def test_servers_get_what_the_system_refuses_to_cut(
    serve: Serve, authority: Authority, refusing: str, tmp_path: Path
) -> None:
    noted = tmp_path / "refusals"

    def respond(request: Http3Request) -> None:
        request.respond(str(len(request.body)).encode())

    with Http3Server(authority.issue("app.test"), respond) as server:
        upstream = {"servers": f"https://{server.address}", "protocol": "h3"}
        upstream["tls"] = {"ca": str(authority.ca), "server_name": "app.test"}  # type: ignore[assignment]
        gateway = serve(
            {"upstreams": {"app": upstream}, "routes": [{"to": "app"}]},
            environment={"LD_PRELOAD": refusing, "REFUSED": "cut EIO", "REFUSALS": str(noted)},
        )
        assert gateway.post("/upload", BODY).body == str(len(BODY)).encode()
        assert noted.stat().st_size > 0
