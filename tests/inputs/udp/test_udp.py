"""udp: every datagram alone, and what does not fit is counted."""

from __future__ import annotations

import asyncio

import pytest

from shipper.inputs.listening import datagrams
from shipper.inputs.udp import UdpInput
from shipper.record import Body

from ..listening.running import Running

NONE = "format none"


@pytest.mark.parametrize(
    ("lines", "sent", "bodies"),
    [
        ("", [b'{"a":1}{"b":2}', b'{"c":3}\n'], [{"a": 1}, {"b": 2}, {"c": 3}]),
        ("", [b'{"a":', b'{"b":2}'], [{"b": 2}]),
        ("", [b"bad", b'{"b":2}'], [{"b": 2}]),
        (NONE, [b"l1\nl2\n", b"l3", b"l4\n"], [{"log": "l1"}, {"log": "l2"}, {"log": "l4"}]),
    ],
)
async def test_datagrams_become_records(lines: str, sent: list[bytes], bodies: list[Body]) -> None:
    async with Running(UdpInput, lines) as udp:
        udp.send_datagrams(*sent)

        assert await udp.until_records(len(bodies)) == bodies


@pytest.mark.parametrize(
    ("lines", "sent", "reason"),
    [("", b'{"a":', "unterminated"), (NONE, b"l3", "unterminated"), ("", b"bad", "invalid_json")],
)
async def test_what_is_not_whole_is_counted(lines: str, sent: bytes, reason: str) -> None:
    async with Running(UdpInput, lines) as udp:
        udp.send_datagrams(sent)
        await udp.until(lambda: udp.dropped(reason) == 1)

        assert udp.bodies == []


async def test_many_datagrams_become_one_batch() -> None:
    async with Running(UdpInput) as udp:
        udp.gate.clear()
        udp.send_datagrams(*[b'{"n":%d}' % n for n in range(50)])
        await udp.stop()

        assert udp.bodies == [{"n": n} for n in range(50)]
        assert len(udp.batches) <= 2


async def test_the_sender_is_named() -> None:
    async with Running(UdpInput, "source_address_key from") as udp:
        udp.send_datagrams(b"{}")
        found = await udp.until_records(1)

        assert found[0]["from"].startswith("udp://127.0.0.1:")


async def test_datagrams_without_room_are_counted_and_every_one_is_accounted_for(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(datagrams, "MOST_WAITING", 9 * (datagrams.OVERHEAD + len(b'{"n":12345}')))
    async with Running(UdpInput) as udp:
        udp.gate.clear()
        for _ in range(5):
            udp.send_datagrams(*[b'{"n":12345}'] * 10)
            await udp.until(lambda: True)
        await udp.until(lambda: udp.dropped(datagrams.OVERFLOW) > 0)
        await udp.stop()

        assert len(udp.bodies) + udp.dropped(datagrams.OVERFLOW) == 50
        assert len(udp.bodies) >= 9


async def test_empty_datagrams_find_no_more_room_than_others(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(datagrams, "MOST_WAITING", 20 * datagrams.OVERHEAD)
    async with Running(UdpInput) as udp:
        udp.gate.clear()
        udp.send_datagrams(b"{}")
        await udp.until(lambda: udp.is_held_up)
        udp.send_datagrams(*[b""] * 50)
        await udp.until(lambda: udp.dropped(datagrams.OVERFLOW) == 30)
        await udp.stop()

        assert udp.bodies == [{}]


async def test_a_failure_on_some_datagrams_is_counted_and_the_next_are_taken(caplog: pytest.LogCaptureFixture) -> None:
    async with Running(UdpInput) as udp:
        read = udp.input._payload.read  # type: ignore[attr-defined]
        udp.input._payload.read = None  # type: ignore[attr-defined]
        udp.send_datagrams(b"{}")
        await udp.until(lambda: udp.dropped("failed") == 1)
        udp.input._payload.read = read  # type: ignore[attr-defined]
        udp.send_datagrams(b'{"n":1}')

        assert await udp.until_records(1) == [{"n": 1}]
        assert "TypeError" in caplog.text


async def test_a_datagram_that_is_nested_too_deeply_is_counted_and_the_others_are_taken() -> None:
    async with Running(UdpInput) as udp:
        udp.send_datagrams(b'{"a":' * 300 + b"1" + b"}" * 300 + b'{"n":1}')
        await udp.until_records(1)

        assert udp.bodies == [{"n": 1}]
        assert udp.dropped("nested_too_deeply") == 1


async def test_what_still_waits_when_we_have_to_end_is_counted() -> None:
    async with Running(UdpInput) as udp:
        udp.gate.clear()
        udp.send_datagrams(b"{}")
        await udp.until(lambda: udp.is_held_up)
        udp.send_datagrams(b"{}", b"{}")
        await asyncio.sleep(0.02)
        await udp.cancel()
        await udp.input.close()

        assert udp.dropped("cut_off") == 3
