"""What had arrived when a listener stops is taken, because its sender believes it to be delivered."""

from __future__ import annotations

import socket

import pytest

from shipper.inputs.listening import connection
from shipper.inputs.tcp import TcpInput

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
