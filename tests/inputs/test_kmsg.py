"""kmsg: messages of the kernel, one for each read, as from the real device."""

from __future__ import annotations

import logging
import os
import time
from collections.abc import Iterator

import pytest

from shipper.clock import SystemClock
from shipper.context import Context
from shipper.errors import OptionError
from shipper.inputs.kmsg import KmsgInput, KmsgOptions
from shipper.record import Body
from shipper.testing import context_of

from ..written_options import options_from
from .collected import Collected


class Kernel:
    """Stands in for the device: each message is taken by one read."""

    def __init__(self) -> None:
        # Opened by its path in /proc, an end of a pipe in packet mode behaves as the device does.
        self._read_end, self._write_end = os.pipe2(os.O_DIRECT | os.O_NONBLOCK)
        self.path = f"/proc/self/fd/{self._read_end}"

    def says(self, *messages: bytes) -> None:
        for message in messages:
            os.write(self._write_end, message)

    def close(self) -> None:
        os.close(self._read_end)
        os.close(self._write_end)


@pytest.fixture
def kernel() -> Iterator[Kernel]:
    one = Kernel()
    yield one
    one.close()


def kmsg(kernel: Kernel, lines: str = "", before: Collected | None = None, context: Context | None = None) -> Collected:
    """The input, maybe in the place of one that has ended, as at a hot reload."""
    context = context or context_of("input", "kmsg.0", SystemClock())
    one = KmsgInput(options_from(KmsgOptions, lines, "input"), context, kernel.path)
    left = before.input.handed_over() if before is not None else None
    one.go_on_from({} if left is None else dict([left]))
    return Collected(one)


@pytest.mark.parametrize(
    ("message", "expected"),
    [
        (b"6,339,5140900,-;NET: Registered\n", (6, 339, 5, 140_900, "NET: Registered")),
        (b"30,1,1000000,-,caller=T1;a;b\n", (6, 1, 1, 0, "a;b")),
        (b"4,2,999999,c;text\n SUBSYSTEM=acpi\n DEVICE=+acpi:PNP0A03\n", (4, 2, 0, 999_999, "text")),
        ("3,7,1,-;grüße\n".encode(), (3, 7, 0, 1, "grüße")),
        (b"3,7,1,-;\n", (3, 7, 0, 1, "")),
    ],
)
async def test_a_message_is_a_record(kernel: Kernel, message: bytes, expected: tuple[int, int, int, int, str]) -> None:
    kernel.says(message)
    async with kmsg(kernel) as one:
        (body,) = await one.has(1)

    assert body == dict(zip(("priority", "sequence", "sec", "usec", "msg"), expected, strict=True))


async def test_the_time_is_counted_from_the_boot(kernel: Kernel) -> None:
    now_us = time.clock_gettime_ns(time.CLOCK_BOOTTIME) // 1000
    kernel.says(b"6,1,%d,-;now\n" % now_us)
    async with kmsg(kernel) as one:
        await one.has(1)

    assert abs(one.times_ns()[0] - time.time_ns()) < 5_000_000_000


@pytest.mark.parametrize(("lines", "expected"), [("", [0, 3, 7]), ("prio_level 3", [0, 3]), ("prio_level 0", [0])])
async def test_messages_that_matter_less_are_dropped(kernel: Kernel, lines: str, expected: list[int]) -> None:
    kernel.says(b"0,1,1,-;a\n", b"3,2,1,-;b\n", b"7,3,1,-;c\n", b"0,4,1,-;last\n")
    async with kmsg(kernel, lines) as one:
        bodies = await one.has(len(expected) + 1)

    assert [body["priority"] for body in bodies[:-1]] == expected


async def test_what_is_there_at_once_is_one_batch_and_what_comes_later_is_read_too(kernel: Kernel) -> None:
    kernel.says(b"6,1,1,-;a\n", b"6,2,1,-;b\n")
    async with kmsg(kernel) as one:
        await one.has(2)
        kernel.says(b"6,3,1,-;c\n")
        bodies: list[Body] = await one.has(3)

    assert [len(batch) for batch in one.batches] == [2, 1]
    assert [body["msg"] for body in bodies] == ["a", "b", "c"]


async def test_what_the_kernel_overwrote_is_counted_and_told(kernel: Kernel, caplog: pytest.LogCaptureFixture) -> None:
    context = context_of("input", "kmsg.0", SystemClock())
    kernel.says(b"6,10,1,-;a\n", b"6,14,1,-;b\n", b"nonsense\n")
    with caplog.at_level(logging.ERROR, "shipper"):
        async with Collected(KmsgInput(KmsgOptions(), context, kernel.path)) as one:
            await one.has(2)

    assert context.metrics.by_label("input_dropped_records_total", "reason") == {"overwritten": 3, "unreadable": 1}
    assert "overwritten messages" in caplog.text and "cannot be read" in caplog.text


async def test_at_a_reload_what_was_emitted_comes_no_more(kernel: Kernel) -> None:
    """The device begins anew with all that the kernel keeps."""
    ring = [b"6,%d,1,-;%d\n" % (number, number) for number in range(10, 20)]
    kernel.says(*ring[:4])
    async with kmsg(kernel) as one:
        await one.has(4)
        one.gate.clear()
        kernel.says(*ring[4:6])
        await one.is_held_up.wait()
    kernel.says(*ring[:8])
    async with kmsg(kernel, before=one) as two:
        bodies = await two.has(4)
    kernel.says(*ring[1:9])
    async with kmsg(kernel, before=two) as three:
        more = await three.has(1)

    assert [body["sequence"] for body in bodies] == [14, 15, 16, 17]
    assert [body["sequence"] for body in more] == [18]


async def test_what_the_kernel_overwrote_over_a_reload_is_counted(kernel: Kernel) -> None:
    kernel.says(b"6,10,1,-;a\n")
    async with kmsg(kernel) as one:
        await one.has(1)
    kernel.says(b"6,14,1,-;b\n")
    context = context_of("input", "kmsg.0", SystemClock())
    async with kmsg(kernel, before=one, context=context) as two:
        await two.has(1)

    assert context.metrics.by_label("input_dropped_records_total", "reason") == {"overwritten": 3}


async def test_without_the_device_the_start_ends() -> None:
    one = KmsgInput(KmsgOptions(), context_of(), "/nowhere/kmsg")

    with pytest.raises(OptionError, match="cannot be opened"):
        await one.open()
    await one.close()
