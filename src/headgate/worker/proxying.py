"""The gateway behind `headgate proxy`: one listener, one upstream, one route.

How it works: `gateway` is the truth, and takes 150 ms, most of it for building the configuration's model. A
command that must be ready at once cannot wait for that, so `proxy.json` beside this file holds what the model
made of a sample; `quick` puts the addresses into it. A test holds the two equal; `python -m
headgate.worker.proxying` writes the file anew.
"""

import json
import os
from typing import TYPE_CHECKING

from headgate.config.addresses import LISTED, parse_listen_address, parse_server_address
from headgate.control.messages import ProxyArguments
from headgate.worker.loaded import Loaded

if TYPE_CHECKING:
    from headgate.gateway import Gateway

SAMPLE = ProxyArguments(listen=":8080", to=["localhost:9000"], access_log="json")
FOUND = ("srv:", *LISTED)
"""How servers begin that a process beside the workers finds."""
PREPARED = os.path.join(os.path.dirname(__file__), "proxy.json")


def gateway(arguments: ProxyArguments) -> "Gateway":
    """The gateway that `arguments` (`listen`, `to`, `access_log`) describe; raises ConfigError."""
    from headgate.config.errors import ConfigError
    from headgate.gateway import Gateway

    for server in arguments.to:
        if server.startswith(FOUND):
            raise ConfigError(
                f"`{server}` needs a configuration file",
                hint=f'write `upstreams: {{app: "{server}"}}` in one, and `headgate run` it',
            )
    gate = Gateway()
    address, names = listen_address(arguments.listen)
    gate.listen(address, tls={"local": names} if names else None)
    gate.route("/", to=gate.upstream("proxy", *arguments.to))
    if arguments.access_log:
        gate.access_log(arguments.access_log)
    return gate


def listen_address(text: str) -> tuple[str, list[str]]:
    """`https://localhost:8443` as the address to listen on and the names to certify; none without TLS."""
    scheme, separator, rest = text.partition("://")
    if not separator:
        return text, []
    try:
        address = str(parse_server_address(text)).removeprefix("https://")
    except ValueError:
        from headgate.config.errors import ConfigError

        raise ConfigError(
            f"`{text}` is not an address to listen on",
            hint="write `:8080`, `https://localhost:8443` or `https://example.com`",
        ) from None
    host = rest.rpartition(":")[0] if ":" in rest else rest
    if scheme.lower() != "https":
        return address, []
    bare = host.strip("[]")
    local = ["localhost", "127.0.0.1", "::1"]
    # `https://:8443` is every address of the machine, as `:8443` is
    return (address if bare else f":{address.rpartition(':')[2]}"), list(
        dict.fromkeys([*([bare] if bare else []), *local])
    )


def quick(arguments: ProxyArguments) -> Loaded | None:
    """The same from the prepared file; None if `arguments` ask for more than plain addresses. Raises
    ConfigError."""
    access_log = arguments.access_log
    plain = all(" " not in one and not one.startswith(("https:", *FOUND)) for one in arguments.to)
    if not plain or "://" in arguments.listen or access_log not in (None, "json", "combined"):
        return None
    with open(PREPARED, "rb") as file:
        prepared = json.load(file)
    snapshot = prepared["snapshot"]
    server = snapshot["upstreams"][0]["servers"][0]
    snapshot["upstreams"][0]["servers"] = [
        {**server, "address": str(parse_server_address(address))} for address in arguments.to
    ]
    snapshot["access_log"] = {**snapshot["access_log"], "format": access_log} if access_log else None
    return Loaded(
        snapshot=json.dumps(snapshot, ensure_ascii=False),
        hooks=(),
        listeners=[str(parse_listen_address(arguments.listen))],
        workers=None,
        drain_s=prepared["drain_s"],
        log_format=prepared["log_format"],
        log_level=prepared["log_level"],
        startup=(),
        shutdown=(),
    )


def prepare() -> str:
    """What `proxy.json` should hold."""
    from headgate.worker.loaded import compiled

    made = compiled(gateway(SAMPLE))
    content = {
        "snapshot": json.loads(made.snapshot),
        "drain_s": made.drain_s,
        "log_format": made.log_format,
        "log_level": made.log_level,
    }
    return json.dumps(content, indent=1) + "\n"


if __name__ == "__main__":
    with open(PREPARED, "w") as file:
        file.write(prepare())
