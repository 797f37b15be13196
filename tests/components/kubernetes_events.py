"""A stand-in for the part of an API server that keeps events and leases: lists in pages, watches, optimistic locking.

It misbehaves when told to: it forgets old versions, refuses, is slow, ends or cuts watches, or does not answer at all.
"""

from __future__ import annotations

import asyncio
import copy
import ssl
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs, urlsplit

import msgspec

from .http_server import Got, Says
from .kubernetes import USUAL_TOKEN, certificate_and_key

Document = dict[str, Any]

_END = b""
LEASES = "/apis/coordination.k8s.io/v1/namespaces/"


class EventsStandIn:
    """Events and leases by name; every change gets the next version.

    `changes` is the history that watches are served from; what is at or before `forgotten` is answered with 410. With
    `page_size` pages are no longer than that. `script` holds answers that come before the usual ones. `delay_s` is how
    long an answer takes; while `is_hanging` there is none. `pieces` cuts what watches send into parts of that size.
    Requests carry `token`, or none if that is empty.
    """

    def __init__(self, ca_file: Path | None = None) -> None:
        self.ca_file = ca_file
        self.token = USUAL_TOKEN
        self.version = 100
        self.events: dict[str, Document] = {}
        self.leases: dict[str, Document] = {}
        self.changes: list[tuple[int, bytes]] = []
        self.forgotten = 0
        self.script: list[Says] = []
        self.delay_s = 0.0
        self.is_hanging = False
        self.pieces = 0
        self.got: list[Got] = []
        self.lease_writes: list[Document] = []
        self.port = 0
        self._watches: dict[asyncio.Queue[bytes], asyncio.StreamWriter] = {}
        self._connections: set[asyncio.StreamWriter] = set()
        self._sorted: tuple[tuple[str, int, int], list[Document]] = ("", 0, 0), []

    @property
    def url(self) -> str:
        return f"{'https' if self.ca_file else 'http'}://127.0.0.1:{self.port}"

    @property
    def targets(self) -> list[str]:
        """What was asked of events, in order."""
        return [got.target for got in self.got if not got.target.startswith(LEASES)]

    @property
    def watches(self) -> int:
        """Watches that are open now."""
        return sum(not writer.transport.is_closing() for writer in self._watches.values())

    def add(self, name: str, **fields: Any) -> Document:
        """Create an event, or change one."""
        old = self.events.get(name)
        self.version += 1
        event = {**event_of(name), **(old or {}), **fields}
        event["metadata"] = {**event["metadata"], "resourceVersion": str(self.version)}
        self.events[name] = event
        self.tell("MODIFIED" if old else "ADDED", {"kind": "Event", "apiVersion": "v1", **event})
        return event

    def remove(self, name: str) -> None:
        event = self.events.pop(name)
        self.version += 1
        event["metadata"]["resourceVersion"] = str(self.version)
        self.tell("DELETED", {"kind": "Event", "apiVersion": "v1", **event})

    def bookmark(self) -> None:
        self.version += 1
        self.tell("BOOKMARK", {"kind": "Event", "metadata": {"resourceVersion": str(self.version)}})

    def tell(self, kind: str, thing: Document) -> None:
        """Send a line to every watch, and to those that ask for older versions later."""
        self.say(msgspec.json.encode({"type": kind, "object": thing}) + b"\n")

    def say(self, line: bytes) -> None:
        self.changes.append((self.version, line))
        for watch in self._watches:
            watch.put_nowait(line)

    def forget(self) -> None:
        """Compact the history: nobody can watch from any version before the present one."""
        self.forgotten = self.version

    def end_watches(self) -> None:
        """End every watch as after its timeout."""
        for watch in self._watches:
            watch.put_nowait(_END)

    def cut(self) -> None:
        """Cut every connection."""
        for writer in self._connections:
            writer.transport.abort()

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """One connection, until either end closes it."""
        self._connections.add(writer)
        try:
            while True:
                await self._exchange(await _request(reader), writer)
        except (asyncio.IncompleteReadError, ConnectionError, asyncio.CancelledError):
            pass  # the end of a connection
        finally:
            self._connections.discard(writer)
            writer.transport.abort()

    async def _exchange(self, got: Got, writer: asyncio.StreamWriter) -> None:
        self.got.append(got)
        if self.is_hanging:
            await asyncio.sleep(60)
        if self.delay_s:
            await asyncio.sleep(self.delay_s)
        says = self.judge(got)
        if says is None:
            await self._watch(got, writer)
            return
        if says.cut:
            raise ConnectionError
        headers = {"Content-Length": str(len(says.body)), **says.headers}
        told = "".join(f"{name}: {value}\r\n" for name, value in headers.items())
        writer.write(f"HTTP/1.1 {says.status} said\r\n{told}\r\n".encode() + says.body)
        await writer.drain()

    def judge(self, got: Got) -> Says | None:
        """The answer; None for a watch."""
        if got.headers.get("authorization") != (f"Bearer {self.token}" if self.token else None):
            return _status(401, "Unauthorized")
        if self.script:
            return self.script.pop(0)
        where = urlsplit(got.target)
        query = {key: values[0] for key, values in parse_qs(where.query).items()}
        if where.path.startswith(LEASES):
            return self._lease(got, where.path.removeprefix(LEASES).partition("/leases")[2].strip("/"))
        parts = where.path.split("/")
        if parts[:3] != ["", "api", "v1"] or parts[-1] != "events":
            return _status(404, "NotFound")
        if "watch" in query:
            return _status(410, "Expired") if int(query["resourceVersion"]) < self.forgotten else None
        return self.list_events(parts[4] if len(parts) > 4 else "", query)

    def list_events(self, namespace: str, query: dict[str, str]) -> Says:
        """A list, or a page of it."""
        begin, version = 0, self.version
        if "continue" in query:
            version, begin = (int(part) for part in query["continue"].split("."))
            if version < self.forgotten:
                return _status(410, "Expired")
        items = self._listed(namespace)
        end = begin + int(query.get("limit", len(items) or 1))
        meta: Document = {"resourceVersion": str(version)}
        if end < len(items):
            meta |= {"continue": f"{version}.{end}", "remainingItemCount": len(items) - end}
        page = {"kind": "EventList", "apiVersion": "v1", "metadata": meta, "items": items[begin:end]}
        return Says(body=msgspec.json.encode(page))

    def _listed(self, namespace: str) -> list[Document]:
        """Events by name. A list of thousands is sorted once for all its pages."""
        known = (namespace, self.version, len(self.events))
        if known != self._sorted[0]:
            events = [e for _, e in sorted(self.events.items()) if namespace in ("", e["metadata"]["namespace"])]
            self._sorted = known, events
        return self._sorted[1]

    async def _watch(self, got: Got, writer: asyncio.StreamWriter) -> None:
        query = parse_qs(urlsplit(got.target).query)
        begin = int(query["resourceVersion"][0])
        watch: asyncio.Queue[bytes] = asyncio.Queue()
        for version, line in self.changes:
            if version > begin:
                watch.put_nowait(line)
        self._watches[watch] = writer
        writer.write(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n")
        try:
            while line := await watch.get():
                size = self.pieces or len(line)
                for start in range(0, len(line), size):
                    piece = line[start : start + size]
                    writer.write(b"%x\r\n%b\r\n" % (len(piece), piece))
                    await writer.drain()
            writer.write(b"0\r\n\r\n")
            await writer.drain()
        finally:
            del self._watches[watch]

    def _lease(self, got: Got, name: str) -> Says:
        old = self.leases.get(name)
        if got.method == "GET":
            return _status(404, "NotFound") if old is None else Says(body=msgspec.json.encode(old))
        lease = copy.deepcopy(got.json)
        if got.method == "POST":
            name = lease["metadata"]["name"]
            if name in self.leases:
                return _status(409, "AlreadyExists")
        elif old is None:
            return _status(404, "NotFound")
        elif lease["metadata"].get("resourceVersion") != old["metadata"]["resourceVersion"]:
            return _status(409, "Conflict")
        self.version += 1
        lease["metadata"]["resourceVersion"] = str(self.version)
        self.leases[name] = lease
        self.lease_writes.append(lease)
        return Says(201 if got.method == "POST" else 200, msgspec.json.encode(lease))


@asynccontextmanager
async def events_stand_in(
    *, tls: bool = True, port: int = 0, stand_in: EventsStandIn | None = None
) -> AsyncIterator[EventsStandIn]:
    """A stand-in that runs as long as the block, with a certificate that its `ca_file` vouches for."""
    context = None
    stand_in = stand_in or EventsStandIn()
    if tls:
        stand_in.ca_file, key = certificate_and_key()
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.load_cert_chain(stand_in.ca_file, key)
    running = await asyncio.start_server(stand_in.serve, "127.0.0.1", port, ssl=context, limit=1 << 22)
    stand_in.port = running.sockets[0].getsockname()[1]
    try:
        yield stand_in
    finally:
        running.close()
        stand_in.cut()
        await running.wait_closed()


def event_of(name: str, age_s: float = 0.0, **metadata: Any) -> Document:
    """An event that happened so long ago, as a list tells it."""
    then = (datetime.now(UTC) - timedelta(seconds=age_s)).strftime("%Y-%m-%dT%H:%M:%SZ")
    return {
        "metadata": {"name": name, "namespace": "default", "uid": f"uid-{name}", "creationTimestamp": then} | metadata,
        "involvedObject": {"kind": "Pod", "namespace": "default", "name": "web-1"},
        "reason": "Started",
        "message": f"Started {name}",
        "source": {"component": "kubelet"},
        "firstTimestamp": then,
        "lastTimestamp": then,
        "count": 1,
        "type": "Normal",
    }


def _status(code: int, reason: str) -> Says:
    return Says(code, msgspec.json.encode({"kind": "Status", "code": code, "reason": reason}))


async def _request(reader: asyncio.StreamReader) -> Got:
    first, *rest = (await reader.readuntil(b"\r\n\r\n")).decode().strip().split("\r\n")
    headers = {name.lower(): value.strip() for name, _, value in (line.partition(":") for line in rest)}
    method, target, _ = first.split(" ")
    return Got(method, target, headers, await reader.readexactly(int(headers.get("content-length", "0"))))
