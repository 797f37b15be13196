"""cpu: percent of the time between two looks."""

from __future__ import annotations

import logging
import os
from pathlib import Path

import pytest

from shipper.inputs.cpu import CpuInput, CpuOptions
from shipper.testing import ManualClock, context_of

from ..written_options import options_from
from .collected import Collected

HZ = os.sysconf("SC_CLK_TCK")


def cpu(proc: Path, lines: str = "") -> Collected:
    clock = ManualClock()
    options = options_from(CpuOptions, lines, "input")
    return Collected(CpuInput(options, context_of("input", "cpu.0", clock), proc), clock)


def write_stat(proc: Path, *processors: tuple[int, int, int]) -> None:
    """Ticks of each processor: user, nice, system."""
    total = tuple(map(sum, zip(*processors, strict=True)))
    lines = [f"cpu  {total[0]} {total[1]} {total[2]} 9 9 9"]
    lines += [f"cpu{n} {user} {nice} {system} 9 9 9" for n, (user, nice, system) in enumerate(processors)]
    (proc / "stat").write_text("\n".join([*lines, "intr 1 2 3", ""]))


async def test_the_share_of_each_processor_and_of_all(tmp_path: Path) -> None:
    write_stat(tmp_path, (100, 0, 100), (0, 0, 0))
    async with cpu(tmp_path, "interval_sec 2") as one:
        await one.after(1)
        write_stat(tmp_path, (100 + HZ, HZ // 2, 100 + HZ // 2), (0, 0, 0))
        (body,) = await one.after(1.5)

    assert list(body.items()) == [
        ("cpu_p", pytest.approx(50)),
        ("user_p", pytest.approx(37.5)),
        ("system_p", pytest.approx(12.5)),
        ("cpu0.p_cpu", pytest.approx(100)),
        ("cpu0.p_user", pytest.approx(75)),
        ("cpu0.p_system", pytest.approx(25)),
        ("cpu1.p_cpu", 0),
        ("cpu1.p_user", 0),
        ("cpu1.p_system", 0),
    ]


async def test_a_processor_that_was_switched_on_counts_from_then_on(tmp_path: Path) -> None:
    write_stat(tmp_path, (0, 0, 0))
    async with cpu(tmp_path) as one:
        await one.after(0.5)
        write_stat(tmp_path, (0, 0, 0), (1000, 0, 0))
        (body,) = await one.after(1)

    assert body["cpu1.p_cpu"] == 0


async def test_the_share_of_one_process(tmp_path: Path) -> None:
    (tmp_path / "7").mkdir()
    stat = tmp_path / "7" / "stat"
    stat.write_text(f"7 (odd) name) S 1 1 1 0 -1 0 0 0 0 0 {10} {20} 0 0\n")
    async with cpu(tmp_path, "pid 7") as one:
        await one.after(0.5)
        stat.write_text(f"7 (odd) name) S 1 1 1 0 -1 0 0 0 0 0 {10 + HZ // 2} {20 + HZ // 4} 0 0\n")
        (body,) = await one.after(1)

    assert body == {"cpu_p": pytest.approx(75), "user_p": pytest.approx(50), "system_p": pytest.approx(25)}


async def test_what_cannot_be_told_is_logged(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level(logging.ERROR, "shipper"):
        async with cpu(tmp_path) as one:
            assert await one.after(3) == []

    assert "cannot be told" in caplog.text


async def test_this_machine_tells_how_busy_it_is() -> None:
    async with cpu(Path("/proc")) as one:
        (body,) = await one.after(1.5)

    assert {"cpu_p", "user_p", "system_p", "cpu0.p_cpu"} <= body.keys()
    assert all(isinstance(value, float) for value in body.values())
