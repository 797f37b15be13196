"""The body of Promtail: protobuf in snappy."""

from __future__ import annotations

import cramjam
import pytest
from hypothesis import given
from hypothesis import strategies as st

from shipper.outputs.loki.protobuf_push import protobuf_push, push_message, varint
from shipper.outputs.loki.requests import Part, Request
from shipper.outputs.loki.streams import Entries, Stream

from ...components.loki import Entry, decoded
from .making import batch, bodies, logs, output, requests

_TEXT = st.text(st.characters(codec="utf-8"), max_size=40)
_LABELS = st.dictionaries(st.from_regex(r"[a-z_][a-z0-9_]{0,8}", fullmatch=True), _TEXT.filter(bool), min_size=1)
_ENTRY = st.tuples(st.integers(-(2**61), 2**66), _TEXT, st.dictionaries(_TEXT, _TEXT, max_size=3))


@given(_LABELS, st.lists(_ENTRY, min_size=1, max_size=5))
def test_what_is_encoded_is_what_a_decoder_reads(
    labels: dict[str, str], entries: list[tuple[int, str, dict[str, str]]]
) -> None:
    times, lines, metadata = ([e[i] for e in entries] for i in range(3))
    columns = Entries(times, [line.encode() for line in lines], metadata, 1, range(len(times)))  # type: ignore[arg-type, union-attr]
    body = protobuf_push(Request(None, (Part(Stream(None, tuple(labels.items())), columns),)))

    ((found, stored),) = decoded({"content-type": "application/x-protobuf"}, body)
    assert dict(found) == labels
    assert stored == [Entry(t, line, tuple(m.items())) for t, line, m in entries]


@pytest.mark.parametrize(
    "time_ns", [-1, -(10**9), -(10**18), 0, 2**35 * 10**9 - 1, 2**35 * 10**9, 253_402_300_799 * 10**9]
)
def test_both_forms_carry_the_same_time(time_ns: int) -> None:
    records = batch({"log": "x"}, first_ns=time_ns)
    made = output("labels job=x\nformat protobuf")
    [(_, from_protobuf)] = decoded(
        {"content-type": made._push.headers["Content-Type"]}, made._push.body(requests(made, records)[0])
    )
    [(_, from_json)] = decoded({"content-type": "application/json"}, bodies("labels job=x", records)[0])

    assert [entry.time_ns for entry in from_protobuf] == [entry.time_ns for entry in from_json] == [time_ns]


def test_both_forms_carry_the_same() -> None:
    options = "labels job=x, s=$s\nstructured_metadata $id"
    records = batch({"s": "a", "id": "1", "log": 'é "q" \\ \n'}, {"s": "b", "log": "x" * 300})
    made = output(f"{options}\nformat protobuf")
    from_protobuf = decoded(
        {"content-type": made._push.headers["Content-Type"]}, made._push.body(requests(made, records)[0])
    )
    from_json = decoded({"content-type": "application/json"}, bodies(options, records)[0])

    assert from_protobuf == [(tuple(sorted(labels)), entries) for labels, entries in from_json]


def test_known_bytes() -> None:
    columns = Entries([1_700_000_000 * 10**9 + 5], [b"hi"], None, 2, range(1))
    message = push_message(Request(None, (Part(Stream(None, (("a", "b"),)), columns),)))

    entry = b"\x0a\x0c\x08\x80\xe2\xcf\xaa\x06\x10\x85\x80\x80\x80\x00" + b"\x12\x02hi"
    stream = b'\x0a\x07{a="b"}' + b"\x12" + bytes([len(entry)]) + entry
    assert message == b"\x0a" + bytes([len(stream)]) + stream
    assert bytes(cramjam.snappy.decompress_raw(bytes(cramjam.snappy.compress_raw(message)))) == message


def test_varints() -> None:
    assert [varint(n) for n in (0, 1, 127, 128, 300)] == [b"\x00", b"\x01", b"\x7f", b"\x80\x01", b"\xac\x02"]


def test_it_is_smaller() -> None:
    records = logs(*[f"line number {n} of some length with words in it" for n in range(500)])
    made = output("labels job=x\nformat protobuf")

    assert len(made._push.body(requests(made, records)[0])) * 2 < len(bodies("labels job=x", records)[0])
