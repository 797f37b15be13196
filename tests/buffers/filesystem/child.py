"""A process for tests: `store FOLDER NUMBER` until it is killed, or `drain FOLDER`, which tells figures at its end."""

from __future__ import annotations

import json
import os
import resource
import sys
import time

from shipper.buffers.base import BatchLimits
from shipper.record import Receipt
from shipper.testing import batch_of
from tests.buffers.filesystem.making import Stored, lines_in


def store(folder: str, first: int) -> None:
    """Put numbered lines for ever, deliver some of them, and say so: `S` is settled, `C` about to be, `D` committed."""
    stored = Stored(folder, ("one", "two"), limits=BatchLimits(2000, 100, 1.0), segment_size=20_000)

    def say(*words: object) -> None:
        os.write(1, (" ".join(map(str, words)) + "\n").encode())

    for number in range(first, first + 1_000_000):
        receipt = Receipt(lambda number=number: say("S", number))  # type: ignore[misc]
        line = f"{number} {'z' * (number % 300)}"
        stored.buffer.put(batch_of(line, tag="abc"[number % 3], receipt=receipt), ["one", "two"])
        delivery = stored.take("one") if number % 5 == 0 else None
        if delivery is not None:
            numbers = [line.split()[0] for line in lines_in(delivery)]
            say("C", *numbers)
            stored.readers["one"].commit(delivery)
            say("D", *numbers)


def drain(folder: str) -> None:
    """Start on what is there, deliver all of it, and print how long the start took and how large the process was."""
    before = resident()
    began = time.perf_counter()
    stored = Stored(folder, floor=10_000_000)
    opened = time.perf_counter() - began
    held, started = stored.readers["one"].held()[0], resident()
    began, records = time.perf_counter(), 0
    while (delivery := stored.take()) is not None:
        records += delivery.records
        stored.readers["one"].commit(delivery)
    took = time.perf_counter() - began
    print(
        json.dumps(
            {
                "before": before,
                "opened_s": opened,
                "held": held,
                "started": started,
                "records": records,
                "peak": peak(),
                "took_s": took,
                "skipped": stored.skipped,
            }
        )
    )


def resident() -> int:
    """Bytes that the process has in memory now."""
    with open("/proc/self/statm", encoding="ascii") as statm:
        return int(statm.read().split()[1]) * resource.getpagesize()


def peak() -> int:
    """The most that it had; what getrusage says would include the process that started it."""
    with open("/proc/self/status", encoding="ascii") as status:
        return next(int(line.split()[1]) * 1024 for line in status if line.startswith("VmHWM"))


if __name__ == "__main__":
    if sys.argv[1] == "store":
        store(sys.argv[2], int(sys.argv[3]))
    else:
        drain(sys.argv[2])
