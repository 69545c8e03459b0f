"""What the command line asks of a supervisor, and what it gets back: one line of JSON each way, `Inspect` many.

| command       | reply                                                          |
|---------------|----------------------------------------------------------------|
| GetStatus     | Status                                                         |
| GetHookTimes  | HookTimesReply                                                 |
| GetMetrics    | MetricsReply                                                   |
| Reload        | Reloaded, when the new version serves                          |
| Upgrade       | Upgraded, when the new program serves                          |
| Stop          | Done, at once                                                  |
| ReopenLogs    | Done                                                           |
| SetServer     | Done                                                           |
| Look          | Looking, then Seen for each hit, then LookingEnded             |
| GetProfile    | Profiled, after as many seconds                                |
| FollowLogs    | Following; the line stays open as long as somebody follows     |

The reply to any command may be `Refused`.
"""

from typing import Any, Literal

from headgate.control.inspection_messages import InspectHit, InspectOrder
from headgate.control.messages import HookTimes, Source
from headgate.control.records import Message, MessageKinds, Record


class GetStatus(Message):
    """What runs."""


class GetHookTimes(Message):
    """How long hooks take."""


class GetMetrics(Message):
    """All numbers that the gateway counts."""


class Reload(Message):
    """Load code and configuration anew."""


class Upgrade(Message):
    """Start the program anew and hand it the listeners."""


class Stop(Message):
    """Stop when the requests in flight are done, or now."""

    now: bool = False


class ReopenLogs(Message):
    """Open log files anew, after they were moved."""


AdminState = Literal["ready", "drain", "maintenance"]
"""What an operator wants of a server."""


class SetServer(Message):
    """Takes a server of an upstream out, or back in."""

    upstream: str
    server: str
    state: str
    """An `AdminState`."""


class Look(Message):
    """Look at a place in the code of every worker, for so many seconds at most."""

    order: InspectOrder
    for_s: float


class GetProfile(Message):
    """Have every worker look at its Python stacks for so long, each `interval_s` seconds."""

    seconds: float
    interval_s: float = 0.005


class FollowLogs(Message):
    """Send the line of each request into the socket that comes along, a message each."""


class Done(Message):
    """It is done, or has begun."""


class Refused(Message):
    """It was not done; the text is for the user."""

    error: str


class Reloaded(Message):
    """The new version serves."""

    generation: int
    in_place: bool = False
    """Whether it went into the workers that ran."""


class Upgraded(Message):
    """A new supervisor serves."""

    pid: int


class WorkerStatus(Record):
    """One worker. What it reports is missing if it did not reply in time."""

    pid: int
    slot: int
    generation: int
    state: str
    """`starting`, `prepared`, `ready`, `blocked`, `draining` or `stopping`."""
    uptime_s: float
    exits: int
    """How often the worker of this slot has ended in a row."""
    connections: int | None = None
    rss_bytes: int | None = None
    cpu_s: float | None = None


class ReloadOutcome(Record):
    """How the last reload went."""

    ok: bool
    generation: int
    at: float
    """Seconds since 1970."""
    in_place: bool = False
    error: str | None = None


class ServerStatus(Record):
    """A server that is not simply in rotation."""

    upstream: str
    server: str
    """Its address; empty for the upstream's circuit breaker."""
    check: str
    """`unknown`, `up` or `down`, by active checks."""
    admin: str
    """`ready`, `drain` or `maintenance`, by command."""
    weight: int
    """The part of its share that it takes, in percent."""
    ejected_ms: int
    """For how long it is ejected yet."""

    @property
    def is_circuit(self) -> bool:
        """It is no server, but the circuit breaker of the upstream, which is open or half-open."""
        return not self.server

    @property
    def out_by(self) -> str:
        """What has taken it out of rotation: `drain`, `maintenance`, `down`, `ejected`, `circuit open` or
        `circuit half-open`; empty if nothing has."""
        if self.is_circuit:
            return "circuit open" if self.ejected_ms else "circuit half-open"
        if self.admin != "ready":
            return self.admin
        return "down" if self.check == "down" else "ejected" if self.ejected_ms else ""


class NameStatus(Record):
    """A name that servers are found by."""

    name: str
    """As in the server's address."""
    servers: int | None
    """How many it stands for; None: it was not looked up yet."""
    error: str = ""
    """Why the last lookup found nothing; empty where it did."""


class LoopHold(Record):
    """Python code that blocked the event loop of a worker."""

    at: float
    """Unix seconds."""
    worker: int
    held_ms: int
    where: str
    stack: str
    request_id: str


class Status(Message):
    """What runs."""

    pid: int
    source: Source
    generation: int
    reloading: bool
    stopping: bool
    uptime_s: float
    listeners: list[str]
    workers: list[WorkerStatus]
    counters: dict[str, int]
    last_reload: ReloadOutcome | None = None
    admin: list[str] = []
    """Where the Admin API listens."""
    servers: list[ServerStatus] = []
    """Those of which something is said that is not as by default."""
    names: list[NameStatus] = []
    """Names that servers are found by."""
    agent: int | None = None
    """The process id of the agent, if one runs."""
    monitor: int | None = None
    """The process id of the monitor, if one runs."""
    shipper: int | None = None
    """The process id of the shipper, if one runs."""
    tunnel: int | None = None
    """The process id of the tunnel broker, if one runs."""
    dispatcher: int | None = None
    """The process id of the dispatcher, if one runs."""
    loop_holds: list[LoopHold] = []
    """The last ones, the newest first."""


class HookTimesReply(Message):
    """The sums over the workers that live."""

    hooks: list[HookTimes]


class MetricsReply(Message):
    """The numbers, summed over all workers from the start of the gateway."""

    metrics: str
    """JSON: `{"families": [{"name", "kind", "help", "series": [{"labels", "value"}]}]}`; a histogram's series has
    `buckets` in place of `value`, pairs of an upper bound (null: none) and the calls in it, `sum` and `count`."""


class Profiled(Message):
    """What the workers have seen, added up."""

    profile: dict[str, Any]
    """See `profiling.profile.Profile.plain`."""
    workers: int
    missing: int
    """Workers that did not respond in time."""


class Looking(Message):
    """The place that is looked at."""

    place: str


class Seen(Message):
    """The place was reached in a worker."""

    hit: InspectHit
    worker: int


class LookingEnded(Message):
    """`count`, `time` or `stop` ended it."""

    end: str
    hits: int


class Following(Message):
    """From now on each request has its line."""

    workers: int


COMMANDS = MessageKinds(
    [
        GetStatus,
        GetHookTimes,
        GetMetrics,
        Reload,
        Upgrade,
        Stop,
        ReopenLogs,
        SetServer,
        Look,
        GetProfile,
        FollowLogs,
    ]
)
REPLIES = MessageKinds(
    [
        Done,
        Refused,
        Reloaded,
        Upgraded,
        Status,
        HookTimesReply,
        MetricsReply,
        Profiled,
        Looking,
        Seen,
        LookingEnded,
        Following,
    ]
)
