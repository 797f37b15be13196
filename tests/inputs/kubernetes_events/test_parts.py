"""Times, lines, progress, and what is remembered of sent events."""

from __future__ import annotations

import sqlite3
import stat
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from shipper.errors import ConfigError, OptionError
from shipper.inputs.kubernetes_events import KubernetesEventsInput, KubernetesEventsOptions
from shipper.inputs.kubernetes_events.database import EventDatabase
from shipper.inputs.kubernetes_events.events import LineSplitter, event_time_ns, version_number
from shipper.inputs.kubernetes_events.progress import Progress
from shipper.inputs.kubernetes_events.seen import RecentlySeen
from shipper.inputs.kubernetes_events.sent import SentEvent
from shipper.log import Log
from shipper.testing import context_of

from ...written_options import options_from

T = 1_722_477_784_000_000_000
AT = "2024-08-01T02:03:04"


@pytest.mark.parametrize(
    ("event", "time_ns"),
    [
        ({"lastTimestamp": f"{AT}Z", "firstTimestamp": "2020-01-01T00:00:00Z"}, T),
        ({"lastTimestamp": None, "firstTimestamp": f"{AT}Z"}, T),
        ({"metadata": {"creationTimestamp": f"{AT}Z"}}, T),
        ({"lastTimestamp": f"{AT}.5Z"}, T + 500_000_000),
        ({"metadata": {"creationTimestamp": f"{AT}Z"}, "eventTime": f"{AT}.123456Z"}, T),
        ({"metadata": {"creationTimestamp": "2024-08-01T02:09:09Z"}, "eventTime": f"{AT}.123456Z"}, T + 123_456_000),
        ({"eventTime": f"{AT}.123456Z"}, T + 123_456_000),
        ({"lastTimestamp": "1969-12-31T23:59:59.5Z"}, -500_000_000),
        ({"lastTimestamp": f"{AT}+00:00"}, None),
        ({"eventTime": "2024-07-01T00:00:00.5Z", "series": {"lastObservedTime": f"{AT}.123456Z"}}, T + 123_456_000),
        ({"lastTimestamp": f"{AT}Z", "series": {"lastObservedTime": f"{AT}.123456Z"}}, T),
        ({"lastTimestamp": f"{AT}Z", "series": {"lastObservedTime": "2024-07-01T00:00:00.5Z"}}, T),
        ({"eventTime": f"{AT}.5Z", "series": []}, T + 500_000_000),
        ({"lastTimestamp": "2024-02-30T02:03:04Z"}, None),
        ({"lastTimestamp": 5, "metadata": []}, None),
        ({}, None),
    ],
)
def test_time_of_an_event(event: dict[str, Any], time_ns: int | None) -> None:
    assert event_time_ns(event) == time_ns


@pytest.mark.parametrize(
    ("text", "number"), [("12", 12), ("", 0), ("1a", 0), ("-1", 0), ("٣", 0), ("9" * 18, 10**18 - 1), ("9" * 19, 0)]
)
def test_versions_are_compared_only_if_they_are_numbers(text: str, number: int) -> None:
    assert version_number(text) == number


@given(st.lists(st.binary(max_size=12)), st.lists(st.integers(1, 5)))
def test_lines_are_the_same_however_they_come(parts: list[bytes], cuts: list[int]) -> None:
    data = b"\n".join(parts)
    whole, pieces = LineSplitter(8), LineSplitter(8)
    expected = [*whole.feed(data), whole.rest()]

    got: list[bytes] = []
    for cut in cuts:
        got += pieces.feed(data[:cut])
        data = data[cut:]
    assert [*got, *pieces.feed(data), pieces.rest()] == expected
    assert pieces.too_long == whole.too_long


def test_a_line_that_is_too_long_is_counted_and_the_next_one_is_not_touched() -> None:
    lines = LineSplitter(5)

    assert lines.feed(b"abc\r\ntoo lo") + lines.feed(b"ng\ndef\n") == [b"abc", b"def"]
    assert lines.too_long == 1


def test_progress_passes_over_settled_steps_only() -> None:
    told: list[str] = []
    progress = Progress(lambda: told.append(progress.reached))
    first, page, last = progress.owe("7"), progress.owe(None), progress.owe("9")

    progress.settle(last)
    progress.settle(first)
    assert progress.reached == "7"
    progress.settle(page)
    assert told == ["7", "9"]


def test_a_step_that_was_withdrawn_holds_nothing_up() -> None:
    progress = Progress(lambda: None)
    first, second = progress.owe("7"), progress.owe("9")

    progress.withdraw(first)
    progress.settle(second)

    assert progress.reached == "9"


def test_what_is_owed_from_an_earlier_lead_holds_up_a_later_one() -> None:
    progress = Progress(lambda: None)
    early = progress.owe("7")
    progress.begin("5")
    progress.settle(progress.owe("20"))

    assert progress.reached == "5"
    progress.settle(early)
    assert progress.reached == "20"


def test_what_is_owed_are_the_keys_of_steps_that_are_not_settled() -> None:
    progress = Progress(lambda: None)
    steps = [progress.owe(str(number)) for number in range(3)]
    for step, keys in zip(steps, ({"a"}, {"b", "c"}, {"d"}), strict=True):
        step.hashes = list(map(hash, keys))
    progress.settle(steps[1])
    progress.withdraw(steps[2])

    assert progress.owed_hashes() == {hash("a")}


def test_what_was_seen_is_forgotten_when_it_is_old_or_too_much() -> None:
    now = 0.0
    seen = RecentlySeen(60, lambda: now, most=6, run=3)
    seen.add("a")
    now = 61
    seen.add("b")

    assert "a" in seen and "b" in seen
    now = 122
    seen.add("c")
    assert "a" not in seen and "b" in seen
    for number in range(100):
        seen.add(number)
    assert len(seen) <= 9 and 99 in seen and 94 in seen and 80 not in seen


@given(st.lists(st.integers(), max_size=50), st.lists(st.integers(), max_size=50))
def test_what_was_seen_is_found_wherever_it_is_kept(added: list[int], others: list[int]) -> None:
    seen = RecentlySeen(60, lambda: 0.0, run=4)
    for key in added:
        seen.add(key)

    assert all(key in seen for key in added)
    assert [key in seen for key in others] == [hash(key) in set(map(hash, added)) for key in others]


@given(st.lists(st.integers(), max_size=50), st.sets(st.integers()))
def test_what_was_seen_is_forgotten_wherever_it_is_kept(added: list[int], forgotten: set[int]) -> None:
    forgotten |= set(added[::3])
    seen = RecentlySeen(60, lambda: 0.0, run=4)
    for key in added:
        seen.add(key)
    seen.forget(list(map(hash, forgotten)))

    gone = set(map(hash, forgotten))
    assert [key in seen for key in added] == [hash(key) not in gone for key in added]


def store(path: Path) -> EventDatabase:
    sent = EventDatabase(str(path), "normal", False, "WAL", Log("[test] "))
    sent.open()
    return sent


def test_a_new_database_is_for_us_alone(tmp_path: Path) -> None:
    store(tmp_path / "events.db").close()

    assert stat.S_IMODE((tmp_path / "events.db").stat().st_mode) == 0o600


def test_the_database_of_fluent_bit_is_taken_over_and_left_as_it_expects_it(tmp_path: Path) -> None:
    path = tmp_path / "events.db"
    with sqlite3.connect(path) as theirs:
        theirs.execute(
            "CREATE TABLE in_kubernetes_events (id INTEGER PRIMARY KEY, uid TEXT NOT NULL,"
            " resourceVersion INTEGER NOT NULL, created INTEGER NOT NULL)"
        )
        theirs.execute("INSERT INTO in_kubernetes_events (uid, resourceVersion, created) VALUES ('u1', 10, 5)")
    theirs.close()
    ours = store(path)
    assert (ours.version("u1"), ours.version("u2")) == (10, None)
    ours.add([SentEvent("u2", 12, T), SentEvent("u1", 31, T)])
    ours.close()

    theirs = sqlite3.connect(path)
    rows = theirs.execute("SELECT id, uid, resourceVersion, created FROM in_kubernetes_events ORDER BY id").fetchall()
    theirs.close()
    assert rows == [(1, "u1", 31, T), (2, "u2", 12, T)]


def test_rows_wait_while_another_program_locks_the_database(tmp_path: Path) -> None:
    path = tmp_path / "events.db"
    sent = store(path)
    other = sqlite3.connect(path, isolation_level=None)
    other.execute("BEGIN IMMEDIATE")
    sent.add([SentEvent("u1", 10, T)])

    assert not sent.flush()
    assert sent.version("u1") == 10
    other.execute("ROLLBACK")
    other.close()
    assert sent.flush()
    sent.close()


def test_old_rows_are_deleted(tmp_path: Path) -> None:
    sent = store(tmp_path / "events.db")
    sent.add([SentEvent("old", 1, T), SentEvent("new", 2, T + 1)])
    sent.flush()

    sent.forget(T)

    assert (sent.version("old"), sent.version("new")) == (None, 2)
    sent.close()


def test_a_damaged_database_is_moved_aside(tmp_path: Path) -> None:
    path = tmp_path / "events.db"
    path.write_bytes(b"no database" * 1000)

    sent = store(path)

    assert sent.version("u1") is None
    sent.close()
    assert len(list(tmp_path.glob("events.db.damaged-*"))) == 1


@pytest.mark.parametrize(
    "line",
    [
        "Kube_URL ftp://x",
        "Kube_Namespace ../pods",
        "Kube_Leader_Lease_Name a/b",
        "Kube_Leader_Lease_Duration 1",
        "DB.Sync never",
        "DB.Journal_Mode WALL",
        "Kube_Tag x",
        "Kube_Leader_Election on\nstorage.type filesystem",
    ],
)
def test_options_that_cannot_be_used_end_the_start(line: str) -> None:
    with pytest.raises(ConfigError):
        options_from(KubernetesEventsOptions, line, "input")


@pytest.mark.parametrize("more", ["DB {folder}/none/events.db", "Kube_Leader_Election on"])
async def test_what_must_be_mended_is_named_at_the_start(tmp_path: Path, more: str) -> None:
    lines = f"Kube_Namespace_File {tmp_path}/none\n{more.format(folder=tmp_path)}"
    one = KubernetesEventsInput(options_from(KubernetesEventsOptions, lines, "input"), context_of())

    with pytest.raises(OptionError):
        await one.open()
    await one.close()


def test_the_configuration_of_the_published_example_is_understood() -> None:
    options = options_from(KubernetesEventsOptions, "tag k8s_events\nkube_url http://kubernetes.default.svc", "input")

    assert (options.kube_url.port, options.kube_url.is_tls, options.interval_s) == (443, False, 0.5)
