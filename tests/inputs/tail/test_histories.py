"""Whatever is written, rotated, delivered and killed in any order: the records are those of one undisturbed file."""

from __future__ import annotations

import asyncio
import random
import tempfile
from collections import Counter
from collections.abc import Callable, Iterable
from pathlib import Path

import msgspec
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from shipper.inputs.tail.assembly import Block
from shipper.record import Body, Content

from .histories import (
    Compress,
    CopyTruncate,
    History,
    Kill,
    Look,
    Names,
    Rename,
    Reopen,
    Settle,
    Start,
    Step,
    Write,
    Writer,
)
from .running import Tail

Lines = tuple[str, list[str]]
"""The stream of a message, and its lines."""


def plain(rng: random.Random, number: int) -> Lines:
    return "", [f"id={number} {'é' * rng.randint(0, 20)}"]


def cri(rng: random.Random, number: int) -> Lines:
    stream = rng.choice(["stdout", "stderr"])
    parts = [*[f"id={number} é "] * rng.randint(0, 3), f"id={number} end"]
    head = f"2026-01-01T00:00:00.{number:09d}Z {stream}"
    return stream, [f"{head} {'F' if part is parts[-1] else 'P'} {part}" for part in parts]


def docker(rng: random.Random, number: int) -> Lines:
    stream = rng.choice(["stdout", "stderr"])
    parts = [*[f"id={number} é "] * rng.randint(0, 3), f"id={number} end\\n"]
    rest = f'"stream":"{stream}","time":"2026-01-01T00:00:00.{number:09d}Z"'
    return stream, [f'{{"log":"{part}",{rest}}}' for part in parts]


def docker_or_cri(rng: random.Random, number: int) -> Lines:
    form = rng.choice([docker, cri])
    stream, lines = form(rng, number)
    return f"{form.__name__} {stream}", lines


def docker_stdout(rng: random.Random, number: int) -> Lines:
    return "", docker(rng, number)[1]


def java(rng: random.Random, number: int) -> Lines:
    if rng.random() < 0.4:
        return "", [f"id={number} said"]
    return "", [f"x.OddException: id={number}", *[f"\tat a.B.c(B.java:{n})" for n in range(rng.randint(0, 4))]]


Message = Callable[[random.Random, int], Lines]
MODES: dict[str, tuple[str, Message]] = {
    "plain": ("unfinished_line_at_rotation join", plain),
    "cri": ("multiline.parser cri", cri),
    "docker": ("multiline.parser docker", docker),
    "docker, cri": ("multiline.parser docker, cri", docker_or_cri),
    "java": ("multiline.parser java", java),
    "docker mode": ("docker_mode on", docker_stdout),
}
SHORT_LINES = "buffer_chunk_size 299\nbuffer_max_size 299"
"""At least so much is read at once as the longest line may have."""

WRITE: st.SearchStrategy[list[Step]] = st.builds(lambda size: [Write(size)], st.integers(1, 500))
NOTHING: st.SearchStrategy[list[Step]] = st.just([])
ROTATION: st.SearchStrategy[list[Step]] = st.one_of(
    st.builds(lambda late: [Rename(), *late, Reopen()], st.one_of(NOTHING, WRITE)),
    st.just([Rename(), Look(), Reopen()]),
)
COPYING: st.SearchStrategy[list[Step]] = st.one_of(st.just([CopyTruncate()]), st.just([CopyTruncate(), Look()]))
COMPRESSING: st.SearchStrategy[list[Step]] = st.builds(
    lambda place, keeps_time: [Compress(place, keeps_time)], st.integers(0, 1), st.booleans()
)


def histories(rotation: st.SearchStrategy[list[Step]]) -> st.SearchStrategy[list[Step]]:
    events = st.one_of(WRITE, WRITE, rotation, st.just([Look()]), st.builds(lambda n: [Settle(n)], st.integers(1, 5)))
    life: st.SearchStrategy[list[list[Step]]] = st.tuples(
        WRITE,
        st.just([Look()]),
        st.builds(lambda n: [Settle(n)], st.integers(0, 5)),
        st.one_of(NOTHING, events),
        st.one_of(NOTHING, events),
        st.just([Kill()]),
        st.one_of(NOTHING, WRITE),
        st.one_of(NOTHING, rotation),
        st.one_of(NOTHING, WRITE),
        st.one_of(NOTHING, rotation),
        st.builds(lambda block: [Start(block)], st.sampled_from([1, 300, 100_000])),
    ).map(list)
    return st.one_of(
        st.lists(events, max_size=8),
        st.lists(life, min_size=1, max_size=3).map(lambda lives: [e for life in lives for e in life]),
    ).map(lambda events: [step for event in events for step in event])


STEPS = histories(ROTATION)


class Way(msgspec.Struct, frozen=True):
    """A way to rotate: what the rotated files are called, what is done, and how the path goes on behind its stem."""

    names: Names
    rotation: st.SearchStrategy[list[Step]]
    pattern: str = ".log"


WAYS = {
    "dated": Way("dated", ROTATION),
    "dated, all followed": Way("dated", ROTATION, "*.log"),
    "dated and compressed": Way("dated", st.one_of(ROTATION, ROTATION, COMPRESSING)),
    "numbered": Way("numbered", ROTATION),
    "numbered and compressed": Way("numbered", st.one_of(ROTATION, ROTATION, COMPRESSING)),
    "stamped and compressed": Way("stamped", st.one_of(ROTATION, ROTATION, COMPRESSING)),
    "copied": Way("stamped", COPYING),
    "copied, numbered and compressed": Way("numbered", st.one_of(COPYING, COPYING, COMPRESSING)),
}


def written(message: Message, count: int, rng: random.Random) -> bytes:
    """The lines of so many messages; those of different streams stand among one another."""
    waiting: dict[str, list[str]] = {}
    for number in range(count):
        stream, lines = message(rng, number)
        waiting.setdefault(stream, []).extend(lines)
    data = ""
    while streams := [stream for stream, lines in waiting.items() if lines]:
        data += waiting[rng.choice(streams)].pop(0) + "\n"
    return data.encode()


Seen = dict[object, list[tuple[int, str]]]
"""By stream: the times of the records, which are 0 where they do not come from the lines, and the texts."""


def seen(records: Iterable[tuple[int, Body]]) -> Seen:
    by_stream: Seen = {}
    for time_ns, body in records:
        stream = body.get("stream")
        by_stream.setdefault(stream, []).append((time_ns if stream else 0, str(list(body.items()))))
    return by_stream


def undisturbed(options: str, data: bytes) -> Seen:
    """The records of one file that is read in one go."""
    assembler = Tail(f"path /a\n{options}").assembler("/a")
    contents: list[Content | None] = []
    start = 0
    while start < len(data):
        taken = assembler.take(Block(data[start:], start, 1, True), 1)
        contents.append(taken.content)
        start += taken.consumed
    assembler.touch(0.0)
    contents.append(assembler.flush(1e9, None, 1))
    return seen(record for c in contents if c for record in zip(c.times_ns(), c.bodies(), strict=True))


class Setting(msgspec.Struct, frozen=True):
    """All of a history but its steps."""

    count: int
    """So many messages are written."""
    seed: int
    is_tidy: bool
    is_linked: bool
    watcher: bool


SETTINGS = st.builds(
    Setting, st.integers(0, 25), st.integers(0, 999), st.booleans(), is_linked=st.booleans(), watcher=st.booleans()
)


SAME_NAME = Way("stamped", ROTATION)


def played(
    options: str, data: bytes, steps: list[Step], setting: Setting, keeps_lines: bool, way: Way = SAME_NAME
) -> History:
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        log, link = folder / "pods" / "0.log", folder / "c.log"
        log.parent.mkdir()
        link.symlink_to(log)
        path = (link if setting.is_linked else log).with_suffix("")
        common = f"path {path}{way.pattern}\ndb {folder}/p.db\nread_from_head on"
        watcher = f"inotify_watcher {'on' if setting.watcher else 'off'}"
        writer = Writer(log, data, keeps_lines, way.names)
        history = History(f"{common}\n{watcher}\n{options}\n{SHORT_LINES}", writer, setting.seed, setting.is_tidy)
        asyncio.run(history.play(steps))
    return history


def assert_undisturbed(mode: str, steps: list[Step], setting: Setting) -> None:
    options, message = MODES[mode]
    data = written(message, setting.count, random.Random(setting.seed))

    history = played(options, data, steps, setting, mode != "plain")

    expected, delivered, repeatable = undisturbed(options, data), seen(history.delivered), seen(history.may_be_repeated)
    if setting.is_tidy:
        assert delivered == expected
    for stream, records in expected.items():
        again = Counter(delivered[stream]) - Counter(records)
        assert set(delivered[stream]) == set(records)
        assert set(again) <= set(repeatable.get(stream, ()))


SHORT_REPLAY: list[Step] = [Write(326), Write(401), Look(), Look(), Rename(), Reopen(), Write(143), Kill()]
"""What was open at the kill is more than one short read gives."""

ALIKE: list[Step] = [Write(48), Rename(), Reopen(), Write(47), Look(), Rename(), Reopen(), Kill()]
"""The file that is there at the restart begins like the one that was rotated in the meantime."""

SEEN_AND_ROTATED: list[Step] = [Rename(), Look(), Reopen()]
EMPTY_AT_FIRST: list[Step] = [Write(1), *SEEN_AND_ROTATED, Write(30), *SEEN_AND_ROTATED, *SEEN_AND_ROTATED]
"""A file that was empty when it was rotated is written behind another whose last line has no end."""


@pytest.mark.parametrize("mode", MODES)
@settings(max_examples=15, deadline=None, derandomize=True, database=None)
@given(steps=STEPS, setting=SETTINGS)
@example(steps=SHORT_REPLAY, setting=Setting(21, 73, True, False, False))
@example(steps=ALIKE, setting=Setting(16, 961, True, False, False))
@example(steps=EMPTY_AT_FIRST, setting=Setting(2, 0, True, False, True))
def test_no_history_changes_the_records(mode: str, steps: list[Step], setting: Setting) -> None:
    assert_undisturbed(mode, steps, setting)


@pytest.mark.soak
@pytest.mark.parametrize("mode", MODES)
@settings(max_examples=1000, deadline=None)
@given(steps=STEPS, setting=SETTINGS)
def test_no_history_of_very_many_changes_the_records(mode: str, steps: list[Step], setting: Setting) -> None:
    assert_undisturbed(mode, steps, setting)


TRUNCATED_TWICE: list[Step] = [Write(320), CopyTruncate(), Look(), Write(111), CopyTruncate()]
"""The end of a line is written to the next file, and that copied and emptied, between two looks."""


@settings(max_examples=15, deadline=None, derandomize=True, database=None)
@given(steps=histories(COPYING), setting=SETTINGS)
@example(steps=TRUNCATED_TWICE, setting=Setting(13, 0, False, False, False))
def test_a_line_in_two_copies_is_one_record(steps: list[Step], setting: Setting) -> None:
    assert_undisturbed("plain", steps, setting)


UNREAD: list[Step] = [Look(), Kill(), Rename(), Look(), Reopen(), Start(1)]
COMPRESSED_UNREAD: list[Step] = [
    Write(252),
    *UNREAD,
    Write(357),
    *UNREAD,
    Write(311),
    Look(),
    Kill(),
    Compress(0, True),
]
"""A file that is shorter than others are known by is compressed before it was read."""


@settings(max_examples=15, deadline=None, derandomize=True, database=None)
@given(steps=histories(WAYS["stamped and compressed"].rotation), setting=SETTINGS)
@example(steps=COMPRESSED_UNREAD, setting=Setting(12, 42, False, True, True))
def test_compressing_rotated_files_changes_no_record(steps: list[Step], setting: Setting) -> None:
    assert_undisturbed("plain", steps, setting)


@settings(max_examples=15, deadline=None, derandomize=True, database=None)
@given(steps=STEPS, setting=SETTINGS)
def test_a_file_that_ends_inside_a_line_makes_two_records_of_it(steps: list[Step], setting: Setting) -> None:
    lines = [b"id=%d %s\n" % (number, b"x" * (number * 7 % 30)) for number in range(setting.count)]
    assert_every_line(lines, steps, setting, SAME_NAME, keeps_lines=False)


@pytest.mark.parametrize("name", WAYS)
@settings(max_examples=8, deadline=None, derandomize=True, database=None)
@given(data=st.data(), setting=SETTINGS)
def test_no_way_to_rotate_changes_the_lines(name: str, data: st.DataObject, setting: Setting) -> None:
    way = WAYS[name]
    assert_every_line(telling_lines(setting.count), data.draw(histories(way.rotation)), setting, way, keeps_lines=True)


@pytest.mark.soak
@pytest.mark.parametrize("name", WAYS)
@settings(max_examples=1000, deadline=None)
@given(data=st.data(), setting=SETTINGS)
def test_no_way_to_rotate_changes_the_lines_of_very_many(name: str, data: st.DataObject, setting: Setting) -> None:
    way = WAYS[name]
    assert_every_line(telling_lines(setting.count), data.draw(histories(way.rotation)), setting, way, keeps_lines=True)


def telling_lines(count: int) -> list[bytes]:
    """Lines of which one is enough to tell a file by."""
    return [b"id=%d %s %s\n" % (n, b"%032x" % (n * 2654435761**3 % 2**128), b"x" * (n * 7 % 30)) for n in range(count)]


def assert_every_line(lines: list[bytes], steps: list[Step], setting: Setting, way: Way, keeps_lines: bool) -> None:
    history = played("unfinished_line_at_rotation record", b"".join(lines), steps, setting, keeps_lines, way)

    expected = Counter(line for content in history.files for line in content.decode().splitlines())
    delivered = Counter(str(body["log"]) for _, body in history.delivered)
    repeatable = Counter(str(body["log"]) for _, body in history.may_be_repeated)
    assert set(delivered) == set(expected)
    assert not expected - delivered
    assert not delivered - expected - repeatable
