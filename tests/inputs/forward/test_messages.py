"""Messages of the forward protocol in all their modes."""

from __future__ import annotations

from typing import Any

import cramjam
import msgspec
import pytest

from shipper.codecs.compression import compress_gzip as gzipped
from shipper.codecs.msgpack_events import event_time
from shipper.inputs.forward.messages import Message, parse_message
from shipper.inputs.forward.splitting import BadMessage
from shipper.inputs.listening import TooLarge
from shipper.record import Record

pack = msgspec.msgpack.encode
S = 1_600_000_000
NS = S * 10**9
EVENT = msgspec.msgpack.Ext(0, event_time(NS + 5)[2:])
ENTRIES: list[Any] = [[S, {"n": 1}], [EVENT, {"n": 2}], [[EVENT, {"m": 1}], {"n": 3}]]
RECORDS = [Record(NS, {"n": 1}), Record(NS + 5, {"n": 2}), Record(NS + 5, {"n": 3}, {"m": 1})]
PACKED = b"".join(map(pack, ENTRIES))
ZSTD = bytes(cramjam.zstd.compress(PACKED))


def parsed(*elements: Any) -> Message:
    return parse_message(pack(list(elements)), 100_000)


def as_text(data: bytes) -> msgspec.Raw:
    """Bytes as a string value, as old senders write them."""
    return msgspec.Raw(b"\xda" + len(data).to_bytes(2, "big") + data)


@pytest.mark.parametrize(
    ("elements", "records"),
    [
        (["t", S, {"n": 1}], RECORDS[:1]),
        (["t", EVENT, {"n": 2}], RECORDS[1:2]),
        (["t", EVENT, {"n": 2}, None], RECORDS[1:2]),
        (["t", EVENT, {"n": 3}, {"metadata": {"m": 1}}], RECORDS[2:]),
        (["t", ENTRIES], RECORDS),
        (["t", ENTRIES, {"size": 3}], RECORDS),
        (["t", ENTRIES, None], RECORDS),
        (["t", ENTRIES[1:2] * 20], RECORDS[1:2] * 20),
        (["t", []], []),
        (["t", PACKED], RECORDS),
        (["t", PACKED, {"size": 3}], RECORDS),
        (["t", PACKED, {"size": 7}], RECORDS),
        (["t", as_text(PACKED), {}], RECORDS),
        (["t", gzipped(PACKED), {"compressed": "gzip"}], RECORDS),
        (["t", gzipped(PACKED), {}], RECORDS),
        (["t", gzipped(PACKED[:11]) + gzipped(PACKED[11:]), {"compressed": "gzip", "size": 3}], RECORDS),
        (["t", ZSTD, {"compressed": "zstd"}], RECORDS),
        (["t", b"", {}], []),
        (["t", [[1.5, {"f": 1}]]], [Record(1_500_000_000, {"f": 1})]),
        (["t", [[[-1, {}], {}], [S, {"n": 1}], [-2, {}]]], RECORDS[:1]),
    ],
)
def test_every_mode_gives_its_records(elements: list[Any], records: list[Record]) -> None:
    message = parsed(*elements)

    assert message.tag == "t"
    assert message.records == records


@pytest.mark.parametrize(("told", "payload"), [("zstd", gzipped(PACKED)), ("gzip", ZSTD), ("gzip", PACKED)])
def test_the_first_bytes_win_over_a_wrong_name_of_the_compression(told: str, payload: bytes) -> None:
    message = parsed("t", payload, {"compressed": told})

    assert message.records == RECORDS
    assert told in message.contradiction


@pytest.mark.parametrize("payload", [ENTRIES, PACKED])
def test_the_id_of_a_chunk_is_found(payload: Any) -> None:
    assert parsed("t", payload, {"chunk": "abc", "size": 3}).chunk == "abc"


@pytest.mark.parametrize("payload", [b"anything", [1, 2]])
def test_metrics_and_traces_are_not_looked_into(payload: Any) -> None:
    message = parsed("t", payload, {"fluent_signal": 1, "chunk": "c"})

    assert (message.is_logs, message.records, message.chunk) == (False, [], "c")


def test_records_that_are_no_maps_are_rejected_alone() -> None:
    message = parsed("t", [[S, {"n": 1}], [S, "text"], [EVENT, None]])

    assert (message.records, message.rejected) == (RECORDS[:1], 2)


@pytest.mark.parametrize("is_packed", [False, True])
def test_text_that_is_no_utf8_is_kept_for_the_outputs_to_mend(is_packed: bool) -> None:
    bad = b"\x92\xd7\x00" + event_time(NS + 5)[2:] + b"\x81\xa1k\xa2\xff\xfe"
    good = pack(ENTRIES[0])
    data = b"\x92\xa1t" + (pack(bad + good) if is_packed else b"\x92" + bad + good)

    assert parse_message(data, 1000).records == [Record(NS + 5, {"k": "\udcff\udcfe"}), RECORDS[0]]


@pytest.mark.parametrize(
    "elements",
    [
        [],
        ["t"],
        ["t", S],
        [5, S, {}],
        [None, ENTRIES],
        ["t", {"a": 1}, {}],
        ["t", None, {}],
        ["t", [5]],
        ["t", [[S]]],
        ["t", [[S, {}, {}]]],
        ["t", [{"a": 1, "b": 2}]],
        ["t", [["now", {}]]],
        ["t", [[2**62, {}]]],
        ["t", [[[S, 5], {}]]],
        ["t", ENTRIES, "options"],
        ["t", ENTRIES, {"chunk": 5}],
        ["t", PACKED[:-1], {}],
        ["t", b"\x1f\x8b damaged", {"compressed": "gzip"}],
        ["t", b"\x28\xb5\x2f\xfd damaged", {"compressed": "zstd"}],
        ["t", 1, {}, {}, 5],
    ],
)
def test_malformed_messages_are_errors(elements: list[Any]) -> None:
    with pytest.raises(BadMessage):
        parsed(*elements)


def test_nesting_without_end_is_an_error() -> None:
    with pytest.raises(BadMessage):
        parse_message(b"\x92\xa1t\x91\x92\x01\x81\xa1k" + b"\x91" * 100_000 + b"\x01", 1_000_000)


@pytest.mark.parametrize("compress", [gzipped, lambda d: bytes(cramjam.zstd.compress(d))])
def test_a_payload_that_grows_beyond_the_limit_is_refused(compress: Any) -> None:
    bomb = compress(pack([S, {"k": "x" * 200_000}]))

    with pytest.raises(TooLarge):
        parsed("t", bomb, {"compressed": "gzip"})


def test_keys_of_records_are_made_texts_and_bytes_of_tags_readable() -> None:
    message = parse_message(b"\x93\xa1\xff\x01" + pack({5: 1, None: 2, b"b": 3, "s": 4}), 1000)

    assert message.tag == "\ufffd"
    assert message.records[0].body == {"5": 1, "null": 2, "b": 3, "s": 4}


def deep(levels: int) -> Any:
    """A map with so many levels."""
    value: Any = 1
    for _ in range(levels):
        value = {"a": value}
    return value


NO_TEXT = b"\x92\x01\x81\xa1k\xa1\xff"


@pytest.mark.parametrize(
    "entry",
    [
        b"\x92\x01\x81\xa1k" + b"\x91" * 5000 + b"\xc0",
        b"\x92\x01\x81\xa1k\x81\x81\xa1a\x01\x01",
        b"\x92\x01\x81\xa1k\xc7\x05\xff12345",
    ],
    ids=["too deep", "map as a key", "bad timestamp"],
)
@pytest.mark.parametrize("before", [b"", NO_TEXT], ids=["alone", "behind text that is no UTF-8"])
def test_entries_that_cannot_be_decoded_make_a_bad_message(entry: bytes, before: bytes) -> None:
    with pytest.raises(BadMessage):
        parsed("t", before + entry)
    with pytest.raises(BadMessage):
        parsed("t", [msgspec.Raw(e) for e in (before, entry) if e])


def test_a_payload_of_other_things_than_entries_is_bad_at_the_first_one() -> None:
    with pytest.raises(BadMessage, match="not a time and a record"):
        parsed("t", b"\xc0" * 10_000 + b"\xc1")


def test_entries_that_are_nested_too_deeply_are_left_out_alone() -> None:
    message = parsed("t", [[S, {"n": 1}], [S, deep(257)], [[S, deep(300)], {}], [S, deep(256)]])

    assert [r.body for r in message.records] == [{"n": 1}, deep(256)]
    assert message.too_deep == 2


@pytest.mark.parametrize(("payload", "told"), [(gzipped(PACKED * 50), "gzip"), (PACKED * 50, None)])
def test_the_size_of_a_message_is_that_of_its_decompressed_entries(payload: bytes, told: str | None) -> None:
    assert parsed("t", payload, {"compressed": told} if told else {}).size == 50 * len(PACKED)
