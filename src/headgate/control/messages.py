"""What the supervisor and a worker send each other. Descriptors travel beside a message, see `channel`.

| message           | from       | when                                                                  |
|-------------------|------------|-----------------------------------------------------------------------|
| Start             | supervisor | first; with memory for metrics, and the zone's if the worker has a slot |
| OpenDictionary    | worker     | while it loads: the shared dictionary it wants                         |
| DictionaryOpened  | supervisor | the response, with the dictionary's descriptor                         |
| GetResources      | worker     | while it loads: the resources beside the file (`resource_messages`)    |
| ResourcesLent     | supervisor | the response, with the resources in a memfd                            |
| SecretFiles       | worker     | loaded: the files that secrets were read from                          |
| Offer             | worker     | loaded, if `Start` asks for that: with what it has loaded in a memfd    |
| Proceed           | supervisor | workers that serve cannot take it: serve it yourself                   |
| Prepared          | worker     | `startup` hooks done; with the memory for its stacks                   |
| Listen            | supervisor | with the listening sockets                                             |
| Ready             | worker     | it accepts                                                             |
| Failed            | worker     | it could not start; it exits afterwards                                |
| Prepare           | supervisor | another configuration for a worker that serves, with its memfd         |
| PrepareDifference | supervisor | other routes for a worker that serves                                  |
| ChangePrepared    | worker     | it could be applied, or why it could not                               |
| Commit            | supervisor | all are prepared: apply it; with the sockets of new listeners          |
| Applied           | worker     | it is in force                                                         |
| Discard           | supervisor | somebody is not prepared: forget it                                    |
| TicketKeys        | supervisor | after a rotation of the keys of TLS session tickets                    |
| Query             | supervisor | asks for a report                                                      |
| Report            | worker     | the response                                                           |
| Draining          | worker     | it accepts nothing any more                                            |
| Ping              | supervisor | every second                                                           |
| Pong              | worker     | the response                                                           |
| Adopt             | supervisor | with sockets of a sibling that is blocked                              |
| ServerStateChanged | supervisor | to one worker: a server has another state                             |
| Inspect           | supervisor | a place in the code to look at                                         |
| InspectEnd        | supervisor | no longer                                                              |
| Inspecting        | worker     | where that is, or why not                                              |
| Hit               | worker     | the place was reached                                                  |
| TakeProfile       | supervisor | takes a profile for some seconds                                      |
| ProfileTaken      | worker     | what it has seen, in a memfd                                           |
| LoopHeld          | worker     | Python code has blocked its event loop                                 |
| FollowLog         | supervisor | with a socket for the line of each request                             |

With the process that workers are forked from (`zygote`): `Fork` and `Reap`, with the replies `Forked` and `Reaped`.
"""

import signal
from typing import Any

from headgate.control.inspection_messages import (
    Hit,
    Inspect,
    InspectEnd,
    Inspecting,
    LoopHeld,
    ProfileTaken,
    TakeProfile,
)
from headgate.control.records import Message, MessageKinds, Record
from headgate.control.resource_messages import GetResources, ResourcesLent, SecretFiles

DUMP_SIGNAL = signal.SIGRTMIN
"""Has a worker write its Python stacks into the memory that came with `Prepared`."""


class ProxyArguments(Record):
    """What `headgate proxy` was told."""

    listen: str
    to: list[str]
    access_log: str | None = None


class Source(Record):
    """What a gateway is made from: a file, or the arguments of `headgate proxy`."""

    file: str | None = None
    """Absolute."""
    proxy: ProxyArguments | None = None


class Start(Message):
    """What to serve, and as whom."""

    source: Source
    generation: int
    zone_slot: int | None = None
    """None: no slot is free, and the worker counts for itself."""
    user: str | None = None
    group: str | None = None
    keep_net_admin: bool = False
    """Whether CAP_NET_ADMIN stays when the worker changes to `user`."""
    log_format: str | None = None
    """None: as the configuration says; likewise `log_level`."""
    log_level: str | None = None
    ticket_keys: list[str] = []
    """In hex, the newest first."""
    http3_secret: str = ""
    """What all workers share for HTTP/3, in hex."""
    require_fips: bool = False
    offers: bool = False
    """Whether what it loads is offered to workers that serve, before it starts up itself."""


class OpenDictionary(Message):
    """A shared dictionary that the user's code asks for."""

    name: str
    bytes: int


class DictionaryOpened(Message):
    """Its descriptor comes along, unless there is an error."""

    error: str | None = None


class Prepared(Message):
    """All is loaded and started up; what it comes to."""

    listeners: list[str]
    """Addresses as they were written."""
    modes: dict[str, int] = {}
    """Permissions of the files of Unix sockets, by address."""
    places: dict[str, str] = {}
    """The line that said it, as `gate.py:3`, by address."""
    drain_s: float
    tls_module: str
    is_fips: bool
    workers: int | None = None
    """Workers that the configuration asks for."""
    kill_s: float | None = None
    """Seconds after which a worker that does not respond is killed; None: never."""
    max_draining: int = 16
    """Former generations that drain beside the current one at most."""
    metrics: list[str] = []
    """Where metrics are served: addresses as they were written."""
    statsd: dict[str, Any] = {}
    """Where metrics are sent, and how: see `StatsdConfig`; nothing: nowhere."""
    ships_logs: bool = False
    """Whether each request is to be written for the shipper."""


class BoundListener(Record):
    """One listening socket: the address as it was written, and as it was bound."""

    name: str
    address: str


class Listen(Message):
    """One descriptor comes along for each listener."""

    listeners: list[BoundListener]


class Ready(Message):
    """The worker accepts connections. What the processes beside it are to do comes along, a memfd for each plan."""

    plans: dict[str, str] = {}
    """The digests of the plans by the process that they are for, such as the `monitor`, in the order of the memfds."""


class Failed(Message):
    """The worker could not start."""

    error: str
    is_config: bool
    """Whether the configuration is at fault, which ends the program with status 2."""


class Change(Record):
    """What changes beside the snapshot when a configuration is applied in place."""

    drain_s: float
    kill_s: float | None
    max_draining: int = 16
    log_format: str
    log_level: str
    log_to: str = "stderr"
    ships_logs: bool = False
    """As in `Prepared`."""


class Offer(Message):
    """What was loaded comes along in a memfd: JSON with the snapshot, and hooks and plugins by their names."""

    change: Change
    listeners: list[str]
    """Addresses as they were written."""
    modes: dict[str, int] = {}
    """As in `Prepared`."""
    places: dict[str, str] = {}
    """As in `Prepared`."""
    metrics: list[str] = []
    """As in `Prepared`."""
    statsd: dict[str, Any] = {}
    """As in `Prepared`."""


class Proceed(Message):
    """The worker is to start up and to serve what it has offered."""


class Prepare(Message):
    """What another worker or the agent has loaded comes along in a memfd."""

    change: Change
    label: str | None = None
    """What it is known by when it is applied, if it comes from the agent."""


class PrepareDifference(Message):
    """Other routes, and nothing else; as in `ProposeDifference`."""

    label: str
    base: str
    told: str


class ChangePrepared(Message):
    """It could be applied, unless there is an error."""

    error: str | None = None
    needs_workers: bool = False
    """Whether workers that load it themselves could serve it."""


class Commit(Message):
    """Applies what was prepared. One descriptor comes along for each new listener."""

    added: list[BoundListener] = []
    removed: list[str] = []
    """Addresses as they were written, of listeners that are no more."""


class Applied(Message):
    """The new configuration is in force. Plans come along as with `Ready`."""

    plans: dict[str, str] = {}
    keeps_plans: bool = False
    """Whether it has those of the configuration before; then none come along."""


class Discard(Message):
    """Forgets what was prepared."""


class TicketKeys(Message):
    """Keys of TLS session tickets in hex, the newest first."""

    keys: list[str]


class Query(Message):
    """Asks for a report; with the times of hooks only if wanted, since they are many."""

    hooks: bool = False


class WorkerReport(Record):
    """What a worker says of itself."""

    connections: int
    rss_bytes: int
    cpu_s: float


class HookTimes(Record):
    """What one hook took in one worker, in microseconds."""

    phase: str
    hook: str
    plugin: str | None
    calls: int
    failures: int
    total_us: int
    longest_us: int
    inline_us: int
    buckets: list[int]
    """Calls by duration: under 1 us, then each bucket twice as wide as the one before."""


class Report(Message):
    """The response to `Query`."""

    report: WorkerReport
    hooks: list[HookTimes] = []


class Draining(Message):
    """The worker accepts nothing any more."""


class Ping(Message):
    """Asks for a `Pong`."""


class Pong(Message):
    """The worker's loop runs."""


class Adopt(Message):
    """Accept from these sockets as well; one descriptor comes along for each listener."""

    listeners: list[BoundListener]


class ServerStateChanged(Message):
    """See `headgate.ServerStateChange`."""

    upstream: str
    server: str
    state: str
    reason: str


class Fork(Message):
    """To a zygote: fork a worker; its end of a channel comes along."""


class Forked(Message):
    """A worker was forked; its pidfd comes along."""

    pid: int


class Reap(Message):
    """To a zygote: collect a worker that has ended."""

    pid: int


class Reaped(Message):
    """It is collected."""

    pid: int
    status: int
    """Its exit code, or minus the signal that killed it."""


class FollowLog(Message):
    """The socket that comes along gets a message for each request, until nobody reads it any more."""


TO_WORKER = MessageKinds(
    [
        Start,
        DictionaryOpened,
        ResourcesLent,
        Proceed,
        Listen,
        Prepare,
        PrepareDifference,
        Commit,
        Discard,
        TicketKeys,
        Query,
        Ping,
        Adopt,
        ServerStateChanged,
        Inspect,
        InspectEnd,
        TakeProfile,
        FollowLog,
    ]
)
FROM_WORKER = MessageKinds(
    [
        OpenDictionary,
        GetResources,
        SecretFiles,
        Prepared,
        Offer,
        Ready,
        Failed,
        ChangePrepared,
        Applied,
        Report,
        Draining,
        Pong,
        Inspecting,
        Hit,
        ProfileTaken,
        LoopHeld,
    ]
)
TO_ZYGOTE = MessageKinds([Fork, Reap])
FROM_ZYGOTE = MessageKinds([Forked, Reaped])
