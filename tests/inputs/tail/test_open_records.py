"""Records without an end: no text of them is lost, and they are cut only when they take too much memory."""

from __future__ import annotations

import logging
from pathlib import Path

import pytest

from shipper.inputs.tail.open_records import MOST_OPEN_BYTES, OpenRecords, most_open_bytes
from shipper.parsers.json import JsonParser
from shipper.parsers.onigmo import Regex
from shipper.parsers.regex import RegexParser
from shipper.testing import ManualClock

from .running import Tail, append, time_passes_until, write

TIME = "2020-01-01T00:00:00.123456789Z"


def parts(first: int, last: int, form: str) -> list[str]:
    return [form.format(f"{number:05d} {'x' * 90};") for number in range(first, last + 1)]


@pytest.mark.parametrize(
    ("options", "part", "last", "start"),
    [
        ("multiline.parser docker, cri", TIME + " stdout P {}", TIME + " stdout F end", ""),
        ("docker_mode on\nparser json", '{{"log":"{}"}}', '{{"log":"end\\n"}}', ""),
        ("multiline on\nparser_firstline first", "{}", "{}", "S start;"),
    ],
)
async def test_a_record_without_an_end_is_handed_out_in_pieces_that_are_counted_and_told(
    tmp_path: Path, caplog: pytest.LogCaptureFixture, options: str, part: str, last: str, start: str
) -> None:
    path = tmp_path / "a.log"
    first = RegexParser("first", Regex.parse("^S (?<log>.*)$"))
    write(path, *([start] if start else []), *parts(1, 2000, part))
    append(tmp_path / "b.log", part.format("of another file"))

    with caplog.at_level(logging.WARNING, "shipper"):
        async with Tail(
            f"path {tmp_path}/*.log\nread_from_head on\n{options}",
            parsers={"first": first, "json": JsonParser("json")},
        ) as tail:
            vars(tail.input)["_open_records"].most = 50_000
            tail.read_in_blocks(10_000)
            await tail.until(lambda: tail.count("multiline_truncated_total") >= 1)

    assert "records without an end take too much memory" in caplog.text


async def test_no_part_of_a_record_that_is_cut_is_lost(tmp_path: Path) -> None:
    path = tmp_path / "a.log"
    write(path, *parts(1, 2000, TIME + " stdout P {}"), f"{TIME} stdout F end", f"{TIME} stdout F next")
    append(tmp_path / "b.log", f"{TIME} stdout P of another file ")

    async with Tail(f"path {tmp_path}/*.log\nread_from_head on\nmultiline.parser docker, cri\ntag x.*") as tail:
        vars(tail.input)["_open_records"].most = 50_000
        tail.read_in_blocks(10_000)
        await tail.until(lambda: tail.lines()[-1:] == ["next"])
        append(tmp_path / "b.log", f"{TIME} stdout F whole")
        await tail.until(lambda: "of another file whole" in tail.lines())

    pieces = [body for body in tail.bodies() if body["log"] not in ("next", "of another file whole")]
    assert "".join(body["log"] for body in pieces) == "".join(parts(1, 2000, "{}")) + "end"
    assert len(pieces) - 1 == tail.count("multiline_truncated_total") >= 2
    marked = [r for batch in tail.batches for r in batch.content.records() if r.metadata]
    assert len(marked) == len(pieces) - 1


async def test_a_record_counts_with_all_its_bytes_when_it_is_handed_out(tmp_path: Path) -> None:
    path = tmp_path / "a.log"
    write(path, *parts(1, 500, TIME + " stdout P {}"), f"{TIME} stdout F end")

    async with Tail(f"path {path}\nread_from_head on\nmultiline.parser cri") as tail:
        tail.read_in_blocks(10_000)
        await tail.has(1)

    assert sum(batch.size for batch in tail.batches) == path.stat().st_size


async def test_without_a_database_an_open_record_is_handed_out_at_the_stop_however_young_it_is(tmp_path: Path) -> None:
    path, clock = tmp_path / "a.log", ManualClock()
    write(path, f"{TIME} stdout P open", f"{TIME} stderr F whole")

    async with Tail(f"path {path}\nread_from_head on\nmultiline.parser cri", clock=clock) as tail:
        await time_passes_until(clock, lambda: tail.lines() == ["whole"])

    assert tail.lines() == ["whole", "open"]


async def test_a_record_whose_end_came_while_the_reader_was_held_up_is_whole(tmp_path: Path) -> None:
    path, other, clock = tmp_path / "a.log", tmp_path / "b.log", ManualClock()
    write(path, f"{TIME} stdout P begun ")
    write(other, f"{TIME} stdout F one")

    async with Tail(f"path {tmp_path}/*.log\nread_from_head on\nmultiline.parser cri", clock=clock) as tail:
        await time_passes_until(clock, lambda: tail.lines() == ["one"])
        tail.gate.clear()
        append(other, f"{TIME} stdout F two")
        await time_passes_until(clock, lambda: tail.input._looking.is_held_up)
        append(path, f"{TIME} stdout F ended")
        await clock.advance(60)
        tail.gate.set()
        await time_passes_until(clock, lambda: len(tail.lines()) >= 3)

    assert tail.lines() == ["one", "two", "begun ended"]


def test_the_path_with_the_most_bytes_is_the_one_that_is_too_large() -> None:
    records = OpenRecords(100)
    records.note("/a", 40)
    records.note("/b", 60)
    below = records.too_large()
    records.note("/a", 41)
    above = records.too_large()
    records.note("/b", 0)

    assert (below, above, records.too_large()) == (None, "/b", None)


@pytest.mark.parametrize(("largest", "most"), [(2_097_152, MOST_OPEN_BYTES), (20_000_000, 20_000_000), (0, 0)])
def test_one_record_of_the_largest_size_always_has_room(largest: int, most: int) -> None:
    assert most_open_bytes(largest) == most
