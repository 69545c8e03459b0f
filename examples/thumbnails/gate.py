"""A thumbnail service: POST an image to /thumbnails/200 for a JPEG of at most 200 x 200 pixels.

    export PULL_TOKEN=$(openssl rand -hex 32)
    headgate run gate.py
    python worker.py            # as often as you like, on any machine
    curl --data-binary @photo.jpg localhost:8080/thumbnails/200 > small.jpg

Small images take milliseconds and large ones seconds, so each goes to the worker that is idle first. Making a thumbnail
twice is harmless: if a worker dies, another one gets its image, if that has at most 1 MiB.
"""

import os

from headgate import Gateway

gate = Gateway()
gate.listen(os.environ.get("LISTEN", "127.0.0.1:8080"))
gate.limits(max_body_bytes="50m")
thumbnails = gate.upstream(
    "thumbnails",
    balance="pull",
    pull={
        "tokens": "env:PULL_TOKEN",
        "at_least_once": True,
        "queue": 200,
        "wait": "10s",
        "fair_by": "client",
        "status_path": "/queue",
    },
)
gate.route("/thumbnails/{size}", to=thumbnails, methods="POST")
gate.route("/queue", to=thumbnails)  # for autoscalers; give it an allow list
gate.route("/_workers", to=thumbnails)  # where workers connect
