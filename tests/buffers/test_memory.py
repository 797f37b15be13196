from __future__ import annotations

import asyncio

import pytest

from shipper.buffers.base import BatchLimits
from shipper.buffers.memory import MemoryBuffer, MemoryReader, weight_of
from shipper.log import Log
from shipper.record import Receipt, RecordBatch
from shipper.testing import ManualClock, batch_of, lines_of, settle

LIMITS = BatchLimits(size=10, records=100, seconds=1.0)


def buffer_with(limit: int = 1_000_000, clock: ManualClock | None = None) -> MemoryBuffer:
    return MemoryBuffer("test.0", limit, clock or ManualClock(), Log(""))


def by_tag(batch: RecordBatch) -> str:
    return batch.tag


def one_lane(batch: RecordBatch) -> str:
    return ""


def reader_of(buffer: MemoryBuffer, name: str = "out.0") -> MemoryReader:
    return buffer.reader(name, by_tag, LIMITS, lambda: None)


def test_a_full_lane_is_taken_at_once() -> None:
    buffer = buffer_with()
    reader = reader_of(buffer)
    buffer.put(batch_of("0123456789"), ["out.0"])

    delivery = reader.take(0.0)

    assert delivery is not None
    assert lines_of(delivery.batches[0]) == ["0123456789"]


def test_a_small_lane_is_taken_when_its_oldest_batch_has_waited_long_enough() -> None:
    buffer = buffer_with()
    reader = reader_of(buffer)
    buffer.put(batch_of("a"), ["out.0"])

    assert reader.take(0.9) is None
    assert reader.due_in(0.9) == pytest.approx(0.1)
    assert reader.take(1.0) is not None


def test_flush_takes_whatever_there_is() -> None:
    buffer = buffer_with()
    reader = reader_of(buffer)
    buffer.put(batch_of("a"), ["out.0"])

    assert reader.take(0.0, flush=True) is not None


def test_one_delivery_of_a_lane_is_out_at_a_time_and_other_lanes_go_on() -> None:
    buffer = buffer_with()
    reader = reader_of(buffer)
    for line, tag in (("a" * 10, "x"), ("b" * 10, "x"), ("c" * 10, "y")):
        buffer.put(batch_of(line, tag=tag), ["out.0"])

    first, second, third = reader.take(0.0), reader.take(0.0), reader.take(0.0)

    assert first is not None and second is not None
    assert (first.lane, second.lane, third) == ("x", "y", None)
    reader.commit(first)
    following = reader.take(0.0)
    assert following is not None and lines_of(following.batches[0]) == ["b" * 10]


def test_a_delivery_given_back_is_next_in_its_old_order() -> None:
    buffer = buffer_with()
    reader = reader_of(buffer)
    for line in ("aaaa", "bbbb", "cccc"):
        buffer.put(batch_of(line), ["out.0"])
    taken = reader.take(0.0)
    assert taken is not None

    reader.give_back(taken)

    again = reader.take(0.0)
    assert again is not None
    assert [line for b in again.batches for line in lines_of(b)] == ["aaaa", "bbbb"]
    assert reader.held() == (3, 15)


def test_the_receipt_is_settled_when_the_last_reader_has_committed() -> None:
    settled: list[str] = []
    buffer = buffer_with()
    one, other = reader_of(buffer, "one"), reader_of(buffer, "other")
    buffer.put(batch_of("0123456789", receipt=Receipt(lambda: settled.append("now"))), ["one", "other"])
    first, second = one.take(0.0), other.take(0.0)
    assert first is not None and second is not None

    one.commit(first)
    before = list(settled)
    other.commit(second)

    assert (before, settled) == ([], ["now"])
    assert buffer.statistics().records == 0


def test_a_delivery_keeps_to_the_limits_but_holds_at_least_one_batch() -> None:
    buffer = buffer_with()
    reader = reader_of(buffer)
    for line in ("x" * 50, "y" * 5, "z" * 5):
        buffer.put(batch_of(line), ["out.0"])
    first = reader.take(0.0)
    assert first is not None
    reader.commit(first)

    second = reader.take(0.0, flush=True)

    assert [len(b) for b in first.batches] == [1]
    assert second is not None and second.size == 6


def test_what_one_of_several_outputs_has_on_its_way_is_bounded_by_its_share() -> None:
    batch = batch_of("0123456789")
    buffer = MemoryBuffer("test.0", 20 * weight_of(batch), ManualClock(), Log(""), readers=2)
    greedy, other = reader_of(buffer, "greedy"), reader_of(buffer, "other")
    for number in range(20):
        buffer.put(batch_of("0123456789", tag=f"t{number}"), ["greedy", "other"])
    out = []
    while (delivery := greedy.take(1.0)) is not None:
        out.append(delivery)
    due_in_before = greedy.due_in(1.0)
    greedy.commit(out[0])

    assert (len(out), due_in_before) == (10, None)
    assert greedy.take(1.0) is not None
    assert other.take(1.0) is not None


async def test_room_is_waited_for_while_the_buffer_is_full_and_given_when_it_is_released() -> None:
    batch = batch_of("0123456789")
    buffer = buffer_with(limit=weight_of(batch) + 10)
    reader = reader_of(buffer)
    buffer.put(batch, ["out.0"])
    waiting = asyncio.ensure_future(buffer.room(batch.size))
    await settle()
    was_waiting = not waiting.done()
    delivery = reader.take(0.0)
    assert delivery is not None

    reader.commit(delivery)
    await settle()

    assert was_waiting and waiting.done()
    assert buffer.statistics().is_full is False


async def test_a_batch_larger_than_the_limit_is_let_into_an_empty_buffer() -> None:
    buffer = buffer_with(limit=10)

    await asyncio.wait_for(buffer.room(1_000_000), 1)

    assert buffer.weight == 0


async def test_room_meant_for_a_cancelled_waiter_goes_to_the_next() -> None:
    batch = batch_of("0123456789")
    buffer = buffer_with(limit=weight_of(batch))
    reader = reader_of(buffer)
    buffer.put(batch, ["out.0"])
    first = asyncio.ensure_future(buffer.room(batch.size))
    second = asyncio.ensure_future(buffer.room(batch.size))
    await settle()
    delivery = reader.take(0.0)
    assert delivery is not None
    reader.commit(delivery)
    first.cancel()
    await settle()

    assert second.done() and not second.cancelled()


async def test_who_waits_goes_on_even_if_the_one_before_puts_nothing() -> None:
    batch = batch_of("0123456789")
    buffer = buffer_with(limit=weight_of(batch))
    reader = reader_of(buffer)
    buffer.put(batch, ["out.0"])
    waiting = [asyncio.ensure_future(buffer.room(batch.size)) for _ in range(3)]
    await settle()
    delivery = reader.take(0.0)
    assert delivery is not None

    reader.commit(delivery)
    await settle()

    assert all(task.done() for task in waiting)


async def test_who_has_waited_longest_is_let_in_first_whatever_its_size() -> None:
    buffer = buffer_with(limit=200)
    reader = reader_of(buffer)
    buffer.put(batch_of("0123456789"), ["out.0"])
    buffer.put(batch_of("9876543210", tag="other"), ["out.0"])
    large = asyncio.ensure_future(buffer.room(60))
    await settle()
    small = asyncio.ensure_future(buffer.room(1))
    for step in range(2):
        delivery = reader.take(0.0)
        assert delivery is not None
        reader.commit(delivery)
        await settle()

        assert (large.done(), small.done()) == ((False, False), (True, True))[step]


async def test_pauses_in_quick_succession_are_told_once_and_one_that_lasts_is_told(
    caplog: pytest.LogCaptureFixture,
) -> None:
    clock, batch = ManualClock(), batch_of("0123456789")
    buffer = buffer_with(limit=weight_of(batch), clock=clock)
    reader = reader_of(buffer)
    for _ in range(5):
        buffer.put(batch, ["out.0"])
        waiting = asyncio.ensure_future(buffer.room(batch.size))
        await clock.advance(1)
        batch = batch_of("0123456789")
        delivery = reader.take(0.0)
        assert delivery is not None
        reader.commit(delivery)
        await waiting
    told_at_first = [m for m in caplog.messages if "paused" in m]
    buffer.put(batch, ["out.0"])
    waiting = asyncio.ensure_future(buffer.room(batch.size))
    await clock.advance(31)
    waiting.cancel()
    await asyncio.gather(waiting, return_exceptions=True)

    assert told_at_first == [
        "[input] test.0 paused (mem buf overlimit - event of size 33B exceeded limit 97B to 130B), "
        "waits_for=out.0:1, limit=Mem_Buf_Limit, remedy=see to that output, or raise Mem_Buf_Limit"
    ]
    assert len([m for m in caplog.messages if "paused" in m]) == 2


def test_an_output_that_cannot_name_a_lane_leaves_nothing_behind() -> None:
    def broken(batch: RecordBatch) -> str:
        raise ZeroDivisionError("bug")

    buffer = buffer_with()
    healthy = reader_of(buffer)
    buffer.reader("broken", broken, LIMITS, lambda: None)

    with pytest.raises(ZeroDivisionError):
        buffer.put(batch_of("0123456789"), ["out.0", "broken"])
    assert (healthy.held(), buffer.weight, healthy.take(0.0)) == ((0, 0), 0, None)


def test_what_is_kept_leaves_memory_and_its_lane_goes_on_while_the_receipt_stays_owed() -> None:
    buffer = buffer_with()
    reader = reader_of(buffer)
    first, second = Receipt(), Receipt()
    buffer.put(batch_of("0123456789", receipt=first), ["out.0"])
    buffer.put(batch_of("abcdefghij", receipt=second), ["out.0"])
    kept = reader.take(0.0)
    assert kept is not None
    reader.keep(kept)
    weight, held = buffer.weight, reader.held()
    following = reader.take(0.0)
    assert following is not None
    reader.commit(following)
    settled_before = (first.is_settled, second.is_settled)
    reader.commit(kept)

    assert weight == weight_of(batch_of("abcdefghij"))
    assert held == (2, 22)
    assert kept.batches == ()
    assert settled_before == (False, True)
    assert first.is_settled
    assert reader.held() == (0, 0)
    assert buffer.statistics().batches == 0


def test_what_one_reader_keeps_stays_in_memory_for_the_others() -> None:
    buffer = buffer_with()
    keeper, other = reader_of(buffer, "out.0"), reader_of(buffer, "out.1")
    receipt = Receipt()
    buffer.put(batch_of("0123456789", receipt=receipt), ["out.0", "out.1"])
    kept = keeper.take(0.0)
    assert kept is not None
    keeper.keep(kept)
    taken = other.take(0.0)
    assert taken is not None
    lines = lines_of(taken.batches[0])
    keeper.commit(kept)
    before = (receipt.is_settled, buffer.statistics().batches)
    other.commit(taken)

    assert lines == ["0123456789"]
    assert before == (False, 1)
    assert receipt.is_settled
    assert buffer.statistics().batches == 0
