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
from shipper.record import Body
from shipper.testing import ManualClock

from ..listening.running import PATIENCE_S, Running, connected, ended
from .asking import JSON, answer_of, asked, request

CHUNKED = b"POST / HTTP/1.1\r\nTransfer-Encoding: chunked\r\n\r\n"
FORM = "application/x-www-form-urlencoded"


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
        ("tag mine", "http://127.0.0.1:9880/abs?x=y", "abs"),
        ("tag mine", "HTTPS://host/a/b", "a_b"),
        ("tag mine", "http://127.0.0.1:9880", "mine"),
        ("tag mine", "http://127.0.0.1:9880?x=y", "mine"),
        ("tag_prefix net.", "/app.log", "net.app.log"),
        ("tag_prefix net.\ntag mine", "/", "mine"),
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


async def test_no_field_of_a_record_gets_past_the_prefix() -> None:
    async with Running(HttpInput, "tag_key svc\ntag_prefix net.") as http:
        await asked(http, request(b'[{"svc":"kube.var.log"},{"n":1}]', target="/kube.other"))

        assert [batch.tag for batch in http.batches] == ["net.kube.var.log", "net.kube.other"]


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


async def test_an_answer_that_is_owed_when_we_stop_is_still_given() -> None:
    async with Running(HttpInput, settling="later") as http:
        reader, writer = await connected(http.port)
        writer.write(request())
        await http.until_records(1)
        await http.stop()
        http.settle()

        assert (await answer_of(reader))[0] == 201
        await ended(writer)


@pytest.mark.parametrize(
    "begin",
    [request()[:-3], b"POST / HTTP/1.1\r\nContent-Type: application/json\r\nTransfer-Encoding: chunked\r\n\r\n7\r\n{"],
)
async def test_a_client_whose_request_is_still_arriving_when_we_stop_is_to_send_it_again(begin: bytes) -> None:
    async with Running(HttpInput) as http:
        reader, writer = await connected(http.port)
        writer.write(request() + begin)
        await answer_of(reader)
        await http.stop()
        status, headers, _ = await answer_of(reader)

        assert (status, headers["retry-after"], headers["connection"]) == (503, "5", "close")
        assert http.bodies == [{"a": 1}]
        await ended(writer)


async def test_http_1_0_ends_after_one_answer() -> None:
    async with Running(HttpInput) as http:
        reader, writer = await connected(http.port)
        writer.write(request().replace(b"HTTP/1.1", b"HTTP/1.0"))
        status = (await answer_of(reader))[0]

        assert status == 201
        assert await asyncio.wait_for(reader.read(), PATIENCE_S) == b""
        await ended(writer)


# -- slow clients ------------------------------------------------------------------------------------------------------


HEAD, _, _ = request().partition(b"\r\n\r\n")


@pytest.mark.parametrize(
    ("begin", "then"),
    [
        (b"", HEAD),
        (b"", b"\r\n" * 50),
        (HEAD.replace(b"7", b"100"), b"\r\n\r\n" + b"x" * 100),
        (CHUNKED, b"1;" + b"x" * 100),
    ],
    ids=["head", "nothing but line ends", "body", "chunks"],
)
async def test_a_client_that_sends_a_byte_now_and_then_is_closed(begin: bytes, then: bytes) -> None:
    clock = ManualClock()
    async with Running(HttpInput, clock=clock) as http:
        reader, writer = await connected(http.port)
        writer.write(begin)
        sent = 0
        while sent < len(then) and not reader.at_eof():
            writer.write(then[sent : sent + 1])
            sent += 1
            await clock.advance(29)  # shorter than each of the times in which something has to come

        assert sent < 10
        assert http.refused("too_slow") == 1
        await ended(writer)


async def test_a_client_with_a_slow_line_gets_its_body_through() -> None:
    clock = ManualClock()
    whole = request(json.dumps({"a": "x" * 600_000}).encode())
    async with Running(HttpInput, clock=clock) as http:
        reader, writer = await connected(http.port)
        for at in range(0, len(whole), 50_000):
            writer.write(whole[at : at + 50_000])
            await writer.drain()
            await clock.advance(30)

        assert (await answer_of(reader))[0] == 201
        await ended(writer)


async def test_what_a_request_holds_is_its_size_and_not_what_was_sent() -> None:
    body = b'{"log":"%b"}' % (b"x" * 10_000)
    async with Running(HttpInput) as http:
        await asked(http, request(gzip.compress(body * 3), more="Content-Encoding: gzip\r\n"))

        assert [(len(b), b.size >= 3 * len(body)) for b in http.batches] == [(3, True)]


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        (b"{}" * 500_000 + b"x}", "error: there is too much that is not strictly JSON"),
        (b'""' * 500_000 + b"x}", "error: there is too much that is not strictly JSON"),
        (b"[" + b"[]," * 500_000, "error: there is too much that is not strictly JSON"),
        (b"[" * 1_000_000, "error: a value is nested too deeply"),
    ],
)
async def test_a_short_request_with_very_much_that_is_no_json_is_refused(text: bytes, reason: str) -> None:
    async with Running(HttpInput) as http:
        refused, taken = await asked(
            http, request(gzip.compress(text), more="Content-Encoding: gzip\r\n"), request(b'{"a":1}')
        )

        assert (refused[0], refused[2], taken[0]) == (400, reason, 201)
        assert http.bodies == [{"a": 1}]


async def test_records_that_are_nested_too_deeply_are_counted_and_the_others_are_taken() -> None:
    deep = b'{"a":' * 450 + b"1" + b"}" * 450
    async with Running(HttpInput) as http:
        answers = await asked(http, request(b'[{"n":1},%b,{"n":2}]' % deep))
        await http.until(lambda: http.dropped("nested_too_deeply") == 1)

        assert answers[0][0] == 201
        assert http.bodies == [{"n": 1}, {"n": 2}]
