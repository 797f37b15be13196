"""stdout: what is printed, and that it is printed once and completely."""

from __future__ import annotations

import asyncio
import json
import logging
import os
from collections.abc import Iterator
from pathlib import Path

import pytest

from shipper.buffers.base import Delivery
from shipper.config.service import ServiceOptions
from shipper.errors import RetryLater
from shipper.outputs.stdout import StdoutOptions, StdoutOutput
from shipper.record import Body, Record, RecordBatch
from shipper.testing import batch_of, context_of

from ..written_options import options_from
from .samples import F1, S1, S2, TAG, delivery_of, sample_batch


@pytest.fixture
def pipe() -> Iterator[tuple[int, int]]:
    reader, writer = os.pipe()
    yield reader, writer
    for fd in (reader, writer):
        try:
            os.close(fd)
        except OSError:
            continue


async def printed(tmp_path: Path, lines: str, delivery: Delivery, escape_unicode: bool = True) -> str:
    path = tmp_path / "stdout"
    fd = os.open(path, os.O_WRONLY | os.O_CREAT)
    try:
        context = context_of("output", service=ServiceOptions(escape_unicode=escape_unicode))
        await StdoutOutput(options_from(StdoutOptions, lines, "output"), context, fd).send(delivery)
    finally:
        os.close(fd)
    return path.read_text("utf-8")


S1_TEXT = (
    '{"s"=>"he"llo\\ é\n\x01😀/", "i"=>-5, "u"=>18446744073709551615, "f"=>1.500000, "f2"=>2.000000, '
    f'"e"=>{1e300:f}, "t"=>true, "n"=>nil, "a"=>[1, "x", {{}}], "m"=>{{"k"=>"v", ""=>{{}}}}, "dup"=>2}}'
)
S1_JSON = (
    r'"s":"he\"llo\\ \u00e9\n\u0001\ud83d\ude00/","i":-5,"u":18446744073709551615,"f":1.5,"f2":2.0,"e":1e+300,'
    r'"t":true,"n":null,"a":[1,"x",{}],"m":{"k":"v","":{}},"dup":2}'
)


@pytest.mark.parametrize(
    ("lines", "records", "expected"),
    [
        (
            "",
            [S1, S2],
            f"[0] {TAG}: [[1700000000.123000000, {{}}], {S1_TEXT}]\n"
            f'[1] {TAG}: [[1700000001.000000000, {{}}], {{"k"=>"v2"}}]\n',
        ),
        (
            "Format json",
            [S1, S2],
            '[{"date":1700000000.123,' + S1_JSON + ',{"date":1700000001.0,"k":"v2"}]\n',
        ),
        (
            "Format json_lines",
            [S1, S2],
            '{"date":1700000000.123,' + S1_JSON + '\n{"date":1700000001.0,"k":"v2"}\n',
        ),
        (
            "Format json_stream\njson_date_format iso8601",
            [S1, S2],
            '{"date":"2023-11-14T22:13:20.123000Z",' + S1_JSON + '{"date":"2023-11-14T22:13:21.000000Z","k":"v2"}\n',
        ),
        ("Format json_lines\njson_date_key false", [S1, S2], "{" + S1_JSON + '\n{"k":"v2"}\n'),
        ("Format json_lines\njson_date_format epoch_ms", [F1], '{"date":1700000000500,"k":"v"}\n'),
        ("Format json_lines\njson_date_format epoch", [F1], '{"date":1700000000,"k":"v"}\n'),
        (
            "Format json_lines\njson_date_format java_sql_timestamp",
            [F1],
            '{"date":"2023-11-14 22:13:20.500000","k":"v"}\n',
        ),
        ("Format json_lines\njson_date_key time", [F1], '{"time":1700000000.5,"k":"v"}\n'),
        (
            "Format otlp_json",
            [F1, S2],
            '{"resourceLogs":[{"resource":{},"scopeLogs":[{"scope":{},"logRecords":['
            '{"timeUnixNano":"1700000000500000000","body":{"kvlistValue":{"values":'
            '[{"key":"k","value":{"stringValue":"v"}}]}}},{"timeUnixNano":"1700000001000000000","body":'
            '{"kvlistValue":{"values":[{"key":"k","value":{"stringValue":"v2"}}]}}}]}]}]}\n',
        ),
    ],
)
async def test_records_are_printed_in_the_chosen_format(
    tmp_path: Path, lines: str, records: list[Record], expected: str
) -> None:
    assert await printed(tmp_path, lines, delivery_of(sample_batch(*records))) == expected


async def test_documents_of_opentelemetry_may_be_pretty(tmp_path: Path) -> None:
    plain = await printed(tmp_path, "Format otlp_json", delivery_of(sample_batch(S1, S2)))
    (tmp_path / "stdout").unlink()
    pretty = await printed(tmp_path, "Format otlp_json_pretty", delivery_of(sample_batch(S1, S2)))

    assert json.loads(pretty) == json.loads(plain)
    assert pretty.count("\n") > 50
    assert pretty.endswith("}\n")


async def test_text_is_printed_raw_when_escaping_is_off(tmp_path: Path) -> None:
    body: Body = {"log": "é 日本 😀 \x01"}
    delivery = delivery_of(RecordBatch("t", [Record(F1.time_ns, body)], 1))

    text = await printed(tmp_path, "Format json_stream", delivery, escape_unicode=False)
    assert text == '{"date":1700000000.5,"log":"é 日本 😀 \\u0001"}\n'


async def test_metadata_is_printed_in_text_and_json(tmp_path: Path) -> None:
    delivery = delivery_of(RecordBatch("t", [Record(F1.time_ns, {"log": "x"}, {"trace": "abc", "n": [1]})], 1))

    assert await printed(tmp_path, "", delivery) == (
        '[0] t: [[1700000000.500000000, {"trace"=>"abc", "n"=>[1]}], {"log"=>"x"}]\n'
    )
    delivery.progress = None
    assert await printed(tmp_path, "Format json", delivery) == (
        '[{"date":1700000000.5,"__internal__":{"log_metadata":{"trace":"abc","n":[1]}},"log":"x"}]\n'
    )


async def test_the_index_counts_from_0_for_each_tag_of_a_delivery(tmp_path: Path) -> None:
    delivery = delivery_of(batch_of("a", tag="one"), batch_of("b", tag="one"), batch_of("c", tag="two"))

    text = await printed(tmp_path, "", delivery)
    assert [line.split(":")[0] for line in text.splitlines()] == ["[0] one", "[1] one", "[0] two"]


async def test_an_unknown_format_is_told_and_text_is_printed(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level(logging.ERROR, "shipper"):
        text = await printed(tmp_path, "Format fancy", delivery_of(sample_batch(F1)))

    assert text == f'[0] {TAG}: [[1700000000.500000000, {{}}], {{"k"=>"v"}}]\n'
    assert "unknown format" in caplog.text


@pytest.mark.parametrize("blocking", [True, False])
async def test_a_slow_reader_gets_everything_once_and_does_not_stop_the_loop(
    pipe: tuple[int, int], blocking: bool
) -> None:
    reader, writer = pipe
    os.set_blocking(writer, blocking)
    delivery = delivery_of(*(batch_of("x" * 1000, tag=f"t{n}") for n in range(300)))
    output = StdoutOutput(options_from(StdoutOptions, "Format json_lines", "output"), context_of("output"), writer)
    sending = asyncio.ensure_future(output.send(delivery))
    await asyncio.sleep(0)
    received = b""
    while not sending.done():
        received += os.read(reader, 30_000)
        for _ in range(5):
            await asyncio.sleep(0)
        if not sending.done():
            await asyncio.wait([sending], timeout=0.001)
    os.close(writer)
    while piece := os.read(reader, 100_000):
        received += piece

    assert received.count(b"\n") == 300
    assert received.count(b"x" * 1000) == 300


async def test_a_closed_pipe_asks_for_a_retry_that_goes_on_where_the_first_attempt_stopped(
    pipe: tuple[int, int], tmp_path: Path
) -> None:
    reader, writer = pipe
    delivery = delivery_of(batch_of("x" * 200_000), batch_of("end", tag="last"))
    output = StdoutOutput(options_from(StdoutOptions, "Format json_lines", "output"), context_of("output"), writer)
    sending = asyncio.ensure_future(output.send(delivery))
    await asyncio.sleep(0)
    received = os.read(reader, 10_000)
    for _ in range(5):
        await asyncio.sleep(0)
    held = os.read(reader, 1_000_000)  # what the pipe holds is counted as printed
    os.close(reader)
    with pytest.raises(RetryLater, match="standard output cannot be written: Broken pipe"):
        await sending
    rest = await printed(tmp_path, "Format json_lines", delivery)

    assert len(received) + len(held) + len(rest) <= 200_000 + 200
    assert rest.endswith('"log":"end"}\n')


async def test_a_closed_descriptor_asks_for_a_retry(pipe: tuple[int, int]) -> None:
    os.close(pipe[1])
    output = StdoutOutput(options_from(StdoutOptions, "", "output"), context_of("output"), pipe[1])

    with pytest.raises(RetryLater, match="Bad file descriptor"):
        await output.send(delivery_of(batch_of("a")))
