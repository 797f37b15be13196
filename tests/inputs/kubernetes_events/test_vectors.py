"""The reference vectors: one API server's lists and watch, and what is to come of them."""

from __future__ import annotations

from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import msgspec
import pytest

from ...components.http_server import Says
from ...components.kubernetes_events import EventsStandIn, event_of, events_stand_in
from .harness import running, until


def item(name: str, version: int, age_s: float = 0.0, **fields: Any) -> dict[str, Any]:
    return {**event_of(name, age_s, resourceVersion=str(version)), **fields}


FIRST = {
    "metadata": {"resourceVersion": "20", "continue": "ABC"},
    "items": [item("u1", 10), item("old", 5, 4000)],
}
SECOND = {
    "metadata": {"resourceVersion": "20"},
    "items": [item("u2", 12, 50, lastTimestamp=None)],
}
WATCH = (
    {"type": "ADDED", "object": item("u3", 30)},
    {"type": "MODIFIED", "object": item("u1", 31, count=2)},
    {"type": "DELETED", "object": item("u1", 32, count=2)},
    {"type": "BOOKMARK", "object": {"metadata": {"resourceVersion": "33"}}},
    {"type": "ERROR", "object": {"kind": "Status", "code": 410, "reason": "Expired"}},
)
CYCLE = [
    "/api/v1/events?limit=2",
    "/api/v1/events?continue=ABC&limit=2",
    "/api/v1/events?watch=1&resourceVersion=20&timeoutSeconds=600",
]


class Vectors(EventsStandIn):
    """The same answers again and again: two pages, and the lines of a watch in pieces, behind which it ends."""

    def __init__(self) -> None:
        super().__init__()
        self.pieces = 100
        lines = [msgspec.json.encode(change) + b"\n" for change in WATCH]
        self.changes = [(version, line) for version, line in enumerate([*lines, b""], 30)]

    def list_events(self, namespace: str, query: dict[str, str]) -> Says:
        return Says(body=msgspec.json.encode(SECOND if query.get("continue") == "ABC" else FIRST))

    async def until_asked(self, times: int) -> list[str]:
        await until(lambda: len(self.got) >= times)
        return self.targets


@pytest.fixture(params=[True, False], ids=["https", "http"])
async def api(request: pytest.FixtureRequest) -> AsyncIterator[EventsStandIn]:
    async with events_stand_in(tls=request.param, stand_in=Vectors()) as vectors:
        yield vectors


@pytest.mark.parametrize(
    ("more", "emitted"),
    [
        ("", ["u1", "u2", "u3", "u1*2"]),
        ("DB {folder}/events.db", ["u1", "u2", "u3"]),
        ("DB {folder}/events.db\nKube_Updates on", ["u1", "u2", "u3", "u1*2"]),
        ("Kube_Updates off", ["u1", "u2", "u3"]),
        ("Kube_Retention_Time 2h", ["u1", "old", "u2", "u3", "u1*2"]),
        ("Kube_Retention_Time 30000d", ["u1", "old", "u2", "u3", "u1*2"]),
    ],
)
async def test_events_are_emitted_once_in_their_order(
    api: Vectors, tmp_path: Path, more: str, emitted: list[str]
) -> None:
    async with running(api, tmp_path, "Kube_Request_Limit 2\n" + more.format(folder=tmp_path)) as collected:
        asked = await api.until_asked(9)

    assert collected.names == emitted
    assert asked[:9] == CYCLE * 3


async def test_nothing_is_emitted_after_a_restart_with_a_database(api: Vectors, tmp_path: Path) -> None:
    more = f"DB {tmp_path}/events.db"
    async with running(api, tmp_path, more):
        await api.until_asked(6)
    asked = len(api.got)
    async with running(api, tmp_path, more) as collected:
        await api.until_asked(asked + 6)

    assert collected.names == []


async def test_the_first_time_stands_for_a_last_time_that_is_missing(api: Vectors, tmp_path: Path) -> None:
    async with running(api, tmp_path) as collected:
        await until(lambda: len(collected.records) >= 3)

    u1, u2 = collected.records[0], next(r for r in collected.records if r.body["metadata"]["name"] == "u2")
    assert u1.time_ns - u2.time_ns == pytest.approx(50e9, abs=1.1e9)
    assert u1.time_ns % 1_000_000_000 == 0
    assert u1.metadata is None
