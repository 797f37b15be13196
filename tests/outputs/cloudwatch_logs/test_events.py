"""Which events records become, told as request bodies."""

from __future__ import annotations

from typing import Any

import msgspec
import pytest

from shipper.codecs.template import Template
from shipper.outputs.cloudwatch_logs.entity import entity_of
from shipper.outputs.cloudwatch_logs.events import StreamNames, is_group_name, stream_name
from shipper.outputs.cloudwatch_logs.requests import Stream
from shipper.record import Record, RecordBatch

from .making import batch_of, bodies_of, prepared, timed


def messages_of(*batches: RecordBatch, **options: Any) -> list[str]:
    return [e["message"] for b in bodies_of(*batches, **options) for e in msgspec.json.decode(b)["logEvents"]]


def test_whole_record_is_json_text_escaped_once_more() -> None:
    record: dict[str, Any] = {
        "log": 'café "q" back\\slash 😀\tz', "n": 5, "f": 1.5, "f2": 2.0, "t": True, "nul": None,
        "arr": [1, "a"], "m": {"k": "v"}, "big": 1234567890123456789, "neg": -5,
    }  # fmt: skip

    [body] = bodies_of(batch_of(record), prefix="p-")

    assert body == (
        r'{"logGroupName":"/my/group","logStreamName":"p-app.web","logEvents":[{"timestamp":1700000000123,"message":"'
        r"{\"log\":\"caf\\u00e9 \\\"q\\\" back\\\\slash \\ud83d\\ude00\\tz\",\"n\":5,\"f\":1.5,\"f2\":2.0,\"t\":true,"
        r"\"nul\":null,\"arr\":[1,\"a\"],\"m\":{\"k\":\"v\"},\"big\":1234567890123456789,\"neg\":-5}"
        r'"}]}'
    )
    assert len(body) == 308


def test_events_are_joined_with_their_times() -> None:
    assert bodies_of(batch_of({"a": 1}, {"b": 2})) == [
        r'{"logGroupName":"/my/group","logStreamName":"s","logEvents":[{"timestamp":1700000000123,"message":"{\"a\":1}"}'
        r',{"timestamp":1700000000124,"message":"{\"b\":2}"}]}'
    ]


def test_records_of_one_delivery_are_sorted_and_split_by_day() -> None:
    batch = timed(
        (1700000000.001, "A"), (1700000000.002, "B"), (1700000001.5, "C"), (1699999999.0, "D"),
        (1700090000.0, "E"), (1700000000.001, "F"),
    )  # fmt: skip

    first, second = (msgspec.json.decode(b)["logEvents"] for b in bodies_of(batch, log_key="log"))

    assert [(e["timestamp"], e["message"]) for e in first] == [
        (1699999999000, "D"), (1700000000001, "A"), (1700000000001, "F"), (1700000000002, "B"), (1700000001500, "C"),
    ]  # fmt: skip
    assert [(e["timestamp"], e["message"]) for e in second] == [(1700090000000, "E")]


def test_templates_group_records_by_stream() -> None:
    batch = batch_of(
        {"log": "a", "ns": "n1", "pod": "p1"}, {"log": "b", "ns": "n2"}, {"log": "c", "ns": "n1", "pod": "p1"}
    )
    warnings: list[str] = []

    found = prepared(
        batch, group="/fallback", prefix="fb-", group_template="/g/$ns", stream_template="$pod.x-$TAG[1]",
        log_key="log", warn=warnings.append,
    ).streams  # fmt: skip

    assert {s: e.messages for s, e in found.items()} == {
        Stream("/g/n1", "p1.x-web"): ["a", "c"],
        Stream("/g/n2", "fb-app.web"): ["b"],
    }
    assert warnings == ["a key of log_stream_template is missing in a record; the fallback name is used"]


def test_log_key_is_matched_exactly_and_escaped_once() -> None:
    record = {"log": 'hello "w" é', "log_processed": {"a": 1}, "num": 12345, "lo": "short"}

    [body] = bodies_of(batch_of(record), log_key="log")

    assert body.endswith(r'"logEvents":[{"timestamp":1700000000123,"message":"hello \"w\" \u00e9"}]}')


@pytest.mark.parametrize(
    ("value", "message"),
    [
        (12345, "12345"),
        (1.25, "1.25"),
        (7, "7"),
        ({"a": 1}, '{"a":1}'),
        ({"a": 'x"y\\z'}, '{"a":"x\\"y\\\\z"}'),
        ({}, "{}"),
        ([1, "b"], '[1,"b"]'),
        (True, "true"),
        (None, "null"),
        ("5", "5"),
        ("tab\tline\nend\x7f", "tab\tline\nend\x7f"),
        ("caf\udce9", "caf\ue0e9"),
        (b"raw", "raw"),
    ],
)
def test_value_of_the_log_key_is_sent_as_text_or_json(value: object, message: str) -> None:
    assert messages_of(batch_of({"num": value}), log_key="num") == [message]


def test_records_without_the_log_key_are_counted_and_left_out() -> None:
    found = prepared(batch_of({"log": "one"}, {"other": 1}, {"log": "two"}, {"log": ""}), log_key="log")

    assert found.streams[Stream("/my/group", "s")].messages == ["one", "two"]
    assert (found.missing_log_key, found.empty) == (1, 1)


def test_empty_records_make_no_event() -> None:
    found = prepared(batch_of({}, {"a": 1}, {}))

    assert found.streams[Stream("/my/group", "s")].messages == ['{"a":1}']
    assert found.empty == 2


def test_stream_without_events_is_not_named() -> None:
    assert prepared(batch_of({}), prefix="p-").streams == {}


def test_time_is_cut_to_milliseconds_and_never_negative() -> None:
    batch = RecordBatch("t", [Record(1_700_000_000_123_999_999, {"a": 1}), Record(-5, {"a": 2})], 10)

    early, late = bodies_of(batch, log_key="a")

    assert '[{"timestamp":0,' in early
    assert '[{"timestamp":1700000000123,' in late


@pytest.mark.parametrize("values", [["é", "plain"], ["plain", 1], ["x", "y"]])
def test_size_is_that_of_the_message_in_utf_8(values: list[object]) -> None:
    found = prepared(batch_of(*({"k": v} for v in values)), log_key="k").streams[Stream("/my/group", "s")]

    assert found.sizes == [len(str(v).encode()) for v in values]


@pytest.mark.parametrize(
    ("given", "accepted"),
    [
        ("p-app.web", "p-app.web"),
        ("systemd-fsck@dev-disk-by\\x2dlabel-BOOT.service", "systemd-fsck@dev-disk-by\\x2dlabel-BOOT.service"),
        ("a:b*c", "a_b_c"),
        ("a\nb\r\tc", "a_b__c"),
        ("\x00\x1f \x7f\x80~", "__ _\x80~"),
        ("", ""),
        ("x" * 513, "x" * 512),
        ("é" * 300, "é" * 256),
        ("x" + "é" * 300, "x" + "é" * 255),
    ],
)
def test_generated_stream_names_are_made_acceptable(given: str, accepted: str) -> None:
    assert stream_name(given) == accepted


@pytest.mark.parametrize(
    ("name", "is_one"), [("/my/group", True), ("a_b.c#d-1", True), ("", False), ("a b", False), ("x" * 513, False)]
)
def test_group_names(name: str, is_one: bool) -> None:
    assert is_group_name(name) is is_one


@pytest.mark.parametrize(
    ("tag", "prefix", "expected"),
    [
        (
            "application.var.log.containers.web-1_default_app-0123.log",
            "ip-10-0-0-1-",
            "ip-10-0-0-1-application.var.log.containers.web-1_default_app-0123.log",
        ),
        ("host.dmesg", "ip-10-0-0-1.", "ip-10-0-0-1.host.dmesg"),
        ("dataplane.systemd.kubelet.service", "ip-10-0-0-1-", "ip-10-0-0-1-dataplane.systemd.kubelet.service"),
    ],
)
def test_stream_is_prefix_and_tag(tag: str, prefix: str, expected: str) -> None:
    names = StreamNames(group="/aws/containerinsights/c1/application", prefix=prefix)

    assert names.of(tag, {}) == Stream("/aws/containerinsights/c1/application", expected)


def test_group_template_that_gives_no_group_name_falls_back() -> None:
    warnings: list[str] = []
    names = StreamNames(group="/g", stream="s", group_template=Template.parse("$ns"), warn=warnings.append)

    assert names.of("t", {"ns": "not a name"}) == Stream("/g", "s")
    assert len(warnings) == 1


def test_control_characters_of_a_record_never_get_into_a_name() -> None:
    warnings: list[str] = []
    group, stream = Template.parse("$ns"), Template.parse("$pod")
    names = StreamNames(group="/g", stream="s", group_template=group, stream_template=stream, warn=warnings.append)

    assert names.of("t", {"ns": "a\nb", "pod": "p\x1b[31m\n"}) == Stream("/g", "p_[31m_")
    assert warnings == ["log_group_template gave a name that is no group name; group /g is used"]


def test_records_of_the_mem_input_become_embedded_metrics() -> None:
    record = {
        "Mem.total": 24684092, "Mem.used": 506560, "Mem.free": 24177532,
        "Swap.total": 0, "Swap.used": 0, "Swap.free": 0,
    }  # fmt: skip

    [message] = messages_of(batch_of(record, time_ns=1795208556_700_000_000), dimensions="host,az;host")

    assert message == (
        '{"_aws":{"Timestamp":1795208556000,"CloudWatchMetrics":[{"Namespace":"fluent-bit-metrics",'
        '"Dimensions":[["host","az"],["host"]],"Metrics":[{"Name":"Mem.total","Unit":"Bytes"},'
        '{"Name":"Mem.used","Unit":"Bytes"},{"Name":"Mem.free","Unit":"Bytes"},{"Name":"Swap.total","Unit":"Bytes"},'
        '{"Name":"Swap.used","Unit":"Bytes"},{"Name":"Swap.free","Unit":"Bytes"}]}]},"Mem.total":24684092,'
        '"Mem.used":506560,"Mem.free":24177532,"Swap.total":0,"Swap.used":0,"Swap.free":0}'
    )


def test_metrics_stay_as_they_are_under_a_log_key() -> None:
    assert messages_of(batch_of({"Mem.total": 1, "Mem.used": 2}), log_key="Mem.used") == ["2"]


@pytest.mark.parametrize("is_encoded", [False, True])
def test_entity_is_sent_before_the_events_and_taken_out_of_the_records(is_encoded: bool) -> None:
    kubernetes = {"pod_name": "p", "aws_entity_service_name": "shop", "aws_entity_environment": "prod"}
    added = msgspec.Raw(msgspec.json.encode(kubernetes)) if is_encoded else kubernetes
    batch = batch_of({"log": "x", "kubernetes": added, "aws_entity_account_id": "123"})

    [body] = bodies_of(batch, add_entity=True)

    assert '"logStreamName":"s","entity":{"keyAttributes":{"Type":"Service","Name":"shop","Environment":"prod",' in body
    assert body.endswith(r'"message":"{\"log\":\"x\",\"kubernetes\":{\"pod_name\":\"p\"}}"}]}')
    assert "aws_entity_service_name" in kubernetes


@pytest.mark.parametrize("body", [{"log": "x"}, {"aws_entity_service_name": "a"}, {"aws_entity_account_id": "1"}])
def test_entity_needs_a_name_and_an_account(body: dict[str, Any]) -> None:
    assert entity_of(body) == b""


def test_same_batches_give_the_same_bytes() -> None:
    def bodies() -> list[str]:
        return bodies_of(batch_of({"a": "é", "t": 1.5}, {"b": 2}), timed((1.5, "x")))

    assert bodies() == bodies()
