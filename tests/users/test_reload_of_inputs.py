"""Users' rows Y1 and Y2 for inputs other than tail: a hot reload loses and doubles nothing of what they read.

They have no database here: what they go on from is handed from one engine to the next.
"""

from __future__ import annotations

import asyncio
import os
import re
import signal
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from tests.components.kubernetes_events import EventsStandIn, events_stand_in
from tests.components.shipper_process import ShipperProcess

from .test_journal import Host, Writer
from .test_kubernetes_events import Collector, add_steadily, assert_once, until

_DONE = "successful reload done"
_STARTED = "Shutdown Grace Period"


def reload(shipper: ShipperProcess) -> Callable[[], bool]:
    """Ask for a reload by SIGHUP; the result tells whether it is done."""
    before = _told(shipper, _DONE)
    os.kill(shipper.check().pid, signal.SIGHUP)
    return lambda: _told(shipper, _DONE) > before


def _told(shipper: ShipperProcess, text: str) -> int:
    return shipper.log().decode(errors="replace").count(text)


@contextmanager
def host_without_database(folder: Path, service: str = "", from_tail: str = "off") -> Iterator[Host]:
    """A machine with a journal and a shipper that runs and remembers nothing on disk."""
    service = f"    hot_reload on\n{service}"
    with Host(folder, input=f"    read_from_tail {from_tail}\n", service=service) as host:
        configuration = folder / "shipper.conf"
        configuration.write_text(re.sub(r" *db \S+\n", "", configuration.read_text()))
        host.shipper.start()
        host.until_told(_STARTED)
        yield host


def assert_each_once(host: Host) -> None:
    """Every message once; those of different units come in any order."""
    verdict = host.verdict()
    assert (verdict.lost, verdict.duplicates, verdict.broken) == (0, 0, 0), str(verdict)


@pytest.mark.parametrize("from_tail", ["on", "off"])
def test_y2_reloads_while_the_journal_is_written_and_rotated_lose_and_double_nothing(
    tmp_path: Path, from_tail: str
) -> None:
    with host_without_database(tmp_path, from_tail=from_tail) as host:
        with Writer(host, 1000, 700):
            for _ in range(3):
                arrived = len(host.arrived())
                host.until(lambda arrived=arrived: len(host.arrived()) > arrived)  # type: ignore[misc]
                host.until(reload(host.shipper))
        host.until_arrived()
        host.until(reload(host.shipper))
        host.write(1)
        host.until_arrived()
        host.stop()

        assert_each_once(host)


def test_y1_what_the_journal_still_has_is_read_again_when_a_reload_ends_without_an_output(tmp_path: Path) -> None:
    with host_without_database(tmp_path, "    hot_reload.timeout 2\n", from_tail="on") as host:
        host.write(100)
        host.until_arrived()
        host.close_destination()
        host.write(100)
        host.until_told("failed to flush chunk")
        host.until(reload(host.shipper))
        host.open_destination()
        host.until_arrived()
        host.stop()

        assert_each_once(host)


@pytest.fixture
async def api() -> AsyncIterator[EventsStandIn]:
    async with events_stand_in() as stand_in:
        yield stand_in


async def test_y2_reloads_while_events_happen_lose_and_double_nothing(api: EventsStandIn, tmp_path: Path) -> None:
    one = Collector(api, tmp_path / "one", service="grace 5\n    hot_reload on")
    wanted = [f"before-{number}" for number in range(10)]
    for name in wanted:
        api.add(name)
    try:
        one.shipper.start()
        await until(lambda: set(wanted) <= set(one.names()), one)
        for number in range(3):
            adding = asyncio.create_task(add_steadily(api, f"reload-{number}", 100))
            await until(reload(one.shipper), one)
            wanted += await adding
        await until(lambda: set(wanted) <= set(one.names()), one)
        await until(reload(one.shipper), one)
        await until(lambda: api.watches == 1, one)
        api.add("last")
        await until(lambda: "last" in one.names(), one)
        await one.stop()
    finally:
        one.shipper.close()

    assert_once(one.names(), [*wanted, "last"])


async def test_y1_events_come_again_when_a_reload_ends_without_an_output(api: EventsStandIn, tmp_path: Path) -> None:
    one = Collector(api, tmp_path / "one", service="grace 5\n    hot_reload on\n    hot_reload.timeout 2")
    out, away = tmp_path / "one" / "out", tmp_path / "one" / "away"
    try:
        one.shipper.start()
        await until(lambda: api.watches == 1, one)
        api.add("a")
        await until(lambda: one.names() == ["a"], one)
        out.rename(away)
        api.add("b")
        await until(lambda: _told(one.shipper, "failed to flush chunk") > 0, one)
        await until(reload(one.shipper), one)
        away.rename(out)
        await until(lambda: "b" in one.names(), one)
        await one.stop()
    finally:
        one.shipper.close()

    assert one.names() == ["a", "b"]
