"""Merge_Log: every state of `log`, and the short way over rows beside the long one."""

from __future__ import annotations

import json
from collections.abc import Callable
from functools import partial
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
RAW = JsonEncoder(escape_unicode=False)
decode_lines = msgspec.json.Decoder(dict[str, Any]).decode_lines
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
        ('{"a":' + 600 * "[" + 600 * "]" + "}", {}),
        ('{"a":' + 600 * "[" + 600 * "]" + '} "x', {}),
        (600 * '{"a":' + "1" + 600 * "}", {}),
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
    return enriched(logs, merging, added).json_lines(), RAW.encode_lines(records)


def nested(opening: str, levels: int, closing: str) -> str:
    return f'{{"a":{opening * levels}1{closing * levels}}}'


NUMBER = st.one_of(
    st.from_regex(r"-?(0|[1-9][0-9]{0,20})(\.[0-9]{1,20})?([eE][-+]?[0-9]{1,3})?", fullmatch=True),
    st.sampled_from(["1e300", "1e16", "1.5e17", "1e-5", "1E-7", "123456789e8", "1e400", "1" * 400, "-" + "9" * 310]),
)
LOG = st.one_of(
    st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\n\r\x7f")),
    st.dictionaries(
        st.sampled_from(["a", "b", "time", "log", *OWN_KEYS, "k"]),
        st.one_of(
            st.none(), st.booleans(), st.integers(-(2**70), 2**70), st.text(max_size=5), st.floats(), st.just("x\n")
        )
        | st.lists(st.integers(), max_size=2),
        max_size=3,
    ).map(json.dumps),
    st.builds('{{"a":{},"b":[{}]}}'.format, NUMBER, NUMBER),
    st.builds(nested, st.just("["), st.integers(0, 1100), st.just("]")),
    st.builds(nested, st.just('{"k": '), st.integers(0, 1100), st.just("}")),
    st.sampled_from(
        ['{"x":[1,', '{"d":2}]}', '{"a":1} z', '{"a":1}{"b":1}', ' {"a":1}', "{", "", '{"a":0.12345678901234567}']
    ),
)


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
    content = enriched(logs, merging, added)
    assert RAW.encode_lines(content) == long
    if short is not None:
        assert repr(content.bodies()) == repr(decode_lines(long))


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
    before = RAW.encode_lines(RecordList(content.records()))
    times = content.times_ns()

    assert getattr(content, way)() is not None
    assert RAW.encode_lines(RecordList(content.records())) == before
    assert (len(content), content.times_ns()) == (3, times)
    assert content.json_lines() == before


def test_integers_of_more_than_64_bits_become_floats_of_the_digits_that_are_shown() -> None:
    content = enriched(['{"a":123456789012345678901234567890,"b":18446744073709551615}'], Merging())
    before = content.bodies()
    line = RAW.encode_lines(content)
    after = content.bodies()

    for body in (*before, *after):
        assert (repr(body["a"]), body["b"]) == ("1.234567890123457e+29", 2**64 - 1)
    assert b'"a":1.234567890123457e+29,"b":18446744073709551615,' in line


@pytest.mark.parametrize("neighbour", ['{"b":1}', "plain 1.5", '{"id":"7d4b9ce5-6e-7f.0"}'])
@pytest.mark.parametrize(
    ("number", "shown"),
    [
        ("1e300", "1e+300"),
        ("1e16", "10000000000000000.0"),
        ("1.5e17", "150000000000000000.0"),
        ("1e-5", "1e-05"),
        ("1E-7", "1e-07"),
        ("1.0e-5", "1e-05"),
        ("0.00001", "1e-05"),
        ("123456789e8", "12345678900000000.0"),
        ("12345678901234567e-3", "12345678901234.57"),
        ("0.30000000000000004", "0.3"),
        ("18446744073709551616", "1.844674407370955e+19"),
        ("-9223372036854775809", "-9.223372036854776e+18"),
        ("1" * 400, "null"),
    ],
)
def test_numbers_are_written_as_of_any_record(number: str, shown: str, neighbour: str) -> None:
    lines = RAW.encode_lines(enriched([f'{{"a":{number},"o":{{"n":[{number}]}}}}', neighbour], Merging()))

    assert f',"a":{shown},"o":{{"n":[{shown}]}},'.encode() in lines


@pytest.mark.parametrize("text", ['"a":"7d4b9ce5-6e-4f2a-9e-7777", "b": 1', '"a":1.5,"b":-3.25,"d":"2024-01-01"'])
def test_usual_numbers_ids_and_dates_take_the_short_way(text: str) -> None:
    assert enriched([f"{{{text}}}"], Merging()).json_lines() is not None


def deeper(calls: int, ask: Callable[[], Any]) -> Any:
    """What is answered with so many more calls on the stack."""
    return ask() if not calls else deeper(calls - 1, ask)


@pytest.mark.parametrize(("opening", "closing"), [("[", "]"), ('{"k":', "}")])
@pytest.mark.parametrize("more", ["", "1" * 25])
def test_a_line_of_any_depth_holds_up_no_other_wherever_the_records_are_asked_for(
    opening: str, closing: str, more: str
) -> None:
    for levels in (5, 6, 7, 255, 256, *range(800, 1000)):
        logs = [nested(opening, levels, closing), f'{{"b":{more or 2}}}']
        content = enriched(logs, Merging())
        lines = [RAW.encode_lines(content), deeper(60, partial(RAW.encode_lines, content))]
        bodies = [*content.bodies(), *deeper(60, content.bodies)]

        assert lines[0] == lines[1]
        assert [body["log"] for body in bodies] == logs * 2
        assert ["a" in body for body in bodies] == [levels < 256, False] * 2
        assert [type(body.get("b")) for body in bodies[1::2]] == [float if more else int] * 2
