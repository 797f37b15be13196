"""A process that writes container logs as a container runtime and the kubelet do.

Layout below the given folder, as on a node:

    pods/<namespace>_<pod>_<uid>/<container>/0.log                      the file that is written
    pods/<namespace>_<pod>_<uid>/<container>/0.log.<YYYYMMDD-HHMMSS>    rotated files, the oldest are removed
    containers/<pod>_<namespace>_<container>-<64 hex>.log               a link to 0.log

Every message starts with its own address, `<container>:<stdout|stderr>:<number>`, and its whole text follows from that
address (`message`), so that a reader can tell a record that arrived from one that was damaged or invented. Numbers
start at 0 and have no gaps. Some messages are cut into `P` and `F` lines, at any byte, as a runtime cuts long ones;
lines of the other std stream may stand between the parts. Now and then a line is only half in the file for a moment.

Rotation goes by renaming: the runtime keeps writing to the renamed file until it is told to open a new one, so a few
more lines land in it. Or it goes by copying and truncating, as logrotate does it with `copytruncate`: what is written
between the two steps is lost for everybody who had not read it by then, so the manifest names it as *at risk*.

On SIGTERM, or when its time is over, the process finishes open messages and writes a manifest: how many messages each
stream has.
"""

from __future__ import annotations

import argparse
import gzip
import os
import random
import shutil
import signal
import time
import zlib
from collections import deque
from collections.abc import Callable
from pathlib import Path
from types import FrameType
from typing import Literal, get_args

import msgspec

Way = Literal["rename", "copytruncate"]

STD_STREAMS = ("stdout", "stderr")
NAMESPACE = "load"
_TICK_S = 0.01
_TEXT = "order 4711 shipped to Zürich ✓ after 12 ms; cache miss, retry 2 of 5; GET /api/v1/orders 200 😀 naïve " * 5


class Manifest(msgspec.Struct, frozen=True):
    """What was written: the number of messages of each `<container>:<std stream>`, and how often files were rotated.

    `at_risk` are the numbers of messages that were in no file any more soon after they were written.
    """

    streams: dict[str, int]
    rotations: int
    written_bytes: int
    at_risk: dict[str, list[int]] = {}

    @property
    def messages(self) -> int:
        return sum(self.streams.values())

    @property
    def messages_at_risk(self) -> int:
        return sum(map(len, self.at_risk.values()))


class Settings(msgspec.Struct, frozen=True, kw_only=True):
    """How one container's log behaves."""

    way: Way = "rename"
    rotate_bytes: int = 2_000_000
    keep: int = 4
    partial_share: float = 0.02
    rotate_inside_messages: bool = False
    compress: bool = False


def message(stream: str, number: int) -> str:
    """The text of message `number` of `<container>:<std stream>`; the same on every call."""
    address = f"{stream}:{number}"
    draw = zlib.crc32(address.encode())
    return f"{address} {_TEXT[draw % 97 : draw % 97 + 40 + (draw >> 8) % 200]}"


class ContainerLog:
    """The log of one container: the open file, the lines on their way to it, and the count of what was written."""

    def __init__(
        self,
        root: Path,
        name: str,
        settings: Settings,
        rng: random.Random,
        now_ns: Callable[[], int] = time.time_ns,
    ) -> None:
        digits = random.Random(name)
        pod = f"{name}-{digits.getrandbits(40):010x}-{digits.getrandbits(20):05x}"
        uid = f"{digits.getrandbits(128):032x}"
        self.folder = root / "pods" / f"{NAMESPACE}_{pod}_{uid}" / name
        self.path = self.folder / "0.log"
        self.link = root / "containers" / f"{pod}_{NAMESPACE}_{name}-{digits.getrandbits(256):064x}.log"
        self.written = {f"{name}:{std}": 0 for std in STD_STREAMS}
        self.at_risk: dict[str, list[int]] = {stream: [] for stream in self.written}
        self.written_bytes = 0
        self.rotations = 0
        self._name = name
        self._settings = settings
        self._rng = rng
        self._now_ns = now_ns
        self._fd = -1
        self._size = 0
        # The parts of a message that are still to be written, by std stream; empty between messages.
        self._rest: dict[str, deque[bytes]] = {std: deque() for std in STD_STREAMS}
        # The end of a line whose beginning is in the file already.
        self._torn = b""
        # Lines that still go to the renamed file; None while no rotation is under way.
        self._lines_to_reopen: int | None = None

    def open(self) -> None:
        """Create the folders, the first file and the link to it."""
        self.folder.mkdir(parents=True, exist_ok=True)
        self.link.parent.mkdir(parents=True, exist_ok=True)
        self._open_file()
        self.link.symlink_to(self.path)

    def write(self, lines: int) -> None:
        """Write so many further lines, rotating where the size asks for it."""
        chunk = [self._torn] if self._torn else []
        self._torn = b""
        for _ in range(lines):
            chunk.append(self._next_line("stdout" if self._rng.random() < 0.8 else "stderr"))
            if self._is_rotation_due(sum(map(len, chunk))):
                self._append(b"".join(chunk))
                chunk.clear()
                self._rotate()
        data = b"".join(chunk)
        if self._rng.random() < 0.05:
            cut = self._rng.randrange(len(data) + 1)
            data, self._torn = data[:cut], data[cut:]
        self._append(data)

    def close(self) -> None:
        """Write the rest of every open message and close the file."""
        data = [self._torn]
        for std, rest in self._rest.items():
            while rest:
                data.append(self._next_line(std))
        self._append(b"".join(data))
        if self._lines_to_reopen is not None:
            self._reopen()
        os.close(self._fd)

    def _next_line(self, std: str) -> bytes:
        rest = self._rest[std]
        if not rest:
            stream = f"{self._name}:{std}"
            rest.extend(self._cut(message(stream, self.written[stream]).encode()))
            self.written[stream] += 1
        part = rest.popleft()
        return self._line(std, "P" if rest else "F", part)

    def _line(self, std: str, flag: str, part: bytes) -> bytes:
        seconds, nanoseconds = divmod(self._now_ns(), 1_000_000_000)
        when = time.strftime("%Y-%m-%dT%H:%M:%S", time.gmtime(seconds))
        return f"{when}.{nanoseconds:09d}Z {std} {flag} ".encode() + part + b"\n"

    def _cut(self, text: bytes) -> list[bytes]:
        if self._rng.random() >= self._settings.partial_share:
            return [text]
        borders = sorted(self._rng.sample(range(1, len(text)), k=self._rng.choice((1, 1, 2))))
        return [text[start:end] for start, end in zip([0, *borders], [*borders, len(text)], strict=True)]

    def _is_rotation_due(self, unwritten: int) -> bool:
        if self._lines_to_reopen is None:
            is_time = self._size + unwritten >= self._settings.rotate_bytes
        else:
            self._lines_to_reopen -= 1
            is_time = self._lines_to_reopen <= 0
        return is_time and (self._settings.rotate_inside_messages or not any(self._rest.values()))

    def _rotate(self) -> None:
        """Set the file aside; renamed, it is written on until the second call, some lines later, opens the new one."""
        if self._lines_to_reopen is not None:
            self._reopen()
            return
        second = time.localtime(self._now_ns() // 1_000_000_000)
        rotated = self.path.with_name(f"0.log.{time.strftime('%Y%m%d-%H%M%S', second)}")
        if rotated.exists() or rotated.with_name(f"{rotated.name}.gz").exists():
            return  # two rotations within a second would share a name; the next line tries again
        if self._settings.compress:
            self._compress_older()
        if self._settings.way == "copytruncate":
            self._copy_and_truncate(rotated)
        else:
            self.path.rename(rotated)
            self._lines_to_reopen = self._rng.randint(1, 30)
        self.rotations += 1
        for old in sorted(self.folder.glob("0.log.*"))[: -self._settings.keep]:
            old.unlink()

    def _copy_and_truncate(self, copy: Path) -> None:
        shutil.copyfile(self.path, copy)
        # Whole messages alone: a part whose other part is lost would be joined with the next message.
        for std in STD_STREAMS:
            if not self._rest[std] and self._rng.random() < 0.5:
                stream = f"{self._name}:{std}"
                self.at_risk[stream].append(self.written[stream])
                self._append(self._line(std, "F", message(stream, self.written[stream]).encode()))
                self.written[stream] += 1
        os.truncate(self.path, 0)
        self._size = 0

    def _reopen(self) -> None:
        os.close(self._fd)
        self._open_file()
        self._lines_to_reopen = None

    def _compress_older(self) -> None:
        for old in self.folder.glob("0.log.*"):
            if old.suffix != ".gz":
                unfinished = old.with_name(f"{old.name}.tmp")
                unfinished.write_bytes(gzip.compress(old.read_bytes(), compresslevel=1))
                unfinished.rename(old.with_name(f"{old.name}.gz"))
                old.unlink()

    def _open_file(self) -> None:
        self._fd = os.open(self.path, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o640)
        self._size = 0

    def _append(self, data: bytes) -> None:
        if data:
            os.write(self._fd, data)
            self._size += len(data)
            self.written_bytes += len(data)


class Generator:
    """All containers of a run, written at one total rate."""

    def __init__(self, root: Path, names: list[str], settings: Settings, seed: int) -> None:
        self._rng = random.Random(seed)
        self._logs = [ContainerLog(root, name, settings, random.Random(f"{seed} {name}")) for name in names]
        self._stopped = False

    def stop(self, _signal: int = 0, _frame: FrameType | None = None) -> None:
        """Make `run` return soon; usable as a signal handler."""
        self._stopped = True

    def run(self, lines_per_second: float, seconds: float, report: bool) -> Manifest:
        """Write until the time is over or `stop` was called; with `report` print the count ten times a second."""
        for log in self._logs:
            log.open()
        begin = reported = time.monotonic()
        lines = 0
        while not self._stopped and (elapsed := time.monotonic() - begin) < seconds:
            # A generator that was held up catches up, but hears a stop meanwhile.
            due = min(int(elapsed * lines_per_second) - lines, int(lines_per_second) + 1)
            lines += due
            for log, share in zip(self._logs, self._shares(due), strict=True):
                log.write(share)
            if report and time.monotonic() - reported >= 0.1:
                reported = time.monotonic()
                print(self.manifest().messages, flush=True)
            time.sleep(_TICK_S)
        for log in self._logs:
            log.close()
        return self.manifest()

    def manifest(self) -> Manifest:
        return Manifest(
            {stream: count for log in self._logs for stream, count in log.written.items()},
            sum(log.rotations for log in self._logs),
            sum(log.written_bytes for log in self._logs),
            {stream: numbers for log in self._logs for stream, numbers in log.at_risk.items() if numbers},
        )

    def _shares(self, lines: int) -> list[int]:
        each, more = divmod(lines, len(self._logs))
        lucky = set(self._rng.sample(range(len(self._logs)), more))
        return [each + (index in lucky) for index in range(len(self._logs))]


def read_manifest(path: Path) -> Manifest:
    return msgspec.json.decode(path.read_bytes(), type=Manifest)


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description="Write container logs and rotate them as the kubelet does.")
    parser.add_argument("folder", type=Path)
    parser.add_argument("--manifest", type=Path, required=True, help="where the final counts are written")
    parser.add_argument("--names", default="c0,c1,c2,c3", help="names of the containers")
    parser.add_argument("--rate", type=float, default=4000, help="lines a second, all containers together")
    parser.add_argument("--seconds", type=float, default=3600, help="longest time to run; SIGTERM ends it earlier")
    parser.add_argument("--rotate-bytes", type=int, default=Settings().rotate_bytes)
    parser.add_argument("--keep", type=int, default=Settings().keep, help="rotated files that are kept")
    parser.add_argument("--partial-share", type=float, default=Settings().partial_share)
    parser.add_argument("--rotate-inside-messages", action="store_true", help="also between a P and its F line")
    parser.add_argument("--way", choices=get_args(Way), default="rename", help="how files are rotated")
    parser.add_argument("--compress", action="store_true", help="gzip rotated files but the newest")
    parser.add_argument("--report", action="store_true", help="print the number of messages ten times a second")
    parser.add_argument("--seed", type=int, default=0)
    return parser.parse_args()


def main() -> None:
    options = _options()
    settings = Settings(
        way=options.way,
        rotate_bytes=options.rotate_bytes,
        keep=options.keep,
        partial_share=options.partial_share,
        rotate_inside_messages=options.rotate_inside_messages,
        compress=options.compress,
    )
    generator = Generator(options.folder, options.names.split(","), settings, options.seed)
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, generator.stop)
    manifest = generator.run(options.rate, options.seconds, options.report)
    unfinished = options.manifest.with_suffix(".tmp")
    unfinished.write_bytes(msgspec.json.encode(manifest))
    unfinished.rename(options.manifest)


if __name__ == "__main__":
    main()
