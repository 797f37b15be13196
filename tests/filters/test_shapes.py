"""Shapes: what is done to many records at once is what the rules do to each."""

from __future__ import annotations

import copy
from collections.abc import Callable
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from shipper.filters.base import Filter
from shipper.filters.modify import ModifyFilter, ModifyOptions
from shipper.filters.nest import NestFilter, NestOptions
from shipper.filters.record_modifier import RecordModifierFilter, RecordModifierOptions
from shipper.filters.shapes import ShapedChange
from shipper.record import Body, Record, RecordBatch
from shipper.testing import context_of

from ..written_options import options_from

MANY = 8
"""So many records of one shape are changed at once."""

_KEYS = ("a", "A", "ab", "b", "_b", "n", "m")
_keys = st.sampled_from(_KEYS)
_values = st.recursive(
    st.none() | st.booleans() | st.integers(0, 9) | st.sampled_from(("", "x", "a")),
    lambda inner: st.lists(inner, max_size=2) | st.dictionaries(_keys, inner, max_size=3),
    max_leaves=6,
)
_bodies = st.lists(st.dictionaries(_keys, _values, max_size=6), min_size=1, max_size=3)
_holding_bodies = st.lists(
    st.tuples(
        st.dictionaries(_keys, _values, max_size=4),
        st.dictionaries(_keys, _values, max_size=4) | _values,
        st.dictionaries(_keys, _values, max_size=4),
    ).map(lambda parts: {**parts[0], "n": parts[1], **{k: v for k, v in parts[2].items() if k != "n"}}),
    min_size=1,
    max_size=3,
)

_two_words = st.sampled_from(("Set", "Add", "Rename", "Hard_rename", "Copy", "Hard_copy"))
_one_word = st.sampled_from(("Remove", "Remove_wildcard", "Move_to_start", "Move_to_end"))
_expressions = st.sampled_from(("Remove_regex ^_", "Remove_regex b$", "Remove_regex ^((?!a|n).)*$"))
_modify_lines = st.lists(
    st.builds("{} {} {}".format, _two_words, _keys, _keys) | st.builds("{} {}".format, _one_word, _keys) | _expressions,
    min_size=1,
    max_size=5,
)
_patterns = st.sampled_from((*_KEYS, "a*", "_*", "B*"))
_records = st.lists(st.builds("Record {} {}".format, _keys, _keys), max_size=3)
_record_modifier_lines = st.one_of(
    _records,
    st.tuples(_records, st.lists(st.builds("Remove_key {}".format, _patterns), max_size=3)).map(lambda t: t[0] + t[1]),
    st.tuples(_records, st.lists(st.builds("Allowlist_key {}".format, _patterns), max_size=3)).map(
        lambda t: t[0] + t[1]
    ),
)
_prefixes = st.sampled_from(([], ["Add_prefix a"], ["Add_prefix x_"], ["Remove_prefix a"], ["Remove_prefix _"]))
_nest_lines = st.tuples(st.lists(st.builds("Wildcard {}".format, _patterns), max_size=3), _prefixes).map(
    lambda t: ["Operation nest", "Nest_under n", *t[0], *t[1]]
)
_lift_lines = _prefixes.map(lambda lines: ["Operation lift", "Nested_under n", *lines])


def modify(lines: list[str]) -> Filter:
    return ModifyFilter(options_from(ModifyOptions, "\n".join(lines)), context_of("filter"))


def record_modifier(lines: list[str]) -> Filter:
    return RecordModifierFilter(options_from(RecordModifierOptions, "\n".join(lines)), context_of("filter"))


def nest(lines: list[str]) -> Filter:
    return NestFilter(options_from(NestOptions, "\n".join(lines)), context_of("filter"))


def left_by(one: Filter, bodies: list[Body]) -> list[str]:
    """The bodies that go on, written out so that the order of keys counts, in maps too, and 1 is not True."""
    batch = RecordBatch("t", [Record(0, copy.deepcopy(body)) for body in bodies], 100)
    left = one.apply(batch)
    return [repr(record.body) for record in left] if left is not None else []


@pytest.mark.parametrize(
    ("make", "lines", "bodies"),
    [
        pytest.param(modify, _modify_lines, _bodies, id="modify"),
        pytest.param(record_modifier, _record_modifier_lines, _bodies, id="record_modifier"),
        pytest.param(nest, _nest_lines, _bodies, id="nest"),
        pytest.param(nest, _lift_lines, _holding_bodies, id="lift"),
    ],
)
@given(data=st.data())
def test_a_filter_does_to_many_records_what_it_does_to_each(
    make: Callable[[list[str]], Filter],
    lines: st.SearchStrategy[list[str]],
    bodies: st.SearchStrategy[list[Body]],
    data: st.DataObject,
) -> None:
    one, some = make(data.draw(lines)), data.draw(bodies)
    each = left_by(one, some)

    assert left_by(one, some * MANY) == each * MANY


@given(st.lists(st.dictionaries(st.sampled_from((0, 1, False, True, "a")), _values), min_size=1, max_size=3))
def test_keys_that_are_no_text_stay_what_they_are(bodies: list[dict[Any, Any]]) -> None:
    one = modify(["Rename a b", "Set c d"])
    each = left_by(one, bodies)

    assert left_by(one, bodies * MANY) == each * MANY


def test_records_do_not_share_the_maps_made_for_them() -> None:
    bodies: list[Body] = [{"a": i, "b": 0} for i in range(MANY)]
    batch = RecordBatch("t", [Record(0, body) for body in bodies], 100)

    left = nest(["Operation nest", "Wildcard a", "Nest_under n"]).apply(batch)

    assert left is not None
    assert [record.body for record in left] == [{"b": 0, "n": {"a": i}} for i in range(MANY)]
    assert len({id(record.body["n"]) for record in left}) == MANY


class _Counting:
    """Appends a field, and knows how often it was asked to."""

    def __init__(self) -> None:
        self.times = 0

    def change(self, body: Body) -> Body:
        self.times += 1
        return {**body, "added": "x"}


@pytest.mark.parametrize(("records", "times"), [(MANY - 1, MANY - 1), (MANY, 1), (500, 1)])
def test_the_rules_are_asked_once_for_a_shape_that_many_records_have(records: int, times: int) -> None:
    counting = _Counting()
    some = [Record(0, {"a": i}) for i in range(records)]

    ShapedChange(counting.change).make(some)

    assert [record.body for record in some] == [{"a": i, "added": "x"} for i in range(records)]
    assert counting.times == times


def test_shapes_are_told_apart_by_the_order_of_keys_and_found_anywhere_in_a_batch() -> None:
    counting = _Counting()
    records = [Record(0, body) for i in range(MANY) for body in ({"a": i, "b": 0}, {"b": i, "a": 0})]

    ShapedChange(counting.change).make(records)

    assert counting.times == 2
    assert [list(r.body) for r in records[:2]] == [["a", "b", "added"], ["b", "a", "added"]]


def test_no_more_than_256_shapes_are_remembered() -> None:
    counting = _Counting()
    shaped = ShapedChange(counting.change)

    for shape in [*range(256), 0, 256, 0]:
        shaped.make([Record(0, {f"key {shape}": i}) for i in range(MANY)])

    assert counting.times == 256 + 1 + 1
