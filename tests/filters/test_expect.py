"""expect: rules as a table, and what is done when one is broken."""

from __future__ import annotations

import logging

import pytest

from shipper.errors import ConfigError
from shipper.filters.expect import ExpectFilter, ExpectOptions
from shipper.record import Body, Record, RecordBatch
from shipper.testing import context_of

from ..written_options import options_from


def checked(lines: str, *bodies: Body, stops: list[int] | None = None) -> list[list[tuple[str, object]]]:
    stopped = stops if stops is not None else []
    context = context_of("filter", stop_service=stopped.append)
    one = ExpectFilter(options_from(ExpectOptions, lines), context)
    left = one.apply(RecordBatch("t", [Record(0, dict(body)) for body in bodies], 10))
    return [list(r.body.items()) for r in left] if left else []


@pytest.mark.parametrize(
    ("rules", "body", "expected"),
    [
        ("key_exists a", {"a": None}, True),
        ("key_exists $a['b']", {"a": {}}, False),
        ("key_not_exists a", {"a": None}, False),
        ("key_not_exists a", {}, True),
        ("key_val_is_null a", {"a": None}, True),
        ("key_val_is_null a", {}, False),
        ("key_val_is_not_null a", {"a": 0}, True),
        ("key_val_is_not_null a", {"a": None}, False),
        ("key_val_is_not_null a", {}, False),
        ("key_val_eq a prod", {"a": "prod"}, True),
        ("key_val_eq a prod", {"a": "dev"}, False),
        ("key_val_eq a prod", {"a": 5}, True),
        ("key_val_eq a prod", {}, False),
        ('key_val_eq a "x y"', {"a": "x y"}, True),
        ("key_exists a\nkey_exists b", {"b": 1}, False),
        ("key_exists a\nkey_exists b", {"a": 1, "b": 1}, True),
    ],
)
def test_the_outcome_stands_in_front(rules: str, body: Body, expected: bool) -> None:
    (found,) = checked(f"{rules}\naction result_key", body)

    assert found == [("matched", expected), *body.items()]


def test_the_field_for_the_outcome_can_be_named() -> None:
    assert checked("action result_key\nresult_key ok\nkey_exists a", {"a": 1, "ok": 0}) == [[("ok", True), ("a", 1)]]


def test_a_broken_rule_is_told_with_its_number_and_the_record(caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level(logging.ERROR, "shipper"):
        found = checked("key_val_eq b x\nkey_exists a", {"b": "x"}, {"a": 1, "b": "x"})

    assert found == [[("b", "x")], [("a", 1), ("b", "x")]]
    assert len(caplog.messages) == 1
    assert 'exception on rule #1, record={"b":"x"}' in caplog.text


@pytest.mark.parametrize(
    ("action", "body", "expected"), [("exit", {}, [255]), ("exit", {"a": 1}, []), ("warn", {}, [])]
)
def test_a_broken_rule_stops_the_service_with_status_255_on_request(
    action: str, body: Body, expected: list[int]
) -> None:
    stops: list[int] = []
    checked(f"key_exists a\naction {action}", body, stops=stops)

    assert stops == expected


@pytest.mark.parametrize("lines", ["key_val_eq a", "key_val_eq a b c", "key_exists $a[", "action drop"])
def test_mistakes_are_told(lines: str) -> None:
    with pytest.raises(ConfigError):
        checked(lines, {})
