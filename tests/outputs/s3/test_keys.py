from __future__ import annotations

import re
import time
from collections.abc import Iterator

import pytest

from shipper.outputs.s3.keys import KEY_LIMIT, KeyFormat, encoded_path, random_name


@pytest.fixture
def in_tokyo(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """A machine whose own time is not UTC."""
    monkeypatch.setenv("TZ", "Asia/Tokyo")
    time.tzset()
    yield
    monkeypatch.undo()
    time.tzset()


MIDNIGHT = 1_597_449_600_000_000_000
TAG = "aa.bb.ccc"


@pytest.mark.parametrize(
    ("text", "tag", "delimiters", "key"),
    [
        ("/logs/$TAG[2]/$TAG[0]/%Y/%m/%d", TAG, ".", "logs/ccc/aa/2020/08/15"),
        ("/logs/$TAG/%Y/%m/%d", TAG, ".", "logs/aa.bb.ccc/2020/08/15"),
        (
            "/logs/my.great_photos-2020:jan/$TAG/%Y/%m/%d",
            TAG,
            ".",
            "logs/my.great_photos-2020:jan/aa.bb.ccc/2020/08/15",
        ),
        ("/logs/$TAG[2]/$TAG[0]/%Y/%m/%d", "aa.bb-ccc", ".-", "logs/ccc/aa/2020/08/15"),
        ("/logs/$TAG[2]/$TAG[0]/%Y/%m/%d", "aa.bb-ccc", ",/", "logs/aa.bb-ccc[2]/aa.bb-ccc/2020/08/15"),
        ("/logs/$TAG[2]/$TAG[-1]/%Y/%m/%d", TAG, ".", "logs/ccc/aa.bb.ccc[-1]/2020/08/15"),
        ("/logs/fluent-bit", TAG, ".", "logs/fluent-bit"),
        ("/logs/%Y/m/%m/d/%d/%q", TAG, ".", "logs/2020/m/08/d/15/%q"),
        ("/logs/%3N/%L", TAG, ".", "logs/%3N/%L"),
        ("/$TAG[]/$TAG", "..a..b..", ".", "..a..b..[]/..a..b.."),
        ("/$TAG[0]/$TAG[1]", "..a..b..", ".", "a/b"),
        ("/$TAG", "%Y$UUID$INDEX$TAG[0]", ".", "%Y$UUID$INDEX$TAG[0]"),
        ("/x/$TAG/y", "../../etc", "/", "x/__/__/etc/y"),
        ("/x/$TAG", "a\nb\0c", "/", "x/a_b_c"),
    ],
)
def test_a_format_is_filled_in(text: str, tag: str, delimiters: str, key: str) -> None:
    keys = KeyFormat(text=text, delimiters=delimiters, is_static=True)

    assert keys.key(tag, MIDNIGHT) == key


@pytest.mark.parametrize(
    ("counter", "key"),
    [
        (12, "logs/a-12-b-c"),
        (18446744073709551615, "logs/a-18446744073709551615-b-c"),
        (18446744073709551616, "logs/a-0-b-c"),
    ],
)
def test_the_counter_is_of_64_bits(counter: int, key: str) -> None:
    assert KeyFormat(text="/logs/a-$INDEX-b-c").key(TAG, MIDNIGHT, counter) == key


def test_each_uuid_has_characters_of_its_own() -> None:
    names = iter(["11111111", "22222222"])
    keys = KeyFormat(text="/logs/$TAG[2]/$TAG[1]/$TAG[0]/%Y/%m/%d/file-$INDEX-$UUID-$UUID", random=lambda: next(names))

    assert keys.key(TAG, MIDNIGHT, 0) == "logs/ccc/bb/aa/2020/08/15/file-0-11111111-22222222"


def test_random_characters_come_behind_everything_unless_the_format_makes_keys_differ() -> None:
    assert KeyFormat(text="/a.json", random=lambda: "Ab12Cd34").key(TAG, 0) == "a.json-objectAb12Cd34"
    assert KeyFormat(text="/a.json", is_static=True).key(TAG, 0) == "a.json"
    assert KeyFormat(text="/a-$INDEX.json").key(TAG, 0, 7) == "a-7.json"


@pytest.mark.parametrize(
    ("text", "is_static", "is_unique"), [("/a", False, True), ("/a", True, False), ("/$INDEX", False, False)]
)
def test_it_is_known_which_keys_cannot_meet(text: str, is_static: bool, is_unique: bool) -> None:
    assert KeyFormat(text=text, is_static=is_static).is_unique is is_unique


def test_random_names_are_eight_characters_that_do_not_repeat() -> None:
    names = {random_name() for _ in range(1000)}

    assert len(names) == 1000
    assert all(re.fullmatch("[0-9A-Za-z]{8}", name) for name in names)


def test_a_long_key_is_cut_and_keeps_its_random_end() -> None:
    key = KeyFormat(text="/" + "é" * 2000, random=lambda: "Ab12Cd34").key(TAG, 0)

    assert len(key.encode()) <= KEY_LIMIT
    assert key.endswith("é-objectAb12Cd34")


@pytest.mark.parametrize("text", ["/$TAG/$UUID", "/$TAG/$INDEX", "/$TAG/%Y"])
def test_keys_differ_though_what_made_them_differ_is_cut_off(text: str) -> None:
    made = KeyFormat(text=text)
    keys = {made.key("t" * 2000, 0, counter) for counter in range(50)}

    assert len(keys) == 50
    assert all(len(key.encode()) <= KEY_LIMIT for key in keys)


def test_a_key_that_was_to_have_random_characters_has_some_though_it_is_cut_and_static() -> None:
    made = KeyFormat(text="/$TAG/$UUID", is_static=True)
    keys = {made.key("t" * 2000, 0) for _ in range(50)}

    assert made.is_unique
    assert len(keys) == 50
    assert all(len(key.encode()) <= KEY_LIMIT for key in keys)


@pytest.mark.parametrize(
    ("text", "key"),
    [
        ("/%s/%%s/%-s", "1597449600/%s/1597449600"),
        ("/%-m/%-d/%_m/%03d/%^a/%#Z", "8/15/ 8/015/SAT/gmt"),
        ("/%Ey/%Od/%P", "20/15/am"),
        ("/%9999d/%-q/%-", "%9999d/%-q/%-"),
        ("/100%", "100%"),
    ],
)
def test_times_are_as_c_writes_them_in_utc(text: str, key: str, in_tokyo: None) -> None:
    assert KeyFormat(text=text, is_static=True).key(TAG, MIDNIGHT) == key


def test_keys_are_encoded_in_urls() -> None:
    assert encoded_path("a b/é?x=1&y#+~_.-") == "a%20b/%C3%A9%3Fx%3D1%26y%23%2B~_.-"
