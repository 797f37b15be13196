"""tcp: records from objects and lines, and what happens to the rest."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest

from shipper.errors import OptionError
from shipper.inputs.tcp import TcpInput
from shipper.parsers.onigmo import Regex
from shipper.parsers.regex import RegexParser
from shipper.record import Body

from ..listening.running import Running, connected, ended

NONE = "format none"


@pytest.mark.parametrize(
    ("lines", "sent", "bodies"),
    [
        ("", b'{"a":1}{"b":{"c":[true]}} \n\n{"d":"x\\ny"}\n', [{"a": 1}, {"b": {"c": [True]}}, {"d": "x\ny"}]),
        ("", b'[1]{"a":1}', [{"msg": [1]}, {"a": 1}]),
        (NONE, b"plain\nwindows\r\n  indented\nrest", [{"log": "plain"}, {"log": "windows\r"}, {"log": "  indented"}]),
        (NONE, b"a\n\nb\n", [{"log": "a"}, {"log": "b"}]),
        (NONE, b"\r\nx\n", [{"log": "x"}]),
        (NONE, b"\xff\xfe\n", [{"log": "\udcff\udcfe"}]),
        (NONE + "\nseparator ;", b"a;b c;\n;d;", [{"log": "a"}, {"log": "b c"}, {"log": "\n"}, {"log": "d"}]),
        (NONE + "\nseparator \\x00", b"a\0b\nc\0", [{"log": "a"}, {"log": "b\nc"}]),
        (NONE + "\nseparator \\xff", b"ab\xffc\xc3\xbf\xff", [{"log": "ab"}, {"log": "c\xff"}]),
        (NONE + "\nseparator \\377\\376", b"a\xff\xfeb\xff\xff\xfe", [{"log": "a"}, {"log": "b\udcff"}]),
        (NONE + "\nseparator \\u00ff", b"ab\xc3\xbfc\xc3\xbf", [{"log": "ab"}, {"log": "c"}]),
        (NONE + "\nseparator \\r\\n", b"\r\nab\r\n\r\n\ncd\r\n", [{"log": "ab"}, {"log": "\ncd"}]),
        ("parser p", b"7 seven\nx\n", [{"n": "7", "name": "seven"}, {"log": "x"}]),
    ],
)  # fmt: skip
async def test_bytes_become_records(lines: str, sent: bytes, bodies: list[Body]) -> None:
    parser = RegexParser("p", Regex.parse(r"^(?<n>\d+) (?<name>.*)$"))
    async with Running(TcpInput, lines, parsers={"p": parser}) as tcp:
        await tcp.send(sent)

        assert await tcp.until_records(len(bodies)) == bodies


@pytest.mark.parametrize(("lines", "text"), [("", '{"a":1}{"b":"x y"}'), (NONE, "one\ntwo\nthree\n")])
async def test_bytes_that_come_one_by_one_give_the_same_records(lines: str, text: str) -> None:
    async with Running(TcpInput, lines) as tcp:
        await tcp.send(text.encode())
        together = list(tcp.bodies)
        await tcp.send(*(bytes([byte]) for byte in text.encode()), pause_s=0.001)

        assert tcp.bodies == together * 2
        assert len(together) >= 2


async def test_what_one_read_brings_is_one_batch() -> None:
    async with Running(TcpInput, NONE) as tcp:
        await tcp.send(b"line\n" * 2000)
        await tcp.until_records(2000)

        assert len(tcp.batches) == 1
        assert tcp.batches[0].size == 5 * 2000


async def test_tag_and_source_address_are_added() -> None:
    async with Running(TcpInput, "source_address_key from\ntag my.tag") as tcp:
        await tcp.send(b'{"a":1}')
        await tcp.until_records(1)

        assert tcp.bodies[0]["from"].startswith("tcp://127.0.0.1:")
        assert tcp.batches[0].tag == "my.tag"


async def test_what_is_no_json_is_dropped_with_what_came_behind_it_and_the_connection_goes_on() -> None:
    async with Running(TcpInput) as tcp:
        _, writer = await connected(tcp.port)
        writer.write(b'{"a":1} bad {"b":2}\n')
        await tcp.until(lambda: tcp.dropped("invalid_json") == 1)
        writer.write(b'{"c":3}\n')

        assert await tcp.until_records(2) == [{"a": 1}, {"c": 3}]
        await ended(writer)


@pytest.mark.parametrize("lines", ["", NONE])
async def test_a_message_beyond_the_buffer_size_ends_its_connection_only(lines: str) -> None:
    async with Running(TcpInput, f"buffer_size 1\n{lines}") as tcp:
        await tcp.send(b'{"' + b"x" * 1100)
        await tcp.send(b'{"a":1}\n')

        assert len(await tcp.until_records(1)) == 1
        assert tcp.dropped("too_long") == 1
        assert tcp.refused("too_long") == 1


async def test_an_unterminated_rest_is_counted() -> None:
    async with Running(TcpInput, NONE) as tcp:
        await tcp.send(b"whole\nrest")
        await tcp.until(lambda: tcp.dropped("unterminated") == 1)

        assert tcp.bodies == [{"log": "whole"}]


async def test_a_sender_waits_while_the_buffers_are_full_and_nothing_is_lost() -> None:
    async with Running(TcpInput, NONE) as tcp:
        tcp.gate.clear()
        _, writer = await connected(tcp.port)
        line = b"x" * 99 + b"\n"
        sending = asyncio.ensure_future(_write(writer, line * 10_000, 20))
        await asyncio.sleep(0.2)
        was_held_up = not sending.done()
        tcp.gate.set()
        await sending

        assert was_held_up
        assert len(await tcp.until_records(200_000)) == 200_000
        await ended(writer)


async def test_what_has_come_is_emitted_when_we_stop() -> None:
    async with Running(TcpInput, NONE) as tcp:
        _, writer = await connected(tcp.port)
        tcp.gate.clear()
        writer.write(b"one\n")
        await asyncio.sleep(0.01)
        writer.write(b"two\n")
        await asyncio.sleep(0.01)
        await tcp.stop()

        assert tcp.bodies == [{"log": "one"}, {"log": "two"}]
        await ended(writer)


async def test_what_finds_no_room_before_we_have_to_end_is_counted() -> None:
    async with Running(TcpInput, NONE) as tcp:
        tcp.gate.clear()
        _, writer = await connected(tcp.port)
        writer.write(b"one\ntwo\n")
        await asyncio.sleep(0.02)
        await tcp.cancel()

        assert tcp.dropped("cut_off") == 2
        await ended(writer)


async def test_after_a_stop_nobody_is_let_in() -> None:
    async with Running(TcpInput) as tcp:
        await tcp.stop()

        with pytest.raises(ConnectionRefusedError):
            await connected(tcp.port)


def test_a_parser_that_does_not_exist_is_named() -> None:
    with pytest.raises(OptionError, match="there is no parser named 'nope'") as failure:
        Running(TcpInput, "parser nope")

    assert failure.value.option == "parser"


async def _write(writer: asyncio.StreamWriter, data: bytes, times: int) -> Any:
    for _ in range(times):
        writer.write(data)
        await writer.drain()
