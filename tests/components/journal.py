"""Real journal files, written by systemd-journal-remote from entries in the journal export format."""

from __future__ import annotations

import os
import shutil
import struct
import subprocess
from collections.abc import Mapping, Sequence
from pathlib import Path
from types import TracebackType
from typing import Self

Value = str | bytes
Fields = Mapping[str, Value | Sequence[Value]]
Pairs = Sequence[tuple[str, Value]]
"""The fields of an entry one by one, in the order in which they are written."""

FIRST_US = 1_700_000_000_000_000
_PATIENCE_S = 20.0
_MACHINE = "fedcba9876543210fedcba9876543210"
_BOOT = "0123456789abcdef0123456789abcdef"


def journal_remote() -> str:
    """The program that writes journal files."""
    for folder in ("/lib/systemd", "/usr/lib/systemd"):
        if os.access(path := f"{folder}/systemd-journal-remote", os.X_OK):
            return path
    raise AssertionError("systemd-journal-remote is not installed")


class JournalFile:
    """One journal file in a folder, and the process that appends to it; a context manager that leaves none behind.

    Entries are a millisecond apart; the stamp of the first follows from `first`, so that files can follow one another.
    """

    def __init__(self, path: Path, first: int = 0) -> None:
        self.path = path
        self.written = first
        self._writer: subprocess.Popen[bytes] | None = None

    def __enter__(self) -> Self:
        self._writer = subprocess.Popen(
            [journal_remote(), "--output", str(self.path), "-"],
            stdin=subprocess.PIPE,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
        )
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        assert self._writer is not None and self._writer.stdin is not None
        self._writer.stdin.close()
        if self._writer.wait(timeout=_PATIENCE_S) and error is None:
            raise AssertionError(f"systemd-journal-remote failed to write {self.path}")

    def write(self, *entries: Fields | Pairs) -> None:
        """Append the entries; they are in the file soon, and at latest when the context ends."""
        assert self._writer is not None and self._writer.stdin is not None
        data = bytearray()
        for entry in entries:
            data += _exported(entry, FIRST_US + self.written * 1000)
            self.written += 1
        self._writer.stdin.write(bytes(data))
        self._writer.stdin.flush()


def write_journal(path: Path, *entries: Fields | Pairs, first: int = 0) -> None:
    """Make a journal file with these entries."""
    with JournalFile(path, first) as journal:
        journal.write(*entries)


def remove_journal(folder: Path) -> None:
    """Remove all files of the folder, as a vacuum does."""
    for path in folder.iterdir():
        shutil.rmtree(path) if path.is_dir() else path.unlink()


def _exported(entry: Fields | Pairs, time_us: int) -> bytes:
    head = {
        "__REALTIME_TIMESTAMP": str(time_us),
        "__MONOTONIC_TIMESTAMP": str(time_us - FIRST_US + 1_000_000),
        "_BOOT_ID": _BOOT,
        "_MACHINE_ID": _MACHINE,
    }
    data = bytearray()
    for name, value in [*head.items(), *_pairs(entry)]:
        raw = value.encode() if isinstance(value, str) else value
        if raw.isascii() and b"\n" not in raw:
            data += name.encode() + b"=" + raw + b"\n"
        else:
            data += name.encode() + b"\n" + struct.pack("<Q", len(raw)) + raw + b"\n"
    return bytes(data + b"\n")


def _pairs(entry: Fields | Pairs) -> Pairs:
    if not isinstance(entry, Mapping):
        return entry
    return [(n, v) for n, vs in entry.items() for v in ([vs] if isinstance(vs, str | bytes) else vs)]
