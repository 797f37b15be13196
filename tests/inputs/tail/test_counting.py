"""What an operator can see of a tail input."""

from __future__ import annotations

import asyncio
from pathlib import Path

from shipper.inputs.tail.counting import FILES_TOLD, LAG_BOUNDS_S

from .running import Tail, append, numbered, write


async def test_lines_and_files_and_truncations_are_counted(tmp_path: Path) -> None:
    path = tmp_path / "a.log"
    write(path, *numbered(1, 5))

    async with Tail(f"path {path}\nread_from_head on") as tail:
        await tail.has(5)
        path.write_text("")
        await tail.until(lambda: tail.count("files_truncated_total") == 1)
        append(path, "six")
        await tail.has(6)

    assert tail.count("lines_total") == 6
    assert tail.count("files_opened_total") == 1
    assert tail.count("files_truncated_total") == 1


async def test_a_new_file_that_fills_is_no_truncation(tmp_path: Path) -> None:
    path = tmp_path / "a.log"
    path.touch()

    async with Tail(f"path {path}\nread_from_head on") as tail:
        append(path, "one")
        await tail.has(1)

    assert tail.count("files_truncated_total") == 0


async def test_lag_is_told_for_each_file_while_the_reader_waits(tmp_path: Path) -> None:
    path = tmp_path / "a.log"
    write(path, *[f"{n:05d} {'x' * 100}" for n in range(3000)])

    async with Tail(f"path {path}\nread_from_head on\nevent_batch_size 50000") as tail:
        tail.gate.clear()
        metrics = tail.context.metrics
        await tail.until(lambda: metrics.value("input_lag_bytes", name=tail.context.alias) > 200_000)
        await asyncio.sleep(0.05)
        values = {name: value for name, labels, value in metrics if ("file", str(path)) in labels}
        whole = metrics.value("input_lag_bytes", name=tail.context.alias)
        seconds = metrics.value("input_lag_seconds", name=tail.context.alias)
        tail.gate.set()
        await tail.has(3000)
        after = metrics.value("input_lag_bytes", name=tail.context.alias)

    assert values["input_file_lag_bytes"] == whole > 200_000
    assert values["input_file_lag_seconds"] > 0
    assert seconds > 0
    assert after == 0


async def test_files_are_counted_by_their_lag_and_only_the_farthest_behind_are_told_one_by_one(tmp_path: Path) -> None:
    behind = [tmp_path / f"{n:03d}.log" for n in range(FILES_TOLD + 5)]
    for size, path in enumerate(behind):
        write(path, "x" * (100 + size))

    async with Tail(f"path {tmp_path}/*.log\nread_from_head on") as tail:
        tail.gate.clear()
        metrics, name = tail.context.metrics, tail.context.alias
        await tail.until(lambda: sum(1 for n, _, v in metrics if n == "input_file_lag_bytes" and v) == FILES_TOLD)
        await asyncio.sleep(0.02)
        told = {dict(labels)["file"]: value for n, labels, value in metrics if n == "input_file_lag_bytes"}
        by_lag = {dict(labels)["seconds"]: value for n, labels, value in metrics if n == "input_files_behind"}
        whole = metrics.value("input_lag_bytes", name=name)
        tail.gate.set()
        await tail.has(len(behind))
        after = [value for n, _, value in metrics if n == "input_files_behind"]

    assert len(told) == FILES_TOLD
    assert whole > sum(told.values())
    assert FILES_TOLD < by_lag["0"] <= len(behind)
    assert by_lag["600"] == 0
    assert after == [0] * len(LAG_BOUNDS_S)


async def test_what_a_truncation_takes_away_unread_is_counted(tmp_path: Path) -> None:
    path = tmp_path / "a.log"
    write(path, *[f"{n:05d} {'x' * 100}" for n in range(3000)])

    async with Tail(f"path {path}\nread_from_head on\nevent_batch_size 50000") as tail:
        tail.gate.clear()
        metrics, name = tail.context.metrics, tail.context.alias
        await tail.until(lambda: 200_000 < metrics.value("input_lag_bytes", name=name) < 320_000)
        unread = metrics.value("input_lag_bytes", name=name)
        path.write_text("")
        await tail.until(lambda: tail.count("abandoned_bytes_total") > 0)
        tail.gate.set()
        append(path, "new")
        await tail.until(lambda: "new" in tail.lines()[-1:])

    assert tail.count("abandoned_bytes_total") == unread == 107 * (3000 - (len(tail.lines()) - 1))
    assert metrics.by_label("input_dropped_bytes_total", "reason") == {"truncated_unread": unread}


async def test_the_age_of_the_oldest_unsettled_position_is_told(tmp_path: Path) -> None:
    path = tmp_path / "a.log"
    write(path, "one")

    async with Tail(f"path {path}\nread_from_head on", settling="later") as tail:
        await tail.has(1)
        await asyncio.sleep(0.05)
        owed = tail.context.metrics.value("input_oldest_unsettled_seconds", name=tail.context.alias)
        tail.settle()
        settled = tail.context.metrics.value("input_oldest_unsettled_seconds", name=tail.context.alias)

    assert owed >= 0.05
    assert settled == 0
