"""10,000 routes (1,000 hosts x 10 prefixes) for each peer, and the wrk script that walks them."""

import random

from .place import RUN

HOSTS, PREFIXES = 1000, 10
TABLE = {f"h{host}.example.test": [f"/r{prefix}/" for prefix in range(PREFIXES)] for host in range(HOSTS)}
WALK = """local requests, i = {}, 0
function init(args)
  for line in io.lines("%s/routes.txt") do
    local host, prefix = line:match("(%%S+) (%%S+)")
    local head = "GET " .. prefix .. "x HTTP/1.1\\r\\nHost: " .. host
    requests[#requests + 1] = head .. "\\r\\nX-User: me\\r\\n\\r\\n"
  end
end
function request() i = i %% #requests + 1; return requests[i] end
"""


def pairs() -> list[tuple[str, str]]:
    """All (host, prefix), shuffled the same way each time."""
    listed = [(host, prefix) for host, prefixes in TABLE.items() for prefix in prefixes]
    random.Random(1).shuffle(listed)
    return listed


def nginx() -> None:
    """nginx.conf with one server a host and one location a prefix."""
    head, _, _ = (RUN / "nginx.conf").read_text().partition("  ssl_protocols")
    head = head.replace("nginx.pid", "nginx-routes.pid").replace("nginx.err", "nginx-routes.err")
    head = head.replace("http {", "http {\n  server_names_hash_max_size 8192;", 1)
    lines, options = [], " backlog=4096"  # backlog may be given once a port
    for host, prefixes in TABLE.items():
        locations = "".join(f" location {prefix} {{ proxy_pass http://origin; }}" for prefix in prefixes)
        lines.append(f"  server {{ listen 127.0.0.1:21013{options}; server_name {host};{locations} }}\n")
        options = ""
    (RUN / "nginx-routes.conf").write_text(head + "".join(lines) + "}\n")


def haproxy() -> None:
    """haproxy.cfg with a map from host and path to the backend."""
    (RUN / "haproxy-routes.map").write_text("".join(f"{host}{prefix} b\n" for host, prefix in pairs()))
    base = (RUN / "haproxy.cfg").read_text().splitlines()
    kept = "\n".join(
        line for line in base if "bind 127.0.0.1:2102" not in line and "stats socket" not in line
    )
    kept = kept.replace("frontend f", "frontend f\n  bind 127.0.0.1:21023 backlog 4096")
    choice = f"use_backend %[base,map_beg({RUN}/haproxy-routes.map)]"
    (RUN / "haproxy-routes.cfg").write_text(kept.replace("default_backend b", choice) + "\n")


def envoy() -> None:
    """Envoy's route configuration with one virtual host a host."""
    head, _, _ = (RUN / "envoy-rds.yaml").read_text().partition("  virtual_hosts:")
    lines = ["  virtual_hosts:\n"]
    for host, prefixes in TABLE.items():
        entries = ", ".join(
            f'{{ match: {{ prefix: "{prefix}" }}, route: {{ cluster: origin, timeout: 300s }} }}'
            for prefix in prefixes
        )
        lines.append(f"  - {{ name: {host}, domains: [ {host} ], routes: [ {entries} ] }}\n")
    (RUN / "envoy-rds-routes.yaml").write_text(head + "".join(lines))
    plain, _, rest = (RUN / "envoy.yaml").read_text().partition("  - name: rsa")
    whole = plain + rest[rest.index("  clusters:") :]
    whole = whole.replace("21030", "21033").replace("21039", "21038")
    (RUN / "envoy-routes.yaml").write_text(whole.replace("envoy-rds.yaml", "envoy-rds-routes.yaml"))


def caddy() -> None:
    """A Caddyfile with one site a host."""
    base = (RUN / "Caddyfile").read_text()
    top = base[base.index("{") : base.index("(origin)")].replace("21049", "21048")
    snippet = base[base.index("(origin)") : base.index("http://:21040")].replace("(origin)", "&(origin)", 1)
    sites = []
    for host, prefixes in TABLE.items():
        handles = "".join(f"\thandle {prefix}* {{\n\t\tinvoke origin\n\t}}\n" for prefix in prefixes)
        sites.append(f"http://{host}:21043 {{\n\tbind 127.0.0.1\n{handles}}}\n")
    (RUN / "Caddyfile-routes").write_text(top + snippet + "".join(sites))


def traefik() -> None:
    """Traefik's file provider with one router a route."""
    static = "".join(
        f"{line}\n" for line in (RUN / "traefik.yml").read_text().splitlines() if " rsa:" not in line
    )
    static = static.replace("21050", "21053").replace("traefik-dynamic.yml", "traefik-routes-dynamic.yml")
    (RUN / "traefik-routes.yml").write_text(static)
    lines = ["http:\n  routers:\n"]
    for host, prefix in pairs():
        name = host.partition(".")[0] + prefix.replace("/", "")
        lines.append(f'    {name}: {{ rule: "Host(`{host}`) && PathPrefix(`{prefix}`)", service: origin }}\n')
    server = '{ loadBalancer: { servers: [ { url: "http://127.0.0.1:21000" } ] } }'
    lines.append(f"  services:\n    origin: {server}\n")
    (RUN / "traefik-routes-dynamic.yml").write_text("".join(lines))


def write() -> None:
    """Writes routes.txt (host prefix), routes.lua for wrk and each peer's configuration."""
    (RUN / "routes.txt").write_text("".join(f"{host} {prefix}\n" for host, prefix in pairs()))
    (RUN / "routes.lua").write_text(WALK % RUN)
    for peer in (nginx, haproxy, envoy, caddy, traefik):
        peer()
