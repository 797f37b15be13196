"""A dispatcher over a filesystem buffer: what an earlier run has left comes first, and what cannot be sent stays."""

from __future__ import annotations

import asyncio
from pathlib import Path

from shipper.buffers.base import BatchLimits, Delivery
from shipper.buffers.filesystem import FilesystemBuffer, StorageSettings
from shipper.clock import SystemClock
from shipper.disk import SystemDisk
from shipper.dispatcher import Dispatcher
from shipper.errors import RetryLater
from shipper.log import Log
from shipper.metrics import Metrics
from shipper.retry import Backoff
from shipper.testing import MemoryOutput, batch_of, context_of
from tests.buffers.filesystem.making import segments_in


class HangingBehindFirst(MemoryOutput):
    """Delivers the first record of a delivery and never gets an answer for the others; it knows what is left."""

    async def send(self, delivery: Delivery) -> None:
        delivery.progress = [batch.content.records() for batch in delivery.batches]
        self.sent.append([record.body["log"] for record in delivery.progress[0][:1]])
        delivery.accepted = 1
        await asyncio.Event().wait()

    def left(self, delivery: Delivery) -> list[list[int]] | None:
        return [list(range(number == 0, len(records))) for number, records in enumerate(delivery.progress)]


async def run(folder: Path, lines: list[str], output: MemoryOutput) -> tuple[int, list[str]]:
    """Put these lines, let the output deliver until it is drained or a while has passed; gives what is still held."""
    skipped: list[object] = []
    settings = StorageSettings(path=str(folder), floor=0, segment_size=500)
    buffer = FilesystemBuffer(
        "in.0", settings, SystemClock(), Log(""), SystemDisk(), Metrics(), lambda *what: skipped.append(what)
    )
    context = context_of("output", "out.0", SystemClock())
    dispatcher = Dispatcher(output, context, 4, None, Backoff(5, 10))
    dispatcher.attach("in.0", buffer)
    buffer.open()
    for number, line in enumerate(lines):
        buffer.put(batch_of(line, tag=f"t{number % 2}"), ["out.0"])
    dispatcher.begin_drain()
    running = asyncio.ensure_future(dispatcher.run())
    await asyncio.wait([running], timeout=0.5)
    running.cancel()
    await asyncio.gather(running, return_exceptions=True)
    buffer.close()
    assert skipped == []
    return dispatcher.held()[0], [line for sent in output.sent for line in sent]


async def test_what_a_dead_destination_has_not_taken_is_delivered_by_the_next_run(tmp_path: Path) -> None:
    dead = MemoryOutput([RetryLater("away")] * 100, BatchLimits(100, 10), by_tag=True)
    lines = [f"{number} {'k' * 40}" for number in range(40)]
    held, sent = await run(tmp_path, lines, dead)
    left = len(segments_in(tmp_path))
    alive = MemoryOutput([], BatchLimits(100, 10), by_tag=True)
    held_at_last, found = await run(tmp_path, ["new"], alive)

    assert (held, sent, left > 5) == (40, [], True)
    assert held_at_last == 0
    assert sorted(found) == sorted([*lines, "new"])
    assert [line for line in found if line in lines[::2]] == lines[::2]
    assert segments_in(tmp_path) == []


async def test_what_a_destination_took_before_it_hung_does_not_come_again_after_the_stop(tmp_path: Path) -> None:
    hanging = HangingBehindFirst([], BatchLimits(1000, 10), by_tag=False)
    held, sent = await run(tmp_path, ["a", "b", "c"], hanging)
    alive = MemoryOutput([], BatchLimits(1000, 10), by_tag=False)
    held_at_last, found = await run(tmp_path, [], alive)

    assert (held, sent) == (2, ["a"])
    assert (held_at_last, found) == (0, ["b", "c"])
