"""The sink keeps the rules of CloudWatch Logs, misbehaves by plan, and writes down what it accepted."""

from __future__ import annotations

import asyncio
import socket
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from itertools import pairwise
from pathlib import Path
from typing import Any

import msgspec
import pytest

from tests.components.sink import Put, Sink, Window, random_windows

_NAMES = {"logGroupName": "g", "logStreamName": "s"}


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


class Client:
    """One connection to a sink; `ask` sends a call and returns the status and the answer."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._reader = reader
        self._writer = writer

    async def ask(self, call: str, content: dict[str, Any]) -> tuple[int, dict[str, Any]]:
        body = msgspec.json.encode(content)
        self._writer.write(
            f"POST / HTTP/1.1\r\nX-Amz-Target: Logs_20140328.{call}\r\nContent-Length: {len(body)}\r\n\r\n".encode()
            + body
        )
        head = (await self._reader.readuntil(b"\r\n\r\n")).decode()
        assert "x-amzn-RequestId: " in head
        length = int(head.lower().partition("content-length: ")[2].partition("\r")[0])
        return int(head.split(" ")[1]), msgspec.json.decode(await self._reader.readexactly(length))

    async def prepare(self) -> None:
        await self.ask("CreateLogGroup", {"logGroupName": "g"})
        await self.ask("CreateLogStream", _NAMES)

    async def put(self, *events: tuple[int, str]) -> tuple[int, dict[str, Any]]:
        return await self.ask(
            "PutLogEvents", {**_NAMES, "logEvents": [{"timestamp": t, "message": m} for t, m in events]}
        )


async def connect(port: int) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
    while True:
        with suppress(ConnectionRefusedError):
            return await asyncio.open_connection("127.0.0.1", port)
        await asyncio.sleep(0.005)


@asynccontextmanager
async def sink(folder: Path, *windows: str) -> AsyncIterator[Client]:
    port = free_port()
    running = asyncio.create_task(Sink(folder, port, map(Window.parse, windows)).run())
    reader, writer = await connect(port)
    try:
        yield Client(reader, writer)
    finally:
        writer.close()
        running.cancel()
        with suppress(asyncio.CancelledError):
            await running


def accepted(folder: Path) -> list[tuple[int, str, str]]:
    lines = (folder / "events.jsonl").read_bytes().splitlines()
    return [msgspec.json.decode(line, type=tuple[int, str, str]) for line in lines]


def outcomes(folder: Path) -> list[str]:
    return [msgspec.json.decode(line, type=Put).outcome for line in (folder / "puts.jsonl").read_bytes().splitlines()]


async def test_accepted_events_are_stored_in_order(tmp_path: Path) -> None:
    async with sink(tmp_path) as client:
        await client.prepare()
        first = await client.put((1, "a"), (2, "b"))
        second = await client.put((1, "c"))

    assert [first[0], second[0]] == [200, 200]
    assert accepted(tmp_path) == [(1, "s", "a"), (1, "s", "b"), (2, "s", "c")]
    assert outcomes(tmp_path) == ["answered", "answered"]


async def test_a_put_to_a_missing_stream_is_refused(tmp_path: Path) -> None:
    async with sink(tmp_path) as client:
        status, answer = await client.put((1, "a"))

    assert (status, answer["__type"]) == (400, "ResourceNotFoundException")
    assert accepted(tmp_path) == []
    assert outcomes(tmp_path) == ["refused"]


async def test_a_stream_is_created_once(tmp_path: Path) -> None:
    async with sink(tmp_path) as client:
        await client.prepare()
        status, answer = await client.ask("CreateLogStream", _NAMES)

    assert (status, answer["__type"]) == (400, "ResourceAlreadyExistsException")


@pytest.mark.parametrize(
    ("events", "word"),
    [
        pytest.param([], "0 log events", id="none"),
        pytest.param([(1, "x")] * 10_001, "10001 log events", id="too many"),
        pytest.param([(1, "x" * 600_000)] * 2, "too large", id="too large"),
        pytest.param([(1, "")], "empty", id="empty message"),
        pytest.param([(2, "x"), (1, "y")], "chronological", id="out of order"),
        pytest.param([(0, "x"), (86_400_000, "y")], "24 hours", id="too long a span"),
    ],
)
async def test_a_put_against_the_rules_is_invalid(tmp_path: Path, events: list[tuple[int, str]], word: str) -> None:
    async with sink(tmp_path) as client:
        await client.prepare()
        status, answer = await client.put(*events)

    assert (status, answer["__type"]) == (400, "InvalidParameterException")
    assert word in answer["message"]
    assert outcomes(tmp_path) == ["invalid"]


@pytest.mark.parametrize(
    ("mode", "status", "code"),
    [("throttle", 400, "ThrottlingException"), ("error500", 500, "InternalFailure")],
)
async def test_error_modes_answer_and_accept_nothing(tmp_path: Path, mode: str, status: int, code: str) -> None:
    async with sink(tmp_path, f"0+60={mode}") as client:
        await client.prepare()
        got, answer = await client.put((1, "a"))

    assert (got, answer["__type"]) == (status, code)
    assert accepted(tmp_path) == []


@pytest.mark.parametrize(("mode", "stored", "outcome"), [("cut_before", 0, "refused"), ("cut_after", 1, "in_doubt")])
async def test_cut_modes_close_without_an_answer(tmp_path: Path, mode: str, stored: int, outcome: str) -> None:
    async with sink(tmp_path, f"0+60={mode}") as client:
        await client.prepare()
        with pytest.raises((asyncio.IncompleteReadError, ConnectionResetError)):
            await client.put((1, "a"))

    assert len(accepted(tmp_path)) == stored
    assert outcomes(tmp_path) == [outcome]


async def test_a_gone_sink_refuses_connections_and_comes_back(tmp_path: Path) -> None:
    port = free_port()
    running = asyncio.create_task(Sink(tmp_path, port, [Window(0.05, 0.1, "gone")]).run())
    reader, writer = await connect(port)
    was_cut = await reader.read() == b""
    with pytest.raises(ConnectionRefusedError):
        await asyncio.open_connection("127.0.0.1", port)
    _, again = await connect(port)
    for open_writer in (writer, again):
        open_writer.close()
    running.cancel()
    with suppress(asyncio.CancelledError):
        await running

    assert was_cut


def test_windows_are_written_as_they_are_read() -> None:
    assert str(Window.parse("2.5+1=throttle")) == "2.5+1=throttle"


@pytest.mark.parametrize("text", ["1+2=sulk", "1+2", "a+2=throttle"])
def test_a_window_that_makes_no_sense_is_refused(text: str) -> None:
    with pytest.raises(ValueError, match=r"expected|could not"):
        Window.parse(text)


def test_random_windows_follow_their_seed_and_do_not_overlap() -> None:
    windows = random_windows(7, 60)

    assert windows == random_windows(7, 60) != random_windows(8, 60)
    assert len(windows) > 5
    assert all(a.begin + a.length < b.begin for a, b in pairwise(windows))
