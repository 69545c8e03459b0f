"""Messages: what fits comes back as it was sent, what does not is refused by name."""

import json
from typing import Any

import pytest

from headgate.control import commands, inspection_messages, messages
from headgate.control.records import MOST_KNOWN, VERSION, Message, MessageError, MessageKinds, Record

SAMPLES: list[Message] = [
    messages.Start(source=messages.Source(file="/gate.py"), generation=2, zone_slot=None, ticket_keys=["00ff"]),
    messages.Listen(listeners=[messages.BoundListener(name=":80", address="0.0.0.0:80")]),
    messages.Prepared(listeners=[":80"], drain_s=30, tls_module="aws-lc-rs", is_fips=False),
    messages.Report(report=messages.WorkerReport(connections=1, rss_bytes=2, cpu_s=0.5), hooks=[]),
    inspection_messages.Inspect(id=1, order=inspection_messages.InspectOrder(at="gate:f", show=["a"]), for_s=5.0),
    commands.Stop(now=True),
    commands.Refused(error="no"),
    commands.Status(
        pid=1, source=messages.Source(), generation=1, reloading=False, stopping=False, uptime_s=0.1, listeners=[],
        workers=[commands.WorkerStatus(pid=2, slot=0, generation=1, state="ready", uptime_s=1, exits=0)],
        counters={"requests": 7},
        last_reload=commands.ReloadOutcome(ok=False, generation=2, at=1.5, error="no"),
    ),
]  # fmt: skip


@pytest.mark.parametrize("message", SAMPLES, ids=lambda message: type(message).__name__)
def test_a_message_comes_back_as_it_was_sent(message: Message) -> None:
    assert MessageKinds([type(message)]).decode(message.encode()) == message


def written(**values: Any) -> bytes:
    return json.dumps({"kind": "stop", "version": VERSION, **values}).encode()


@pytest.mark.parametrize(
    ("data", "complaint"),
    [
        (b"{", "not a control message"),
        (b"[]", "it has no `kind`"),
        (written(kind="halt"), "`halt` is not a control message that is understood here"),
        (written(later=True), "`stop` has no field `later`"),
        (written(now=1), "`stop.now` is not a valid bool: `1`"),
        (written(version=99), "version `99`; this program speaks version 1\n  hint: .*headgate upgrade"),
        (written(kind="upgraded"), "`upgraded` lacks the field `pid`"),
        (written(kind="upgraded", pid=True), "`upgraded.pid` is not a valid int"),
        (written(kind="listen", listeners=[{"name": ":80"}]), "`bound_listener` lacks the field `address`"),
        (written(kind="listen", listeners=["x"]), r"`listen.listeners\[0\]` is not a valid BoundListener"),
    ],
)
def test_what_does_not_fit_is_refused_by_name(data: bytes, complaint: str) -> None:
    kinds = MessageKinds([commands.Stop, commands.Upgraded, messages.Listen])
    with pytest.raises(MessageError, match=complaint):
        kinds.decode(data)


def test_only_messages_that_say_little_are_remembered_and_not_without_end() -> None:
    kinds = MessageKinds([commands.Stop, commands.Refused])
    stop = commands.Stop(now=True).encode()
    assert kinds.decode(stop) is kinds.decode(stop)
    assert kinds.decode(bytearray(stop)) == commands.Stop(now=True)
    assert kinds.decode(commands.Stop(now=False).encode()) == commands.Stop(now=False)
    refused = commands.Refused(error="no").encode()
    assert kinds.decode(refused) is not kinds.decode(refused)
    for number in range(1000):
        kinds.decode(commands.Stop().encode() + b" " * number)
    assert len(kinds._known) == MOST_KNOWN


def test_a_message_is_frozen() -> None:
    message: Any = commands.Stop()
    with pytest.raises(AttributeError, match="is frozen"):
        message.now = True
    assert message == commands.Stop(now=False)


def test_every_kind_is_sent_in_one_direction_only() -> None:
    def names(kinds: MessageKinds) -> set[str]:
        return set(kinds._kinds)

    assert not names(messages.TO_WORKER) & names(messages.FROM_WORKER)
    assert not names(commands.COMMANDS) & names(commands.REPLIES)
    written = {
        name for name, kind in vars(messages).items() if isinstance(kind, type) and kind.__base__ is Message
    }
    ends = (messages.TO_WORKER, messages.FROM_WORKER, messages.TO_ZYGOTE, messages.FROM_ZYGOTE)
    assert len(written) == sum(len(names(end)) for end in ends)
    assert Record not in Message.__subclasses__()
