"""What had arrived when a listener stops is taken, or counted, because its sender believes it to be delivered."""

from __future__ import annotations

import asyncio
import contextlib
import socket
import ssl
from collections.abc import Callable, Coroutine
from typing import Any

import msgspec
import pytest
import uvloop

from shipper.inputs.forward.input import ForwardInput
from shipper.inputs.listening import PushInput, connection
from shipper.inputs.syslog.input import SyslogInput
from shipper.inputs.tcp import TcpInput
from shipper.parsers.onigmo import Regex
from shipper.parsers.regex import RegexParser

from ...components.kubernetes import certificate_and_key
from .running import Running

NONE = "format none"


def texts(running: Running) -> list[str]:
    return [record.body["log"] for batch in running.batches for record in batch]


async def test_what_had_arrived_at_this_machine_is_taken() -> None:
    """The loop has no chance to see it before the stop."""
    async with Running(TcpInput, NONE) as running:
        with socket.create_connection(("127.0.0.1", running.port)) as client:
            client.sendall(b"line 0\n")
            await running.until(lambda: texts(running) == ["line 0"])
            client.sendall(b"".join(b"line %d\n" % n for n in range(1, 5000)))
            await running.stop()

            assert texts(running) == [f"line {n}" for n in range(5000)]
            # Nothing was unread, so this is an ordinary end.
            assert client.recv(1) == b""


async def test_a_sender_that_never_ends_does_not_hold_up_the_stop(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(connection, "MOST_AT_STOP", 1000)
    monkeypatch.setattr(connection, "READ_AHEAD", 500)
    async with Running(TcpInput, NONE) as running:
        with socket.create_connection(("127.0.0.1", running.port)) as client:
            client.sendall(b"line\n")
            await running.until(lambda: texts(running) == ["line"])
            client.sendall(b"line\n" * 5000)
            await running.stop()

    assert len(texts(running)) == 201


async def test_of_a_message_that_is_not_whole_the_loss_is_counted() -> None:
    async with Running(TcpInput, NONE) as running:
        with socket.create_connection(("127.0.0.1", running.port)) as client:
            client.sendall(b"one\n")
            await running.until(lambda: texts(running) == ["one"])
            client.sendall(b"two\nthr")
            await running.stop()

    assert texts(running) == ["one", "two", "thr"][: len(texts(running))]
    assert running.dropped("unterminated") + len(texts(running)) == 3


# -- over TLS, where only the transport can read -----------------------------------------------------------------------

LOOPS = pytest.mark.parametrize("new_loop", [asyncio.new_event_loop, uvloop.new_event_loop], ids=["asyncio", "uvloop"])
NewLoop = Callable[[], asyncio.AbstractEventLoop]


class OverTls:
    """The options for a listener with TLS, and clients that trust it."""

    def __init__(self) -> None:
        self._crt, key = certificate_and_key()
        self.lines = f"{NONE}\ntls on\ntls.crt_file {self._crt}\ntls.key_file {key}"

    async def connected(self, port: int) -> ssl.SSLSocket:
        """A client that sends without the loop."""
        context = ssl.create_default_context(cafile=str(self._crt))

        def connect() -> ssl.SSLSocket:
            client = socket.create_connection(("127.0.0.1", port))
            client.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)  # what is sent arrives at once
            return context.wrap_socket(client, server_hostname="127.0.0.1")

        return await asyncio.to_thread(connect)


@LOOPS
def test_what_had_arrived_over_tls_is_taken(new_loop: NewLoop) -> None:
    async def scenario() -> None:
        tls = OverTls()
        async with Running(TcpInput, tls.lines) as running:
            with await tls.connected(running.port) as client:
                client.sendall(b"line 0\n")
                await running.until(lambda: texts(running) == ["line 0"])
                client.sendall(b"".join(b"line %d\n" % n for n in range(1, 5000)))
                await running.stop()

        assert texts(running) == [f"line {n}" for n in range(5000)]

    run_in(new_loop, scenario)


@LOOPS
def test_a_sender_over_tls_that_never_ends_does_not_hold_up_the_stop(
    new_loop: NewLoop, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(connection, "MOST_AT_STOP", 1000)
    lines = b"line\n" * 200

    def send_without_end(client: ssl.SSLSocket) -> None:
        with contextlib.suppress(OSError):
            while True:
                client.sendall(lines)

    async def scenario() -> None:
        tls = OverTls()
        async with Running(TcpInput, tls.lines) as running:
            with await tls.connected(running.port) as client:
                sending = asyncio.ensure_future(asyncio.to_thread(send_without_end, client))
                await running.until_records(200)
                await running.stop()
                await running.input.close()
                await sending

    run_in(new_loop, scenario)


@LOOPS
def test_what_had_arrived_over_tls_and_finds_no_room_is_counted(new_loop: NewLoop) -> None:
    async def scenario() -> None:
        tls = OverTls()
        async with Running(TcpInput, tls.lines) as running:
            running.gate.clear()
            with await tls.connected(running.port) as client:
                client.sendall(b"first\n")
                await running.until(lambda: running.is_held_up)
                client.sendall(b"line\n" * 4000)
                (sender,) = running.input.listener._connections  # type: ignore[attr-defined]
                await running.until(lambda: sender._waiting == 5 * 4000)
                await running.cancel()

        assert running.dropped("cut_off") == 4001

    run_in(new_loop, scenario)


def run_in(new_loop: NewLoop, scenario: Callable[[], Coroutine[Any, Any, None]]) -> None:
    with asyncio.Runner(loop_factory=new_loop) as runner:
        runner.run(scenario())


# -- while the buffers are full ----------------------------------------------------------------------------------------


def forwarded(number: int, **more: str) -> bytes:
    """A message under one of seven tags."""
    return msgspec.msgpack.encode([f"t{number % 7}", 1_795_000_000, {"m": f"line {number}"}, more])


def line(number: int) -> bytes:
    return b"line %d\n" % number


@pytest.mark.parametrize(
    ("plugin", "lines", "encode"),
    [(TcpInput, NONE, line), (SyslogInput, "mode tcp\nparser p", line), (ForwardInput, "", forwarded)],
    ids=["tcp", "syslog", "forward"],
)
async def test_everything_that_had_arrived_and_finds_no_room_is_counted(
    plugin: type[PushInput], lines: str, encode: Callable[[int], bytes]
) -> None:
    parsers = {"p": RegexParser("p", Regex.parse("^(?<m>.*)$"))}
    async with Running(plugin, lines, parsers=parsers) as running:
        running.gate.clear()
        with socket.create_connection(("127.0.0.1", running.port)) as client:
            client.sendall(b"".join(map(encode, range(500))))
            await running.until(lambda: running.is_held_up)
            client.sendall(b"".join(map(encode, range(500, 2000))))
            await running.cancel()

    assert running.records == []
    assert running.dropped("cut_off") == 2000


async def test_a_chunk_that_is_not_taken_is_no_loss_because_it_is_sent_again() -> None:
    async with Running(ForwardInput) as running:
        running.gate.clear()
        with socket.create_connection(("127.0.0.1", running.port)) as client:
            client.sendall(forwarded(0) + forwarded(1, chunk="a") + forwarded(2) + forwarded(3, chunk="b"))
            await running.until(lambda: running.is_held_up)
            await running.cancel()
            await running.input.close()

            assert client.recv(1) == b""

    assert running.dropped("cut_off") == 2


async def test_half_a_message_is_counted_where_the_rest_finds_no_room() -> None:
    async with Running(TcpInput, NONE) as running:
        running.gate.clear()
        with socket.create_connection(("127.0.0.1", running.port)) as client:
            client.sendall(b"one\ntwo\nthr")
            await running.until(lambda: running.is_held_up)
            await running.cancel()

    assert (running.dropped("cut_off"), running.dropped("unterminated")) == (2, 1)
