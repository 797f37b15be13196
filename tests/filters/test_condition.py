"""Conditions of filters: on which records they act."""

from __future__ import annotations

from typing import Any

import pytest

from shipper.config.model import Property, Section
from shipper.errors import Origin, Problem
from shipper.filters.condition import Condition, ConditionalFilter, read_condition
from shipper.filters.grep import GrepFilter, GrepOptions
from shipper.filters.modify import ModifyFilter, ModifyOptions
from shipper.record import Body, Record, RecordBatch
from shipper.testing import batch_of, context_of, lines_of

from ..written_options import options_from

PLACE = Origin("c.yaml", 1)


def condition(*rules: dict[str, Any], op: str = "and") -> Condition:
    problems: list[Problem] = []
    section = Section("condition", PLACE, [Property("op", op, PLACE)])
    for rule in rules:
        section.rules.append(Section("condition", PLACE, list(properties(rule))))
    found = read_condition(section, "test", problems, pytest.fail)
    assert found is not None, problems
    return found


def properties(rule: dict[str, Any]) -> list[Property]:
    texts = {key: value if isinstance(value, list) else [value] for key, value in rule.items()}
    return [Property(key, text, PLACE) for key, values in texts.items() for text in values]


@pytest.mark.parametrize(
    ("op", "value", "body", "holds"),
    [
        ("eq", "POST", {"f": "POST"}, True),
        ("eq", "200", {"f": 200}, True),
        ("eq", "true", {"f": True}, True),
        ("eq", "null", {"f": None}, True),
        ("eq", '{"a":1}', {"f": {"a": 1}}, True),
        ("eq", "POST", {"f": "post"}, False),
        ("eq", "POST", {}, False),
        ("neq", "POST", {"f": "GET"}, True),
        ("neq", "POST", {"f": "POST"}, False),
        ("neq", "POST", {}, True),
        ("gt", "100", {"f": 150}, True),
        ("gt", "100", {"f": "150.5"}, True),
        ("gt", "100", {"f": 100}, False),
        ("gte", "100", {"f": 100}, True),
        ("lt", "0.5", {"f": 0.25}, True),
        ("lt", "5", {"f": "few"}, False),
        ("lt", "5", {}, False),
        ("lte", "5", {"f": 5}, True),
        ("lte", "5", {"f": 6}, False),
        ("regex", "(?i)refused|timeout", {"f": "connection REFUSED"}, True),
        ("regex", "refused", {"f": "ok"}, False),
        ("not_regex", "refused", {"f": "ok"}, True),
        ("not_regex", "refused", {}, True),
        ("in", ["POST", "PUT"], {"f": "PUT"}, True),
        ("in", "POST", {"f": "POST"}, True),
        ("in", ["POST", "PUT"], {"f": "GET"}, False),
        ("not_in", ["POST", "PUT"], {"f": "GET"}, True),
        ("not_in", ["POST", "PUT"], {"f": "PUT"}, False),
    ],
)
def test_a_rule_compares_the_text_of_a_field(op: str, value: str | list[str], body: Body, holds: bool) -> None:
    rule = condition({"field": "$f", "op": op, "value": value})

    assert rule.holds(Record(0, body)) is holds


@pytest.mark.parametrize(("op", "verdicts"), [("and", [True, False, False]), ("or", [True, True, False])])
def test_rules_are_joined(op: str, verdicts: list[bool]) -> None:
    both = condition(
        {"field": "$request['method']", "op": "eq", "value": "POST"},
        {"field": "$request['path']", "op": "regex", "value": "/sensitive-.*"},
        op=op,
    )

    bodies = [
        {"request": {"method": "POST", "path": "/api/sensitive-data"}},
        {"request": {"method": "POST", "path": "/api"}},
        {"request": {"method": "GET", "path": "/api"}},
    ]
    assert [both.holds(Record(0, body)) for body in bodies] == verdicts


@pytest.mark.parametrize("context", ["attributes", "metadata"])
def test_a_rule_may_look_at_the_metadata(context: str) -> None:
    rule = condition({"field": "$kind", "op": "eq", "value": "audit", "context": context})

    assert rule.holds(Record(0, {}, {"kind": "audit"}))
    assert not rule.holds(Record(0, {"kind": "audit"}))


def dropping(pattern: str, level: str) -> ConditionalFilter:
    grep = GrepFilter(options_from(GrepOptions, f"exclude log {pattern}"), context_of("filter"))
    return ConditionalFilter(grep, condition({"field": "log", "op": "regex", "value": level}))


def test_a_filter_acts_where_the_condition_holds_and_the_order_stays() -> None:
    batch = batch_of("a1", "b1", "a2", "b2", "a3")

    left = dropping("[12]", "a").apply(batch)

    assert left is not None
    assert lines_of(left) == ["b1", "b2", "a3"]
    assert left.size == batch_of("a1", "b1", "a2", "b2", "a3").size * 3 // 5


@pytest.mark.parametrize(("level", "left"), [(".", None), ("z", ["a1", "a2"]), ("a1", ["a2"])])
def test_a_condition_that_holds_for_all_records_or_none(level: str, left: list[str] | None) -> None:
    found = dropping("a", level).apply(batch_of("a1", "a2"))

    assert (lines_of(found) if found is not None else None) == left


def test_records_that_do_not_fit_stay_as_they_are() -> None:
    modify = ModifyFilter(options_from(ModifyOptions, "set k v"), context_of("filter"))
    one = ConditionalFilter(modify, condition({"field": "status", "op": "gte", "value": "500"}))
    batch = RecordBatch("t", [Record(0, {"status": s}) for s in (200, 503, 404)], 30)

    left = one.apply(batch)

    assert left is batch
    assert [record.body for record in batch] == [{"status": 200}, {"status": 503, "k": "v"}, {"status": 404}]
