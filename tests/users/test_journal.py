"""Users' rows S1, S3 and S4 for the journal: what a kill, a stop or a dead destination leave undone is not lost.

The journal is a folder of real files that systemd-journal-remote writes; it rotates by going on in a new file. What
was delivered and not yet saved comes twice after a kill, and nothing else does.
"""

from __future__ import annotations

import os
import random
import sqlite3
import threading
import time
from collections.abc import Callable
from contextlib import closing
from pathlib import Path
from types import TracebackType
from typing import Self

import pytest

from tests.components.generator import Manifest, message
from tests.components.journal import JournalFile, remove_journal
from tests.components.shipper_process import ShipperProcess
from tests.faults.audit import Audit, Verdict
from tests.faults.ledger import Entry, assert_balanced

UNITS = "".join(f"    systemd_filter _SYSTEMD_UNIT=unit{n}.service\n" for n in range(3))
"""Options of the input to read what `Host.write` writes, and nothing else."""

_PATIENCE_S = 30.0
_STREAM = "journal:stdout"
_FLUSH_S = 0.1
_SAVED_WITHIN_S = 0.5
"""A delivered cursor is in the database at latest so long after its delivery, on a busy machine too."""


class Host:
    """A machine with a journal and a shipper; a context manager that leaves no process behind.

    `input` are further options of the input, `output` of the output, which is a file with one message a line. It is
    closed by taking its folder away.
    """

    def __init__(self, folder: Path, *, input: str = "", service: str = "") -> None:
        self.folder = folder
        self.journal = folder / "journal"
        self.db = folder / "journal.db"
        self.written = 0
        self._files = 0
        self._file: JournalFile | None = None
        configuration = folder / "shipper.conf"
        configuration.write_text(
            f"[SERVICE]\n    flush {_FLUSH_S}\n    grace 5\n    scheduler.base 1\n    scheduler.cap 1\n{service}"
            f"[INPUT]\n    name systemd\n    tag host.*\n    path {self.journal}\n    db {self.db}\n{input}"
            f"[OUTPUT]\n    name file\n    match *\n    path {folder}/out\n    file all\n"
            "    format template\n    template {MESSAGE}\n"
        )
        self.shipper = ShipperProcess(configuration, folder / "shipper.log")

    def __enter__(self) -> Self:
        self.journal.mkdir()
        (self.folder / "out").mkdir()
        self.rotate()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.shipper.close()
        if self._file is not None:
            self._file.__exit__(kind, error, trace)

    def rotate(self) -> None:
        """Go on in a new file of the journal."""
        if self._file is not None:
            self._file.__exit__(None, None, None)
        self._files += 1
        self._file = JournalFile(self.journal / f"{self._files:04}.journal", self.written).__enter__()

    def write(self, count: int) -> None:
        """Append so many entries with numbered messages, of three units in turn."""
        assert self._file is not None
        numbers = range(self.written, self.written + count)
        self._file.write(
            *({"MESSAGE": message(_STREAM, n), "_SYSTEMD_UNIT": f"unit{n // 10 % 3}.service"} for n in numbers)
        )
        self.written += count

    def write_others(self, count: int) -> None:
        """Append entries of a unit that `UNITS` does not name."""
        assert self._file is not None
        self._file.write(*[{"MESSAGE": "of another unit", "_SYSTEMD_UNIT": "other.service"}] * count)

    def vacuum(self) -> None:
        """Remove all files and begin a new one."""
        assert self._file is not None
        self._file.__exit__(None, None, None)
        remove_journal(self.journal)
        self._file = None
        self.rotate()

    def close_destination(self) -> None:
        (self.folder / "out").rename(self.folder / "out.closed")

    def open_destination(self) -> None:
        (self.folder / "out.closed").rename(self.folder / "out")

    def arrived(self) -> list[str]:
        """The messages that the destination has, in order of arrival."""
        for name in ("out", "out.closed"):
            try:
                return (self.folder / name / "all").read_text().splitlines()
            except FileNotFoundError:
                continue
        return []

    def cursor(self) -> str | None:
        """What the database says, None before there is one."""
        if not self.db.exists():
            return None
        with closing(sqlite3.connect(f"file:{self.db}?mode=ro", uri=True)) as connection:
            try:
                rows = connection.execute("SELECT cursor FROM in_systemd_cursor").fetchall()
            except sqlite3.OperationalError:
                return None
        assert len(rows) <= 1
        return next((str(cursor) for (cursor,) in rows if cursor != "(null)"), None)

    def until_arrived(self, count: int | None = None) -> None:
        """Wait for so many different messages, by default for all that were written."""
        wanted = self.written if count is None else count
        self.until(lambda: len(set(self.arrived())) >= wanted)

    def start_and_see_progress(self) -> None:
        """Start the shipper, and wait until it has delivered something new."""
        before = len(self.arrived())
        self.shipper.start()
        self.until(lambda: len(self.arrived()) > before)

    def until_told(self, text: str) -> None:
        self.until(lambda: text in self.shipper.log().decode(errors="replace"))

    def until(self, condition: Callable[[], bool]) -> None:
        begin = time.monotonic()
        while not condition():
            self.shipper.check()
            if time.monotonic() - begin > _PATIENCE_S:
                raise AssertionError(f"in vain for {_PATIENCE_S:g} s\n{self.verdict()}\n{self.shipper.end_of_log()}")
            time.sleep(0.02)

    def stop(self) -> dict[str, Entry]:
        """End the shipper with SIGTERM; its ledger has to balance."""
        ledger = self.shipper.terminate()
        assert_balanced(ledger)
        return ledger

    def verdict(self) -> Verdict:
        """What the audit says of the messages that arrived, each unit being a stream of its own."""
        court = Audit(Manifest({_STREAM: self.written}, 0, 0), (), ())
        for line in self.arrived():
            court.take((1, "", line))
        return court.verdict()


class Writer:
    """Writes to the journal at a steady rate from a thread, and rotates it; a context manager."""

    def __init__(self, host: Host, per_second: int, rotate_every: int) -> None:
        self._host = host
        self._per_second = per_second
        self._rotate_every = rotate_every
        self._end = threading.Event()
        self._thread = threading.Thread(target=self._write)

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._end.set()
        self._thread.join()

    def _write(self) -> None:
        in_file = 0
        while not self._end.wait(0.02):
            count = max(1, self._per_second // 50)
            self._host.write(count)
            in_file += count
            if in_file >= self._rotate_every:
                self._host.rotate()
                in_file = 0


def lost_or_damaged(verdict: Verdict) -> tuple[int, int]:
    return verdict.lost, verdict.broken


def test_s3_killed_while_the_journal_is_written_it_loses_nothing(tmp_path: Path) -> None:
    """Scale 1 to 25: 8 kills instead of 200."""
    rng = random.Random(os.environ.get("FAULT_SEED") or "journal")
    kills, per_second = 8, 1000
    with Host(tmp_path) as host:
        with Writer(host, per_second, rotate_every=700):
            for _ in range(kills):
                host.start_and_see_progress()
                time.sleep(rng.random() * 0.4)
                host.shipper.kill()
        host.shipper.start()
        host.until_arrived()
        ledger = host.stop()

        verdict = host.verdict()
        assert lost_or_damaged(verdict) == (0, 0), str(verdict)
        assert host.written > 2000
        assert verdict.duplicates <= kills * per_second * (_FLUSH_S + _SAVED_WITHIN_S), str(verdict)
        assert ledger["file.0"]["held"] == 0


def test_s3_a_stop_leaves_nothing_to_be_repeated(tmp_path: Path) -> None:
    with Host(tmp_path) as host:
        with Writer(host, 500, rotate_every=200):
            for _ in range(2):
                host.start_and_see_progress()
                host.stop()
        host.shipper.start()
        host.until_arrived()
        host.stop()

        verdict = host.verdict()
        assert lost_or_damaged(verdict) == (0, 0), str(verdict)
        assert verdict.duplicates == 0, str(verdict)


def test_s4_the_cursor_stays_while_the_destination_refuses(tmp_path: Path) -> None:
    """Scale: a folder that is away for about a second stands for credentials that are refused for ten minutes. To the
    input both are a delivery that is tried again."""
    with Host(tmp_path) as host:
        host.write(100)
        host.shipper.start()
        host.until_arrived()
        host.until(lambda: host.cursor() is not None)
        time.sleep(_SAVED_WITHIN_S)
        before = host.cursor()
        host.close_destination()
        host.write(1000)
        host.until_told("retry in")
        time.sleep(1.0)
        while_closed = host.cursor()
        host.shipper.kill()
        host.open_destination()
        host.shipper.start()
        host.until_arrived()
        host.stop()

        assert before is not None
        assert while_closed == before
        verdict = host.verdict()
        assert lost_or_damaged(verdict) == (0, 0), str(verdict)
        assert verdict.duplicates == 0, str(verdict)
        assert host.cursor() != before


@pytest.mark.parametrize("end", ["killed", "stopped"])
@pytest.mark.parametrize("others", [0, 5], ids=["an empty journal", "entries of other units"])
def test_s3_what_comes_after_a_first_start_at_the_tail_is_owed(tmp_path: Path, others: int, end: str) -> None:
    """Nothing that the filters want stands at the tail, and nothing was delivered before the end."""
    with Host(tmp_path, input=f"    read_from_tail on\n{UNITS}") as host:
        host.close_destination()
        host.write_others(others)
        host.shipper.start()
        host.until(lambda: host.cursor() is not None)
        host.write(100)
        host.until_told("retry in")
        if end == "killed":
            host.shipper.kill()
        else:
            host.stop()
        host.open_destination()
        host.shipper.start()
        host.until_arrived()
        host.stop()

        verdict = host.verdict()
        assert lost_or_damaged(verdict) == (0, 0), str(verdict)


def test_s1_a_stop_delivers_what_waited_for_its_back_off(tmp_path: Path) -> None:
    with Host(tmp_path, service="    scheduler.base 100\n    scheduler.cap 100\n") as host:
        host.shipper.start()
        host.close_destination()
        host.write(500)
        host.until_told("retry in")
        host.open_destination()
        host.stop()

        verdict = host.verdict()
        assert lost_or_damaged(verdict) == (0, 0), str(verdict)
        assert verdict.duplicates == 0, str(verdict)


def test_s3_killed_with_entries_stored_on_disk_it_delivers_them(tmp_path: Path) -> None:
    """Their cursor moves on when they are stored, so the journal may be vacuumed meanwhile."""
    service, options = f"    storage.path {tmp_path}/storage\n", "    storage.type filesystem\n"
    with Host(tmp_path, service=service, input=options) as host:
        host.write(1)
        host.shipper.start()
        host.until_arrived()
        host.close_destination()
        before = host.cursor()
        host.write(1000)
        host.until(lambda: host.cursor() not in (None, before))
        time.sleep(_SAVED_WITHIN_S)
        host.shipper.kill()
        host.vacuum()
        host.write(100)
        host.open_destination()
        host.shipper.start()
        host.until_arrived()
        host.stop()

        verdict = host.verdict()
        assert lost_or_damaged(verdict) == (0, 0), str(verdict)
