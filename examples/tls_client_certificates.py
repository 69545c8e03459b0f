"""TLS by name, and one port where some URLs are open and all others want a client certificate.

`certs/live` holds the certificates (`NAME.pem` with its key), `certs/clients-ca.pem` whom clients are trusted from.
To try it, make an authority, a certificate for localhost and one for a client (`curl --cert certs/me.pem`):

    mkdir -p certs/live && cd certs
    new="openssl req -newkey rsa:2048 -nodes -days 90"
    $new -x509 -subj /CN=clients -keyout ca.key -out clients-ca.pem
    $new -x509 -subj /CN=me -addext subjectAltName=DNS:localhost -keyout live/localhost.key -out live/localhost.pem
    $new -subj /CN=me -keyout me.key -out me.csr
    openssl x509 -req -days 90 -in me.csr -CA clients-ca.pem -CAkey ca.key -CAcreateserial -out me.pem
"""

import os

from headgate import Gateway, Request, Response, Tls

CERTS = os.environ.get("CERTS", "certs")

gate = Gateway()
gate.listen(
    os.environ.get("LISTEN", ":8443"),
    tls=Tls(
        certificates=f"{CERTS}/live",  # whatever lies there, chosen by the name a client asks for
        unknown_names="refuse",
        client_certificates={"mode": "routes", "ca": f"{CERTS}/clients-ca.pem"},
    ),
)
gate.forwarding(client_certificate={"x-client-verdict": "verdict", "x-client-subject": "subject"})
shop = gate.upstream("shop", os.environ.get("ORIGIN", "127.0.0.1:9000"))

gate.route("/health", respond="fine\n", client_certificate="any")
gate.route("/public/*", to=shop, client_certificate="any")
gate.route("/", to=shop)  # 400 without a valid certificate


@gate.route("/admin/*", to=shop)
def admins_only(request: Request) -> Response | None:
    shown = request.client_certificate  # valid, else this hook were not asked
    if shown is None or "DNS:admin.example.com" not in shown.names:
        return Response(403, "for administrators\n")
    return None
