"""TLS carried on by its server name, without being decrypted."""

import os

from headgate import Gateway

gate = Gateway()
gate.listen_tcp(os.environ.get("BENCH_SNI", "127.0.0.1:22019"), tls_passthrough=True)
gate.tls_route("localhost", to=os.environ.get("BENCH_SECURE_ORIGIN", "127.0.0.1:21001"))
