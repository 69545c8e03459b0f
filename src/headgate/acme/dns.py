"""DNS-01 records: written by dynamic update (RFC 2136) or by a provider's API, and seen before the authority looks.

Values are added and removed one by one: an apex and its wildcard need two records at one name. A name that is a CNAME
is followed, so that a zone may delegate its challenges to another.
"""

from __future__ import annotations

import time
from typing import Any, Protocol, cast

import dns.exception
import dns.name
import dns.query
import dns.rcode
import dns.resolver
import dns.tsigkeyring
import dns.update

from headgate._digits import whole_number
from headgate.config.acme import AcmeDnsConfig

TTL = 60
"""Of a record, in seconds."""


class DnsError(Exception):
    """A record could not be written or is not to be seen."""


class DnsRecords(Protocol):
    """Where TXT records are written. Methods block and raise `DnsError`."""

    def add(self, name: str, value: str) -> None:
        """Adds a value at a name, beside others, and returns once every name server shows it."""

    def remove(self, name: str, value: str) -> None:
        """Removes that value alone."""


def records_of(config: AcmeDnsConfig) -> DnsRecords:
    """The records of a provider."""
    options = {name: value.get_secret_value() for name, value in config.options.items()}
    if config.provider == "rfc2136":
        return DynamicUpdate(config, options)
    return Lexicon(config, options)


class DynamicUpdate:
    """Updates of a DNS server's zone (RFC 2136), signed with TSIG (RFC 8945) where a key is given."""

    def __init__(self, config: AcmeDnsConfig, options: dict[str, str]) -> None:
        try:
            self._server, self._zone = options["server"], options["zone"]
        except KeyError as error:
            raise DnsError(f"`acme.dns.options` of `rfc2136` lacks `{error.args[0]}`") from None
        self._config = config
        port = whole_number(options.get("port", "53"))
        if port is None or not 0 < port < 65536:
            raise DnsError(f"`{options['port']}` in `acme.dns.options` is not a valid port; hint: write `53`")
        self._port = port
        self._algorithm = options.get("key_algorithm", "hmac-sha256")
        name, secret = options.get("key_name"), options.get("key_secret")
        self._keys = dns.tsigkeyring.from_text({name: secret}) if name and secret else None

    def add(self, name: str, value: str) -> None:
        """See `DnsRecords`."""
        at = followed(name, self._config.servers)
        update = self._update()
        update.add(_absolute(at), TTL, "TXT", f'"{value}"')
        self._send(update)
        servers = self._config.servers or (f"{self._server}:{self._port}",)
        wait_for(at, value, servers, self._config.wait)

    def remove(self, name: str, value: str) -> None:
        """See `DnsRecords`."""
        update = self._update()
        update.delete(_absolute(followed(name, self._config.servers)), "TXT", f'"{value}"')
        self._send(update)

    def _update(self) -> dns.update.UpdateMessage:
        return dns.update.UpdateMessage(self._zone, keyring=self._keys, keyalgorithm=self._algorithm)

    def _send(self, update: dns.update.UpdateMessage) -> None:
        try:
            reply = dns.query.tcp(update, self._server, timeout=10, port=self._port)
        except (OSError, dns.exception.DNSException) as error:
            raise DnsError(f"dynamic update of `{self._zone}` at {self._server}: {error}") from error
        if reply.rcode() != dns.rcode.NOERROR:
            raise DnsError(
                f"dynamic update of `{self._zone}` at {self._server}: {dns.rcode.to_text(reply.rcode())}"
            )


class Lexicon:
    """A provider's API, through dns-lexicon."""

    def __init__(self, config: AcmeDnsConfig, options: dict[str, str]) -> None:
        self._config, self._options = config, options

    def add(self, name: str, value: str) -> None:
        """See `DnsRecords`."""
        at = followed(name, self._config.servers)
        self._run("create_record", at, value)
        wait_for(at, value, self._config.servers or zone_servers(at), self._config.wait)

    def remove(self, name: str, value: str) -> None:
        """See `DnsRecords`."""
        self._run("delete_record", followed(name, self._config.servers), value)

    def settings(self, name: str) -> dict[str, Any]:
        """What dns-lexicon is told for a name."""
        zone = self._options.get("zone")
        provider = self._config.provider
        told = {"provider_name": provider, "domain": zone or name, provider: self._options}
        # else what is below a registered domain would be sought in that
        return {**told, "delegated": zone} if zone else told

    def _run(self, method: str, name: str, value: str) -> None:
        from lexicon.client import Client
        from lexicon.config import ConfigResolver

        try:
            with Client(cast(Any, ConfigResolver)().with_dict(self.settings(name))) as operations:
                if method == "create_record":
                    operations.create_record("TXT", name, value)
                else:
                    operations.delete_record(rtype="TXT", name=name, content=value)
        except Exception as error:  # each provider raises its own
            raise DnsError(f"provider `{self._config.provider}`: {error}") from error


def followed(name: str, servers: tuple[str, ...]) -> str:
    """Where the CNAMEs of a name lead, at most eight; the name itself where it has none."""
    for _ in range(8):
        try:
            found = _resolver(servers).resolve(_absolute(name), "CNAME", raise_on_no_answer=False)
        except (dns.exception.DNSException, OSError):
            return name
        if not found.rrset:
            return name
        name = found.rrset[0].target.to_text(omit_final_dot=True)
    raise DnsError(f"the CNAMEs of `{name}` lead too far")


def zone_servers(name: str) -> tuple[str, ...]:
    """The addresses of every authoritative name server of a name's zone."""
    try:
        zone = dns.resolver.zone_for_name(_absolute(name))
        names = [one.target for one in dns.resolver.resolve(zone, "NS")]
        return tuple(one.address for server in names for one in dns.resolver.resolve(server, "A"))
    except dns.exception.DNSException as error:
        raise DnsError(f"the name servers of `{name}`: {error}") from error


def wait_for(name: str, value: str, servers: tuple[str, ...], seconds: float) -> None:
    """Returns once each of the servers (`HOST`, `HOST:PORT`) shows the value; raises `DnsError` after that time."""
    end = time.monotonic() + seconds
    missing = list(servers)
    while missing:
        missing = [server for server in missing if value not in _values(name, server)]
        if missing and time.monotonic() > end:
            raise DnsError(f"{', '.join(missing)} did not show the record at `{name}` in {seconds:g} s")
        if missing:
            time.sleep(0.5)


def _values(name: str, server: str) -> set[str]:
    try:
        found = _resolver((server,)).resolve(_absolute(name), "TXT", raise_on_no_answer=False)
    except (dns.exception.DNSException, OSError):
        return set()
    return {b"".join(one.strings).decode(errors="replace") for one in found.rrset or ()}


def _resolver(servers: tuple[str, ...]) -> dns.resolver.Resolver:
    if not servers:
        return dns.resolver.Resolver()
    resolver = dns.resolver.Resolver(configure=False)
    resolver.lifetime = 5
    host, _, port = servers[0].rpartition(":")
    resolver.nameservers = [host or port]
    resolver.port = int(port) if host else 53
    return resolver


def _absolute(name: str) -> dns.name.Name:
    return dns.name.from_text(name)
