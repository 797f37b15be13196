"""A filesystem buffer against lists, under any sequence of steps, with crashes and restarts between them."""

from __future__ import annotations

import shutil
import tempfile

import msgspec
import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule

from shipper.buffers.base import BatchLimits, Delivery
from shipper.buffers.filesystem import log_source
from shipper.record import Receipt
from shipper.testing import batch_of
from tests.buffers.filesystem.making import Stored, lines_in, segments_in

OUTPUTS = ("one", "two")
LIMITS = BatchLimits(60, 3, 1.0)


class Waiting(msgspec.Struct):
    """A line that was put for an output, and its lane."""

    line: str
    tag: str


class StoredModel(RuleBasedStateMachine):
    """`owed` is what each output must still get, `out` what it has been given and has not committed."""

    def __init__(self) -> None:
        super().__init__()
        self.folder = tempfile.mkdtemp(prefix="shipper-model-")
        self.owed: dict[str, list[Waiting]] = {output: [] for output in OUTPUTS}
        self.out: dict[str, list[Delivery]] = {output: [] for output in OUTPUTS}
        self.kept: dict[str, list[tuple[Delivery, list[str]]]] = {output: [] for output in OUTPUTS}
        self.number = 0
        self.unsettled = 0

    @initialize(segment_size=st.sampled_from([150, 600, 100_000]), memory=st.sampled_from([0, 1000, 10**6]))
    def begin(self, segment_size: int, memory: int) -> None:
        self.segment_size, self.memory = segment_size, memory
        self.start()

    def start(self) -> None:
        self.stored = Stored(self.folder, OUTPUTS, limits=LIMITS, segment_size=self.segment_size, memory=self.memory)
        self.out = {output: [] for output in OUTPUTS}
        self.kept = {output: [] for output in OUTPUTS}

    @rule(
        tag=st.sampled_from("xyz"),
        outputs=st.sets(st.sampled_from(OUTPUTS), min_size=1),
        length=st.sampled_from([0, 5, 50, 200]),
    )
    def put(self, tag: str, outputs: set[str], length: int) -> None:
        self.number += 1
        self.unsettled += 1
        line = f"{self.number} " + "." * length
        batch = batch_of(line, tag=tag, receipt=Receipt(self.settled))
        self.stored.buffer.put(batch, sorted(outputs))
        for output in outputs:
            self.owed[output].append(Waiting(line, tag))

    def settled(self) -> None:
        self.unsettled -= 1

    @rule(output=st.sampled_from(OUTPUTS), flush=st.booleans())
    def take(self, output: str, flush: bool) -> None:
        delivery = self.stored.readers[output].take(0.0, flush=flush)
        ready = self.ready(output)
        if delivery is None:
            has_room = len(self.owed[output]) < log_source.WINDOW
            assert not (flush and ready and has_room), f"nothing was taken although {ready} waits"
            return
        assert delivery.lane in ready
        expected = ready[str(delivery.lane)][: len(delivery.batches)]
        assert lines_in(delivery) == expected
        self.out[output].append(delivery)

    def ready(self, output: str) -> dict[str, list[str]]:
        """By lane what waits there, for the lanes that are not out."""
        kept = {line for _, lines in self.kept[output] for line in lines}
        ready: dict[str, list[str]] = {}
        for waiting in self.owed[output]:
            if waiting.line not in kept and all(waiting.tag != d.lane for d in self.out[output]):
                ready.setdefault(waiting.tag, []).append(waiting.line)
        return ready

    @precondition(lambda self: any(self.out.values()))
    @rule(data=st.data())
    def commit(self, data: st.DataObject) -> None:
        output, delivery = self.pick(data)
        self.forget(output, lines_in(delivery))
        self.stored.readers[output].commit(delivery)

    @precondition(lambda self: any(self.out.values()))
    @rule(data=st.data())
    def give_back(self, data: st.DataObject) -> None:
        output, delivery = self.pick(data)
        self.stored.readers[output].give_back(delivery)

    @precondition(lambda self: any(self.out.values()))
    @rule(data=st.data())
    def keep(self, data: st.DataObject) -> None:
        output, delivery = self.pick(data)
        self.kept[output].append((delivery, lines_in(delivery)))
        self.stored.readers[output].keep(delivery)

    @precondition(lambda self: any(self.kept.values()))
    @rule(data=st.data())
    def commit_kept(self, data: st.DataObject) -> None:
        output = data.draw(st.sampled_from([o for o in OUTPUTS if self.kept[o]]))
        delivery, lines = self.kept[output].pop(data.draw(st.integers(0, len(self.kept[output]) - 1)))
        self.forget(output, lines)
        self.stored.readers[output].commit(delivery)

    def pick(self, data: st.DataObject) -> tuple[str, Delivery]:
        output = data.draw(st.sampled_from([o for o in OUTPUTS if self.out[o]]))
        return output, self.out[output].pop(data.draw(st.integers(0, len(self.out[output]) - 1)))

    def forget(self, output: str, lines: list[str]) -> None:
        self.owed[output] = [waiting for waiting in self.owed[output] if waiting.line not in lines]

    @rule()
    def crash(self) -> None:
        self.stored.end()
        self.start()

    @rule()
    def stop_and_start(self) -> None:
        self.stored.buffer.close()
        self.stored.end()
        self.start()

    @invariant()
    def what_is_held_is_what_is_owed(self) -> None:
        if self.number:
            for output in OUTPUTS:
                lines = [waiting.line for waiting in self.owed[output]]
                assert self.stored.readers[output].held() == (len(lines), sum(len(line) + 1 for line in lines))
            assert (self.unsettled, self.stored.skipped) == (0, [])

    def teardown(self) -> None:
        for output in OUTPUTS:
            for delivery in self.out[output]:
                self.stored.readers[output].give_back(delivery)
            for delivery, lines in self.kept[output]:
                self.stored.readers[output].commit(delivery)
                self.forget(output, lines)
            assert sorted(self.stored.deliver(output)) == sorted(w.line for w in self.owed[output])
        self.stored.buffer.close()
        assert segments_in(self.folder) == []
        assert self.stored.buffer.statistics().batches == 0
        self.stored.end()
        shutil.rmtree(self.folder)


@pytest.mark.parametrize("window", [1, 3, 8192])
def test_it_behaves_like_lists_whatever_happens(window: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(log_source, "WINDOW", window)
    case = StoredModel.TestCase
    case.settings = settings(max_examples=60, stateful_step_count=40, deadline=None)

    case("runTest").debug()
