"""Answers that are read while they come."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator

import pytest

from shipper.clock import SystemClock
from shipper.log import Log
from shipper.net.answer_stream import MOST_UNREAD, AnswerStream
from shipper.net.http import HttpClient
from shipper.net.settings import HttpSettings, NoAnswer

HEAD = b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n"


class Peer:
    """A server whose one answer the test writes piece by piece."""

    def __init__(self) -> None:
        self.port = 0
        self.writer: asyncio.StreamWriter | None = None
        self.has_request = asyncio.Event()

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readuntil(b"\r\n\r\n")
        self.writer = writer
        self.has_request.set()

    async def say(self, data: bytes) -> None:
        await self.has_request.wait()
        assert self.writer is not None
        self.writer.write(data)

    async def end(self) -> None:
        await self.has_request.wait()
        assert self.writer is not None
        self.writer.close()

    async def follow(self, client: HttpClient, first: bytes) -> AnswerStream:
        """Ask, and let the answer begin with these bytes."""
        asking = asyncio.create_task(client.follow("GET", "/"))
        await self.say(first)
        return await asking


@pytest.fixture
async def peer() -> AsyncIterator[Peer]:
    found = Peer()
    server = await asyncio.start_server(found.serve, "127.0.0.1", 0)
    found.port = server.sockets[0].getsockname()[1]
    yield found
    if found.writer is not None:
        found.writer.transport.abort()
    server.close()
    await server.wait_closed()
    await asyncio.sleep(0.01)


@pytest.fixture
async def client(peer: Peer) -> AsyncIterator[HttpClient]:
    made = HttpClient(HttpSettings(host="127.0.0.1", port=peer.port, io_timeout=0.5), SystemClock(), Log("[test] "), {})
    await made.open()
    yield made
    await made.close()


async def test_bytes_are_there_before_the_answer_is_complete(peer: Peer, client: HttpClient) -> None:
    stream = await peer.follow(client, HEAD + b"3\r\nab\n\r\n")

    assert stream.status == 200
    assert await stream.read(1) == b"ab\n"
    await peer.say(b"2\r\nc")
    assert await stream.read(1) == b"c"
    await peer.say(b"d\r\n0\r\n\r\n")
    assert await stream.read(1) == b"d"
    assert await stream.read(1) == b""
    assert await stream.read(1) == b""
    stream.close()


async def test_a_connection_that_breaks_is_no_end_of_the_answer(peer: Peer, client: HttpClient) -> None:
    stream = await peer.follow(client, HEAD + b"5\r\nab")
    await peer.end()

    assert await stream.read(1) == b"ab"
    with pytest.raises(NoAnswer, match="ended before the answer"):
        await stream.read(1)
    stream.close()


async def test_silence_ends_after_the_patience_of_the_reader(peer: Peer, client: HttpClient) -> None:
    stream = await peer.follow(client, HEAD)

    with pytest.raises(NoAnswer) as caught:
        await stream.read(0.01)
    assert caught.value.timed_out
    stream.close()


async def test_the_wait_for_the_head_is_bounded(client: HttpClient) -> None:
    with pytest.raises(NoAnswer, match=r"no answer within 0\.5 seconds"):
        await client.follow("GET", "/")


async def test_no_more_than_a_bound_is_here_unread(peer: Peer, client: HttpClient) -> None:
    size = 16 * MOST_UNREAD
    stream = await peer.follow(client, HEAD + b"%x\r\n" % size)
    await peer.say(b"x" * size + b"\r\n0\r\n\r\n")
    await asyncio.sleep(0.05)

    first = await stream.read(1)
    total = len(first)
    while data := await stream.read(1):
        total += len(data)

    assert len(first) <= 3 * MOST_UNREAD
    assert total == size
    stream.close()


async def test_a_stream_that_is_closed_in_the_middle_leaves_nothing_behind(peer: Peer, client: HttpClient) -> None:
    stream = await peer.follow(client, HEAD + b"5\r\nab")
    stream.close()
    await asyncio.sleep(0.01)

    assert await stream.read(1) == b"ab"
    with pytest.raises(NoAnswer):
        await stream.read(1)
