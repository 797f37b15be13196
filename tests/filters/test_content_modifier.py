"""content_modifier: one action on one field."""

from __future__ import annotations

import hashlib
from typing import Any

import pytest

from shipper.errors import ConfigError
from shipper.filters.content_modifier import ContentModifierFilter, ContentModifierOptions
from shipper.record import Body, Record, RecordBatch
from shipper.testing import context_of

from ..written_options import options_from


def changed(lines: str, *records: Record) -> list[Record]:
    batch = RecordBatch("t", list(records), 100)
    filter = ContentModifierFilter(options_from(ContentModifierOptions, lines), context_of("filter"))
    result = filter.apply(batch)
    return list(result) if result else []


@pytest.mark.parametrize(
    ("lines", "before", "after"),
    [
        ("action insert\nkey k\nvalue v", {"a": 1}, {"a": 1, "k": "v"}),
        ("action insert\nkey k\nvalue v", {"k": None, "a": 1}, {"k": None, "a": 1}),
        ("action UPSERT\nkey k\nvalue v", {"k": 1, "a": 2}, {"a": 2, "k": "v"}),
        ("action upsert\nkey k\nvalue v", {}, {"k": "v"}),
        ("action delete\nkey k", {"k": 1, "a": 2}, {"a": 2}),
        ("action delete\nkey k", {"a": 2}, {"a": 2}),
        ("action rename\nkey k\nvalue n", {"k": 1, "a": 2}, {"n": 1, "a": 2}),
        ("action rename\nkey k\nvalue n", {"n": 0, "k": 1}, {"n": 1}),
        ("action rename\nkey k\nvalue k", {"k": 1, "a": 2}, {"k": 1, "a": 2}),
        ("action rename\nkey k\nvalue n", {"a": 2}, {"a": 2}),
        ("action hash\nkey k", {"k": "", "a": 1}, {"k": "", "a": 1}),
        ("action hash\nkey k", {"k": {"x": 1}}, {"k": {"x": 1}}),
        ("action hash\nkey k", {"a": 1}, {"a": 1}),
        (
            "action extract\nkey k\npattern ^(?<x>\\w+) (?<y>\\d+)",
            {"y": 0, "k": "ab 12"},
            {"k": "ab 12", "x": "ab", "y": "12"},
        ),
        ("action extract\nkey k\npattern /^(?<k>\\w+) (?<z>z)?/", {"k": "ab 12", "a": 1}, {"a": 1, "k": "ab"}),
        ("action extract\nkey k\npattern ^(?<x>\\d+)", {"k": "ab"}, {"k": "ab"}),
        ("action extract\nkey k\npattern ^(?<x>\\d+)", {"k": 12}, {"k": 12}),
        ("action convert\nkey k\nconverted_type int", {"k": "12 apples", "a": 1}, {"a": 1, "k": 12}),
        ("action convert\nkey missing\nconverted_type int", {"k": "12"}, {"k": "12"}),
    ],
)
def test_each_action_changes_the_field_at_its_place(lines: str, before: Body, after: Body) -> None:
    (record,) = changed(lines, Record(0, before))

    assert list(record.body.items()) == list(after.items())


@pytest.mark.parametrize(
    ("value", "text"), [("secret", "secret"), (12, "12"), (0.5, "0.5"), (True, "true"), (None, "null"), ("ü", "ü")]
)
def test_a_hash_is_the_sha256_of_the_text(value: Any, text: str) -> None:
    (record,) = changed("action hash\nkey k", Record(0, {"k": value, "z": 1}))

    assert list(record.body.items()) == [("k", hashlib.sha256(text.encode()).hexdigest()), ("z", 1)]


@pytest.mark.parametrize(
    ("kind", "value", "expected"),
    [
        ("string", 12, "12"),
        ("string", 0.1, "0.10000000000000001"),
        ("string", True, "true"),
        ("string", None, "null"),
        ("string", "x", "x"),
        ("string", [1], [1]),
        ("boolean", "TRUE", True),
        ("boolean", "yes", False),
        ("boolean", 2, True),
        ("boolean", 0.0, False),
        ("boolean", None, False),
        ("boolean", {"a": 1}, {"a": 1}),
        ("int", "-7", -7),
        ("int", " 12abc", 12),
        ("int", "abc", "abc"),
        ("int", 1.5, 2),
        ("int", -1.5, -2),
        ("int", float("inf"), float("inf")),
        ("int", None, 0),
        ("int", True, 1),
        ("int", [1], [1]),
        ("double", "1.25s", 1.25),
        ("double", ".5", 0.5),
        ("double", "1e3", 1000.0),
        ("double", "abc", "abc"),
        ("double", 3, 3.0),
    ],
)
def test_a_value_gets_its_new_type_or_stays(kind: str, value: Any, expected: Any) -> None:
    (record,) = changed(f"action convert\nkey k\nconverted_type {kind}", Record(0, {"k": value}))

    assert record.body["k"] == expected
    assert type(record.body["k"]) is type(expected)


def test_metadata_is_changed_instead_of_the_body_if_so_wanted() -> None:
    records = [Record(0, {"k": 1}), Record(0, {"k": 1}, {"m": 2})]

    inserted = changed("action insert\nkey k\nvalue v\ncontext attributes", *records)

    assert [(r.body, r.metadata) for r in inserted] == [({"k": 1}, {"k": "v"}), ({"k": 1}, {"m": 2, "k": "v"})]


def test_records_without_metadata_stay_so() -> None:
    (record,) = changed("action delete\nkey k\ncontext metadata", Record(0, {"k": 1}))

    assert (record.body, record.metadata) == ({"k": 1}, None)


@pytest.mark.parametrize(
    ("lines", "told"),
    [
        ("action insert\nkey k", "option 'value' is required for action insert"),
        ("action rename\nkey k", "option 'value' is required for action rename"),
        ("action extract\nkey k", "option 'pattern' is required for action extract"),
        ("action convert\nkey k", "option 'converted_type' is required for action convert"),
        ("action insert\nvalue v", "option 'key' is required"),
        ("key k", "option 'action' is required"),
        ("action insrt\nkey k", "did you mean 'insert'"),
        ("action insert\nkey k\nvalue v\ncontext span_name", "option 'context'"),
    ],
)
def test_what_is_missing_or_unknown_is_told(lines: str, told: str) -> None:
    with pytest.raises(ConfigError, match=told):
        changed(lines)
