"""Records without an end: they are cut when they take too much memory, and no text is lost by that."""

from __future__ import annotations

import logging
from pathlib import Path

import pytest

from shipper.inputs.tail.open_records import MOST_OPEN_BYTES, OpenRecords, most_open_bytes
from shipper.parsers.json import JsonParser
from shipper.parsers.onigmo import Regex
from shipper.parsers.regex import RegexParser

from .running import Tail, append, write

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
