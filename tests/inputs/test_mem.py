"""mem: kilobytes of memory and swap."""

from __future__ import annotations

import logging
from pathlib import Path

import pytest

from shipper.inputs.mem import MemInput, MemOptions
from shipper.testing import ManualClock, context_of

from ..written_options import options_from
from .collected import Collected

MEMINFO = "MemTotal: 1000 kB\nMemFree: 300 kB\nMemAvailable: 800 kB\nSwapTotal: 50 kB\nSwapFree: 20 kB\nHugePages: 0\n"


def mem(proc: Path, lines: str = "") -> Collected:
    clock = ManualClock()
    options = options_from(MemOptions, lines, "input")
    return Collected(MemInput(options, context_of("input", "mem.0", clock), proc), clock)


async def test_what_is_not_free_is_in_use(tmp_path: Path) -> None:
    (tmp_path / "meminfo").write_text(MEMINFO)
    async with mem(tmp_path) as one:
        (body,) = await one.after(1.5)

    assert list(body.items()) == [
        ("Mem.total", 1000),
        ("Mem.used", 700),
        ("Mem.free", 300),
        ("Swap.total", 50),
        ("Swap.used", 30),
        ("Swap.free", 20),
    ]


async def test_the_memory_of_a_process_is_added_while_it_lives(tmp_path: Path) -> None:
    (tmp_path / "meminfo").write_text(MEMINFO)
    (tmp_path / "7").mkdir()
    (tmp_path / "7" / "status").write_text("Name:\tx\nVmRSS:\t    2048 kB\n")
    async with mem(tmp_path, "pid 7") as one:
        (alive,) = await one.after(1.5)
        (tmp_path / "7" / "status").unlink()
        *_, ended = await one.after(1)

    assert (alive["proc_bytes"], alive["proc_hr"]) == (2_097_152, "2.0M")
    assert "proc_bytes" not in ended and ended["Mem.total"] == 1000


async def test_memory_that_cannot_be_told_is_logged(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level(logging.ERROR, "shipper"):
        async with mem(tmp_path) as one:
            assert await one.after(3) == []

    assert "memory cannot be told" in caplog.text


async def test_this_machine_tells_its_memory() -> None:
    async with mem(Path("/proc"), "interval_sec 5") as one:
        assert await one.after(4.9) == []
        (body,) = await one.after(0.2)

    assert body["Mem.used"] + body["Mem.free"] == body["Mem.total"] > 0
