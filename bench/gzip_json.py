"""What gzip of 5 KB of JSON costs: by library and level, and beside nginx.

    bench/gzip_json.py                the libraries: microseconds and ratio, the least of many rounds
    bench/gzip_json.py --lab          headgate and nginx: CPU microseconds a request, each over itself without gzip

The second needs wrk and nginx: tools/services.sh --bench installs them. CPU 0 runs the gateways, CPU 1 the
origin and wrk.
"""

import argparse
import gzip
import importlib
import os
import re
import statistics
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

from lab import clients, cost
from lab.measure import load
from lab.place import LAB, ORIGIN, RUN
from lab.preparing import origin, prepare, records
from lab.proxies import Program, Proxy

HERE = Path(__file__).resolve().parent
HEADGATE = Path(os.environ.get("HEADGATE_COMMAND") or Path(sys.executable).parent / "headgate")
FIELDS = ("Accept-Encoding: gzip",)
Compress = Callable[[bytes], bytes]


def libraries() -> Iterator[tuple[str, Compress]]:
    """Names and levels, and what compresses; those that are installed."""
    for name, module, levels in (
        ("zlib", "zlib", (1, 2, 4, 6, 9)),
        ("zlib-ng", "zlib_ng.zlib_ng", (1, 2, 4, 6, 9)),
        ("isal", "isal.isal_zlib", (0, 1, 2, 3)),
        ("libdeflate", "deflate", (1, 2, 4, 6, 9)),
    ):
        try:
            library: Any = importlib.import_module(module)
        except ImportError:
            print(f"{name}: not installed", file=sys.stderr)
            continue
        for level in levels:
            yield (
                f"{name} {level}",
                streamed(library, level) if name != "libdeflate" else whole(library, level),
            )


def streamed(library: Any, level: int) -> Compress:
    """As a plugin does it whose body may come in chunks."""

    def compress(data: bytes) -> bytes:
        stream = library.compressobj(level, wbits=31)
        made: bytes = stream.compress(data) + stream.flush()
        return made

    return compress


def whole(library: Any, level: int) -> Compress:
    """For bodies that are whole."""
    return lambda data: bytes(library.gzip_compress(data, level))


def least(compress: Compress, data: bytes) -> float:
    """Microseconds for one, the least of many rounds."""
    found = float("inf")
    for _ in range(30):
        begin = time.thread_time()
        for _ in range(50):
            compress(data)
        found = min(found, (time.thread_time() - begin) / 50 * 1e6)
    return found


def by_library() -> None:
    """The first table."""
    data = records().encode()
    print("| library and level | us | bytes | ratio |\n|---|---|---|---|")
    for name, compress in libraries():
        made = compress(data)
        if gzip.decompress(made) != data:
            raise ValueError(f"{name} does not give back what it got")
        print(f"| {name} | {least(compress, data):.1f} | {len(made)} | {len(data) / len(made):.2f} |")


def gateways() -> dict[str, tuple[Proxy, str, str]]:
    """For each case where it runs, its role, and the case that it is compared with."""
    run = f"run {HERE}/gates/gzipped.py --workers 1"

    def headgate(port: int, level: str) -> Proxy:
        settings = f"BENCH_ORIGIN=127.0.0.1:{ORIGIN} BENCH_GZIP_AT=127.0.0.1:{port} BENCH_GZIP={level}"
        command = f"env {settings} {HEADGATE} {run}"
        return Proxy(f"headgate-{level}", {"plain": port}, [Program(command, ("plain",))])

    roles = ("plain", "one", "six", "three")
    nginx = Proxy(
        "nginx-gzip",
        {role: 21090 + at for at, role in enumerate(roles)},
        [Program(f"nginx -c {RUN}/nginx-gzip.conf", roles)],
    )
    return {
        "nginx": (nginx, "plain", "nginx"),
        "nginx 1": (nginx, "one", "nginx"),
        "nginx 3": (nginx, "three", "nginx"),
        "nginx 6": (nginx, "six", "nginx"),
        "headgate": (headgate(22050, "none"), "plain", "headgate"),
        "headgate 1": (headgate(22051, "1"), "plain", "headgate"),
        "headgate 6": (headgate(22052, "6"), "plain", "headgate"),
    }


def size(proxy: Proxy, role: str) -> int:
    """Bytes of the body as it comes."""
    lines = ("GET /json HTTP/1.1", "Host: localhost", "Connection: close", *FIELDS, "", "")
    data = b""
    with clients.connect(proxy.ports[role]) as connection:
        connection.sendall("\r\n".join(lines).encode())
        while more := connection.recv(65536):
            data += more
    head, _, body = data.partition(b"\r\n\r\n")
    if not re.search(rb"(?i)transfer-encoding: *chunked", head):
        return len(body)
    found = 0
    while (length := int(body.split(b"\r\n", 1)[0], 16)) > 0:
        found += length
        body = body.split(b"\r\n", 1)[1][length + 2 :]
    return found


def beside_nginx(rounds: int, seconds: float) -> None:
    """The second table."""
    LAB.mkdir(parents=True, exist_ok=True)
    prepare()
    cost.PACE.start()
    every = gateways()
    figures: dict[str, list[float]] = {name: [] for name in every}
    started: dict[int, Proxy] = {}
    with origin():
        try:
            for proxy, _, _ in every.values():
                if id(proxy) not in started:
                    started[id(proxy)] = proxy
                    proxy.start(set(proxy.ports))
            sizes = {name: size(proxy, role) for name, (proxy, role, _) in every.items()}
            for number in range(rounds):
                for name, (proxy, role, _) in every.items():
                    figures[name].append(load(proxy, seconds, "/json", role, headers=FIELDS)["norm"])
                print(f"round {number + 1} of {rounds}", file=sys.stderr)
        finally:
            for proxy in started.values():
                proxy.stop()
    print("| gateway and level | CPU us a request | gzip alone | bytes |\n|---|---|---|---|")
    for name, (_, _, against) in every.items():
        pairs = zip(figures[name], figures[against], strict=True)
        alone = statistics.median(one - other for one, other in pairs)
        print(f"| {name} | {statistics.median(figures[name]):.1f} | {alone:.1f} | {sizes[name]} |")


def main() -> None:
    """Measures, and prints a table."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--lab", action="store_true", help="beside nginx")
    parser.add_argument("--rounds", type=int, default=6)
    parser.add_argument("--seconds", type=float, default=2)
    options = parser.parse_args()
    if options.lab:
        beside_nginx(options.rounds, options.seconds)
    else:
        by_library()


if __name__ == "__main__":
    main()
