"""How long records wait for values of a server that is slow, and what becomes of the questions meanwhile."""

from __future__ import annotations

import asyncio
from collections.abc import Coroutine
from typing import Any

import pytest

from shipper.filters.kubernetes import lookups as module
from shipper.filters.kubernetes.lookups import PATIENCE_S, Answer, Lookups
from shipper.filters.kubernetes.server import NoMetadata
from shipper.filters.patience import Pace, Patience
from shipper.log import Log
from shipper.testing import ManualClock, settle

_STEP_S = 0.125


class SlowServer:
    """Answers each question with itself after `delay_s`, any number of them at a time; refuses those of `unknown`."""

    def __init__(self, clock: ManualClock, delay_s: float) -> None:
        self.clock = clock
        self.delay_s = delay_s
        self.known_at = 0.0
        """Before that it has only stand-ins for answers."""
        self.asked: list[str] = []
        self.unknown: set[str] = set()

    async def answer(self, key: str) -> Answer[str]:
        self.asked.append(key)
        await self.clock.sleep(self.delay_s)
        if key in self.unknown:
            raise NoMetadata("there is none")
        if self.clock.monotonic() < self.known_at:
            return Answer(f"not {key}", is_certain=False, stands_in=True)
        return Answer(key)


def lookups(server: SlowServer, patience: Patience | None = None, ttl: float = 0) -> Lookups[str, str]:
    clock = server.clock
    return Lookups("pod", server.answer, ttl, patience or Patience(PATIENCE_S, clock), clock, Log(""))


async def seconds_of(clock: ManualClock, work: Coroutine[Any, Any, Any]) -> float:
    """The time that passes until the work is done."""
    begin, task = clock.monotonic(), asyncio.ensure_future(work)
    await settle()
    while not task.done():
        await clock.advance(_STEP_S)
    await task
    return clock.monotonic() - begin


async def one_by_one(pods: Lookups[str, str], keys: list[str]) -> None:
    for key in keys:
        await pods.ready(key)


PODS = [f"web-{number}" for number in range(12)]


@pytest.mark.parametrize("delay_s", [0.5, 2, 4, 9, 1000])
async def test_many_new_pods_in_turn_delay_an_input_by_the_patience_for_one(delay_s: float) -> None:
    clock = ManualClock()
    pods = lookups(server := SlowServer(clock, delay_s))

    took_s = await seconds_of(clock, one_by_one(pods, PODS))

    assert took_s <= PATIENCE_S + _STEP_S
    assert server.asked == PODS
    await pods.close()


async def test_all_pods_are_known_one_answer_after_the_patience_is_used_up() -> None:
    clock = ManualClock()
    pods = lookups(SlowServer(clock, 4))

    await seconds_of(clock, one_by_one(pods, PODS))
    await clock.advance(4)

    assert [pods.get(pod) for pod in PODS] == PODS


async def test_a_known_pod_is_never_waited_for() -> None:
    clock = ManualClock()
    pods = lookups(server := SlowServer(clock, 1))
    await seconds_of(clock, pods.ready("known"))
    server.delay_s = 1000

    assert await seconds_of(clock, pods.ready("known")) == 0
    assert await seconds_of(clock, pods.ready("unknown")) > 0
    assert await seconds_of(clock, pods.ready("known")) == 0
    await pods.close()


async def test_a_known_pod_that_cannot_be_asked_for_again_is_not_waited_for() -> None:
    clock = ManualClock()
    pods = lookups(server := SlowServer(clock, 0.5), ttl=60)
    await seconds_of(clock, pods.ready("known"))
    server.unknown.add("known")
    await clock.advance(61)
    await seconds_of(clock, pods.ready("known"))
    await clock.advance(10)

    assert await seconds_of(clock, pods.ready("known")) == 0
    assert server.asked == ["known"] * 3
    assert pods.get("known") == "known"
    await pods.close()


async def test_a_minute_of_new_pods_is_held_up_for_twice_the_patience_at_most() -> None:
    clock = ManualClock()
    pods = lookups(SlowServer(clock, 0.75))
    waited_s, number = 0.0, 0

    while clock.monotonic() < 60:
        waited_s += await seconds_of(clock, pods.ready(f"web-{(number := number + 1)}"))
        await clock.advance(_STEP_S)

    assert PATIENCE_S < waited_s <= 2 * PATIENCE_S
    await pods.close()


async def test_patience_comes_back() -> None:
    clock = ManualClock()
    pods = lookups(SlowServer(clock, 2))
    await seconds_of(clock, one_by_one(pods, PODS))
    await clock.advance(120)

    assert await seconds_of(clock, pods.ready("late")) == 2
    assert pods.get("late") == "late"


async def test_patience_is_one_for_all_kinds() -> None:
    clock = ManualClock()
    patience = Patience(PATIENCE_S, clock)
    pods, namespaces = (lookups(SlowServer(clock, 1000), patience) for _ in range(2))

    took_s = await seconds_of(clock, pods.ready("web-1")) + await seconds_of(clock, namespaces.ready("default"))

    assert took_s <= PATIENCE_S + _STEP_S
    await pods.close()
    await namespaces.close()


async def test_what_several_wait_for_at_once_counts_once() -> None:
    clock = ManualClock()
    pods = lookups(SlowServer(clock, 4))

    async def together() -> None:
        await asyncio.gather(*map(pods.ready, PODS))

    assert await seconds_of(clock, together()) == 4
    assert [pods.get(pod) for pod in PODS] == PODS


@pytest.mark.parametrize(("known_at", "took_s"), [(0.0, 0.25), (0.25, 1.0), (2.0, 2.25), (3.0, 4.5)])
async def test_a_value_that_is_not_there_yet_is_asked_for_again_while_lines_wait(
    known_at: float, took_s: float
) -> None:
    clock = ManualClock()
    pods = lookups(server := SlowServer(clock, 0.25))
    server.known_at = clock.monotonic() + known_at + 0.125

    assert await seconds_of(clock, pods.ready("web-1")) == took_s
    assert pods.get("web-1") == "web-1"


async def test_a_stand_in_is_asked_for_again_ever_more_rarely_and_holds_up_nothing_else() -> None:
    clock = ManualClock()
    pods = lookups(server := SlowServer(clock, 0.125))
    server.known_at = clock.monotonic() + 3000

    took_s = await seconds_of(clock, pods.ready("web-1"))
    first = pods.get("web-1"), len(server.asked)
    other_s = await seconds_of(clock, pods.ready("web-1"))
    while clock.monotonic() < server.known_at - 10:
        await clock.advance(1)
        other_s += await seconds_of(clock, pods.ready("web-1"))
    asked = len(server.asked)
    await clock.advance(700)
    await seconds_of(clock, pods.ready("web-1"))
    await clock.advance(1)

    assert took_s <= PATIENCE_S
    assert (first, other_s) == (("not web-1", 4), 0)
    assert 8 < asked < 20
    assert pods.get("web-1") == "web-1"
    await pods.close()


async def test_questions_that_are_repeated_do_not_make_the_server_a_slow_one() -> None:
    clock = ManualClock()
    pods = lookups(server := SlowServer(clock, 0.5))
    server.known_at = float("inf")
    await seconds_of(clock, pods.ready("web-1"))
    await clock.advance(20)
    await seconds_of(clock, pods.ready("web-2"))
    server.known_at = 0
    await clock.advance(12)

    assert await seconds_of(clock, pods.ready("web-3")) == 0.5
    assert pods.get("web-3") == "web-3"
    await pods.close()


async def test_a_stand_in_does_not_take_the_place_of_a_value() -> None:
    clock = ManualClock()
    pods = lookups(server := SlowServer(clock, 0.5), ttl=60)
    await seconds_of(clock, pods.ready("web-1"))
    server.known_at = float("inf")
    for _ in range(3):
        await clock.advance(700)
        await seconds_of(clock, pods.ready("web-1"))

    assert (pods.get("web-1"), len(server.asked)) == ("web-1", 4)
    await pods.close()


async def test_the_value_that_nobody_got_for_longest_makes_room_for_a_new_one(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "_MOST_VALUES", 10)
    clock = ManualClock()
    pods = lookups(SlowServer(clock, 0))
    await seconds_of(clock, one_by_one(pods, PODS[:10]))
    pods.get(PODS[0])
    await seconds_of(clock, one_by_one(pods, PODS[10:]))

    assert [pods.get(pod) for pod in PODS] == [PODS[0], None, None, *PODS[3:]]


async def test_no_more_questions_are_on_their_way_than_may_be_and_the_others_follow(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(module, "_MOST_QUESTIONS", 10)
    clock = ManualClock()
    pods = lookups(server := SlowServer(clock, 1000))
    await seconds_of(clock, one_by_one(pods, PODS))
    at_once = server.asked[:]
    await clock.advance(1000)
    await seconds_of(clock, one_by_one(pods, PODS))

    assert at_once == PODS[:10]
    assert server.asked == PODS
    await pods.close()


async def test_a_pace_allows_a_few_in_succession_and_then_one_at_a_time() -> None:
    clock = ManualClock()
    pace = Pace(3, 4.0, clock)

    in_a_burst = [await seconds_of(clock, pace.keep()) for _ in range(5)]
    await clock.advance(100)
    afterwards = [await seconds_of(clock, pace.keep()) for _ in range(4)]

    assert in_a_burst == [0, 0, 0, 4, 4]
    assert afterwards == [0, 0, 0, 4]
