"""What every buffer promises, whatever it keeps its batches in.

A new buffer is one more entry of `KINDS`.
"""

from __future__ import annotations

import asyncio
import shutil
import tempfile
import weakref
from collections import deque
from collections.abc import Callable
from typing import Literal

import msgspec
import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import Bundle, RuleBasedStateMachine, consumes, invariant, multiple, rule

from shipper.buffers.base import BatchLimits, Buffer, Delivery, Loss, Reader
from shipper.buffers.filesystem import FilesystemBuffer, StorageSettings
from shipper.buffers.memory import MemoryBuffer
from shipper.clock import Clock, SystemClock
from shipper.log import Log
from shipper.metrics import Metrics
from shipper.record import Receipt, RecordBatch
from shipper.testing import ManualClock, batch_of, lines_of, settle
from tests.buffers.filesystem.disks import ProcessDisk

LIMITS = BatchLimits(size=12, records=4, seconds=1.0)
OUTPUTS = ("one", "two")


class BufferKind(msgspec.Struct, frozen=True):
    """How to make a buffer of this kind, and when it settles the receipt of a batch."""

    name: str
    make: Callable[[Clock, int], Buffer]
    settles: Literal["when delivered", "when stored"]


def _memory(clock: Clock, limit: int) -> Buffer:
    return MemoryBuffer("in.0", limit, clock, Log(""))


def _filesystem(clock: Clock, limit: int) -> Buffer:
    folder = tempfile.mkdtemp(prefix="shipper-test-")
    settings = StorageSettings(path=folder, memory=limit, segment_size=1000)
    disk = ProcessDisk()
    buffer = FilesystemBuffer("in.0", settings, clock, Log(""), disk, Metrics(), _nothing_is_skipped)
    buffer.open()
    weakref.finalize(buffer, disk.end)
    weakref.finalize(buffer, shutil.rmtree, folder)
    return buffer


def _nothing_is_skipped(loss: Loss) -> None:
    raise AssertionError(f"records are lost: {loss}")


KINDS = [
    BufferKind("memory", _memory, "when delivered"),
    BufferKind("filesystem", _filesystem, "when stored"),
]


@pytest.fixture(params=KINDS, ids=lambda kind: kind.name)
def kind(request: pytest.FixtureRequest) -> BufferKind:
    found = request.param
    assert isinstance(found, BufferKind)
    return found


@pytest.fixture
def buffer(kind: BufferKind) -> Buffer:
    return kind.make(ManualClock(), 1_000_000)


def by_tag(batch: RecordBatch) -> str:
    return batch.tag


def reader_of(buffer: Buffer, name: str = "one", notify: Callable[[], None] = lambda: None) -> Reader:
    return buffer.reader(name, by_tag, LIMITS, notify)


def lines_in(delivery: Delivery | None) -> list[str]:
    assert delivery is not None
    return [line for batch in delivery.batches for line in lines_of(batch)]


def test_an_empty_buffer_has_nothing_to_take(buffer: Buffer) -> None:
    reader = reader_of(buffer)

    assert (reader.take(100.0, flush=True), reader.due_in(100.0), reader.held()) == (None, None, (0, 0))


def test_the_batches_of_a_lane_are_taken_in_their_order(buffer: Buffer) -> None:
    reader = reader_of(buffer)
    for line in "abcdef":
        buffer.put(batch_of(line), ["one"])
    first = reader.take(0.0, flush=True)
    assert first is not None
    reader.commit(first)

    assert lines_in(first) + lines_in(reader.take(0.0, flush=True)) == list("abcdef")


def test_every_reader_gets_its_own_copy_of_what_was_put_for_it(buffer: Buffer) -> None:
    one, two = reader_of(buffer, "one"), reader_of(buffer, "two")
    buffer.put(batch_of("a"), ["one", "two"])
    buffer.put(batch_of("b"), ["two"])

    assert lines_in(one.take(1.0)) == ["a"]
    assert lines_in(two.take(1.0)) == ["a", "b"]


def test_a_receipt_is_settled_once_and_not_before_its_batch_is_safe(kind: BufferKind, buffer: Buffer) -> None:
    told: list[int] = []
    readers = [reader_of(buffer, "one"), reader_of(buffer, "two")]
    buffer.put(batch_of("a", receipt=Receipt(lambda: told.append(1))), ["one", "two"])
    after_each = [len(told)]
    for reader in readers:
        delivery = reader.take(1.0)
        assert delivery is not None
        reader.commit(delivery)
        after_each.append(len(told))

    assert after_each == ([0, 0, 1] if kind.settles == "when delivered" else [1, 1, 1])


def test_giving_back_settles_nothing_and_puts_the_delivery_first_again(kind: BufferKind, buffer: Buffer) -> None:
    told: list[int] = []
    reader = reader_of(buffer)
    buffer.put(batch_of("a", receipt=Receipt(lambda: told.append(1))), ["one"])
    delivery = reader.take(1.0)
    assert delivery is not None
    buffer.put(batch_of("b"), ["one"])
    reader.give_back(delivery)

    assert lines_in(reader.take(1.0)) == ["a", "b"]
    assert (len(told), reader.held()) == (0 if kind.settles == "when delivered" else 1, (2, 4))


def test_whoever_reads_is_told_when_there_is_something_new(buffer: Buffer) -> None:
    told: list[str] = []
    reader = reader_of(buffer, notify=lambda: told.append("new"))
    buffer.put(batch_of("a"), ["one"])
    after_first = len(told)
    buffer.put(batch_of("0123456789ab"), ["one"])
    after_full = len(told)
    delivery = reader.take(0.0)
    assert delivery is not None
    reader.give_back(delivery)

    assert 0 < after_first < after_full < len(told)


def test_what_was_put_for_others_is_no_news(buffer: Buffer) -> None:
    told: list[str] = []
    reader_of(buffer, "two")
    reader = reader_of(buffer, "one", notify=lambda: told.append("new"))
    buffer.put(batch_of("a"), ["two"])

    assert (told, reader.take(10.0, flush=True)) == ([], None)


async def test_room_is_given_at_once_while_there_is_some(buffer: Buffer) -> None:
    await asyncio.wait_for(buffer.room(10), 1)

    assert not buffer.statistics().is_full


async def test_everybody_who_waits_for_room_gets_it_when_all_is_delivered(kind: BufferKind) -> None:
    if kind.settles == "when stored":
        pytest.skip("its room is that of the disk")
    clock = ManualClock()
    buffer = kind.make(clock, 100)
    reader = reader_of(buffer)
    buffer.put(batch_of("x" * 50), ["one"])
    waiting = [asyncio.ensure_future(buffer.room(size)) for size in (50, 1, 1000, 1)]
    await settle()
    was_full, let_in_early = buffer.statistics().is_full, [task for task in waiting if task.done()]
    delivery = reader.take(clock.monotonic(), flush=True)
    assert delivery is not None
    reader.commit(delivery)
    await settle()

    assert (was_full, let_in_early) == (True, [])
    assert all(task.done() for task in waiting)
    assert not buffer.statistics().is_full


# -- under any sequence of steps ---------------------------------------------------------------------------------------


class HandClock(SystemClock):
    """A clock that stands still until it is set."""

    now = 0.0

    def monotonic(self) -> float:
        return self.now


class Put(msgspec.Struct):
    """A batch that was put: for whom, when, and how often its receipt was settled."""

    number: int
    batch: RecordBatch
    at: float
    owed_to: set[str]
    settled: int = 0


class _Lane:
    """What the model knows of a lane of a reader."""

    def __init__(self) -> None:
        self.waiting: deque[Put] = deque()
        self.out: list[Put] = []

    @property
    def is_ready(self) -> bool:
        return bool(self.waiting) and not self.out

    @property
    def is_full(self) -> bool:
        size, records = sum(p.batch.size for p in self.waiting), sum(len(p.batch) for p in self.waiting)
        return size >= LIMITS.size or records >= LIMITS.records


class BufferModel(RuleBasedStateMachine):
    """Compares a buffer with lists: what goes in comes out, in order, once for each reader, and within the limits."""

    kind = KINDS[0]
    deliveries = Bundle("deliveries")

    def __init__(self) -> None:
        super().__init__()
        self.clock = HandClock()
        self.buffer = self.kind.make(self.clock, 1_000_000)
        self.readers = {name: reader_of(self.buffer, name) for name in OUTPUTS}
        self.lanes: dict[str, dict[str, _Lane]] = {name: {} for name in OUTPUTS}
        self.puts: list[Put] = []

    @rule(
        outputs=st.sets(st.sampled_from(OUTPUTS), min_size=1),
        tag=st.sampled_from("xy"),
        lengths=st.lists(st.sampled_from([0, 1, 2, 5, 14]), min_size=1, max_size=3),
    )
    def put(self, outputs: set[str], tag: str, lengths: list[int]) -> None:
        put = Put(len(self.puts), batch_of(*("." * n for n in lengths), tag=tag), self.clock.now, set(outputs))

        def count() -> None:
            put.settled += 1

        put.batch.receipt = Receipt(count)
        self.puts.append(put)
        self.buffer.put(put.batch, sorted(outputs))
        for output in outputs:
            self.lanes[output].setdefault(tag, _Lane()).waiting.append(put)

    @rule(target=deliveries, output=st.sampled_from(OUTPUTS), flush=st.booleans())
    def take(self, output: str, flush: bool) -> object:
        now, lanes = self.clock.now, self.lanes[output]
        ready = {tag: lane for tag, lane in lanes.items() if lane.is_ready}
        may = {t for t, lane in ready.items() if flush or lane.is_full or lane.waiting[0].at + LIMITS.seconds <= now}
        delivery = self.readers[output].take(now, flush=flush)
        if delivery is None:
            assert not may, f"nothing was taken although {may} could be"
            return multiple()
        assert delivery.lane in may
        lane = lanes[str(delivery.lane)]
        taken = [lane.waiting.popleft() for _ in delivery.batches]
        assert all(put.batch.content is batch.content for put, batch in zip(taken, delivery.batches, strict=True))
        assert len(taken) == 1 or (delivery.size <= LIMITS.size and delivery.records <= LIMITS.records)
        lane.out = taken
        return (output, delivery)

    @rule(taken=consumes(deliveries))
    def commit(self, taken: tuple[str, Delivery]) -> None:
        output, delivery = taken
        lane = self.lanes[output][str(delivery.lane)]
        self.readers[output].commit(delivery)
        for put in lane.out:
            put.owed_to.discard(output)
        lane.out = []

    @rule(taken=consumes(deliveries))
    def give_back(self, taken: tuple[str, Delivery]) -> None:
        output, delivery = taken
        lane = self.lanes[output][str(delivery.lane)]
        self.readers[output].give_back(delivery)
        lane.waiting.extendleft(reversed(lane.out))
        lane.out = []

    @rule(seconds=st.sampled_from([0.1, 0.5, 1.0, 7.7]))
    def time_passes(self, seconds: float) -> None:
        self.clock.now += seconds

    @invariant()
    def what_is_held_is_what_is_owed(self) -> None:
        for output, reader in self.readers.items():
            owed = [put.batch for put in self.puts if output in put.owed_to]
            assert reader.held() == (sum(map(len, owed)), sum(batch.size for batch in owed))
        kept = [put.batch for put in self.puts if put.owed_to]
        statistics = self.buffer.statistics()
        assert (statistics.batches, statistics.records) == (len(kept), sum(map(len, kept)))

    @invariant()
    def receipts_are_settled_once_when_nobody_owes_them(self) -> None:
        is_early = self.kind.settles == "when stored"
        assert all(put.settled == (1 if is_early or not put.owed_to else 0) for put in self.puts)

    @invariant()
    def it_is_known_when_there_will_be_something(self) -> None:
        now = self.clock.now
        for output, reader in self.readers.items():
            ready = [lane for lane in self.lanes[output].values() if lane.is_ready]
            due = [0.0 if lane.is_full else max(0.0, lane.waiting[0].at + LIMITS.seconds - now) for lane in ready]
            assert reader.due_in(now) == min(due, default=None)


class MemoryBufferModel(BufferModel):
    kind = KINDS[0]


class FilesystemBufferModel(BufferModel):
    kind = KINDS[1]


MODELS = [MemoryBufferModel, FilesystemBufferModel]


@pytest.mark.parametrize("model", MODELS)
def test_a_buffer_behaves_like_a_list_under_any_sequence_of_steps(model: type[BufferModel]) -> None:
    case = model.TestCase
    case.settings = settings(max_examples=100, stateful_step_count=40, deadline=None)

    case("runTest").debug()


def test_every_kind_of_buffer_is_compared_with_the_model() -> None:
    assert [model.kind for model in MODELS] == KINDS
