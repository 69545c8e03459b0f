"""Requests and workers come together in one process: nothing is lost, nothing runs twice."""

import asyncio
import contextlib
import json
import socket
import threading
from collections.abc import AsyncIterator, Coroutine
from pathlib import Path
from typing import Any

import pytest

from headgate import Response
from headgate.pull import Job, Worker, frames

from .lab import TOKEN, lab, until

RESPONSE = [
    frames.told(frames.HEAD, {"status": 200, "headers": []}),
    frames.frame(frames.DATA, b"done"),
    frames.frame(frames.END),
]


def run(test: Coroutine[Any, Any, None]) -> None:
    async def limited() -> None:
        async with asyncio.timeout(30):
            await test

    asyncio.run(limited())


def test_request_and_response_go_through_whole(tmp_path: Path) -> None:
    async def handler(job: Job) -> Response:
        body = await job.read()
        told = {"method": job.method, "target": job.target, "path": job.path, "query": job.query}
        return Response.json({**told, "x": job.headers["x"], "body": len(body)}, 201, headers={"a": "b"})

    async def test() -> None:
        async with lab(tmp_path) as here:
            await here.worker(handler)
            body = bytes(3_000_000)
            response = await here.get("/a%20b?c=d", "X: 1", "X: 2", method="POST", body=body)
            assert response.status == 201
            assert response.fields["a"] == "b"
            assert json.loads(response.body) == {
                "method": "POST",
                "target": "/a%20b?c=d",
                "path": "/a b",
                "query": {"c": "d"},
                "x": "1, 2",
                "body": len(body),
            }

    run(test())


def test_chunked_bodies_go_both_ways(tmp_path: Path) -> None:
    async def handler(job: Job) -> Response:
        async def doubled() -> AsyncIterator[bytes]:
            async for part in job.chunks():
                yield part + part

        return Response.stream(doubled())

    async def test() -> None:
        async with lab(tmp_path) as here:
            await here.worker(handler)
            client = await here.client()
            client.writer.write(b"POST / HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nab")
            client.writer.write(b"c\r\n")
            client.writer.write(b"1\r\nd\r\n0\r\nTrailer: x\r\n\r\n")
            response = await client.response()
            assert response.fields["transfer-encoding"] == "chunked"
            assert sorted(response.body) == sorted(b"abcabcdd")
            client.send()
            assert (await client.response()).body == b""

    run(test())


@pytest.mark.parametrize(("method", "status"), [("HEAD", 200), ("GET", 204), ("GET", 304)])
def test_response_without_content_keeps_the_connection_in_step(
    tmp_path: Path, method: str, status: int
) -> None:
    async def test() -> None:
        async with lab(tmp_path) as here:
            await here.worker(lambda job: Response(status, b"" if status != 200 else b"length"))
            client = await here.client()
            for _ in range(2):
                client.send(method=method)
                assert (await client.response(method)).status == status

    run(test())


def test_plain_function_runs_beside_the_loop_with_the_body_read(tmp_path: Path) -> None:
    ran_in: list[str] = []

    def handler(job: Job) -> Response:
        ran_in.append(threading.current_thread().name)
        return Response(200, job.body)

    async def test() -> None:
        async with lab(tmp_path) as here:
            await here.worker(handler)
            assert (await here.get(method="PUT", body=b"content")).body == b"content"

    run(test())
    assert ran_in != [threading.main_thread().name]


def test_each_idle_worker_gets_one_request_and_the_others_wait(tmp_path: Path) -> None:
    async def test() -> None:
        async with lab(tmp_path) as here:
            one, two = await here.raw_worker(), await here.raw_worker()
            one.say(frames.frame(frames.READY))
            two.say(frames.frame(frames.READY))
            await until(lambda: len(here.dispatcher.idle) == 2)
            asked = [here.start(here.get(f"/{number}")) for number in range(3)]
            targets = set()
            for worker in (one, two):
                kind, payload = await worker.frame()
                assert kind == frames.JOB
                targets.add(frames.content(payload)["target"])
            await until(lambda: here.dispatcher.told()["waiting"] == 1)
            assert here.dispatcher.told()["running"] == 2
            one.say(*RESPONSE)
            third = await one.job()
            assert targets | {third["target"]} == {"/0", "/1", "/2"}
            one.say(*RESPONSE)
            two.say(*RESPONSE)
            assert [response.body for response in await asyncio.gather(*asked)] == [b"done"] * 3

    run(test())


def test_lost_worker_fails_what_may_not_run_twice(tmp_path: Path) -> None:
    async def test() -> None:
        async with lab(tmp_path) as here:
            worker = await here.raw_worker()
            asked = here.start(here.get(method="POST", body=b"x"))
            await worker.job()
            worker.writer.transport.abort()
            response = await asked
            assert response.status == 502
            assert response.fields["headgate-failure"] == "pull_worker_lost"
            assert not here.dispatcher.told()["requests"]

    run(test())


@pytest.mark.parametrize(
    ("method", "settings"), [("GET", {}), ("PUT", {}), ("POST", {"at_least_once": True})]
)
def test_lost_worker_hands_on_what_may_run_twice(
    tmp_path: Path, method: str, settings: dict[str, Any]
) -> None:
    async def test() -> None:
        async with lab(tmp_path, **settings) as here:
            one, two = await here.raw_worker(), await here.raw_worker()
            asked = here.start(here.get("/a", method=method, body=b"content"))
            assert (await one.job())["attempt"] == 1
            assert await one.frame() == (frames.DATA, b"content")
            one.writer.transport.abort()
            assert (await two.job())["attempt"] == 2
            assert await two.frame() == (frames.DATA, b"content")
            assert await two.frame() == (frames.END, b"")
            two.say(*RESPONSE)
            assert (await asked).body == b"done"

    run(test())


def test_request_is_not_handed_out_for_ever(tmp_path: Path) -> None:
    async def test() -> None:
        async with lab(tmp_path, attempts=2) as here:
            asked = here.start(here.get())
            for _ in range(2):
                worker = await here.raw_worker()
                await worker.job()
                worker.writer.transport.abort()
            assert (await asked).status == 502

    run(test())


def test_response_that_is_lost_midway_is_cut(tmp_path: Path) -> None:
    async def test() -> None:
        async with lab(tmp_path) as here:
            worker = await here.raw_worker()
            asked = here.start(here.get())
            await worker.job()
            worker.say(*RESPONSE[:2])
            await until(lambda: not here.dispatcher._timers)
            worker.writer.transport.abort()
            with pytest.raises((asyncio.IncompleteReadError, ConnectionError)):
                await asked

    run(test())


def test_client_that_leaves_takes_its_request_out_of_the_queue(tmp_path: Path) -> None:
    async def test() -> None:
        async with lab(tmp_path) as here:
            client = await here.client()
            client.send("/left")
            await until(lambda: here.dispatcher.told()["waiting"] == 1)
            client.writer.transport.abort()
            await until(lambda: not here.dispatcher.told()["waiting"])
            asked = here.start(here.get("/stays"))
            worker = await here.raw_worker()
            assert (await worker.job())["target"] == "/stays"
            worker.say(*RESPONSE)
            await asked

    run(test())


def test_client_that_leaves_cancels_the_handler_and_the_worker_serves_on(tmp_path: Path) -> None:
    cancelled = asyncio.Event()

    async def handler(job: Job) -> Response:
        if job.path == "/next":
            return Response(200, b"next")
        try:
            await asyncio.Event().wait()
        finally:
            assert job.is_cancelled
            cancelled.set()
        raise AssertionError("which is not reached")

    async def test() -> None:
        async with lab(tmp_path) as here:
            await here.worker(handler)
            client = await here.client()
            client.send("/long")
            await until(lambda: here.dispatcher.told()["running"] == 1)
            client.writer.transport.abort()
            await cancelled.wait()
            assert (await here.get("/next")).body == b"next"

    run(test())


def test_response_that_crosses_its_cancellation_is_nobody_elses(tmp_path: Path) -> None:
    async def test() -> None:
        async with lab(tmp_path) as here:
            worker = await here.raw_worker()
            client = await here.client()
            client.send("/left")
            await worker.job()
            client.writer.transport.abort()
            assert await worker.frame() == (frames.CANCEL, b"")
            asked = here.start(here.get("/next"))
            worker.say(*RESPONSE)
            assert (await worker.job())["target"] == "/next"
            worker.say(RESPONSE[0], frames.frame(frames.DATA, b"its own"), frames.frame(frames.END))
            assert (await asked).body == b"its own"

    run(test())


def test_full_queue_refuses_and_says_when_to_come_again(tmp_path: Path) -> None:
    async def test() -> None:
        async with lab(tmp_path, queue=1) as here:
            here.start(here.get())
            await until(lambda: here.dispatcher.told()["waiting"] == 1)
            response = await here.get()
            assert response.status == 503
            assert response.fields["headgate-failure"] == "pull_queue_full"
            assert int(response.fields["retry-after"]) >= 1

    run(test())


def test_refusal_reaches_a_client_whose_long_body_is_still_coming(tmp_path: Path) -> None:
    async def test() -> None:
        async with lab(tmp_path, queue=1) as here:
            here.start(here.get())
            await until(lambda: here.dispatcher.told()["waiting"] == 1)
            response = await here.get(method="POST", body=b"x" * 120_000)
            assert response.fields["headgate-failure"] == "pull_queue_full"

    run(test())


@pytest.mark.parametrize(
    ("fields", "settings", "failure", "status"),
    [
        ([], {"wait": 0.01}, "pull_wait_timeout", 503),
        (["Timeout: 10ms"], {"deadline": "timeout"}, "pull_deadline", 504),
    ],
)
def test_request_waits_no_longer_than_it_may(
    tmp_path: Path, fields: list[str], settings: dict[str, Any], failure: str, status: int
) -> None:
    async def test() -> None:
        async with lab(tmp_path, **settings) as here:
            response = await here.get("/", *fields)
            assert (response.status, response.fields["headgate-failure"]) == (status, failure)
            assert not here.dispatcher.told()["waiting"]

    run(test())


@pytest.mark.parametrize(
    ("fields", "settings", "failure"),
    [
        ([], {"timeout": 0.01}, "pull_worker_timeout"),
        (["Timeout: 10"], {"deadline": "timeout"}, "pull_deadline"),
    ],
)
def test_worker_that_takes_too_long_is_told_to_stop(
    tmp_path: Path, fields: list[str], settings: dict[str, Any], failure: str
) -> None:
    async def test() -> None:
        async with lab(tmp_path, **settings) as here:
            worker = await here.raw_worker()
            worker.say(frames.frame(frames.READY))
            await until(lambda: len(here.dispatcher.idle) == 1)
            asked = here.start(here.get("/", *fields))
            kinds = [(await worker.frame())[0] for _ in range(2)]
            assert kinds == [frames.JOB, frames.CANCEL]
            response = await asked
            assert (response.status, response.fields["headgate-failure"]) == (504, failure)

    run(test())


def test_worker_that_answers_no_ping_is_lost(tmp_path: Path) -> None:
    async def test() -> None:
        async with lab(tmp_path, ping=0.02) as here:
            worker = await here.raw_worker()
            asked = here.start(here.get(method="POST", body=b"x"))
            await worker.job()
            assert (await asked).fields["headgate-failure"] == "pull_worker_lost"

    run(test())


def test_busy_handler_answers_pings(tmp_path: Path) -> None:
    async def test() -> None:
        release = threading.Event()

        def handler(job: Job) -> Response:
            release.wait(20)
            return Response(200, b"late")

        async with lab(tmp_path, ping=0.5) as here:
            await here.worker(handler)
            asked = here.start(here.get())
            (link,) = here.dispatcher.links
            responses, on_frame = [], link._on_frame
            link._on_frame = lambda *frame: (responses.append(frame[0]), on_frame(*frame))  # type: ignore
            await until(lambda: responses.count(frames.PONG) == 2)
            release.set()
            assert (await asked).body == b"late"

    run(test())


@pytest.mark.parametrize("token", ["", "wrong", TOKEN + "t"])
def test_worker_without_the_token_is_refused(tmp_path: Path, token: str) -> None:
    async def test() -> None:
        async with lab(tmp_path) as here:
            worker = Worker(f"unix:{here.path}", token=token or "x")
            worker.handler(lambda job: Response())
            with pytest.raises(ExceptionGroup) as raised:
                await worker.serve()
            assert raised.group_contains(PermissionError)
            assert not here.dispatcher.links

    run(test())


def test_other_upgrades_are_refused(tmp_path: Path) -> None:
    async def test() -> None:
        async with lab(tmp_path) as here:
            response = await here.get("/", "Connection: upgrade", "Upgrade: websocket")
            assert response.status == 501

    run(test())


@pytest.mark.parametrize(
    "said",
    [
        frames.told(frames.HEAD, {"status": 99, "headers": []}),
        frames.told(frames.HEAD, {"status": 200, "headers": [["a\r\nb", "c"]]}),
        frames.told(frames.HEAD, {"status": 200, "headers": [["a", "b\r\nc: d"]]}),
        frames.told(frames.HEAD, {"status": 200, "headers": [["content-length", "-1"]]}),
        frames.told(frames.HEAD, {"status": 200}),
        frames.told(frames.HEAD, {"status": 200, "headers": [1]}),
        frames.told(frames.HEAD, {"status": 200, "headers": [["a", "b\x01"]]}),
        frames.told(frames.HEAD, {"status": 200, "headers": [["a", "b\x7f"]]}),
        frames.told(frames.HEAD, {"status": 200, "headers": [["a\x0b", "b"]]}),
        frames.told(frames.HEAD, {"status": 200, "headers": [["a", 1]]}),
        frames.told(frames.HEAD, {"status": True, "headers": []}),
        frames.frame(frames.HEAD, b'{"status": 1e999, "headers": []}'),
        frames.frame(frames.HEAD, b"[" * 100_000),
        frames.frame(frames.HEAD, b"{"),
        frames.frame(frames.DATA, b"before the head"),
        frames.frame(frames.END),
        frames.frame(frames.READY),
        frames.frame(b"?"),
        b"H\xff\xff\xff\xff",
        frames.frame(frames.FAIL),
    ],
)
def test_response_that_is_not_valid_is_a_failure_of_its_own(tmp_path: Path, said: bytes) -> None:
    async def test() -> None:
        async with lab(tmp_path) as here:
            worker = await here.raw_worker()
            asked = here.start(here.get())
            await worker.job()
            worker.say(said)
            response = await asked
            assert response.status == 502
            assert response.fields["headgate-failure"] == "pull_bad_response"

    run(test())


@pytest.mark.parametrize("length", ["3", "5"])
def test_response_of_another_length_than_it_says_is_cut(tmp_path: Path, length: str) -> None:
    async def test() -> None:
        async with lab(tmp_path) as here:
            worker = await here.raw_worker()
            asked = here.start(here.get())
            await worker.job()
            head = frames.told(frames.HEAD, {"status": 200, "headers": [["content-length", length]]})
            worker.say(head, *RESPONSE[1:])
            with pytest.raises((asyncio.IncompleteReadError, ConnectionError)):
                await asked

    run(test())


def test_handler_that_fails_is_a_500_and_the_worker_serves_on(tmp_path: Path) -> None:
    async def test() -> None:
        def handler(job: Job) -> Response:
            raise ValueError("on purpose")

        async with lab(tmp_path) as here:
            await here.worker(handler)
            for _ in range(2):
                assert (await here.get()).status == 500

    run(test())


def test_body_beyond_the_limit_of_the_worker_is_a_413(tmp_path: Path) -> None:
    async def test() -> None:
        async with lab(tmp_path) as here:
            await here.worker(lambda job: Response(), max_body_bytes=10)
            assert (await here.get(method="POST", body=b"x" * 11)).status == 413

    run(test())


def test_body_that_no_handler_reads_is_held_back(tmp_path: Path) -> None:
    async def test() -> None:
        release = asyncio.Event()

        async def handler(job: Job) -> Response:
            await release.wait()
            return Response(200, b"unread")

        async with lab(tmp_path) as here:
            await here.worker(handler)
            client = await here.client()
            client.send(method="POST", body=bytes(8 << 20))
            (link,) = here.dispatcher.links
            await until(lambda: link._in_flight >= frames.WINDOW)
            (one,) = here.dispatcher.clients
            await until(lambda: one._is_paused)
            assert len(one._data) + len(one._request.body if one._request else b"") < 1 << 20
            release.set()
            assert (await client.response()).body == b"unread"

    run(test())


def test_slow_client_holds_the_worker_back(tmp_path: Path) -> None:
    async def test() -> None:
        sent = 0

        async def handler(job: Job) -> Response:
            async def rows() -> AsyncIterator[bytes]:
                nonlocal sent
                for _ in range(200):
                    sent += 1
                    yield bytes(32 << 10)

            return Response.stream(rows())

        async with lab(tmp_path, ping=0.5) as here:
            await here.worker(handler)
            client = await here.client()
            client.send()
            (link,) = here.dispatcher.links or [None]
            assert link is not None
            await until(lambda: link._is_paused)
            assert sent < 200
            response = await client.response()
            assert len(response.body) == 200 * (32 << 10)

    run(test())


def test_workers_that_are_to_leave_come_again_and_nothing_is_lost(tmp_path: Path) -> None:
    async def test() -> None:
        async with lab(tmp_path) as here:
            for _ in range(2):
                await here.worker(lambda job: Response(200, b"ok"))
            before = set(here.dispatcher.links)
            asked = [here.start(here.get()) for _ in range(20)]
            here.dispatcher.have_all_leave()
            assert [one.status for one in await asyncio.gather(*asked)] == [200] * 20
            await until(lambda: len(here.dispatcher.idle) == 2)
            assert not before & here.dispatcher.links

    run(test())


def test_at_the_end_workers_leave_when_nothing_waits(tmp_path: Path) -> None:
    async def test() -> None:
        async with lab(tmp_path) as here:
            worker = await here.raw_worker()
            asked = [here.start(here.get()) for _ in range(2)]
            await until(lambda: here.dispatcher.told()["waiting"] == 2)
            here.dispatcher.have_all_leave(is_ending=True)
            for _ in range(2):
                await worker.job()
                worker.say(*RESPONSE)
            worker.say(frames.frame(frames.READY))
            assert (await worker.frame())[0] == frames.LEAVE
            assert [one.status for one in await asyncio.gather(*asked)] == [200] * 2

    run(test())


def test_worker_that_stops_finishes_its_request(tmp_path: Path) -> None:
    async def test() -> None:
        async def handler(job: Job) -> Response:
            worker.stop()
            return Response(200, b"the last")

        async with lab(tmp_path) as here:
            worker = await here.worker(handler)
            assert (await here.get()).body == b"the last"
            await until(lambda: not here.dispatcher.links)

    run(test())


def test_priorities_and_callers_come_from_fields(tmp_path: Path) -> None:
    async def test() -> None:
        async with lab(tmp_path, priority="priority", fair_by="header:x-user") as here:
            asked = []
            for target, *fields in (
                ("/a1", "X-User: a"),
                ("/a2", "X-User: a"),
                ("/b1", "X-User: b"),
                ("/low", "X-User: c", "Priority: u=7, i"),
                ("/high", "X-User: c", "Priority: 0"),
            ):
                asked.append(here.start(here.get(target, *fields)))
                await until(lambda: here.dispatcher.told()["waiting"] == len(asked))
            assert set(here.dispatcher.waiting._accounts) == {"a", "b", "c"}
            worker = await here.raw_worker()
            order = []
            for _ in asked:
                order.append((await worker.job())["target"])
                worker.say(*RESPONSE)
            await asyncio.gather(*asked)
            assert order[0] == "/high"
            assert order[-1] == "/low"

    run(test())


def test_figures_are_told_at_the_path_of_the_status(tmp_path: Path) -> None:
    async def test() -> None:
        async with lab(tmp_path, status_path="/queue") as here:
            here.start(here.get())
            await until(lambda: here.dispatcher.told()["waiting"] == 1)
            told = json.loads((await here.get("/queue?x")).body)
            assert (told["waiting"], told["running"], told["requests"], told["workers"]) == (1, 0, 1, 0)
            assert told["oldest_wait_seconds"] >= 0

    run(test())


@pytest.mark.parametrize("method", ["GET", "HEAD", "POST"])
def test_figures_with_a_body_before_them_leave_nothing_behind(tmp_path: Path, method: str) -> None:
    async def test() -> None:
        async with lab(tmp_path, status_path="/queue") as here:
            client = await here.client()
            hidden = b"GET /hidden HTTP/1.1\r\nHost: x\r\n\r\n" if method == "POST" else b""
            client.send("/queue", method=method, body=hidden)
            response = await client.response(method)
            assert response.status == 200 and bool(response.body) == (method != "HEAD")
            if hidden:
                # what was in the body is no request: the connection has ended
                assert await client.reader.read() == b"" and not here.dispatcher.told()["waiting"]
            else:
                client.send("/queue")
                assert json.loads((await client.response()).body)["waiting"] == 0

    run(test())


def test_worker_that_says_taken_without_reading_does_not_fill_the_memory(tmp_path: Path) -> None:
    async def test() -> None:
        async with lab(tmp_path) as here:
            worker = await here.raw_worker()
            client = await here.client()
            client.send("/", "Content-Length: 100000000", method="POST")
            await worker.job()
            (link,) = here.dispatcher.links
            here.start(_pour(client.writer))
            async with asyncio.timeout(20):
                while not link._is_full:
                    worker.say(frames.frame(frames.TAKEN, b"\xff" * 1000))
                    await asyncio.sleep(0)
            for _ in range(200):
                worker.say(frames.frame(frames.TAKEN, b"\xff" * 4))
                await asyncio.sleep(0)
            assert link._transport.get_write_buffer_size() < 2 << 20

    run(test())


async def _pour(writer: asyncio.StreamWriter) -> None:
    for _ in range(100):
        writer.write(bytes(1_000_000))
        await writer.drain()


def test_worker_whose_token_is_gone_gets_no_further_request(tmp_path: Path) -> None:
    async def test() -> None:
        async with lab(tmp_path) as here:
            idle, busy = await here.raw_worker(), await here.raw_worker()
            asked = here.start(here.get())
            await busy.job()
            idle.say(frames.frame(frames.READY))
            await until(lambda: len(here.dispatcher.idle) == 1)
            here.dispatcher.take_up(here.dispatcher.settings._replace(tokens=("other" * 8,)))
            assert await idle.reader.read() == b""
            busy.say(*RESPONSE)
            assert (await asked).body == b"done"
            waiting = here.start(here.get())
            await until(lambda: len(here.dispatcher.waiting) == 1)
            busy.say(frames.frame(frames.READY))
            assert await busy.frame() == (frames.LEAVE, b"") and not waiting.done()
            kept = here.dispatcher.settings._replace(tokens=(TOKEN,))
            here.dispatcher.take_up(kept)
            worker = await here.raw_worker()
            await worker.job()
            here.dispatcher.take_up(kept._replace(queue=1))
            worker.say(*RESPONSE)
            assert (await waiting).body == b"done"

    run(test())


def test_worker_that_leaves_hands_on_what_was_on_its_way(tmp_path: Path) -> None:
    async def handler(job: Job) -> Response:
        return Response(200, f"{job.method} {job.attempt} {len(await job.read())}")

    async def test() -> None:
        async with lab(tmp_path, attempts=1) as here:
            leaving = await here.raw_worker()
            leaving.say(frames.frame(frames.READY))
            await until(lambda: len(here.dispatcher.idle) == 1)
            asked = here.start(here.get("/", method="POST", body=bytes(100_000)))
            kind, _ = await leaving.frame()
            assert kind == frames.JOB
            leaving.say(frames.frame(frames.LEAVE), frames.frame(frames.BUSY))
            while await leaving.reader.read(1 << 16):
                pass  # until it is closed
            await here.worker(handler)
            assert (await asked).body == b"POST 1 100000"

    run(test())


def test_idle_worker_that_leaves_is_let_go(tmp_path: Path) -> None:
    async def test() -> None:
        async with lab(tmp_path) as here:
            leaving = await here.raw_worker()
            leaving.say(frames.frame(frames.READY), frames.frame(frames.LEAVE))
            assert await leaving.reader.read() == b""
            assert not here.dispatcher.idle

    run(test())


def test_worker_is_not_busy_with_what_it_was_never_handed(tmp_path: Path) -> None:
    async def test() -> None:
        async with lab(tmp_path) as here:
            liar = await here.raw_worker()
            liar.say(frames.frame(frames.READY), frames.frame(frames.BUSY))
            with contextlib.suppress(ConnectionError):
                assert await liar.reader.read() == b""
            await until(lambda: not here.dispatcher.links)

    run(test())


def test_bodies_of_the_queue_have_a_bound_together(tmp_path: Path) -> None:
    async def handler(job: Job) -> Response:
        return Response(200, str(len(await job.read())))

    async def test() -> None:
        async with lab(tmp_path, queue_bytes=1_000_000) as here:
            body = bytes(2_000_000)
            waiting = [here.start(here.get("/", method="POST", body=body)) for _ in range(3)]
            await until(lambda: len(here.dispatcher.waiting) == 3)
            refused = await here.get("/", method="POST", body=bytes(100_000))
            assert refused.status == 503
            assert refused.fields["headgate-failure"] == "pull_queue_full"
            small = here.start(here.get("/"))  # which holds nothing
            await until(lambda: len(here.dispatcher.waiting) == 4)
            assert sum(len(one.body) for one in here.dispatcher.waiting) <= 1_000_000
            await here.worker(handler)
            assert [(await one).body for one in waiting] == [b"2000000"] * 3
            assert (await small).body == b"0"
            assert here.dispatcher._held_bytes == 0

    run(test())


def test_wait_is_counted_once_though_a_worker_declines_the_request(tmp_path: Path) -> None:
    class Waits:
        counted = 0

        def observe(self, seconds: float) -> None:
            self.counted += 1

    async def test() -> None:
        async with lab(tmp_path) as here:
            waits: Any = Waits()
            here.dispatcher.figures.wait = waits
            declining = await here.raw_worker()
            asked = here.start(here.get("/"))
            await declining.job()
            other = await here.raw_worker()
            declining.say(frames.frame(frames.BUSY))
            await other.job()
            other.say(*RESPONSE)
            assert (await asked).status == 200
            assert waits.counted == 1

    run(test())


def test_worker_goes_on_though_the_end_of_its_response_was_more_than_its_client_had_read(
    tmp_path: Path,
) -> None:
    async def test() -> None:
        async with lab(tmp_path) as here:
            worker, client = await here.raw_worker(), await here.client()
            client.send("/1")
            await worker.job()
            (link,) = here.dispatcher.clients
            kept = link._transport.get_extra_info("socket")
            kept.setsockopt(
                socket.SOL_SOCKET, socket.SO_SNDBUF, 4096
            )  # so that the rest waits in the process
            body = frames.frame(frames.DATA, bytes(150_000))
            worker.say(RESPONSE[0], body, frames.frame(frames.END))
            assert len((await client.response()).body) == 150_000
            client.send("/2")
            assert (await worker.job())["target"] == "/2"

    run(test())
