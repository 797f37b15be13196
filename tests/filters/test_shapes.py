"""Shapes: what is done to many records at once is what the rules do to each."""

from __future__ import annotations

import copy
from collections.abc import Callable
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from shipper.codecs.json_lines import JsonEncoder
from shipper.filters.base import Filter
from shipper.filters.grep import GrepFilter, GrepOptions
from shipper.filters.modify import ModifyFilter, ModifyOptions
from shipper.filters.nest import NestFilter, NestOptions
from shipper.filters.record_modifier import RecordModifierFilter, RecordModifierOptions
from shipper.filters.shapes import ShapedChange
from shipper.inputs.tail.cri_block import CriBlock, read_cri_block
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


def grep(lines: list[str]) -> Filter:
    return GrepFilter(options_from(GrepOptions, "\n".join(lines)), context_of("filter"))


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


_FIELDS = ("time", "stream", "_p", "log")
_cri_rows = st.lists(
    st.tuples(st.sampled_from(("stdout", "stderr")), st.text(st.sampled_from('ab{}"\\é\x7f\u2028 1'), max_size=6)),
    min_size=1,
    max_size=4,
)
_words = st.sampled_from((*_FIELDS, "a", "n", "é"))
_plain_words = st.sampled_from((*_FIELDS, "a", "n"))
_cri_patterns = st.sampled_from((*_FIELDS, "s*", "_*", "*", "A", "LOG"))
_cri_records = st.lists(st.builds("Record {} {}".format, _words, _words), max_size=2)
_chains = st.lists(
    st.one_of(
        st.tuples(
            st.just(modify),
            st.lists(
                st.builds("{} {} {}".format, _two_words, _words, _words)
                | st.builds("{} {}".format, _one_word, _words)
                | st.sampled_from(('Set q" 1', "Add \u00e9 \u00fc", "Remove_regex ^")),
                min_size=1,
                max_size=3,
            ),
        ),
        st.tuples(
            st.just(record_modifier),
            st.one_of(
                st.tuples(_cri_records, st.lists(st.builds("Remove_key {}".format, _cri_patterns), max_size=2)).map(
                    lambda t: t[0] + t[1]
                ),
                st.tuples(_cri_records, st.lists(st.builds("Allowlist_key {}".format, _cri_patterns), max_size=2)).map(
                    lambda t: t[0] + t[1]
                ),
            ),
        ),
        st.tuples(
            st.just(nest),
            st.tuples(st.lists(st.builds("Wildcard {}".format, _cri_patterns), max_size=2), _prefixes).map(
                lambda t: ["Operation nest", "Nest_under n", *t[0], *t[1]]
            ),
        ),
        st.tuples(st.just(nest), _prefixes.map(lambda lines: ["Operation lift", "Nested_under n", *lines])),
        st.tuples(
            st.just(grep),
            st.lists(
                st.builds(
                    "{} {} {}".format, st.sampled_from(("Regex", "Exclude")), _plain_words, st.sampled_from("ab^{d.é")
                ),
                min_size=1,
                max_size=3,
            ),
        ),
        st.tuples(
            st.just(grep),
            st.tuples(
                st.sampled_from(("Logical_op AND", "Logical_op OR")),
                st.sampled_from(("Regex", "Exclude")),
                st.lists(st.builds("{} {}".format, _plain_words, st.sampled_from("ab^{d")), max_size=3),
            ).map(lambda t: [t[0], *(f"{t[1]} {rest}" for rest in t[2])]),
        ),
    ),
    min_size=1,
    max_size=4,
)


def block_of(rows: list[tuple[str, str]]) -> CriBlock:
    lines = [f"2026-01-02T03:04:{n:02}.123456789Z {stream} F {text}\n" for n, (stream, text) in enumerate(rows)]
    block = read_cri_block("".join(lines).encode(), 0)
    assert block is not None
    return block


@given(chain=_chains, rows=_cri_rows, early=st.booleans())
@settings(max_examples=400)
def test_filters_do_to_columns_what_they_do_to_records(
    chain: list[tuple[Callable[[list[str]], Filter], list[str]]], rows: list[tuple[str, str]], early: bool
) -> None:
    """One filter after the other, on the rows of a block of container lines and on the records of the same."""
    columns: RecordBatch | None = RecordBatch("t", block_of(rows), 1000)
    records: RecordBatch | None = RecordBatch("t", block_of(rows).records(), 1000)
    for make, lines in chain:
        one, other = make(lines), make(lines)
        columns = one.apply(columns) if columns is not None else None
        records = other.apply(records) if records is not None else None
    encoder = JsonEncoder()

    assert (columns is None) == (records is None)
    if columns is not None and records is not None:
        expected = [repr(r) for r in records.content.records()]
        if not early:
            assert [repr(r) for r in columns.content.records()] == expected
        assert encoder.encode_lines(columns.content) == encoder.encode_lines(records.content)
        assert list(columns.content.times_ns()) == list(records.content.times_ns())
        assert [repr(r) for r in columns.content.records()] == expected
        assert (columns.size, columns.tag, len(columns)) == (records.size, records.tag, len(records))


def test_a_change_that_changes_nothing_leaves_the_rows_of_a_block() -> None:
    batch = RecordBatch("t", block_of([("stdout", "a")]), 100)

    left = modify(["Remove z", "Rename y x"]).apply(batch)

    assert left is batch


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
