"""A process that writes container logs at a steady rate: `python -m bench.load FOLDER --files N --rate N`.

Each line says when it was written and which one it is, `at=<ns> no=<number>`, so that the sink can tell how late it is
and whether any is missing. How many were written stands in the file `written` of the folder, up to date after each
hundredth of a second.
"""

from __future__ import annotations

import argparse
import os
import signal
import sys
import time
from pathlib import Path

from bench.measure import Running

COUNT = "written"
_TICK_S = 0.01
_PADDING = b"GET /api/v1/orders 200 order shipped after 12 ms; cache miss, retry 2 of 5; " * 20


class Load:
    """The log files of a run; lines go to them in turn."""

    def __init__(self, folder: Path, files: int, line_bytes: int) -> None:
        self.written = 0
        self._line_bytes = line_bytes
        names = [f"load{index:03d}-7d4b9c-x{index:04d}_load_app-{index:064x}.log" for index in range(files)]
        flags = os.O_WRONLY | os.O_CREAT | os.O_APPEND
        self._files = [os.open(folder / name, flags, 0o644) for name in names]
        self._count = os.open(folder / COUNT, os.O_WRONLY | os.O_CREAT, 0o644)

    def write(self, lines: int, now_ns: int) -> None:
        """Append so many lines, all of them written now."""
        files = self._files
        seconds, nanoseconds = divmod(now_ns, 1_000_000_000)
        when = time.strftime("%Y-%m-%dT%H:%M:%S", time.gmtime(seconds))
        head = f"{when}.{nanoseconds:09d}Z stdout F at={now_ns} no=".encode()
        width = self._line_bytes - 1
        new = [(b"%s%d %s" % (head, n, _PADDING))[:width] + b"\n" for n in range(self.written, self.written + lines)]
        for index in range(min(len(files), lines)):
            os.write(files[(self.written + index) % len(files)], b"".join(new[index :: len(files)]))
        self.written += lines
        os.pwrite(self._count, b"%020d" % self.written, 0)

    def run(self, lines_per_s: int) -> None:
        """Write until SIGTERM; after it was held up it catches up."""
        is_asked_to_stop = False

        def stop(*_: object) -> None:
            nonlocal is_asked_to_stop
            is_asked_to_stop = True

        signal.signal(signal.SIGTERM, stop)
        began = time.monotonic()
        while not is_asked_to_stop:
            due = int((time.monotonic() - began) * lines_per_s) - self.written
            if due > 0:
                self.write(due, time.time_ns())
            time.sleep(_TICK_S)


class LoadProcess(Running):
    """The load in a process of its own."""

    def __init__(self, folder: Path, files: int, lines_per_s: int, line_bytes: int) -> None:
        self._count = folder / COUNT
        command = [sys.executable, "-m", "bench.load", str(folder)]
        sizes = ["--files", str(files), "--rate", str(lines_per_s), "--line-bytes", str(line_bytes)]
        super().__init__([*command, *sizes], {}, folder / "load.err")

    def written(self) -> int:
        """How many lines have been written up to now."""
        try:
            return int(self._count.read_text() or 0)
        except FileNotFoundError:
            return 0  # it has not begun


def main() -> None:
    parser = argparse.ArgumentParser(description="Write container logs at a steady rate.")
    parser.add_argument("folder", type=Path)
    parser.add_argument("--files", type=int, default=10)
    parser.add_argument("--rate", type=int, default=10_000, help="lines a second, all files together")
    parser.add_argument("--line-bytes", type=int, default=200)
    options = parser.parse_args()
    Load(options.folder, options.files, options.line_bytes).run(options.rate)


if __name__ == "__main__":
    main()
