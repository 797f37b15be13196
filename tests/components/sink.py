"""A process that stands for CloudWatch Logs and can be made to misbehave.

It speaks the JSON 1.1 protocol of CreateLogGroup, CreateLogStream, PutRetentionPolicy and PutLogEvents over plain HTTP,
holds every put to the rules of the real service, and appends to two files in the given folder:

    events.jsonl   one line per accepted event, in order of acceptance: [put, log stream, message]
    puts.jsonl     one line per put: when it came, when it was accepted, what became of it (`Put`)

A put that was accepted but not answered (the connection was cut, the answer hung) is *in doubt*: a shipper has to send
it again, and the duplicates are explained by it.

Misbehaviour comes in windows of time, counted from the start: `BEGIN+LENGTH=MODE`, for example `2.5+1=throttle`.
"""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import random
import time
from collections.abc import Awaitable, Callable, Iterable
from pathlib import Path
from typing import Any, Literal, get_args

import msgspec

Mode = Literal["healthy", "throttle", "error500", "cut_before", "cut_after", "hang", "gone"]
Outcome = Literal["answered", "in_doubt", "refused", "invalid"]

MOST_EVENTS = 10_000
MOST_BYTES = 1_048_576
EVENT_OVERHEAD = 26
LONGEST_SPAN_MS = 24 * 3600 * 1000
_REQUEST_ID = "00000000-0000-4000-8000-000000000000"


class Put(msgspec.Struct, frozen=True):
    """One PutLogEvents request: its number, wall times in seconds, its outcome and the number of events."""

    number: int
    begun: float
    ended: float
    outcome: Outcome
    events: int
    detail: str = ""


class Window(msgspec.Struct, frozen=True):
    """A time in which every put meets the same misbehaviour; seconds since the start of the sink."""

    begin: float
    length: float
    mode: Mode

    @classmethod
    def parse(cls, text: str) -> Window:
        when, _, mode = text.partition("=")
        begin, _, length = when.partition("+")
        if mode not in get_args(Mode):
            raise ValueError(f"expected BEGIN+LENGTH=MODE with a mode of {get_args(Mode)}, got {text!r}")
        return msgspec.convert({"begin": float(begin), "length": float(length), "mode": mode}, cls)

    def __str__(self) -> str:
        return f"{self.begin:g}+{self.length:g}={self.mode}"


def random_windows(seed: int, seconds: float) -> list[Window]:
    """Windows of misbehaviour over so many seconds, healthy times between them; the same for the same seed."""
    rng = random.Random(seed)
    modes = [mode for mode in get_args(Mode) if mode != "healthy"]
    windows = []
    begin = rng.uniform(1, 3)
    while begin < seconds:
        length = rng.uniform(0.2, 1.5)
        windows.append(Window(round(begin, 3), round(length, 3), rng.choice(modes)))
        begin += length + rng.uniform(1, 4)
    return windows


class Event(msgspec.Struct):
    """One log event of a put."""

    timestamp: int
    message: str


class _Names(msgspec.Struct):
    """What every request of the protocol carries; create requests have no events."""

    group: str = msgspec.field(name="logGroupName")
    stream: str = msgspec.field(name="logStreamName", default="")
    events: list[Event] = msgspec.field(name="logEvents", default_factory=list)


class Refused(Exception):
    """A request that the service answers with an error."""

    def __init__(self, code: str, text: str, status: int = 400) -> None:
        super().__init__(f"{code}: {text}")
        self.code = code
        self.text = text
        self.status = status


def check_put(events: list[Event]) -> None:
    """Raise `Refused` where the real service would refuse the events of one put."""
    if not 1 <= len(events) <= MOST_EVENTS:
        raise Refused("InvalidParameterException", f"{len(events)} log events in a batch")
    size = sum(len(e.message.encode()) + EVENT_OVERHEAD for e in events)
    if size > MOST_BYTES:
        raise Refused("InvalidParameterException", f"Upload too large: {size} bytes exceeds limit of {MOST_BYTES}")
    if not all(e.message for e in events):
        raise Refused("InvalidParameterException", "log event message is empty")
    times = [e.timestamp for e in events]
    if times != sorted(times):
        raise Refused("InvalidParameterException", "Log events in a single request must be in chronological order.")
    if times[-1] - times[0] >= LONGEST_SPAN_MS:
        raise Refused("InvalidParameterException", "The batch of log events cannot span more than 24 hours.")


class Service:
    """Groups, streams and accepted events: the service without the network."""

    def __init__(self, folder: Path) -> None:
        self._events = (folder / "events.jsonl").open("ab", buffering=0)
        self._encode = msgspec.json.Encoder().encode
        # Streams by group; a put to a stream that is not here is refused.
        self._groups: dict[str, set[str]] = {}

    def create_group(self, names: _Names) -> dict[str, Any]:
        if names.group in self._groups:
            raise Refused("ResourceAlreadyExistsException", "The specified log group already exists")
        self._groups[names.group] = set()
        return {}

    def create_stream(self, names: _Names) -> dict[str, Any]:
        streams = self._streams(names)
        if names.stream in streams:
            raise Refused("ResourceAlreadyExistsException", "The specified log stream already exists")
        streams.add(names.stream)
        return {}

    def put_retention(self, names: _Names) -> dict[str, Any]:
        self._streams(names)
        return {}

    def check(self, names: _Names) -> None:
        """Raise `Refused` if the put cannot be accepted."""
        if names.stream not in self._streams(names):
            raise Refused("ResourceNotFoundException", "The specified log stream does not exist.")
        check_put(names.events)

    def accept(self, put: int, names: _Names) -> None:
        """Store the events of a put; from now on they are delivered."""
        lines = [self._encode((put, names.stream, event.message)) for event in names.events]
        self._events.write(b"\n".join(lines) + b"\n")

    def close(self) -> None:
        self._events.close()

    def _streams(self, names: _Names) -> set[str]:
        if names.group not in self._groups:
            raise Refused("ResourceNotFoundException", "The specified log group does not exist.")
        return self._groups[names.group]


class _Cut(Exception):
    """The connection is to be closed without an answer."""


class Sink:
    """The service behind a listener that misbehaves by the plan of its windows."""

    def __init__(self, folder: Path, port: int, windows: Iterable[Window]) -> None:
        self._service = Service(folder)
        self._puts = (folder / "puts.jsonl").open("ab", buffering=0)
        self._port = port
        self._windows = sorted(windows, key=lambda w: w.begin)
        self._begin = time.monotonic()
        self._number = 0
        self._connections: set[asyncio.StreamWriter] = set()
        self._decode = msgspec.json.Decoder(_Names).decode
        service = self._service
        self._calls: dict[str, Callable[[_Names], dict[str, Any]]] = {
            "CreateLogGroup": service.create_group,
            "CreateLogStream": service.create_stream,
            "PutRetentionPolicy": service.put_retention,
        }

    async def run(self) -> None:
        """Listen, except in windows of mode `gone`, until cancelled."""
        self._begin = time.monotonic()
        gone = [w for w in self._windows if w.mode == "gone"]
        try:
            for window in gone:
                await self._listen(self._begin + window.begin - time.monotonic())
                await asyncio.sleep(window.length)
            await self._listen(None)
        finally:
            self._service.close()
            self._puts.close()

    async def _listen(self, seconds: float | None) -> None:
        """Accept connections for so long, or for ever; afterwards the port is closed and so are they."""
        server = await asyncio.start_server(self._serve, "127.0.0.1", self._port, limit=4 << 20)
        try:
            await (asyncio.sleep(max(0.0, seconds)) if seconds is not None else asyncio.Event().wait())
        finally:
            server.close()
            for connection in self._connections:
                connection.transport.abort()

    def _mode(self) -> Mode:
        now = time.monotonic() - self._begin
        current = [w.mode for w in self._windows if w.begin <= now < w.begin + w.length]
        return current[-1] if current else "healthy"

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._connections.add(writer)
        try:
            while True:
                call, body = await _read_request(reader)
                await self._answer(call, body, writer)
        except (_Cut, asyncio.IncompleteReadError, ConnectionError):
            pass  # the end of a connection, wanted or not; what it means for a put has been written down
        finally:
            self._connections.discard(writer)
            writer.transport.abort()

    async def _answer(self, call: str, body: bytes, writer: asyncio.StreamWriter) -> None:
        names = self._decode(body)
        if call == "PutLogEvents":
            await self._take_put(names, lambda status, answer: _write_answer(writer, status, answer))
            return
        try:
            status, answer = 200, self._calls[call](names)
        except Refused as refusal:
            status, answer = refusal.status, {"__type": refusal.code, "message": refusal.text}
        await _write_answer(writer, status, answer)

    async def _take_put(self, names: _Names, answer: Callable[[int, dict[str, Any]], Awaitable[None]]) -> None:
        """Refuse or accept a put as the present mode says, and write down what became of it."""
        self._number += 1
        number, begun, mode = self._number, time.time(), self._mode()
        outcome: Outcome = "in_doubt"
        detail: str = mode
        try:
            _misbehave_before(mode)
            self._service.check(names)
            self._service.accept(number, names)
            await _misbehave_after(mode)
            await answer(200, {"nextSequenceToken": "1"})
            outcome = "answered"
        except Refused as refusal:
            outcome, detail = "invalid" if refusal.code.startswith("Invalid") else "refused", str(refusal)
            await answer(refusal.status, {"__type": refusal.code, "message": refusal.text})
        except _Cut:
            outcome = "refused" if mode == "cut_before" else "in_doubt"
            raise
        finally:
            put = Put(number, begun, time.time(), outcome, len(names.events), detail)
            self._puts.write(msgspec.json.encode(put) + b"\n")


def _misbehave_before(mode: Mode) -> None:
    if mode == "throttle":
        raise Refused("ThrottlingException", "Rate exceeded")
    if mode == "error500":
        raise Refused("InternalFailure", "The request processing has failed.", 500)
    if mode == "cut_before":
        raise _Cut


async def _misbehave_after(mode: Mode) -> None:
    if mode == "hang":
        await asyncio.sleep(1.0)
    if mode in ("cut_after", "hang"):
        raise _Cut


async def _read_request(reader: asyncio.StreamReader) -> tuple[str, bytes]:
    """The name of the call and the body of the next request."""
    head = (await reader.readuntil(b"\r\n\r\n")).decode("latin-1")
    pairs = (line.partition(":") for line in head.split("\r\n")[1:])
    headers = {name.strip().lower(): value.strip() for name, _, value in pairs}
    body = await reader.readexactly(int(headers.get("content-length", "0")))
    return headers.get("x-amz-target", "").rpartition(".")[2], body


async def _write_answer(writer: asyncio.StreamWriter, status: int, answer: dict[str, Any]) -> None:
    body = msgspec.json.encode(answer)
    code = answer.get("__type")
    error = f"x-amzn-ErrorType: {code}\r\n" if code else ""
    writer.write(
        f"HTTP/1.1 {status} {'OK' if status == 200 else 'Error'}\r\nContent-Type: application/x-amz-json-1.1\r\n"
        f"x-amzn-RequestId: {_REQUEST_ID}\r\n{error}Content-Length: {len(body)}\r\n\r\n".encode()
        + body
    )
    await writer.drain()


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description="Stand for CloudWatch Logs and misbehave by plan.")
    parser.add_argument("folder", type=Path)
    parser.add_argument("--port", type=int, required=True)
    parser.add_argument("--window", type=Window.parse, action="append", default=[], help="BEGIN+LENGTH=MODE")
    return parser.parse_args()


def main() -> None:
    options = _options()
    options.folder.mkdir(parents=True, exist_ok=True)
    with contextlib.suppress(KeyboardInterrupt):
        asyncio.run(Sink(options.folder, options.port, options.window).run())


if __name__ == "__main__":
    main()
