"""modify: every rule and every condition as a table."""

from __future__ import annotations

import logging

import pytest

from shipper.errors import ConfigError
from shipper.filters.modify import ModifyFilter, ModifyOptions
from shipper.record import Body, Record, RecordBatch
from shipper.testing import context_of

from ..written_options import options_from


def modified(lines: str, *bodies: Body) -> list[Body]:
    batch = RecordBatch("t", [Record(0, dict(body)) for body in bodies], 100)
    result = ModifyFilter(options_from(ModifyOptions, lines), context_of("filter")).apply(batch)
    assert result is not None
    return [r.body for r in result]


DATAPLANE = r"""
Rename _HOSTNAME hostname
Rename _SYSTEMD_UNIT systemd_unit
Rename MESSAGE message
Remove_regex ^((?!hostname|systemd_unit|message).)*$
"""


@pytest.mark.parametrize(
    ("lines", "before", "after"),
    [
        (
            "Rename a z\nAdd a new\nSet b five\nCopy c d",
            {"a": "1", "b": 2, "c": {"x": 1}},
            {"z": "1", "c": {"x": 1}, "d": {"x": 1}, "a": "new", "b": "five"},
        ),
        ("Hard_rename a c", {"a": "1", "b": 2, "c": 3}, {"c": "1", "b": 2}),
        ("Hard_rename a c", {"c": 3, "m": 1, "a": "1"}, {"m": 1, "c": "1"}),
        ("Hard_rename a c", {"c": 3}, {"c": 3}),
        ("Hard_rename a a", {"a": 1, "b": 2}, {"a": 1, "b": 2}),
        ("Hard_copy a c", {"c": 3, "a": "1", "b": 2}, {"a": "1", "c": "1", "b": 2}),
        ("Hard_copy a b", {"a": 1.5, "z": 0}, {"a": 1.5, "b": 1.5, "z": 0}),
        ("Hard_copy a a", {"a": 1, "b": 2}, {"a": 1, "b": 2}),
        ("Copy b c", {"b": True, "d": 9}, {"b": True, "c": True, "d": 9}),
        ("Copy b c", {"b": 1, "c": 2}, {"b": 1, "c": 2}),
        ("Rename a b", {"a": 1, "b": 2}, {"a": 1, "b": 2}),
        ("Rename a z", {"x": 1, "a": 2, "y": 3}, {"x": 1, "z": 2, "y": 3}),
        ("Remove a", {"a": 1, "A": 2, "ab": 3}, {"A": 2, "ab": 3}),
        ("Remove_wildcard ab", {"abc": 1, "abd": 2, "b": 3}, {"b": 3}),
        ("Remove_wildcard ab*", {"abc": 1, "ab*c": 2}, {"abc": 1}),
        ("Remove_wildcard mem.", {"mem.used": 1, "memory": 3}, {"memory": 3}),
        (
            r"Remove_regex ^_|tmp\d+$",
            {"_a": 1, "b_": 2, "xtmp12": 3, "tmp12x": 4, "c": 5},
            {"b_": 2, "tmp12x": 4, "c": 5},
        ),
        ("Move_to_end ab", {"abc": 1, "x": 2, "abd": 3}, {"x": 2, "abc": 1, "abd": 3}),
        ("Move_to_start k8s", {"m": 1, "k8s_p": 2, "x": 3, "k8s_n": 4}, {"k8s_p": 2, "k8s_n": 4, "m": 1, "x": 3}),
        ("Set level info", {"level": {"a": 1}, "msg": 1}, {"msg": 1, "level": "info"}),
        ("Set b 5", {}, {"b": "5"}),
        ("Add zone a1", {"zone": None}, {"zone": None}),
        ('Set "my key" "two words"', {"my key": 0, "m": 1}, {"m": 1, "my key": "two words"}),
        ("Add foo [", {}, {"foo": "["}),
        (
            "Add a first\nRename a b\nAdd a second\nSet b third\nCopy a c\nRemove a",
            {"m": 1},
            {"m": 1, "c": "second", "b": "third"},
        ),
        (
            DATAPLANE,
            {
                "_HOSTNAME": "h",
                "_SYSTEMD_UNIT": "kubelet.service",
                "MESSAGE": "m",
                "PRIORITY": "6",
                "xmessagey": "keep",
            },
            {"hostname": "h", "systemd_unit": "kubelet.service", "message": "m", "xmessagey": "keep"},
        ),
    ],
)
def test_rules_change_a_record_one_after_the_other(lines: str, before: Body, after: Body) -> None:
    bodies = modified(lines, before)

    assert [list(b.items()) for b in bodies] == [list(after.items())]


@pytest.mark.parametrize(
    ("conditions", "held", "not_held"),
    [
        ("Key_exists a", [{"a": None}], [{"b": {"a": 1}}, {}]),
        ("Key_exists $k['s']", [{"k": {"s": "v"}}, {"k": {"s": None}}], [{"k": {"t": 1}}, {"s": 1}]),
        ("key_EXISTS a", [{"a": 1}], [{}]),
        ("Key_does_not_exist a", [{}], [{"a": None}]),
        ("A_key_matches ^err", [{"error": 1}, {"m": 1, "errno": 2}], [{"noerr": 1}, {}]),
        ("No_key_matches (?:user|name)$", [{"users": 2}, {}], [{"username": 1}]),
        ("Key_value_equals $k['s'] v", [{"k": {"s": "v"}}], [{"k": {"s": "w"}}, {"k": {}}]),
        ("Key_value_equals x 1", [{"x": "1"}], [{"x": 1}, {"x": True}, {}]),
        ('Key_value_equals x "a b"', [{"x": "a b"}], [{"x": "a"}]),
        ("Key_value_equals $k['a'] web", [{"k": "web"}, {"k": {"a": "web"}}], [{"k": 5}, {"k": ["web"]}]),
        ("Key_value_does_not_equal k v", [{"k": "w"}, {"k": 5}], [{"a": 1}, {"k": "v"}]),
        ("Key_value_matches v (rue|^a.c)", [{"v": "abcd"}, {"v": True}], [{"v": False}, {"v": "xabc"}, {"v": 12}, {}]),
        ("Key_value_does_not_match p ^/health", [{"p": "/api"}, {"p": 7}], [{"p": "/health/live"}, {"m": 1}]),
        (
            "Matching_keys_have_matching_values ^s_ ^ok",
            [{"s_a": "ok", "s_b": "okay"}, {"m": 1}],
            [{"s_a": "ok", "s_b": "bad"}, {"s_a": 1}],
        ),
        ("Matching_keys_have_matching_values ^z 1", [{"a": "1"}], [{"z": "2"}]),
        (
            "Matching_keys_do_not_have_matching_values ^s_ ^ok",
            [{"s_a": "ok", "s_b": "bad"}],
            [{"s_a": "ok", "s_b": "okay"}, {"m": 1}],
        ),
        ("Key_exists $l[1]", [], [{"l": ["x", "warn"]}]),
        ("Key_value_equals $l[1] warn", [], [{"l": ["x", "warn"]}]),
        ("Key_does_not_exist $l[0]", [{"l": ["x"]}], []),
        ("Key_value_equals $l[1]['s'] v", [{"l": [0, {"s": "v"}]}], [{"l": [{"s": "v"}]}]),
        (
            "Key_exists a\nCondition Key_value_equals b x\nCondition No_key_matches ^c",
            [{"a": 1, "b": "x"}],
            [{"a": 1, "b": "y"}, {"b": "x"}, {"a": 1, "b": "x", "cc": 0}],
        ),
    ],
)
def test_only_records_for_which_all_conditions_hold_are_changed(
    conditions: str, held: list[Body], not_held: list[Body]
) -> None:
    bodies = modified(f"Condition {conditions}\nAdd ok yes", *held, *not_held)

    assert bodies == [{**b, "ok": "yes"} for b in held] + not_held


def test_conditions_look_at_the_record_as_it_came_wherever_they_stand() -> None:
    bodies = modified("Add b 1\nCondition Key_exists b\nRemove a\nCondition Key_exists a", {"a": 1}, {"a": 2, "b": 3})

    assert bodies == [{"a": 1}, {"b": 3}]


def test_a_rule_with_a_word_too_many_is_told_and_ignored(caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level(logging.ERROR, "shipper"):
        bodies = modified("Add q x y\nAdd ok yes", {"q": 1})

    assert bodies == [{"q": 1, "ok": "yes"}]
    assert "rule=add q x y" in caplog.text


@pytest.mark.parametrize(
    ("line", "message"),
    [
        ("Remove a b", "expected KEY, got 'a b'"),
        ("Set a", "expected KEY VALUE, got 'a'"),
        ("Set a b c d", "expected KEY VALUE"),
        ("Remove_regex [", "remove_regex"),
        ("Condition Key_exist a", "did you mean 'key_exists'"),
        ("Condition Key_value_equals a", "Key_value_equals takes FIELD VALUE"),
        ("Condition Key_exists a b", "Key_exists takes one word"),
        ("Condition Key_value_matches a [", "condition"),
    ],
)
def test_a_line_that_cannot_be_a_rule_or_condition_stops_the_start_with_its_line(line: str, message: str) -> None:
    with pytest.raises(ConfigError, match=r"test\.conf:3") as caught:
        options_from(ModifyOptions, f"Add x y\n{line}")

    assert message in str(caught.value)
    assert caught.value.exit_code == 255
