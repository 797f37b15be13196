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

from .histories import History, Kill, Look, Rename, Reopen, Settle, Start, Step, Write, Writer
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
EVENTS = st.one_of(WRITE, WRITE, ROTATION, st.just([Look()]), st.builds(lambda n: [Settle(n)], st.integers(1, 5)))
LIFE: st.SearchStrategy[list[list[Step]]] = st.tuples(
    WRITE,
    st.just([Look()]),
    st.builds(lambda n: [Settle(n)], st.integers(0, 5)),
    st.one_of(NOTHING, EVENTS),
    st.one_of(NOTHING, EVENTS),
    st.just([Kill()]),
    st.one_of(NOTHING, WRITE),
    st.one_of(NOTHING, ROTATION),
    st.one_of(NOTHING, WRITE),
    st.one_of(NOTHING, ROTATION),
    st.builds(lambda block: [Start(block)], st.sampled_from([1, 300, 100_000])),
).map(list)
STEPS: st.SearchStrategy[list[Step]] = st.one_of(
    st.lists(EVENTS, max_size=8),
    st.lists(LIFE, min_size=1, max_size=3).map(lambda lives: [e for life in lives for e in life]),
).map(lambda events: [step for event in events for step in event])


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


def played(options: str, data: bytes, steps: list[Step], setting: Setting, keeps_lines: bool) -> History:
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        log, link = folder / "pods" / "0.log", folder / "c.log"
        log.parent.mkdir()
        link.symlink_to(log)
        common = f"path {link if setting.is_linked else log}\ndb {folder}/p.db\nread_from_head on"
        watcher = f"inotify_watcher {'on' if setting.watcher else 'off'}"
        writer = Writer(log, data, keeps_lines)
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


@settings(max_examples=15, deadline=None, derandomize=True, database=None)
@given(steps=STEPS, setting=SETTINGS)
def test_a_file_that_ends_inside_a_line_makes_two_records_of_it(steps: list[Step], setting: Setting) -> None:
    data = b"".join(b"id=%d %s\n" % (number, b"x" * (number * 7 % 30)) for number in range(setting.count))

    history = played("unfinished_line_at_rotation record", data, steps, setting, False)

    expected = Counter(line for content in history.files for line in content.decode().splitlines())
    delivered = Counter(str(body["log"]) for _, body in history.delivered)
    repeatable = Counter(str(body["log"]) for _, body in history.may_be_repeated)
    assert set(delivered) == set(expected)
    assert not expected - delivered
    assert not delivered - expected - repeatable
