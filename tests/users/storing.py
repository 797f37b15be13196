"""A shipper with a folder for storage and any number of destinations that can be taken away one by one."""

from __future__ import annotations

import re
import sqlite3
import time
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from types import TracebackType
from typing import Self

from tests.components.shipper_process import ShipperProcess
from tests.faults.audit import Verdict
from tests.faults.ledger import Entry, assert_balanced

from .harness import Log, judge

_PATIENCE_S = 30.0


class Station:
    """The folders and the shipper of one test; a context manager that leaves no process behind.

    Each of `outputs` is a folder with one file, which the shipper cannot write while `close` has taken the folder away.
    `service`, `tail` and `output` are lines of their sections: `key value` separated by semicolons. An output's own
    lines may follow its name after a colon. `path` is the folder for storage, None for none; `sections` are whole
    sections that are put between input and outputs. `module` is run instead of the installed shipper.
    """

    def __init__(
        self,
        folder: Path,
        outputs: Sequence[str] = ("a",),
        *,
        service: str = "",
        tail: str = "storage.type filesystem",
        output: str = "",
        sections: str = "",
        path: str | None = "",
        variables: Mapping[str, str] | None = None,
        module: str = "",
    ) -> None:
        self.folder = folder
        self.storage = folder / "storage" if path == "" else Path(path or "")
        self.names = [name.partition(":")[0] for name in outputs]
        self.logs: list[Log] = []
        self._configuration = folder / "shipper.conf"
        self.shipper = ShipperProcess(self._configuration, folder / "shipper.log", variables, module)
        storage = "" if path is None else f"storage.path {self.storage}"
        (folder / "var").mkdir(exist_ok=True)
        for name in self.names:
            (folder / name).mkdir(exist_ok=True)
        texts = [
            _section("SERVICE", f"flush 0.1; grace 5; scheduler.base 1; scheduler.cap 1; {storage}; {service}"),
            _section("INPUT", f"name tail; path {folder}/var/*.log; tag t.*; read_from_head on; {self._db}; {tail}"),
            sections,
        ]
        for one in outputs:
            name, _, own = one.partition(":")
            fixed = f"name file; alias {name}; match *; path {folder}/{name}; file all; format template"
            texts.append(_section("OUTPUT", f"{fixed}; template {{log}}; {output}; {own}"))
        self._configuration.write_text("\n".join(texts))

    @property
    def _db(self) -> str:
        return f"db {self.folder}/tail.db; refresh_interval 1; rotate_wait 1"

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.shipper.close()
        for log in self.logs:
            log.close()

    def log(self, name: str = "app") -> Log:
        """A new log that the shipper follows."""
        log = Log(self.folder / "var" / f"{name}.log", name)
        self.logs.append(log)
        return log

    def start(self, until_watching: bool = True) -> None:
        self.shipper.start()
        if until_watching:
            self.until(self.shipper.is_watching)

    def configure(self, text: str) -> None:
        """Let the next start have another configuration."""
        self._configuration.write_text(text)

    def close(self, name: str = "a") -> None:
        (self.folder / name).rename(self.folder / f"{name}.closed")

    def open(self, name: str = "a") -> None:
        (self.folder / f"{name}.closed").rename(self.folder / name)

    def arrived(self, name: str = "a") -> list[str]:
        """The lines that the destination has, in order of arrival."""
        for folder in (self.folder / name, self.folder / f"{name}.closed"):
            try:
                return (folder / "all").read_text(errors="replace").splitlines()
            except FileNotFoundError:
                continue
        return []

    def until_arrived(self, name: str = "a", count: int | None = None, patience_s: float = _PATIENCE_S) -> float:
        """Wait for so many different lines, by default for all that were written; gives the seconds it took."""
        wanted = sum(log.written for log in self.logs) if count is None else count
        return self.until(lambda: len(set(self.arrived(name))) >= wanted, patience_s)

    def until_told(self, pattern: str, patience_s: float = _PATIENCE_S) -> re.Match[str]:
        """Wait for a line of the shipper's log that fits the regular expression."""
        self.until(lambda: self.told(pattern) is not None, patience_s)
        found = self.told(pattern)
        assert found is not None
        return found

    def told(self, pattern: str) -> re.Match[str] | None:
        return re.search(pattern, self.shipper.log().decode(errors="replace"))

    def until(self, condition: Callable[[], bool], patience_s: float = _PATIENCE_S) -> float:
        """Wait for the condition while the shipper lives; gives the seconds it took."""
        begin = time.monotonic()
        while not condition():
            self.shipper.check()
            if time.monotonic() - begin > patience_s:
                raise AssertionError(f"in vain for {patience_s:g} s\n{self.shipper.end_of_log()}")
            time.sleep(0.02)
        return time.monotonic() - begin

    def until_read(self, patience_s: float = _PATIENCE_S) -> None:
        """Wait until the positions of all logs are at their ends."""
        sizes = [log.path.stat().st_size for log in self.logs]
        self.until(lambda: self.saved_positions() == sorted(sizes), patience_s)

    def saved_positions(self) -> list[int]:
        database = sqlite3.connect(f"file:{self.folder}/tail.db?mode=ro", uri=True)
        try:
            return sorted(offset for (offset,) in database.execute("select offset from in_tail_files"))
        except sqlite3.OperationalError:
            return []
        finally:
            database.close()

    def stop(self) -> dict[str, Entry]:
        """End the shipper with SIGTERM and hold its ledger to the rule; gives the ledger."""
        ledger = self.shipper.terminate()
        assert_balanced(ledger)
        return ledger

    def stored_bytes(self) -> int:
        """What the segments take on the disk."""
        sizes = []
        for path in self.storage.rglob("*.seg"):
            with suppress(FileNotFoundError):  # it has just been drained
                sizes.append(path.stat().st_size)
        return sum(sizes)

    def verdict(self, name: str = "a") -> Verdict:
        return judge(self.arrived(name), self.logs)


def _section(name: str, lines: str) -> str:
    options = [line.strip() for line in lines.split(";") if line.strip()]
    return "\n".join([f"[{name}]", *(f"    {option}" for option in options), ""])


def resident_kb(pid: int) -> int:
    """Resident memory of a process."""
    found = re.search(r"VmRSS:\s+(\d+) kB", Path(f"/proc/{pid}/status").read_text())
    assert found is not None
    return int(found[1])
