"""stdin: what the text of the standard input becomes."""

from __future__ import annotations

import asyncio
import logging
import os
from collections.abc import Sequence
from pathlib import Path

import pytest

from shipper.clock import SystemClock
from shipper.config.model import Section
from shipper.context import Context
from shipper.errors import OptionError
from shipper.inputs.stdin import StdinInput, StdinOptions
from shipper.parsers.base import ParserLibrary
from shipper.parsers.library import build_parsers
from shipper.record import Body
from shipper.testing import context_of

from ..written_options import options_from, section_of
from .collected import Collected

REGEX = r"""
    Name p
    Format regex
    Regex ^k=(?<k>\d+) v=(?<v>.*)$
    Types k:integer
"""


def context_with(parsers: Sequence[Section] = (), stops: list[int] | None = None) -> Context:
    library = ParserLibrary(build_parsers(list(parsers), [], lambda _: None))

    def stop(status: int = 0) -> None:
        if stops is not None:
            stops.append(status)

    return context_of("input", "stdin.0", SystemClock(), parsers=library, stop_service=stop)


async def read(*pieces: bytes, lines: str = "", context: Context | None = None) -> Collected:
    """The input after these pieces came through a pipe one by one, and their end."""
    read_end, write_end = os.pipe()
    context = context or context_with([section_of(REGEX, "parser")])
    one = Collected(StdinInput(options_from(StdinOptions, lines, "input"), context, read_end))
    try:
        async with one:
            for piece in pieces:
                os.write(write_end, piece)
                await context.clock.sleep(0.01)
            os.close(write_end)
            await one.until_ended()
    finally:
        os.close(read_end)
    return one


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        (
            b'{"a":1} {"b":"x"}{"c":[1,2]}\n{"d":\n {"e":null}}\n',
            [{"a": 1}, {"b": "x"}, {"c": [1, 2]}, {"d": {"e": None}}],
        ),
        (b'{"a":1}', [{"a": 1}]),
        (b"", []),
        (b" \n\n", []),
        (b'[1600000000, {"m":"whole"}]', [{"m": "whole"}]),
        (b'1 "x" null [1,2] [[1],{"a":1}] [true,{"a":1}] {"b":2}\n', [{"b": 2}]),
        (b'{"c":\n3} bad\n{"d":4}', []),
        ('{"a":"grüße"}\n'.encode(), [{"a": "grüße"}]),
    ],
)
async def test_values_are_records(text: bytes, expected: list[Body]) -> None:
    assert (await read(text)).bodies() == expected


@pytest.mark.parametrize(
    ("text", "time_ns", "metadata"),
    [
        (b'[1600000000, {"m":1}]\n', 1_600_000_000_000_000_000, None),
        (b'[1600000000.25, {"m":1}]\n', 1_600_000_000_250_000_000, None),
        (b'[[1600000001.5, {"meta":1}], {"m":1}]\n', 1_600_000_001_500_000_000, {"meta": 1}),
        (b'[[1600000001, {}], {"m":1}]\n', 1_600_000_001_000_000_000, None),
    ],
)
async def test_an_array_tells_the_time(text: bytes, time_ns: int, metadata: Body | None) -> None:
    (record,) = (await read(text)).batches[0].records

    assert (record.time_ns, record.metadata) == (time_ns, metadata)


@pytest.mark.parametrize("time_s", ["1e300", "99999999999999999999", "8589934592", "-1", "-0.5", "[1e300, {}]"])
async def test_what_cannot_be_a_time_makes_no_record(time_s: str) -> None:
    context = context_with()
    one = await read(b'{"a":1}[%b, {"b":1}]{"c":1}' % time_s.encode(), context=context)

    assert one.bodies() == [{"a": 1}, {"c": 1}]
    assert context.metrics.by_label("input_dropped_records_total", "reason") == {"no_record": 1}


async def test_a_value_may_come_in_any_pieces() -> None:
    text = '{"a":"grüße, \\"du\\" {["}{"b":[1,{"c":2}]} {"d":12}'.encode()
    whole = (await read(text)).bodies()
    for cut in range(1, len(text), 7):
        assert (await read(text[:cut], text[cut:])).bodies() == whole

    assert len(whole) == 3


async def test_values_are_emitted_when_they_are_whole_and_not_at_the_end() -> None:
    one = await read(b'{"a":1}{"b":', b'2}{"c":3}')

    assert [len(batch) for batch in one.batches] == [1, 2]
    assert [batch.size for batch in one.batches] == [7, 14]


async def test_what_is_thrown_away_with_invalid_json_is_counted_and_told(caplog: pytest.LogCaptureFixture) -> None:
    context = context_with()
    with caplog.at_level(logging.ERROR, "shipper"):
        await read(b'{"a":1} bad\n', b'{"b":2}\n7\n{"open":', context=context)

    reasons = context.metrics.by_label("input_dropped_records_total", "reason")
    assert reasons == {"invalid_json": 3, "no_record": 1}
    assert "invalid JSON message" in caplog.text and "ends within" in caplog.text


@pytest.mark.parametrize(
    ("text", "lost"),
    [
        (b'{"a":1} bad {"b":2}{"c":3}{"d":4}', 5),
        (b'{"a":1} {"b":bad, "[":[{}]}{"c":3}\n', 3),
        (b'bad [1,{"a":1}] {"open":', 3),
        (b"}", 1),
    ],
)
async def test_all_that_is_lost_around_invalid_json_is_counted(text: bytes, lost: int) -> None:
    context = context_with()
    one = await read(text, context=context)

    assert one.bodies() == []
    assert context.metrics.by_label("input_dropped_records_total", "reason") == {"invalid_json": lost}


async def test_a_value_without_end_takes_bounded_memory(tmp_path: Path) -> None:
    path = tmp_path / "in.json"
    path.write_bytes(b'{"a":"' + b"x" * 2_500_000)
    context = context_with()
    with path.open("rb") as file:
        options = options_from(StdinOptions, "buffer_size 500K", "input")
        async with Collected(StdinInput(options, context, file.fileno())) as one:
            await one.until_ended()

    reasons = context.metrics.by_label("input_dropped_bytes_total", "reason")
    assert reasons["too_long"] == 2_500_000


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        (b"k=1 v=a\nk=2 v=b c\n\nfree\n", [{"k": 1, "v": "a"}, {"k": 2, "v": "b c"}]),
        (b"free\nk=1 v=a", [{"k": 1, "v": "a"}]),
        (b"", []),
    ],
)
async def test_with_a_parser_each_line_that_fits_is_a_record(text: bytes, expected: list[Body]) -> None:
    assert (await read(text, lines="parser p")).bodies() == expected
    assert (await read(text[:9], text[9:], lines="parser p")).bodies() == expected


async def test_a_parser_that_takes_whole_lines_loses_nothing_of_the_next() -> None:
    context = context_with([section_of("Name l\nFormat ltsv", "parser")])
    one = await read(b"a:1\tb:2\na:3\tb:4\n", lines="parser l", context=context)

    assert one.bodies() == [{"a": "1", "b": "2"}, {"a": "3", "b": "4"}]


async def test_lines_that_do_not_fit_are_counted() -> None:
    context = context_with([section_of(REGEX, "parser")])
    await read(b"free\n\nk=1 v=a\nmore\n", lines="parser p", context=context)

    assert context.metrics.by_label("input_dropped_records_total", "reason") == {"unparsed": 2}


def test_a_parser_that_nobody_defined_is_told() -> None:
    with pytest.raises(OptionError, match="nobody"):
        StdinInput(options_from(StdinOptions, "parser nobody", "input"), context_with())


async def test_the_end_of_the_input_stops_the_service() -> None:
    stops: list[int] = []
    null = os.open(os.devnull, os.O_RDONLY)
    async with Collected(StdinInput(StdinOptions(), context_with(stops=stops), null)) as one:
        await one.until_ended()
    os.close(null)

    assert stops == [0]


async def test_a_file_is_read_to_its_end(tmp_path: Path) -> None:
    path = tmp_path / "in.json"
    path.write_bytes(b'{"a":1}\n' * 10_000)
    fd = os.open(path, os.O_RDONLY)
    async with Collected(StdinInput(StdinOptions(), context_with(), fd)) as one:
        bodies = await one.until_ended()
    os.close(fd)

    assert bodies == [{"a": 1}] * 10_000
    assert max(len(batch) for batch in one.batches) <= 2001


async def held_up(text: bytes, lines: str, context: Context) -> Collected:
    """The input that was asked to stop and was ended while this found no room, and nothing else came."""
    read_end, write_end = os.pipe()
    try:
        async with Collected(StdinInput(options_from(StdinOptions, lines, "input"), context, read_end)) as one:
            one.gate.clear()
            os.write(write_end, text)
            async with asyncio.timeout(10):
                await one.is_held_up.wait()
            assert await one.input.stop()
    finally:
        os.close(read_end)
        os.close(write_end)
    return one


@pytest.mark.parametrize(
    ("text", "lines", "lost"),
    [
        (b'{"a":1}{"a":2}\n', "", 2),
        (b'{"a":1}{"a":2}\n{"a":', "", 3),
        (b"k=1 v=a\nk=2 v=b\nk=3", "parser p", 3),
    ],
)
async def test_what_was_read_and_finds_no_room_before_the_end_is_counted(text: bytes, lines: str, lost: int) -> None:
    context = context_with([section_of(REGEX, "parser")])
    one = await held_up(text, lines, context)

    assert one.bodies() == []
    assert context.metrics.by_label("input_dropped_records_total", "reason") == {"cut_off": lost}
    assert context.metrics.total("input_dropped_bytes_total") == len(text)


async def test_asked_to_stop_it_hands_on_what_it_has_read_and_reads_no_more() -> None:
    stops: list[int] = []
    read_end, write_end = os.pipe()
    async with Collected(StdinInput(StdinOptions(), context_with(stops=stops), read_end)) as one:
        one.gate.clear()
        os.write(write_end, b'{"a":1}\n')
        async with asyncio.timeout(10):
            await one.is_held_up.wait()
        os.write(write_end, b'{"a":2}\n')
        assert await one.input.stop()
        one.gate.set()
        bodies = await one.until_ended()
    left = os.read(read_end, 100)
    os.close(read_end)
    os.close(write_end)

    assert (bodies, left, stops) == ([{"a": 1}], b'{"a":2}\n', [])


async def test_without_a_standard_input_the_start_ends() -> None:
    fd = os.dup(0)
    os.close(fd)

    with pytest.raises(OptionError, match="no standard input"):
        await StdinInput(StdinOptions(), context_with(), fd).open()


@pytest.mark.parametrize(
    ("first", "second", "lines", "bodies"),
    [
        (b'{"a":1}{"b":', b'2}{"c":3}\n', "", [{"a": 1}, {"b": 2}, {"c": 3}]),
        (b"k=1 v=a\nk=2 v", b"=b\n", "parser p", [{"k": 1, "v": "a"}, {"k": 2, "v": "b"}]),
    ],
)
async def test_at_a_reload_the_next_input_goes_on_in_the_middle_of_a_value(
    first: bytes, second: bytes, lines: str, bodies: list[Body]
) -> None:
    context = context_with([section_of(REGEX, "parser")])
    options = options_from(StdinOptions, lines, "input")
    read_end, write_end = os.pipe()
    old, new = (Collected(StdinInput(options, context, read_end)) for _ in range(2))
    async with old:
        os.write(write_end, first)
        await old.has(1)
        old.input.is_succeeded = True
    handed_over = old.input.handed_over()
    assert handed_over is not None
    new.input.go_on_from(dict([handed_over]))
    async with new:
        os.write(write_end, second)
        os.close(write_end)
        found = old.bodies() + await new.until_ended()
    os.close(read_end)

    assert found == bodies
    assert context.metrics.total("input_dropped_records_total") == 0


async def test_records_that_are_nested_too_deeply_are_dropped_alone() -> None:
    context = context_with()
    deep = b'{"a":' * 257 + b"1" + b"}" * 257
    one = await read(b'{"n":1}%b[1,%b]{"n":2}\n' % (deep, deep), context=context)

    assert one.bodies() == [{"n": 1}, {"n": 2}]
    assert context.metrics.total("input_dropped_records_total", reason="nested_too_deeply") == 2
