"""Records from messages of the forward protocol.

- Message: `[tag, time, record]`, or `[tag, time, record, options]`
- Forward: `[tag, [entry, …]]`, or `[tag, [entry, …], options]`
- PackedForward: `[tag, entries in a string or binary value]`, or with options; `compressed` among them tells how they
  are compressed, and where it is wrong or missing, the first bytes do

An entry is `[time, record]` or `[[time, metadata], record]`; a time is whole seconds or the extension of type 0.
"""

from __future__ import annotations

from itertools import chain
from struct import Struct
from typing import Any

import msgspec

from ...codecs import msgpack_stream
from ...codecs.msgpack_events import array_head
from ...codecs.template import text_of
from ...record import Body, Record
from ..depth import without_deep
from ..listening import TooLarge, decoded_text, inflate
from .splitting import BadMessage, array_begin, content_at, end_of, is_array, is_text_or_binary

_SECOND = 1_000_000_000
_LAST_SECOND = 1 << 33
_GROUP_MARKS = 0xFFFFFFFE
"""Entries with times from here on mark groups of records in chunks of Fluent Bit; they are no records."""

_EVENT_TIME = Struct(">II")
_MAGIC = ((b"\x1f\x8b", "gzip"), (b"\x28\xb5\x2f\xfd", "zstd"))
_LOGS = 0
_TEXT_ALONE = frozenset((str,))


def _extension(code: int, data: memoryview) -> Any:
    """A time as a pair, which nothing else is decoded to; other extensions as their bytes."""
    return _EVENT_TIME.unpack(data) if code == 0 and len(data) == 8 else bytes(data)


_decode = msgspec.msgpack.Decoder(ext_hook=_extension).decode


class Message(msgspec.Struct, frozen=True):
    """What one message holds. `size` is that of its entries as they were encoded.

    Entries that are left out are `rejected`, which have no map, and `too_deep`. `is_logs` is false for metrics and
    traces, which are not looked into.
    """

    tag: str
    records: list[Record]
    size: int
    rejected: int = 0
    chunk: str | None = None
    is_logs: bool = True
    contradiction: str = ""
    too_deep: int = 0


def parse_message(data: bytes, most: int) -> Message:
    """The message; its entries may have so many bytes when decompressed. Raises `BadMessage` and `TooLarge`."""
    count, at = array_begin(data)
    if not 2 <= count <= 4:
        raise BadMessage(f"a message has {count} elements")
    end = end_of(data, at)
    if not is_text_or_binary(data[at]):
        raise BadMessage("the tag of a message is no string")
    tag = content_at(data, at, end).decode("utf-8", "replace")
    second = data[end]
    if is_text_or_binary(second):
        return _packed(tag, data, end, count, most)
    if is_array(second):
        return _forward(tag, data, end, count)
    if count < 3:
        raise BadMessage("a message has neither entries nor a record")
    body_end = end_of(data, end_of(data, end))
    options = _options(data, body_end, count > 3)
    entries = _decoded_entries(b"\x91\x92" + data[end:body_end])
    if isinstance(options.get("metadata"), dict) and entries:
        entries[0][0] = [entries[0][0], options["metadata"]]
    return _message(tag, options, entries, body_end - end)


def _forward(tag: str, data: bytes, at: int, count: int) -> Message:
    if count < 4:
        try:
            whole = _decode(data)
        except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
            pass  # text may have to be mended; if there is more amiss, that is found then
        else:
            return _message(tag, _checked(whole[2] if count > 2 else None), whole[1], len(data) - at)
    end = end_of(data, at)
    return _message(tag, _options(data, end, count > 2), _decoded_entries(data[at:end]), end - at)


def _packed(tag: str, data: bytes, at: int, count: int, most: int) -> Message:
    end = end_of(data, at)
    options = _options(data, end, count > 2)
    payload = content_at(data, at, end)
    told = options.get("compressed") if count > 2 else None
    found = next((name for magic, name in _MAGIC if payload.startswith(magic)), None) if count > 2 else None
    contradiction = ""
    if found != told and told not in (None, "text"):
        contradiction = f"'compressed' is {told!r}, but the entries are {found or 'not compressed'}"
    if found is not None:
        try:
            payload = inflate(payload, found, most)
        except TooLarge:
            raise
        except ValueError as error:
            raise BadMessage(f"the entries cannot be decompressed: {error}") from error
    if options.get("fluent_signal", _LOGS) != _LOGS:
        return Message(tag, [], len(payload), chunk=_chunk_of(options), is_logs=False)
    return _message(tag, options, _unpacked(payload, options.get("size")), len(payload), contradiction)


def _options(data: bytes, at: int, are_there: bool) -> dict[str, Any]:
    if not are_there:
        return {}
    try:
        options = _decode(memoryview(data)[at:])
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
        raise BadMessage("the options of a message cannot be read") from error
    return _checked(options)


def _checked(options: Any) -> dict[str, Any]:
    if options is None:
        return {}
    if not isinstance(options, dict):
        raise BadMessage("the options of a message are no map")
    return options


def _chunk_of(options: dict[str, Any]) -> str | None:
    chunk = options.get("chunk")
    if chunk is not None and not isinstance(chunk, str):
        raise BadMessage("the id of a chunk is no string")
    return chunk


def _unpacked(payload: bytes, told: Any) -> list[Any]:
    """The entries that follow each other; `told` may say how many."""
    if type(told) is int and 0 <= told <= len(payload):
        try:
            entries: list[Any] = _decode(array_head(told) + payload)
            return entries
        except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
            pass  # it told a wrong number, or there is text to be mended
    at, count = 0, 0
    while at < len(payload):
        if not is_array(payload[at]):
            raise BadMessage("an entry is not a time and a record")
        at = end_of(payload, at)
        count += 1
    return _decoded_entries(array_head(count) + payload)


def _decoded_entries(data: bytes) -> list[Any]:
    """The elements of an array; those with text that is no UTF-8 are decoded one by one."""
    try:
        entries: list[Any] = _decode(data)
        return entries
    except UnicodeDecodeError:
        pass
    except (msgspec.DecodeError, RecursionError) as error:
        raise BadMessage(f"entries cannot be decoded: {error}") from error
    count, at = array_begin(data)
    entries = []
    for _ in range(count):
        end = end_of(data, at)
        entries.append(_decoded_leniently(data[at:end]))
        at = end
    return entries


def _decoded_leniently(data: bytes) -> Any:
    try:
        return _decode(data)
    except UnicodeDecodeError:
        pass
    except (msgspec.DecodeError, RecursionError) as error:
        raise BadMessage(f"an entry cannot be decoded: {error}") from error
    try:
        entry = msgpack_stream.ValueReader().feed(data)[0]
    except (msgpack_stream.BadMessage, IndexError) as error:
        raise BadMessage(f"an entry cannot be decoded: {error}") from error
    if not isinstance(entry, list) or len(entry) != 2:
        return entry
    when, body = entry
    if isinstance(when, list) and len(when) == 2:
        return [[_time_of_bytes(when[0]), _texts(when[1])], _texts(body)]
    return [_time_of_bytes(when), _texts(body)]


def _time_of_bytes(value: Any) -> Any:
    return _EVENT_TIME.unpack(value) if isinstance(value, bytes) and len(value) == 8 else value


def _texts(value: Any) -> Any:
    if isinstance(value, bytes):
        return decoded_text(value)
    if isinstance(value, dict):
        return {_texts(k): _texts(v) for k, v in value.items()}
    return [_texts(v) for v in value] if isinstance(value, list) else value


def _message(tag: str, options: dict[str, Any], entries: list[Any], size: int, contradiction: str = "") -> Message:
    chunk = _chunk_of(options)
    if options.get("fluent_signal", _LOGS) != _LOGS:
        return Message(tag, [], size, chunk=chunk, is_logs=False)
    try:
        # Nearly all entries are of this form.
        records = [Record(t[0] * _SECOND + t[1], body) for t, body in entries if type(t) is tuple]
    except (TypeError, ValueError) as error:
        raise BadMessage("an entry is not a time and a record") from error
    rejected = 0
    if len(records) < len(entries) or any(r.time_ns >= _GROUP_MARKS * _SECOND for r in records):
        records = [Record(ns, body, more) for t, body in entries for ns, more in _time_and_metadata(t)]
    if not all([type(r.body) is dict for r in records]):
        kept = [r for r in records if type(r.body) is dict]
        rejected = len(records) - len(kept)
        records = kept
    if not _TEXT_ALONE.issuperset(map(type, chain.from_iterable([r.body for r in records]))):
        for record in records:
            record.body = {_key(k): v for k, v in record.body.items()}
    kept = without_deep(records)
    too_deep = len(records) - len(kept)
    return Message(tag, kept, size, rejected, chunk, contradiction=contradiction, too_deep=too_deep)


def _key(key: Any) -> str:
    """A key as text, which filters rely on."""
    if isinstance(key, str):
        return key
    return decoded_text(key) if isinstance(key, bytes) else (text_of(key) or str(key))


def _time_and_metadata(when: Any) -> list[tuple[int, Body | None]]:
    """The time in nanoseconds and the metadata of an entry; nothing for one that marks a group."""
    metadata: Body | None = None
    if type(when) is list and len(when) == 2:
        when, metadata = when
        if metadata is not None and type(metadata) is not dict:
            raise BadMessage("the metadata of an entry are no map")
    if type(when) is tuple:
        return [] if when[0] >= _GROUP_MARKS else [(when[0] * _SECOND + when[1], metadata or None)]
    if type(when) is float and 0 <= when < _LAST_SECOND:
        return [(int(when * _SECOND), metadata or None)]
    if type(when) is int:
        if 0 <= when < _LAST_SECOND:
            return [(when * _SECOND, metadata or None)]
        if when in (-1, -2):
            return []
    raise BadMessage("an entry has no time")
