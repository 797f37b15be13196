"""systemd: the cursor is saved when everything before it is settled, where Fluent Bit saves it."""

from __future__ import annotations

import asyncio
import logging
import sqlite3
import stat
from contextlib import closing
from pathlib import Path

import pytest
from systemd._reader import _Reader

from shipper.inputs.systemd.cursors import CursorOrder, CursorStore
from shipper.log import Log

from ...components.journal import Fields, JournalFile, remove_journal, write_journal
from .running import Reading, read_all, saved_cursors


def numbered(first: int, last: int) -> list[Fields]:
    return [{"MESSAGE": str(number)} for number in range(first, last + 1)]


def texts(first: int, last: int) -> list[str]:
    return [str(number) for number in range(first, last + 1)]


def table(db: Path, *cursors: str) -> None:
    """The table as Fluent Bit makes it."""
    connection = sqlite3.connect(db, isolation_level=None)
    connection.execute("CREATE TABLE IF NOT EXISTS in_systemd_cursor (cursor TEXT NOT NULL, updated INTEGER)")
    connection.executemany("INSERT INTO in_systemd_cursor VALUES (?, 1700000000)", [(c,) for c in cursors])
    connection.close()


def test_a_new_database_is_for_us_alone(tmp_path: Path) -> None:
    store = CursorStore(str(tmp_path / "c.db"), "normal", Log(""))
    store.open()
    store.close()

    assert stat.S_IMODE((tmp_path / "c.db").stat().st_mode) == 0o600


async def test_a_restart_goes_on_behind_the_saved_entry_even_with_read_from_tail(tmp_path: Path) -> None:
    lines = f"path {tmp_path}\ndb {tmp_path}/c.db"
    with JournalFile(tmp_path / "a.journal") as journal:
        journal.write(*numbered(1, 5))
        first = await read_all(lines, 5)
        journal.write(*numbered(6, 9))
        second = await read_all(f"{lines}\nread_from_tail on", 4)

    assert (first.messages(), second.messages()) == (texts(1, 5), texts(6, 9))
    assert len(saved_cursors(tmp_path / "c.db")) == 1


async def test_what_was_not_settled_is_read_again(tmp_path: Path) -> None:
    lines = f"path {tmp_path}\ndb {tmp_path}/c.db\nmax_entries 2"
    write_journal(tmp_path / "a.journal", *numbered(1, 8))
    async with Reading(lines, is_settling=False) as reading:
        await reading.has(8)
        for number in (1, 0, 3):
            reading.batches[number].receipt.settle()
    again = await read_all(lines, 4)

    assert again.messages() == texts(5, 8)


async def test_a_round_is_safe_when_the_batches_of_all_its_tags_are(tmp_path: Path) -> None:
    lines = f"path {tmp_path}\ndb {tmp_path}/c.db\ntag x.*"
    write_journal(tmp_path / "a.journal", *({"MESSAGE": n, "_SYSTEMD_UNIT": n} for n in "abc"))
    async with Reading(lines, is_settling=False) as reading:
        await reading.has(3)
        reading.batches[0].receipt.settle()
        reading.batches[2].receipt.settle()
    again = await read_all(lines, 3)

    assert again.messages() == ["a", "b", "c"]


async def test_a_cursor_is_saved_while_the_input_runs(tmp_path: Path) -> None:
    write_journal(tmp_path / "a.journal", *numbered(1, 3))
    async with Reading(f"path {tmp_path}\ndb {tmp_path}/c.db", is_settling=False) as reading:
        await reading.has(3)
        before = saved_cursors(tmp_path / "c.db")
        reading.batches[0].receipt.settle()
        await reading.is_quiet(0.1)
        after = saved_cursors(tmp_path / "c.db")

    assert before == ["(null)"]
    assert after != before


async def test_the_tail_where_reading_began_is_saved_at_once(tmp_path: Path) -> None:
    """So what comes between is not lost if it is killed before anything was delivered."""
    lines = f"path {tmp_path}\ndb {tmp_path}/c.db\nread_from_tail on"
    with JournalFile(tmp_path / "a.journal") as journal:
        journal.write(*numbered(1, 3))
        await asyncio.sleep(0.1)
        async with Reading(lines) as reading:
            await reading.is_quiet(0.05)
        journal.write(*numbered(4, 5))
        again = await read_all(lines, 2)

    assert (reading.messages(), again.messages()) == ([], ["4", "5"])


OTHERS: list[Fields] = [{"MESSAGE": "other", "_SYSTEMD_UNIT": "other.service"}] * 3
OTHER = "\nsystemd_filter _SYSTEMD_UNIT=other.service"
KUBELET = "\nsystemd_filter _SYSTEMD_UNIT=kubelet.service"


def kubelets(first: int, last: int) -> list[Fields]:
    return [{**fields, "_SYSTEMD_UNIT": "kubelet.service"} for fields in numbered(first, last)]


@pytest.mark.parametrize(("lines", "before"), [("", []), (KUBELET, []), (KUBELET, OTHERS)])
@pytest.mark.parametrize("is_stopped", [True, False], ids=["stopped", "killed"])
async def test_what_comes_after_a_start_at_a_tail_where_nothing_stands_is_owed(
    tmp_path: Path, lines: str, before: list[Fields], is_stopped: bool
) -> None:
    logs, db = tmp_path / "logs", tmp_path / "c.db"
    logs.mkdir()
    lines = f"path {logs}\ndb {db}\nread_from_tail on{lines}"
    write_journal(logs / "a.journal", *before)
    async with Reading(lines, is_settling=False) as reading:
        saved = db.read_bytes()  # as a kill would leave it before anything has come
        write_journal(logs / "b.journal", *kubelets(1, 5), *OTHERS, first=10)
        await reading.has(5)
    if not is_stopped:
        db.write_bytes(saved)
    again = await read_all(lines, 5)

    assert again.messages()[:5] == texts(1, 5)
    assert "other" not in reading.messages() + again.messages() or KUBELET not in lines


async def test_a_start_at_a_tail_with_no_match_is_a_cursor_that_the_library_knows(tmp_path: Path) -> None:
    """Fluent Bit seeks to it, too, and would begin at the new tail with one that is none."""
    async with Reading(f"path {tmp_path}\nread_from_tail on\ndb {tmp_path}/c.db"):
        (cursor,) = saved_cursors(tmp_path / "c.db")
    write_journal(tmp_path / "a.journal", *numbered(1, 2))
    with closing(_Reader(flags=0, path=str(tmp_path))) as journal:
        journal.seek_cursor(cursor)

        assert journal._next()
        assert journal._get_all()["MESSAGE"] == b"1"


@pytest.mark.parametrize(
    ("first", "second"),
    [("", KUBELET), (OTHER, KUBELET), (KUBELET, ""), (KUBELET, KUBELET)],
)
async def test_other_filters_than_last_time_are_no_loss_and_none_is_told(
    tmp_path: Path, caplog: pytest.LogCaptureFixture, first: str, second: str
) -> None:
    logs = tmp_path / "logs"
    logs.mkdir()
    lines = f"path {logs}\ndb {tmp_path}/c.db"
    write_journal(logs / "a.journal", *kubelets(1, 3), *OTHERS[:1])
    async with Reading(lines + first) as reading:
        await reading.has(1)
        await reading.is_quiet(0.05)
    write_journal(logs / "b.journal", *kubelets(4, 6), first=100)
    with caplog.at_level(logging.WARNING, "shipper"):
        again = await read_all(lines + second, 3)

    assert again.messages()[-3:] == texts(4, 6)
    assert "is gone" not in caplog.text


async def test_with_a_filter_too_it_is_told_that_the_saved_entry_is_gone(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    logs = tmp_path / "logs"
    logs.mkdir()
    lines = f"path {logs}\ndb {tmp_path}/c.db{KUBELET}"
    write_journal(logs / "a.journal", *kubelets(1, 3))
    await read_all(lines, 3)
    remove_journal(logs)
    write_journal(logs / "b.journal", *OTHERS, *kubelets(4, 6), first=100)
    with caplog.at_level(logging.WARNING, "shipper"):
        again = await read_all(lines, 3)

    assert again.messages() == texts(4, 6)
    assert "the entry that was read last is gone" in caplog.text


async def test_without_the_saved_entry_reading_goes_on_with_the_one_after_it(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    lines = f"path {tmp_path}/logs\ndb {tmp_path}/c.db"
    logs = tmp_path / "logs"
    logs.mkdir()
    write_journal(logs / "a.journal", *numbered(1, 3))
    await read_all(lines, 3)
    remove_journal(logs)
    write_journal(logs / "b.journal", *numbered(4, 6), first=100)
    with caplog.at_level(logging.WARNING, "shipper"):
        again = await read_all(lines, 3)

    assert again.messages() == texts(4, 6)
    assert "the entry that was read last is gone" in caplog.text


async def test_without_the_saved_entry_and_any_after_it_later_ones_are_read(tmp_path: Path) -> None:
    logs = tmp_path / "logs"
    logs.mkdir()
    lines = f"path {logs}\ndb {tmp_path}/c.db"
    write_journal(logs / "a.journal", *numbered(1, 3))
    await read_all(lines, 3)
    remove_journal(logs)
    async with Reading(lines) as reading:
        assert await reading.is_quiet(0.05) == []
        write_journal(logs / "b.journal", *numbered(4, 6), first=100)
        await reading.has(3)

    assert reading.messages() == texts(4, 6)


@pytest.mark.parametrize("cursor", ["(null)", "garbage", ""])
async def test_a_cursor_that_is_none_begins_at_the_head(tmp_path: Path, cursor: str) -> None:
    table(tmp_path / "c.db", cursor)
    write_journal(tmp_path / "a.journal", *numbered(1, 3))
    reading = await read_all(f"path {tmp_path}\ndb {tmp_path}/c.db", 3)

    assert reading.messages() == texts(1, 3)
    assert saved_cursors(tmp_path / "c.db") != [cursor]


def test_of_several_rows_the_newest_stays(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    table(tmp_path / "c.db", "old", "older", "newest")
    store = CursorStore(str(tmp_path / "c.db"), None, Log(""))
    with caplog.at_level(logging.WARNING, "shipper"):
        cursor = store.open()
    store.save("next")
    store.close()

    assert cursor == "newest"
    assert saved_cursors(tmp_path / "c.db") == ["next"]
    assert "several cursors" in caplog.text


@pytest.mark.parametrize(("sync", "expected"), [("extra", 3), ("FULL", 2), ("normal", 1), ("off", 0), ("odd", 2)])
def test_the_synchronous_mode_is_that_of_the_option(tmp_path: Path, sync: str, expected: int) -> None:
    store = CursorStore(str(tmp_path / "c.db"), sync, Log(""))
    store.open()
    found = vars(store)["_db"].execute("PRAGMA synchronous").fetchone()[0]
    store.close()

    assert found == expected


async def test_without_a_database_that_can_be_opened_it_reads_all_the_same(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    write_journal(tmp_path / "a.journal", *numbered(1, 3))
    with caplog.at_level(logging.ERROR, "shipper"):
        reading = await read_all(f"path {tmp_path}\ndb {tmp_path}/nowhere/c.db", 3)

    assert reading.messages() == texts(1, 3)
    assert "cannot be opened" in caplog.text


def test_a_saved_cursor_that_is_no_text_is_no_lock(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    with closing(sqlite3.connect(tmp_path / "c.db", isolation_level=None)) as connection:
        connection.execute("CREATE TABLE in_systemd_cursor (cursor TEXT NOT NULL, updated INTEGER)")
        connection.execute("INSERT INTO in_systemd_cursor VALUES (CAST(x'ff' AS TEXT), 1)")
    store = CursorStore(str(tmp_path / "c.db"), None, Log(""))
    with caplog.at_level(logging.ERROR, "shipper"):
        cursor = store.open()

    assert (cursor, store.is_locked_out) == (None, False)
    assert "cannot be opened" in caplog.text


def test_a_damaged_database_is_moved_aside(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    db = tmp_path / "c.db"
    db.write_bytes(b"no database " * 100)
    store = CursorStore(str(db), None, Log(""))
    with caplog.at_level(logging.ERROR, "shipper"):
        cursor = store.open()
    store.save("c")
    store.close()

    assert cursor is None
    assert saved_cursors(db) == ["c"]
    assert [path.read_bytes()[:2] for path in tmp_path.glob("c.db.damaged-*")] == [b"no"]


def test_a_cursor_that_cannot_be_written_is_tried_again(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    store = CursorStore(str(tmp_path / "c.db"), None, Log(""))
    store.open()
    vars(store)["_db"].execute("PRAGMA busy_timeout=0")
    other = sqlite3.connect(tmp_path / "c.db", isolation_level=None)
    other.execute("BEGIN IMMEDIATE")
    with caplog.at_level(logging.ERROR, "shipper"):
        is_saved = store.save("c")
    other.execute("ROLLBACK")
    other.close()

    assert not is_saved
    assert "cannot be written" in caplog.text
    assert store.save("c")
    store.close()
    assert saved_cursors(tmp_path / "c.db") == ["c"]


@pytest.mark.parametrize("from_tail", ["on", "off"])
@pytest.mark.parametrize("is_first", [True, False], ids=["first", "again"])
async def test_a_database_that_is_locked_at_the_start_is_waited_for(
    tmp_path: Path, caplog: pytest.LogCaptureFixture, from_tail: str, is_first: bool
) -> None:
    logs, db = tmp_path / "logs", tmp_path / "c.db"
    logs.mkdir()
    write_journal(logs / "a.journal", *numbered(1, 3))
    if not is_first:
        await read_all(f"path {logs}\ndb {db}", 3)
    lock = sqlite3.connect(db, isolation_level=None)
    lock.execute("BEGIN EXCLUSIVE")
    with caplog.at_level(logging.ERROR, "shipper"):
        async with Reading(f"path {logs}\ndb {db}\nread_from_tail {from_tail}") as reading:
            write_journal(logs / "b.journal", *numbered(4, 6), first=100)
            unread = await reading.is_quiet()
            lock.close()
            expected = texts(1 if is_first and from_tail == "off" else 4, 6)
            await reading.has(len(expected))
    again = await read_all(f"path {logs}\ndb {db}", 0)

    assert "locked by another program" in caplog.text
    assert unread == []
    assert reading.messages() == expected
    assert again.messages() == []


@pytest.mark.parametrize("from_tail", ["on", "off"])
@pytest.mark.parametrize("db", ["", "\ndb {0}/c.db", "\ndb {0}/nowhere/c.db"], ids=["none", "one", "unopened"])
async def test_at_a_reload_it_goes_on_behind_what_was_settled(tmp_path: Path, from_tail: str, db: str) -> None:
    lines = f"path {tmp_path}\nmax_entries 2\nread_from_tail {from_tail}{db.format(tmp_path)}"
    write_journal(tmp_path / "a.journal", *numbered(1, 3))
    async with Reading(lines, is_settling=False) as one:
        write_journal(tmp_path / "b.journal", *numbered(4, 8), first=100)
        await one.has(5 if from_tail == "on" else 8)
        for batch in one.batches[:-1]:
            batch.receipt.settle()
    left = [record.body["MESSAGE"] for record in one.batches[-1]]
    write_journal(tmp_path / "c.journal", *numbered(9, 10), first=200)
    two = await read_after(one, lines, left + texts(9, 10))
    # One to which nothing new came hands on what was handed to it.
    three = await read_after(two, lines, [])
    write_journal(tmp_path / "d.journal", *numbered(11, 12), first=300)
    await read_after(three, lines, texts(11, 12))


async def read_after(before: Reading, lines: str, expected: list[str]) -> Reading:
    """The input that took the place of another one, has read exactly this, and was stopped."""
    reading = await read_all(lines, len(expected), before=before)

    assert reading.messages() == expected
    return reading


@pytest.mark.parametrize("more", ["\ntag other", KUBELET, f"{KUBELET}\nsystemd_filter A=1\nsystemd_filter_type and"])
async def test_at_a_reload_an_input_of_something_else_begins_as_ever(tmp_path: Path, more: str) -> None:
    write_journal(tmp_path / "a.journal", *({**fields, "A": "1"} for fields in kubelets(1, 3)))
    one = await read_all(f"path {tmp_path}", 3)

    await read_after(one, f"path {tmp_path}{more}", texts(1, 3))


@pytest.mark.parametrize("is_saved", [True, False])
async def test_at_a_reload_with_the_database_locked_it_begins_at_the_tail_of_the_first_start_or_what_was_saved(
    tmp_path: Path, is_saved: bool
) -> None:
    logs, db = tmp_path / "logs", tmp_path / "c.db"
    logs.mkdir()
    lines = f"path {logs}\ndb {db}\nread_from_tail on"
    write_journal(logs / "a.journal", *numbered(1, 3))
    if is_saved:
        await read_all(lines, 0)
        write_journal(logs / "b.journal", *numbered(4, 6), first=100)
    lock = sqlite3.connect(db, isolation_level=None)
    lock.execute("BEGIN EXCLUSIVE")
    one = await read_all(lines, 0)
    write_journal(logs / "c.journal", *numbered(7, 9), first=200)
    two = await read_all(lines, 0, before=one)
    write_journal(logs / "d.journal", *numbered(10, 12), first=300)
    expected = texts(4 if is_saved else 7, 12)
    async with Reading(lines, before=two) as three:
        lock.close()
        await three.has(len(expected))

    assert two.messages() == []
    assert three.messages() == expected


async def test_what_was_handed_over_is_not_held_up_by_a_database_that_is_locked(tmp_path: Path) -> None:
    logs, db = tmp_path / "logs", tmp_path / "c.db"
    logs.mkdir()
    lines = f"path {logs}\ndb {db}"
    write_journal(logs / "a.journal", *numbered(1, 3))
    one = await read_all(lines, 3)
    before = saved_cursors(db)
    lock = sqlite3.connect(db, isolation_level=None)
    lock.execute("BEGIN EXCLUSIVE")
    async with Reading(lines, before=one) as two:
        write_journal(logs / "b.journal", *numbered(4, 6), first=100)
        await two.has(3)
        lock.close()

    assert two.messages() == texts(4, 6)
    assert saved_cursors(db) != before


@pytest.mark.parametrize(
    ("settled", "expected"),
    [("", None), ("b", None), ("a", None), ("aa", "1"), ("baa", "2"), ("aabcc", "3"), ("ccb", None), ("ccbaa", "3")],
)
def test_cursors_take_effect_in_order(settled: str, expected: str | None) -> None:
    moves: list[str | None] = []
    order = CursorOrder(lambda: moves.append(order.safe))
    settle = {"a": order.begin("1", 2), "b": order.begin("2", 1), "c": order.begin("3", 2)}
    for name in settled:
        settle[name]()

    assert order.safe == expected
    assert moves == sorted(set(moves), key=str)


def test_an_abandoned_round_holds_nothing_up_and_moves_nothing() -> None:
    order = CursorOrder(lambda: None)
    settle = order.begin("1", 2)
    order.abandon_last()
    settle()
    settle()
    again = order.begin("1b", 1)

    assert order.safe is None
    again()
    assert order.safe == "1b"


async def test_a_second_run_knows_that_the_saved_cursor_was_none(tmp_path: Path) -> None:
    table(tmp_path / "c.db", "garbage")
    write_journal(tmp_path / "a.journal", *numbered(1, 3))
    async with Reading(f"path {tmp_path}\ndb {tmp_path}/c.db") as reading:
        reading.gate.clear()
        await reading.cancel()
        reading.gate.set()
        reading.start()
        await reading.has(3)

    assert reading.messages() == texts(1, 3)
