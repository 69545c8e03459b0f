"""Responses to checks, as they come in pieces or whole."""

import pytest

from headgate.monitor.probes.http_response import Malformed, parsed


@pytest.mark.parametrize(
    ("data", "body", "may_reuse"),
    [
        (b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok", b"ok", True),
        (b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nokmore", b"ok", False),
        (b"HTTP/1.0 200 OK\r\nContent-Length: 2\r\n\r\nok", b"ok", False),
        (b"HTTP/1.1 200 OK\r\nConnection: Close\r\nContent-Length: 2\r\n\r\nok", b"ok", False),
        (b"HTTP/1.1 204 No Content\r\n\r\n", b"", True),
        (b"HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 204 No Content\r\n\r\n", b"", True),
        (
            b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n2;a=b\r\nok\r\n1\r\n!\r\n0\r\n\r\n",
            b"ok!",
            True,
        ),
        (b"HTTP/1.1 200\r\nContent-Length: 0\r\n\r\n", b"", True),
    ],
)
def test_response_is_read_however_it_is_cut(data: bytes, body: bytes, may_reuse: bool) -> None:
    found = None
    for end in range(len(data) + 1):
        found = parsed(data[:end], has_body=True, needs_body=True, at_end=False)
        if found and end < len(data):
            assert found.body == body, end
    assert found is not None and (found.body, found.may_reuse) == (body, may_reuse)


@pytest.mark.parametrize("framing", [b"Content-Length: 9000000", b"Connection: close"])
def test_body_that_is_not_needed_is_waited_for_only_if_its_end_is_near(framing: bytes) -> None:
    head = b"HTTP/1.1 503 Busy\r\nContent-Length: 9\r\n\r\n"
    assert parsed(head, has_body=True, needs_body=False, at_end=False) is None
    head = b"HTTP/1.1 503 Busy\r\n" + framing + b"\r\n\r\n"
    assert parsed(head, has_body=True, needs_body=True, at_end=False) is None
    found = parsed(head, has_body=True, needs_body=False, at_end=False)
    assert found is not None and found.status == 503 and not found.may_reuse
    head = b"HTTP/1.1 503 Busy\r\nContent-Length: 9\r\n\r\n"
    of_head = parsed(head, has_body=False, needs_body=False, at_end=False)
    assert of_head is not None and of_head.may_reuse


def test_body_to_the_end_of_the_connection_is_read_and_large_ones_are_cut() -> None:
    head = b"HTTP/1.1 200 OK\r\n\r\n"
    assert parsed(head + b"half", has_body=True, needs_body=True, at_end=False) is None
    whole = parsed(head + b"half", has_body=True, needs_body=True, at_end=True)
    assert whole is not None and whole.body == b"half"
    large = parsed(head + b"x" * 100_000, has_body=True, needs_body=True, at_end=False)
    assert large is not None and len(large.body) == 65536


@pytest.mark.parametrize(
    "data",
    [
        b"SSH-2.0-OpenSSH\r\n\r\n",
        b"HTTP/2 200 OK\r\n\r\n",
        b"HTTP/1.1 2000 OK\r\n\r\n",
        b"HTTP/1.1 200 OK\r\nContent-Length: -1\r\n\r\n",
        b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\nzz\r\n",
        b"x" * 70_000,
    ],
)
def test_what_is_no_response_is_refused(data: bytes) -> None:
    with pytest.raises(Malformed):
        parsed(data, has_body=True, needs_body=True, at_end=False)


@pytest.mark.parametrize("data", [b"", b"HTTP/1.1 200 OK\r\nConte"])
def test_response_that_ends_early_is_refused(data: bytes) -> None:
    with pytest.raises(Malformed):
        parsed(data, has_body=True, needs_body=False, at_end=True)
