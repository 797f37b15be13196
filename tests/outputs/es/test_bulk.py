"""es and opensearch: the lines of the reference, and what becomes of documents that are not taken."""

from __future__ import annotations

import base64
import re
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import mmh3
import msgspec
import pytest

from shipper.buffers.base import Delivery
from shipper.errors import ConfigError, OptionError, RetryLater
from shipper.outputs.es.bulk import BulkOutput
from shipper.outputs.es.opensearch import OpensearchOptions, OpensearchOutput
from shipper.outputs.es.output import EsOptions, EsOutput
from shipper.outputs.es.verdicts import items_of
from shipper.record import Record
from shipper.testing import BlockContent, ManualClock, batch_of, context_of

from ...components.bulk_server import BulkStore
from ...components.http_server import Got, HttpServer, Says, http_server
from ...written_options import options_from
from ..samples import F1, delivery_of, sample_batch

NOW_NS = 1_750_000_000_000_000_000
KUBERNETES = {"pod_name": "p1", "labels": {"app.kubernetes.io/name": "web"}}


@pytest.fixture
def store() -> BulkStore:
    return BulkStore()


@pytest.fixture
async def server(store: BulkStore) -> AsyncIterator[HttpServer]:
    async with http_server(store.judge) as found:
        yield found


@asynccontextmanager
async def output_to(port: int, lines: str = "", kind: str = "es") -> AsyncIterator[BulkOutput]:
    text, context = f"host 127.0.0.1\nport {port}\n{lines}", context_of("output", clock=ManualClock(NOW_NS))
    output: BulkOutput = (
        EsOutput(options_from(EsOptions, text, "output"), context)
        if kind == "es"
        else OpensearchOutput(options_from(OpensearchOptions, text, "output"), context)
    )
    await output.open()
    try:
        yield output
    finally:
        await output.close()


async def sent(server: HttpServer, lines: str, *records: Record, kind: str = "es") -> list[Got]:
    async with output_to(server.port, lines, kind) as output:
        await output.send(delivery_of(sample_batch(*records)))
    return server.got


DOCUMENT = '{"@timestamp":"2023-11-14T22:13:20.500Z","k":"v"}'


@pytest.mark.parametrize(
    ("lines", "record", "expected"),
    [
        ("", F1, ['{"create":{"_index":"fluent-bit","_type":"_doc"}}', DOCUMENT]),
        (
            "logstash_format on\ninclude_tag_key on\nreplace_dots on\nsuppress_type_name on",
            Record(1_700_000_000_001_000_000, {"kubernetes": msgspec.Raw(msgspec.json.encode(KUBERNETES))}),
            [
                '{"create":{"_index":"logstash-2023.11.14"}}',
                '{"@timestamp":"2023-11-14T22:13:20.001Z","flb-key":"my/tag:x","kubernetes":{"pod_name":"p1",'
                '"labels":{"app_kubernetes_io/name":"web"}}}',
            ],
        ),
        (
            "generate_id on\nwrite_operation upsert\npipeline pp",
            F1,
            [
                '{"update":{"_index":"fluent-bit","_type":"_doc","_id":"d70a4407-0fd5-db89-015e-6d62bbeee832"}}',
                '{"doc_as_upsert":true,"doc":' + DOCUMENT + "}",
            ],
        ),
        (
            "write_operation update\nid_key k",
            F1,
            ['{"update":{"_index":"fluent-bit","_type":"_doc","_id":"v"}}', '{"doc":' + DOCUMENT + "}"],
        ),
        (
            "write_operation index\nlogstash_format on\nlogstash_prefix_key tenant\nid_key $tenant",
            Record(F1.time_ns, {"tenant": "t1"}),
            [
                '{"index":{"_index":"t1-2023.11.14","_type":"_doc","_id":"t1"}}',
                '{"@timestamp":"2023-11-14T22:13:20.500Z","tenant":"t1"}',
            ],
        ),
        (
            "time_key t2\ntime_key_format %s",
            F1,
            ['{"create":{"_index":"fluent-bit","_type":"_doc"}}', '{"t2":"1700000000.500Z","k":"v"}'],
        ),
        (
            "time_key_nanos on\nindex a-%Y.%m.%d\ntype t",
            Record(1_700_000_000_000_000_042, {}),
            ['{"create":{"_index":"a-2025.06.15","_type":"t"}}', '{"@timestamp":"2023-11-14T22:13:20.000000042Z"}'],
        ),
        (
            "current_time_index on\nlogstash_format on\nlogstash_prefix_separator _\nlogstash_dateformat %Y",
            F1,
            [
                '{"create":{"_index":"logstash_2025","_type":"_doc"}}',
                '{"@timestamp":"2025-06-15T15:06:40.000Z","k":"v"}',
            ],
        ),
        (
            "suppress_type_name on\ninclude_tag_key on\ntag_key t",
            Record(F1.time_ns, {"@timestamp": "x", "k": "v", "t": 1}),
            ['{"create":{"_index":"fluent-bit"}}', DOCUMENT.replace(',"k"', ',"t":"my/tag:x","k"')],
        ),
    ],
)
async def test_action_and_document_have_the_bytes_of_the_reference(
    server: HttpServer, lines: str, record: Record, expected: list[str]
) -> None:
    [got] = await sent(server, lines, record)

    assert got.body.decode().split("\n") == [*expected, ""]
    assert got.target == ("/_bulk?pipeline=pp" if "pipeline" in lines else "/_bulk")
    assert (got.headers["content-type"], got.headers["user-agent"]) == ("application/x-ndjson", "Fluent-Bit")


@pytest.mark.parametrize(
    ("lines", "indices"),
    [
        ("index my-$tenant", ["my-t1", "my-"]),
        ("index $TAG.-%Y", ["my/tag:x.-2025", "my/tag:x.-2025"]),
        ("index plain", ["plain", "plain"]),
        ("index a-$tenant\nlogstash_format on", ["logstash-2023.11.14"] * 2),
    ],
)
async def test_the_index_of_opensearch_may_come_from_the_record(
    server: HttpServer, lines: str, indices: list[str]
) -> None:
    [got] = await sent(server, lines, Record(F1.time_ns, {"tenant": "t1"}), F1, kind="opensearch")

    assert [action["create"]["_index"] for action in got.lines[::2]] == indices


async def test_blocks_of_lines_become_documents_too(server: HttpServer) -> None:
    batch = batch_of("x")
    batch = type(batch)("t", BlockContent([{"log": "a", "@timestamp": 1}, {}]), 10)
    async with output_to(server.port, "id_key log") as output:
        await output.send(delivery_of(batch))

    head = {"_index": "fluent-bit", "_type": "_doc"}
    time = {"@timestamp": "2023-11-14T22:13:20.000Z"}
    assert server.got[0].lines == [{"create": {**head, "_id": "a"}}, {**time, "log": "a"}, {"create": head}, time]


async def test_a_record_without_an_id_cannot_be_updated(server: HttpServer, store: BulkStore) -> None:
    delivery = delivery_of(sample_batch(F1, Record(F1.time_ns, {"other": 1})))
    async with output_to(server.port, "write_operation upsert\nid_key k") as output:
        await output.send(delivery)

    assert [id for _, id, _ in store.documents] == ["v"]
    assert (delivery.accepted, delivery.refused) == (1, {"missing_id": [1, 100]})


async def test_only_documents_that_are_not_taken_now_are_sent_again(server: HttpServer, store: BulkStore) -> None:
    times = {"b": [429, 503]}
    store.status_of = lambda document: times[document["log"]].pop(0) if times.get(document["log"]) else 0
    delivery = delivery_of(batch_of("a", "b", "c"))
    async with output_to(server.port) as output:
        for status in (429, 503):
            with pytest.raises(RetryLater, match=f"1 of . documents are not taken now: words for {status}"):
                await output.send(delivery)
        await output.send(delivery)

    assert [d["log"] for _, _, d in store.documents] == ["a", "c", "b"]
    assert [len(got.lines) for got in server.got] == [6, 2, 2]
    assert (delivery.accepted, delivery.refused) == (3, {})


async def test_a_document_that_is_refused_costs_only_itself(server: HttpServer, store: BulkStore) -> None:
    store.status_of = lambda document: 400 if document["log"] == "bad" else 0
    delivery = delivery_of(batch_of("a", "bad", "c"))
    async with output_to(server.port) as output:
        await output.send(delivery)

    assert [d["log"] for _, _, d in store.documents] == ["a", "c"]
    assert delivery.accepted == 2
    assert delivery.refused["kind_400"][0] == 1


async def test_a_document_that_is_there_already_is_delivered(server: HttpServer, store: BulkStore) -> None:
    server.script = [Says(cut=True)]
    delivery = delivery_of(batch_of("a", "b"))
    server.judge = store.judge
    async with output_to(server.port, "id_key log") as output:
        with pytest.raises(RetryLater):
            await output.send(delivery)
        store.judge(server.got[0])  # the request whose answer was lost had arrived
        await output.send(delivery)

    assert [id for _, id, _ in store.documents] == ["a", "b"]
    assert (delivery.accepted, delivery.refused) == (2, {})


@pytest.mark.parametrize("fields", [0, 1, 14, 15, 16, 70_000])
def test_an_id_is_the_hash_of_what_is_stored(fields: int) -> None:
    options = options_from(EsOptions, "generate_id on\ninclude_tag_key on", "output")
    body = {f"k{n}": n for n in range(fields)}
    [actions] = EsOutput(options, context_of("output"))._requests(delivery_of(sample_batch(Record(F1.time_ns, body))))
    [action] = actions.texts

    head, document = map(msgspec.json.decode, action.splitlines())
    digest = mmh3.mmh3_x64_128_digest(msgspec.msgpack.encode(document), 42)
    swapped = b"".join(digest[n : n + 2][::-1] for n in range(0, 16, 2)).hex()
    assert head["create"]["_id"].replace("-", "") == swapped


async def test_generated_ids_keep_a_document_from_being_stored_twice(server: HttpServer, store: BulkStore) -> None:
    async with output_to(server.port, "generate_id on") as output:
        for _ in range(2):
            await output.send(delivery_of(sample_batch(F1)))

    assert len(store.documents) == 1
    assert output._context.metrics.total("output_documents_there_already_total") == 1


async def test_equal_records_of_one_time_are_one_document_with_generated_ids(
    server: HttpServer, store: BulkStore
) -> None:
    delivery = delivery_of(sample_batch(F1, F1))
    async with output_to(server.port, "generate_id on") as output:
        await output.send(delivery)

    assert (len(store.documents), delivery.accepted, delivery.refused_records) == (1, 2, 0)


@pytest.mark.parametrize("status", [401, 403, 429, 500, 503])
async def test_everything_is_held_while_the_server_takes_nothing(
    server: HttpServer, store: BulkStore, status: int
) -> None:
    server.script = [Says(status)]
    delivery = delivery_of(batch_of("a", "b"))
    async with output_to(server.port, "compress gzip") as output:
        with pytest.raises(RetryLater, match=str(status)):
            await output.send(delivery)
        await output.send(delivery)

    assert server.got[0].raw == server.got[1].raw
    assert (len(store.documents), delivery.accepted) == (2, 2)


async def test_a_request_that_is_too_large_is_parted(server: HttpServer, store: BulkStore) -> None:
    server.judge = lambda got: Says(413) if len(got.lines) > 2 else store.judge(got)
    delivery = delivery_of(batch_of(*"abcd"))
    async with output_to(server.port) as output:
        await output.send(delivery)

    assert [d["log"] for _, _, d in store.documents] == list("abcd")
    assert delivery.accepted == 4


async def test_a_request_that_is_refused_as_a_whole_is_searched(server: HttpServer, store: BulkStore) -> None:
    server.judge = lambda got: Says(400, b"x") if b"bad" in got.body else store.judge(got)
    delivery = delivery_of(batch_of("a", "bad", "c"))
    async with output_to(server.port) as output:
        await output.send(delivery)

    assert [d["log"] for _, _, d in store.documents] == ["a", "c"]
    assert delivery.refused["status_400"][0] == 1


@pytest.mark.parametrize("body", [b"", b"<html>", b'{"errors":true,"items":[]}', b'{"errors":true,"items":[{}]}'])
async def test_an_answer_that_cannot_be_understood_delivers_nothing(server: HttpServer, body: bytes) -> None:
    server.script = [Says(200, body)]
    delivery = delivery_of(batch_of("a"))
    async with output_to(server.port) as output:
        with pytest.raises(RetryLater, match="cannot be understood"):
            await output.send(delivery)

    assert delivery.accepted == 0


@pytest.mark.parametrize(
    ("items", "accepted", "again", "refused"),
    [
        ([{"create": {"status": 201}}, {"create": {"status": 409}}], 2, [], {}),
        ([{"update": {"status": 409}}, {"update": {"status": 200}}], 1, [0], {}),
        ([{"index": {"status": 403, "error": {"type": "cluster_block_exception"}}}, {"index": {"status": 201}}],
         1, [0], {}),
        ([{"index": {"status": 403, "error": {"type": "security_exception"}}}, {"index": {"status": 201}}],
         1, [], {0: "security_exception"}),
        ([{"index": {"status": 403}}, {"index": {"status": 401}}], 0, [0, 1], {}),
        ([{"create": {"status": 404, "error": "text"}}, {"create": {"status": 400, "error": {"type": "a b"}}}],
         0, [], {0: "status_404", 1: "status_400"}),
    ],
)  # fmt: skip
def test_each_document_has_its_verdict(
    items: list[Any], accepted: int, again: list[int], refused: dict[int, str]
) -> None:
    found = items_of(msgspec.json.encode({"errors": True, "items": items}), len(items))

    assert found is not None
    assert (found.accepted, found.again) == (accepted, again)
    assert {place: reason.word for place, reason in found.refused.items()} == refused


async def test_servers_of_the_upstream_file_take_turns(store: BulkStore, tmp_path: Path) -> None:
    path = tmp_path / "nodes.conf"
    async with http_server(store.judge) as one, http_server(store.judge) as two:
        node = "[NODE]\n    Name n{0}\n    Host 127.0.0.1\n    Port {0}\n"
        path.write_text("[UPSTREAM]\n    Name u\n\n# nodes\n" + node.format(one.port) + node.format(two.port))
        async with output_to(1, f"upstream {path}") as output:
            for _ in range(4):
                await output.send(delivery_of(batch_of("a")))

        assert (len(one.got), len(two.got)) == (2, 2)


@pytest.mark.parametrize(
    ("text", "why"),
    [
        ("[UPSTREAM]\nname x", "names no node"),
        ("[NODE]\nhost a", "lacks host or port"),
        ("[NODE]\nhost a\nport 1\ncolour red", "no option 'colour'"),
        ("[NODE]\nhost a\nport x", "port"),
        (None, "cannot be read"),
    ],
)
async def test_an_upstream_file_that_cannot_be_used_is_told(tmp_path: Path, text: str | None, why: str) -> None:
    path = tmp_path / "nodes.conf"
    if text is not None:
        path.write_text(text)
    with pytest.raises(OptionError, match=why):
        async with output_to(1, f"upstream {path}"):
            pass


def test_a_cloud_id_names_the_server() -> None:
    cloud_id = "name:" + base64.b64encode(b"eu.cloud.example:9243$abc$kib").decode()
    options = options_from(EsOptions, f"cloud_id {cloud_id}\ncloud_auth elastic:p:w", "output")

    assert (options.host, options.port, options.tls) == ("abc.eu.cloud.example", 9243, True)
    assert options.authorization() == "Basic " + base64.b64encode(b"elastic:p:w").decode()


@pytest.mark.parametrize(
    ("lines", "expected"),
    [
        ("http_user u\nhttp_passwd p", "Basic dTpw"),
        ("http_api_key abc==", "ApiKey abc=="),
        ("http_user u\nhttp_passwd p\nhttp_api_key k", "Basic dTpw"),
        ("index x", None),
    ],
)
def test_credentials_become_one_header(lines: str, expected: str | None) -> None:
    assert options_from(EsOptions, lines, "output").authorization() == expected


@pytest.mark.parametrize(
    ("lines", "option"),
    [
        ("write_operation update", "write_operation"),
        ("generate_id on\nid_key k", "generate_id"),
        ("cloud_id nonsense", "cloud_id"),
        ("aws_auth on", "aws_region"),
        ("path /a b", "path"),
    ],
)
def test_options_that_cannot_be_used_are_refused(lines: str, option: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("AWS_REGION", raising=False)
    monkeypatch.delenv("AWS_DEFAULT_REGION", raising=False)
    with pytest.raises(ConfigError, match=re.escape(option)):
        options_from(EsOptions, lines, "output")


async def test_a_path_goes_in_front(server: HttpServer) -> None:
    delivery = Delivery("", [batch_of("a")])
    async with output_to(server.port, "path es/x/\npipeline a b\ntrace_output on\ntrace_error on") as output:
        await output.send(delivery)

    assert server.got[0].target == "/es/x/_bulk?pipeline=a%20b"


async def test_refusals_that_all_differ_are_kept_together_by_their_kind(server: HttpServer) -> None:
    error = [{"type": "mapper_parsing_exception", "reason": f"cannot read {n}"} for n in range(300)]
    items = [{"create": {"status": 400, "error": one}} for one in error]
    server.script = [Says(200, msgspec.json.encode({"errors": True, "items": items}))]
    delivery = delivery_of(batch_of(*map(str, range(300))))
    async with output_to(server.port) as output:
        await output.send(delivery)

    assert len(delivery.refusals) == 101
    assert delivery.refusals[7].message == "cannot read 7"
    assert delivery.refusals[-1].message == "mapper_parsing_exception"
    assert sorted(r.body["log"] for one in delivery.refusals for _, r in one.which()) == sorted(map(str, range(300)))
    assert delivery.refused["mapper_parsing_exception"][0] == 300
