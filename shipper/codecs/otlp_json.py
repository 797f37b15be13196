"""Records as log records of OpenTelemetry, in the JSON of its protocol (OTLP).

One document is `{"resourceLogs":[{"resource":{},"scopeLogs":[{"scope":{},"logRecords":[…]}]}]}`. Of a record

- the time is `timeUnixNano`;
- the value of `log`, or else of `message`, is the body, and its other keys are attributes. A record with neither is the
  body as a whole;
- what metadata have under `otlp`, as inputs for OpenTelemetry set it, becomes the other fields of the log record.

Whole numbers are texts, as the protocol wants them: many readers of JSON know only 53 bits of them.
"""

from __future__ import annotations

import base64
import math
from collections.abc import Iterable, Sequence
from typing import Any

import msgspec

from ..record import Body, Content, Record, RecordList
from .json_lines import JsonEncoder

_BODY_KEYS = ("log", "message")
_DEEPEST = 100
_INDENT = 4
_START = b'{"resourceLogs":[{"resource":{},"scopeLogs":[{"scope":{},"logRecords":['
_END = b"]}]}]}"

_Object = dict[str, Any]
_decode = msgspec.json.decode


class OtlpEncoder:
    """Encodes records as documents, each on one line unless it is `pretty`."""

    def __init__(self, json: JsonEncoder, *, pretty: bool = False) -> None:
        self._json = json
        self._pretty = pretty

    @property
    def is_pretty(self) -> bool:
        """Whether a document has more than one line."""
        return self._pretty

    def document(self, contents: Iterable[Content]) -> bytes:
        """One document that holds all records."""
        return self._framed([text for content in contents for text in self._log_records(content)])

    def documents(self, content: Content) -> list[bytes]:
        """A document for each record."""
        return [self._framed([text]) for text in self._log_records(content)]

    def _log_records(self, content: Content) -> list[bytes]:
        return self._json.encode_bodies(RecordList([Record(0, log_record(record)) for record in content.records()]))

    def _framed(self, records: list[bytes]) -> bytes:
        text = b"%b%b%b" % (_START, b",".join(records), _END)
        return msgspec.json.format(text, indent=_INDENT) if self._pretty else text


def chosen_otlp(name: str, json: JsonEncoder) -> OtlpEncoder | None:
    """The encoder that an option `format` names, if it names one."""
    if name not in ("otlp_json", "otlp_json_pretty"):
        return None
    return OtlpEncoder(json, pretty=name == "otlp_json_pretty")


def log_record(record: Record) -> _Object:
    """The log record of a record, as values that JSON has a form for."""
    told = (record.metadata or {}).get("otlp")
    told = told if isinstance(told, dict) else {}
    body, rest = _body_and_rest(record.body)
    made: _Object = {"timeUnixNano": str(_natural(told.get("timestamp")) or max(0, record.time_ns))}
    if (observed := _natural(told.get("observed_timestamp"))) is not None:
        made["observedTimeUnixNano"] = str(observed)
    if (severity := _natural(told.get("severity_number"))) is not None:
        made["severityNumber"] = severity
    if isinstance(text := told.get("severity_text"), str):
        made["severityText"] = text
    attributes = told.get("attributes")
    all_of_them = {**(attributes if isinstance(attributes, dict) else {}), **rest}
    if all_of_them:
        made["attributes"] = _members(all_of_them, 0)
    for name, key in (("traceId", "trace_id"), ("spanId", "span_id")):
        if isinstance(found := told.get(key), (bytes, str)) and found:
            made[name] = found.hex() if isinstance(found, bytes) else found
    made["body"] = any_value(body)
    return made


def any_value(value: Any, depth: int = 0) -> _Object:
    """A value in the form that tells its type; nothing at all for null."""
    if isinstance(value, str):
        return {"stringValue": value}
    if isinstance(value, bool):
        return {"boolValue": value}
    if isinstance(value, int):
        return {"intValue": str(value)}
    if isinstance(value, float):
        return {"doubleValue": value if math.isfinite(value) else _name_of(value)}
    if value is None:
        return {}
    if isinstance(value, (bytes, bytearray, memoryview)):
        return {"bytesValue": base64.b64encode(value).decode()}
    if isinstance(value, msgspec.Raw):
        return any_value(_decode(value), depth)
    if depth > _DEEPEST:
        return {"stringValue": "(nested too deeply)"}
    if isinstance(value, dict):
        return {"kvlistValue": {"values": _members(value, depth)}}
    if isinstance(value, (list, tuple)):
        return {"arrayValue": {"values": [any_value(one, depth + 1) for one in value]}}
    return {"stringValue": str(value)}


def _body_and_rest(body: Body) -> tuple[Any, Body]:
    for key in _BODY_KEYS:
        if key in body:
            return body[key], {k: v for k, v in body.items() if k != key}
    return body, {}


def _members(values: dict[Any, Any], depth: int) -> Sequence[_Object]:
    return [{"key": _text(key), "value": any_value(value, depth + 1)} for key, value in values.items()]


def _text(key: Any) -> str:
    if isinstance(key, str):
        return key
    return key.decode("utf-8", "surrogateescape") if isinstance(key, bytes) else str(key)


def _natural(value: Any) -> int | None:
    return value if isinstance(value, int) and not isinstance(value, bool) and value >= 0 else None


def _name_of(value: float) -> str:
    return "NaN" if math.isnan(value) else "Infinity" if value > 0 else "-Infinity"
