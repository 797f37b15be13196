"""File events are hints: what is done with them, with none at all, and when the queue of the system overflows."""

from __future__ import annotations

import errno
import os
from collections.abc import Iterator
from pathlib import Path

import pytest
from inotify_simple import Event, flags

from shipper.inputs.tail.notify import Notifier
from shipper.log import Log

from .running import Tail, append, write


class ScriptedEvents:
    """Stands for the system's queue of events; only what the test tells happens."""

    made: list[ScriptedEvents]

    def __init__(self, nonblocking: bool = True) -> None:
        self.watched: dict[int, str] = {}
        self._events: list[Event] = []
        self._fd = os.eventfd(0, os.EFD_NONBLOCK)
        self.made.append(self)

    def fileno(self) -> int:
        return self._fd

    def add_watch(self, path: str, mask: int) -> int:
        number = len(self.watched) + 1
        self.watched[number] = os.path.realpath(path)
        return number

    def rm_watch(self, handle: int) -> None:
        del self.watched[handle]

    def read(self, timeout: int) -> list[Event]:
        os.eventfd_read(self._fd)
        events, self._events = self._events, []
        return events

    def close(self) -> None:
        os.close(self._fd)

    def tell(self, mask: int, path: Path | None = None) -> None:
        """Let an event happen; one of no path is one of the queue itself."""
        handle = -1 if path is None else next(n for n, name in self.watched.items() if name == str(path))
        self._events.append(Event(handle, int(mask), 0, ""))
        os.eventfd_write(self._fd, 1)


@pytest.fixture
def events(monkeypatch: pytest.MonkeyPatch) -> Iterator[list[ScriptedEvents]]:
    """The queues that are opened in the test."""
    ScriptedEvents.made = []
    monkeypatch.setattr("shipper.inputs.tail.notify.INotify", ScriptedEvents)
    yield ScriptedEvents.made


RARELY = "refresh_interval 60\nprogress_check_interval 60\nrotate_wait 60"
"""Without events hardly anything would be looked at."""


async def test_an_overflow_of_the_queue_has_every_file_looked_at(tmp_path: Path, events: list[ScriptedEvents]) -> None:
    logs = [tmp_path / f"{number}.log" for number in range(3)]
    for log in logs:
        write(log, f"first of {log.stem}")

    async with Tail(f"path {tmp_path}/*.log\nread_from_head on\n{RARELY}") as tail:
        await tail.has(3)
        for log in logs:
            append(log, f"second of {log.stem}")
        logs[0].rename(tmp_path / "0.log.1")
        write(logs[0], "third of 0")
        write(tmp_path / "new.log", "first of new")
        events[0].tell(flags.Q_OVERFLOW)
        lines = await tail.has(8)

    assert sorted(lines[3:]) == [
        *("first of new", "second of 0", "second of 1", "second of 2", "third of 0"),
    ]
    assert lines.index("second of 0") < lines.index("third of 0")


async def test_an_event_has_its_file_read_at_once(tmp_path: Path, events: list[ScriptedEvents]) -> None:
    told, untold = tmp_path / "told.log", tmp_path / "untold.log"
    write(told, "1")
    write(untold, "1")

    async with Tail(f"path {tmp_path}/*.log\nread_from_head on\n{RARELY}") as tail:
        await tail.has(2)
        await tail.is_quiet(0.3)  # both were read to their end, and wait for events
        append(told, "2 of told")
        append(untold, "2 of untold")
        events[0].tell(flags.MODIFY, told)
        lines = await tail.is_quiet(0.3)

    assert lines[2:] == ["2 of told"]


async def test_a_file_without_events_is_looked_at_regularly(tmp_path: Path, events: list[ScriptedEvents]) -> None:
    log = tmp_path / "a.log"
    write(log, "1")

    async with Tail(f"path {log}\nread_from_head on\nprogress_check_interval 0.2") as tail:
        await tail.has(1)
        append(log, "2")
        lines = await tail.has(2)

    assert lines == ["1", "2"]
    assert events[0].watched


class NoEvents:
    """A system that has no room for another queue, or for another watch."""

    def __init__(self, nonblocking: bool = True) -> None:
        raise OSError(errno.EMFILE, os.strerror(errno.EMFILE))


async def test_without_file_events_everything_is_read_all_the_same(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr("shipper.inputs.tail.notify.INotify", NoEvents)
    write(tmp_path / "a.log", "1")

    async with Tail(f"path {tmp_path}/*.log\nread_from_head on") as tail:
        await tail.has(1)
        append(tmp_path / "a.log", "2")
        write(tmp_path / "b.log", "3")
        lines = await tail.has(3)

    assert sorted(lines) == ["1", "2", "3"]
    assert caplog.text.count("file events are not available") == 1


INOTIFY, PERMISSIONS = "fs.inotify.max_user_watches", "DAC_READ_SEARCH"


@pytest.mark.parametrize(
    ("number", "told", "not_told"),
    [(errno.ENOSPC, INOTIFY, PERMISSIONS), (errno.EACCES, PERMISSIONS, INOTIFY), (errno.EPERM, PERMISSIONS, INOTIFY)],
)
async def test_a_watch_that_the_system_refuses_is_told_with_the_remedy(
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    events: list[ScriptedEvents],
    caplog: pytest.LogCaptureFixture,
    number: int,
    told: str,
    not_told: str,
) -> None:
    def refuse(self: ScriptedEvents, path: str, mask: int) -> int:
        raise OSError(number, os.strerror(number))

    monkeypatch.setattr(ScriptedEvents, "add_watch", refuse)
    notifier = Notifier(lambda path: None, lambda: None, Log(""))
    notifier.open()
    with (tmp_path / "a.log").open("w") as file:
        handle = notifier.watch_file("/logs/a.log", file.fileno())
    notifier.watch_folders(["/logs"])
    notifier.close()

    assert handle is None
    of_file, of_folder = (record.getMessage() for record in caplog.records)
    assert "no file events for /logs/a.log;" in of_file
    assert "no file events for /logs;" in of_folder
    assert told in of_file
    assert told in of_folder
    assert not_told not in caplog.text


async def test_a_file_where_the_pattern_has_a_folder_is_no_trouble(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    write(tmp_path / "file", "x")
    notifier = Notifier(lambda path: None, lambda: None, Log(""))
    notifier.open()
    notifier.watch_folders([str(tmp_path / "file")])
    notifier.close()

    assert caplog.text == ""
