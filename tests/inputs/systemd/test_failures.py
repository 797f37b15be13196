"""systemd: a journal that cannot be read for a while, at any step."""

from __future__ import annotations

import logging
import os
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import systemd._reader

from shipper.errors import OptionError
from shipper.inputs.systemd import fields
from shipper.inputs.systemd.entries import EntryReader, TagOfUnit
from shipper.inputs.systemd.input import SystemdInput, SystemdOptions
from shipper.inputs.systemd.journal import Journal, Round, Where
from shipper.log import Log
from shipper.testing import context_of
from tests.components.rights import DAC_READ_SEARCH, another_user, open_folder

from ...components.journal import Fields, JournalFile, write_journal
from ...written_options import options_from
from .running import Reading

REAL = systemd._reader._Reader
CALLS = ("_next", "_get_all", "_get_realtime", "_get_cursor", "process", "seek_cursor", "test_cursor")


def numbered(first: int, last: int) -> list[Fields]:
    return [{"MESSAGE": str(number)} for number in range(first, last + 1)]


def texts(first: int, last: int) -> list[str]:
    return [str(number) for number in range(first, last + 1)]


class Faults:
    """Lets the calls into the library fail whose numbers, counted over all of the named ones, are in `at`."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch, at: range, calls: tuple[str, ...] = CALLS) -> None:
        self.made = 0
        self.at = at
        faults = self

        class Failing(REAL):  # type: ignore[misc, valid-type]  # the library has no types
            def __getattribute__(self, name: str) -> Any:
                found = super().__getattribute__(name)
                if name in calls:
                    faults.made += 1
                    if faults.made in faults.at:
                        raise OSError(5, f"{name} failed on purpose")
                return found

        monkeypatch.setattr(systemd._reader, "_Reader", Failing)

    @property
    def have_happened(self) -> bool:
        return self.made >= self.at.stop - 1


def rounds(journal: Journal) -> Iterator[Round]:
    """Read in rounds of three, until one has come to the end without an error."""
    while True:
        found = journal.read(3, 1_000_000)
        yield found
        if found.is_last and found.error is None:
            return


def journal_of(folder: Path, *, read_from_tail: bool = False) -> Journal:
    reader = EntryReader(lowercase=False, strip_underscores=False, max_fields=8000)
    return Journal(Where(path=str(folder), read_from_tail=read_from_tail), reader, TagOfUnit("t"), Log(""))


@pytest.mark.parametrize("length", [1, 2, 5])
def test_after_a_failure_at_any_step_every_entry_comes_once(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, length: int
) -> None:
    write_journal(tmp_path / "a.journal", *numbered(1, 7))
    step = 0
    while True:
        step += 1
        with monkeypatch.context() as patch:
            faults = Faults(patch, range(step, step + length), tuple(c for c in CALLS if c[:5] != "_get_"))
            journal = journal_of(tmp_path)
            journal.open(None)
            found = [r.body["MESSAGE"] for one in rounds(journal) for batch in one.batches for r in batch.records]
            journal.close()
        assert found == texts(1, 7), step
        if not faults.have_happened:
            break

    assert step > 10


def test_a_cursor_that_cannot_be_told_lets_its_entries_be_read_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    write_journal(tmp_path / "a.journal", *numbered(1, 7))
    Faults(monkeypatch, range(1, 2), ("_get_cursor",))
    journal = journal_of(tmp_path)
    journal.open(None)
    found = [[r.body["MESSAGE"] for batch in one.batches for r in batch.records] for one in rounds(journal)]
    journal.close()

    assert found == [[], ["1", "2", "3"], ["4", "5", "6"], ["7"]]


def test_an_entry_that_cannot_be_read_is_left_out_and_counted(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    write_journal(tmp_path / "a.journal", *numbered(1, 3))
    Faults(monkeypatch, range(2, 3), ("_get_realtime",))
    journal = journal_of(tmp_path)
    journal.open(None)
    one, _ = rounds(journal)
    journal.close()

    assert [r.body["MESSAGE"] for batch in one.batches for r in batch.records] == ["1", "3"]
    assert one.broken == 1


def test_a_failure_before_the_first_entry_does_not_lead_to_the_tail_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    journal = journal_of(tmp_path, read_from_tail=True)
    Faults(monkeypatch, range(2, 3), ("process",))
    journal.open(None)
    assert [one.batches for one in rounds(journal)] == [[]]
    write_journal(tmp_path / "a.journal", *numbered(1, 3))
    found = [r.body["MESSAGE"] for one in rounds(journal) for batch in one.batches for r in batch.records]
    journal.close()

    assert found == texts(1, 3)


async def test_a_datum_that_is_no_field_is_left_out_and_told_and_the_others_stay(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    broken = [("MESSAGE", "2"), ("BROKEN", "x"), ("A", "1"), ("B", "2"), ("A", "3"), ("_SYSTEMD_UNIT", "u")]
    write_journal(tmp_path / "a.journal", *numbered(1, 1), broken, *numbered(3, 3))
    damage(tmp_path / "a.journal", b"BROKEN=x", b"BROKEN?x")
    with caplog.at_level(logging.ERROR, "shipper"):
        async with Reading(f"path {tmp_path}\ntag t.*") as reading:
            await reading.has(3)
    metrics = reading.context.metrics
    bodies = {body["MESSAGE"]: list(body.items())[-4:] for body in reading.bodies()}

    assert bodies["2"] == [("MESSAGE", "2"), ("B", "2"), ("A", ["1", "3"]), ("_SYSTEMD_UNIT", "u")]
    assert sorted(bodies) == texts(1, 3)
    assert "Skip 1 broken entries" in caplog.text
    assert metrics.by_label("input_dropped_records_total", "reason") == {}
    assert {batch.tag for batch in reading.batches} == {"t.unknown", "t.u"}


def damage(path: Path, written: bytes, instead: bytes) -> None:
    """Let a journal file have something else, of the same size, where this was written."""
    data = path.read_bytes()
    assert data.count(written) == 1
    path.write_bytes(data.replace(written, instead))


async def test_the_order_of_fields_that_occur_again_is_kept_by_what_the_library_does_not_tell(tmp_path: Path) -> None:
    write_journal(tmp_path / "a.journal", [("A", "1"), ("B", "2"), ("A", "3"), ("C", "4"), ("A", "5")])
    async with Reading(f"path {tmp_path}\nmax_fields 6") as reading:
        (body,) = await reading.has(1)

    assert list(body.items())[2:] == [("B", "2"), ("A", ["1", "3"]), ("C", "4")]


async def test_a_library_whose_readers_are_made_otherwise_gives_groups(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(fields, "_ONE_POINTER", 2 * fields._ONE_POINTER)
    write_journal(tmp_path / "a.journal", [("A", "1"), ("B", "2"), ("A", "3")])
    async with Reading(f"path {tmp_path}") as reading:
        (body,) = await reading.has(1)

    assert list(body.items())[2:] == [("A", ["1", "3"]), ("B", "2")]


async def test_the_input_tells_and_counts_what_failed_and_goes_on(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    Faults(monkeypatch, range(3, 4), ("_next",))
    Faults(monkeypatch, range(2, 3), ("_get_realtime",))
    with caplog.at_level(logging.ERROR, "shipper"), JournalFile(tmp_path / "a.journal") as journal:
        journal.write(*numbered(1, 6))
        async with Reading(f"path {tmp_path}") as reading:
            await reading.has(5)
    metrics = reading.context.metrics

    assert reading.messages() == ["1", "3", "4", "5", "6"]
    assert metrics.by_label("input_dropped_records_total", "reason") == {"broken_entry": 1}
    assert "Skip 1 broken entries" in caplog.text


async def test_without_the_library_the_start_ends_with_a_remedy(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "systemd._reader", None)
    one = SystemdInput(SystemdOptions(), context_of())

    with pytest.raises(OptionError, match="systemd-python") as caught:
        await one.open()
    await one.close()
    assert "shipper[systemd]" in caught.value.remedy


@pytest.mark.parametrize(
    ("capability", "is_told"),
    [
        (None, True),
        pytest.param(
            DAC_READ_SEARCH,
            False,
            marks=pytest.mark.skipif(os.geteuid() != 0, reason="takes root to give a capability"),
        ),
    ],
)
async def test_files_that_may_not_be_read_are_told(
    caplog: pytest.LogCaptureFixture, capability: int | None, is_told: bool
) -> None:
    with open_folder() as folder:
        (folder / "machine").mkdir()
        write_journal(folder / "machine" / "a.journal", *numbered(1, 1))
        (folder / "machine" / "a.journal").chmod(0)
        one = SystemdInput(options_from(SystemdOptions, f"path {folder}", "input"), context_of())
        with caplog.at_level(logging.WARNING, "shipper"), another_user(capability):
            await one.open()
            await one.close()

    assert ("1 of 1 journal files cannot be read" in caplog.text) is is_told
