"""Records as log records of OpenTelemetry."""

from __future__ import annotations

from typing import Any

import msgspec
import pytest

from shipper.codecs.json_lines import JsonEncoder
from shipper.codecs.otlp_json import OtlpEncoder, any_value, chosen_otlp, log_record
from shipper.record import Record, RecordList

T = 1_700_000_000_123_456_789


def record(body: dict[str, Any], **otlp: Any) -> Record:
    return Record(T, body, {"otlp": otlp} if otlp else None)


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        ("x", {"stringValue": "x"}),
        (True, {"boolValue": True}),
        (-5, {"intValue": "-5"}),
        (2**64 - 1, {"intValue": "18446744073709551615"}),
        (1.5, {"doubleValue": 1.5}),
        (float("nan"), {"doubleValue": "NaN"}),
        (float("-inf"), {"doubleValue": "-Infinity"}),
        (None, {}),
        (b"\x00\xff", {"bytesValue": "AP8="}),
        ([1, "x", {}], {"arrayValue": {"values": [
            {"intValue": "1"}, {"stringValue": "x"}, {"kvlistValue": {"values": []}},
        ]}}),
        ({"k": {"": None}}, {"kvlistValue": {"values": [
            {"key": "k", "value": {"kvlistValue": {"values": [{"key": "", "value": {}}]}}},
        ]}}),
        ({5: 1}, {"kvlistValue": {"values": [{"key": "5", "value": {"intValue": "1"}}]}}),
        (msgspec.Raw(b'{"p":1}'), {"kvlistValue": {"values": [{"key": "p", "value": {"intValue": "1"}}]}}),
    ],
)  # fmt: skip
def test_a_value_tells_its_type(value: Any, expected: Any) -> None:
    assert any_value(value) == expected


def test_values_that_are_nested_for_ever_end_somewhere() -> None:
    value: Any = "x"
    for _ in range(5000):
        value = [value]

    assert b"nested too deeply" in msgspec.json.encode(any_value(value))


@pytest.mark.parametrize(
    ("made", "expected"),
    [
        (record({"k": "v"}), {"body": {"kvlistValue": {"values": [{"key": "k", "value": {"stringValue": "v"}}]}}}),
        (record({"log": "x"}), {"body": {"stringValue": "x"}}),
        (record({"message": "m", "log": "x", "n": 1}), {
            "attributes": [
                {"key": "message", "value": {"stringValue": "m"}}, {"key": "n", "value": {"intValue": "1"}},
            ],
            "body": {"stringValue": "x"},
        }),
        (record({"message": {"a": None}}), {"body": {"kvlistValue": {"values": [{"key": "a", "value": {}}]}}}),
        (record({}), {"body": {"kvlistValue": {"values": []}}}),
        (
            record({"log": "x", "b": 2}, timestamp=7, observed_timestamp=8, severity_number=9, severity_text="INFO",
                   attributes={"a": 1}, trace_id=bytes(range(16)), span_id=b"\xff" * 8),
            {
                "timeUnixNano": "7", "observedTimeUnixNano": "8", "severityNumber": 9, "severityText": "INFO",
                "attributes": [{"key": "a", "value": {"intValue": "1"}}, {"key": "b", "value": {"intValue": "2"}}],
                "traceId": "000102030405060708090a0b0c0d0e0f", "spanId": "ffffffffffffffff",
                "body": {"stringValue": "x"},
            },
        ),
        (record({"log": "x"}, timestamp="no", severity_number=-1, attributes=[], trace_id=5),
         {"body": {"stringValue": "x"}}),
        (Record(T, {"log": "x"}, {"otlp": "no map"}), {"body": {"stringValue": "x"}}),
    ],
)  # fmt: skip
def test_a_log_record_has_all_of_the_record(made: Record, expected: Any) -> None:
    assert log_record(made) == {"timeUnixNano": str(T), **expected}


def test_a_document_holds_all_records_on_one_line() -> None:
    contents = [RecordList([record({"log": "é"})]), RecordList([record({"log": 1}), record({"log": None})])]

    assert OtlpEncoder(JsonEncoder()).document(contents) == (
        rb'{"resourceLogs":[{"resource":{},"scopeLogs":[{"scope":{},"logRecords":['
        rb'{"timeUnixNano":"1700000000123456789","body":{"stringValue":"\u00e9"}},'
        rb'{"timeUnixNano":"1700000000123456789","body":{"intValue":"1"}},'
        rb'{"timeUnixNano":"1700000000123456789","body":{}}]}]}]}'
    )


def test_a_document_for_each_record_holds_one() -> None:
    found = OtlpEncoder(JsonEncoder()).documents(RecordList([record({"log": "a\n"}), record({"log": "b"})]))

    texts = [msgspec.json.decode(one)["resourceLogs"][0]["scopeLogs"][0]["logRecords"] for one in found]
    assert [[r["body"]["stringValue"] for r in records] for records in texts] == [["a\n"], ["b"]]
    assert b"\n" not in b"".join(found)


def test_a_pretty_document_says_the_same_on_many_lines() -> None:
    contents = [RecordList([record({"log": "x", "k": [1]})])]
    pretty, plain = OtlpEncoder(JsonEncoder(), pretty=True), OtlpEncoder(JsonEncoder())

    assert msgspec.json.decode(pretty.document(contents)) == msgspec.json.decode(plain.document(contents))
    assert pretty.document(contents).startswith(b'{\n    "resourceLogs": [\n        {\n')


@pytest.mark.parametrize(
    ("name", "pretty"), [("otlp_json", False), ("otlp_json_pretty", True), ("json", None), ("otlp", None)]
)
def test_the_option_names_the_encoder(name: str, pretty: bool | None) -> None:
    found = chosen_otlp(name, JsonEncoder())

    assert (found.is_pretty if found is not None else None) is pretty
