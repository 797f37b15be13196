"""What holds for any lines, any splitting, any rotation and any moment of a kill."""

from __future__ import annotations

import asyncio
import itertools
import os
import random
from collections.abc import Sequence
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from shipper.disk import SystemDisk
from shipper.inputs.tail.assembly import Assembler, Block, Fields, JoinedLines, LineAssembler, Tally
from shipper.inputs.tail.follower import Follower
from shipper.inputs.tail.generation import Generation
from shipper.inputs.tail.long_lines import LongLines
from shipper.inputs.tail.positions import HEAD_SIZE, Position, SavedFile
from shipper.parsers.joiner import Joiner
from shipper.parsers.multiline import built_in_definitions
from shipper.record import Record

from .running import Tail, append, rows

NOW_NS = 1_800_000_000_000_000_000

TIMES = st.sampled_from(
    [
        "2026-01-01T00:00:00.123456789Z",
        "2026-01-01T00:00:00.5Z",
        "2026-01-01T00:00:01.123456789+02:00",
        "2026-01-01T00:00:01.000000001-03:30",
        "2026-01-01T00:00:02Z",
        "2023-02-30T10:00:00.1Z",
        "2023-13-01T10:00:00.1Z",
        "1969-12-31T23:59:59.9Z",
        "1970-01-01T00:00:00.000000000Z",
        "1970-01-01T00:30:00.000000000+02:00",
        "2106-02-07T06:28:16.5Z",
        "2026-01-01T24:00:00.1Z",
        "2026-01-01T00:00:60.1Z",
        "not-a-time",
    ]
)
TEXTS = st.one_of(
    st.sampled_from(
        [b"", b" ", b"plain text", b"P ", b" P odd", b'{"a": 1}', b"caf\xc3\xa9", b"\xff\xfe", b"\xc3", b"\xa9"]
    ),
    st.binary(max_size=12).map(lambda b: b.replace(b"\n", b"")),
)
CRI_LINES = st.builds(
    lambda time, stream, flag, text, end: f"{time} {stream} {flag} ".encode() + text + end,
    TIMES,
    st.sampled_from(["stdout", "stderr"]),
    st.sampled_from(["F", "F", "P"]),
    TEXTS,
    st.sampled_from([b"\n", b"\n", b"\n", b"\n", b"\r\n"]),
)
PLAIN_CRI_LINES = st.builds(
    lambda stream, flag, text: f"2026-01-01T00:00:00.123456789Z {stream} {flag} {text}\n".encode(),
    st.sampled_from(["stdout", "stderr"]),
    st.sampled_from(["F", "P"]),
    st.sampled_from(["", "a", "b c", " P x"]),
)
ODD_LINES = st.one_of(
    st.sampled_from([b"\n", b"\r\n", b"odd line\n", b"2026-01-01T00:00:00.1Z stdout F\n", b'{"log":"docker\\n"}\n']),
    TEXTS.map(lambda text: text + b"\n"),
)
MIXTURES = st.one_of(
    st.lists(PLAIN_CRI_LINES, max_size=12), st.lists(st.one_of(CRI_LINES, CRI_LINES, ODD_LINES), max_size=12)
)


def joined_lines(short_way: bool, names: Sequence[str] = ("cri",)) -> JoinedLines:
    definitions = [built_in_definitions()[name] for name in names]
    joiner = Joiner(definitions, 2_000_000, lambda: NOW_NS)
    return JoinedLines(joiner, 4.0, Fields("log", None, None, "/a"), False, short_way, Tally())


Seen = tuple[list[tuple[int, list[tuple[str, object]]]], list[int], list[list[tuple[str, object]]]]


def taken(assembler: Assembler, blocks: list[bytes]) -> Seen:
    """The records of the blocks and of what is flushed at the end, in all three views."""
    records: list[Record] = []
    times: list[int] = []
    bodies: list[list[tuple[str, object]]] = []
    contents = []
    for block in blocks:
        start = 0
        while start < len(block):
            part = assembler.take(Block(block[start:], start, 1, False), NOW_NS)
            contents.append(part.content)
            start += part.consumed
    assembler.touch(0.0)
    contents.append(assembler.flush(1e9, None, NOW_NS))
    for content in contents:
        if content is not None:
            records += content.records()
            times += content.times_ns()
            bodies += [list(body.items()) for body in content.bodies()]
    return [(r.time_ns, list(r.body.items())) for r in records], times, bodies


def by_stream(seen: Seen) -> dict[object, list[tuple[int, object]]]:
    """The records of each stream; what is handed out first when two streams are ended at once makes no difference."""
    streams: dict[object, list[tuple[int, object]]] = {}
    for time_ns, body in seen[0]:
        streams.setdefault(dict(body).get("stream"), []).append((time_ns, body))
    return streams


@settings(max_examples=300, deadline=None)
@given(st.lists(MIXTURES, max_size=3))
def test_the_short_way_gives_the_records_of_the_joiner(blocks: list[list[bytes]]) -> None:
    data = [b"".join(lines) for lines in blocks]

    short = taken(joined_lines(True), data)
    long = taken(joined_lines(False), data)

    assert by_stream(short) == by_stream(long)


@settings(max_examples=60, deadline=None)
@given(MIXTURES)
def test_the_three_views_of_a_block_agree(lines: list[bytes]) -> None:
    records, times, bodies = taken(joined_lines(True, ("docker", "cri")), [b"".join(lines)])

    assert [r[0] for r in records] == times
    assert [r[1] for r in records] == bodies


class GrowingFile(SystemDisk):
    """A disk of one file that grows in memory."""

    def __init__(self) -> None:
        self.data = b""

    def stat_now(self) -> os.stat_result:
        return os.stat_result((0o100644, 7, 1, 1, 0, 0, len(self.data), 0, len(self.data), 0))


class MemoryDisk(GrowingFile):
    """The same as the `Disk` that a follower sees."""

    def __init__(self) -> None:
        super().__init__()
        self.fstat = lambda fd: self.stat_now()
        self.pread = lambda fd, size, offset: self.data[offset : offset + size]


def followed(pieces: list[bytes], assembler: Assembler, rules: LongLines, size: int) -> list[tuple[int, object]]:
    """The records of a file that grows by these pieces and is read to its end after each."""
    disk = MemoryDisk()
    saved = SavedFile("/a", "/a", 1, 7, Position())

    def remember_head(generation: Generation) -> None:
        generation.first_bytes = disk.pread(generation.fd, HEAD_SIZE, 0)

    follower = Follower("/a", "t", assembler, rules, disk, lambda generation: None, remember_head)
    follower.generations.append(Generation(1, 3, disk.stat_now(), saved, b""))
    records: list[Record] = []
    for piece in pieces:
        disk.data += piece
        while follower.has_data():
            batch = follower.read(size, NOW_NS)
            if batch is not None:
                records += batch.content.records()
                batch.receipt.settle()
    assert follower.is_settled
    return [(r.time_ns, list(r.body.items())) for r in records]


def assembler_of(kind: str) -> Assembler:
    if kind == "raw":
        return LineAssembler(Fields("log", "p", "o", "/a"), None, False, Tally())
    if kind == "plain":
        return LineAssembler(Fields("log", None, None, "/a"), None, False, Tally())
    return joined_lines(True, ("cri",) if kind == "cri" else ("docker", "cri"))


RAW_LINES = st.one_of(
    st.binary(max_size=100).map(lambda b: b.replace(b"\n", b"") + b"\n"),
    st.integers(30, 140).map(lambda n: b"y" * n + b"\n"),
    st.integers(10, 60).map(lambda n: "é".encode() * n + b"\n"),
    st.integers(1, 200).map(lambda n: b"\0" * n + b"after\n"),
)


def split_at(data: bytes, cuts: list[int]) -> list[bytes]:
    places = [0, *sorted({c % (len(data) + 1) for c in cuts}), len(data)]
    return [data[a:b] for a, b in itertools.pairwise(places)]


@settings(max_examples=250, deadline=None)
@given(
    kind=st.sampled_from(["raw", "plain", "cri", "docker, cri"]),
    lines=st.one_of(MIXTURES, st.lists(RAW_LINES, max_size=12)),
    cuts=st.lists(st.integers(0, 10_000), max_size=12),
    limit=st.sampled_from([63, 127, 100_000]),
    rule=st.sampled_from(["skip", "truncate"]),
    unfinished=st.binary(max_size=5),
)
def test_records_do_not_depend_on_how_a_file_grows(
    kind: str, lines: list[bytes], cuts: list[int], limit: int, rule: str, unfinished: bytes
) -> None:
    data = b"".join(lines) + unfinished.replace(b"\n", b"")

    def read(pieces: list[bytes], size: int) -> tuple[list[tuple[int, object]], tuple[int, int]]:
        rules = LongLines(limit, rule == "skip", rule == "truncate")
        return followed(pieces, assembler_of(kind), rules, size), (rules.skipped, rules.truncated)

    whole, whole_counts = read([data], 1_000_000)
    pieces, counts = read(split_at(data, cuts), 1)

    assert pieces == whole
    if not unfinished:
        assert counts == whole_counts


@settings(max_examples=60, deadline=None)
@given(
    kind=st.sampled_from(["raw", "plain", "docker, cri"]),
    size=st.integers(512, 3000),
    cuts=st.lists(st.integers(0, 10_000), max_size=6),
)
def test_a_hole_is_no_text_wherever_the_file_was_read(kind: str, size: int, cuts: list[int]) -> None:
    data = b"one\n" + b"\0" * size + b"two\n\0three\n"

    records = followed(split_at(data, cuts), assembler_of(kind), LongLines(100_000, True, False), 1)

    assert [body for _, body in records] == [
        [*([("p", "/a"), ("o", offset)] if kind == "raw" else []), ("log", text)]
        for offset, text in ((0, "one"), (4 + size, "two"), (8 + size, "\0three"))
    ]


# -- rotation and kill ---------------------------------------------------------------------------------------------


class Writer:
    """Writes numbered CRI lines, some of them in parts, and rotates at any place."""

    def __init__(self, path: Path, seed: int) -> None:
        self.path = path
        self.random = random.Random(seed)
        self.ids: list[str] = []
        self.rotations = 0
        self.is_followed = False
        """Whether the path was ever followed; what was rotated before is not ours."""

    def write(self, records: int) -> None:
        for _ in range(records):
            number = len(self.ids)
            stream = self.random.choice(["stdout", "stderr"])
            head = f"2026-01-01T00:00:00.{number:09d}Z {stream}"
            self.ids.append(f"id={number} end" if self.random.random() < 0.6 else f"id={number} middle end")
            parts = [f"id={number} ", "middle ", "end"] if "middle" in self.ids[-1] else [f"id={number} end"]
            for part in parts:
                append(self.path, f"{head} {'F' if part is parts[-1] else 'P'} {part}")
                if self.is_followed and self.random.random() < 0.08:
                    self.rotate()

    def rotate(self) -> None:
        self.rotations += 1
        self.path.rename(f"{self.path}.20260101-{self.rotations:06d}")


@pytest.mark.parametrize("seed", range(6))
async def test_no_kill_and_no_rotation_loses_a_record_or_repeats_a_delivered_one(tmp_path: Path, seed: int) -> None:
    writer = Writer(tmp_path / "0.log", seed)
    options = f"path {tmp_path}/0.log\nread_from_head on\nmultiline.parser cri\ndb {tmp_path}/p.db"
    delivered: list[str] = []
    owed: list[str] = []
    for _ in range(4):
        writer.write(25)
        async with Tail(options, settling="later") as tail:
            await tail.until(lambda: (tmp_path / "p.db").exists() and len(rows(tmp_path / "p.db")) > 0)
            writer.is_followed = True
            await asyncio.sleep(writer.random.choice([0.0, 0.05, 0.2, 0.4]))
            writer.write(15)
            await asyncio.sleep(writer.random.choice([0.1, 0.3]))
            settled = tail.settle(writer.random.randint(0, len(tail.batches)))
            await tail.are_saved()
            await tail.kill()
        lines = [[body["log"] for body in batch.content.bodies()] for batch in tail.batches]
        delivered += [line for batch in lines[:settled] for line in batch]
        owed += [line for batch in lines[settled:] for line in batch]
    async with Tail(options) as last:
        final = await last.is_quiet(1.2)

    assert sorted(set(delivered + final)) == sorted(writer.ids)
    assert len(delivered + final) == len(writer.ids)
    assert set(owed) <= set(writer.ids)
