"""The server against clients that are well-behaved, slow, greedy, or talk nonsense."""

from __future__ import annotations

import asyncio
import logging
import random
import socket
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import msgspec
import pytest

from shipper.log import Log
from shipper.metrics import Counter
from shipper.monitoring.server import (
    Answer,
    BadRequest,
    HttpServer,
    Limits,
    Request,
    body_size,
    is_loopback,
    parse_head,
)

from .scene import own_address

TIGHT = Limits(head_size=512, body_size=100, head_s=0.1, body_s=0.1, write_s=0.2, idle_s=0.2, requests=3, connections=2)

needs_v6 = pytest.mark.skipif(not socket.has_dualstack_ipv6(), reason="this machine has no IPv6")


def echo(request: Request) -> Answer:
    if request.path == "/boom":
        raise RuntimeError("a bug")
    if request.path == "/big":
        return Answer(body=b"x" * 30_000_000)
    return Answer(body=f"{request.method} {request.path}".encode(), content_type="text/plain")


@asynccontextmanager
async def serving(
    limits: Limits | None = None, failures: Counter | None = None, host: str = "127.0.0.1"
) -> AsyncIterator[HttpServer]:
    server = HttpServer(host, 0, echo, Log("[http_server] "), failures or Counter(), limits)
    await server.open()
    try:
        yield server
    finally:
        await server.close()


async def talk(server: HttpServer, *parts: bytes, pause_s: float = 0.0) -> bytes:
    """Send these parts; gives everything that comes until the server closes the connection."""
    reader, writer = await asyncio.open_connection("127.0.0.1", server.port)
    try:
        for part in parts:
            writer.write(part)
            await asyncio.sleep(pause_s)
        async with asyncio.timeout(5):
            return await reader.read()
    except ConnectionError:
        return b""
    finally:
        writer.close()


def asked(path: str, method: str = "GET", *headers: str, close: bool = True) -> bytes:
    lines = [f"{method} {path} HTTP/1.1", "Host: x", *headers, *(["Connection: close"] if close else [])]
    return "\r\n".join((*lines, "", "")).encode()


def status_of(answer: bytes) -> int:
    return int(answer.split(b" ", 2)[1])


async def test_an_answer_has_the_headers_of_fluent_bit() -> None:
    async with serving() as server:
        answer = await talk(server, asked("/a?b=c"))

    assert answer == (
        b"HTTP/1.1 200 \r\nserver: Fluent Bit\r\nx-http-engine: Monkey heritage\r\ncontent-length: 6\r\n"
        b"content-type: text/plain\r\nconnection: close\r\n\r\nGET /a"
    )


async def test_a_connection_serves_several_requests() -> None:
    async with serving() as server:
        answer = await talk(server, asked("/a", close=False) + asked("/b", close=False) + asked("/c"))

    assert [part[:6] for part in answer.split(b"\r\n\r\n")[1:]] == [b"GET /a", b"GET /b", b"GET /c"]


async def test_a_request_for_the_head_gets_no_body() -> None:
    async with serving() as server:
        answer = await talk(server, asked("/a", "HEAD"))

    assert b"content-length: 7\r\n" in answer and answer.endswith(b"\r\n\r\n")


async def test_a_body_is_read_away() -> None:
    async with serving() as server:
        first = asked("/a", "POST", "Content-Length: 4", close=False) + b"GET "
        answer = await talk(server, first + asked("/b"))

    assert b"POST /a" in answer and answer.endswith(b"GET /b")


@pytest.mark.parametrize("headers", [(), ("Content-Length: 0",)])
async def test_a_post_without_a_body_is_answered(headers: tuple[str, ...]) -> None:
    async with serving() as server:
        assert (await talk(server, asked("/a", "POST", *headers))).endswith(b"POST /a")


async def test_the_old_version_ends_with_the_answer() -> None:
    async with serving() as server:
        answer = await talk(server, b"GET /a HTTP/1.0\r\n\r\n")

    assert (status_of(answer), answer[-6:]) == (200, b"GET /a")


@pytest.mark.parametrize(
    ("request_text", "status"),
    [
        (b"nonsense\r\n\r\n", 400),
        (b"GET a HTTP/1.1\r\n\r\n", 400),
        (b"GET http://x/ HTTP/1.1\r\n\r\n", 400),
        (b"GET /a FTP/1.1\r\n\r\n", 400),
        (b"GET /a HTTP/2.0\r\n\r\n", 400),
        (b"GE\xd4 /a HTTP/1.1\r\n\r\n", 400),
        (b"CONNECT x:1 HTTP/1.1\r\n\r\n", 400),
        (b"GET  /a HTTP/1.1\r\n\r\n", 400),
        (b"GET /a HTTP/1.1\r\nno colon\r\n\r\n", 400),
        (b"GET /a HTTP/1.1\r\n folded: x\r\n\r\n", 400),
        (b"GET /a HTTP/1.1\r\na : x\r\n\r\n", 400),
        (b"GET /a HTTP/1.1\r\na: \x00\r\n\r\n", 400),
        (b"POST /a HTTP/1.1\r\nContent-Length: x\r\n\r\n", 400),
        (b"POST /a HTTP/1.1\r\nContent-Length: -1\r\n\r\n", 400),
        (b"POST /a HTTP/1.1\r\nContent-Length: 1\r\nContent-Length: 2\r\n\r\n", 400),
        (b"POST /a HTTP/1.1\r\nContent-Length: 101\r\n\r\n", 413),
        (b"POST /a HTTP/1.1\r\nContent-Length: 99999999999999999999\r\n\r\n", 413),
        (b"POST /a HTTP/1.1\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n", 411),
        (b"GET /a HTTP/1.1\r\n" + b"h: x\r\n" * 100 + b"\r\n", 431),
        (b"GET /" + b"a" * 600, 431),
    ],
)
async def test_what_cannot_be_understood_or_is_too_much_is_refused(request_text: bytes, status: int) -> None:
    async with serving(TIGHT) as server:
        answer = await talk(server, request_text)

    assert (status_of(answer), b"connection: close" in answer) == (status, True)


@pytest.mark.parametrize("method", ["TRACE", "BREW", "get", "M-SEARCH"])
async def test_every_method_is_left_to_the_pages(method: str) -> None:
    async with serving() as server:
        answer = await talk(server, asked("/a", method))

    assert (status_of(answer), answer.split(b"\r\n\r\n")[1]) == (200, f"{method} /a".encode())


@pytest.mark.parametrize(
    ("peer", "is_local"),
    [
        (("127.0.0.1", 1), True),
        (("127.8.9.1", 1), True),
        (("::1", 1, 0, 0), True),
        (("::ffff:127.0.0.1", 1, 0, 0), True),
        (("10.0.0.1", 1), False),
        (("::ffff:10.0.0.1", 1, 0, 0), False),
        (("fe80::1%eth0", 1, 0, 2), False),
        (("", 1), False),
        (None, False),
        ("", False),
    ],
)
def test_only_a_loopback_address_is_that_of_this_machine(peer: object, is_local: bool) -> None:
    assert is_loopback(peer) is is_local


@pytest.mark.parametrize(
    ("listen", "host"),
    [
        ("0.0.0.0", "127.0.0.1"),
        ("0.0.0.0", "own"),
        pytest.param("::", "::1", marks=needs_v6),
        pytest.param("::", "127.0.0.1", marks=needs_v6),
        pytest.param("::", "own", marks=needs_v6),
    ],
)
async def test_a_request_says_whether_it_comes_from_this_machine(listen: str, host: str) -> None:
    """An address of the machine that is not the loopback stands for that of another machine."""
    address = own_address() if host == "own" else host
    asked_for: list[Request] = []

    def note(request: Request) -> Answer:
        asked_for.append(request)
        return Answer()

    server = HttpServer(listen, 0, note, Log("[http_server] "), Counter())
    await server.open()
    reader, writer = await asyncio.open_connection(address, server.port, local_addr=(address, 0))
    writer.write(asked("/a"))
    await reader.read()
    writer.close()
    await server.close()

    assert [request.is_local for request in asked_for] == [host != "own"]


async def test_without_ipv6_all_addresses_are_those_of_ipv4(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(socket, "has_dualstack_ipv6", lambda: False)
    with caplog.at_level(logging.INFO, "shipper"):
        async with serving(host="::") as server:
            answer = await talk(server, asked("/a"))

    assert status_of(answer) == 200
    assert "this machine has no IPv6, so :: is 0.0.0.0" in caplog.text


@needs_v6
async def test_a_port_that_is_taken_for_one_family_is_refused_for_both() -> None:
    async with serving() as server:
        second = HttpServer("::", server.port, echo, Log("[http_server] "), Counter())
        with pytest.raises(OSError, match="in use"):
            await second.open()


async def test_a_head_that_does_not_end_in_time_is_refused() -> None:
    async with serving(TIGHT) as server:
        assert status_of(await talk(server, b"GET /a HT")) == 408


async def test_a_body_that_does_not_come_in_time_is_refused() -> None:
    async with serving(TIGHT) as server:
        assert status_of(await talk(server, asked("/a", "POST", "Content-Length: 4") + b"ab")) == 408


async def test_a_client_that_does_not_read_is_cut_off() -> None:
    async with serving(TIGHT) as server:
        reader, writer = await asyncio.open_connection("127.0.0.1", server.port)
        writer.write(asked("/big"))
        await asyncio.sleep(0.4)
        try:
            got = await reader.read(100_000_000)
            while more := await reader.read(100_000_000):
                got += more
        except ConnectionError:
            got = b""
        writer.close()

    assert len(got) < 30_000_000


async def test_a_connection_has_an_end() -> None:
    async with serving(TIGHT) as server:
        answer = await talk(server, asked("/a", close=False) * 5)

    assert answer.count(b"GET /a") == TIGHT.requests


async def test_a_client_too_many_takes_the_place_of_the_one_that_has_asked_for_nothing_longest() -> None:
    patient = msgspec.structs.replace(TIGHT, head_s=20.0, idle_s=20.0)
    async with serving(patient) as server:
        held = [await asyncio.open_connection("127.0.0.1", server.port) for _ in range(TIGHT.connections)]
        for reader, writer in held:
            writer.write(asked("/a", close=False))
            await reader.readuntil(b"/a")
        answer = await talk(server, asked("/a"))
        ended = await held[0][0].read()
        held[1][1].write(asked("/b"))
        other = await held[1][0].read()
        for _, writer in held:
            writer.close()

    assert (status_of(answer), ended, status_of(other)) == (200, b"", 200)


async def test_a_client_too_many_is_sent_away_if_all_others_are_being_answered() -> None:
    patient = msgspec.structs.replace(TIGHT, write_s=20.0)
    async with serving(patient) as server:
        held = [await asyncio.open_connection("127.0.0.1", server.port, limit=1) for _ in range(TIGHT.connections)]
        for _, writer in held:
            writer.write(asked("/big"))  # and nobody reads it
        answer = b""
        for _ in range(500):  # until both are being answered
            answer = await talk(server, asked("/a"))
            if status_of(answer) != 200:
                break
        for _, writer in held:
            writer.transport.abort()

    assert status_of(answer) == 429


async def test_a_bug_in_a_page_is_told_and_counted_and_the_server_goes_on(caplog: pytest.LogCaptureFixture) -> None:
    failures = Counter()
    async with serving(failures=failures) as server:
        bad, good = await talk(server, asked("/boom")), await talk(server, asked("/a"))

    assert (status_of(bad), status_of(good), failures.value) == (500, 200, 1)
    assert "a page failed" in caplog.text


async def test_a_stop_ends_open_connections() -> None:
    async with serving() as server:
        reader, writer = await asyncio.open_connection("127.0.0.1", server.port)
        await asyncio.sleep(0.02)
        await server.close()
        rest = await reader.read()
        writer.close()

    assert rest == b""


async def test_noise_of_any_kind_leaves_the_server_alive() -> None:
    rng = random.Random(1)
    pieces = [
        b"GET ",
        b"/a",
        b" HTTP/1.1",
        b"\r\n",
        b"\r\n\r\n",
        b"Content-Length: 5",
        b"\x00\xff",
        b":",
        b"Host: x",
        b"x",
    ]
    async with serving(TIGHT) as server:
        answers = []
        for _ in range(100):
            noise = b"".join(rng.choice(pieces) for _ in range(rng.randint(1, 12)))
            answers.append(await talk(server, noise + b"\r\n\r\n"))
        last = await talk(server, asked("/a"))

    assert {status_of(a) for a in answers if a} <= {200, 400, 408, 413, 431}
    assert status_of(last) == 200


@pytest.mark.parametrize("size", [0, 100])
def test_a_body_up_to_the_bound_is_taken(size: int) -> None:
    assert body_size(Request("POST", "/", {"content-length": str(size)}), 100) == size


def test_the_query_is_no_part_of_the_path() -> None:
    assert parse_head(b"GET /a?/b HTTP/1.1\r\nA: b \r\n\r\n") == Request("GET", "/a", {"a": "b"})


def test_an_empty_request_line_is_bad() -> None:
    with pytest.raises(BadRequest):
        parse_head(b"\r\n\r\n")
