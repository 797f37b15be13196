"""Merge_Log: every state of `log`, and the short way over rows beside the long one."""

from __future__ import annotations

import json
import re
from typing import Any

import msgspec
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from shipper.codecs.json_lines import HOLE, JsonEncoder
from shipper.filters.kubernetes.merging import OWN_KEYS, Merging, without_line_ends
from shipper.filters.kubernetes.rows import EnrichedRows, is_cri_rows, merged_one_by_one
from shipper.inputs.tail.cri_block import CriBlock, read_cri_block
from shipper.record import Body, Record, RecordList

Added = dict[str, msgspec.Raw]

JSON = JsonEncoder()
ADDED = {"kubernetes": msgspec.Raw(b'{"pod_name":"web-1"}')}
NAMESPACE = {"kubernetes_namespace": msgspec.Raw(b'{"name":"default"}')}
MAPS: list[Added] = [{}, ADDED, NAMESPACE, ADDED | NAMESPACE]
"""What can be added to a record, depending on the options and on what is known."""


def merged(body: Body, **how: Any) -> list[tuple[str, Any]]:
    Merging(**how).merge(body, None, 5)
    return list(body.items())


@pytest.mark.parametrize(
    ("log", "expected"),
    [
        ('{"a":1}', {"a": 1}),
        (' {"a":1} ', {"a": 1}),
        ('{"a":1} zzz', {"a": 1}),
        ('{"a":1}}', {"a": 1}),
        ('{"a":1},', {"a": 1}),
        ('{"a":1} {"b"', {"a": 1}),
        ('{"a":1} "x', {"a": 1}),
        ('{"a":{"x":1}} "x', {"a": {"x": 1}}),
        ('{"a":1} [1', {"a": 1}),
        ('{"a":{"x":1}} [1', {"a": {"x": 1}}),
        ('{"a":1} [1]', {}),
        ('{"a":1} "x"', {}),
        ('{"a":1} 5', {}),
        ('{"a":1} {"b":2} z', {}),
        ('{"a":1} null', {}),
        ('{"a":1} nul', {"a": 1}),
        ('{"a":0.' + 5000 * "0" + '} "x', {"a": 0.0}),
        ('{"a":1}{"b":2}', {}),
        ('{"a":1}\n{"b":2}', {}),
        ("[1,2]", {}),
        ('"x"', {}),
        ("5", {}),
        ('{"text":"Simple"]', {}),
        ('{"a":"x\ty"}', {"a": "x\ty"}),
        ('{"a":NaN}', {}),
        ("{'a':1}", {}),
        ('{"a":1,}', {}),
        ('{"a":01}', {}),
        ('{"a":"\\x"}', {}),
        ("\ufeff" + '{"a":1}', {}),
        ('{"a":18446744073709551615}', {"a": 18446744073709551615}),
        ("{}", {}),
        (5, {}),
        (True, {}),
        (None, {}),
        ([1], {}),
        ({"a": "x\n"}, {"a": "x\n"}),
    ],
)
def test_only_one_whole_object_is_merged(log: Any, expected: Body) -> None:
    assert merged({"log": log, "stream": "stdout"}) == [("log", log), ("stream", "stdout"), *expected.items()]


@pytest.mark.parametrize(
    ("body", "how", "expected"),
    [
        ({"log": '{"a":1}', "s": "x"}, {"keep_log": False}, {"s": "x", "a": 1}),
        ({"log": "no", "s": "x"}, {"keep_log": False}, {"log": "no", "s": "x"}),
        ({"log": 5, "s": "x"}, {"keep_log": False}, {"log": 5, "s": "x"}),
        ({"log": {"a": 1}, "s": "x"}, {"keep_log": False}, {"s": "x", "a": 1}),
        ({"log": "{}", "s": "x"}, {"keep_log": False, "key": "k"}, {"s": "x"}),
        ({"log": '{"a":1}'}, {"key": "k"}, {"log": '{"a":1}', "k": {"a": 1}}),
        ({"k": 0, "log": '{"a":1}'}, {"key": "k"}, {"log": '{"a":1}', "k": {"a": 1}}),
        ({"log": '{"s":"m","b":1}', "s": "x"}, {}, {"log": '{"s":"m","b":1}', "s": "m", "b": 1}),
        ({"log": '{"log":"in"}', "s": "x"}, {}, {"s": "x", "log": "in"}),
        ({"Log": '{"a":1}'}, {}, {"Log": '{"a":1}'}),
        ({"log": '{"t":"Simple\\n"}'}, {"trim": False}, {"log": '{"t":"Simple\\n"}', "t": "Simple\n"}),
        ({"log": '{"t":"Simple\\n"}'}, {}, {"log": '{"t":"Simple\\n"}', "t": "Simple"}),
    ],
)
def test_merged_fields_stand_behind_the_others(body: Body, how: dict[str, Any], expected: Body) -> None:
    assert merged(body, **how) == list(expected.items())


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("x\n", "x"),
        ("z\\n", "z"),
        ("z\\r\\n\n", "z"),
        ("x\n\\n\r", "x\n\\n\r"),
        ("\n", "\n"),
        ("\\n", "\\n"),
        ("x\r", "x\r"),
        ("in", "in"),
        ("", ""),
    ],
)
def test_line_ends_are_cut(text: str, expected: str) -> None:
    assert without_line_ends(text) == expected


def enriched(logs: list[str], merging: Merging | None, added: Added = ADDED) -> EnrichedRows:
    return EnrichedRows(block(logs), added, merging)


def block(logs: list[str]) -> CriBlock:
    lines = [f"2024-05-06T07:08:09.{n:09d}Z stdout F {log}\n" for n, log in enumerate(logs)]
    found = read_cri_block("".join(lines).encode(), 0)
    assert found is not None
    return found


def both_ways(logs: list[str], merging: Merging | None, added: Added = ADDED) -> tuple[bytes | None, bytes]:
    """What the short way gives, and what the encoder makes of the records merged one by one."""
    bodies = merged_one_by_one(block(logs).rows, added, merging)
    records = RecordList([Record(0, body) for body in bodies])
    return enriched(logs, merging, added).json_lines(), JsonEncoder(escape_unicode=False).encode_lines(records)


LOG = st.one_of(
    st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\n\r\x7f")),
    st.dictionaries(
        st.sampled_from(["a", "b", "time", "log", *OWN_KEYS, "k"]),
        st.one_of(
            st.none(), st.booleans(), st.integers(-(2**63), 2**64 - 1), st.text(max_size=5), st.floats(), st.just("x\n")
        )
        | st.lists(st.integers(), max_size=2),
        max_size=3,
    ).map(json.dumps),
    st.sampled_from(
        ['{"x":[1,', '{"d":2}]}', '{"a":1} z', '{"a":1}{"b":1}', ' {"a":1}', "{", "", '{"a":0.12345678901234567}']
    ),
).filter(lambda text: not re.search(r"\d{19}", text))


@given(
    st.lists(LOG, min_size=1, max_size=4),
    st.booleans(),
    st.booleans(),
    st.sampled_from([None, "k", "log"]),
    st.sampled_from(MAPS),
)
@settings(suppress_health_check=[HealthCheck.too_slow], deadline=None)  # the first draw builds tables of characters
def test_the_short_way_gives_the_same_as_the_long_one(
    logs: list[str], keep: bool, trim: bool, key: str | None, added: Added
) -> None:
    short, long = both_ways(logs, merging := Merging(key, trim, keep), added)

    bodies, one_by_one = enriched(logs, merging, added).bodies(), merged_one_by_one(block(logs).rows, added, merging)
    assert [list(body.items()) for body in bodies] == [list(body.items()) for body in one_by_one]
    assert short is None or [json.loads(x) for x in short.splitlines()] == [json.loads(x) for x in long.splitlines()]
    assert short is None or [list(json.loads(x)) for x in short.splitlines()] == [
        list(json.loads(x)) for x in long.splitlines()
    ]


@given(st.lists(LOG, min_size=1, max_size=4), st.booleans(), st.sampled_from([None, "k"]), st.sampled_from(MAPS))
@settings(suppress_health_check=[HealthCheck.too_slow], deadline=None)
def test_no_line_fills_a_map_of_the_filter(logs: list[str], keep: bool, key: str | None, added: Added) -> None:
    merging = Merging(key, keep_log=keep)
    content = enriched(logs, merging, added)

    bodies = [*content.bodies(), *merged_one_by_one(block(logs).rows, added, merging)]
    lines = JSON.encode_lines(content).splitlines()
    shown = {own: json.loads(bytes(raw)) for own, raw in added.items()}

    assert all(body.get(own) is added.get(own) for body in bodies for own in OWN_KEYS)
    assert all(json.loads(line).get(own) == shown.get(own) for line in lines for own in OWN_KEYS)


@pytest.mark.parametrize("added", MAPS)
def test_what_a_line_says_of_its_pod_is_left_out_byte_for_byte(added: Added) -> None:
    logs = ['{"a":1,"kubernetes":{"pod_name":"bank"}}', '{"\\u006bubernetes_namespace":1,"b":2}', '{"c":3}']

    short, long = both_ways(logs, Merging(trim=False), added)

    fields = [list(json.loads(line))[4:] for line in long.splitlines()]
    assert short == long
    assert fields == [[name, *added] for name in ("a", "b", "c")]


def test_maps_that_were_there_before_stay_when_a_line_has_one_of_that_name() -> None:
    body = {"kubernetes": {"pod_name": "web-1"}, "log": '{"kubernetes":{"pod_name":"bank"},"a":1}'}

    assert merged(body, keep_log=False) == [("kubernetes", {"pod_name": "web-1"}), ("a", 1)]


@pytest.mark.parametrize(
    "logs",
    [
        ["plain", "text"],
        ['{"level":"info","n":1,"f":1.5}', '{"level":"warn","o":{"x":[1]}}'],
        ['{"level":"info"}', "plain"],
        ['{"time":"now"}', '{"log":"in","kubernetes":1}'],
    ],
)
@pytest.mark.parametrize("merging", [None, Merging(), Merging("log_processed", keep_log=False)])
def test_usual_logs_take_the_short_way_byte_for_byte(logs: list[str], merging: Merging | None) -> None:
    short, long = both_ways(logs, merging)

    assert short == long


@pytest.mark.parametrize(
    "logs",
    [
        ['{"x":[1,', '{"d":2}]}', '{"a":1},{"b":2}'],
        ['{"x":[1', '{"d":2}]}', '{"a":1},null,{"b":2}'],
        ['{"a":1}{"b":2}', '{"c":"', '{"d":"}"}'],
        ['{"a":"x', '{y"}'],
    ],
)
def test_a_line_cannot_put_its_fields_into_another(logs: list[str]) -> None:
    short, _ = both_ways(logs, Merging())

    assert short is None


@given(st.lists(LOG | st.sampled_from(["\x7f", '{"a":"\\u007f"}']), max_size=4), st.sampled_from([None, Merging()]))
@settings(suppress_health_check=[HealthCheck.too_slow], deadline=None)
def test_lines_with_a_hole_are_the_lines_once_it_is_filled(logs: list[str], merging: Merging | None) -> None:
    content = enriched(logs, merging)

    holed = content.holed_json_lines()

    assert holed is None or holed.whole() == content.json_lines()
    assert JSON.encode_holed(content).whole() == JSON.encode_lines(content)


@pytest.mark.parametrize("merging", [None, Merging(), Merging("k")])
def test_the_added_maps_are_left_out_of_usual_lines(merging: Merging | None) -> None:
    rows = enriched(['{"a":1}', "plain é"], merging)

    holed = rows.holed_json_lines()

    assert holed is not None and holed.filling == bytes(ADDED["kubernetes"])
    assert holed.text.count(HOLE + b"}\n") == len(rows)


@pytest.mark.parametrize("log", ["a\x7f", '{"a":"\\u007f"}'])
def test_lines_with_a_del_of_their_own_have_no_hole(log: str) -> None:
    assert enriched([log, "x"], Merging()).holed_json_lines() is None


def test_rows_to_which_nothing_was_added_have_no_hole() -> None:
    content = EnrichedRows(block(["x"]), {}, None)

    assert content.holed_json_lines() is None


def test_rows_of_a_block_are_known_and_a_list_is_not() -> None:
    assert is_cri_rows(block([]))
    assert not is_cri_rows(RecordList([]))


def test_every_view_of_enriched_rows_tells_the_same() -> None:
    content = enriched(['{"a":1}', "x"], Merging())

    assert len(content) == len(content.bodies()) == len(content.times_ns()) == 2
    assert [r.body for r in content.records()] == content.bodies()
    assert [list(body) for body in content.bodies()] == [
        ["time", "stream", "_p", "log", "a", "kubernetes"],
        ["time", "stream", "_p", "log", "kubernetes"],
    ]


@pytest.mark.parametrize("merging", [None, Merging(), Merging("k")])
@pytest.mark.parametrize("way", ["json_lines", "holed_json_lines"])
def test_the_records_are_the_same_before_and_after_there_is_json(way: str, merging: Merging | None) -> None:
    content = enriched(['{"a":1.5,"b":[null]}', "plain é", '{"a":"x"}'], merging)
    before = JsonEncoder(escape_unicode=False).encode_lines(RecordList(content.records()))
    times = content.times_ns()

    assert getattr(content, way)() is not None
    assert JsonEncoder(escape_unicode=False).encode_lines(RecordList(content.records())) == before
    assert (len(content), content.times_ns()) == (3, times)
    assert content.json_lines() == before


def test_integers_of_more_than_64_bits_become_floats_in_records() -> None:
    content = enriched(['{"a":123456789012345678901234567890,"b":18446744073709551615}'], Merging())
    before = content.bodies()
    content.json_lines()
    after = content.bodies()

    for body in (*before, *after):
        assert (body["a"], type(body["a"]), body["b"]) == (pytest.approx(1.2345678901234568e29), float, 2**64 - 1)
