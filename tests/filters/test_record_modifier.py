"""record_modifier: fixed fields, removed fields, allowed fields."""

from __future__ import annotations

import logging
import re

import pytest

from shipper.filters.record_modifier import RecordModifierFilter, RecordModifierOptions
from shipper.record import Body, Record, RecordBatch
from shipper.testing import context_of

from ..written_options import options_from


def modified(lines: str, *bodies: Body) -> list[Body]:
    batch = RecordBatch("t", [Record(0, dict(body)) for body in bodies], 100)
    filter = RecordModifierFilter(options_from(RecordModifierOptions, lines), context_of("filter"))
    result = filter.apply(batch)
    return [r.body for r in result] if result else []


@pytest.mark.parametrize(
    ("lines", "before", "after"),
    [
        ("Remove_key ab*\nRecord b new", {"abc": 1, "Abd": 2, "b": 3}, {"b": "new"}),
        ("Allowlist_key ABC\nRecord host x", {"abc": 1, "Abd": 2, "b": 3}, {"abc": 1, "host": "x"}),
        ("Whitelist_key abc", {"abc": 1, "b": 3}, {"abc": 1}),
        ("Record host web-1\nRecord n 5", {"m": 1}, {"m": 1, "host": "web-1", "n": "5"}),
        ('Record note "two words"', {"m": 1}, {"m": 1, "note": "two words"}),
        ("Record a new", {"a": "old", "b": 1}, {"b": 1, "a": "new"}),
        ("Record a 1\nRecord b 2\nRecord a 3", {}, {"b": "2", "a": "3"}),
        ("Record lit $abc['d']", {"abc": {"d": 1}}, {"abc": {"d": 1}, "lit": "$abc['d']"}),
        ("Remove_key host\nRecord host x", {"host": "a", "m": 1}, {"m": 1, "host": "x"}),
        (
            "Remove_key PASSWORD\nRemove_key tmp*",
            {"password": "x", "Tmp_1": 1, "tmp": 2, "atmp": 3, "m": 4},
            {"atmp": 3, "m": 4},
        ),
        (
            "Allowlist_key LOG\nAllowlist_key k8s_*\nRecord added 1",
            {"log": "l", "stream": "s", "K8S_pod": "p", "k": 2},
            {"log": "l", "K8S_pod": "p", "added": "1"},
        ),
        ("Allowlist_key zzz", {"abc": 1}, {"abc": 1}),
        ("Remove_key nothing", {"abc": 1}, {"abc": 1}),
    ],
)
def test_fields_are_removed_first_and_appended_last(lines: str, before: Body, after: Body) -> None:
    bodies = modified(lines, before)

    assert [list(b.items()) for b in bodies] == [list(after.items())]


def test_emptied_records_are_dropped_when_another_one_survives() -> None:
    context = context_of("filter", "record_modifier.0")
    filter = RecordModifierFilter(options_from(RecordModifierOptions, "Allowlist_key keep"), context)
    bodies: list[Body] = [{"a": 1}, {"keep": 1, "a": 2}, {"b": 1}]
    batch = filter.apply(RecordBatch("t", [Record(0, b) for b in bodies], 90))

    assert batch is not None
    assert [r.body for r in batch] == [{"keep": 1}]
    assert context.metrics.by_label("filter_dropped_records_total", "wanted") == {"yes": 2}


def test_uuid_key_appends_a_different_uuid_to_every_record_behind_the_other_fields() -> None:
    bodies = modified("Uuid_key id\nRecord a b", {"m": 1, "id": "old"}, {"m": 2})

    assert [list(b) for b in bodies] == [["m", "a", "id"]] * 2
    assert all(re.fullmatch(r"[0-9a-f]{8}-([0-9a-f]{4}-){3}[0-9a-f]{12}", b["id"]) for b in bodies)
    assert bodies[0]["id"] != bodies[1]["id"]


def test_a_uuid_stands_behind_a_fixed_field_although_one_more_has_its_name() -> None:
    [body] = modified("Record id x\nRecord z y\nUuid_key id", {"a": 1})

    assert list(body) == ["a", "z", "id"]
    assert len(body["id"]) == 36


def test_a_record_line_without_exactly_two_words_is_told_and_ignored(caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level(logging.ERROR, "shipper"):
        bodies = modified("Record h v w\nRecord a b", {"m": 1})

    assert bodies == [{"m": 1, "a": "b"}]
    assert "invalid record parameters" in caplog.text


def test_removing_and_allowing_together_stops_the_start() -> None:
    with pytest.raises(ValueError, match="remove_key: cannot be used together with allowlist_key"):
        RecordModifierOptions(remove_key=("a",), allowlist_key=("b",))


def test_the_next_record_starts_from_the_configured_fields_again() -> None:
    filter = RecordModifierFilter(options_from(RecordModifierOptions, "Record a b"), context_of("filter"))
    first = filter.apply(RecordBatch("t", [Record(0, {"m": 1})], 1))
    assert first is not None
    first.records[0].body["a"] = "changed"
    second = filter.apply(RecordBatch("t", [Record(0, {"m": 2})], 1))

    assert second is not None
    assert second.records[0].body == {"m": 2, "a": "b"}
