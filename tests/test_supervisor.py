from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable

import pytest

from shipper.errors import OptionError, Rejected, RetryLater
from shipper.log import Log
from shipper.metrics import Counter
from shipper.supervisor import keep_running, outcome
from shipper.testing import ManualClock, settle


class Component:
    """Runs as the script says: lasts so many seconds, then ends with the exception, or well with None."""

    def __init__(self, clock: ManualClock, *script: tuple[float, Exception | None]) -> None:
        self._clock = clock
        self._script = iter(script)
        self.starts: list[float] = []

    async def run(self) -> None:
        self.starts.append(self._clock.monotonic())
        lasts, error = next(self._script)
        if lasts:
            await self._clock.sleep(lasts)
        if error is not None:
            raise error


async def raising(error: BaseException | None) -> None:
    if error is not None:
        raise error


@pytest.mark.parametrize("error", [None, RetryLater("x"), Rejected("x"), OptionError("k", "x")])
async def test_what_components_exchange_on_purpose_is_no_bug(
    error: Exception | None, caplog: pytest.LogCaptureFixture
) -> None:
    failures = Counter()

    assert await outcome(raising(error), Log(""), failures) is error
    assert (failures.value, caplog.messages) == (0, [])


async def test_a_bug_is_logged_with_its_traceback_and_counted(caplog: pytest.LogCaptureFixture) -> None:
    failures, bug = Counter(), ZeroDivisionError("bug")

    assert await outcome(raising(bug), Log(""), failures) is bug
    assert failures.value == 1
    assert "ZeroDivisionError: bug" in caplog.text


async def test_cancellation_travels_on() -> None:
    with pytest.raises(asyncio.CancelledError):
        await outcome(raising(asyncio.CancelledError()), Log(""), Counter())


async def starts_of(clock: ManualClock, component: Component, seconds: float) -> tuple[list[float], int]:
    failures = Counter()
    task = asyncio.ensure_future(keep_running(component.run, clock, Log(""), failures))
    await clock.advance(seconds)
    task.cancel()
    await asyncio.gather(task, return_exceptions=True)
    return component.starts, failures.value


async def test_pauses_grow_to_a_minute() -> None:
    clock = ManualClock()
    component = Component(clock, *[(0.0, ZeroDivisionError("bug"))] * 20)
    starts, failures = await starts_of(clock, component, 250)

    assert starts == [0, 1, 3, 7, 15, 31, 63, 123, 183, 243]
    assert failures == 10


async def test_who_ran_well_for_a_while_starts_with_a_short_pause_again() -> None:
    clock, bug = ManualClock(), ZeroDivisionError("bug")
    component = Component(clock, (0, bug), (0, bug), (100, bug), (0, None))
    starts, _ = await starts_of(clock, component, 200)

    assert starts == [0, 1, 3, 104]


@pytest.mark.parametrize("end", [None, OptionError("k", "cannot be used")])
async def test_who_ends_by_itself_or_cannot_be_configured_is_not_started_again(end: Exception | None) -> None:
    clock = ManualClock()
    starts, failures = await starts_of(clock, Component(clock, (1, end)), 100)

    assert (starts, failures) == ([0], 0)


async def test_the_reason_is_told_with_the_restart(caplog: pytest.LogCaptureFixture) -> None:
    clock = ManualClock()
    await starts_of(clock, Component(clock, (0, RetryLater("not now")), (0, None)), 2)

    assert "component is started again, pause_s=1.0, reason=not now" in caplog.messages


async def test_a_bug_inside_a_group_of_tasks_is_a_bug_like_any_other() -> None:
    async def group() -> None:
        async with asyncio.TaskGroup() as tasks:
            tasks.create_task(raising(ZeroDivisionError("bug")))

    clock, failures = ManualClock(), Counter()
    work: Callable[[], Awaitable[None]] = group
    task = asyncio.ensure_future(keep_running(work, clock, Log(""), failures))
    await settle()
    task.cancel()
    await asyncio.gather(task, return_exceptions=True)

    assert failures.value == 1
