"""nest: both operations as a table."""

from __future__ import annotations

import logging
from typing import Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from shipper.errors import ConfigError
from shipper.filters.nest import NestFilter, NestOptions
from shipper.inputs.tail.cri_block import read_cri_block
from shipper.log import Log
from shipper.record import Body, Record, RecordBatch
from shipper.testing import ManualClock, context_of

from ..written_options import options_from

ABC = {"a1": 1, "b": 2, "a2": 3}


def changed(lines: str, *bodies: Body) -> list[Body]:
    batch = RecordBatch("t", [Record(0, dict(body)) for body in bodies], 100)
    result = NestFilter(options_from(NestOptions, lines), context_of("filter")).apply(batch)
    assert result is not None
    return [r.body for r in result]


@pytest.mark.parametrize(
    ("lines", "before", "after"),
    [
        (
            "Operation nest\nWildcard a*\nNest_under n\nRemove_prefix a",
            ABC,
            {"b": 2, "n": {"1": 1, "2": 3}},
        ),
        ("Operation nest\nWildcard a1\nNest_under n\nAdd_prefix p_", ABC, {"b": 2, "a2": 3, "n": {"p_a1": 1}}),
        ("Operation nest\nWildcard a*\nNest_under n", {"a1": 1, "n": 2, "a2": 3}, {"n": {"a1": 1, "a2": 3}}),
        ("Operation nest\nWildcard a1\nWildcard b*\nNested_under n", ABC, {"a2": 3, "n": {"a1": 1, "b": 2}}),
        ("Operation nest\nWildcard z*\nNest_under n", ABC, ABC),
        ("Operation nest\nWildcard A*\nNest_under n", ABC, ABC),
        ("Operation nest\nWildcard a\nNest_under n", ABC, ABC),
        ("Operation nest\nNest_under n", ABC, ABC),
        ("Operation nest\nWildcard b\nNest_under x\nNested_under y", ABC, {"a1": 1, "a2": 3, "y": {"b": 2}}),
        ("Operation nest\nWildcard b\nNested_under y\nNest_under x", ABC, {"a1": 1, "a2": 3, "x": {"b": 2}}),
        ("Operation nested\nWildcard b\nNest_under x", ABC, {"a1": 1, "a2": 3, "x": {"b": 2}}),
        (
            "Operation lift\nNested_under k\nAdd_prefix k_",
            {"k": {"x": 1, "y": 2}, "z": 1},
            {"z": 1, "k_x": 1, "k_y": 2},
        ),
        ("Operation lift\nNest_under k", {"k": {"x": 1}, "z": 1}, {"z": 1, "x": 1}),
        (
            "Operation lift\nNested_under k\nRemove_prefix a",
            {"k": {"ax": 1, "y": 2}, "m": 0},
            {"m": 0, "x": 1, "y": 2},
        ),
        ("Operation lift\nNested_under k", {"k": {"z": 2}, "z": 1, "m": 3}, {"m": 3, "z": 2}),
        ("Operation lift\nNested_under k", {"k": {"k": 5}}, {"k": 5}),
        ("Operation lift\nNested_under k", {"z": 1}, {"z": 1}),
        ("Operation lift\nNested_under k", {"k": msgspec.Raw(b'{"x":1}'), "z": 1}, {"z": 1, "x": 1}),
    ],
)
def test_fields_are_nested_and_lifted(lines: str, before: Body, after: Body) -> None:
    [body] = changed(lines, before)

    assert list(body.items()) == list(after.items())


def test_a_map_that_was_encoded_ahead_is_lifted_for_each_record_that_holds_it() -> None:
    pods = [msgspec.Raw(b'{"name":"p","labels":{"app":"web"},"ips":["1"]}'), msgspec.Raw(b'{"name":"q"}')]

    bodies = changed("Operation lift\nNested_under k\nAdd_prefix k_", *({"k": pods[i % 2]} for i in range(20)))

    first = {"k_name": "p", "k_labels": {"app": "web"}, "k_ips": ["1"]}
    assert msgspec.json.decode(msgspec.json.encode(bodies)) == [first, {"k_name": "q"}] * 10
    # What is shared by records must be nothing that a filter could change in place.
    assert not any(isinstance(value, dict | list) for body in bodies for value in body.values())


@given(
    st.lists(
        st.tuples(
            st.dictionaries(st.sampled_from(["a", "b", "k_a", "k", "k_k", "z"]), st.integers(), max_size=4),
            st.integers(0, 3),
            st.booleans(),
        ),
        max_size=30,
    ),
    st.sampled_from(["", "\nAdd_prefix k_", "\nRemove_prefix k_"]),
)
def test_maps_encoded_ahead_are_lifted_as_those_of_each_record_are(
    records: list[tuple[Body, int, bool]], option: str
) -> None:
    maps: list[Any] = [{"a": 1, "k_a": 2}, {"k": 3, "k_k": [1]}, {}, 7]
    encoded = [msgspec.Raw(msgspec.json.encode(value)) for value in maps]
    lines = f"Operation lift\nNested_under k{option}"
    both = [
        changed(
            lines,
            *({**(body | {"k": values[n]} if is_last else {"k": values[n]} | body)} for body, n, is_last in records),
        )
        for values in (maps, encoded)
    ]

    as_maps, as_encoded = (
        [list(msgspec.json.decode(msgspec.json.encode(b)).items()) for b in bodies] for bodies in both
    )
    assert as_encoded == as_maps


def test_a_value_that_is_no_map_stays_and_is_told(caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level(logging.WARNING, "shipper"):
        [body] = changed("Operation lift\nNested_under k", {"k": "s", "z": 1})

    assert list(body.items()) == [("k", "s"), ("z", 1)]
    assert "not a map" in caplog.text


@pytest.mark.parametrize("has_columns", [False, True])
async def test_values_that_are_no_maps_are_told_again_after_a_while(
    has_columns: bool, caplog: pytest.LogCaptureFixture
) -> None:
    clock = ManualClock()
    context = context_of("filter", clock=clock)
    context.log = Log("", now=clock.monotonic)
    one = NestFilter(options_from(NestOptions, "Operation lift\nNested_under log"), context)

    for _ in range(3):
        block = read_cri_block(b"2024-05-06T07:08:09.123456789Z stdout F x\n", 0)
        assert block is not None
        assert one.apply(RecordBatch("t", block if has_columns else block.records(), 100)) is not None
        await clock.advance(40)

    assert caplog.text.count("not a map") == 2


@pytest.mark.parametrize(
    ("lines", "message"),
    [
        ("Operation Lift", "write nest or lift, in lower case"),
        ("Wildcard a", "'operation' is required"),
        ("Operation nest\nWildcard a", "'nest_under' is required"),
        ("Operation lift\nNested_under k\nAdd_prefix a\nRemove_prefix b", "cannot be used together"),
        ("Operation lift\nNested_unde k", "did you mean 'nested_under'"),
    ],
)
def test_options_that_make_no_sense_stop_the_start(lines: str, message: str) -> None:
    with pytest.raises(ConfigError, match=r"test\.conf") as caught:
        options_from(NestOptions, lines)

    assert message in str(caught.value)
