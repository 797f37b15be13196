"""systemd: what becomes of the entries of real journal files."""

from __future__ import annotations

import asyncio
import logging
from pathlib import Path

import pytest

from shipper.errors import ConfigError, OptionError
from shipper.inputs.systemd.input import SystemdInput, SystemdOptions
from shipper.metrics import Metrics
from shipper.record import Body
from shipper.testing import context_of

from ...components.journal import FIRST_US, Fields, JournalFile, Pairs, remove_journal, write_journal
from ...written_options import options_from
from .running import Reading, read_all

UNITS: tuple[Fields, ...] = (
    {"MESSAGE": "0", "_SYSTEMD_UNIT": "a.service", "PRIORITY": "3"},
    {"MESSAGE": "1", "_SYSTEMD_UNIT": "b.service", "PRIORITY": "3"},
    {"MESSAGE": "2", "_SYSTEMD_UNIT": "a.service", "PRIORITY": "6"},
    {"MESSAGE": "3", "PRIORITY": "6"},
)


def numbered(first: int, last: int) -> list[Fields]:
    return [{"MESSAGE": str(number)} for number in range(first, last + 1)]


def texts(first: int, last: int) -> list[str]:
    return [str(number) for number in range(first, last + 1)]


async def test_an_entry_is_a_record_of_strings_with_the_time_of_its_reception(tmp_path: Path) -> None:
    write_journal(tmp_path / "a.journal", {"MESSAGE": "hello", "PRIORITY": "6", "_SOURCE_REALTIME_TIMESTAMP": "1"})
    reading = await read_all(f"path {tmp_path}", 1)

    (record,) = reading.batches[0].records
    assert record.time_ns == FIRST_US * 1000
    assert {name: record.body[name] for name in ("MESSAGE", "PRIORITY", "_SOURCE_REALTIME_TIMESTAMP")} == {
        "MESSAGE": "hello",
        "PRIORITY": "6",
        "_SOURCE_REALTIME_TIMESTAMP": "1",
    }
    assert not any(name.startswith("__") for name in record.body)


@pytest.mark.parametrize(
    ("lines", "expected"),
    [
        ("", ["0", "1", "2", "3"]),
        ("systemd_filter _SYSTEMD_UNIT=a.service", ["0", "2"]),
        ("systemd_filter _SYSTEMD_UNIT=a.service\nsystemd_filter PRIORITY=3", ["0", "1", "2"]),
        ("systemd_filter _SYSTEMD_UNIT=a.service\nsystemd_filter PRIORITY=3\nsystemd_filter_type AND", ["0"]),
        ("systemd_filter _SYSTEMD_UNIT=a.service\nsystemd_filter _SYSTEMD_UNIT=b.service", ["0", "1", "2"]),
        ("systemd_filter PRIORITY=3\nsystemd_filter PRIORITY=6\nsystemd_filter_type and", []),
        ("systemd_filter _SYSTEMD_UNIT=a.*", []),
    ],
)
async def test_filters_are_exact_and_act_together_as_told(tmp_path: Path, lines: str, expected: list[str]) -> None:
    write_journal(tmp_path / "a.journal", *UNITS)
    reading = await read_all(f"path {tmp_path}\n{lines}", len(expected))

    assert reading.messages() == expected


@pytest.mark.parametrize(
    ("tag", "expected"),
    [
        ("tag host", {"host": ["0", "1", "2", "3"]}),
        ("", {"systemd.0": ["0", "1", "2", "3"]}),
        (
            "tag data.systemd.*\nlowercase on\nstrip_underscores on",
            {"data.systemd.a.service": ["0", "2"], "data.systemd.b.service": ["1"], "data.systemd.unknown": ["3"]},
        ),
        ("tag *.x.*", {"a.service.x.*": ["0", "2"], "b.service.x.*": ["1"], "unknown.x.*": ["3"]}),
    ],
)
async def test_the_first_star_of_the_tag_is_the_unit(tmp_path: Path, tag: str, expected: dict[str, list[str]]) -> None:
    write_journal(tmp_path / "a.journal", *UNITS)
    reading = await read_all(f"path {tmp_path}\n{tag}", 4)

    found = {batch.tag: [r.body.get("MESSAGE", r.body.get("message")) for r in batch] for batch in reading.batches}
    assert found == expected


async def test_entries_that_are_there_together_make_batches_of_bounded_size(tmp_path: Path) -> None:
    write_journal(tmp_path / "a.journal", *numbered(1, 25))
    reading = await read_all(f"path {tmp_path}\nmax_entries 10", 25)

    assert [len(batch) for batch in reading.batches] == [10, 10, 5]
    assert reading.messages() == texts(1, 25)


async def test_a_round_ends_at_the_room_that_the_buffer_has(tmp_path: Path) -> None:
    write_journal(tmp_path / "a.journal", *({"MESSAGE": f"{n} {'x' * 1000}"} for n in range(20)))
    reading = await read_all(f"path {tmp_path}", 20, memory_limit=4500)

    assert {len(batch) for batch in reading.batches} == {5}
    assert all(4500 <= batch.size < 5700 for batch in reading.batches)


async def test_entries_that_are_written_later_arrive_soon_and_in_new_files_too(tmp_path: Path) -> None:
    with JournalFile(tmp_path / "a.journal") as journal:
        journal.write(*numbered(1, 3))
        async with Reading(f"path {tmp_path}") as reading:
            await reading.has(3)
            journal.write(*numbered(4, 5))
            await reading.has(5)
            write_journal(tmp_path / "b.journal", *numbered(6, 7), first=100)
            await reading.has(7)

    assert reading.messages() == texts(1, 7)


async def test_from_the_tail_only_what_comes_later_is_read(tmp_path: Path) -> None:
    write_journal(tmp_path / "a.journal", *numbered(-5, -3))
    with JournalFile(tmp_path / "b.journal", 10) as journal:
        journal.write(*numbered(-2, 0))
        async with Reading(f"path {tmp_path}") as before:
            await before.has(6)
        async with Reading(f"path {tmp_path}\nread_from_tail on") as reading:
            assert await reading.is_quiet() == []
            journal.write(*numbered(1, 4))
            await reading.has(4)

    assert reading.messages() == texts(1, 4)


async def test_from_the_tail_of_an_empty_journal_everything_is_read(tmp_path: Path) -> None:
    async with Reading(f"path {tmp_path}\nread_from_tail on") as reading:
        assert await reading.is_quiet(0.05) == []
        write_journal(tmp_path / "a.journal", *numbered(1, 4))
        await reading.has(4)

    assert reading.messages() == texts(1, 4)


async def test_the_journal_goes_on_after_its_files_were_removed_under_the_reader(tmp_path: Path) -> None:
    write_journal(tmp_path / "a.journal", *numbered(1, 3))
    async with Reading(f"path {tmp_path}") as reading:
        await reading.has(3)
        remove_journal(tmp_path)
        write_journal(tmp_path / "b.journal", *numbered(4, 6), first=3)
        await reading.has(6)

    assert reading.messages() == texts(1, 6)


async def test_nothing_is_read_ahead_while_the_buffers_are_full(tmp_path: Path) -> None:
    write_journal(tmp_path / "a.journal", *numbered(1, 30))
    async with Reading(f"path {tmp_path}\nmax_entries 10") as reading:
        reading.gate.clear()
        await reading.is_quiet(0.05)
        before = reading.messages()
        reading.gate.set()
        await reading.has(30)

    assert before == []
    assert reading.messages() == texts(1, 30)


async def test_a_run_that_a_bug_ended_goes_on_behind_what_it_emitted(tmp_path: Path) -> None:
    write_journal(tmp_path / "a.journal", *numbered(1, 30))
    async with Reading(f"path {tmp_path}\nmax_entries 10") as reading:
        await reading.has(10)
        reading.gate.clear()
        await asyncio.sleep(0.05)
        await reading.cancel()
        reading.gate.set()
        reading.start()
        await reading.has(30)

    assert reading.messages() == texts(1, 30)


async def test_values_that_are_no_text_keep_their_bytes_and_are_counted(tmp_path: Path) -> None:
    write_journal(tmp_path / "a.journal", {"MESSAGE": b"a\xff\nb"}, {"MESSAGE": "\ufffd"})
    reading = await read_all(f"path {tmp_path}", 2)
    metrics: Metrics = reading.context.metrics

    assert reading.messages() == ["a\udcff\nb", "\ufffd"]
    assert metrics.total("input_invalid_utf8_records_total") == 1


@pytest.mark.parametrize(
    "lines",
    [
        "systemd_filter nothing",
        "systemd_filter lower=1",
        "systemd_filter __CURSOR=1",
        "systemd_filter =1",
        "systemd_filter_type xor",
        "max_fields many",
        "max_fields 0",
        "max_fields -1",
        "unknown 1",
    ],
)
def test_mistakes_in_the_options_are_told_before_anything_starts(lines: str) -> None:
    with pytest.raises(ConfigError):
        options_from(SystemdOptions, lines, "input")


@pytest.mark.parametrize("name", ["nowhere", "file"])
async def test_a_path_that_is_no_folder_ends_the_start(tmp_path: Path, name: str) -> None:
    (tmp_path / "file").touch()
    one = SystemdInput(options_from(SystemdOptions, f"path {tmp_path / name}", "input"), context_of())

    with pytest.raises(OptionError, match="path"):
        await one.open()
    await one.close()


async def test_an_unknown_db_sync_is_told_and_stops_nothing(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    write_journal(tmp_path / "a.journal", *numbered(1, 2))
    with caplog.at_level(logging.ERROR, "shipper"):
        reading = await read_all(f"path {tmp_path}\ndb {tmp_path}/c.db\ndb.sync often", 2)

    assert reading.messages() == ["1", "2"]
    assert "db.sync" in caplog.text


SEVERAL: Pairs = (
    ("MESSAGE", "test"),
    ("KEY", "value1"),
    ("KEY", "value4"),
    ("KEY2", "value2"),
    ("KEY", "another"),
    ("KEY2", "value3"),
    ("KEY2", "value5"),
    ("KEY3", "howdy"),
    ("KEY3", "prettygood"),
    ("KEY2", "value10"),
    ("KEY3", "wow"),
    ("KEY2", "final_field"),
)


async def test_fields_that_occur_several_times_are_lists_in_the_order_of_the_journal(tmp_path: Path) -> None:
    write_journal(tmp_path / "a.journal", SEVERAL)
    body: Body = (await read_all(f"path {tmp_path}", 1)).bodies()[0]

    assert [item for item in body.items() if item[0] not in ("_BOOT_ID", "_MACHINE_ID")] == [
        ("MESSAGE", "test"),
        ("KEY", ["value1", "value4", "another"]),
        ("KEY2", ["value2", "value3", "value5", "value10", "final_field"]),
        ("KEY3", ["howdy", "prettygood", "wow"]),
    ]


async def test_a_list_stands_behind_what_came_before_its_second_value(tmp_path: Path) -> None:
    """In the order of Fluent Bit."""
    fields: Pairs = (("_FOO", "1"), ("BAR", "x"), ("BAZ", "1"), ("FOO", "2"), ("BAR", "y"), ("Q", "1"))
    write_journal(tmp_path / "a.journal", fields)
    body: Body = (await read_all(f"path {tmp_path}\nstrip_underscores on", 1)).bodies()[0]

    assert [item for item in body.items() if item[0] not in ("BOOT_ID", "MACHINE_ID")] == [
        ("BAZ", "1"),
        ("FOO", ["1", "2"]),
        ("BAR", ["x", "y"]),
        ("Q", "1"),
    ]
