"""http: the bytes of the reference, and what becomes of records that the server does not take."""

from __future__ import annotations

import asyncio
import base64
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import cramjam
import msgspec
import pytest

from shipper.clock import SystemClock
from shipper.errors import ConfigError, OptionError, RetryLater
from shipper.outputs.http.output import HttpOptions, HttpOutput
from shipper.record import Record
from shipper.testing import batch_of, context_of

from ...components.http_server import Got, HttpServer, Says, http_server
from ...written_options import options_from
from ..samples import F1, S2, TAG, delivery_of, sample_batch

N1 = Record(1_795_207_694_640_982_016, {"ts": "1700000001", "n": 1})


@pytest.fixture
async def server() -> AsyncIterator[HttpServer]:
    async with http_server() as found:
        yield found


@asynccontextmanager
async def output_to(port: int, lines: str = "") -> AsyncIterator[HttpOutput]:
    options = options_from(HttpOptions, f"host 127.0.0.1\nport {port}\n{lines}", "output")
    output = HttpOutput(options, context_of("output", "http.0", SystemClock()))
    await output.open()
    try:
        yield output
    finally:
        await output.close()


async def sent(server: HttpServer, lines: str, *records: Record) -> list[Got]:
    async with output_to(server.port, lines) as output:
        await output.send(delivery_of(sample_batch(*records)))
    return server.got


JSON, LINES = "application/json", "application/x-ndjson"


@pytest.mark.parametrize(
    ("lines", "records", "kind", "body"),
    [
        (
            "",
            [F1, N1],
            JSON,
            '[{"date":1700000000.5,"k":"v"},{"date":1795207694.640982,"ts":"1700000001","n":1}]',
        ),
        ("format json_lines", [F1, S2], LINES, '{"date":1700000000.5,"k":"v"}\n{"date":1700000001.0,"k":"v2"}\n'),
        (
            "format json_stream\njson_date_format epoch_ms",
            [F1, S2],
            JSON,
            '{"date":1700000000500,"k":"v"}{"date":1700000001000,"k":"v2"}',
        ),
        ("json_date_key off", [F1], JSON, '[{"k":"v"}]'),
        ("format msgpack", [F1], "application/msgpack", "\x92\x92\xd7\0eS\xf1\0\x1d\xcde\0\x80\x81\xa1k\xa1v"),
        ("format avro", [F1], "application/msgpack", "\x92\x92\xd7\0eS\xf1\0\x1d\xcde\0\x80\x81\xa1k\xa1v"),
    ],
)
async def test_a_body_has_the_bytes_of_the_reference(
    server: HttpServer, lines: str, records: list[Record], kind: str, body: str
) -> None:
    [got] = await sent(server, lines, *records)

    assert got.body == body.encode("latin-1")
    assert got.headers["content-type"] == kind
    assert (got.method, got.target, got.headers["user-agent"]) == ("POST", "/", "Fluent-Bit")


async def test_headers_come_from_options_and_tag(server: HttpServer) -> None:
    [got] = await sent(server, "header_tag X-Tag\nheader X-A one two\nuri api/x\nhttp_method PUT", F1)

    assert (got.method, got.target) == ("PUT", "/api/x")
    assert (got.headers["x-tag"], got.headers["x-a"]) == (TAG, "one two")
    assert list(got.headers) == ["host", "content-length", "content-type", "x-tag", "user-agent", "x-a"]


@pytest.mark.parametrize(("repeated", "value"), [("on", "1, 2"), ("off", "2")])
async def test_a_repeated_header_is_sent_whole_unless_forbidden(server: HttpServer, repeated: str, value: str) -> None:
    lines = f"header X-A 1\nheader x-a 2\nheader content-type x/y\nallow_duplicated_headers {repeated}"
    [got] = await sent(server, lines, F1)

    assert got.headers["x-a"] == value
    assert got.headers["content-type"] == "x/y"


async def test_user_and_password_are_sent(server: HttpServer) -> None:
    [got] = await sent(server, "http_user u\nhttp_passwd p:w", F1)

    assert got.headers["authorization"] == "Basic " + base64.b64encode(b"u:p:w").decode()


@pytest.mark.parametrize("compression", ["gzip", "snappy", "zstd"])
async def test_bodies_are_compressed(server: HttpServer, compression: str) -> None:
    [got] = await sent(server, f"compress {compression}\nformat json_lines", F1)

    module: Any = getattr(cramjam, compression)
    assert bytes(module.decompress(got.raw)) == b'{"date":1700000000.5,"k":"v"}\n'
    assert got.headers["content-encoding"] == compression


async def test_records_of_one_tag_share_a_request_when_a_header_tells_the_tag(server: HttpServer) -> None:
    delivery = delivery_of(batch_of("a", tag="t1"), batch_of("b", tag="t2"), batch_of("c", tag="t1"))
    async with output_to(server.port, "header_tag X-Tag\njson_date_key false") as output:
        await output.send(delivery)

    assert [(g.headers["x-tag"], g.json) for g in server.got] == [
        ("t1", [{"log": "a"}, {"log": "c"}]),
        ("t2", [{"log": "b"}]),
    ]


GELF: dict[str, Any] = {
    "short_message": 'hi "q"', "host": "h1", "level": "err", "id": "zz", "n": 3, "b": True, "nul": None,
    "m": {"a": {"b": 1}, "c": [1, "x"]}, "arr": [1, "y"], "fl": 1.5,
}  # fmt: skip


@pytest.mark.parametrize(
    ("lines", "body", "expected"),
    [
        (
            "",
            GELF,
            r'{"version":"1.1", "short_message":"hi \"q\"", "host":"h1", "level":3, "_n":3, "_b":"true", "_m_a_b":1, '
            r'"_m_c":"1, x", "_arr":"1, y", "_fl":1.500000, "timestamp":1700000000.123}',
        ),
        (
            "",
            {"k": "v", "level": "7"},
            r'{"version":"1.1", "_k":"v", "level":7, "short_message":"{\"k\":\"v\",\"level\":\"7\"}", '
            r'"timestamp":1700000000.123}',
        ),
        (
            "gelf_short_message_key log\ngelf_full_message_key full\ngelf_host_key h\ngelf_level_key sev\n"
            "gelf_timestamp_key ts",
            {"log": 5, "full": "long", "h": "x", "sev": "weird", "ts": "1.5", "k": msgspec.Raw(b'{"a":{"b":[]}}')},
            r'{"version":"1.1", "short_message":"5", "full_message":"long", "host":"x", "level":6, "_k_a_b":"", '
            r'"timestamp":1.500}',
        ),
    ],
)
async def test_a_gelf_message_is_that_of_the_reference(
    server: HttpServer, lines: str, body: dict[str, Any], expected: str
) -> None:
    [got] = await sent(server, f"format gelf\n{lines}", Record(1_700_000_000_123_000_000, body))

    assert got.body.decode() == expected + "\n"
    assert got.headers["content-type"] == JSON


async def test_a_value_alone_is_a_body_with_headers_from_the_record(server: HttpServer) -> None:
    bodies: list[dict[str, Any]] = [
        {"log": "raw one", "h": {"X-Custom": "h1\r\nX-Evil: 1", "Host": "evil", "b d": "x"}},
        {"other": 1},
        {"log": {"a": 1}, "h": {"Content-Type": "text/plain", "X-N": 5}},
    ]
    delivery = delivery_of(sample_batch(*[Record(F1.time_ns, body) for body in bodies]))
    async with output_to(server.port, "body_key $log\nheaders_key $h") as output:
        await output.send(delivery)

    assert [got.body for got in server.got] == [b"raw one", b'{"a":1}']
    assert server.got[0].headers["x-custom"] == "h1  X-Evil: 1"
    assert server.got[0].headers["host"] == f"127.0.0.1:{server.port}"
    assert "content-type" not in server.got[0].headers
    assert (server.got[1].headers["content-type"], server.got[1].headers["x-n"]) == ("text/plain", "5")
    assert delivery.refused == {"missing_body_key": [1, 100]}
    assert delivery.accepted == 2


@pytest.mark.parametrize("status", [206, 301, 401, 403, 404, 408, 429, 500, 503])
async def test_records_are_held_and_sent_again_unchanged(server: HttpServer, status: int) -> None:
    server.script = [Says(status, b"busy", {"Retry-After": "7"})]
    delivery = delivery_of(batch_of("a", "b"))
    async with output_to(server.port, "compress gzip") as output:
        with pytest.raises(RetryLater, match=f"status {status}: busy") as failure:
            await output.send(delivery)
        await output.send(delivery)

    assert failure.value.after == 7
    assert server.got[0].raw == server.got[1].raw
    assert (delivery.accepted, delivery.refused) == (2, {})


@pytest.mark.parametrize("status", [200, 201, 202, 204, 205])
async def test_records_are_delivered(server: HttpServer, status: int) -> None:
    server.script = [Says(status)]
    delivery = delivery_of(batch_of("a", "b"))
    async with output_to(server.port) as output:
        await output.send(delivery)

    assert (len(server.got), delivery.accepted) == (1, 2)


async def test_a_refusal_costs_only_the_records_that_are_to_blame(server: HttpServer) -> None:
    server.judge = lambda got: Says(400, b"no") if b"bad" in got.body else Says()
    delivery = delivery_of(batch_of("1", "2", "bad", "4", "5"))
    async with output_to(server.port, "json_date_key false") as output:
        await output.send(delivery)

    taken = [record["log"] for got in server.got if b"bad" not in got.body for record in got.json]
    assert taken == ["1", "2", "4", "5"]
    assert delivery.accepted == 4
    assert delivery.refused["status_400"][0] == 1


async def test_a_server_that_refuses_everything_is_not_asked_for_ever(server: HttpServer) -> None:
    server.judge = lambda got: Says(400)
    delivery = delivery_of(batch_of(*map(str, range(5000))))
    async with output_to(server.port) as output:
        await output.send(delivery)

    assert len(server.got) < 200
    assert delivery.refused_records == 5000


async def test_what_is_too_large_is_parted(server: HttpServer) -> None:
    server.judge = lambda got: Says(413) if len(got.json) > 1 and len(got.body) > 60 else Says()
    delivery = delivery_of(batch_of(*"abcd"))
    async with output_to(server.port) as output:
        await output.send(delivery)

    assert [len(got.json) for got in server.got] == [4, 2, 1, 1, 2, 1, 1]
    assert delivery.accepted == 4


async def test_a_connection_that_is_cut_costs_nothing(server: HttpServer) -> None:
    server.script = [Says(cut=True)]
    delivery = delivery_of(batch_of("a"))
    async with output_to(server.port) as output:
        with pytest.raises(RetryLater):
            await output.send(delivery)
        await output.send(delivery)

    assert delivery.accepted == 1


async def test_requests_go_through_the_proxy(server: HttpServer) -> None:
    async with output_to(80, f"proxy http://127.0.0.1:{server.port}") as output:
        await output.send(delivery_of(batch_of("a")))

    assert server.got[0].target == "http://127.0.0.1/"


async def test_requests_are_signed(server: HttpServer, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", "AKID")
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "y")
    monkeypatch.setenv("AWS_EC2_METADATA_DISABLED", "true")
    [got] = await sent(server, "aws_auth on\naws_service aps\naws_region eu-west-1", F1)

    assert got.headers["authorization"].startswith("AWS4-HMAC-SHA256 Credential=AKID/")
    assert "/eu-west-1/aps/aws4_request" in got.headers["authorization"]
    assert "host;" in got.headers["authorization"]


TOKEN = Says(200, b'{"access_token":"T1","expires_in":3600}')
OAUTH = "oauth2.enable on\noauth2.client_id me\noauth2.client_secret s/1\noauth2.scope write"


async def test_a_token_is_fetched_once_and_again_when_it_is_no_good(server: HttpServer) -> None:
    server.script = [TOKEN, Says(), Says(), Says(401), Says(200, b'{"access_token":"T2"}'), Says()]
    delivery = delivery_of(batch_of("c"))
    async with output_to(server.port, f"{OAUTH}\noauth2.token_url http://127.0.0.1:{server.port}/token") as output:
        await output.send(delivery_of(batch_of("a")))
        await output.send(delivery_of(batch_of("b")))
        with pytest.raises(RetryLater):
            await output.send(delivery)
        await output.send(delivery)

    asked = [got for got in server.got if got.target == "/token"]
    assert [got.body for got in asked] == [b"grant_type=client_credentials&scope=write"] * 2
    assert asked[0].headers["authorization"] == "Basic " + base64.b64encode(b"me:s%2F1").decode()
    bearers = [got.headers["authorization"] for got in server.got if got.target == "/"]
    assert bearers == ["Bearer T1", "Bearer T1", "Bearer T1", "Bearer T2"]


async def test_id_and_secret_may_go_into_the_body_of_the_request_for_a_token(server: HttpServer) -> None:
    server.script = [TOKEN]
    lines = f"{OAUTH}\noauth2.auth_method post\noauth2.token_url http://127.0.0.1:{server.port}/token?x=1"
    async with output_to(server.port, lines) as output:
        await asyncio.gather(*(output.send(delivery_of(batch_of(log))) for log in "ab"))

    assert [got.target for got in server.got] == ["/token?x=1", "/", "/"]
    assert server.got[0].body.endswith(b"&client_id=me&client_secret=s%2F1")


@pytest.mark.parametrize(
    "says",
    [
        Says(400, b'{"error":"x"}'),
        Says(200, b"nonsense"),
        Says(200, b"{}"),
        Says(200, b"[]"),
        Says(200, b'{"access_token":7}'),
        Says(200, b'{"access_token":"a\\nb"}'),
        Says(200, b'{"\xff":1}'),
        Says(200, b'{"a":' * 5000),
        Says(cut=True),
    ],
)
async def test_without_a_token_records_are_held(server: HttpServer, says: Says) -> None:
    server.script = [says]
    async with output_to(server.port, f"{OAUTH}\noauth2.token_url http://127.0.0.1:{server.port}/t") as output:
        with pytest.raises(RetryLater, match="no access token"):
            await output.send(delivery_of(batch_of("a")))

    assert [got.target for got in server.got] == ["/t"]


@pytest.mark.parametrize(
    ("lines", "option"),
    [
        ("uri /a b", "uri"),
        ("header_tag X Y", "header_tag"),
        ("aws_auth on\naws_region x", "aws_service"),
        ("oauth2.enable on", "oauth2.token_url"),
        ("header X:Y z", "header"),
        ("compress lz4", "compress"),
    ],
)
def test_options_that_cannot_be_used_are_refused(lines: str, option: str) -> None:
    with pytest.raises(ConfigError, match=option):
        options_from(HttpOptions, lines, "output")


@pytest.mark.parametrize(
    ("lines", "option"),
    [("proxy ftp://x", "proxy"), (f"{OAUTH}\noauth2.token_url nowhere", "oauth2.token_url")],
)
async def test_addresses_that_cannot_be_used_are_refused_at_the_start(lines: str, option: str) -> None:
    with pytest.raises(OptionError, match=option):
        async with output_to(80, lines):
            pass


def test_tags_are_spread_over_a_few_lanes_and_keep_theirs() -> None:
    output = HttpOutput(options_from(HttpOptions, "match *", "output"), context_of("output"))
    lanes = {output.lane(batch_of("x", tag=f"tag{n}")) for n in range(1000)}
    alike = {output.lane(batch_of("x", tag=f"kube.tmp.everyday.logs.c{n}.log")) for n in range(8)}

    assert len(lanes) == 16
    assert len(alike) > 3
    assert output.lane(batch_of("x", tag="a")) == output.lane(batch_of("y", tag="a"))
