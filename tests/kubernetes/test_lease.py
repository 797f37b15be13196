"""Leases: what is done about one, and that nobody ever leads beside somebody else."""

from __future__ import annotations

import asyncio
import random
from typing import Any

import msgspec
import pytest

from shipper.kubernetes.api import NoApi
from shipper.kubernetes.lease import Election, LeaseSettings, Move, Sighting, next_move, written
from shipper.log import Log
from shipper.net.settings import HttpAnswer
from shipper.testing import ManualClock

from ..components.http_server import Got
from ..components.kubernetes_events import EventsStandIn

ME = LeaseSettings("logging", "events", "me", 15.0)
NOW = "2026-01-01T00:00:00.000000Z"


def lease(holder: str | None, version: str = "7", **spec: Any) -> dict[str, Any]:
    return {
        "metadata": {"name": "events", "namespace": "logging", "resourceVersion": version, "labels": {"a": "b"}},
        "spec": {"holderIdentity": holder, "leaseDurationSeconds": 15, "leaseTransitions": 3, **spec},
    }


@pytest.mark.parametrize(
    ("found", "seen", "now", "move"),
    [
        (None, None, 0, "create"),
        (lease(None), None, 0, "take"),
        (lease(""), None, 0, "take"),
        ({"metadata": {}}, None, 0, "take"),
        (lease("me"), None, 0, "renew"),
        (lease("you"), None, 1000, "wait"),
        (lease("you"), Sighting("7", 100), 115, "wait"),
        (lease("you"), Sighting("7", 100), 115.1, "take"),
        (lease("you", "8"), Sighting("7", 100), 200, "wait"),
        (lease("you", leaseDurationSeconds=60), Sighting("7", 100), 160, "wait"),
        (lease("you", leaseDurationSeconds=60), Sighting("7", 100), 161, "take"),
        (lease("you", leaseDurationSeconds=1), Sighting("7", 100), 110, "wait"),
        (lease("you", leaseDurationSeconds="x"), Sighting("7", 100), 116, "take"),
    ],
)
def test_what_is_done_about_a_lease(
    found: dict[str, Any] | None, seen: Sighting | None, now: float, move: Move
) -> None:
    assert next_move(found, seen, ME, now) == move


def test_a_lease_that_is_taken_keeps_what_we_do_not_know_of_it() -> None:
    taken = written(lease("you", acquireTime="old"), "take", ME, NOW, {"a/b": "9"})

    assert taken["metadata"]["labels"] == {"a": "b"}
    assert taken["metadata"]["resourceVersion"] == "7"
    assert taken["metadata"]["annotations"] == {"a/b": "9"}
    assert taken["spec"] == {
        "holderIdentity": "me",
        "leaseDurationSeconds": 15,
        "leaseTransitions": 4,
        "acquireTime": NOW,
        "renewTime": NOW,
    }


def test_a_renewal_changes_its_time_alone() -> None:
    before = lease("me", acquireTime="old")
    after = written(before, "renew", ME, NOW, {})

    assert after["spec"] == {**before["spec"], "renewTime": NOW}


class Leases:
    """The leases of a stand-in without a network; requests and answers are late or lost as the dice say."""

    def __init__(self, clock: ManualClock, seed: int = 0, trouble: float = 0.0) -> None:
        self.store = EventsStandIn()
        self._clock = clock
        self._rng = random.Random(seed)
        self.trouble = trouble

    async def request(self, method: str, target: str, document: object = None) -> HttpAnswer:
        await self._travel()
        headers = {"authorization": f"Bearer {self.store.token}"}
        says = self.store.judge(Got(method, target, headers, msgspec.json.encode(document) if document else b""))
        assert says is not None
        await self._travel()
        return HttpAnswer(says.status, {}, says.body)

    async def _travel(self) -> None:
        if self._rng.random() < self.trouble:
            await self._clock.sleep(self._rng.choice((0.5, 3.0, 12.0, 30.0)))
        if self._rng.random() < self.trouble:
            raise NoApi("lost")

    @property
    def holder(self) -> str:
        found: str = self.store.leases["events"]["spec"]["holderIdentity"]
        return found


def election(leases: Leases, clock: ManualClock, name: str, notes: dict[str, str] | None = None) -> Election:
    settings = LeaseSettings("logging", "events", name, 15.0)
    return Election(leases, settings, clock, Log("[test] "), lambda: notes or {})


async def ended(*tasks: asyncio.Task[None]) -> None:
    for task in tasks:
        task.cancel()
    await asyncio.gather(*tasks, return_exceptions=True)


async def test_the_first_leads_and_keeps_on() -> None:
    clock = ManualClock()
    leases = Leases(clock)
    first, second = election(leases, clock, "first"), election(leases, clock, "second")
    tasks = [asyncio.create_task(one.run()) for one in (first, second)]
    for _ in range(60):
        await clock.advance(1)

        assert (first.leads, second.leads) == (True, False)
    await ended(*tasks)


async def test_a_lease_that_is_no_longer_renewed_goes_to_another_one_after_its_duration() -> None:
    clock = ManualClock()
    leases = Leases(clock)
    first, second = election(leases, clock, "first"), election(leases, clock, "second")
    one, two = asyncio.create_task(first.run()), asyncio.create_task(second.run())
    await clock.advance(20)
    await ended(one)
    waited = 0
    while not second.leads:
        await clock.advance(1)
        waited += 1

    assert not first.leads
    assert 12 <= waited <= 22
    assert leases.store.leases["events"]["spec"]["leaseTransitions"] == 1
    await ended(two)


async def test_a_lease_that_is_released_goes_to_another_one_at_once() -> None:
    clock = ManualClock()
    leases = Leases(clock)
    first, second = election(leases, clock, "first", {"a/b": "42"}), election(leases, clock, "second")
    one, two = asyncio.create_task(first.run()), asyncio.create_task(second.run())
    await clock.advance(20)
    await ended(one)
    await first.release()
    await clock.advance(6.5)

    assert (first.leads, second.leads) == (False, True)
    assert second.annotations == {"a/b": "42"}
    await ended(two)


async def test_one_that_waits_tells_for_what_and_for_whom(caplog: pytest.LogCaptureFixture) -> None:
    clock = ManualClock()
    leases = Leases(clock)
    tasks = [asyncio.create_task(election(leases, clock, name).run()) for name in ("first", "second")]
    with caplog.at_level("INFO", "shipper"):
        await clock.advance(60)
    await ended(*tasks)

    told = [line for line in caplog.messages if "waits for the leader lease" in line]
    assert len(told) == 1
    since = leases.store.leases["events"]["spec"]["acquireTime"]
    assert told[0].endswith(f"lease=logging/events, holder=first, since={since}")


async def test_one_that_does_not_lead_releases_nothing() -> None:
    clock = ManualClock()
    leases = Leases(clock)
    first, second = election(leases, clock, "first"), election(leases, clock, "second")
    tasks = [asyncio.create_task(one.run()) for one in (first, second)]
    await clock.advance(5)
    await second.release()

    assert leases.holder == "first"
    await ended(*tasks)


async def test_leadership_ends_in_time_when_the_api_server_is_away() -> None:
    clock = ManualClock()
    leases = Leases(clock)
    one = election(leases, clock, "one")
    task = asyncio.create_task(one.run())
    await clock.advance(5)
    lost = asyncio.create_task(one.until_lost())
    leases.trouble = 1.0
    await clock.advance(10.1)

    assert lost.done() and not one.leads
    leases.trouble = 0.0
    await clock.advance(70)
    assert one.leads
    await ended(task)


async def test_news_are_written_soon_but_at_most_once_a_second() -> None:
    clock = ManualClock()
    leases, notes = Leases(clock), {"a/b": "1"}
    one = election(leases, clock, "one", notes)
    task = asyncio.create_task(one.run())
    await clock.advance(1)
    before = len(leases.store.lease_writes)
    for number in range(100):
        notes["a/b"] = str(number)
        one.note()
        await clock.advance(0.1)

    assert 5 <= len(leases.store.lease_writes) - before <= 11
    assert int(leases.store.leases["events"]["metadata"]["annotations"]["a/b"]) >= 80
    await ended(task)


@pytest.mark.parametrize("seed", range(12))
async def test_there_are_never_two_leaders_whatever_is_slow_or_lost(seed: int) -> None:
    clock = ManualClock()
    leases = Leases(clock, seed, trouble=0.25)
    candidates = [election(leases, clock, f"candidate-{number}") for number in range(3)]
    tasks = [asyncio.create_task(one.run()) for one in candidates]
    rng = random.Random(seed)
    led: set[int] = set()
    for _ in range(600):
        await clock.advance(rng.choice((0.1, 0.5, 2.0)))
        now = [number for number, one in enumerate(candidates) if one.leads]
        led.update(now)

        assert len(now) <= 1
    assert led
    await ended(*tasks)
