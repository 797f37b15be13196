"""What every filter promises, whatever it does with the records.

A new filter is one more entry of `OPTIONS`, for each way of working that it has; a test fails for as long as it has
none. The options must leave the field `n` alone, by which records are known here.
"""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from shipper.filters.base import Filter, HoldingFilter
from shipper.parsers.base import ParserLibrary
from shipper.parsers.library import build_parsers
from shipper.parsers.multiline import built_in_definitions
from shipper.plugins import find_plugin, plugin_names
from shipper.record import Body, Receipt, Record, RecordBatch
from shipper.testing import BlockContent, context_of

from ..written_options import options_from, section_of

CHECKLIST = Path(__file__).with_name("checklist.txt")

OPTIONS: dict[str, list[str]] = {
    "content_modifier": [
        "action insert\nkey new\nvalue x",
        "action upsert\nkey log\nvalue x",
        "action delete\nkey log",
        "action rename\nkey log\nvalue other",
        "action hash\nkey log",
        "action extract\nkey log\npattern ^(?<level>[A-Z]+)",
        "action convert\nkey log\nconverted_type int",
        "action convert\nkey log\nconverted_type boolean",
        "action convert\nkey log\nconverted_type string",
        "action convert\nkey log\nconverted_type double",
        "action upsert\nkey log\nvalue x\ncontext metadata",
    ],
    "grep": ["Regex log ^a", "Exclude log a", "Regex $a['b'] x", "Logical_Op or\nRegex log a\nRegex a b"],
    "modify": [
        "Add new x\nSet log y\nRename a b\nHard_rename log a\nCopy a c\nHard_copy a log",
        "Remove log\nRemove_wildcard a\nRemove_regex ^b$",
        "Condition Key_exists log\nCondition Key_value_matches log a\nAdd new x",
        "Condition Key_value_equals a b\nCondition No_key_matches ^c\nSet new x",
        "Condition Matching_keys_have_matching_values ^lo a\nAdd new x",
    ],
    "multiline": ["multiline.parser go\nmultiline.key_content log", "mode partial_message\nmultiline.key_content log"],
    "nest": [
        "Operation nest\nWildcard lo*\nNest_under a\nAdd_prefix p_",
        "Operation lift\nNested_under a\nAdd_prefix p_",
        "Operation lift\nNested_under log\nRemove_prefix a",
    ],
    "parser": [
        "Key_Name log\nParser p_json\nReserve_Data on",
        "Key_Name log\nParser p_regex\nReserve_Data on\nPreserve_Key on",
        "Key_Name $a['b']\nParser p_json\nReserve_Data on",
    ],
    "aws": ["az true\nec2_instance_id false"],
    "checklist": [
        f"File {CHECKLIST}\nLookup_Key log\nRecord found yes",
        f"File {CHECKLIST}\nMode partial\nLookup_Key a",
    ],
    "ecs": ["add cluster $ClusterName\necs_meta_host 127.0.0.1\necs_meta_port 1"],
    "expect": ["key_exists log", "key_not_exists a\nkey_val_is_not_null log\naction warn"],
    "kubernetes": ["kube_url https://127.0.0.1:1\nmerge_log on", "kube_url https://127.0.0.1:1\nuse_journal on"],
    "log_to_metrics": [
        "metric_mode counter\nmetric_name lines\nmetric_description d\ntag m\nlabel_field log",
        "metric_mode histogram\nmetric_name sizes\nmetric_description d\ntag m\nvalue_field n\ndiscard_logs on",
    ],
    "lua": ["code function cb(tag, ts, record) return 0, ts, record end\ncall cb"],
    "rewrite_tag": ["Rule $log ^a other.$TAG false", "Rule $log ^a other.$TAG true"],
    "stdout": [""],
    "sysinfo": ["fluentbit_version_key version\nhostname_key host"],
    "throttle": ["Rate 1000000\nWindow 5\nInterval 1s"],
    "type_converter": ["str_key log as_int int\nint_key n as_text string\nuint_key a as_float float"],
    "record_modifier": ["Record new x\nRemove_key log", "Allowlist_key n\nUuid_key id"],
}
CASES = [(name, lines) for name, cases in OPTIONS.items() for lines in cases]
each_filter = pytest.mark.parametrize(("name", "lines"), CASES, ids=[f"{n}: {o.split(chr(10))[0]}" for n, o in CASES])

VALUES = st.recursive(
    st.none()
    | st.booleans()
    | st.integers(-(2**63), 2**64 - 1)
    | st.floats()
    | st.text(max_size=8)
    | st.binary(max_size=8)
    | st.sampled_from(["a", "true", "12", "-1.5e3", '{"b": 1}', "panic: x", "[]"]),
    lambda inner: (
        st.lists(inner, max_size=3) | st.dictionaries(st.sampled_from(["", "a", "b", "log"]), inner, max_size=3)
    ),
    max_leaves=5,
)
KEYS = st.sampled_from(["log", "a", "b", "", "log2", "partial_message", "partial_id", "partial_last", "é"])
BODIES = st.lists(st.dictionaries(KEYS, VALUES, max_size=4), max_size=4)


def filter_of(name: str, lines: str) -> Filter:
    made = closed_filter_of(name, lines)
    if name == "lua":
        asyncio.run(made.open())  # it reads the script; others open what the contract does not need
    return made


def closed_filter_of(name: str, lines: str) -> Filter:
    plugin: Any = find_plugin("filter", name)
    parsers = build_parsers(
        [
            section_of("Name p_json\nFormat json\nTime_Key time\nTime_Format %s", "parser"),
            section_of("Name p_regex\nFormat regex\nRegex ^(?<level>[a-z]+)", "parser"),
        ],
        [],
        lambda warning: None,
        remark=lambda message, text: None,
    )
    context = context_of("filter", parsers=ParserLibrary(parsers, built_in_definitions()))
    made = plugin(options_from(plugin.Options, lines), context)
    assert isinstance(made, Filter)
    return made


def numbered(bodies: Sequence[Body]) -> list[Body]:
    return [{**body, "n": number} for number, body in enumerate(bodies)]


def passed(one: Filter, batch: RecordBatch) -> list[RecordBatch]:
    """What comes out of a filter for a batch, at once or later."""
    left = one.apply(batch)
    out = [left] if left is not None else []
    if isinstance(one, HoldingFilter):
        out += one.handed_out("")
        one.release("", None)
        out += one.handed_out("")
        assert one.held("") == 0
    return out


def test_every_filter_is_held_to_the_contract() -> None:
    assert sorted(OPTIONS) == plugin_names("filter")


@each_filter
@given(bodies=BODIES)
@settings(max_examples=40, deadline=None)
def test_no_record_is_odd_enough_to_make_it_fail_or_change_the_order(name: str, lines: str, bodies: list[Body]) -> None:
    batch = RecordBatch("app", [Record(5, body) for body in numbered(bodies)], 100)

    out = passed(filter_of(name, lines), batch)

    for tag in {part.tag for part in out}:
        numbers = [record.body["n"] for part in out if part.tag == tag for record in part if "n" in record.body]
        assert numbers == sorted(set(numbers))
    assert all(isinstance(record, Record) and isinstance(record.body, dict) for part in out for record in part)
    assert all(isinstance(record.time_ns, int) for part in out for record in part)


@each_filter
@given(bodies=BODIES)
@settings(max_examples=20, deadline=None)
def test_the_receipt_is_settled_once_when_all_that_came_out_is(name: str, lines: str, bodies: list[Body]) -> None:
    told: list[str] = []
    receipt = Receipt(lambda: told.append("settled"))
    one, batch = filter_of(name, lines), RecordBatch("app", [Record(5, b) for b in numbered(bodies)], 100, receipt)

    # The receipt of what is left stands for the batch; a batch that is handed out later has one of its own.
    left = one.apply(batch)
    later = []
    if isinstance(one, HoldingFilter):
        one.release("", None)
        later = one.handed_out("")
    for part in later:
        part.receipt.settle()
        assert not told
    (left.receipt if left is not None else receipt).settle()

    assert told == ["settled"]


@each_filter
def test_a_batch_without_records_stays_without(name: str, lines: str) -> None:
    out = passed(filter_of(name, lines), RecordBatch("app", [], 0))

    assert [record for part in out for record in part] == []


@each_filter
def test_the_form_of_the_content_makes_no_difference(name: str, lines: str) -> None:
    bodies: list[Body] = [{"n": n, "log": text, "a": {"b": text}} for n, text in enumerate(("a", "panic: x", "", "A"))]
    block = RecordBatch("app", BlockContent(bodies, 5), 100)
    records = RecordBatch("app", [Record(5, {**body, "a": dict(body["a"])}) for body in bodies], 100)

    found, expected = (
        [[(r.time_ns, without_chance(r.body)) for r in part] for part in passed(filter_of(name, lines), batch)]
        for batch in (block, records)
    )

    assert found == expected


def without_chance(body: Body) -> Body:
    """The body without the field that is random."""
    return {key: value for key, value in body.items() if key != "id"}


@each_filter
async def test_it_opens_and_closes_and_prepares_without_waiting_for_anything(name: str, lines: str) -> None:
    one = closed_filter_of(name, lines)
    await one.open()
    batch = RecordBatch("app", [Record(5, {"n": 1, "log": "a"})], 100)
    await one.prepare(batch)
    await one.close()

    assert len(batch) == 1
