"""Delivers the chunk files that Fluent Bit has left in its storage.path, oldest first, and then deletes them.

A file is read when an output comes to it, and its records are routed by their tag as Fluent Bit would. They stay in
memory while there is room for them, and are read again otherwise when their turn comes. What each output has delivered
is noted in a file of ours, so that after a restart only the others get it. A file goes when all its outputs have
delivered it; if it was doubtful, or nothing in it can be read, it is moved to the quarantine instead. A file whose tag
no output wants stays where it is.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping, Sequence

import msgspec

from ...clock import Clock
from ...disk import Disk
from ...log import Log
from ...metrics import Metrics
from ...record import SOMEWHERE, Receipt, RecordBatch, RecordList
from ..base import DAMAGED, BatchLimits, Buffer, BufferStatistics, Lane, Loss, Skipped
from ..lanes import Lanes
from .cache import weight_of
from .chunk_format import SUFFIX, Chunk, UnreadableChunk, age_of, parse_chunk
from .encoding import decode_content, encode_content
from .entry import LONG_AGO, Entry
from .files import PRIVATE, read_all, release, write_all
from .names import LOGS, QUARANTINE, chunks_folder, quarantine_folder
from .quarantine import Quarantine
from .reader import StoredReader
from .segment import Sums

_REMARK_EVERY_S = 60.0

Route = Callable[[str], Sequence[str]]
"""The outputs for a tag."""

Routed = Callable[[str, int], None]
"""Is told of records that are now known to be for an output."""


class ChunkFile:
    """A file; `outputs` are those that get it, None while nobody has read it, and `done` those that have it."""

    __slots__ = ("chunk", "done", "input_name", "number", "outputs", "path", "told")

    def __init__(self, path: str, input_name: str, number: int, done: set[str]) -> None:
        self.path = path
        self.input_name = input_name
        self.number = number
        self.done = done
        self.told: set[str] = set()
        self.outputs: tuple[str, ...] | None = None
        self.chunk: Chunk | None = None
        """What was read, without the records."""


class ChunkBacklog(Buffer):
    """A buffer that nothing is put into. Readers come first, then `open`, which only lists the files.

    `memory` bounds the resident bytes of what was read and waits.
    """

    def __init__(
        self,
        path: str,
        rejected: str,
        route: Route,
        clock: Clock,
        log: Log,
        disk: Disk,
        metrics: Metrics,
        routed: Routed,
        skipped: Skipped,
        *,
        memory: int = 0,
        verify: bool = False,
        names: Mapping[str, str] | None = None,
    ) -> None:
        self._path = path
        self._stored_names = {} if names is None else names
        self._others = (LOGS, QUARANTINE, rejected.partition("/")[0])
        self._route = route
        self._clock = clock
        self._tell = log
        self._disk = disk
        self._routed = routed
        self.skipped = skipped
        self._verify = verify
        self._failures = metrics.counter("storage_failures_total", name="chunk_files")
        self._quarantined = metrics.counter("storage_quarantined_total", name="chunk_files")
        self._journal = f"{chunks_folder(path)}/delivered"
        self.files: list[ChunkFile] = []
        self._left = 0
        self._memory = memory
        self._weights: dict[Entry, int] = {}
        self._weight = 0

    def open(self) -> None:
        """Find the files; raises `OSError` if a folder cannot be read."""
        found = [(age_of(name), folder) for folder in self._folders() for name in self._chunks_in(folder)]
        done = self._load_journal()
        for number, ((_, _, name), folder) in enumerate(sorted(found)):
            path = f"{folder}/{name}"
            self.files.append(ChunkFile(f"{self._path}/{path}", folder, number, done.get(path, set())))
        self._left = len(self.files)
        if done and not self.files:
            self._disk.unlink(self._journal)
        if self.files:
            self._tell.info("chunk files of Fluent Bit are delivered", files=self._left)

    def held(self) -> dict[str, int]:
        """Nothing: what the files hold is told as routed when it is read."""
        return {}

    async def room(self, size: int) -> None:
        """Return at once."""

    def put(self, batch: RecordBatch, outputs: Sequence[str]) -> None:
        raise RuntimeError("nothing can be put among the files of Fluent Bit")

    def reader(self, output: str, lane: Lane, limits: BatchLimits, notify: Callable[[], None]) -> StoredReader:
        return StoredReader(_ChunkSource(self, output, lane, limits), notify)

    def statistics(self) -> BufferStatistics:
        """Batches are files; what they hold is not known before they are read."""
        return BufferStatistics(self._left, 0, 0, False, self._weight)

    def read(self, file: ChunkFile, output: str) -> tuple[Entry | None, int]:
        """The file's records if they are for this output, and the bytes that were read; raises `OSError`."""
        if output in file.done or (file.outputs is not None and output not in file.outputs):
            return None, 0
        try:
            data = read_all(self._disk, file.path)
        except FileNotFoundError:
            return None, 0
        try:
            chunk = parse_chunk(data, verify=self._verify)
        except UnreadableChunk as error:
            file.outputs = ()
            self._set_aside(file, 0, str(error))
            return None, len(data)
        if file.outputs is None:
            self._note_content(file, chunk)
        wanted = file.outputs is not None and output in file.outputs
        return self._entry(file, chunk, len(data), output) if wanted else None, len(data)

    def read_again(self, entry: Entry) -> RecordBatch | None:
        """The records of a file that was read before; None if that cannot be any more.

        Raises `OSError` if it cannot be read now.
        """
        file = self.files[entry.sequence]
        try:
            return _batch_of(parse_chunk(read_all(self._disk, file.path), verify=self._verify))
        except FileNotFoundError:
            self._failures.add()
            self._tell.error(
                "a chunk file is gone before it was delivered", file=file.path, records=entry.records, tag=entry.tag
            )
        except OSError as error:
            self.read_failed(file, error)
            raise
        except UnreadableChunk as error:
            self._set_aside(file, 0, str(error))
        return None

    def remember(self, entry: Entry) -> None:
        """Keep the batch of this entry in memory if there is room; what came first is needed first, and stays."""
        assert entry.batch is not None
        weight = weight_of(entry.batch, entry.stored)
        if self._weight + weight > self._memory:
            entry.batch = None
            return
        self._weights[entry] = weight
        self._weight += weight

    def forget(self, entry: Entry) -> None:
        """The batch of this entry is not needed any more."""
        self._weight -= self._weights.pop(entry, 0)
        entry.batch = None

    def finished(self, output: str, entries: Sequence[Entry]) -> None:
        """The output has delivered these files."""
        for entry in entries:
            file = self.files[entry.sequence]
            file.done.add(output)
            self._note_delivered(file, output)
            if file.outputs is not None and file.done.issuperset(file.outputs):
                self._remove(file)

    def read_failed(self, file: ChunkFile, error: OSError) -> None:
        self._failures.add()
        self._tell.error(
            "a chunk file cannot be read; it is tried again", every=_REMARK_EVERY_S, file=file.path, reason=error
        )

    def _entry(self, file: ChunkFile, chunk: Chunk, stored: int, output: str) -> Entry:
        records, batch = len(chunk.records), _batch_of(chunk)
        if output not in file.told:
            file.told.add(output)
            self._routed(output, records)
        return Entry(
            file.number, file.outputs or (), records, chunk.size, stored, self._clock.time_ns(), LONG_AGO, batch
        )

    def _note_content(self, file: ChunkFile, chunk: Chunk) -> None:
        outputs = tuple(self._route(chunk.tag))
        if not outputs:
            self._left -= 1
            file.outputs = ()
            self._tell.warning("no output takes a stored chunk, it stays on disk", file=file.path, tag=chunk.tag)
            return
        file.outputs = outputs
        file.chunk = msgspec.structs.replace(chunk, records=[])
        if chunk.doubt is not None:
            self._tell.error(
                "a chunk file is not intact; what can be read is delivered", file=file.path, reason=chunk.doubt
            )
        if file.done.issuperset(outputs):
            self._remove(file)

    def _remove(self, file: ChunkFile) -> None:
        doubt = file.chunk.doubt if file.chunk is not None else None
        if file.chunk is not None and doubt is not None:
            self._set_aside(file, file.chunk.intact, doubt)
            return
        try:
            self._disk.unlink(file.path)
        except OSError as error:
            self._failures.add()
            self._tell.error("a delivered chunk file cannot be deleted", file=file.path, reason=error)
        self._left -= 1

    def _set_aside(self, file: ChunkFile, intact: int, reason: str) -> None:
        self._left -= 1
        folder = quarantine_folder(self._path, file.input_name)
        try:
            moved = Quarantine(self._disk, folder, self._clock).move(file.path, intact, reason)
        except OSError as error:
            self._failures.add()
            self._tell.error("a chunk file cannot be moved to the quarantine", file=file.path, reason=error)
            return
        self._quarantined.add()
        self._tell.error("a chunk file was moved to the quarantine", file=moved, reason=reason)

    def _folders(self) -> list[str]:
        return [name for name in self._names(self._path) if name not in self._others and not name.startswith(".")]

    def _chunks_in(self, folder: str) -> list[str]:
        names = self._names(f"{self._path}/{folder}")
        return [name for name in names if name.endswith(SUFFIX) and not name.startswith(".")]

    def _names(self, path: str) -> list[str]:
        try:
            return self._disk.listdir(path)
        except (FileNotFoundError, NotADirectoryError):
            return []

    def _load_journal(self) -> dict[str, set[str]]:
        """By file the outputs that have it; a line that was cut short by a crash is left out."""
        done: dict[str, set[str]] = {}
        name_of = {stored: name for name, stored in self._stored_names.items()}
        try:
            lines = read_all(self._disk, self._journal).split(b"\n")
        except FileNotFoundError:
            return done
        for line in lines:
            try:
                path, output = msgspec.json.decode(line, type=tuple[str, str])
            except msgspec.DecodeError:
                continue
            if output in name_of or output not in self._stored_names:
                done.setdefault(path, set()).add(name_of.get(output, output))
        return done

    def _note_delivered(self, file: ChunkFile, output: str) -> None:
        if file.outputs is None or len(file.outputs) < 2:
            return  # the file itself tells: it goes with its only output
        name = os.path.relpath(file.path, self._path)
        # The line feed in front ends a line that an earlier write has left unfinished.
        line = b"\n" + msgspec.json.encode((name, self._stored_names.get(output, output))) + b"\n"
        try:
            self._disk.mkdirs(os.path.dirname(self._journal))
            fd = self._disk.open(self._journal, os.O_WRONLY | os.O_APPEND | os.O_CREAT | os.O_CLOEXEC, PRIVATE)
            try:
                write_all(self._disk, fd, line)
            finally:
                release(self._disk, fd)
        except OSError as error:
            self._failures.add()
            self._tell.error(
                "it cannot be noted that a chunk was delivered; some records may come twice",
                every=_REMARK_EVERY_S,
                reason=error,
            )

    def __repr__(self) -> str:
        return f"ChunkBacklog({self._left} of {len(self.files)} files left)"


def _batch_of(chunk: Chunk) -> RecordBatch:
    payload = encode_content(RecordList(chunk.records))
    content = decode_content(payload.form, len(chunk.records), b"".join(payload.parts))
    return RecordBatch(chunk.tag, content, chunk.size, Receipt(origin=SOMEWHERE))


class _ChunkSource:
    """The files as one output sees them; `_next` is the first that was not looked at."""

    def __init__(self, backlog: ChunkBacklog, output: str, lane: Lane, limits: BatchLimits) -> None:
        self.lanes = Lanes[Entry](limits)
        self.held = Sums()
        self.has_failed = False
        self._backlog = backlog
        self._output = output
        self._lane = lane
        self._next = 0

    @property
    def is_level(self) -> bool:
        return self._next >= len(self._backlog.files)

    def can_read(self) -> bool:
        return not self.is_level

    def read_on(self) -> int:
        file = self._backlog.files[self._next]
        try:
            entry, size = self._backlog.read(file, self._output)
            self.has_failed = False
        except OSError as error:
            self.has_failed = True
            self._backlog.read_failed(file, error)
            return 0
        self._next += 1
        if entry is not None and entry.batch is not None:
            self.held.put(entry)
            self.lanes.add(entry, self._lane(entry.batch))
            self._backlog.remember(entry)
        return size

    def load(self, entry: Entry) -> RecordBatch | None:
        batch = entry.batch if entry.batch is not None else self._backlog.read_again(entry)
        if batch is None:
            self.held.take(entry)
            self._backlog.skipped(Loss(self._output, entry.records, entry.size, DAMAGED, entry.tag, entry.time_ns))
        return batch

    def is_replayed(self, entry: Entry) -> bool:
        return True

    def name_of(self, entry: Entry) -> str:
        return os.path.basename(self._backlog.files[entry.sequence].path)

    def release(self, entries: Sequence[Entry]) -> None:
        for entry in entries:
            self._backlog.forget(entry)

    def finish(self, entries: Sequence[Entry], *, are_released: bool = False) -> None:
        self.release(entries)
        for entry in entries:
            self.held.take(entry)
        self._backlog.finished(self._output, entries)

    def __repr__(self) -> str:
        return f"_ChunkSource({self._output!r}, next {self._next})"
