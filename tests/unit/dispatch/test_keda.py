"""The messages of KEDA's external scaler, read and written without a library."""

import pytest

from headgate.dispatch import keda


def framed(message: bytes) -> bytes:
    return b"\x00" + len(message).to_bytes(4, "big") + message


def field(number: int, content: bytes) -> bytes:
    return bytes([number << 3 | 2, len(content)]) + content


def trigger(**metadata: str) -> bytes:
    entries = (
        field(3, field(1, name.encode()) + field(2, value.encode())) for name, value in metadata.items()
    )
    return field(1, b"object") + field(2, b"namespace") + b"".join(entries)


def test_metadata_of_the_trigger_are_read_in_every_method() -> None:
    for method in ("IsActive", "StreamIsActive", "GetMetricSpec"):
        asked = keda.wanted(
            keda.SERVICE + method, framed(trigger(upstream="b", target="2.5", activation="3"))
        )
        assert asked == (method, "b", 2.5, 3.0)
    asked = keda.wanted(
        keda.SERVICE + "GetMetrics", framed(field(1, trigger(upstream="b")) + field(2, b"s0-x"))
    )
    assert asked == ("GetMetrics", "b", 1.0, 0.0)


def test_fields_of_other_kinds_are_passed_over() -> None:
    others = b"\x20\x96\x01" + b"\x29" + bytes(8) + b"\x35" + bytes(4)
    assert keda.wanted(keda.SERVICE + "IsActive", framed(others + trigger(target="4"))).target == 4.0


def test_active_begins_above_the_activation() -> None:
    asked = keda.Wanted("IsActive", "", 1.0, 2.0)
    assert [keda.response(asked, count) for count in (2, 3)] == [framed(b""), framed(b"\x08\x01")]


def test_target_of_the_old_field_is_a_whole_number() -> None:
    spec = keda.response(keda.Wanted("GetMetricSpec", "", 0.5, 0.0), 0)
    assert field(1, b"requests") + b"\x10\x01\x19" in spec


@pytest.mark.parametrize(
    ("path", "body", "status"),
    [
        ("Other", framed(b""), keda.UNIMPLEMENTED),
        ("IsActive", b"", keda.INVALID_ARGUMENT),
        ("IsActive", b"\x00\x00\x00\x00\x09x", keda.INVALID_ARGUMENT),
        ("IsActive", b"\x01\x00\x00\x00\x00", keda.UNIMPLEMENTED),
        ("IsActive", framed(b"\x1a\x7f"), keda.INVALID_ARGUMENT),
        ("IsActive", framed(b"\x1a"), keda.INVALID_ARGUMENT),
        ("IsActive", framed(b"\x29\x00"), keda.INVALID_ARGUMENT),
        ("IsActive", framed(b"\x0b"), keda.INVALID_ARGUMENT),
        ("IsActive", framed(b"\x18" + b"\xff" * 11), keda.INVALID_ARGUMENT),
        ("IsActive", framed(field(3, field(1, b"\xff"))), keda.INVALID_ARGUMENT),
        ("IsActive", framed(trigger(target="0")), keda.INVALID_ARGUMENT),
        ("IsActive", framed(trigger(target="many")), keda.INVALID_ARGUMENT),
        ("IsActive", framed(trigger(activation="nan")), keda.INVALID_ARGUMENT),
    ],
)
def test_what_is_no_call_is_refused_with_a_status(path: str, body: bytes, status: int) -> None:
    with pytest.raises(keda.Refused) as raised:
        keda.wanted(keda.SERVICE + path, body)
    assert raised.value.status == status
