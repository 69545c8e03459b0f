"""A web application firewall: the OWASP Core Rule Set, or other rules of ModSecurity, on requests."""

from __future__ import annotations

import glob
from pathlib import Path
from urllib.parse import quote

from pydantic import BaseModel, ConfigDict, Field, field_validator

from headgate import ConfigError, Plugin, PluginContext, Request, Response

from ._bodies import BadBody, decoded, media_type
from ._clients import client_address, client_network
from ._modsecurity import Facts
from ._services import Trouble
from ._waf_judges import Judges

SETUP = "/etc/modsecurity/crs/crs-setup.conf"
RULES = "/usr/share/modsecurity-crs/rules/*.conf"
REFUSED = "this request is not allowed"
READ_AS_FORMS = "!@rx ^(?:application/x-www-form-urlencoded|multipart/|(?:[^;]+[/+])(?:xml|json)(?:;|$))"
"""Bodies of all other types are read as forms: so every rule on arguments sees them."""
ENGINE = """
SecRuleEngine On
SecRequestBodyAccess On
SecRequestBodyLimit {limit}
SecRequestBodyNoFilesLimit {limit}
SecRequestBodyLimitAction Reject
SecRequestBodyJsonDepthLimit 64
SecResponseBodyAccess Off
SecArgumentSeparator &
SecCookieFormat 0
SecAuditEngine Off
SecRule REQUEST_HEADERS:Content-Type "@rx (?i)[/+]xml(?:;|$)" \\
  "id:10,phase:1,t:none,pass,nolog,ctl:requestBodyProcessor=XML"
SecRule REQUEST_HEADERS:Content-Type "@rx (?i)[/+]json(?:;|$)" \\
  "id:11,phase:1,t:none,pass,nolog,ctl:requestBodyProcessor=JSON"
SecRule REQUEST_HEADERS:Content-Type "{forms}" \\
  "id:12,phase:1,t:none,t:lowercase,pass,nolog,ctl:requestBodyProcessor=URLENCODED"
SecRule &REQUEST_HEADERS:Content-Type "@eq 0" \\
  "id:13,phase:1,t:none,pass,nolog,ctl:requestBodyProcessor=URLENCODED"
SecRule REQBODY_ERROR "!@eq 0" "id:14,phase:2,t:none,log,deny,status:400,msg:'the body is not valid'"
SecRule MULTIPART_STRICT_ERROR "!@eq 0" "id:15,phase:2,t:none,log,deny,status:400,msg:'the form is not valid'"
SecAction "id:16,phase:1,t:none,pass,nolog,\\
  setvar:tx.paranoia_level={paranoia},setvar:tx.blocking_paranoia_level={paranoia},\\
  setvar:tx.inbound_anomaly_score_threshold={threshold}"
"""


class Waf(Plugin):
    """Judges requests, with their bodies, by the OWASP Core Rule Set or other rules of ModSecurity, in libmodsecurity.

    The rules are Debian's (`apt-get install libmodsecurity3 modsecurity-crs`) unless `rules` names others. A request
    that they deny gets 403, and the log has the ids of the rules that matched: for the first weeks use `mode: report`,
    and take out by `directives` what is wrong about your own application. The engine runs in a process of its own for
    each worker, one request at a time. Some patterns of the rules take minutes for a few kilobytes that were made for
    it: a request that takes longer than `seconds` is refused, and its client for `penalty` seconds. Bodies are judged
    without their Content-Encoding, and go on as they came. Types that no rule reads are judged as forms are; two
    charsets, and others than UTF-8, are refused. Responses are not judged.
    """

    order = 190

    class Config(BaseModel):
        """Settings of `waf`."""

        model_config = ConfigDict(extra="forbid")

        rules: list[str] = Field(
            default=[SETUP, RULES],
            min_length=1,
            description="Files of rules, read in this order; `*` stands for several, by name.",
        )
        directives: str = Field(
            default="",
            max_length=65536,
            description="More directives, after the files: `SecRuleRemoveById 920350`.",
        )
        paranoia: int = Field(
            default=1, ge=1, le=4, description="The Core Rule Set's level: higher finds more, wrongly too."
        )
        threshold: int = Field(
            default=5, ge=1, le=10000, description="The anomaly score from which a request is refused."
        )
        max_body_bytes: int = Field(
            default=131_072, ge=1, le=16_777_216, description="The most bytes of a body, decoded; then 413."
        )
        seconds: float = Field(
            default=0.5,
            ge=0.01,
            le=60,
            description="The most seconds of a processor for a request; then 403.",
        )
        penalty: float = Field(
            default=60,
            ge=0,
            description="For how many seconds a client is refused whose request took longer.",
        )
        max_waiting: int = Field(
            default=100, ge=1, description="How many requests of a worker may wait for the engine; then 503."
        )

        @field_validator("rules")
        @classmethod
        def _files(cls, rules: list[str]) -> list[str]:
            for one in rules:
                if not _found(one):
                    hint = (
                        "apt-get install modsecurity-crs"
                        if one in (SETUP, RULES)
                        else "name a file, or a pattern of files"
                    )
                    raise ConfigError(f"the file `{one}` does not exist", hint=hint)
            return rules

    def setup(self, context: PluginContext) -> None:
        """Reads the rules."""
        config = self.config
        engine = ENGINE.format(
            limit=config.max_body_bytes,
            forms=READ_AS_FORMS,
            paranoia=config.paranoia,
            threshold=config.threshold,
        )
        files = [("file", file) for one in config.rules for file in _found(one)]
        more = [("text", config.directives)] if config.directives else []
        self._judges = Judges([("text", engine), *files, *more], config.seconds)
        self._context = context
        self._costly = context.shared("costly", "256k")
        self._waiting = 0
        self._denied, self._overloaded = context.counter("denied"), context.counter("overloaded")
        self._late = context.counter("late")
        self._broken = Trouble(context, "engine_failures", "the engine has failed", "the engine judges again")

    async def request(self, request: Request) -> Response | None:
        """Judges the request."""
        client = client_network(request.client.address)
        if client in self._costly:
            return self._refusal(403, None, REFUSED)
        try:
            body = await decoded(request, self.config.max_body_bytes)
            if body:
                media_type(request)
        except BadBody as error:
            return self._refusal(error.status, None, str(error))
        if self._waiting >= self.config.max_waiting:
            self._overloaded.add()
            return Response(503, "try again later\n", headers=[("retry-after", "1")])
        self._waiting += 1
        try:
            found = await self._judges.judge(_facts(request, body))
        finally:
            self._waiting -= 1
        path = self._context.masked(request.path)[:200]
        if found.has_failed:
            self._broken.begin(path)
            return Response(503, "try again later\n", headers=[("retry-after", "1")])
        self._broken.end()
        if found.is_late:
            self._late.add()
            self._context.log.warning("took too long to judge", extra={"client": client, "path": path})
            if self.config.penalty:
                self._costly.set(client, 1, self.config.penalty)
            return self._refusal(403, None, REFUSED)
        if found.verdict is None:
            return None
        status, url, rules = found.verdict
        self._context.log.warning("denied by a rule", extra={"rules": " ".join(rules), "path": path})
        return self._refusal(status, url, REFUSED)

    async def close(self) -> None:
        """Ends the engine."""
        await self._judges.close()

    def _refusal(self, status: int, url: str | None, text: str) -> Response:
        self._denied.add()
        if url is not None:
            return Response(302, headers=[("location", quote(url, safe=":/?#[]@!$&'()*+,;=%~-._"))])
        return Response(status, f"{text}\n")


def _facts(request: Request, body: bytes) -> Facts:
    """The request as the engine is told of it: the body without its coding, and so without that field."""
    fields = [(b"host", request.host.encode("utf-8", "surrogateescape"))]
    fields += [(name, value) for name, value in request.headers.raw if name.lower() != b"host"]
    if "content-encoding" in request.headers:
        left = (b"content-encoding", b"content-length")
        fields = [(name, value) for name, value in fields if name.lower() not in left]
        fields.append((b"content-length", str(len(body)).encode()))
    client = client_address(request.client.address)
    return Facts(
        str(client) if client else "127.0.0.1",
        request.client.port,
        request.method,
        request.target,
        "2" if request.version == "3" else request.version,
        fields,
        body,
    )


def _found(pattern: str) -> list[str]:
    return sorted(one for one in glob.glob(pattern) if Path(one).is_file())
