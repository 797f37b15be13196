"""A stand-in for Loki that checks what it is sent by the rules of the real one, and misbehaves when told to.

It decodes both bodies, JSON and protobuf, with decoders of its own. An entry that breaks a rule is refused with Loki's
words while the others of the request are stored, except for the rate of a tenant, where nothing is stored. It keeps
what it stores in order of arrival, and in a file if it runs as a process of its own.
"""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import gzip
import json
import time
from collections import deque
from collections.abc import Awaitable, Callable, Iterable, Mapping
from pathlib import Path
from typing import Any, Literal

import cramjam
import msgspec

Labels = tuple[tuple[str, str], ...]
Mode = Literal["cut_before", "cut_after"]
SECOND = 1_000_000_000


class Entry(msgspec.Struct, frozen=True):
    """One entry as it was stored."""

    time_ns: int
    line: str
    metadata: Labels = ()


class Stored(msgspec.Struct, frozen=True):
    """An entry with the place where it was stored."""

    tenant: str
    labels: Labels
    entry: Entry


class Pushed(msgspec.Struct, frozen=True):
    """A request as it came."""

    path: str
    headers: Mapping[str, str]
    body: bytes
    streams: list[tuple[Labels, list[Entry]]]
    status: int = 0


class Answer(msgspec.Struct, frozen=True):
    """What to answer instead of judging the request."""

    status: int
    text: str = ""
    headers: Mapping[str, str] = {}


class Limits(msgspec.Struct, frozen=True, kw_only=True):
    """The rules; the defaults are Loki's, but times may be of any age unless `now_ns` says what time it is."""

    line_size: int = 262_144
    label_names: int = 15
    label_name_size: int = 1024
    label_value_size: int = 2048
    metadata_size: int = 65_536
    metadata_names: int = 128
    takes_metadata: bool = True
    behind_ns: int = 3600 * SECOND
    old_ns: int = 7 * 86_400 * SECOND
    now_ns: int | None = None
    streams: int = 5000
    rate: int | None = None
    burst: int = 6_000_000
    stream_rate: int | None = None
    body_size: int = 100 << 20


class Refused(Exception):
    """The whole request is refused."""

    def __init__(self, status: int, text: str) -> None:
        super().__init__(text)
        self.status = status
        self.text = text


class _Bucket:
    """So many bytes a second, and a burst."""

    def __init__(self, rate: float, burst: float, now: float) -> None:
        self._rate, self._burst, self._left, self._at = rate, burst, burst, now

    def takes(self, size: int, now: float) -> bool:
        self._left = min(self._burst, self._left + (now - self._at) * self._rate)
        self._at = now
        if size > self._left:
            return False
        self._left -= size
        return True


class Store:
    """What was accepted, and the judgement about what comes."""

    def __init__(self, limits: Limits, now: Callable[[], float] = time.monotonic) -> None:
        self.limits = limits
        self.entries: list[Stored] = []
        self.duplicates = 0
        self._now = now
        self._seen: set[Stored] = set()
        self._newest: dict[tuple[str, Labels], int] = {}
        self._rates: dict[str, _Bucket] = {}
        self._stream_rates: dict[tuple[str, Labels], _Bucket] = {}

    @property
    def streams(self) -> set[tuple[str, Labels]]:
        return set(self._newest)

    def push(self, tenant: str, streams: list[tuple[Labels, list[Entry]]]) -> None:
        """Store what may be stored; raises `Refused` with what Loki would say about the rest."""
        if not any(entries for _, entries in streams):
            raise Refused(422, "error at least one valid stream is required for ingestion")
        self._check_rate(tenant, streams)
        problems: list[tuple[int, str]] = []
        for labels, entries in streams:
            self._push_stream(tenant, labels, entries, problems)
        if problems:
            status = 400 if any(code == 400 for code, _ in problems) else problems[-1][0]
            raise Refused(status, next(text for code, text in reversed(problems) if code == status))

    def _check_rate(self, tenant: str, streams: list[tuple[Labels, list[Entry]]]) -> None:
        limits = self.limits
        if limits.rate is None:
            return
        size = sum(len(e.line.encode()) for _, entries in streams for e in entries)
        bucket = self._rates.setdefault(tenant, _Bucket(limits.rate, limits.burst, self._now()))
        if not bucket.takes(size, self._now()):
            raise Refused(
                429,
                f"ingestion rate limit exceeded for user {tenant} (limit: {limits.rate} bytes/sec) while attempting to"
                f" ingest '{sum(len(e) for _, e in streams)}' lines totaling '{size}' bytes",
            )

    def _push_stream(self, tenant: str, labels: Labels, entries: list[Entry], problems: list[tuple[int, str]]) -> None:
        shown = _shown(labels)
        if (problem := self._problem_of_labels(labels, shown)) is not None:
            problems.append((400, problem))
            return
        place = (tenant, labels)
        if place not in self._newest and len(self._newest) >= self.limits.streams:
            text = f"Maximum active stream limit exceeded when trying to create stream {shown}, reduce the number"
            problems.append((429, text))
            return
        if not self._stream_may(place, entries):
            text = f"Per stream rate limit exceeded (limit: {self.limits.stream_rate}B/sec) for stream '{shown}'"
            problems.append((429, text))
            return
        behind = 0
        for entry in entries:
            if (problem := self._problem_of_entry(entry, shown)) is not None:
                problems.append((400, problem))
            elif entry.time_ns < self._newest.get(place, 0) - self.limits.behind_ns:
                behind += 1
            else:
                self._store(Stored(tenant, labels, entry))
        if behind:
            problems.append(
                (
                    400,
                    f"entry with timestamp x ignored, reason: 'entry too far behind, entry timestamp is: x, oldest"
                    f" acceptable timestamp is: y',\nuser '{tenant}', total ignored: {behind} out of {len(entries)}"
                    f" for stream: {shown}",
                )
            )

    def _stream_may(self, place: tuple[str, Labels], entries: list[Entry]) -> bool:
        rate = self.limits.stream_rate
        if rate is None:
            return True
        bucket = self._stream_rates.setdefault(place, _Bucket(rate, rate, self._now()))
        return bucket.takes(sum(len(e.line.encode()) for e in entries), self._now())

    def _store(self, stored: Stored) -> None:
        if stored in self._seen:
            self.duplicates += 1  # and Loki keeps one
            return
        self._seen.add(stored)
        self.entries.append(stored)
        place = (stored.tenant, stored.labels)
        self._newest[place] = max(self._newest.get(place, 0), stored.entry.time_ns)

    def _problem_of_labels(self, labels: Labels, shown: str) -> str | None:
        limits, names = self.limits, [name for name, _ in labels]
        if not labels:
            return "error at least one label pair is required per stream"
        if any(not _is_name(name) for name in names):
            return f"error parsing labels '{shown}' with error: parse error: unexpected character"
        if len(names) != len(set(names)):
            return f"stream '{shown}' has duplicate label name: 'x'"
        if len(names) > limits.label_names:
            return f"entry for stream '{shown}' has {len(names)} label names; limit {limits.label_names}"
        # What is too long is quoted as it is, whatever stands in it.
        for name, value in labels:
            if len(name) > limits.label_name_size:
                return f"stream '{shown}' has label name too long: '{name}'"
            if len(value.encode()) > limits.label_value_size:
                return f"stream '{shown}' has label value too long: '{value}'"
        return None

    def _problem_of_entry(self, entry: Entry, shown: str) -> str | None:
        limits, size = self.limits, len(entry.line.encode())
        if size > limits.line_size:
            return (
                f"Max entry size '{limits.line_size}' bytes exceeded for stream '{shown}' while adding an entry with"
                f" length '{size}' bytes"
            )
        if entry.metadata and not limits.takes_metadata:
            return f"stream '{shown}' includes structured metadata, but this feature is disallowed"
        if len(entry.metadata) > limits.metadata_names:
            return (
                f"stream '{shown}' has too many structured metadata labels: '{len(entry.metadata)}', limit:"
                f" '{limits.metadata_names}'"
            )
        if sum(len(k) + len(v.encode()) for k, v in entry.metadata) > limits.metadata_size:
            return (
                f"stream '{shown}' has structured metadata too large: 'x' bytes, limit: '{limits.metadata_size}' bytes"
            )
        if limits.now_ns is not None:
            oldest = limits.now_ns - limits.old_ns
            if entry.time_ns < oldest:
                return (
                    f"entry for stream '{shown}' has timestamp too old: {_rfc3339(entry.time_ns)}, oldest acceptable"
                    f" timestamp is: {_rfc3339(oldest)}"
                )
            if entry.time_ns > limits.now_ns + 600 * SECOND:
                return f"entry for stream '{shown}' has timestamp too new: {_rfc3339(entry.time_ns)}"
        return None


class LokiStandIn:
    """A server on loopback. `script` is what to do with the next requests; afterwards they are judged by the limits."""

    def __init__(self, limits: Limits | None = None, log: Path | None = None) -> None:
        self.store = Store(limits or Limits())
        self.pushed: list[Pushed] = []
        self.script: deque[Answer | Mode | None] = deque()
        self.port = 0
        self.connections = 0
        self._log = log.open("ab", buffering=0) if log else None
        self._server: asyncio.Server | None = None
        self._open: set[asyncio.StreamWriter] = set()

    @property
    def lines(self) -> list[str]:
        """The lines of all stored entries in order of arrival."""
        return [s.entry.line for s in self.store.entries]

    async def start(self, port: int = 0) -> None:
        self._server = await asyncio.start_server(self._serve, "127.0.0.1", port, limit=1 << 20)
        self.port = self._server.sockets[0].getsockname()[1]

    async def stop(self) -> None:
        if self._server is not None:
            self._server.close()
        for writer in self._open:
            writer.transport.abort()
        await asyncio.sleep(0)
        if self._log is not None:
            self._log.close()

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.connections += 1
        self._open.add(writer)
        try:
            while await self._answer(reader, writer):
                pass
        except (asyncio.IncompleteReadError, ConnectionError, asyncio.CancelledError):
            pass  # the end of a connection, wanted or not
        finally:
            self._open.discard(writer)
            writer.transport.abort()

    async def _answer(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> bool:
        path, headers, body = await _read_request(reader)
        step = self.script.popleft() if self.script else None
        if step == "cut_before":
            return False
        answer = step if isinstance(step, Answer) else self._judge(path, headers, body)
        if isinstance(step, Answer):
            self._note(path, headers, body, answer.status)
        if step == "cut_after":
            return False
        extra = "".join(f"{name}: {value}\r\n" for name, value in answer.headers.items())
        text = answer.text.encode()
        length = "" if answer.status == 204 else f"Content-Length: {len(text)}\r\n"
        writer.write(f"HTTP/1.1 {answer.status} X\r\n{extra}{length}\r\n".encode() + text)
        await writer.drain()
        return True

    def _judge(self, path: str, headers: Mapping[str, str], body: bytes) -> Answer:
        limits = self.store.limits
        before = len(self.store.entries)
        try:
            if path != "/loki/api/v1/push":
                raise Refused(404, "404 page not found")
            if len(body) > limits.body_size:
                raise Refused(413, "request body too large")
            streams = self._note(path, headers, body, 0)
            self.store.push(headers.get("x-scope-orgid", ""), streams)
            answer = Answer(204)
        except Refused as refusal:
            answer = Answer(refusal.status, refusal.text + "\n", {"Content-Type": "text/plain; charset=utf-8"})
        except (ValueError, KeyError, IndexError, TypeError, msgspec.MsgspecError) as error:
            answer = Answer(400, f"couldn't parse push request: {error}")
        if self._log is not None:
            for stored in self.store.entries[before:]:
                self._log.write(msgspec.json.encode(stored) + b"\n")
        return answer

    def _note(
        self, path: str, headers: Mapping[str, str], body: bytes, status: int
    ) -> list[tuple[Labels, list[Entry]]]:
        streams = decoded(headers, body)
        self.pushed.append(Pushed(path, headers, body, streams, status))
        return streams


def decoded(headers: Mapping[str, str], body: bytes) -> list[tuple[Labels, list[Entry]]]:
    """The streams of a body, whichever of the two forms it has."""
    if headers.get("content-type") == "application/json":
        if headers.get("content-encoding") == "gzip":
            body = gzip.decompress(body)
        return _from_json(json.loads(body))
    return _from_protobuf(bytes(cramjam.snappy.decompress_raw(body)))


def _from_json(pushed: Any) -> list[tuple[Labels, list[Entry]]]:
    found = []
    for stream in pushed["streams"]:
        entries = []
        for value in stream["values"]:
            stamp, line, *rest = value
            if not isinstance(stamp, str) or not isinstance(line, str) or len(rest) > 1:
                raise ValueError(f"bad value {value!r}")
            metadata = rest[0] if rest else {}
            if any(not isinstance(v, str) for v in metadata.values()):
                raise ValueError("structured metadata must be strings")
            entries.append(Entry(int(stamp), line, tuple(metadata.items())))
        found.append((tuple(stream["stream"].items()), entries))
    return found


def _from_protobuf(message: bytes) -> list[tuple[Labels, list[Entry]]]:
    found = []
    for number, stream in _fields(message):
        if number != 1 or not isinstance(stream, bytes):
            raise ValueError(f"field {number} in a push request")
        labels, entries = "", []
        for inner, content in _fields(stream):
            if inner == 1 and isinstance(content, bytes):
                labels = content.decode()
            elif inner == 2 and isinstance(content, bytes):
                entries.append(_entry(content))
            else:
                raise ValueError(f"field {inner} in a stream")
        found.append((_labels(labels), entries))
    return found


def _entry(message: bytes) -> Entry:
    time_ns, line, metadata = 0, "", []
    for number, content in _fields(message):
        if not isinstance(content, bytes):
            raise ValueError("a number in an entry")
        if number == 1:
            parts = dict(_fields(content))
            seconds = int(parts.get(1, 0))
            time_ns = (seconds - (1 << 64) * (seconds >> 63)) * SECOND + int(parts.get(2, 0))
        elif number == 2:
            line = content.decode()
        else:
            pair = dict(_fields(content))
            metadata.append((bytes(pair[1]).decode(), bytes(pair[2]).decode()))
    return Entry(time_ns, line, tuple(metadata))


def _fields(message: bytes) -> Iterable[tuple[int, int | bytes]]:
    position = 0
    while position < len(message):
        key, position = _varint(message, position)
        if key & 7 == 0:
            number, position = _varint(message, position)
            yield key >> 3, number
        elif key & 7 == 2:
            size, position = _varint(message, position)
            if position + size > len(message):
                raise ValueError("a field is longer than its message")
            yield key >> 3, message[position : position + size]
            position += size
        else:
            raise ValueError(f"wire type {key & 7}")


def _varint(message: bytes, position: int) -> tuple[int, int]:
    number = shift = 0
    while True:
        byte = message[position]
        number |= (byte & 0x7F) << shift
        position, shift = position + 1, shift + 7
        if byte < 0x80:
            return number, position
        if shift > 63:
            raise ValueError("a varint is too long")


def _labels(text: str) -> Labels:
    """`{a="b", c="d"}` as pairs."""
    if not text.startswith("{") or not text.endswith("}"):
        raise ValueError(f"error parsing labels {text!r}")
    pairs, rest = [], text[1:-1]
    while rest:
        name, equals, rest = rest.partition("=")
        if not equals or not rest.startswith('"'):
            raise ValueError(f"error parsing labels {text!r}")
        value, end = json.JSONDecoder().raw_decode(rest)
        pairs.append((name, str(value)))
        rest = rest[end:].removeprefix(", ")
    if [name for name, _ in pairs] != sorted(name for name, _ in pairs):
        raise ValueError("labels are not in order")
    return tuple(pairs)


def _shown(labels: Labels) -> str:
    pairs = sorted([*labels, ("service_name", "unknown")])
    return "{" + ", ".join(f"{name}={json.dumps(value, ensure_ascii=False)}" for name, value in pairs) + "}"


def _is_name(name: str) -> bool:
    return name.isascii() and name.isidentifier()


def _rfc3339(time_ns: int) -> str:
    return time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime(time_ns // SECOND))


async def _read_request(reader: asyncio.StreamReader) -> tuple[str, dict[str, str], bytes]:
    head = (await reader.readuntil(b"\r\n\r\n")).decode("latin-1")
    first, *lines = head.split("\r\n")
    pairs = (line.partition(":") for line in lines)
    headers = {name.strip().lower(): value.strip() for name, _, value in pairs if name}
    body = await reader.readexactly(int(headers.get("content-length", "0")))
    return first.split(" ")[1], headers, body


async def _run(port: int, log: Path, script: list[str], serve: Callable[[], Awaitable[Any]]) -> None:
    stand_in = LokiStandIn(log=log)
    for word in script:
        stand_in.script.append(Answer(int(word), "told so") if word.isdecimal() else _mode(word))
    await stand_in.start(port)
    await serve()


def _mode(word: str) -> Mode | None:
    return msgspec.convert(word, Mode) if word != "ok" else None


def main() -> None:
    parser = argparse.ArgumentParser(description="Stand for Loki and misbehave by a script.")
    parser.add_argument("log", type=Path, help="file that gets one line for each stored entry")
    parser.add_argument("--port", type=int, required=True)
    parser.add_argument("--script", nargs="*", default=[], help="ok, a status, cut_before or cut_after, per request")
    options = parser.parse_args()
    with contextlib.suppress(KeyboardInterrupt):
        asyncio.run(_run(options.port, options.log, options.script, asyncio.Event().wait))


if __name__ == "__main__":
    main()
