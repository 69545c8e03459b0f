"""HTTP/2 with clients, with TLS and without, and with servers: one connection for many requests."""

from headgate import Gateway, Tls

gate = Gateway()

# without TLS it is told by a connection's first bytes (h2c); HTTP/1.1 is served on the same port
gate.listen("127.0.0.1:8080")
# with TLS the handshake tells (ALPN): h2 first, HTTP/1.1 for whoever has no other
gate.listen("127.0.0.1:8443", tls=Tls(local=["localhost"], alpn=["h2", "http/1.1"]))

gate.http2(max_concurrent_streams=100, max_resets=200, max_control_frames=500, max_age="30m")

api = gate.upstream(
    "api",
    "127.0.0.1:9001",
    "127.0.0.1:9002",
    protocol="h2",
    keepalive={"ping": "10s", "max_requests": 100_000},
)
gate.route("/api/*", to=api)
gate.route("/", respond="try: curl --http2-prior-knowledge http://127.0.0.1:8080/\n")
