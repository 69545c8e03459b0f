"""What the supervisor, its agent and its workers send each other about resources. Descriptors travel beside a message.

| message           | from, to             | when                                                                 |
|-------------------|----------------------|----------------------------------------------------------------------|
| GetResources      | worker, supervisor   | while it loads: the file has a `store` or `admin`                     |
| ResourcesLent     | supervisor, worker   | the response, with the resources in a memfd                           |
| AgentStart        | supervisor, agent    | first; with the sockets of the Admin API                              |
| Resources         | agent, supervisor    | loaded: with the resources in a memfd                                 |
| AgentReady        | agent, supervisor    | it serves the Admin API                                               |
| AgentFailed       | agent, supervisor    | it could not start; it exits afterwards                               |
| SecretFiles       | agent, supervisor    | files that secrets were read from, if these are others than before    |
| Propose           | agent, supervisor    | another configuration: what it comes to, and its resources, in memfds |
| ProposeDifference | agent, supervisor    | other routes than those in force                                      |
| ProposalPrepared  | supervisor, agent    | every worker could apply it, or why one could not                     |
| Accept            | agent, supervisor    | it is in the store: apply it                                          |
| Withdraw          | agent, supervisor    | it is not: forget it                                                  |
| ProposalApplied   | supervisor, agent    | it is in force in every worker, or why it is not                      |
| GetStatus, Status | agent, supervisor    | as on the control socket                                              |
| GetMetrics        | agent, supervisor    | a reader of the Admin API asks for the numbers                        |
| MetricsLent       | supervisor, agent    | the numbers of `MetricsReply`, in a memfd                             |
| Discovered        | agent, supervisor    | servers that are found by name have come or gone, or a lookup failed  |
| GetProfile        | agent, supervisor    | a caller of the Admin API wants a profile                             |
| ProfileLent       | supervisor, agent    | it, in a memfd, or why there is none                                  |
| Look              | agent, supervisor    | a caller sets a breakpoint; a line for `Looking` and `Seen` comes along |
| FollowLogs        | agent, supervisor    | a socket comes along that workers are to write requests into          |
| UnfollowLogs      | agent, supervisor    | it reads them no more                                                 |
"""

from headgate.control.commands import FollowLogs, GetMetrics, GetProfile, GetStatus, Look, NameStatus, Status
from headgate.control.messages import Change
from headgate.control.records import Message, MessageKinds, Record
from headgate.control.resource_messages import NodeSettings, SecretFiles

PROPOSAL_LIMIT_S = 30.0
"""For an agent to say what becomes of its proposal."""


class AgentStart(Message):
    """What to merge resources with, and as whom. Memory for metrics comes along, and a descriptor for each address of
    the Admin API."""

    file: str
    """The configuration that resources are merged with, absolute."""
    settings: NodeSettings
    addresses: list[str] = []
    """Where its sockets are bound."""
    user: str | None = None
    group: str | None = None
    log_format: str | None = None
    log_level: str | None = None
    is_restarted: bool = False
    """Whether workers have resources already. Those come along in a last memfd, and what differs is proposed."""
    resources_bytes: int = 0
    """Of that memory; what is behind them is of later."""
    waits_for_lock: bool = False
    """Whether the agent of a predecessor may still hold the state folder."""


class Resources(Message):
    """The resources that workers are to load with the file come along in a memfd."""


class FoundServer(Record):
    """A server of an upstream that has come or gone."""

    upstream: str
    server: str
    state: str
    """`added` or `removed`."""


class Discovered(Message):
    """What is found by name now, and what has changed since the last such message."""

    names: list[NameStatus]
    changes: list[FoundServer] = []


class AgentReady(Message):
    """It serves the Admin API, if there is one."""


class AgentFailed(Message):
    """It cannot serve."""

    error: str


class Propose(Message):
    """Two memfds come along: the compiled configuration as in `Offer`, and the resources in it."""

    change: Change
    label: str = ""
    """What workers know the configuration by when they have applied it."""
    listeners: list[str]
    modes: dict[str, int] = {}
    places: dict[str, str] = {}


class ProposeDifference(Message):
    """Other routes, and nothing else: somebody waits for it, so all of it is in this message."""

    label: str
    """As in `Propose`."""
    base: str
    """The label of what workers must have in force."""
    told: str
    """What the engine is told, as JSON."""
    resources: str
    """How the resources differ, as JSON; see `control.resource_memory`."""


class ProposalPrepared(Message):
    """Every worker could apply it, unless there is an error. `needs_workers`: only new ones can, and they will."""

    error: str | None = None
    needs_workers: bool = False
    is_postponed: bool = False
    """Whether the error is one of the moment."""
    needs_whole: bool = False
    """Whether not all workers have the version that a difference is to; it is forgotten."""


class Accept(Message):
    """Apply what was prepared."""


class Withdraw(Message):
    """Forget what was prepared."""


class ProposalApplied(Message):
    """It is in force, unless there is an error."""

    error: str | None = None
    generation: int = 0


class UnfollowLogs(Message):
    """Forget the socket that came with `FollowLogs`."""


class ProfileLent(Message):
    """The plain form of a `profiling.profile.Profile` comes along in a memfd, unless there is an error."""

    error: str | None = None
    workers: int = 0
    missing: int = 0


class MetricsLent(Message):
    """The JSON of `MetricsReply.metrics` comes along in a memfd."""

    took_s: float = 0.0
    """CPU seconds that adding it up took."""


TO_AGENT = MessageKinds([AgentStart, ProposalPrepared, ProposalApplied, Status, MetricsLent, ProfileLent])
FROM_AGENT = MessageKinds(
    [
        Resources,
        AgentReady,
        AgentFailed,
        Propose,
        ProposeDifference,
        Accept,
        Withdraw,
        GetStatus,
        GetMetrics,
        GetProfile,
        FollowLogs,
        UnfollowLogs,
        Look,
        SecretFiles,
        Discovered,
    ]
)
