"""http: what is taken, under which tag, and what is answered."""

from __future__ import annotations

import asyncio
import gzip
import json
import zlib
from collections.abc import Callable

import cramjam
import pytest

from shipper.inputs.http.input import HttpInput
from shipper.inputs.http.requests import MOST_HEAD
from shipper.record import Body, RecordBatch

from ..listening.running import PATIENCE_S, Running, connected, ended

JSON = "application/json"
FORM = "application/x-www-form-urlencoded"


def request(
    body: bytes = b'{"a":1}', kind: str | None = JSON, *, method: str = "POST", target: str = "/", more: str = ""
) -> bytes:
    typed = f"Content-Type: {kind}\r\n" if kind is not None else ""
    return f"{method} {target} HTTP/1.1\r\nHost: x\r\n{typed}{more}Content-Length: {len(body)}\r\n\r\n".encode() + body


async def answer_of(reader: asyncio.StreamReader) -> tuple[int, dict[str, str], str]:
    """Status, headers and body of the next answer."""
    async with asyncio.timeout(PATIENCE_S):
        line, *fields = (await reader.readuntil(b"\r\n\r\n")).decode().strip().split("\r\n")
        headers = dict(field.lower().split(": ", 1) for field in fields)
        body = await reader.readexactly(int(headers.get("content-length", 0)))
        return int(line.split()[1]), headers, body.decode().strip()


async def asked(http: Running, *requests: bytes) -> list[tuple[int, dict[str, str], str]]:
    """The answers to requests on one connection."""
    reader, writer = await connected(http.port)
    answers = []
    for one in requests:
        writer.write(one)
        answers.append(await answer_of(reader))
    await ended(writer)
    return answers


@pytest.mark.parametrize(
    ("body", "kind", "bodies"),
    [
        (b'{"a":1}', JSON, [{"a": 1}]),
        (b'[{"b":1},{"b":2}]', JSON, [{"b": 1}, {"b": 2}]),
        (b'{"c":1}{"c":2}', f"{JSON}; charset=utf-8", [{"c": 1}, {"c": 2}]),
        (b'{"c":1}\n{"c":2}\n', JSON, [{"c": 1}, {"c": 2}]),
        (b'[{"a":1},5,{"a":2}]', JSON, [{"a": 1}, {"a": 2}]),
        (b'[{"a":1}]{"a":2}', JSON, [{"a": 1}, {"a": 2}]),
        (b"a=1&b=two+words&c=%7B%22x%22%3A1%7D&d=", FORM, [{"a": "1", "b": "two words", "c": '{"x":1}', "d": ""}]),
    ],
)
async def test_bodies_become_records(body: bytes, kind: str, bodies: list[Body]) -> None:
    async with Running(HttpInput) as http:
        answers = await asked(http, request(body, kind))

        assert answers == [(201, {"content-length": "0"}, "")]
        assert http.bodies == bodies


@pytest.mark.parametrize(
    ("sent", "status", "text"),
    [
        (request(b'{"a":'), 400, "error: unable to process records"),
        (request(b'{"a":1} x'), 400, "error: unable to process records"),
        (request(b"5"), 400, "error: unable to process records"),
        (request(b"a=1", "text/plain"), 400, "error: invalid 'Content-Type'"),
        (request(kind=None), 400, "error: header 'Content-Type' is not set"),
        (request(b""), 400, "error: no payload found"),
        (request(method="PUT"), 400, "error: invalid HTTP method"),
        (request(method="GET", target="/health"), 400, "error: invalid HTTP method"),
        (request(more="Content-Encoding: br\r\n"), 415, "error: invalid 'Content-Encoding'"),
        (request(more="Content-Encoding: gzip\r\n"), 400, "error: unable to process records"),
    ],
)
async def test_what_cannot_be_taken_is_refused_and_the_connection_goes_on(sent: bytes, status: int, text: str) -> None:
    async with Running(HttpInput) as http:
        refusal, success = await asked(http, sent, request(b'{"fine":1}'))

        assert (refusal[0], refusal[2]) == (status, text)
        assert success[0] == 201
        assert http.bodies == [{"fine": 1}]


@pytest.mark.parametrize(
    ("sent", "status"),
    [
        (b"nonsense\r\n\r\n", 400),
        (b"POST / HTTP/2.0\r\n\r\n", 400),
        (b"POST / HTTP/1.1\r\nbad header\r\n\r\n", 400),
        (b"POST / HTTP/1.1\r\nContent-Length: -1\r\n\r\n", 400),
        (b"POST / HTTP/1.1\r\nContent-Length: 1\r\nContent-Length: 2\r\n\r\n", 400),
        (b"POST / HTTP/1.1\r\nContent-Length: 1\r\nTransfer-Encoding: chunked\r\n\r\n", 400),
        (b"POST / HTTP/1.1\r\nTransfer-Encoding: gzip\r\n\r\n", 501),
        (b"POST / HTTP/1.1\r\nTransfer-Encoding: chunked\r\n\r\nzz\r\n", 400),
        (b"POST / HTTP/1.1\r\nContent-Length: 2001\r\n\r\n", 413),
        (b"POST / HTTP/1.1\r\nTransfer-Encoding: chunked\r\n\r\n7d1\r\n", 413),
        (b"POST / HTTP/1.1\r\nX: " + b"x" * (MOST_HEAD + 10), 431),
        (b"POST / HTTP/1.1\r\n" + b"X: y\r\n" * 101 + b"\r\n", 431),
    ],
)
async def test_requests_that_make_no_sense_end_their_connection(sent: bytes, status: int) -> None:
    async with Running(HttpInput, "buffer_max_size 2000") as http:
        reader, writer = await connected(http.port)
        writer.write(sent)
        found = await answer_of(reader)
        writer.write_eof()

        assert found[0] == status
        assert found[1]["connection"] == "close"
        assert await reader.read() == b""
        await ended(writer)


@pytest.mark.parametrize(
    ("coding", "pack"),
    [
        ("gzip", gzip.compress),
        ("deflate", zlib.compress),
        ("zstd", lambda data: bytes(cramjam.zstd.compress(data))),
        ("snappy", lambda data: bytes(cramjam.snappy.compress_raw(data))),
    ],
)
async def test_compressed_bodies_are_decoded_up_to_the_limit(coding: str, pack: Callable[[bytes], bytes]) -> None:
    more = f"Content-Encoding: {coding}\r\n"
    async with Running(HttpInput, "buffer_max_size 10000") as http:
        big = json.dumps({"a": "x" * 20_000}).encode()
        answers = await asked(http, request(pack(b'{"a":1}'), more=more), request(pack(big), more=more))

        assert [status for status, _, _ in answers] == [201, 413]
        assert http.bodies == [{"a": 1}]


@pytest.mark.parametrize(
    ("lines", "target", "tag"),
    [
        ("", "/app.log", "app.log"),
        ("", "/app/log-1?x=y", "app_log_1"),
        ("", "/", "http.0"),
        ("tag mine", "/", "mine"),
        ("tag mine", "/?x=y", "mine"),
        ("tag mine", "/a..%2Fb", "a.._2Fb"),
    ],
)
async def test_the_path_is_the_tag(lines: str, target: str, tag: str) -> None:
    async with Running(HttpInput, lines) as http:
        await asked(http, request(target=target))

        assert [batch.tag for batch in http.batches] == [tag]


async def test_a_field_of_the_record_is_the_tag_if_it_is_text() -> None:
    async with Running(HttpInput, "tag_key svc") as http:
        await asked(http, request(b'[{"svc":"web/1","n":1},{"svc":2,"n":2},{"svc":"web/1","n":3}]', target="/other"))

        tags = {batch.tag: [r.body["n"] for r in batch] for batch in http.batches}
        assert tags == {"web_1": [1, 3], "other": [2]}


async def test_a_chunked_body_is_put_together() -> None:
    sent = b"POST / HTTP/1.1\r\nContent-Type: application/json\r\nTransfer-Encoding: chunked\r\n\r\n"
    async with Running(HttpInput) as http:
        reader, writer = await connected(http.port)
        for piece in (sent, b'4\r\n{"a"', b"\r\n3;x=y\r\n:1}\r\n", b"0\r\nTrailer: x\r\n\r\n"):
            writer.write(piece)
            await asyncio.sleep(0.002)
        status = (await answer_of(reader))[0]

        assert status == 201
        assert http.bodies == [{"a": 1}]
        await ended(writer)


async def test_a_client_that_asks_is_invited_to_send_its_body() -> None:
    whole = request(more="Expect: 100-continue\r\n")
    async with Running(HttpInput) as http:
        reader, writer = await connected(http.port)
        writer.write(whole[:-7])
        invitation = await asyncio.wait_for(reader.readuntil(b"\r\n\r\n"), PATIENCE_S)
        writer.write(whole[-7:])

        assert invitation == b"HTTP/1.1 100 Continue\r\n\r\n"
        assert (await answer_of(reader))[0] == 201
        await ended(writer)


@pytest.mark.parametrize(
    ("code", "status", "length"), [("200", 200, "0"), ("204", 204, None), ("201", 201, "0"), ("418", 201, "0")]
)
async def test_success_has_the_status_and_headers_that_are_asked_for(
    code: str, status: int, length: str | None
) -> None:
    lines = f"successful_response_code {code}\nsuccess_header X-A one two\nsuccess_header X-B 3"
    async with Running(HttpInput, lines) as http:
        ((found, headers, _),) = await asked(http, request())

        assert (found, headers["x-a"], headers["x-b"]) == (status, "one two", "3")
        assert headers.get("content-length") == length


@pytest.mark.parametrize(
    ("more", "sent", "body"),
    [
        ("X-Forwarded-For: 10.0.0.1, 10.0.0.2\r\n", b'{"a":1}', {"a": 1, "REMOTE_ADDR": "10.0.0.1"}),
        ("X-Forwarded-For: 10.0.0.1\r\n", b'{"REMOTE_ADDR":"x"}', {"REMOTE_ADDR": "x"}),
        ("", b'{"a":1}', {"a": 1}),
    ],
)
async def test_the_address_of_the_client_is_that_of_x_forwarded_for(more: str, sent: bytes, body: Body) -> None:
    async with Running(HttpInput, "add_remote_addr on") as http:
        await asked(http, request(sent, more=more))

        assert http.bodies == [body]


async def test_the_health_endpoint_answers_if_it_is_switched_on() -> None:
    async with Running(HttpInput, "enable_health_endpoint on") as http:
        ((status, _, _),) = await asked(http, request(b"", None, method="GET", target="/health"))

        assert status == 200


async def test_success_is_told_when_the_records_are_safe_and_not_before() -> None:
    async with Running(HttpInput, "tag_key t", settling="later") as http:
        reader, writer = await connected(http.port)
        writer.write(request(b'[{"t":"a"},{"t":"b"}]'))
        await http.until_records(2)
        http.batches[0].receipt.settle()
        await asyncio.sleep(0.02)
        before = len(reader._buffer)  # type: ignore[attr-defined]
        http.batches[1].receipt.settle()

        assert before == 0
        assert (await answer_of(reader))[0] == 201
        await ended(writer)


async def test_records_that_are_buffered_suffice_if_that_is_asked_for() -> None:
    async with Running(HttpInput, "answer_after buffered", settling="later") as http:
        ((status, _, _),) = await asked(http, request())

        assert status == 201


async def test_a_destination_that_is_away_is_told_and_copies_are_not_taken() -> None:
    async with Running(HttpInput, settling="later") as http:
        http.input.answer_within_s = 0.05  # type: ignore[attr-defined]
        late, again = await asked(http, request(), request())
        taken = len(http.records)
        http.settle()
        reader, writer = await connected(http.port)
        writer.write(request())
        await http.until_records(2)
        http.settle()

        assert (late[0], again[0], taken) == (503, 503, 1)
        assert in_doubt(http) == 1
        assert late[1]["retry-after"] == "5"
        assert (await answer_of(reader))[0] == 201
        await ended(writer)


class HalfFull(Running):
    """Buffers that have room for one batch more, until `has_room` is set."""

    has_room = False

    async def _emit(self, batch: RecordBatch) -> None:
        if self.batches and not self.has_room:
            self.gate.clear()
        await super()._emit(batch)


async def test_of_a_request_that_is_taken_by_half_the_half_is_waited_for_and_counted() -> None:
    async with HalfFull(HttpInput, "tag_key t", settling="later") as http:
        http.input.answer_within_s = 0.05  # type: ignore[attr-defined]
        sent = request(b'[{"t":"a"},{"t":"a"},{"t":"b"}]')
        late, again = await asked(http, sent, sent)
        taken = [(batch.tag, len(batch)) for batch in http.batches]
        http.settle()
        http.gate.set()
        http.has_room, http.input.answer_within_s = True, PATIENCE_S  # type: ignore[attr-defined]
        reader, writer = await connected(http.port)
        writer.write(sent)
        await http.until_records(5)
        http.settle()

        assert (late[0], again[0], taken) == (503, 503, [("a", 2)])
        assert in_doubt(http) == 2
        assert (await answer_of(reader))[0] == 201
        await ended(writer)


def in_doubt(http: Running) -> int:
    """Records that were taken though their clients were told to send them again."""
    return http.context.metrics.total("input_in_doubt_records_total")


async def test_nothing_is_taken_of_a_request_that_finds_no_room_in_time() -> None:
    async with Running(HttpInput) as http:
        http.input.answer_within_s = 0.05  # type: ignore[attr-defined]
        http.gate.clear()
        (refusal,) = await asked(http, request())
        http.gate.set()
        (success,) = await asked(http, request())

        assert (refusal[0], success[0]) == (503, 201)
        assert len(http.records) == 1
        assert in_doubt(http) == 0


async def test_an_answer_that_is_owed_when_we_stop_is_still_given() -> None:
    async with Running(HttpInput, settling="later") as http:
        reader, writer = await connected(http.port)
        writer.write(request())
        await http.until_records(1)
        await http.stop()
        http.settle()

        assert (await answer_of(reader))[0] == 201
        await ended(writer)


async def test_http_1_0_ends_after_one_answer() -> None:
    async with Running(HttpInput) as http:
        reader, writer = await connected(http.port)
        writer.write(request().replace(b"HTTP/1.1", b"HTTP/1.0"))
        status = (await answer_of(reader))[0]

        assert status == 201
        assert await asyncio.wait_for(reader.read(), PATIENCE_S) == b""
        await ended(writer)
