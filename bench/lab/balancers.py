"""Gateways before several servers: headgate, nginx, HAProxy and Envoy, each as a command with its file written."""

import json
import os
import sys
from pathlib import Path

from .place import PEERS_VENV

HEADGATE = Path(os.environ.get("HEADGATE_COMMAND") or Path(sys.executable).parent / "headgate")
EXTENSIONS = "type.googleapis.com/envoy.extensions.filters"


def headgate(folder: Path, port: int, servers: list[str], **upstream: object) -> list[str]:
    """The command of a headgate with one worker."""
    whole = {
        "listeners": f"127.0.0.1:{port}",
        "workers": 1,
        "upstreams": {"u": {"servers": servers, **upstream}},
        "routes": [{"path": "/*", "to": "u"}],
    }
    file = folder / f"gate-{port}.json"
    file.write_text(json.dumps(whole))
    return [str(HEADGATE), "run", str(file)]


def nginx(folder: Path, port: int, servers: list[str]) -> list[str]:
    """The same in front of these servers."""
    listed = "".join(f"server {one};" for one in servers)
    file = folder / f"nginx-{port}.conf"
    file.write_text(f"""
daemon off; master_process off; pid {folder}/nginx-{port}.pid; error_log {folder}/nginx.log crit;
worker_rlimit_nofile 20000;
events {{ worker_connections 9000; }}
http {{
  access_log off; client_body_temp_path {folder}/b; proxy_temp_path {folder}/p; fastcgi_temp_path {folder}/f;
  uwsgi_temp_path {folder}/u; scgi_temp_path {folder}/s; keepalive_requests 10000000;
  upstream u {{ {listed} keepalive 4096; keepalive_requests 10000000; }}
  server {{ listen 127.0.0.1:{port};
    location / {{ proxy_pass http://u; proxy_http_version 1.1; proxy_set_header Connection ""; }} }}
}}""")
    return ["nginx", "-c", str(file)]


def haproxy(
    folder: Path, port: int, servers: list[str], balance: str = "roundrobin", check: str = "check inter 1s"
) -> list[str]:
    """The same."""
    listed = "\n".join(f"  server s{n} {one} {check}" for n, one in enumerate(servers))
    file = folder / f"haproxy-{port}-{balance.partition('(')[0]}.cfg"
    file.write_text(f"""
global
  nbthread 1
defaults
  mode http
  timeout connect 5s
  timeout client 30s
  timeout server 30s
  retries 3
  option redispatch 1
  retry-on all-retryable-errors
listen u
  bind 127.0.0.1:{port}
  balance {balance}
  http-reuse always
{listed}
""")
    return ["haproxy", "-f", str(file)]


def envoy(folder: Path, port: int, servers: list[str], policy: str = "ROUND_ROBIN") -> list[str]:
    """The same."""
    endpoints = [
        {
            "endpoint": {
                "address": {"socket_address": {"address": host, "port_value": int(at)}},
            }
        }
        for host, _, at in (one.partition(":") for one in servers)
    ]
    retry = {"retry_on": "connect-failure,reset,refused-stream", "num_retries": 1}
    route = {"match": {"prefix": "/"}, "route": {"cluster": "u", "retry_policy": retry}}
    connections = {
        "@type": f"{EXTENSIONS}.network.http_connection_manager.v3.HttpConnectionManager",
        "stat_prefix": "in",
        "route_config": {"virtual_hosts": [{"name": "u", "domains": ["*"], "routes": [route]}]},
        "http_filters": [
            {
                "name": "envoy.filters.http.router",
                "typed_config": {"@type": f"{EXTENSIONS}.http.router.v3.Router"},
            }
        ],
    }
    chain = {
        "filters": [{"name": "envoy.filters.network.http_connection_manager", "typed_config": connections}]
    }
    listener = {
        "address": {"socket_address": {"address": "127.0.0.1", "port_value": port}},
        "filter_chains": [chain],
    }
    cluster = {
        "name": "u",
        "connect_timeout": "5s",
        "lb_policy": policy,
        "circuit_breakers": {
            "thresholds": [{"max_requests": 10000, "max_connections": 10000, "max_retries": 100}]
        },
        "load_assignment": {"cluster_name": "u", "endpoints": [{"lb_endpoints": endpoints}]},
    }
    file = folder / f"envoy-{port}-{policy}.json"
    file.write_text(json.dumps({"static_resources": {"listeners": [listener], "clusters": [cluster]}}))
    return [find("envoy"), "-c", str(file), "--concurrency", "1", "--use-dynamic-base-id", "-l", "error"]


def find(program: str) -> str:
    """Where it is, or its name."""
    beside = PEERS_VENV / "bin" / program
    return str(beside) if beside.exists() else program
