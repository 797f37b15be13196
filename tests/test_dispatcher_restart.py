"""A dispatcher that is started again after a bug in what its output does beside the deliveries."""

from __future__ import annotations

import asyncio

import pytest

from shipper.buffers.base import BatchLimits, Delivery
from shipper.buffers.memory import MemoryBuffer
from shipper.dispatcher import Dispatcher
from shipper.log import Log
from shipper.retry import Backoff
from shipper.testing import ManualClock, MemoryOutput, batch_of, context_of, settle


class FailingBeside(MemoryOutput):
    """Its work beside the deliveries fails when `fails` is set, once."""

    def __init__(self) -> None:
        super().__init__(limits=BatchLimits(1000, 1, 1.0))
        self.fails = asyncio.Event()

    async def work(self) -> None:
        await self.fails.wait()
        self.fails.clear()
        raise RuntimeError("a bug")


@pytest.mark.parametrize("steps", range(-4, 5))
async def test_what_was_taken_when_the_work_beside_fails_is_delivered_after_the_next_start(steps: int) -> None:
    """It fails a step earlier or later each time, once between the begin of an attempt and its first step."""
    output, clock = FailingBeside(), ManualClock()
    dispatcher = Dispatcher(output, context_of("output", "out.0", clock), 1, None, Backoff(1, 8))
    buffer = MemoryBuffer("in.0", 1_000_000, clock, Log(""))
    dispatcher.attach("in.0", buffer)
    first = asyncio.ensure_future(dispatcher.run())
    await settle()
    for step in range(-4, 5):
        if step == steps:
            output.fails.set()
        if step == 0:
            buffer.put(batch_of("a"), ["out.0"])
        await asyncio.sleep(0)
    with pytest.raises(ExceptionGroup, match="unhandled errors"):
        await first
    second = asyncio.ensure_future(dispatcher.run())
    await settle()
    await clock.advance(1)
    second.cancel()
    await asyncio.gather(second, return_exceptions=True)

    assert output.sent == [["a"]]
    assert dispatcher.statistics().in_flight == 0
    assert dispatcher.held() == (0, 0)


class HangingBeside(FailingBeside):
    """Its first attempt is half done when the work beside it fails."""

    async def send(self, delivery: Delivery) -> None:
        if delivery.progress is None:
            delivery.progress, delivery.accepted = "half", 1
            self.fails.set()
            await asyncio.Event().wait()
        self.sent.append([delivery.progress])


async def test_what_an_attempt_had_done_when_the_work_beside_failed_is_not_done_again() -> None:
    output, clock = HangingBeside(), ManualClock()
    context = context_of("output", "out.0", clock)
    dispatcher = Dispatcher(output, context, 1, None, Backoff(1, 8))
    buffer = MemoryBuffer("in.0", 1_000_000, clock, Log(""))
    dispatcher.attach("in.0", buffer)
    buffer.put(batch_of("a", "b"), ["out.0"])
    dispatcher.flush()
    with pytest.raises(ExceptionGroup, match="unhandled errors"):
        await dispatcher.run()
    second = asyncio.ensure_future(dispatcher.run())
    await settle()
    second.cancel()
    await asyncio.gather(second, return_exceptions=True)

    assert output.sent == [["half"]]
    assert context.metrics.total("output_proc_records_total") == 2
    assert dispatcher.held() == (0, 0)
