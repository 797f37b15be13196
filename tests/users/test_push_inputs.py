"""Users' row M4: senders of forward and tcp lose nothing while we have no room."""

from __future__ import annotations

import random
import select
import socket
import time
from collections import deque
from collections.abc import Callable
from contextlib import closing
from pathlib import Path

import msgspec
import pytest

from shipper.codecs.msgpack_stream import ValueReader

from .storing import Station

_RECORDS = 20
_TEXT = "x" * 500
_SEGMENT = 65_536


def unused_port() -> int:
    """A port below those that the system gives to clients."""
    while True:
        with closing(socket.socket()) as one:
            try:
                one.bind(("127.0.0.1", random.randint(20_000, 30_000)))
            except OSError:
                continue
            return int(one.getsockname()[1])


class Sender:
    """Sends numbered chunks and sends those again that were not acknowledged when its connection broke."""

    def __init__(self, port: int, chunks: int) -> None:
        self._port = port
        self._to_send = deque(range(chunks))
        self._sent: list[int] = []
        self.acknowledged: set[int] = set()
        self._socket: socket.socket | None = None
        self._left = memoryview(b"")
        self._values = ValueReader()

    @staticmethod
    def lines_of(chunk: int) -> list[str]:
        return [f"{chunk}-{n} {_TEXT}" for n in range(_RECORDS)]

    @property
    def is_done(self) -> bool:
        return not self._to_send and not self._sent

    def work(self, seconds: float, until: Callable[[], bool] = lambda: False) -> None:
        """Send and read acknowledgements for a while, or until the condition holds."""
        end = time.monotonic() + seconds
        while time.monotonic() < end and not until():
            try:
                self._step()
            except OSError:
                self._break_off()
                time.sleep(0.05)

    def _step(self) -> None:
        if self._socket is None:
            self._socket = socket.create_connection(("127.0.0.1", self._port), timeout=1)
            self._socket.setblocking(False)
        wants_to_write = [self._socket] if self._left or self._to_send else []
        readable, writable, _ = select.select([self._socket], wants_to_write, [], 0.05)
        if readable:
            data = self._socket.recv(_SEGMENT)
            if not data:
                raise ConnectionResetError("the shipper hung up")
            for answer in self._values.feed(data):
                chunk = int(answer[b"ack"])
                self._sent.remove(chunk)
                self.acknowledged.add(chunk)
        if writable:
            if not self._left:
                chunk = self._to_send.popleft()
                self._sent.append(chunk)
                entries = [[1_700_000_000, {"log": line}] for line in self.lines_of(chunk)]
                self._left = memoryview(msgspec.msgpack.encode(["app", entries, {"chunk": str(chunk)}]))
            self._left = self._left[self._socket.send(self._left[:_SEGMENT]) :]

    def _break_off(self) -> None:
        if self._socket is not None:
            self._socket.close()
        self._socket, self._left, self._values = None, memoryview(b""), ValueReader()
        self._to_send.extendleft(reversed(self._sent))
        self._sent.clear()

    def close(self) -> None:
        if self._socket is not None:
            self._socket.close()


def station_of(folder: Path, storage: str, section: str) -> Station:
    options = f"{section}\n    storage.type {storage}\n    mem_buf_limit 1M\n"
    # With a folder, what the sink does not take would be moved there after a second, and be acknowledged.
    path = None if storage == "memory" else ""
    return Station(folder, sections=f"[INPUT]\n    listen 127.0.0.1\n    alias push\n{options}", tail="", path=path)


@pytest.mark.parametrize("storage", ["memory", "filesystem"])
def test_m4_no_acknowledged_chunk_is_lost_when_the_sink_is_away_and_we_are_killed(tmp_path: Path, storage: str) -> None:
    """Scale: 6 MB in chunks of 10 KB, six times the memory; killed twice, once with the sink away."""
    port, chunks = unused_port(), 600
    with station_of(tmp_path, storage, f"    name forward\n    port {port}") as station:
        station.start()
        sender = Sender(port, chunks)
        with closing(sender):
            sender.work(10, lambda: len(sender.acknowledged) >= 50)
            station.close()
            sender.work(1.5)
            acknowledged_while_away = len(sender.acknowledged)
            station.shipper.kill()
            sender.work(0.2)
            station.start()
            sender.work(1.5)
            held_up = chunks - len(sender.acknowledged)
            station.open()
            sender.work(2, lambda: len(sender.acknowledged) >= chunks - 50)
            station.shipper.kill()
            station.start()
            sender.work(30, lambda: sender.is_done)
        ledger = station.stop()
        wanted = {line for chunk in sender.acknowledged for line in Sender.lines_of(chunk)}

        assert len(sender.acknowledged) == chunks
        assert len(wanted - set(station.arrived())) == 0
        assert ledger["push"].numbers.get("dropped", 0) == 0
        if storage == "memory":
            assert held_up > 0
        else:
            assert acknowledged_while_away > 50


@pytest.mark.parametrize("storage", ["memory", "filesystem"])
def test_m4_a_tcp_sender_waits_while_the_sink_is_away_and_nothing_is_lost(tmp_path: Path, storage: str) -> None:
    """Scale: 20 MB through 1 MB of memory."""
    port, lines = unused_port(), 20_000
    with station_of(tmp_path, storage, f"    name tcp\n    port {port}\n    format none") as station:
        station.start()
        if storage == "memory":
            station.close()
        data = memoryview(b"".join(b"%d %b\n" % (n, b"x" * 1000) for n in range(lines)))
        station.until(lambda: _listens(port))
        with closing(socket.create_connection(("127.0.0.1", port))) as sender:
            sender.settimeout(1)
            sent = _send_until_held_up(sender, data)
            if storage == "memory":
                station.open()
            sender.settimeout(30)
            sender.sendall(data[sent:])
        station.until_arrived(count=lines)
        ledger = station.stop()

        assert (sent < len(data)) == (storage == "memory")
        assert len(station.arrived()) == lines
        assert ledger["push"]["read"] == ledger["push"]["stored"] == lines


def _send_until_held_up(sender: socket.socket, data: memoryview) -> int:
    sent = 0
    try:
        while sent < len(data):
            sent += sender.send(data[sent : sent + _SEGMENT])
    except TimeoutError:
        return sent
    return sent


def _listens(port: int) -> bool:
    with closing(socket.socket()) as one:
        return one.connect_ex(("127.0.0.1", port)) == 0
