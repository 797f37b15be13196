"""Bodies that are read while they are sent."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable, Generator
from contextlib import asynccontextmanager

import pytest

from shipper.clock import SystemClock
from shipper.log import Log
from shipper.net.http import HttpClient
from shipper.net.settings import HttpSettings, NoAnswer

from .server import HANG, ByteServer

PIECE = b"x" * 262_144
OK = b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n"
Serve = Callable[[asyncio.StreamReader, asyncio.StreamWriter], Awaitable[None]]


class Pieces:
    """A body of so many pieces, of which one may be missing; `taken` counts those that were asked for."""

    def __init__(self, count: int, missing: int = -1) -> None:
        self.size = count * len(PIECE)
        self.taken = 0
        self._count = count
        self._missing = missing

    def pieces(self) -> Generator[bytes, None, None]:
        for number in range(self._count):
            if number == self._missing:
                raise OSError("no such piece")
            self.taken += 1
            yield PIECE


@asynccontextmanager
async def client_of(port: int, io_timeout: float = 60.0) -> AsyncIterator[HttpClient]:
    settings = HttpSettings(host="127.0.0.1", port=port, io_timeout=io_timeout)
    client = HttpClient(settings, SystemClock(), Log(""), {})
    await client.open()
    try:
        yield client
    finally:
        await client.close()


@asynccontextmanager
async def serving(serve: Serve) -> AsyncIterator[int]:
    running = await asyncio.start_server(serve, "127.0.0.1", 0)
    try:
        yield running.sockets[0].getsockname()[1]
    finally:
        running.close()


@pytest.fixture
async def server() -> AsyncIterator[ByteServer]:
    found = ByteServer()
    await found.start()
    yield found
    await found.stop()


async def until_at_rest(body: Pieces) -> None:
    """Wait until nothing more is taken of the body."""
    seen, same = -1, 0
    async with asyncio.timeout(20):
        while same < 20:
            await asyncio.sleep(0.005)
            same = same + 1 if body.taken == seen else 0
            seen = body.taken


async def test_the_whole_body_follows_its_head_and_the_connection_is_kept(server: ByteServer) -> None:
    server.answers = [OK, OK]
    async with client_of(server.port) as client:
        for _ in range(2):
            answer = await client.request("PUT", "/k", {}, Pieces(8))

    assert answer.status == 200
    assert server.connections == 1
    head, _, body = server.requests[1].partition(b"\r\n\r\n")
    assert b"Content-Length: 2097152" in head
    assert body == PIECE * 8


async def test_no_more_is_read_than_the_network_takes() -> None:
    read = asyncio.Event()

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readuntil(b"\r\n\r\n")
        await read.wait()
        await reader.readexactly(400 * len(PIECE))
        writer.write(OK)
        await writer.drain()
        writer.close()

    body = Pieces(400)
    async with serving(serve) as port, client_of(port) as client:
        request = asyncio.create_task(client.request("PUT", "/", {}, body))
        await until_at_rest(body)
        taken_unread = body.taken
        read.set()
        answer = await request

    assert 0 < taken_unread < 200
    assert (answer.status, body.taken) == (200, 400)


async def test_an_answer_before_the_end_of_the_body_is_taken_and_the_connection_is_not_used_again() -> None:
    connections = []

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        connections.append(writer)
        await reader.readuntil(b"\r\n\r\n")
        writer.write(b"HTTP/1.1 403 Forbidden\r\nContent-Length: 0\r\n\r\n")
        await writer.drain()
        await asyncio.sleep(0.05)

    body = Pieces(400)
    async with serving(serve) as port, client_of(port) as client:
        first = await client.request("PUT", "/", {}, body)
        second = await client.request("PUT", "/", {}, b"")
        for writer in connections:
            writer.transport.abort()

    assert (first.status, second.status) == (403, 403)
    assert body.taken < 400
    assert len(connections) == 2


async def test_a_body_that_cannot_be_read_ends_the_request_and_its_connection(server: ByteServer) -> None:
    async with client_of(server.port) as client:
        with pytest.raises(NoAnswer, match="the body cannot be read: no such piece"):
            await client.request("PUT", "/", {}, Pieces(4, missing=2))
        answer = await client.request("GET", "/")

    assert answer.status == 204
    assert server.connections == 2


async def test_a_connection_that_ends_within_the_body_is_no_answer() -> None:
    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readuntil(b"\r\n\r\n")
        writer.transport.abort()

    async with serving(serve) as port, client_of(port) as client:
        with pytest.raises(NoAnswer, match="ended before the answer"):
            await client.request("PUT", "/", {}, Pieces(400))


async def test_a_request_may_have_a_deadline_of_its_own(server: ByteServer) -> None:
    server.answers = [HANG]
    async with client_of(server.port) as client:
        with pytest.raises(NoAnswer, match=r"no answer within 0\.05 seconds") as caught:
            await client.request("PUT", "/", {}, Pieces(1), 0.05)

    assert caught.value.timed_out
