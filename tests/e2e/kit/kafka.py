"""A real Kafka 4.1 (KRaft, one node), whose jars Maven fetches once into a cache folder."""

from __future__ import annotations

import contextlib
import os
import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

from .net import free_port
from .pki import Authority
from .services import HINT, wait_for_port

VERSION = "4.1.0"
USER, PASSWORD = "gate", "hush-kafka"
_POM = f"""
<project xmlns="http://maven.apache.org/POM/4.0.0">
  <modelVersion>4.0.0</modelVersion><groupId>test</groupId><artifactId>test</artifactId><version>1</version>
  <dependencies><dependency>
    <groupId>org.apache.kafka</groupId><artifactId>kafka_2.13</artifactId><version>{VERSION}</version>
  </dependency><dependency>
    <groupId>org.slf4j</groupId><artifactId>slf4j-simple</artifactId><version>1.7.36</version>
  </dependency></dependencies>
</project>
"""


class Kafka(NamedTuple):
    """Where it listens: without and with a user's password, over TLS, and over TLS with the password."""

    port: int
    sasl_port: int
    tls_port: int
    sasl_tls_port: int
    ca: str
    """The file of the authority that has signed its certificate."""


def java_and_maven() -> bool:
    """Whether it can be had here."""
    return bool(shutil.which("java") and shutil.which("mvn"))


def jars() -> Path:
    """The folder of its jars; raises `RuntimeError` where Maven cannot fetch them."""
    cache = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache")
    folder = cache / "headgate-tests" / f"kafka-{VERSION}"
    if not (folder / "complete").exists():
        folder.mkdir(parents=True, exist_ok=True)
        (folder / "pom.xml").write_text(_POM)
        goal = ["dependency:copy-dependencies", f"-DoutputDirectory={folder}", "-DincludeScope=runtime"]
        fetched = subprocess.run(
            ["mvn", "-q", "-B", "-f", str(folder / "pom.xml"), *goal],
            capture_output=True,
            text=True,
            timeout=600,
        )
        if fetched.returncode:
            raise RuntimeError(f"Maven cannot fetch Kafka: {fetched.stdout[-2000:]}; {HINT}")
        (folder / "complete").touch()
    return folder


@contextlib.contextmanager
def kafka(folder: Path, port: int | None = None) -> Iterator[Kafka]:
    """A broker with its data in the folder, which may have been there before."""
    authority = Authority(folder / "pki")
    leaf = authority.issue("127.0.0.1", rsa_key=True)
    keys = folder / "server.pem"
    keys.write_text(Path(leaf.key).read_text() + Path(leaf.chain).read_text())
    at = Kafka(port or free_port(), free_port(), free_port(), free_port(), authority.ca)
    controller = free_port()
    public = ",".join(
        f"{name}://127.0.0.1:{one}"
        for name, one in zip(("PLAINTEXT", "SASL_PLAINTEXT", "SSL", "SASL_SSL"), at[:4], strict=True)
    )
    login = "org.apache.kafka.common.security.plain.PlainLoginModule"
    (folder / "server.properties").write_text(
        f"""
process.roles=broker,controller
node.id=1
controller.quorum.voters=1@127.0.0.1:{controller}
listeners={public},CONTROLLER://127.0.0.1:{controller}
advertised.listeners={public}
controller.listener.names=CONTROLLER
listener.security.protocol.map=CONTROLLER:PLAINTEXT,PLAINTEXT:PLAINTEXT,SASL_PLAINTEXT:SASL_PLAINTEXT,SSL:SSL,SASL_SSL:SASL_SSL
ssl.keystore.type=PEM
ssl.keystore.location={keys}
inter.broker.listener.name=PLAINTEXT
sasl.enabled.mechanisms=PLAIN
listener.name.sasl_plaintext.plain.sasl.jaas.config={login} required user_{USER}="{PASSWORD}";
listener.name.sasl_ssl.plain.sasl.jaas.config={login} required user_{USER}="{PASSWORD}";
log.dirs={folder / "data"}
num.partitions=1
message.max.bytes=4096
offsets.topic.replication.factor=1
transaction.state.log.replication.factor=1
transaction.state.log.min.isr=1
"""
    )
    java = [
        "java",
        "-Xmx256m",
        "-XX:+UseSerialGC",
        "-Dorg.slf4j.simpleLogger.defaultLogLevel=warn",
        "-cp",
        f"{jars()}/*",
    ]
    if not (folder / "data").exists():
        formatted = ["-t", "MkU3OEVBNTcwNTJENDM2Qg", "-c", str(folder / "server.properties")]
        subprocess.run(
            [*java, "kafka.tools.StorageTool", "format", *formatted],
            check=True,
            capture_output=True,
            timeout=120,
        )
    with (folder / "kafka.log").open("ab") as log:
        process = subprocess.Popen(
            [*java, "kafka.Kafka", str(folder / "server.properties")], stdout=log, stderr=log
        )
    try:
        wait_for_port(at.port, process, folder / "kafka.log", within=150)
        yield at
    finally:
        process.terminate()
        try:
            process.wait(timeout=30)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()
