"""Lets clients in by their addresses: lists of networks, files of them, countries."""

from __future__ import annotations

import importlib
from typing import Any

from pydantic import BaseModel, ConfigDict, Field, field_validator, model_validator

from headgate import ConfigError, Plugin, PluginContext, Request, Response
from headgate.native import Native, Passed, Remember

from ._clients import client_address
from ._networks import NetworkFile, Networks, WatchedFile, parsed_network
from ._services import Trouble


class IpRestriction(Plugin):
    """Refuses clients by address: those in `deny`, and if anything is allowed by name, all but those.

    The address is the client's own; behind proxies it is what trusted ones say. Files hold one network a line. They and
    the file of countries are read again within a second after they change; what was read before counts until that
    succeeds.
    """

    order = -400

    class Config(BaseModel):
        """Settings of `ip-restriction`."""

        model_config = ConfigDict(extra="forbid")

        allow: list[str] = Field(default=[], description="Networks that are let in; others are not.")
        deny: list[str] = Field(default=[], description="Networks that are refused, allowed or not.")
        allow_file: str | None = Field(default=None, description="A file of networks that are let in.")
        deny_file: str | None = Field(default=None, description="A file of networks that are refused.")
        allow_countries: list[str] = Field(default=[], description="Countries that are let in, as `DE`.")
        deny_countries: list[str] = Field(default=[], description="Countries that are refused.")
        geoip: str | None = Field(
            default=None, description="A MaxMind file that knows countries, held in memory."
        )
        status: int = Field(default=403, ge=400, le=599, description="The status of a refusal.")

        @field_validator("allow", "deny")
        @classmethod
        def _networks(cls, networks: list[str]) -> list[str]:
            for one in networks:
                parsed_network(one)
            return networks

        @model_validator(mode="after")
        def _file_for_countries(self) -> IpRestriction.Config:
            if (self.allow_countries or self.deny_countries) and self.geoip is None:
                raise ConfigError("countries need a GeoIP database", hint="set `geoip` to its path")
            if not any((self.allow, self.deny, self.allow_file, self.deny_file, self.geoip)):
                raise ConfigError("`allow` and `deny` are both empty", hint="write `allow` or `deny`")
            return self

    def setup(self, context: PluginContext) -> None:
        """Reads lists and files."""
        config = self.config
        self._allow, self._deny = Networks(config.allow), Networks(config.deny)
        self._allow_file = NetworkFile(config.allow_file) if config.allow_file else None
        self._deny_file = NetworkFile(config.deny_file) if config.deny_file else None
        self._countries = _Countries(config.geoip) if config.geoip else None
        self._allow_countries = frozenset(one.upper() for one in config.allow_countries)
        self._deny_countries = frozenset(one.upper() for one in config.deny_countries)
        self._is_open = not (config.allow or config.allow_file or config.allow_countries)
        self._denied = context.counter("denied")
        self._verdicts: dict[str, bool] = {}
        self._passed = Passed()
        self._trouble = Trouble(
            context,
            "file_failures",
            "a file cannot be read; what was read before counts",
            "files can be read again",
        )
        self._files = [one for one in (self._allow_file, self._deny_file, self._countries) if one is not None]
        if self._files:
            context.every(1, self._reread)

    def native(self) -> Native:
        """An address that was let in is, until a file changes."""
        return Native(request=[Remember(["address"], self._passed)])

    def request(self, request: Request) -> Response | None:
        """Looks the address up."""
        address = request.client.address
        is_allowed = self._verdicts.get(address)
        if is_allowed is None:
            if len(self._verdicts) > 16384:
                self._verdicts.clear()
            is_allowed = self._verdicts[address] = self._is_allowed(address)
        if is_allowed:
            return None
        self._denied.add()
        return Response(self.config.status, "not from here\n")

    def _is_allowed(self, address: str) -> bool:
        country = self._countries.of(address) if self._countries else ""
        if address in self._deny or (self._deny_file and address in self._deny_file.networks):
            return False
        if country and country in self._deny_countries:
            return False
        if self._is_open or address in self._allow:
            return True
        is_in_file = self._allow_file is not None and address in self._allow_file.networks
        return is_in_file or bool(country and country in self._allow_countries)

    def _reread(self) -> None:
        reason = ""
        for file in self._files:
            try:
                if file.read():
                    self._verdicts.clear()
                    self._passed.clear()
            except (OSError, ValueError) as error:  # a `ConfigError` is one
                reason = str(error)
        if reason:
            self._trouble.begin(reason)
        else:
            self._trouble.end()


class _Countries(WatchedFile):
    """Countries by addresses, from a MaxMind file."""

    def __init__(self, path: str) -> None:
        super().__init__(path)
        try:
            self._library: Any = importlib.import_module("maxminddb")
        except ImportError:
            raise ConfigError(
                "countries need the library `maxminddb`", hint="pip install 'headgate[plugins]'"
            ) from None
        try:
            self.read()
        except ConfigError:
            raise
        except (OSError, ValueError) as error:
            raise self._refused(error) from None

    def _load(self) -> None:
        library = self._library
        try:
            # in memory: whoever writes over the file takes no page away below a lookup
            self._file = library.open_database(self._path, library.MODE_MEMORY)
        except (OSError, ValueError, library.InvalidDatabaseError) as error:
            raise self._refused(error) from None

    def _refused(self, error: Exception) -> ConfigError:
        return ConfigError(f"`{self._path}` is not a MaxMind database: {error}", hint="a `.mmdb`")

    def of(self, address: str) -> str:
        """The code of the country, such as `DE`; empty if it is not known."""
        parsed = client_address(address)
        if parsed is None:
            return ""
        try:
            found = self._file.get(parsed)
        except ValueError:
            return ""  # an IPv6 address, and a file without them
        country = found.get("country") or found.get("registered_country") if isinstance(found, dict) else None
        return str(country.get("iso_code", "")) if isinstance(country, dict) else ""
