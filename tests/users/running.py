"""A shipper that turns files into JSON lines, for tests that look at whole records rather than at numbered lines."""

from __future__ import annotations

import random
import time
from collections.abc import Callable
from pathlib import Path
from types import TracebackType
from typing import Any, Self

import msgspec

from tests.components.shipper_process import ShipperProcess
from tests.faults.ledger import assert_balanced

FLUSH_S = 0.1
"""Longest time from the input to the file of the destination."""

_PATIENCE_S = 20.0
_CRI_TIME = "2026-01-01T00:00:00.000000001Z"
_decode = msgspec.json.Decoder(dict[str, Any]).decode


class Reader:
    """Follows `logs/*.log` in a folder and keeps what it delivered; a context manager that leaves no process behind.

    `tail` are options of the input, one a line, which go before those written here; `filters` and `parsers` are whole
    sections. Positions are kept in `tail.db`.
    """

    def __init__(self, folder: Path, tail: str = "", *, filters: str = "", parsers: str = "") -> None:
        self.folder = folder
        self.logs = folder / "logs"
        self.db = folder / "tail.db"
        self.log = self.logs / "app.log"
        """The file that most tests write."""
        self._out = folder / "out"
        self._configuration = folder / "shipper.conf"
        self._filters, self._parsers = filters, parsers
        self.shipper = ShipperProcess(self._configuration, folder / "shipper.log")
        self.configure(tail)

    def __enter__(self) -> Self:
        self.logs.mkdir(exist_ok=True)
        self._out.mkdir(exist_ok=True)
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.shipper.close()

    def configure(self, tail: str) -> None:
        """Set the options of the input for the next start."""
        given = dict(line.strip().partition(" ")[::2] for line in tail.splitlines() if line.strip())
        defaults = {"path": f"{self.logs}/*.log", "tag": "all", "db": str(self.db), "read_from_head": "on"}
        quick = {"rotate_wait": "0.4", "refresh_interval": "0.5"}
        options = "".join(f"    {key} {value}\n" for key, value in {**defaults, **quick, **given}.items())
        parsers = self.folder / "parsers.conf"
        parsers.write_text(self._parsers)
        self._configuration.write_text(
            f"[SERVICE]\n    flush {FLUSH_S}\n    grace 5\n    parsers_file {parsers}\n"
            "    scheduler.base 1\n    scheduler.cap 1\n"
            f"[INPUT]\n    name tail\n{options}{self._filters}\n"
            f"[OUTPUT]\n    name file\n    match *\n    path {self._out}\n    format plain\n"
        )

    def start(self) -> None:
        """Start it and wait until it follows `app.log`, if that exists."""
        self.shipper.start()
        self.until(lambda: not self.log.exists() or str(self.log) in self.shipper.open_files())

    def stop(self) -> None:
        """End it with SIGTERM; its ledger has to balance."""
        assert_balanced(self.shipper.terminate())

    def records(self, tag: str = "all") -> list[dict[str, Any]]:
        """The records that were delivered under a tag, in order of arrival."""
        try:
            data = (self._out / tag).read_bytes()
        except FileNotFoundError:
            return []
        return [_decode(line) for line in data[: data.rfind(b"\n") + 1].splitlines()]

    def tags(self) -> list[str]:
        return sorted(path.name for path in self._out.iterdir())

    def texts(self, tag: str = "all") -> list[str]:
        """The `log` fields of those records."""
        return [record["log"] for record in self.records(tag)]

    def until_delivered(self, count: int, patience_s: float = _PATIENCE_S) -> list[str]:
        """Wait for so many records; gives their texts."""
        self.until(lambda: len(self.records()) >= count, patience_s)
        return self.texts()

    def when_quiet(self, seconds: float = 0.7) -> list[str]:
        """The texts once nothing was delivered for a while in which scans, looks and flushes took place."""
        before = -1
        while before != (before := len(self.records())):
            time.sleep(seconds)
        return self.texts()

    def until(self, condition: Callable[[], bool], patience_s: float = _PATIENCE_S) -> float:
        """Wait for the condition while the shipper lives; gives the seconds it took."""
        begin = time.monotonic()
        while not condition():
            self.shipper.check()
            if time.monotonic() - begin > patience_s:
                raise AssertionError(
                    f"in vain for {patience_s:g} s, {len(self.records())} records\n{self.shipper.end_of_log()}"
                )
            time.sleep(0.02)
        return time.monotonic() - begin


def cri(text: str, stream: str = "stdout", flag: str = "F") -> str:
    """One line as a container runtime writes it."""
    return f"{_CRI_TIME} {stream} {flag} {text}"


def cri_parts(text: str, rng: random.Random, longest: int, stream: str = "stdout") -> list[str]:
    """A text cut into `P` lines and an `F` line of at most so many characters each."""
    parts = []
    while text:
        cut = rng.randint(1, longest)
        parts.append(cri(text[:cut], stream, "P" if cut < len(text) else "F"))
        text = text[cut:]
    return parts


def append(path: Path, *lines: str) -> None:
    with path.open("a") as file:
        file.write("".join(f"{line}\n" for line in lines))


def numbered(first: int, last: int) -> list[str]:
    """Lines that can be told apart."""
    return [f"id={number:06d} {'x' * 20}" for number in range(first, last + 1)]
