"""Redirects and fixed responses: all in the engine, no hook."""

from headgate import Gateway

gate = Gateway()
gate.listen("127.0.0.1:8080")

gate.route("/", host="www.example.com", redirect="https://example.com{target}")
gate.route("/blog/{slug}", redirect={"location": "/articles/{slug}", "status": 301})
gate.route("=/healthz", respond="ok\n")
gate.route("=/robots.txt", respond="User-agent: *\nDisallow: /private/\n")
gate.route("/private/*", respond={"status": 403, "body": "not for you\n"})
gate.route("/", to="127.0.0.1:9000")
